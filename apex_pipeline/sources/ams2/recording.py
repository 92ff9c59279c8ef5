"""Reads a recording: one pure function from compressed bytes to the tables of its laps, samples and timing.

See ``container.py`` for base64, which a recording is uploaded in.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from apex_pipeline.sources.ams2.clock import Timebase, timebase
from apex_pipeline.sources.ams2.container import Container, not_compressed
from apex_pipeline.sources.ams2.driver import DriverRows
from apex_pipeline.sources.ams2.driving import Driving, driven
from apex_pipeline.sources.ams2.errors import RecordingError
from apex_pipeline.sources.ams2.framing import Framer, Frames
from apex_pipeline.sources.ams2.game import GameLog, Track, count_packets
from apex_pipeline.sources.ams2.lap_times import Lap, measure_laps
from apex_pipeline.sources.ams2.layouts import CARS, LAYOUTS, PHYSICS, PROJECT_CARS_1_SIZES, TIMINGS
from apex_pipeline.sources.ams2.limits import DEFAULT_LIMITS, RecordingLimits
from apex_pipeline.sources.ams2.ordering import Sequencer
from apex_pipeline.sources.ams2.rivals import RivalLog
from apex_pipeline.sources.ams2.runs import Run, find_runs
from apex_pipeline.sources.ams2.samples import sample_table
from apex_pipeline.sources.ams2.timing import timing_table
from apex_pipeline.tables import RACE_LAPS
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.races import SESSION_TYPES, without_race_id

# Version of what this package makes of a recording; a race read by another one can be read again. The test
# test_parser_version.py fails if results change and this does not.
PARSER_VERSION = "2"

_LAPS = without_race_id(RACE_LAPS)

# Kinds of unknown packets listed one by one; noise has 380,000 of them, a game a few.
_LISTED_KINDS = 50


@dataclass(frozen=True)
class RecordedSession:
    """A session of a recording.

    Attributes:
        index: ``session_index`` of the tables.
        session_type: practice, qualifying, race …
        track: Its track.
        laps: Rows it has in the table of laps.
    """

    index: int
    session_type: str
    track: Track
    laps: int


@dataclass(frozen=True)
class RecordingReject:
    """Something in a recording that was not used.

    Attributes:
        reason: What it is, one of a few words.
        count: How many datagrams or values; bytes for ``unread_bytes``.
        detail: What it is, for people.
    """

    reason: str
    count: int
    detail: str


@dataclass(frozen=True)
class Recording:
    """What a recording gives.

    Attributes:
        laps: ``race_laps`` without ``race_id``.
        samples: ``race_samples`` without ``race_id``, sorted by lap and, within it, in driven order.
        timing: ``race_timing`` without ``race_id``.
        sessions: The sessions with at least one lap.
        rejects: What was not used.
        detail: The quality of the recording in one sentence.
        counts: Numbers of datagrams, rows and so on, by name.
    """

    laps: pa.Table
    samples: pa.Table
    timing: pa.Table
    sessions: tuple[RecordedSession, ...]
    rejects: tuple[RecordingReject, ...]
    detail: str
    counts: Mapping[str, int]


def read_recording(
    source: BinaryIO, limits: RecordingLimits = DEFAULT_LIMITS, *, keep_names: bool = False
) -> Recording:
    """Read a recording.

    Args:
        source: The recording as stored: zlib, gzip or raw deflate, read once from its start.
        limits: Limits on its size.
        keep_names: Keep names of people, which are personal.

    Raises:
        RecordingError: It gives no lap, or exceeds a limit.
    """
    return _Reader(source, limits, keep_names=keep_names).read()


class _Reader:
    """The parts of reading one recording."""

    def __init__(self, source: BinaryIO, limits: RecordingLimits, *, keep_names: bool) -> None:
        self._limits = limits
        self._container = Container(source, limits)
        self._framer = Framer(limits)
        self._sequencer = Sequencer()
        self._driver = DriverRows()
        self._game = GameLog(limits, keep_names=keep_names)
        self._rivals = RivalLog(limits)
        self._packets: Counter[tuple[int, int]] = Counter()

    def read(self) -> Recording:
        """Read everything and make the tables."""
        self._collect()
        timings, physics = self._driver.timings(), self._driver.physics()
        counts = Counter(self._driver.counts)  # of which some are known only when all rows are
        driving = driven(timings, self._game.states, self._game.tracks, counts)
        time = timebase(driving, timings, physics["ordinal"])
        runs = list(islice(find_runs(driving, time, self._game.last_laps), self._limits.runs + 1))
        self._check(runs, driving, len(timings))
        laps = measure_laps(driving, runs, time, self._game, counts)
        samples = sample_table(timings, physics, driving, runs, counts)
        timing = timing_table(self._rivals.changes(), driving, self._game, time.interval_s)
        counts.update(self._packet_counts())
        rejects = self._rejects(counts)
        sessions = _sessions(laps, driving, timing)
        return Recording(
            laps=_lap_table(laps, driving, sessions, samples, time),
            samples=samples,
            timing=_renumbered(timing, sessions),
            sessions=tuple(sessions.values()),
            rejects=rejects,
            detail=self._detail(laps, rejects),
            counts=dict(counts),
        )

    def _collect(self) -> None:
        """Read the stream to its end, keeping what is needed of each packet."""
        for frames, is_last in _with_last(self._framer.frames(self._container.chunks())):
            batch = self._sequencer.push(frames, is_last=is_last)
            count_packets(batch, self._packets)
            self._rivals.add(self._driver.add(batch))
            self._game.add(batch)

    def _check(self, runs: Sequence[Run], driving: Driving, timings: int) -> None:
        """Raise the error that says why there is no lap, or that there are too many."""
        if len(runs) > self._limits.runs:
            raise RecordingError(
                "too many laps",
                f"The recording has more than {self._limits.runs:,} runs of the lap clock.",
                "Check that its packets are in order; split one of more than six hours.",
            )
        if runs:
            return
        datagrams = sum(self._packets.values())
        if not datagrams and self._container.format == "raw deflate":
            raise not_compressed()
        if self._project_cars_1() > datagrams / 2:
            raise RecordingError(
                "Project CARS 1",
                "The recording holds packets of Project CARS 1.",
                "Set UDP Protocol Version to Project CARS 2 in the game's options and record again.",
            )
        error_class, problem = self._why_no_lap(datagrams, timings, len(driving.rows))
        notes = "; ".join([*self._container.notes, *self._framer.notes])
        raise RecordingError(
            error_class,
            f"The recording has no lap: {problem}{f' ({notes})' if notes else ''}.",
            "Record from the game's UDP output while driving, with timings switched on.",
        )

    def _why_no_lap(self, datagrams: int, timings: int, rows: int) -> tuple[str, str]:
        if not datagrams:
            return "no packets", "it has no datagram of 12 to 1500 bytes with its length in front"
        if not any(kind == TIMINGS for kind, _ in self._known()):
            return "no timings", f"none of its {datagrams:,} packets is one of timings"
        if not timings:
            return "no driver", "no packet of timings says which car is the driver's"
        if not rows:
            return "nothing driven", "it has only menus, pauses and replays"
        return "no laps", f"the lap clock did not run in its {rows:,} samples"

    def _known(self) -> Counter[tuple[int, int]]:
        return Counter({kind: count for kind, count in self._packets.items() if kind in LAYOUTS})

    def _project_cars_1(self) -> int:
        """Return how many datagrams have a size that only Project CARS 1 sends."""
        return sum(count for kind, count in self._packets.items() if kind[1] in PROJECT_CARS_1_SIZES)

    def _packet_counts(self) -> dict[str, int]:
        known = self._known()
        dropped = self._sequencer.dropped
        return {
            "datagrams": sum(self._packets.values()) + dropped.total(),
            "datagrams_known": known.total(),
            "datagrams_unknown": sum(self._packets.values()) - known.total(),
            "datagrams_duplicate": dropped["duplicates"],
            "datagrams_late": dropped["late"],
            "physics": sum(count for (kind, _), count in known.items() if kind == PHYSICS),
            "timings": sum(count for (kind, _), count in known.items() if kind == TIMINGS),
            "compressed_bytes": self._container.compressed_bytes,
            "inflated_bytes": self._container.inflated_bytes,
            "unread_bytes": self._framer.unread_bytes,
        }

    def _rejects(self, counts: Counter[str]) -> tuple[RecordingReject, ...]:
        unknown = Counter({kind: count for kind, count in self._packets.items() if kind not in LAYOUTS})
        listed = sorted(unknown.most_common(_LISTED_KINDS))
        rejects = [
            RecordingReject("unknown_packet", count, f"type {kind} of {size} bytes") for (kind, size), count in listed
        ]
        others = unknown.total() - sum(count for _, count in listed)
        if others:
            rejects.append(RecordingReject("unknown_packet", others, f"{len(unknown) - len(listed):,} other kinds"))
        rejects += [RecordingReject(name, counts[name], detail) for name, detail in _REJECTED.items() if counts[name]]
        return tuple(rejects)

    def _detail(self, laps: Sequence[Lap], rejects: Sequence[RecordingReject]) -> str:
        """Return the quality of the recording in one sentence."""
        kinds = Counter(lap.run.kind for lap in laps)
        clauses = [", ".join(f"{count} {kind}" for kind, count in kinds.items()), *self._container.notes]
        clauses += self._framer.notes
        if self._driver.counts["most_cars"] > CARS:
            clauses.append(f"{self._driver.counts['most_cars']} cars, of which the packets hold {CARS}")
        if self._driver.counts["driver_by_camera"]:
            clauses.append("the driver's car is the one that the camera shows most, as the packets do not name it")
        if self._rivals.is_full:
            clauses.append("the other cars change too often to follow all of them")
        clauses += [f"{reject.count:,} {reject.detail}" for reject in rejects if reject.reason in _REJECTED]
        unknown = sum(reject.count for reject in rejects if reject.reason == "unknown_packet")
        if unknown:
            clauses.append(f"{unknown:,} packets of unknown type or size")
        return f"{len(laps)} laps: {'; '.join(clauses)}."


# What is said about counts in the sentence of quality.
_REJECTED = {
    "datagrams_duplicate": "duplicate packets",
    "datagrams_late": "packets that came too late to be put in order",
    "timings_without_driver": "timings without the driver's place",
    "timings_with_bad_clock": "timings with an impossible clock",
    "timings_with_clock_spike": "timings with a damaged clock",
    "timings_not_driven": "timings in menus, pauses and replays",
    "physics_of_other_cars": "samples with the camera on another car",
    "values_out_of_bounds": "values out of bounds",
    "unread_bytes": "bytes that could not be read",
}


def _with_last(frames: Iterator[Frames]) -> Iterator[tuple[Frames, bool]]:
    """Yield each of the frames with whether it is the last; an empty recording has one empty batch."""
    none = np.empty(0, np.int64)
    last = next(frames, Frames(b"", none, none))
    for following in frames:
        yield last, False
        last = following
    yield last, True


def _sessions(laps: Sequence[Lap], driving: Driving, timing: pa.Table) -> dict[int, RecordedSession]:
    """Return the sessions in which somebody drove, by their number in ``driving``."""
    driven_laps = Counter(lap.run.session for lap in laps)
    used = sorted({*driven_laps, *timing["session_index"].to_pylist()})
    return {
        session: RecordedSession(index, _session_type(driving, session), driving.tracks[session], driven_laps[session])
        for index, session in enumerate(used)
    }


def _session_type(driving: Driving, session: int) -> str:
    kind = driving.types[session]
    return SESSION_TYPES[kind] if kind < len(SESSION_TYPES) else SESSION_TYPES[0]


def _renumbered(timing: pa.Table, sessions: Mapping[int, RecordedSession]) -> pa.Table:
    place = timing.schema.get_field_index("session_index")
    indices = [sessions[number].index for number in timing["session_index"].to_pylist()]
    return timing.set_column(place, timing.schema.field(place), pa.array(indices, pa.int64()))


def _lap_table(
    laps: Sequence[Lap],
    driving: Driving,
    sessions: Mapping[int, RecordedSession],
    samples: pa.Table,
    time: Timebase,
) -> pa.Table:
    counts = np.bincount(samples["lap_index"].to_numpy(), minlength=len(laps)).tolist()
    rows: list[Row] = []
    for index, lap in enumerate(laps):
        track = driving.tracks[lap.run.session]
        rows.append(
            {
                "lap_index": index,
                "session_index": sessions[lap.run.session].index,
                "session_type": sessions[lap.run.session].session_type,
                "track_location": track.location,
                "track_variation": track.variation,
                "track_length_m": track.length_m,
                "lap_number": lap.run.lap,
                "kind": lap.run.kind,
                "is_published": lap.is_published,
                "is_valid": lap.is_valid,
                "lap_time_s": lap.time.lap_time_s if lap.time else None,
                "lap_time_method": lap.time.method if lap.time else None,
                "lap_time_uncertainty_s": lap.time.uncertainty_s if lap.time else None,
                **dict(zip(("s1_s", "s2_s", "s3_s"), lap.sectors_s, strict=True)),
                "race_position": lap.race_position,
                "samples": counts[index],
                "sample_interval_s": time.interval_s,
                "flags": list(lap.run.flags),
            }
        )
    return _LAPS.from_rows(rows)

"""The telemetry file: one row per reading, streamed block by block.

A block is one car's lap, newest frame first as in the real files: 3 MB at the full rate, whatever the size of the
file. Rows are put together from texts made once per value and once per frame. Here belong the rows and what distorts
them: repeats, frozen clocks, lost counts, radio holes, unusable rows. Not here: the values (``signals.py``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apex_pipeline.demo.answers import PlantedReject
from apex_pipeline.demo.lap_files import radio_late_ms
from apex_pipeline.demo.options import SLOW_RATE_HZ
from apex_pipeline.demo.signals import Places, Signals, signals_of
from apex_pipeline.demo.text import utc_texts
from apex_pipeline.demo.world import CarRace, DrivenLap, Race

HEADER = (
    "expire_at,lap,meta_event,meta_session,meta_source,meta_time,original_vehicle_id,outing,telemetry_name,"
    "telemetry_value,timestamp,vehicle_id,vehicle_number"
)
REPEATED_SHARE = 0.01  # of rows, for exact and for conflicting duplicates each: real files have 0.7 to 4.7 % of both
HOLE_BEFORE_MS, HOLE_AFTER_MS = 4_000, 2_000  # around true crossing and late stamp
_MESSAGE_MS = 220  # readings of this long share a message, hence a receive time
_LATENCY_MS = 950
_SHORT_ROW_COLUMNS = 4
_BAD_VALUE = "#ERR"


@dataclass
class TelemetryCounts:
    """What was written into a telemetry file.

    Attributes:
        rows: Data rows, everything included.
        exact_duplicates: Rows equal to an earlier row.
        conflicts: Rows that contradict an earlier row; frozen clocks not counted.
        rejects: Rows no reader can use.
    """

    rows: int = 0
    exact_duplicates: int = 0
    conflicts: int = 0
    rejects: tuple[PlantedReject, ...] = ()


@dataclass(frozen=True)
class _Stretch:
    """The part of a lap, nearly always all of it, that the unit calls by one number."""

    lap: DrivenLap
    unit_lap: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class _Frames:
    """The frames of one block, oldest first; every array has shape (frames,)."""

    true_ms: npt.NDArray[np.int64]
    car_ms: npt.NDArray[np.int64]
    received_ms: npt.NDArray[np.int64]
    is_slow: npt.NDArray[np.bool_]


def write_telemetry(
    path: Path, race: Race, rate_hz: float, seed: int, progress: Callable[[int], None] | None = None
) -> TelemetryCounts:
    """Write a race's telemetry file.

    Args:
        path: The file to make; its folder exists.
        race: The race.
        rate_hz: Rate of the fast channels; the slow ones follow at 4.6 Hz or less.
        seed: Seed of noise and repeats.
        progress: Told about bytes as they are written.

    Returns:
        What is in the file; the rejects name it by its path within the weekend.
    """
    counts = TelemetryCounts()
    with path.open("wb") as file:
        for block in _blocks(race, rate_hz, seed, counts):
            written = file.write(block.encode("ascii"))
            if progress:
                progress(written)
    return counts


def _blocks(race: Race, rate_hz: float, seed: int, counts: TelemetryCounts) -> Iterator[str]:
    rng = np.random.default_rng([seed, race.track.index, race.number, 2])
    signals = signals_of(race.track.slug)
    yield HEADER + race.track.eol
    for entry in sorted(race.entries, key=lambda entry: entry.car.vehicle_id):
        # Cars in text order, laps by the unit's count, so that 32768 comes last, newest first within a count.
        stretches = [stretch for lap in entry.laps for stretch in _stretches(lap)]
        for stretch in sorted(stretches, key=lambda stretch: (stretch.unit_lap, -stretch.start_ms)):
            frames = _frames(race, entry, stretch, rate_hz, rng)
            if len(frames.true_ms):
                yield _block(race, entry, stretch, frames, signals, counts, rng)
                if not counts.rejects:
                    yield from _unusable_row(race, entry, stretch.unit_lap, frames, counts)


def _stretches(lap: DrivenLap) -> list[_Stretch]:
    """Return a lap as its unit counts it: in two where it counted a crossing that was none."""
    if lap.spurious_ms is None:
        return [_Stretch(lap, lap.unit_lap, lap.start_ms, lap.end_ms)]
    return [
        _Stretch(lap, lap.first_unit_lap, lap.start_ms, lap.spurious_ms),
        _Stretch(lap, lap.unit_lap, lap.spurious_ms, lap.end_ms),
    ]


def _frames(race: Race, entry: CarRace, stretch: _Stretch, rate_hz: float, rng: np.random.Generator) -> _Frames:
    period_ms = 1000 / rate_hz
    begin_ms = entry.laps[0].start_ms
    first, last = (int(np.ceil((edge - begin_ms) / period_ms)) for edge in (stretch.start_ms, stretch.end_ms))
    number = np.arange(first, last)
    true_ms = begin_ms + np.rint(number * period_ms).astype(np.int64)
    heard = (true_ms <= race.export_end_ms) & ~_in_hole(race, entry, true_ms)
    number, true_ms = number[heard], true_ms[heard]
    slow_every = max(1, round(rate_hz / SLOW_RATE_HZ))
    if entry.frozen_at_ms is None:
        car_ms = true_ms - entry.clock_offset_ms
        message = true_ms // _MESSAGE_MS
        delay_ms = _LATENCY_MS + rng.integers(0, 150, len(message))
        # One delay per message, the one of its first frame.
        _, first_of, message_of = np.unique(message, return_index=True, return_inverse=True)
        received_ms = (message + 1) * _MESSAGE_MS + delay_ms[first_of][message_of]
    else:
        # Only the receive time tells these frames apart, so each is a message of its own.
        car_ms = np.full(len(true_ms), entry.frozen_at_ms)
        received_ms = true_ms + _LATENCY_MS
    return _Frames(true_ms, car_ms, received_ms, number % slow_every == 0)


def _in_hole(race: Race, entry: CarRace, true_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which frames fall into a radio hole that made a trigger late."""
    is_lost = np.zeros(len(true_ms), dtype=bool)
    late_ms = radio_late_ms(race, entry)
    for lap in entry.laps:
        if lap.number in late_ms:
            stamp_ms = lap.end_ms + late_ms[lap.number]
            is_lost |= (true_ms > lap.end_ms - HOLE_BEFORE_MS) & (true_ms < stamp_ms + HOLE_AFTER_MS)
    return is_lost


def _block(
    race: Race,
    entry: CarRace,
    stretch: _Stretch,
    frames: _Frames,
    signals: Signals,
    counts: TelemetryCounts,
    rng: np.random.Generator,
) -> str:
    """Return the rows of one car's stretch."""
    duration_ms = stretch.lap.end_ms - stretch.lap.start_ms
    places = signals.places((frames.true_ms - stretch.lap.start_ms) / duration_ms, duration_ms, rng)
    is_sent = np.ones(places.shape, dtype=bool)
    is_sent[~frames.is_slow, len(race.track.fast_channels) :] = False
    frame, channel = np.nonzero(is_sent[::-1])
    frame = len(places) - 1 - frame
    place = places[frame, channel]
    if race.plan.has_repeated_rows:
        frame, place = _with_repeats(
            frame, channel, place, signals, counts, is_frozen=entry.frozen_at_ms is not None, rng=rng
        )
    befores, afters = _around(race, entry, stretch.unit_lap, frames)
    counts.rows += len(frame)
    texts = signals.texts
    return "".join(
        [f"{befores[at]}{texts[value]}{afters[at]}" for at, value in zip(frame.tolist(), place.tolist(), strict=True)]
    )


def _around(race: Race, entry: CarRace, unit_lap: int, frames: _Frames) -> tuple[list[str], list[str]]:
    """Return what stands before and after ``channel,value`` in the rows of each frame."""
    car = entry.car
    before = f",{unit_lap},{race.track.event_code},{race.session},kafka:gr-raw,"
    between = f",{car.vehicle_id},0,"
    after = f",{car.vehicle_id},{int(car.suffix)}{race.track.eol}"
    befores = [f"{before}{received}{between}" for received in utc_texts(frames.received_ms)]
    afters = [f",{sampled}{after}" for sampled in utc_texts(frames.car_ms)]
    return befores, afters


def _with_repeats(
    frame: Places,
    channel: Places,
    place: Places,
    signals: Signals,
    counts: TelemetryCounts,
    *,
    is_frozen: bool,
    rng: np.random.Generator,
) -> tuple[Places, Places]:
    """Return frame and place of every row with some rows repeated, half of the repeats one step off in value."""
    draw = rng.random(len(place))
    is_exact = draw < REPEATED_SHARE
    is_conflict = ~is_exact & (draw < 2 * REPEATED_SHARE) & signals.is_number[channel]
    other = np.where(place < signals.last_place[channel], place + 1, place - 1)
    times = 1 + is_exact + is_conflict
    is_copy = np.ones(int(times.sum()), dtype=bool)
    is_copy[np.cumsum(times) - times] = False
    values = np.where(is_copy & np.repeat(is_conflict, times), np.repeat(other, times), np.repeat(place, times))
    counts.exact_duplicates += int(is_exact.sum())
    counts.conflicts += 0 if is_frozen else int(is_conflict.sum())
    return np.repeat(frame, times), values


def _unusable_row(race: Race, entry: CarRace, unit_lap: int, frames: _Frames, counts: TelemetryCounts) -> Iterator[str]:
    """Yield the one row of a file that no reader can use, where the plan wants one, after the first block."""
    befores, afters = _around(race, entry, unit_lap, frames)
    if race.plan.short_row_in == "telemetry":
        row, reason = ",".join(befores[0].split(",")[:_SHORT_ROW_COLUMNS]) + race.track.eol, "too_few_columns"
    elif race.plan.has_unparsable_value:
        row, reason = f"{befores[0]}speed,{_BAD_VALUE}{afters[0]}", "bad_number"
    else:
        return
    counts.rows += 1
    line = counts.rows + 1  # the header is line 1
    counts.rejects = (PlantedReject(race.track.path("telemetry", race.number), line, reason),)
    yield row


def telemetry_seconds(race: Race) -> float:
    """Return car-seconds of telemetry within the export."""
    milliseconds = sum(
        max(0, min(lap.end_ms, race.export_end_ms) - lap.start_ms) for entry in race.entries for lap in entry.laps
    )
    return milliseconds / 1000


def frame_bytes(race: Race) -> tuple[float, float]:
    """Return the mean size of a frame's fast rows and of its slow rows, from one nominal lap of the first car."""
    signals = signals_of(race.track.slug)
    entry = race.entries[0]
    lap = entry.laps[0]
    share = np.linspace(0, 1, 200, endpoint=False)
    places = signals.places(share, race.track.lap_ms, np.random.default_rng(0))
    lengths = np.array([[len(signals.texts[place]) for place in row] for row in places.tolist()]).mean(axis=0)
    instant = np.array([lap.start_ms])
    befores, afters = _around(race, entry, lap.unit_lap, _Frames(instant, instant, instant, instant > 0))
    around = len(befores[0]) + len(afters[0])
    growth = 1 + 2 * REPEATED_SHARE if race.plan.has_repeated_rows else 1
    fast = len(race.track.fast_channels)
    sizes = (lengths + around) * growth
    return float(sizes[:fast].sum()), float(sizes[fast:].sum())


__all__ = ["HEADER", "TelemetryCounts", "frame_bytes", "telemetry_seconds", "write_telemetry"]

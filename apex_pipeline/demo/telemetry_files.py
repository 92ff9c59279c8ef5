"""Writes the telemetry file: one row per reading, block by block; see signals.py for the values.

A block is one lap of one car, newest frame first as in the real files: 3 MB at the full rate, regardless of the size of
the file. Rows are concatenated from strings that are formatted once per value and once per frame.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apex_pipeline.demo.faults import FaultKind, InjectedFault, InjectedReject
from apex_pipeline.demo.formatting import utc_texts
from apex_pipeline.demo.lap_files import radio_holes_ms
from apex_pipeline.demo.options import SLOW_RATE_HZ
from apex_pipeline.demo.signals import Indices, signals_of
from apex_pipeline.demo.simulation import CarRace, DrivenLap, Race

_HEADER = (
    "expire_at,lap,meta_event,meta_session,meta_source,meta_time,original_vehicle_id,outing,telemetry_name,"
    "telemetry_value,timestamp,vehicle_id,vehicle_number"
)
_REPEATED_SHARE = (
    0.01  # of all rows, for exact and for conflicting duplicates each; real files have 0.7 to 4.7 % of both
)
_MESSAGE_MS = 220  # readings within this period are sent in one message and share its receive time
_LATENCY_MS = 950
_SHORT_ROW_COLUMNS = 4
_BAD_VALUE = "#ERR"


@dataclass(frozen=True)
class TelemetryTruth:
    """Row counts of a telemetry file.

    Attributes:
        file: Path relative to the weekend's folder.
        rows: Data rows without the header, including rows that cannot be parsed.
        exact_duplicate_rows: Rows equal in every column to an earlier row.
        conflicting_rows: Rows with the car, car time and channel of an earlier row but another value. Cars with a
            frozen clock are not counted: all their rows share one car time.
        rejected_rows: Rows that cannot be parsed; each is among the ground truth's rejects.
    """

    file: str
    rows: int
    exact_duplicate_rows: int
    conflicting_rows: int
    rejected_rows: int


@dataclass(frozen=True)
class _TimeSpan:
    """The part of a lap during which the device's lap count stays the same; nearly always the entire lap."""

    lap: DrivenLap
    unit_lap: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class _FrameTimes:
    """The frames of one block, oldest first; every array has shape (frames,)."""

    true_ms: npt.NDArray[np.int64]
    car_ms: npt.NDArray[np.int64]
    received_ms: npt.NDArray[np.int64]
    is_slow: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SampleRates:
    """How often cars send their fast channels.

    Attributes:
        best_hz: Rate of the first car of each race, which drives the best lap.
        others_hz: Rate of all other cars.
    """

    best_hz: float
    others_hz: float


class TelemetryWriter:
    """Writes the telemetry file of one race, and records the faults and rejects it injects.

    Attributes:
        rejects: Rows written that cannot be parsed.
    """

    def __init__(self, race: Race, rates: SampleRates, seed: int) -> None:
        """Create a writer.

        Args:
            race: The race.
            rates: Rates of the fast channels; the slow ones have about 4.6 Hz at most.
            seed: Seed for noise and repeated rows.
        """
        self._race = race
        self._rates = rates
        self._rng = np.random.default_rng([seed, race.track.index, race.number, 2])
        self._signals = signals_of(race.track.slug)
        self._rows = self._exact_duplicates = self._conflicts = 0
        self.rejects: list[InjectedReject] = []

    @property
    def truth(self) -> TelemetryTruth:
        """Row counts of the file."""
        return TelemetryTruth(
            file=self._race.track.path("telemetry", self._race.number),
            rows=self._rows,
            exact_duplicate_rows=self._exact_duplicates,
            conflicting_rows=self._conflicts,
            rejected_rows=len(self.rejects),
        )

    def faults(self) -> Iterator[InjectedFault]:
        """Yield the faults of the written rows."""
        race = self._race
        if race.plan.has_repeated_rows:
            conflicts = f"{self._conflicts} rows have car, car time and channel of an earlier row but another value."
            exact = f"{self._exact_duplicates} rows equal an earlier row."
            yield race.fault(FaultKind.NEWEST_FIRST_ROWS, "telemetry", "By car and lap, newest row first.")
            yield race.fault(FaultKind.EXACT_DUPLICATES, "telemetry", exact)
            yield race.fault(FaultKind.CONFLICTING_DUPLICATES, "telemetry", conflicts)
        if race.plan.has_unparsable_value:
            detail = f"Line {self.rejects[0].line} has a value that is not a number."
            yield race.fault(FaultKind.UNPARSABLE_VALUE, "telemetry", detail)

    def write(self, path: Path, progress: Callable[[int], None]) -> None:
        """Write the file into an existing folder; ``progress`` is called with the bytes of each block."""
        with path.open("wb") as file:
            for block in self._blocks():
                progress(file.write(block.encode("ascii")))

    def _blocks(self) -> Iterator[str]:
        yield _HEADER + self._race.track.eol
        for entry in sorted(self._race.entries, key=lambda entry: entry.car.vehicle_id):
            # Cars are sorted as text and laps by the device's count (32768 comes last), newest first within a count.
            spans = [span for lap in entry.laps for span in _time_spans(lap)]
            for span in sorted(spans, key=lambda span: (span.unit_lap, -span.start_ms)):
                frames = self._frames(entry, span)
                if len(frames.true_ms):
                    yield self._block(entry, span, frames)
                    yield self._unusable_row(entry, span.unit_lap, frames)

    def _frames(self, entry: CarRace, span: _TimeSpan) -> _FrameTimes:
        rate_hz = self._rates.best_hz if entry is self._race.entries[0] else self._rates.others_hz
        period_ms = 1000 / rate_hz
        first_frame_ms = entry.laps[0].start_ms
        first, last = (int(np.ceil((edge - first_frame_ms) / period_ms)) for edge in (span.start_ms, span.end_ms))
        number = np.arange(first, last)
        true_ms = first_frame_ms + np.rint(number * period_ms).astype(np.int64)
        is_received = true_ms <= self._race.export_end_ms
        for hole_start_ms, hole_end_ms in radio_holes_ms(self._race, entry):
            is_received &= (true_ms <= hole_start_ms) | (true_ms >= hole_end_ms)
        number, true_ms = number[is_received], true_ms[is_received]
        if entry.frozen_at_ms is None:
            car_ms = true_ms - entry.clock_offset_ms
            received_ms = self._received_ms(true_ms)
        else:
            # Only the receive time distinguishes these frames, so each is sent as a separate message.
            car_ms = np.full(len(true_ms), entry.frozen_at_ms)
            received_ms = true_ms + _LATENCY_MS
        slow_every = max(1, round(rate_hz / SLOW_RATE_HZ))
        return _FrameTimes(true_ms, car_ms, received_ms, number % slow_every == 0)

    def _received_ms(self, true_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the receive time of each frame; all frames of a message share the delay drawn for its first frame."""
        message = true_ms // _MESSAGE_MS
        delay_ms = _LATENCY_MS + self._rng.integers(0, 150, len(message))
        _, first_of, message_of = np.unique(message, return_index=True, return_inverse=True)
        return (message + 1) * _MESSAGE_MS + delay_ms[first_of][message_of]

    def _block(self, entry: CarRace, span: _TimeSpan, frames: _FrameTimes) -> str:
        """Return the rows of one time span, newest first."""
        signals = self._signals
        duration_ms = span.lap.end_ms - span.lap.start_ms
        indices = signals.indices((frames.true_ms - span.lap.start_ms) / duration_ms, duration_ms, self._rng)
        is_sent = np.ones(indices.shape, dtype=bool)
        is_sent[~frames.is_slow, len(self._race.track.fast_channels) :] = False
        frame, channel = np.nonzero(is_sent[::-1])
        frame = len(indices) - 1 - frame
        index = indices[frame, channel]
        if self._race.plan.has_repeated_rows:
            frame, index = self._with_repeats(frame, channel, index, is_frozen=entry.frozen_at_ms is not None)
        self._rows += len(frame)
        befores, afters = _row_texts(self._race, entry, span.unit_lap, frames)
        rows = zip(frame.tolist(), index.tolist(), strict=True)
        return "".join([f"{befores[at]}{signals.texts[value]}{afters[at]}" for at, value in rows])

    def _with_repeats(
        self, frame: Indices, channel: Indices, index: Indices, *, is_frozen: bool
    ) -> tuple[Indices, Indices]:
        """Return frame and text index of every row, with some rows repeated; half of the repeats differ by one step."""
        draw = self._rng.random(len(index))
        is_exact = draw < _REPEATED_SHARE
        is_conflict = ~is_exact & (draw < 2 * _REPEATED_SHARE) & self._signals.is_number[channel]
        other = np.where(index < self._signals.last_index[channel], index + 1, index - 1)
        times = 1 + is_exact + is_conflict
        is_copy = np.ones(int(times.sum()), dtype=bool)
        is_copy[np.cumsum(times) - times] = False
        values = np.where(is_copy & np.repeat(is_conflict, times), np.repeat(other, times), np.repeat(index, times))
        self._exact_duplicates += int(is_exact.sum())
        self._conflicts += 0 if is_frozen else int(is_conflict.sum())
        return np.repeat(frame, times), values

    def _unusable_row(self, entry: CarRace, unit_lap: int, frames: _FrameTimes) -> str:
        """Return the unparsable row if the plan has one; it is written once, after the first block."""
        race = self._race
        is_short = race.plan.short_row_in == "telemetry"
        if self.rejects or not (is_short or race.plan.has_unparsable_value):
            return ""
        befores, afters = _row_texts(race, entry, unit_lap, frames)
        if is_short:
            row, reason = ",".join(befores[0].split(",")[:_SHORT_ROW_COLUMNS]) + race.track.eol, "too_few_columns"
        else:
            row, reason = f"{befores[0]}speed,{_BAD_VALUE}{afters[0]}", "bad_number"
        self._rows += 1
        line = self._rows + 1  # the header is line 1
        self.rejects.append(InjectedReject(race.track.path("telemetry", race.number), line, reason))
        return row


def _time_spans(lap: DrivenLap) -> list[_TimeSpan]:
    """Return the time spans of a lap by the device's lap count: two if it counted a spurious crossing."""
    if lap.spurious_ms is None:
        return [_TimeSpan(lap, lap.unit_lap, lap.start_ms, lap.end_ms)]
    return [
        _TimeSpan(lap, lap.first_unit_lap, lap.start_ms, lap.spurious_ms),
        _TimeSpan(lap, lap.unit_lap, lap.spurious_ms, lap.end_ms),
    ]


def _row_texts(race: Race, entry: CarRace, unit_lap: int, frames: _FrameTimes) -> tuple[list[str], list[str]]:
    """Return the text before and after ``channel,value`` in the rows of each frame."""
    car = entry.car
    before = f",{unit_lap},{race.track.event_code},{race.session},kafka:gr-raw,"
    between = f",{car.vehicle_id},0,"
    after = f",{car.vehicle_id},{int(car.suffix)}{race.track.eol}"
    befores = [f"{before}{received}{between}" for received in utc_texts(frames.received_ms)]
    afters = [f",{sampled}{after}" for sampled in utc_texts(frames.car_ms)]
    return befores, afters


def telemetry_seconds(race: Race) -> tuple[float, float]:
    """Return the duration of telemetry within the export in seconds: of the first car, and of all others together."""
    first, *others = (
        sum(max(0, min(lap.end_ms, race.export_end_ms) - lap.start_ms) for lap in entry.laps) for entry in race.entries
    )
    return first / 1000, sum(others) / 1000


def frame_bytes(race: Race) -> tuple[float, float]:
    """Return the mean size in bytes of a frame's fast and slow rows, from one nominal lap of the first car."""
    signals = signals_of(race.track.slug)
    entry = race.entries[0]
    lap = entry.laps[0]
    share = np.linspace(0, 1, 200, endpoint=False)
    indices = signals.indices(share, race.track.lap_ms, np.random.default_rng(0))
    lengths = np.array([[len(signals.texts[index]) for index in row] for row in indices.tolist()]).mean(axis=0)
    instant = np.array([lap.start_ms])
    befores, afters = _row_texts(race, entry, lap.unit_lap, _FrameTimes(instant, instant, instant, instant > 0))
    growth = 1 + 2 * _REPEATED_SHARE if race.plan.has_repeated_rows else 1
    sizes = (lengths + len(befores[0]) + len(afters[0])) * growth
    fast = len(race.track.fast_channels)
    return float(sizes[:fast].sum()), float(sizes[fast:].sum())

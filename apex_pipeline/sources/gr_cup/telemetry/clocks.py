"""Measures the clock correction of each car: car clocks are days off and sometimes frozen; receive times are right.

A car's clock runs at the right rate while the car is on, so one offset per piece of it (see ``clock_pieces.py``)
converts it to UTC. Two independent witnesses give the offset: the lower edge of receive time minus car time, which
contains the shortest delay of a message, and the lap changes of the device (see ``clock_laps.py``), which do not. A
clock that hardly advances while messages arrive is frozen; for such a car only the receive time is usable.

Every reading has the same weight. Memory grows with the number of distinct times, not of readings, up to a bound far
beyond the times of a race.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.telemetry.clock_laps import LapCrossings, compare_with_laps
from apex_pipeline.sources.gr_cup.telemetry.clock_pieces import (
    EXPLAINED_MS,
    Cells,
    ClockPiece,
    find_pieces,
    place,
    with_latest,
)
from apex_pipeline.sources.gr_cup.telemetry.pivot import unique
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames, join

Ints = npt.NDArray[np.int64]

# A running clock shows a new time about every 20 ms, and a message arrives about every 300 ms. A clock that shows fewer
# than one time per ten messages is frozen, even with a stray time among them (two real cars: one time in 45 minutes).
_MESSAGES_PER_TIME = 10
# Values buffered before they are merged into the counts.
_MAX_BUFFERED = 100_000
# Frames looked at together. The calls of numpy for 1,500 frames, as the blocks of shuffled rows have, cost as much as
# their work.
_BATCH_FRAMES = 20_000
# Number of different messages, and as many times of the clock as show that it runs; a day has 300,000 messages.
_MAX_MESSAGES = 5_000_000
_MAX_TIMES = _MAX_MESSAGES // _MESSAGES_PER_TIME + 1
# Number of different delays. Messages are at most a minute late and times have milliseconds, so only a clock without
# any order has more; its delays are rounded.
_MAX_DELAYS = 1_000_000
# Cells of a second; a day has 86,400 seconds, with a few laps and delays each.
_MAX_CELLS = 1_000_000
# Share of the readings below the lower edge. A stray message with a wrong receive time must not move the edge, and no
# more than 1 % of the readings may be received before they were sampled: half of that leaves room for the lap changes,
# which put the offset 0.05 to 0.25 s lower still (the shortest delay of a message, 13 real files).
_EDGE_SHARE = 0.005
# Values within this many milliseconds (a minute and a half) are counted with bincount, four times as fast as by
# sorting. Messages are at most a minute late.
_NARROW_SPAN_MS = 100_000
# A shorter span cannot show that a clock is frozen: one message holds up to a second of readings.
_SHORTEST_SPAN_MS = 10_000


def measure_clock(car: str, blocks: Callable[[], Iterable[Frames]], crossings: LapCrossings | None = None) -> CarClock:
    """Measure the clock of a car against the receive times, and against its crossings where they are known.

    Args:
        car: Vehicle id.
        blocks: Returns its frames, at least one block; called again for a clock of several pieces.
        crossings: Its crossings in the lap files.
    """
    delays, car_times, messages = _Counts(), _DistinctTimes(_MAX_TIMES), _DistinctTimes(_MAX_MESSAGES)
    cells = CellsBuilder()
    for frames in _batches(blocks()):
        delays.add(frames.received_ms - frames.car_ms, frames.readings)
        car_times.add(frames.car_ms)
        messages.add(frames.received_ms)
        cells.add(frames)
    is_standing = car_times.count <= max(messages.count / _MESSAGES_PER_TIME, 1)
    if messages.span_ms > _SHORTEST_SPAN_MS and is_standing:
        return CarClock(car, (_frozen(car_times, delays),), is_frozen=True)
    # A few frames may show no running clock; then all of them are taken for one.
    pieces = find_pieces(cells.cells(), cells.unit_ms) or [
        ClockPiece(car_times.first, car_times.last, delays.at_share(_EDGE_SHARE))
    ]
    is_simple = len(pieces) == 1 and abs(delays.at_share(_EDGE_SHARE) - pieces[0].edge_offset_ms) <= EXPLAINED_MS
    pieces = [_with_edge(pieces[0], delays)] if is_simple else _edges(pieces, blocks())
    compared = compare_with_laps(pieces, cells.cells(), crossings)
    return CarClock(car, tuple(with_latest(compared, cells.cells())), is_frozen=False)


def _batches(blocks: Iterable[Frames]) -> Iterator[Frames]:
    """Yield the frames in larger batches, without their readings: the blocks of shuffled rows are small."""
    parts: list[Frames] = []
    size = 0
    for block in blocks:
        # Copied, because a part of a block would keep all its readings in memory.
        columns = (column.copy() for column in (block.car_ms, block.received_ms, block.unit_lap, block.readings))
        parts.append(Frames(*columns, channel=block.channel[:0].copy(), value=block.value[:0].copy()))
        size += len(block.car_ms)
        if size >= _BATCH_FRAMES:
            yield join(parts)
            parts, size = [], 0
    if parts:
        yield join(parts)


def _frozen(car_times: "_DistinctTimes", delays: "_Counts") -> ClockPiece:
    piece = ClockPiece(car_times.first, car_times.last, 0)
    return replace(_with_edge(piece, delays), edge_offset_ms=delays.at_share(0.5))


def _with_edge(piece: ClockPiece, delays: "_Counts") -> ClockPiece:
    return replace(
        piece,
        edge_offset_ms=delays.at_share(_EDGE_SHARE),
        spread_ms=delays.at_share(0.95) - delays.at_share(0.05),
    )


def _edges(pieces: Sequence[ClockPiece], blocks: Iterable[Frames]) -> list[ClockPiece]:
    """Return the pieces with the lower edge and spread of their own frames."""
    delays = [_Counts() for _ in pieces]
    for frames in blocks:
        index = place(pieces, frames.car_ms, frames.received_ms)
        for number in np.unique(index[index >= 0]):
            # Only those that the piece shows: at its ends the clock may stand still.
            is_own = (index == number) & pieces[number].shows(frames.car_ms)
            if is_own.any():
                delays[number].add((frames.received_ms - frames.car_ms)[is_own], frames.readings[is_own])
    return [
        _with_edge(piece, of_piece) if of_piece.has_any else piece
        for piece, of_piece in zip(pieces, delays, strict=True)
    ]


class CellsBuilder:
    """Groups a car's frames by second of receive time, second of delay, and lap.

    Attributes:
        unit_ms: Width of a cell: a second, more if there are too many of them.
    """

    def __init__(self) -> None:
        self.unit_ms = 1_000
        self._buffered: list[Cells] = []
        self._merged: Cells | None = None

    def add(self, frames: Frames) -> None:
        """Add frames."""
        ones = np.ones_like(frames.car_ms)
        delay_ms = frames.received_ms - frames.car_ms
        cells = Cells(frames.received_ms, delay_ms, frames.unit_lap, frames.car_ms, frames.car_ms, ones)
        self._buffered.append(grouped(cells, self.unit_ms))
        merged = 0 if self._merged is None else len(self._merged.frames)
        if sum(len(part.frames) for part in self._buffered) > _MAX_BUFFERED + merged:
            self.cells()

    def cells(self) -> Cells:
        """Return the cells of all frames added so far."""
        if self._buffered:
            parts = [*([] if self._merged is None else [self._merged]), *self._buffered]
            self._buffered = []
            cells = grouped(Cells(*(np.concatenate(column) for column in zip(*parts, strict=True))), self.unit_ms)
            while len(cells.frames) > _MAX_CELLS:
                self.unit_ms *= 10
                cells = grouped(cells, self.unit_ms)
            self._merged = cells
        if self._merged is None:
            raise ValueError("at least one block of frames must be added")
        return self._merged


def grouped(cells: Cells, unit_ms: int) -> Cells:
    """Return the cells merged where receive time, delay and lap are equal to the unit."""
    if not len(cells.frames):
        return cells
    order, is_new = order_by([cells.received_ms // unit_ms, cells.delay_ms // unit_ms, cells.unit_lap])
    start = np.flatnonzero(is_new)
    first = order[start]
    return Cells(
        cells.received_ms[first] // unit_ms * unit_ms,
        np.minimum.reduceat(cells.delay_ms[order], start),
        cells.unit_lap[first],
        np.minimum.reduceat(cells.first_car_ms[order], start),
        np.maximum.reduceat(cells.last_car_ms[order], start),
        np.add.reduceat(cells.frames[order], start),
    )


def order_by(keys: Sequence[Ints]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return the order by several keys, and which element of it differs from the one before. Shapes (n,).

    Keys whose ranges fit into one number are sorted as one, three times as fast; elements with equal keys are in any
    order.
    """
    lowest = [int(key.min()) for key in keys]
    spans = [int(key.max()) - low + 1 for key, low in zip(keys, lowest, strict=True)]
    if math.prod(spans) <= np.iinfo(np.int64).max:
        joined = keys[0] - lowest[0]
        for key, low, span in zip(keys[1:], lowest[1:], spans[1:], strict=True):
            joined = joined * span + (key - low)
        order = np.argsort(joined)
        keys = [joined]
    else:
        order = np.lexsort(keys[::-1])
    is_new = np.zeros(len(order), dtype=bool)
    is_new[:1] = True
    for key in keys:
        is_new[1:] |= np.diff(key[order]) != 0
    return order, is_new


class _DistinctTimes:
    """Counts the distinct values of many times, up to a maximum.

    Args:
        most: Maximum count; further times change only the span.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffered: list[Ints] = []
        self._times = np.empty(0, np.int64)
        self._first, self._last = np.iinfo(np.int64).max, np.iinfo(np.int64).min

    def add(self, times: Ints) -> None:
        """Add times."""
        if not len(times):
            return
        self._first, self._last = min(self._first, int(times.min())), max(self._last, int(times.max()))
        if len(self._times) >= self._most:
            return
        # Copied, because the times are a part of a block with all its readings, which would stay in memory.
        self._buffered.append(times.copy())
        # Rare merges keep the work linear; a buffer no larger than the merged times bounds the memory.
        if sum(map(len, self._buffered)) > _MAX_BUFFERED + len(self._times):
            self._merge()

    @property
    def count(self) -> int:
        """Number of distinct times."""
        self._merge()
        return min(len(self._times), self._most)

    @property
    def first(self) -> int:
        """The earliest time."""
        return self._first

    @property
    def last(self) -> int:
        """The latest time."""
        return self._last

    @property
    def span_ms(self) -> int:
        """Time from the first to the last."""
        return self._last - self._first

    def _merge(self) -> None:
        ascending = np.sort(np.concatenate([self._times, *self._buffered]))
        self._times = ascending[np.diff(ascending, prepend=ascending[:1] - 1) != 0]
        self._buffered = []


class _Counts:
    """Counts how often each value occurs."""

    def __init__(self) -> None:
        self._buffered: list[tuple[Ints, Ints]] = []
        self._values = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._unit = 1

    def add(self, values: Ints, counts: Ints) -> None:
        """Add values with their counts."""
        self._buffered.append((values, counts.copy()))
        if sum(len(values) for values, _ in self._buffered) > _MAX_BUFFERED + len(self._values):
            self._merge()

    @property
    def has_any(self) -> bool:
        """Whether any value was added."""
        return bool(self._buffered or len(self._values))

    def at_share(self, share: float) -> int:
        """Return the smallest value at which the cumulative count reaches a share of the total."""
        self._merge()
        cumulative = np.cumsum(self._counts)
        return int(self._values[np.searchsorted(cumulative, share * cumulative[-1], side="left")])

    def _merge(self) -> None:
        if self._buffered:
            parts = [(self._values, self._counts), *self._buffered]
            self._buffered = []
            values, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
            self._values, self._counts = _sum_counts(_rounded(values, self._unit), counts)
            while len(self._values) > _MAX_DELAYS:
                self._unit *= 10
                self._values, self._counts = _sum_counts(_rounded(self._values, self._unit), self._counts)


def _rounded(values: Ints, unit: int) -> Ints:
    return values if unit == 1 else values // unit * unit


def _sum_counts(values: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Return the distinct values, ascending, and the total count of each."""
    first, span = values.min(), int(np.ptp(values)) + 1
    if span <= _NARROW_SPAN_MS:
        sums = np.bincount(values - first, weights=counts, minlength=span).astype(np.int64)
        occurs = np.flatnonzero(sums)
        return occurs + first, sums[occurs]
    distinct, index = unique(values)
    return distinct, np.bincount(index, weights=counts, minlength=len(distinct)).astype(np.int64)

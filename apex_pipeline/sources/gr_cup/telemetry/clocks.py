"""Measures the clock correction of each car: car clocks are days off and sometimes frozen; receive times are right.

A car's clock runs at the right rate while the car is on, so adding the median of receive time minus car time converts
it to UTC, about a second late (the delivery time of a message). A clock that hardly advances while messages arrive is
frozen; for such a car only the receive time is usable.

Every reading has the same weight. Memory grows with the number of distinct times, not of readings, up to a bound far
beyond the times of a race.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.telemetry.pivot import unique
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames

Ints = npt.NDArray[np.int64]

# A running clock shows a new time about every 20 ms, and a message arrives about every 300 ms. A clock that shows fewer
# than one time per ten messages is frozen, even with a stray time among them (two real cars: one time in 45 minutes).
_MESSAGES_PER_TIME = 10
# Values buffered before they are merged into the counts.
_MAX_BUFFERED = 100_000
# Number of different messages, and as many times of the clock as show that it runs; a day has 300,000 messages.
_MAX_MESSAGES = 5_000_000
_MAX_TIMES = _MAX_MESSAGES // _MESSAGES_PER_TIME + 1
# Number of different delays. Messages are at most a minute late and times have milliseconds, so only a clock without
# any order has more; its delays are rounded.
_MAX_DELAYS = 1_000_000
# Values within this many milliseconds (a minute and a half) are counted with bincount, four times as fast as by
# sorting. Messages are at most a minute late.
_NARROW_SPAN_MS = 100_000
# A shorter span cannot show that a clock is frozen: one message holds up to a second of readings.
_SHORTEST_SPAN_MS = 10_000


def measure_clock(car: str, blocks: Iterable[Frames]) -> CarClock:
    """Measure the clock of a car against the receive times.

    Args:
        car: Vehicle id.
        blocks: Its frames, at least one block.
    """
    delays, car_times, messages = _Counts(), _DistinctTimes(_MAX_TIMES), _DistinctTimes(_MAX_MESSAGES)
    for frames in blocks:
        delays.add(frames.received_ms - frames.car_ms, frames.readings)
        car_times.add(frames.car_ms)
        messages.add(frames.received_ms)
    is_standing = car_times.count <= max(messages.count / _MESSAGES_PER_TIME, 1)
    return CarClock(
        vehicle_id=car,
        # For an even number of readings: the mean of the two middle ones, rounded up.
        offset_s=(delays.at_share(0.5) + delays.beyond_share(0.5) + 1) // 2 / 1000,
        spread_s=(delays.at_share(0.95) - delays.at_share(0.05)) / 1000,
        is_frozen=messages.span_ms > _SHORTEST_SPAN_MS and is_standing,
    )


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

    def at_share(self, share: float) -> int:
        """Return the smallest value at which the cumulative count reaches a share of the total."""
        return self._quantile(share, "left")

    def beyond_share(self, share: float) -> int:
        """Return the smallest value at which the cumulative count exceeds a share of the total."""
        return self._quantile(share, "right")

    def _quantile(self, share: float, side: Literal["left", "right"]) -> int:
        self._merge()
        cumulative = np.cumsum(self._counts)
        return int(self._values[np.searchsorted(cumulative, share * cumulative[-1], side=side)])

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

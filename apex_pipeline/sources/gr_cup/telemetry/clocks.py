"""When a reading was taken: the car's own clock is days off and sometimes stands still; the receive time is true.

A car's clock runs evenly while the car is on, so the median of receive time minus car time brings it to UTC, about a
second late (the way of the message). A clock that hardly moves while messages arrive is frozen; for such a car the
receive time is all there is.

Every reading weighs the same. What is kept meanwhile grows with the number of different times, not of readings.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.telemetry.pivot import unique
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames

Whole = npt.NDArray[np.int64]

# A running clock shows a new time about every 20 ms and a message arrives about every 300 ms. A clock that shows fewer
# than one time in ten messages stands still, whatever single stray time is among them (two real cars: one time in
# 45 minutes).
_MESSAGES_PER_TIME = 10
# Values held back before they are merged with those counted already.
_WAITING = 100_000
# Values within so many milliseconds (a minute and a half) are counted by place, four times as quickly as by sorting.
# Messages come at most a minute late.
_NARROW = 100_000
# In less than this nothing can be said about standing still: one message holds up to a second of readings.
_SHORTEST_SPAN_MS = 10_000


def measure_clock(car: str, blocks: Iterable[Frames]) -> CarClock:
    """Return how far off a car's clock is.

    Args:
        car: Vehicle id.
        blocks: Its frames, at least one.
    """
    late, car_times, messages = _Counts(), _DistinctTimes(), _DistinctTimes()
    for frames in blocks:
        late.add(frames.received_ms - frames.car_ms, frames.readings)
        car_times.add(frames.car_ms)
        messages.add(frames.received_ms)
    shown, arrived = car_times.values, messages.values
    is_still = len(shown) <= max(len(arrived) / _MESSAGES_PER_TIME, 1)
    return CarClock(
        vehicle_id=car,
        # Between two middle readings it lies halfway, rounded up.
        offset_s=(late.at_share(0.5) + late.beyond_share(0.5) + 1) // 2 / 1000,
        spread_s=(late.at_share(0.95) - late.at_share(0.05)) / 1000,
        is_frozen=bool(arrived[-1] - arrived[0] > _SHORTEST_SPAN_MS and is_still),
    )


class _DistinctTimes:
    """The different ones of many times."""

    def __init__(self) -> None:
        self._waiting: list[Whole] = []
        self._times = np.empty(0, np.int64)

    def add(self, times: Whole) -> None:
        """Note times."""
        self._waiting.append(times)
        # Merging seldom keeps the work linear; holding back no more than there already is, the memory.
        if sum(map(len, self._waiting)) > _WAITING + len(self._times):
            self._merge()

    @property
    def values(self) -> Whole:
        """Each time once, ascending."""
        self._merge()
        return self._times

    def _merge(self) -> None:
        ascending = np.sort(np.concatenate([self._times, *self._waiting]))
        self._times = ascending[np.diff(ascending, prepend=ascending[:1] - 1) != 0]
        self._waiting = []


class _Counts:
    """How often each value occurs."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Whole, Whole]] = []
        self._values = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)

    def add(self, values: Whole, counts: Whole) -> None:
        """Count values."""
        self._waiting.append((values, counts))
        if sum(len(values) for values, _ in self._waiting) > _WAITING + len(self._values):
            self._merge()

    def at_share(self, share: float) -> int:
        """Return the smallest value that, with all smaller ones, makes up at least a share of what was counted."""
        return self._at(share, "left")

    def beyond_share(self, share: float) -> int:
        """Return the smallest value that, with all smaller ones, makes up more than a share of what was counted."""
        return self._at(share, "right")

    def _at(self, share: float, side: Literal["left", "right"]) -> int:
        self._merge()
        so_far = np.cumsum(self._counts)
        return int(self._values[np.searchsorted(so_far, share * so_far[-1], side=side)])

    def _merge(self) -> None:
        if self._waiting:
            parts = [(self._values, self._counts), *self._waiting]
            self._values, self._counts = _counted(*(np.concatenate(column) for column in zip(*parts, strict=True)))
            self._waiting = []


def _counted(values: Whole, counts: Whole) -> tuple[Whole, Whole]:
    """Return each value once, ascending, and the sum of its counts."""
    first, span = values.min(), int(np.ptp(values)) + 1
    if span <= _NARROW:
        sums = np.bincount(values - first, weights=counts, minlength=span).astype(np.int64)
        occurs = np.flatnonzero(sums)
        return occurs + first, sums[occurs]
    different, place = unique(values)
    return different, np.bincount(place, weights=counts, minlength=len(different)).astype(np.int64)

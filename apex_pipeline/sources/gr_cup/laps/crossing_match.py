"""Compares the cars' crossings with official ones, for every device and every official car at once.

Computes residuals, scores and counts of agreeing crossings; see ``identity.py`` for the decision based on them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialCar
from apex_pipeline.sources.gr_cup.laps.official_clock import OfficialClock

Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

# With the clocks aligned, a crossing this close to an official one agrees with it. In nine races 95 % are within
# 0.15 s, and late timestamps are seldom later than this.
AGREES_MS = 500.0
# The first or last crossing may be missing because it was just outside the export.
_EDGE_MS = 5_000


class CrossingMatch:
    """The crossing of each device that is nearest to each official crossing.

    Attributes:
        late_ms: Own minus official crossing, with the clocks aligned; shape (devices, official crossings).
    """

    def __init__(
        self, devices: Sequence[Sequence[Crossing]], cars: Sequence[OfficialCar], clock: OfficialClock
    ) -> None:
        self._cars = cars
        self._clock = clock
        self._local_ms = np.array([lap.local_ms for car in cars for lap in car.timed], dtype=np.float64)
        sizes = [len(car.timed) for car in cars]
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._owner = np.repeat(np.arange(len(cars)), sizes)
        official_ms = clock.utc_ms(self._local_ms)
        nearest = [_nearest(np.array([c.utc_ms for c in own], dtype=np.float64), official_ms) for own in devices]
        self.late_ms: Matrix = np.array([late for late, _, _ in nearest])
        self._own: Indices = np.array([own for _, own, _ in nearest])
        self._covered = np.array([covered for _, _, covered in nearest])

    def scores(self, reach_ms: float) -> Matrix:
        """Return the match score of each device and car: summed over crossings, 1 for exact, 0 if out of reach."""
        return self._per_car(np.clip(1 - (self.late_ms / reach_ms) ** 2, 0, None))

    def agreeing(self) -> Matrix:
        """Return how many crossings of each device agree with each car."""
        return self._per_car((np.abs(self.late_ms) <= AGREES_MS).astype(np.float64))

    def compared(self) -> Matrix:
        """Return how many official crossings of each car are within each device's reporting period."""
        return self._per_car(self._covered.astype(np.float64))

    def explained(self) -> int:
        """Return how many crossings of all devices agree with an official car, whichever it is."""
        return sum(len(set[int]().union(*self.shared(device).values())) for device in range(len(self.late_ms)))

    def shared(self, device: int) -> dict[int, set[int]]:
        """Return the device's crossings that agree with each car, by car; cars without any are left out."""
        found: dict[int, set[int]] = {}
        for column in np.flatnonzero(np.abs(self.late_ms[device]) <= AGREES_MS):
            found.setdefault(int(self._owner[column]), set()).add(int(self._own[device, column]))
        return found

    def median_late_s(self, device: int, car: int) -> float:
        """Return the median residual of the agreeing crossings, in seconds."""
        late = self.late_ms[device, self._owner == car]
        return float(np.median(late[np.abs(late) <= AGREES_MS])) / 1000

    def clock_with_drift(self, assigned: Mapping[int, int], reach_ms: float) -> OfficialClock:
        """Return the clock with its drift, measured on the crossings of the devices and their assigned cars."""
        is_used = np.zeros(self.late_ms.shape, dtype=np.bool_)
        for device, car in assigned.items():
            is_used[device] = (self._owner == car) & (np.abs(self.late_ms[device]) <= reach_ms)
        devices, columns = np.nonzero(is_used)
        local_ms = self._local_ms[columns]
        return self._clock.with_drift(local_ms, self._clock.utc_ms(local_ms) + self.late_ms[devices, columns])

    def _per_car(self, values: Matrix) -> Matrix:
        return np.add.reduceat(values, self._starts, axis=1)


def _nearest(own_ms: Matrix, official_ms: Matrix) -> tuple[Matrix, Indices, npt.NDArray[np.bool_]]:
    """Return lateness and index of the own crossing nearest to each official one, and whether that is covered.

    An official crossing is covered if it is within the device's reporting period.
    """
    after = np.minimum(np.searchsorted(own_ms, official_ms), len(own_ms) - 1)
    before = np.maximum(after - 1, 0)
    is_before = np.abs(own_ms[before] - official_ms) <= np.abs(own_ms[after] - official_ms)
    own = np.where(is_before, before, after)
    covered = (official_ms >= own_ms[0] - _EDGE_MS) & (official_ms <= own_ms[-1] + _EDGE_MS)
    return own_ms[own] - official_ms, own, covered

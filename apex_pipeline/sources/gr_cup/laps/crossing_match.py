"""Own crossings against official ones, for every unit and every official car at once.

Here belongs the measuring: residuals, scores, agreeing crossings. What follows from them is ``identity.py``.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialCar
from apex_pipeline.sources.gr_cup.laps.official_clock import OfficialClock

Matrix = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# A car's crossing agrees with an official one if they are this close, clocks aligned. Nine races: 95 % are within
# 0.15 s, and the stamps that come late are seldom later.
AGREES_MS = 500.0
# Crossings at the very ends of the export may be missing for a moment's difference.
_EDGE_MS = 5_000


class CrossingMatch:
    """Every unit's nearest crossing to every official crossing.

    Attributes:
        late_ms: Own minus official crossing, clocks aligned; shape (units, official crossings).
    """

    def __init__(self, units: Sequence[Sequence[Crossing]], cars: Sequence[OfficialCar], clock: OfficialClock) -> None:
        self._cars = cars
        self._clock = clock
        self._local_ms = np.array([lap.local_ms for car in cars for lap in car.timed], dtype=np.float64)
        sizes = [len(car.timed) for car in cars]
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._owner = np.repeat(np.arange(len(cars)), sizes)
        official_ms = clock.utc_ms(self._local_ms)
        measured = [_nearest(np.array([c.utc_ms for c in unit], dtype=np.float64), official_ms) for unit in units]
        self.late_ms: Matrix = np.array([late for late, _, _ in measured])
        self._own: Places = np.array([own for _, own, _ in measured])
        self._covered = np.array([covered for _, _, covered in measured])

    def scores(self, reach_ms: float) -> Matrix:
        """Return how well each unit fits each car: 1 for a perfect crossing, 0 for one out of reach, summed."""
        return self._per_car(np.clip(1 - (self.late_ms / reach_ms) ** 2, 0, None))

    def agreeing(self) -> Matrix:
        """Return how many crossings of each unit and car agree."""
        return self._per_car((np.abs(self.late_ms) <= AGREES_MS).astype(np.float64))

    def compared(self) -> Matrix:
        """Return how many crossings of each car fall in the time each unit reported."""
        return self._per_car(self._covered.astype(np.float64))

    def shared(self, unit: int) -> dict[int, set[int]]:
        """Return by car which of a unit's own crossings agree with it; cars without any are left out."""
        found: dict[int, set[int]] = {}
        for column in np.flatnonzero(np.abs(self.late_ms[unit]) <= AGREES_MS):
            found.setdefault(int(self._owner[column]), set()).add(int(self._own[unit, column]))
        return found

    def median_late_s(self, unit: int, car: int) -> float:
        """Return the middle residual of the agreeing crossings, seconds."""
        late = self.late_ms[unit, self._owner == car]
        return float(np.median(late[np.abs(late) <= AGREES_MS])) / 1000

    def followed_clock(self, chosen: Mapping[int, int], reach_ms: float) -> OfficialClock:
        """Return the clock with the drift shown by the pairs of units and cars that belong together."""
        belongs = np.zeros(self.late_ms.shape, dtype=np.bool_)
        for unit, car in chosen.items():
            belongs[unit] = (self._owner == car) & (np.abs(self.late_ms[unit]) <= reach_ms)
        units, columns = np.nonzero(belongs)
        local_ms = self._local_ms[columns]
        return self._clock.following(local_ms, self._clock.utc_ms(local_ms) + self.late_ms[units, columns])

    def _per_car(self, values: Matrix) -> Matrix:
        return np.add.reduceat(values, self._starts, axis=1)


def _nearest(own_ms: Matrix, official_ms: Matrix) -> tuple[Matrix, Places, npt.NDArray[np.bool_]]:
    """Return for every official crossing: how late the nearest own one is, which it is, whether the unit reported."""
    late = own_ms[:, None] - official_ms[None, :]
    own = np.abs(late).argmin(axis=0)
    covered = (official_ms >= own_ms[0] - _EDGE_MS) & (official_ms <= own_ms[-1] + _EDGE_MS)
    return late[own, np.arange(len(official_ms))], own, covered

"""What is usual in a session: for the field and for each car.

All limits come from the session's own laps, so they hold on a track nobody has seen: no length, no record. Here belongs
measuring the pace; what follows from it is ``lap_flags.py`` and ``late_crossings.py``.
"""

from collections.abc import Mapping, Sequence
from statistics import median_low

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.laps.lap import Lap

# The faster quarter of a session's laps is the measure of a brisk lap. A lap below 80 % of it was not driven; one below
# 95 % was not either unless at least two other laps come within 3 % of it (in a practice few laps are fast, but a fast
# lap is never alone: the false ones found in real files are).
_NEVER_SHARE = 0.8
_SHORT_SHARE = 0.95
_NEAR_SHARE = 1.03
_LAPS_NEARBY = 2
_SLOW_SHARE = 1.3
# The middle one of five laps was driven at the car's pace; of fewer, most may be rolling laps or the way to the pits.
_LAPS_FOR_OWN_PACE = 5


class Pace:
    """What is usual in a session, for all cars together and for each.

    Attributes:
        brisk_s: The faster quarter of all laps begins here.
        typical_s: By car: the middle one of its laps.
    """

    def __init__(self, by_car: Mapping[str, Sequence[Lap]]) -> None:
        laps = [lap for of_car in by_car.values() for lap in of_car]
        times_s = [lap.duration_s for lap in laps]
        self.brisk_s = float(np.quantile(times_s, 0.25, method="weibull")) if times_s else 0.0
        usual_s = median_low(times_s) if times_s else 0.0
        self.typical_s = {
            car: median_low(lap.duration_s for lap in of_car) if len(of_car) >= _LAPS_FOR_OWN_PACE else usual_s
            for car, of_car in by_car.items()
        }
        self._times_s = np.sort(np.array(times_s))
        self._starts_ms = np.array([lap.start_ms for lap in laps], dtype=np.int64)
        self._ends_ms = np.array([lap.end_ms for lap in laps], dtype=np.int64)
        self._cars = np.array([lap.vehicle_id for lap in laps], dtype=np.str_)
        self._durations_s = np.array(times_s)
        self._is_slow = np.array([self.is_slow(lap) for lap in laps], dtype=np.bool_)

    def is_never_driven(self, time_s: float) -> bool:
        """Tell whether no car does a lap in this time, alone or in company."""
        return time_s < _NEVER_SHARE * self.brisk_s

    def is_short(self, time_s: float) -> bool:
        """Tell whether the lap is shorter than racing laps of this session are."""
        return time_s < _SHORT_SHARE * self.brisk_s

    def is_implausibly_short(self, time_s: float) -> bool:
        """Tell whether nobody can have driven this lap: too short, or short and alone."""
        if not self.is_short(time_s):
            return False
        first = np.searchsorted(self._times_s, time_s / _NEAR_SHARE, side="left")
        last = np.searchsorted(self._times_s, time_s * _NEAR_SHARE, side="right")
        return self.is_never_driven(time_s) or int(last - first) - 1 < _LAPS_NEARBY

    def is_slow(self, lap: Lap) -> bool:
        """Tell whether the lap is long for its car."""
        return lap.duration_s > _SLOW_SHARE * self.typical_s[lap.vehicle_id]

    def was_field_slow(self, lap: Lap) -> bool:
        """Tell whether most other cars were slow too when this lap was driven (yellow flag, red flag, formation)."""
        around = self._is_slow[self._others_during(lap)]
        return 2 * int(around.sum()) > len(around)

    def field_lap_s(self, lap: Lap) -> float | None:
        """Return the middle one of the laps other cars were on meanwhile, in seconds; ``None`` if there were none."""
        around = self._durations_s[self._others_during(lap)]
        return float(np.median(around)) if len(around) else None

    def _others_during(self, lap: Lap) -> npt.NDArray[np.bool_]:
        """Mark the laps other cars were on in the middle of this one."""
        middle_ms = ((lap.start_ms or 0) + (lap.end_ms or 0)) // 2
        meanwhile = (self._starts_ms <= middle_ms) & (middle_ms < self._ends_ms)
        return meanwhile & (self._cars != lap.vehicle_id)

"""Computes the typical lap times of a session, for the field and for each car.

All limits are derived from the session's own laps, so they work on unknown tracks, without track length or lap record.
See ``lap_flags.py`` and ``late_crossings.py`` for the rules that use them.
"""

from collections.abc import Mapping, Sequence
from statistics import median_low

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.laps.lap import Lap

# The first quartile of a session's lap times is the time of a brisk lap. A lap below 80 % of it is impossible. A lap
# below 95 % is implausible unless at least two other laps are within 3 % of it: few laps of a practice are fast, but a
# real fast lap is never the only one, unlike the false ones in real files.
_IMPOSSIBLE_SHARE = 0.8
_SHORT_SHARE = 0.95
_NEAR_SHARE = 1.03
_LAPS_NEARBY = 2
_SLOW_SHARE = 1.3
# Minimum number of laps for a car's own median; of fewer laps, most may be formation or in-laps.
_MIN_LAPS_FOR_PACE = 5


class Pace:
    """Typical lap times of a session, for the field and for each car.

    Attributes:
        brisk_s: First quartile of all lap times, seconds.
        typical_s: Median lap time by car, seconds; that of the session for cars with fewer than five laps.
    """

    def __init__(self, by_car: Mapping[str, Sequence[Lap]]) -> None:
        laps = [lap for of_car in by_car.values() for lap in of_car]
        times_s = [lap.duration_s for lap in laps]
        self.brisk_s = float(np.quantile(times_s, 0.25, method="weibull")) if times_s else 0.0
        session_s = median_low(times_s) if times_s else 0.0
        self.typical_s = {
            car: median_low(lap.duration_s for lap in of_car) if len(of_car) >= _MIN_LAPS_FOR_PACE else session_s
            for car, of_car in by_car.items()
        }
        self._times_s = np.sort(np.array(times_s))
        self._starts_ms = np.array([lap.start_ms for lap in laps], dtype=np.int64)
        self._ends_ms = np.array([lap.end_ms for lap in laps], dtype=np.int64)
        self._cars = np.array([lap.vehicle_id for lap in laps], dtype=np.str_)
        self._durations_s = np.array(times_s)
        self._is_slow = np.array([self.is_slow(lap) for lap in laps], dtype=np.bool_)

    def is_impossible(self, time_s: float) -> bool:
        """Return whether the time is too short for any car, even if other laps are as short."""
        return time_s < _IMPOSSIBLE_SHARE * self.brisk_s

    def is_short(self, time_s: float) -> bool:
        """Return whether the time is shorter than a racing lap of this session."""
        return time_s < _SHORT_SHARE * self.brisk_s

    def is_implausibly_short(self, time_s: float) -> bool:
        """Return whether the time is implausible: impossible, or short and with few similar laps."""
        if not self.is_short(time_s):
            return False
        first = np.searchsorted(self._times_s, time_s / _NEAR_SHARE, side="left")
        last = np.searchsorted(self._times_s, time_s * _NEAR_SHARE, side="right")
        return self.is_impossible(time_s) or int(last - first) - 1 < _LAPS_NEARBY

    def is_slow(self, lap: Lap) -> bool:
        """Return whether the lap is long for its car."""
        return lap.duration_s > _SLOW_SHARE * self.typical_s[lap.vehicle_id]

    def was_field_slow(self, lap: Lap) -> bool:
        """Return whether most other cars were slow during this lap too (yellow flag, red flag, formation lap)."""
        is_slow = self._is_slow[self._others_during(lap)]
        return 2 * int(is_slow.sum()) > len(is_slow)

    def field_lap_s(self, lap: Lap) -> float | None:
        """Return the median time of other cars' laps during this one, in seconds; ``None`` if there are none."""
        durations_s = self._durations_s[self._others_during(lap)]
        return float(np.median(durations_s)) if len(durations_s) else None

    def _others_during(self, lap: Lap) -> npt.NDArray[np.bool_]:
        """Return a mask of the other cars' laps in progress halfway through this one."""
        middle_ms = ((lap.start_ms or 0) + (lap.end_ms or 0)) // 2
        is_during = (self._starts_ms <= middle_ms) & (middle_ms < self._ends_ms)
        return is_during & (self._cars != lap.vehicle_id)

"""Computes the racing pace of a session, for the field and for each car.

All limits are derived from the session's own laps, so they work on unknown tracks, without track length or lap record.
See ``lap_flags.py``, ``non_racing_laps.py`` and ``late_crossings.py`` for the rules that use them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median, median_low

import numpy as np

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap

# The racing pace is the fastest time that many laps share: a tenth of them, at least three, within 5 % of each other.
# Laps with a stop and stray triggers have no time in common, so they do not count however many they are. A group of
# slower laps replaces it only if it is larger and more than 1.6 times slower: more than behind a safety car.
_SHARED_SHARE = 0.1
_SHARED_LAPS = 3
_SHARED_SPREAD = 1.05
_OTHER_PACE = 1.6
# Of fewer laps, two must be within 2 %, because two laps with stops can be that close by chance.
_FEW_LAPS = 10
_SHARED_SPREAD_OF_TWO = 1.02
# The first quartile of the racing laps is the time of a brisk lap. A lap below 80 % of it is impossible. A lap below
# 95 % is implausible unless at least two other laps are within 3 % of it: few laps of a practice are fast, but a real
# fast lap is never the only one, unlike the false ones in real files.
_RACING = (0.95, 1.3)
_IMPOSSIBLE_SHARE = 0.8
_SHORT_SHARE = 0.95
_NEAR_SHARE = 1.03
_LAPS_NEARBY = 2
_SLOW_SHARE = 1.3
# A car's own pace counts if at least this many of its laps are not slower than 1.5 times the field's. A slower class
# has a pace of its own if five laps are within 8 % of each other.
_MIN_LAPS_FOR_PACE = 5
_CAR_RACING = (0.8, 1.5)
_CLASS_SPREAD = 1.08
_SLOWEST_CLASS = 2.2
# Laps that belong to a car's pace, relative to the first quartile of its laps.
_TYPICAL_SHARE = 1.1
# Laps of the field behind a safety car differ by less than this: at most 12 % in five real periods, with one lap in
# twenty-five partly at racing speed. Two cars or more must be as slow, because two stops can coincide.
_AS_SLOW = 1.15
_MIN_COMPANIONS = 2
# No circuit takes ten minutes at racing pace; the longest, at the Nürburgring, takes these cars nine.
LONGEST_LAP_S = 600.0


class Pace:
    """Racing pace of a session, for the field and for each car.

    Attributes:
        is_known: Whether enough laps are alike to show the racing pace.
        brisk_s: First quartile of the racing laps, seconds.
        typical_s: Typical racing lap by car, seconds; that of the session for cars with fewer than five racing laps.
    """

    def __init__(self, by_car: Mapping[str, Sequence[Lap]]) -> None:
        times_s = np.sort([lap.duration_s for lap in _reference(lap for laps in by_car.values() for lap in laps)])
        shared_s = _shared_time(times_s)
        self.is_known = shared_s is not None
        racing = times_s if shared_s is None else times_s[_is_between(times_s, shared_s, _RACING)]
        self.brisk_s = float(np.quantile(racing, 0.25, method="weibull")) if len(racing) else 0.0
        session_s = median_low(racing.tolist()) if len(racing) else 0.0
        self.typical_s = {car: self._typical(laps, session_s) for car, laps in by_car.items()}
        self._times_s = times_s
        self._tracks = {car: _Track(laps) for car, laps in by_car.items()}

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
        return self.is_impossible(time_s) or not self.is_shared(time_s, _NEAR_SHARE)

    def is_shared(self, time_s: float, spread: float) -> bool:
        """Return whether at least two laps besides one of this time are within the spread of it, such as 1.03."""
        first = np.searchsorted(self._times_s, time_s / spread, side="left")
        last = np.searchsorted(self._times_s, time_s * spread, side="right")
        return int(last - first) - 1 >= _LAPS_NEARBY

    def is_slow(self, lap: Lap) -> bool:
        """Return whether the lap is long for its car."""
        return lap.duration_s > _SLOW_SHARE * self.typical_s[lap.vehicle_id]

    def ratio(self, lap: Lap) -> float:
        """Return the lap's time relative to a typical lap of its car."""
        return lap.duration_s / (self.typical_s[lap.vehicle_id] or 1.0)

    def was_field_slow(self, lap: Lap) -> bool:
        """Return whether most other cars were slow during this lap too (yellow flag, red flag, formation lap)."""
        others = list(self._others_during(lap))
        return 2 * sum(map(self.is_slow, others)) > len(others)

    def was_slow_together(self, lap: Lap) -> bool:
        """Return whether most other cars, and at least two, were as slow as this one, as behind a safety car."""
        others = list(self._others_during(lap))
        low_s, high_s = lap.duration_s / _AS_SLOW, lap.duration_s * _AS_SLOW
        as_slow = sum(self.is_slow(other) and low_s < other.duration_s < high_s for other in others)
        return as_slow >= _MIN_COMPANIONS and 2 * as_slow > len(others)

    def field_lap_s(self, lap: Lap) -> float | None:
        """Return the median time of other cars' laps during this one, in seconds; ``None`` if there are none."""
        durations_s = [other.duration_s for other in self._others_during(lap)]
        return median(durations_s) if durations_s else None

    def _typical(self, laps: Sequence[Lap], session_s: float) -> float:
        """Return a car's typical lap: the median of its laps near their first quartile, or else the session's."""
        times_s = np.sort([lap.duration_s for lap in _reference(laps)])
        racing = times_s[_is_between(times_s, self.brisk_s, _CAR_RACING)]
        if len(racing) < _MIN_LAPS_FOR_PACE:
            own_s = _fastest_group(times_s, _MIN_LAPS_FOR_PACE, _CLASS_SPREAD)
            if own_s is None or own_s > _SLOWEST_CLASS * self.brisk_s:
                return session_s
            racing = times_s[times_s >= own_s]
        first_quartile_s = float(np.quantile(racing, 0.25, method="lower"))
        return median_low(racing[racing <= _TYPICAL_SHARE * first_quartile_s].tolist())

    def _others_during(self, lap: Lap) -> Iterator[Lap]:
        """Yield the other cars' laps in progress halfway through this one."""
        middle_ms = ((lap.start_ms or 0) + (lap.end_ms or 0)) // 2
        for car, track in self._tracks.items():
            other = track.at(middle_ms) if car != lap.vehicle_id else None
            if other is not None:
                yield other


class _Track:
    """Finds the lap of one car that is in progress at a time, without going through all of them."""

    def __init__(self, laps: Sequence[Lap]) -> None:
        self._laps = laps
        self._starts_ms = [lap.start_ms or 0 for lap in laps]

    def at(self, moment_ms: int) -> Lap | None:
        """Return the lap in progress, ``None`` between two days and outside the car's laps."""
        index = bisect_right(self._starts_ms, moment_ms) - 1
        return self._laps[index] if index >= 0 and moment_ms < (self._laps[index].end_ms or 0) else None


def _reference(laps: Iterable[Lap]) -> Iterator[Lap]:
    """Yield the laps that no late crossing bounds; a false time must not support another false time."""
    return (lap for lap in laps if Flag.LATE_TRIGGER_PAIR not in lap.flags)


def _is_between(times_s: np.ndarray, base_s: float, shares: tuple[float, float]) -> np.ndarray:
    return (times_s >= shares[0] * base_s) & (times_s <= shares[1] * base_s)


def _shared_time(times_s: np.ndarray) -> float | None:
    """Return the fastest time that many laps share, in seconds; ``None`` if there is none.

    Args:
        times_s: All lap times, ascending.
    """
    times_s = times_s[times_s <= LONGEST_LAP_S]
    needed = max(_SHARED_LAPS, round(_SHARED_SHARE * len(times_s)))
    fastest_s = _fastest_group(times_s, needed, _SHARED_SPREAD)
    if fastest_s is None:
        return _fastest_group(times_s, 2, _SHARED_SPREAD_OF_TWO) if len(times_s) < _FEW_LAPS else None
    sizes = np.searchsorted(times_s, _SHARED_SPREAD * times_s, side="right") - np.arange(len(times_s))
    largest_s = float(times_s[int(sizes.argmax())])
    return largest_s if largest_s > _OTHER_PACE * fastest_s else fastest_s


def _fastest_group(times_s: np.ndarray, needed: int, spread: float) -> float | None:
    """Return the fastest time with at least ``needed`` laps, itself included, up to ``spread`` times as long."""
    if len(times_s) < needed:
        return None
    is_group = times_s[needed - 1 :] <= spread * times_s[: len(times_s) - needed + 1]
    return float(times_s[int(is_group.argmax())]) if is_group.any() else None

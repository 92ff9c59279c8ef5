"""Flags laps that are driven, but not raced: formation laps, out-laps after a stop, laps after the race.

See ``lap_flags.py`` for laps that are too long or too short.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile
from statistics import median

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap
from apex_pipeline.sources.gr_cup.laps.pace import Pace

# In a formation lap the field arrives together: at least half of the cars cross the line within two minutes of each
# other (one lap on a short track), after a slow lap or as their first crossing. In practice cars go out one by one.
_SHARE_OF_CARS = 0.5
_TOGETHER_MS = 120_000
# No car races after the end of the race, but stray triggers can give a few laps that look like racing.
_FEW_SHARE = 0.05
# A lap out of the pits is slower than this: 1.18 or more in a simulated practice, where racing laps are within 1.05.
# The last lap of a car after the flag is its in-lap if it is slower than this.
_OUT_LAP_SHARE = 1.1
# The first lap of a race, from a crowded start, takes up to 1.18 typical laps in nine real sessions; formation laps
# take at least 1.31.
_FIRST_LAP_SHARE = 1.25
# A race starts with at least four cars, three quarters of them together; fewer can go out together by chance.
_CARS_AT_START, _SHARE_AT_START = 4, 0.75
# The field was neutralised, and did not roll to the start or to the pits, if it raced both before and after.
_RACED_LAPS = 2


def flag_non_racing_laps(by_car: Mapping[str, Sequence[Lap]], pace: Pace) -> None:
    """Flag formation laps, out-laps and the laps after the race.

    Args:
        by_car: Laps by car, in chronological order, flagged by length.
        pace: Racing pace of the session.
    """
    cars = [laps for laps in by_car.values() if laps]
    together_ms = round(min(_TOGETHER_MS, 1000 * pace.brisk_s))
    _flag_formation_laps(cars, pace, together_ms)
    _flag_laps_after_race(cars, pace, together_ms)
    _flag_slow_edges(cars, pace)
    _flag_out_laps(cars, pace, together_ms)
    if not pace.is_known:
        for lap in (lap for laps in cars for lap in laps):
            lap.flags.add(Flag.UNKNOWN_PACE)


def _flag_formation_laps(cars: Sequence[Sequence[Lap]], pace: Pace, together_ms: int) -> None:
    green_ms = _green_ms(cars, pace, together_ms)
    for lap in (lap for laps in cars for lap in laps):
        if green_ms is not None and lap.end_ms is not None and lap.end_ms <= green_ms + together_ms // 2:
            lap.flags.add(Flag.FORMATION_LAP)


def _flag_laps_after_race(cars: Sequence[Sequence[Lap]], pace: Pace, together_ms: int) -> None:
    flag_ms = _flag_ms(cars, pace, together_ms)
    if flag_ms is None:
        return
    for laps in cars:
        for lap in laps:
            if lap.start_ms is None or lap.start_ms < flag_ms - together_ms:
                continue
            is_in_lap = lap is laps[-1] and pace.ratio(lap) > _OUT_LAP_SHARE and lap.start_ms >= flag_ms
            if pace.is_slow(lap) or is_in_lap or lap.start_ms >= flag_ms + together_ms:
                lap.flags.add(Flag.POST_RACE_LAP)


def _flag_slow_edges(cars: Sequence[Sequence[Lap]], pace: Pace) -> None:
    """Flag the slow laps of the field before its first and after its last racing laps."""
    racing = [lap for laps in cars for lap in laps if not pace.is_slow(lap) and not pace.is_short(lap.duration_s)]
    starts_ms = sorted(lap.start_ms for lap in racing if lap.start_ms is not None)
    ends_ms = sorted(lap.end_ms for lap in racing if lap.end_ms is not None)
    needed = max(_RACED_LAPS, len(cars) // 2)
    for lap in (lap for laps in cars for lap in laps if Flag.SLOW_FIELD in lap.flags):
        middle_ms = ((lap.start_ms or 0) + (lap.end_ms or 0)) // 2
        if bisect_right(ends_ms, middle_ms) < needed:
            lap.flags.add(Flag.FORMATION_LAP)
        elif len(starts_ms) - bisect_left(starts_ms, middle_ms) < needed:
            lap.flags.add(Flag.POST_RACE_LAP)


def _flag_out_laps(cars: Sequence[Sequence[Lap]], pace: Pace, together_ms: int) -> None:
    """Flag slow laps after a stop, and slow first laps of cars."""
    first_share = _FIRST_LAP_SHARE if _is_start_of_race(cars, together_ms) else _OUT_LAP_SHARE
    for laps in cars:
        if pace.ratio(laps[0]) > first_share and laps[0].flags.isdisjoint({Flag.SLOW_FIELD, Flag.LONG_LAP}):
            laps[0].flags.add(Flag.OUT_LAP)
        for before, lap in pairwise(laps):
            is_after_stop = Flag.LONG_LAP in before.flags or before.end_ms != lap.start_ms
            if is_after_stop and pace.ratio(lap) > _OUT_LAP_SHARE and Flag.LONG_LAP not in lap.flags:
                lap.flags.add(Flag.OUT_LAP)


def _is_start_of_race(cars: Sequence[Sequence[Lap]], together_ms: int) -> bool:
    """Return whether most cars crossed the line together at the start of their first lap."""
    firsts_ms = [laps[0].start_ms or 0 for laps in cars]
    middle_ms = median(firsts_ms) if firsts_ms else 0
    together = sum(abs(first_ms - middle_ms) <= together_ms for first_ms in firsts_ms)
    return len(cars) >= _CARS_AT_START and together >= _SHARE_AT_START * len(cars)


def _green_ms(cars: Sequence[Sequence[Lap]], pace: Pace, together_ms: int) -> int | None:
    """Return when the field started racing, as the median end of formation laps; ``None`` without a formation lap."""
    rolling = [list(takewhile(pace.is_slow, laps)) for laps in cars]
    ends_ms = [laps[-1].end_ms for laps in rolling if laps and laps[-1].end_ms is not None]
    if not ends_ms:
        return None
    green_ms = round(median(ends_ms))
    firsts_ms = [laps[0].start_ms for laps, slow in zip(cars, rolling, strict=True) if not slow]
    together = [
        moment for moment in [*ends_ms, *firsts_ms] if moment is not None and abs(moment - green_ms) <= together_ms
    ]
    return green_ms if len(together) >= _SHARE_OF_CARS * len(cars) else None


def _flag_ms(cars: Sequence[Sequence[Lap]], pace: Pace, together_ms: int) -> int | None:
    """Return when the first car started its cool-down lap after the race; ``None`` if no car drove one."""
    cool_down = [list(takewhile(pace.is_slow, reversed(laps))) for laps in cars]
    starts_ms = sorted(laps[-1].start_ms for laps in cool_down if laps and laps[-1].start_ms is not None)
    brisk_ms = sorted(
        lap.start_ms for laps in cars for lap in laps if lap.start_ms is not None and not pace.is_slow(lap)
    )
    few = _FEW_SHARE * len(brisk_ms)
    return next(
        (start for start in starts_ms if len(brisk_ms) - bisect_right(brisk_ms, start + together_ms) <= few), None
    )

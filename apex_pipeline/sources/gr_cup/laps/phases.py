"""Which laps were raced: the rolling laps before the green flag and the way home after the chequered one are not.

Without official timing both are inferred from the field: it rolls together, slowly, before anybody has driven a brisk
lap, and again after the last one. With official timing ``confirming.py`` knows.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from statistics import median

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap
from apex_pipeline.sources.gr_cup.laps.pace import Pace

# The field rolls as one: at least half of the cars come to the line together, within two minutes of each other, after a
# slow lap or as their first crossing. In a practice cars go out one by one.
_SHARE_OF_CARS = 0.5
_TOGETHER_MS = 120_000
# After the race nobody races; a stray trigger can make a few laps that look as if.
_FEW_SHARE = 0.05


def flag_non_racing_laps(by_car: Mapping[str, Sequence[Lap]], pace: Pace) -> None:
    """Flag formation laps and the laps after the race.

    Args:
        by_car: Laps by car, in order.
        pace: What is usual in the session.
    """
    cars = [laps for laps in by_car.values() if laps]
    green_ms, flag_ms = _green_ms(cars, pace), _flag_ms(cars, pace)
    for lap in (lap for laps in cars for lap in laps):
        if lap.start_ms is None or lap.end_ms is None:
            continue
        if green_ms is not None and lap.end_ms <= green_ms + _TOGETHER_MS // 2:
            lap.flags.add(Flag.FORMATION_LAP)
        is_home = flag_ms is not None and lap.start_ms >= flag_ms - _TOGETHER_MS and pace.is_slow(lap)
        if is_home or (flag_ms is not None and lap.start_ms >= flag_ms + _TOGETHER_MS):
            lap.flags.add(Flag.POST_RACE_LAP)


def _green_ms(cars: Sequence[Sequence[Lap]], pace: Pace) -> int | None:
    """Return when the field crossed the line after rolling; ``None`` if it did not roll."""
    rolling = [list(takewhile(pace.is_slow, laps)) for laps in cars]
    ends_ms = [laps[-1].end_ms for laps in rolling if laps and laps[-1].end_ms is not None]
    if not ends_ms:
        return None
    green_ms = round(median(ends_ms))
    firsts_ms = [laps[0].start_ms for laps, slow in zip(cars, rolling, strict=True) if not slow]
    together = [
        moment for moment in [*ends_ms, *firsts_ms] if moment is not None and abs(moment - green_ms) <= _TOGETHER_MS
    ]
    return green_ms if len(together) >= _SHARE_OF_CARS * len(cars) else None


def _flag_ms(cars: Sequence[Sequence[Lap]], pace: Pace) -> int | None:
    """Return when the first car began its way home after the race; ``None`` if no car drove on."""
    home = [list(takewhile(pace.is_slow, reversed(laps))) for laps in cars]
    begins_ms = sorted(laps[-1].start_ms for laps in home if laps and laps[-1].start_ms is not None)
    return next((begin for begin in begins_ms if not _is_racing_after(begin + _TOGETHER_MS, cars, pace)), None)


def _is_racing_after(moment_ms: int, cars: Sequence[Sequence[Lap]], pace: Pace) -> bool:
    """Tell whether laps at racing pace begin after a moment: then it was not the end of the race."""
    brisk = [lap for laps in cars for lap in laps if not pace.is_slow(lap) and lap.start_ms is not None]
    return sum(lap.start_ms is not None and lap.start_ms > moment_ms for lap in brisk) > _FEW_SHARE * len(brisk)


__all__ = ["flag_non_racing_laps"]

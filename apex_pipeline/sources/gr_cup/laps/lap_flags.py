"""Contains the rules that flag a lap: length, bounces, split laps, outings, and laps outside the race."""

from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile
from statistics import median

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap, lap_between
from apex_pipeline.sources.gr_cup.laps.pace import Pace

# The unit's own time and the trigger difference agree within 50 ms in most laps; half a second apart, one is wrong.
_UNIT_AGREES_S = 0.5
# A lap of about two usual ones holds a crossing that was never sent.
_DOUBLE = (1.8, 2.2)


def flag_lap(lap: Lap, pace: Pace) -> None:
    """Add what the lap's own messages and its place among all lap times say to its flags."""
    said = {
        Flag.BOUNCED_TRIGGER: _has_bounce(lap),
        Flag.UNIT_LAP_LOST: lap.end is not None and lap.end.has_lost_counter,
        Flag.UNIT_VALUE_DISAGREES: lap.unit_s is not None and abs(lap.unit_s - lap.duration_s) > _UNIT_AGREES_S,
        Flag.IMPLAUSIBLY_SHORT: pace.is_implausibly_short(lap.duration_s),
    }
    lap.flags |= {flag for flag, applies in said.items() if applies}


def flag_long_lap(lap: Lap, pace: Pace) -> None:
    """Say why a lap is long for its car: the whole field was slow, a crossing is missing, or nobody knows."""
    if not pace.is_slow(lap):
        return
    field_s = pace.field_lap_s(lap) if pace.was_field_slow(lap) else None
    times = lap.duration_s / (field_s or pace.typical_s[lap.vehicle_id])
    if _DOUBLE[0] <= times <= _DOUBLE[1]:
        lap.flags.add(Flag.MISSING_CROSSING)
    else:
        lap.flags.add(Flag.SLOW_FIELD if field_s is not None and times < _DOUBLE[0] else Flag.LONG_LAP)


def flag_adjacent_laps(laps: Sequence[Lap], pace: Pace) -> None:
    """Flag the laps beside one that nobody can have driven: a crossing they share with it is none.

    Args:
        laps: A car's laps in order, late crossings repaired.
        pace: What is usual in the session.
    """
    for before, after in pairwise(laps):
        for short, neighbour in ((before, after), (after, before)):
            if pace.is_never_driven(short.duration_s):
                neighbour.flags.add(Flag.EXTRA_CROSSING)


def _has_bounce(lap: Lap) -> bool:
    return any(crossing is not None and crossing.bounces > 0 for crossing in (lap.start, lap.end))


# The parts together are one lap of this car: not shorter than racing laps, not longer than a slow racing lap.
_ONE_LAP_SHARE = 1.1


def merge_split_laps(laps: list[Lap], pace: Pace) -> list[Lap]:
    """Return a car's laps, parts that are one lap together joined.

    Args:
        laps: The car's laps in order.
        pace: What is usual in the session.
    """
    joined: list[Lap] = []
    for lap in laps:
        before = joined[-1] if joined else None
        if before is not None and _are_one(before, lap, pace):
            joined[-1] = _merge(before, lap)
        else:
            joined.append(lap)
    return joined


def _are_one(first: Lap, second: Lap, pace: Pace) -> bool:
    if not (pace.is_never_driven(first.duration_s) and pace.is_never_driven(second.duration_s)):
        return False
    together_s = first.duration_s + second.duration_s
    return not pace.is_short(together_s) and together_s < _ONE_LAP_SHARE * pace.typical_s[first.vehicle_id]


def _merge(first: Lap, second: Lap) -> Lap:
    if first.start is None or second.end is None:
        raise ValueError("parts of a lap are joined before anything but triggers is known")
    lap = lap_between(first.start, second.end)
    # The unit began its watch again at the crossing between.
    lap.unit_s = first.unit_s + second.unit_s if first.unit_s is not None and second.unit_s is not None else None
    lap.flags.add(Flag.EXTRA_CROSSING)
    return lap


# The longest gap between two crossings of one race in real files is 49 minutes (a car parked from formation to finish);
# the shortest between two days' sessions is 16 hours.
_APART_MS = 4 * 3_600_000


def split_outings(crossings: Sequence[Crossing]) -> list[list[Crossing]]:
    """Return a car's crossings in stretches without a gap of four hours or more."""
    stretches: list[list[Crossing]] = [[crossing] for crossing in crossings[:1]]
    for before, after in pairwise(crossings):
        if after.utc_ms - before.utc_ms >= _APART_MS:
            stretches.append([after])
        else:
            stretches[-1].append(after)
    return stretches


def main_stretch_ms(crossings: Mapping[str, Sequence[Crossing]]) -> tuple[int, int]:
    """Return begin and end of the stretch of time that holds most of the session's crossings.

    Args:
        crossings: By car, in time; at least one.
    """
    together = sorted((crossing for of_car in crossings.values() for crossing in of_car), key=lambda item: item.utc_ms)
    most = max(split_outings(together), key=len)
    return most[0].utc_ms, most[-1].utc_ms


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

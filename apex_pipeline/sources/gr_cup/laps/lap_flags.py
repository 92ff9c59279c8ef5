"""Flags laps by length, bounces, split laps, and laps outside the race or on another day."""

from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile
from statistics import median

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap, lap_between
from apex_pipeline.sources.gr_cup.laps.pace import Pace

# The device's lap time and the difference of the timestamps agree within 50 ms for most laps; if they are more than
# half a second apart, one of them is wrong.
_UNIT_AGREES_S = 0.5
# A lap of about twice the typical time contains a crossing that was never sent.
_DOUBLE = (1.8, 2.2)


def flag_lap(lap: Lap, pace: Pace) -> None:
    """Flag a lap by its messages, and by its time relative to all lap times."""
    conditions = {
        Flag.BOUNCED_TRIGGER: _has_bounce(lap),
        Flag.UNIT_LAP_LOST: lap.end is not None and lap.end.has_lost_counter,
        Flag.UNIT_VALUE_DISAGREES: lap.unit_s is not None and abs(lap.unit_s - lap.duration_s) > _UNIT_AGREES_S,
        Flag.IMPLAUSIBLY_SHORT: pace.is_implausibly_short(lap.duration_s),
    }
    lap.flags |= {flag for flag, applies in conditions.items() if applies}


def flag_long_lap(lap: Lap, pace: Pace) -> None:
    """Flag a lap that is long for its car: a crossing is missing, the field was slow, or the reason is unknown."""
    if not pace.is_slow(lap):
        return
    field_s = pace.field_lap_s(lap) if pace.was_field_slow(lap) else None
    ratio = lap.duration_s / (field_s or pace.typical_s[lap.vehicle_id])
    if _DOUBLE[0] <= ratio <= _DOUBLE[1]:
        lap.flags.add(Flag.MISSING_CROSSING)
    else:
        lap.flags.add(Flag.SLOW_FIELD if field_s is not None and ratio < _DOUBLE[0] else Flag.LONG_LAP)


def flag_adjacent_laps(laps: Sequence[Lap], pace: Pace) -> None:
    """Flag the laps next to an impossibly short one: the crossing they share with it is spurious.

    Args:
        laps: A car's laps in chronological order, late crossings repaired.
        pace: Typical lap times of the session.
    """
    for before, after in pairwise(laps):
        for short, adjacent in ((before, after), (after, before)):
            if pace.is_impossible(short.duration_s):
                adjacent.flags.add(Flag.EXTRA_CROSSING)


def _has_bounce(lap: Lap) -> bool:
    return any(crossing is not None and crossing.bounces > 0 for crossing in (lap.start, lap.end))


# The parts of a split lap add up to one lap of the car: not shorter than racing laps, nor longer than this share of the
# car's typical lap.
_MAX_SUM_SHARE = 1.1


def merge_split_laps(laps: list[Lap], pace: Pace) -> list[Lap]:
    """Return a car's laps, merging consecutive parts that add up to one lap.

    Args:
        laps: The car's laps in chronological order.
        pace: Typical lap times of the session.
    """
    merged: list[Lap] = []
    for lap in laps:
        before = merged[-1] if merged else None
        if before is not None and _is_split_lap(before, lap, pace):
            merged[-1] = _merge(before, lap)
        else:
            merged.append(lap)
    return merged


def _is_split_lap(first: Lap, second: Lap, pace: Pace) -> bool:
    if not (pace.is_impossible(first.duration_s) and pace.is_impossible(second.duration_s)):
        return False
    together_s = first.duration_s + second.duration_s
    return not pace.is_short(together_s) and together_s < _MAX_SUM_SHARE * pace.typical_s[first.vehicle_id]


def _merge(first: Lap, second: Lap) -> Lap:
    if first.start is None or second.end is None:
        raise ValueError("both crossings of a part of a split lap must be known")
    lap = lap_between(first.start, second.end)
    # The device restarted its lap timer at the crossing in between.
    lap.unit_s = first.unit_s + second.unit_s if first.unit_s is not None and second.unit_s is not None else None
    lap.flags.add(Flag.EXTRA_CROSSING)
    return lap


# In real files the longest gap between two crossings of a car in one race is 49 minutes (a car parked from formation to
# finish), and the shortest gap between sessions of different days is 16 hours.
_MIN_GAP_MS = 4 * 3_600_000


def split_days(crossings: Sequence[Crossing]) -> list[list[Crossing]]:
    """Return the crossings grouped by day; a gap of four hours or more separates two days."""
    days: list[list[Crossing]] = [[crossing] for crossing in crossings[:1]]
    for before, after in pairwise(crossings):
        if after.utc_ms - before.utc_ms >= _MIN_GAP_MS:
            days.append([after])
        else:
            days[-1].append(after)
    return days


def main_day_ms(crossings: Mapping[str, Sequence[Crossing]]) -> tuple[int, int]:
    """Return the first and last crossing of the session's main day, the one with the most crossings, in ms since 1970.

    Args:
        crossings: Crossings by car, in chronological order; at least one.
    """
    together = sorted((crossing for of_car in crossings.values() for crossing in of_car), key=lambda item: item.utc_ms)
    largest = max(split_days(together), key=len)
    return largest[0].utc_ms, largest[-1].utc_ms


# In a formation lap the field arrives together: at least half of the cars cross the line within two minutes of each
# other, after a slow lap or as their first crossing. In practice sessions cars go out one by one.
_SHARE_OF_CARS = 0.5
_TOGETHER_MS = 120_000
# No car races after the end of the race, but stray triggers can give a few laps that look like racing.
_FEW_SHARE = 0.05


def flag_non_racing_laps(by_car: Mapping[str, Sequence[Lap]], pace: Pace) -> None:
    """Flag formation laps and the laps after the race.

    Args:
        by_car: Laps by car, in chronological order.
        pace: Typical lap times of the session.
    """
    cars = [laps for laps in by_car.values() if laps]
    green_ms, flag_ms = _green_ms(cars, pace), _flag_ms(cars, pace)
    for lap in (lap for laps in cars for lap in laps):
        if lap.start_ms is None or lap.end_ms is None:
            continue
        if green_ms is not None and lap.end_ms <= green_ms + _TOGETHER_MS // 2:
            lap.flags.add(Flag.FORMATION_LAP)
        is_cool_down = flag_ms is not None and lap.start_ms >= flag_ms - _TOGETHER_MS and pace.is_slow(lap)
        if is_cool_down or (flag_ms is not None and lap.start_ms >= flag_ms + _TOGETHER_MS):
            lap.flags.add(Flag.POST_RACE_LAP)


def _green_ms(cars: Sequence[Sequence[Lap]], pace: Pace) -> int | None:
    """Return when the field started racing, as the median end of formation laps; ``None`` without a formation lap."""
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
    """Return when the first car started its cool-down lap after the race; ``None`` if no car drove one."""
    cool_down = [list(takewhile(pace.is_slow, reversed(laps))) for laps in cars]
    starts_ms = sorted(laps[-1].start_ms for laps in cool_down if laps and laps[-1].start_ms is not None)
    return next((start for start in starts_ms if not _is_racing_after(start + _TOGETHER_MS, cars, pace)), None)


def _is_racing_after(moment_ms: int, cars: Sequence[Sequence[Lap]], pace: Pace) -> bool:
    """Return whether too many laps at racing pace start after this time for it to be the end of the race."""
    brisk = [lap for laps in cars for lap in laps if not pace.is_slow(lap) and lap.start_ms is not None]
    return sum(lap.start_ms is not None and lap.start_ms > moment_ms for lap in brisk) > _FEW_SHARE * len(brisk)

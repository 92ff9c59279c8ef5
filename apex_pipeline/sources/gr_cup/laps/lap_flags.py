"""Flags laps by length, bounces and split laps, and finds the main day; see ``non_racing_laps.py`` for out-laps."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap, lap_between
from apex_pipeline.sources.gr_cup.laps.pace import LONGEST_LAP_S, Pace

# The device's lap time and the difference of the timestamps agree within 50 ms for most laps; if they are more than
# half a second apart, one of them is wrong.
_UNIT_AGREES_S = 0.5
# A lap of about twice the typical time contains a crossing that was never sent.
_DOUBLE = (1.8, 2.2)
# A lap before an implausibly short one that is too long by at least half of what that lacks ends at a late crossing, as
# do up to two laps in between. Half, because it may be faster than a typical lap by itself.
_LATE_SHARE = 0.5
_MAX_LATE_CROSSINGS = 3
# Behind a safety car a lap takes up to 1.6 times as long in nine real sessions; at 80 km/h on a circuit lapped at
# 175 km/h it takes 2.2 times as long. Longer laps contain a stop.
_SLOWEST_SHARE = 2.2


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
    """Flag a lap that is long for its car: a crossing is missing, the field was slow, or the reason is unknown.

    A slow field excuses a lap only if the others were as slow, and up to a limit: cars that stop do so for as long as
    they like, and at a red flag all of them stop.
    """
    if lap.duration_s > LONGEST_LAP_S:
        lap.flags.add(Flag.LONG_LAP)
    elif pace.is_slow(lap):
        field_s = pace.field_lap_s(lap) if pace.was_field_slow(lap) else None
        ratio = lap.duration_s / (field_s or pace.typical_s[lap.vehicle_id])
        if _DOUBLE[0] <= ratio <= _DOUBLE[1]:
            lap.flags.add(Flag.MISSING_CROSSING)
        else:
            is_excused = pace.ratio(lap) <= _SLOWEST_SHARE and pace.was_slow_together(lap)
            lap.flags.add(Flag.SLOW_FIELD if is_excused else Flag.LONG_LAP)


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
    for index, lap in enumerate(laps):
        if Flag.IMPLAUSIBLY_SHORT in lap.flags:
            _flag_lap_before_late_crossings(
                laps[max(index - _MAX_LATE_CROSSINGS, 0) : index], 1 - pace.ratio(lap), pace
            )


def _flag_lap_before_late_crossings(before: Sequence[Lap], lack: float, pace: Pace) -> None:
    """Flag the lap that is too long by about what a short one lacks; crossings in between are late by the same."""
    for lap in reversed(before):
        if _LATE_SHARE * lack < pace.ratio(lap) - 1:
            lap.flags.add(Flag.EXTRA_CROSSING)
            return


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

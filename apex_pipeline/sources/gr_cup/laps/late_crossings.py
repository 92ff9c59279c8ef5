"""A crossing stamped late: one lap is too long, the next too short by as much.

Found by how little a car's laps differ from each other, repaired by moving the crossing between the two, flagged on
both; the stamped difference stays in ``trigger_lap_time_s``. Here belong finding and repairing; nothing else moves a
crossing.
"""

from itertools import pairwise
from statistics import median

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap
from apex_pipeline.sources.gr_cup.laps.pace import Pace

# Found cases of a radio that dropped out are 15 to 50 s late. Less than 5 % of a lap is also a driver's mistake before
# a good lap; and the two laps together miss two usual ones by less than 3 % of one.
_PAIR_LEAST_SHARE = 0.05
_PAIR_AGREES_SHARE = 0.03
# Stamps about a second late are common too (1 in 200 real crossings). A lap has a floor the car does not get through:
# faster than every other lap of the car by a quarter of a second, right after a lap too long by about the same.
_UNDER_FLOOR_S = 0.25
_LAPS_FOR_A_FLOOR = 8
_BRISK_SHARE = 1.05
_SAME_AMOUNT = (0.5, 2.0)
# The watch does not know of late stamps: where it agrees with them within this, they are not late by a second.
_CONFIRMED_S = 0.2
# The unit's watch and the stamps tell the same time for both laps together.
_UNIT_AGREES_S = 1.0


def repair_late_crossings(laps: list[Lap], pace: Pace) -> None:
    """Find and repair the pairs of laps of one car that share a crossing stamped late.

    Args:
        laps: The car's laps in order; changed in place.
        pace: What is usual in the session.
    """
    for long, short in pairwise(laps):
        if Flag.LATE_TRIGGER_PAIR not in long.flags and (
            _is_far_off(long, short, pace) or _is_under_the_floor(long, short, laps, pace)
        ):
            _repair(long, short, pace)


def _is_far_off(long: Lap, short: Lap, pace: Pace) -> bool:
    """Tell whether the crossing between two laps was stamped many seconds late."""
    typical_s = pace.typical_s[long.vehicle_id]
    least_s = _PAIR_LEAST_SHARE * typical_s
    is_long = long.duration_s - typical_s > least_s and not pace.was_field_slow(long)
    # Short for the field too: where a car gets faster from lap to lap, its middle lap lies between any two.
    is_short = typical_s - short.duration_s > least_s and pace.is_short(short.duration_s)
    together_s = long.duration_s + short.duration_s
    return is_long and is_short and abs(together_s - 2 * typical_s) < _PAIR_AGREES_SHARE * typical_s


def _is_under_the_floor(long: Lap, short: Lap, laps: list[Lap], pace: Pace) -> bool:
    """Tell whether the crossing between two laps was stamped about a second late."""
    if _is_confirmed(long) and _is_confirmed(short):
        return False
    others_s = [lap.duration_s for lap in laps if lap not in (long, short) and not pace.is_short(lap.duration_s)]
    brisk_s = sorted(time_s for time_s in others_s if time_s <= _BRISK_SHARE * min(others_s))
    if len(brisk_s) < _LAPS_FOR_A_FLOOR:
        return False
    typical_s = median(brisk_s)
    too_long_s, too_short_s = long.duration_s - typical_s, typical_s - short.duration_s
    is_under = short.duration_s < brisk_s[0] - _UNDER_FLOOR_S and too_short_s < _PAIR_LEAST_SHARE * typical_s
    return is_under and _SAME_AMOUNT[0] < too_long_s / too_short_s < _SAME_AMOUNT[1]


def _is_confirmed(lap: Lap) -> bool:
    """Tell whether the unit's watch says what the stamps say."""
    return lap.unit_s is not None and abs(lap.unit_s - lap.duration_s) < _CONFIRMED_S


def _repair(long: Lap, short: Lap, pace: Pace) -> None:
    """Move the crossing between two laps to where the unit's watch has it, else to the middle of the two."""
    if long.start_ms is None or short.end_ms is None:
        raise ValueError("late crossings are repaired where both neighbours are known")
    together_s = (short.end_ms - long.start_ms) / 1000
    told_s = _told_by_the_watch(long, short, together_s, pace)
    first_s, method = (together_s / 2, "repaired") if told_s is None else (told_s, "unit_value")
    long.end_ms = short.start_ms = long.start_ms + round(first_s * 1000)
    for lap in (long, short):
        lap.time_s, lap.method = lap.duration_s, method
        lap.flags.add(Flag.LATE_TRIGGER_PAIR)


def _told_by_the_watch(long: Lap, short: Lap, together_s: float, pace: Pace) -> float | None:
    """Return the time of the first lap by the unit's watch, if the watch makes sense of both laps."""
    if long.unit_s is None or short.unit_s is None:
        return None
    is_same = abs(long.unit_s + short.unit_s - together_s) < _UNIT_AGREES_S
    return long.unit_s if is_same and not pace.is_short(min(long.unit_s, short.unit_s)) else None

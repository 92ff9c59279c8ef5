"""Finds and repairs crossings stamped late: one lap is too long and the next too short by the same amount.

They stand out because the laps of a car are nearly equal. The repair moves the crossing between the two laps and flags
both; ``trigger_lap_time_s`` keeps the difference of the original timestamps. No other module moves a crossing.
"""

from itertools import pairwise
from statistics import median

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap
from apex_pipeline.sources.gr_cup.laps.pace import Pace

# Real timestamps are 15 to 50 s late after a radio dropout. A difference below 5 % of a lap can also be a driver's
# mistake before a good lap. The sum of the two laps differs from two typical laps by less than 3 % of one lap.
_PAIR_LEAST_SHARE = 0.05
_PAIR_AGREES_SHARE = 0.03
# Timestamps about a second late are common too (1 in 200 real crossings). They show as a lap that is a quarter of a
# second faster than every other lap of the car, right after a lap that is too long by about the same amount.
_MIN_UNDERCUT_S = 0.25
_MIN_BRISK_LAPS = 8
_BRISK_SHARE = 1.05
_SAME_AMOUNT = (0.5, 2.0)
# Late timestamps do not affect the device's lap timer, so timestamps within this of it are not late.
_CONFIRMED_S = 0.2
# Largest difference between the lap timer and the timestamps over both laps together.
_UNIT_AGREES_S = 1.0


def repair_late_crossings(laps: list[Lap], pace: Pace) -> None:
    """Find and repair the pairs of laps of one car that share a crossing stamped late.

    Args:
        laps: The car's laps in chronological order; changed in place.
        pace: Typical lap times of the session.
    """
    for long, short in pairwise(laps):
        if Flag.LATE_TRIGGER_PAIR not in long.flags and (
            _is_seconds_late(long, short, pace) or _is_one_second_late(long, short, laps, pace)
        ):
            _repair(long, short, pace)


def _is_seconds_late(long: Lap, short: Lap, pace: Pace) -> bool:
    """Return whether the crossing between two laps was stamped many seconds late."""
    typical_s = pace.typical_s[long.vehicle_id]
    least_s = _PAIR_LEAST_SHARE * typical_s
    is_long = long.duration_s - typical_s > least_s and not pace.was_field_slow(long)
    # It must be short for the field too: if a car gets faster with every lap, some of its laps are slower than its
    # median lap and the next ones faster, without any late timestamp.
    is_short = typical_s - short.duration_s > least_s and pace.is_short(short.duration_s)
    together_s = long.duration_s + short.duration_s
    return is_long and is_short and abs(together_s - 2 * typical_s) < _PAIR_AGREES_SHARE * typical_s


def _is_one_second_late(long: Lap, short: Lap, laps: list[Lap], pace: Pace) -> bool:
    """Return whether the crossing between two laps was stamped about a second late."""
    if _is_confirmed(long) and _is_confirmed(short):
        return False
    others_s = [lap.duration_s for lap in laps if lap not in (long, short) and not pace.is_short(lap.duration_s)]
    brisk_s = sorted(time_s for time_s in others_s if time_s <= _BRISK_SHARE * min(others_s))
    if len(brisk_s) < _MIN_BRISK_LAPS:
        return False
    typical_s = median(brisk_s)
    too_long_s, too_short_s = long.duration_s - typical_s, typical_s - short.duration_s
    is_fastest = short.duration_s < brisk_s[0] - _MIN_UNDERCUT_S and too_short_s < _PAIR_LEAST_SHARE * typical_s
    return is_fastest and _SAME_AMOUNT[0] < too_long_s / too_short_s < _SAME_AMOUNT[1]


def _is_confirmed(lap: Lap) -> bool:
    """Return whether the device's lap timer confirms the timestamps of a lap."""
    return lap.unit_s is not None and abs(lap.unit_s - lap.duration_s) < _CONFIRMED_S


def _repair(long: Lap, short: Lap, pace: Pace) -> None:
    """Move the crossing between two laps to the time of the device's lap timer, or else to the middle."""
    if long.start_ms is None or short.end_ms is None:
        raise ValueError("a late crossing can only be repaired if the start and end of its two laps are known")
    together_s = (short.end_ms - long.start_ms) / 1000
    timer_s = _lap_timer_s(long, short, together_s, pace)
    first_s, method = (together_s / 2, "repaired") if timer_s is None else (timer_s, "unit_value")
    long.end_ms = short.start_ms = long.start_ms + round(first_s * 1000)
    for lap in (long, short):
        lap.time_s, lap.method = lap.duration_s, method
        lap.flags.add(Flag.LATE_TRIGGER_PAIR)


def _lap_timer_s(long: Lap, short: Lap, together_s: float, pace: Pace) -> float | None:
    """Return the first lap's time by the device's lap timer; ``None`` if the timer is not plausible for both laps."""
    if long.unit_s is None or short.unit_s is None:
        return None
    is_same = abs(long.unit_s + short.unit_s - together_s) < _UNIT_AGREES_S
    return long.unit_s if is_same and not pace.is_short(min(long.unit_s, short.unit_s)) else None

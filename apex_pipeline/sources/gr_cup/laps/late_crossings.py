"""Finds and repairs crossings stamped late: one lap is too long and the next too short by the same amount.

They stand out because the laps of a car are nearly equal. The repair moves the crossing between the two laps and flags
both; ``trigger_lap_time_s`` keeps the difference of the original timestamps. No other module moves a crossing.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap
from apex_pipeline.sources.gr_cup.laps.pace import Pace

# Real timestamps are 15 to 50 s late after a radio dropout. A difference below 5 % of a lap can also be a driver's
# mistake before a good lap. The sum of the two laps differs from two typical laps by less than 3 % of one lap.
_PAIR_LEAST_SHARE = 0.05
_PAIR_AGREES_SHARE = 0.03
# Timestamps some seconds late are common too (1 in 200 real crossings). They show as a lap that is a quarter of a
# second faster than every other lap of the car, right after a lap that is too long by about the same amount.
_MIN_UNDERCUT_S = 0.25
_MIN_BRISK_LAPS = 8
_BRISK_SHARE = 1.05
_LEAST_EXCESS = 0.5
# After a lap that is longer by more than double the amount (a first lap, a stop), or if the device's lap timer agrees
# with the timestamps, the short lap must stand out more: by 1.5 %, more than fresh tyres give. The timer excuses no
# more than that: in one real crossing stamped 16 s late, timer and timestamps agree.
_SAME_AMOUNT = 2.0
_CONSPICUOUS_SHARE = 0.015
# With fewer laps of the car, a lap is compared with the field: 2 % off the car's typical lap and 3 % below a brisk lap.
# The best real laps are 1 to 2 % below a brisk one.
_FEW_LAPS_SHARE = 0.02
_FIELD_SHARE = 0.97
# Or, if at least two other laps of the car are alike within 1.5 %, with those: it is 3 % faster than any of them, and
# fewer than two laps of the field are within 1 % of it. A driver's laps scatter by 0.3 %, and where a track gets faster
# by more, it does so for the field.
_ALIKE_LAPS = 2
_ALIKE_SHARE = 1.015
_OWN_SHARE = 0.97
_NEAR_SHARE = 1.01
# A lap three standard deviations below the others is a suspect, so other suspects are not measured by it.
_SUSPECT_SIGMAS = 3.0
_SIGMA_PER_MAD = 1.4826
# Timestamps a second or two late do not affect the device's lap timer; timestamps within this of it are not late.
_CONFIRMED_S = 0.2
# Largest difference between the lap timer and the timestamps over both laps together.
_UNIT_AGREES_S = 1.0
# A timer of its own differs from the timestamps by more than 2 ms in 80 to 91 % of real laps; a value computed from
# the timestamps does not, and confirms nothing.
_SAME_CLOCK_S = 0.0021
_SAME_CLOCK_SHARE = 0.5


def repair_late_crossings(by_car: Mapping[str, Sequence[Lap]], pace: Pace) -> None:
    """Find and repair the pairs of laps that share a crossing stamped late.

    Args:
        by_car: Laps by car, in chronological order; changed in place.
        pace: Racing pace of the session.
    """
    mark_dependent_timers(by_car)
    for laps in by_car.values():
        # The most conspicuous pair is repaired first, and the rest is judged again without it until nothing changes.
        while pair := max(
            _suspects(laps, pace), key=lambda pair: pair[0].duration_s - pair[1].duration_s, default=None
        ):
            _repair(*pair, pace)


def mark_dependent_timers(by_car: Mapping[str, Sequence[Lap]]) -> None:
    """Mark the laps of cars whose lap timer is only the difference of the timestamps."""
    timed = {car: [lap for lap in laps if lap.unit_s is not None] for car, laps in by_car.items()}
    for laps in timed.values():
        same = sum(abs((lap.unit_s or 0) - lap.duration_s) < _SAME_CLOCK_S for lap in laps)
        for lap in laps:
            lap.is_timer_independent = same <= _SAME_CLOCK_SHARE * len(laps)


def _suspects(laps: Sequence[Lap], pace: Pace) -> Iterator[tuple[Lap, Lap]]:
    """Yield the adjacent laps of a car whose crossing was stamped late."""
    reference = _Reference(laps, pace)
    for long, short in pairwise(laps):
        if long.end_ms != short.start_ms or {Flag.LATE_TRIGGER_PAIR} & (long.flags | short.flags):
            continue
        if _is_many_seconds_late(long, short, pace) or reference.is_late(long, short):
            yield long, short


def _is_many_seconds_late(long: Lap, short: Lap, pace: Pace) -> bool:
    """Return whether the crossing between two laps was stamped many seconds late."""
    typical_s = pace.typical_s[long.vehicle_id]
    least_s = _PAIR_LEAST_SHARE * typical_s
    is_long = long.duration_s - typical_s > least_s and not pace.was_field_slow(long)
    # It must be short for the field too: if a car gets faster with every lap, some of its laps are slower than its
    # median lap and the next ones faster, without any late timestamp.
    is_short = typical_s - short.duration_s > least_s and pace.is_short(short.duration_s)
    together_s = long.duration_s + short.duration_s
    return is_long and is_short and abs(together_s - 2 * typical_s) < _PAIR_AGREES_SHARE * typical_s


class _Reference:
    """A car's ordinary laps, without any that may be bounded by a late crossing.

    Args:
        laps: The car's laps in chronological order.
        pace: Racing pace of the session.
    """

    def __init__(self, laps: Sequence[Lap], pace: Pace) -> None:
        self._pace = pace
        usable = [lap for lap in laps if Flag.LATE_TRIGGER_PAIR not in lap.flags]
        plain_s = [lap.duration_s for lap in usable if not pace.is_short(lap.duration_s)]
        fast_s = [time_s for time_s in plain_s if time_s <= _BRISK_SHARE * min(plain_s)]
        if len(fast_s) >= _MIN_BRISK_LAPS:
            self._typical_s = median(fast_s)
        else:
            # The fastest of few laps may itself be the false one.
            self._typical_s = self._car_s(laps)
            bounds_s = (self._typical_s / _BRISK_SHARE, self._typical_s * _BRISK_SHARE)
            fast_s = [time_s for time_s in plain_s if bounds_s[0] <= time_s <= bounds_s[1]]
        spread_s = median(abs(time_s - self._typical_s) for time_s in fast_s) if fast_s else 0.0
        least_s = max(_MIN_UNDERCUT_S, _SUSPECT_SIGMAS * _SIGMA_PER_MAD * spread_s)
        suspects = {
            id(lap)
            for pair in pairwise(laps)
            if self._is_pair(*pair) and self._too_short_s(pair[1]) > least_s
            for lap in pair
        }
        brisk_s = [lap.duration_s for lap in usable if id(lap) not in suspects and not pace.is_short(lap.duration_s)]
        self._brisk_s = sorted(time_s for time_s in brisk_s if time_s <= _BRISK_SHARE * min(brisk_s))

    def is_late(self, long: Lap, short: Lap) -> bool:
        """Return whether a lap is faster than every ordinary lap, right after a lap that is too long."""
        # An impossibly short lap ends at a crossing too many; a late crossing does not explain it.
        if not self._is_pair(long, short) or self._pace.is_impossible(short.duration_s):
            return False
        others_s = self._others_s(long, short)
        if len(others_s) < _MIN_BRISK_LAPS:
            is_far = self._too_short_s(short) > _FEW_LAPS_SHARE * self._typical_s
            is_fast = short.duration_s < _FIELD_SHARE * self._pace.brisk_s
            return is_far and (is_fast or self._is_alone(short, others_s))
        is_same_amount = long.duration_s - self._typical_s < _SAME_AMOUNT * self._too_short_s(short)
        is_plain = is_same_amount and not (_is_confirmed(long) and _is_confirmed(short))
        share = 0.0 if is_plain else _CONSPICUOUS_SHARE
        return short.duration_s < others_s[0] - max(_MIN_UNDERCUT_S, share * self._typical_s)

    def _is_alone(self, short: Lap, others_s: Sequence[float]) -> bool:
        """Return whether the car has laps that are alike, and neither they nor the field's are near this one."""
        alike = [time_s for time_s in others_s if time_s <= _ALIKE_SHARE * others_s[0]]
        if len(alike) < _ALIKE_LAPS:
            return False
        return short.duration_s < _OWN_SHARE * others_s[0] and not self._pace.is_shared(short.duration_s, _NEAR_SHARE)

    def _others_s(self, *pair: Lap) -> list[float]:
        others_s = list(self._brisk_s)
        for lap in pair:
            if lap.duration_s in others_s:
                others_s.remove(lap.duration_s)
        return others_s

    def _is_pair(self, long: Lap, short: Lap) -> bool:
        too_short_s = self._too_short_s(short)
        return too_short_s > 0 and long.duration_s - self._typical_s > _LEAST_EXCESS * too_short_s

    def _too_short_s(self, lap: Lap) -> float:
        return self._typical_s - lap.duration_s

    def _car_s(self, laps: Sequence[Lap]) -> float:
        return self._pace.typical_s[laps[0].vehicle_id] if laps else 0.0


def _is_confirmed(lap: Lap) -> bool:
    """Return whether the device's lap timer confirms the timestamps of a lap."""
    return lap.unit_s is not None and lap.is_timer_independent and abs(lap.unit_s - lap.duration_s) < _CONFIRMED_S


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
    if long.unit_s is None or short.unit_s is None or not long.is_timer_independent:
        return None
    is_same = abs(long.unit_s + short.unit_s - together_s) < _UNIT_AGREES_S
    return long.unit_s if is_same and not pace.is_short(min(long.unit_s, short.unit_s)) else None

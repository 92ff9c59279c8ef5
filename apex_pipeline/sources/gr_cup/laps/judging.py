"""What speaks against the time of a lap, from the laps of the session alone.

Here belong the flags a lap gets for itself. A crossing stamped late concerns two laps and is ``late_crossings.py``.
"""

from collections.abc import Sequence
from itertools import pairwise

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap
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


__all__ = ["flag_adjacent_laps", "flag_lap", "flag_long_lap"]

"""One lap told as two: a trigger in the middle of a lap splits it into parts that nobody can have driven.

Here belongs putting such parts together again. Nothing is lost: the crossing between them stays in the raw files and
the lap is flagged.
"""

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap, lap_between
from apex_pipeline.sources.gr_cup.laps.pace import Pace

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


__all__ = ["merge_split_laps"]

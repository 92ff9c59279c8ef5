"""Decides which time of an official lap is published: the one that most witnesses support, official or the car's own.

Official timing is a witness like the others. Its cells come from ``official_check.py``; the car's own witnesses are
the difference of its triggers and its lap timer.
"""

from dataclasses import dataclass

from apex_pipeline.sources.gr_cup.laps.official_check import CellTimes, TimeGroup

# In nine real races 95 % of own lap times are within 0.15 s of the official ones; a stamp is rarely half a second late.
_AGREES_S = 0.5
_ENOUGH = 2
_THREE = 3

# Confidence of the published time: three witnesses, one of them the car's own; official cells alone; official cells
# that the car's own witnesses contradict (different lines at one track); LAP_TIME alone; a time other than LAP_TIME,
# which two witnesses support; witnesses that contradict each other without a majority.
_CONFIRMED = 1.0
_CELLS_ONLY = 0.95
_OWN_CONTRADICTS = 0.9
_ALONE = 0.8
_CORRECTED = 0.7
_CONTESTED = 0.3

# Methods of a verdict whose time is that of official cells.
OFFICIAL_METHODS = frozenset({"official", "official_cells"})


@dataclass(frozen=True)
class Verdict:
    """The published time of an official lap.

    Attributes:
        time_s: Lap time, seconds.
        method: ``official``, ``official_cells`` (other cells than LAP_TIME), or ``unit_value``.
        confidence: 0 to 1.
        disagrees: Whether LAP_TIME is not the time that was published, or is contested.
        is_contested: Whether no time has the support of most witnesses.
    """

    time_s: float
    method: str
    confidence: float
    disagrees: bool = False
    is_contested: bool = False


def judge(times: CellTimes, trigger_s: float | None, unit_s: float | None, *, is_rounded: bool) -> Verdict:
    """Return the time to publish.

    Args:
        times: The lap times that official cells state, the best supported first; one of them is possible.
        trigger_s: Difference of the car's triggers, seconds; ``None`` for lap 1, which counts from the green flag.
        unit_s: Time of the car's lap timer, seconds; ``None`` likewise.
        is_rounded: Whether LAP_TIME is rounded to more than a millisecond.
    """
    own = {name: value for name, value in (("trigger", trigger_s), ("unit_value", unit_s)) if value is not None}
    ranked = sorted(times.groups, key=lambda group: (not group.is_possible, -_support(group, own)))
    best = ranked[0]
    printed = next((group for group in times.groups if group.is_possible and "LAP_TIME" in group.cells), best)
    against = [name for name, value in own.items() if abs(value - best.time_s) > _AGREES_S]
    rival = max((_support(group, own) for group in ranked[1:]), default=0)
    own_agree = len(own) == _ENOUGH and abs(own["trigger"] - own["unit_value"]) <= _AGREES_S
    if len(against) == _ENOUGH and own_agree and _support(best, own) < _ENOUGH:
        return Verdict(own["unit_value"], "unit_value", _CONTESTED, disagrees=True)
    is_tied = rival >= _support(best, own) or (
        len(against) == _ENOUGH and own_agree and printed is not best and _support(best, own) == _ENOUGH
    )
    if is_tied:
        return Verdict(printed.time_s, "official", _CONTESTED, disagrees=True, is_contested=True)
    if best is not printed:
        return Verdict(best.time_s, "official_cells", _CORRECTED, disagrees=True)
    return Verdict(best.time_s, "official", _confidence(best, own, against, is_rounded=is_rounded))


def _support(group: TimeGroup, own: dict[str, float]) -> int:
    return len(group.cells) + sum(abs(value - group.time_s) <= _AGREES_S for value in own.values())


def _confidence(best: TimeGroup, own: dict[str, float], against: list[str], *, is_rounded: bool) -> float:
    if is_rounded:
        return _OWN_CONTRADICTS
    agreeing = len(own) - len(against)
    if agreeing and _support(best, own) >= _THREE:
        return _CONFIRMED
    if against and not agreeing:
        return _OWN_CONTRADICTS
    return _CELLS_ONLY if len(best.cells) >= _ENOUGH else _ALONE

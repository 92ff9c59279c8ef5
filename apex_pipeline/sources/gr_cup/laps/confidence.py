"""States how likely a lap time derived without official timing is within half a second of the official one.

``official_verdict.py`` has the confidence of a lap that official timing lists.

Each value is the share of such laps in nine real races with official timing hidden, rounded. See docs/laps.md for the
reliability table, how the values change if a track is left out, and ``benchmarks/reliability.py`` for computing them.
Where official timing lists a hundred laps of a class in a session and fewer of them are right, that lower share is used
for its other laps; a session never raises a value, as nobody confirms the laps that official timing does not list.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap
from apex_pipeline.sources.gr_cup.laps.official_verdict import OFFICIAL_METHODS

# Laps of even pace: 1,331 by a timer (all right), and 1,243 by timestamps (1,225 right).
TWO_SOURCES = 0.99
ONE_SOURCE = 0.98
# At one of five tracks official timing measures at another line than the cars, and the time between the two lines grows
# from 7 to 14 s as a car slows down. Without official timing nothing shows which kind of track it is, so these values
# are the mix of all five and right for none of them alone: of laps at pace next to a slow one 322 of 354 are right (170
# of 199 with two lines), of the slow ones 231 of 426 (18 of 210 with two lines).
AT_PACE_NEXT_TO_SLOW = 0.9
SLOW = 0.54
# Timer and timestamps differ by 0.5 to 1 s: 9 of 15 are right.
CONTRADICTED = 0.6
# Crossing moved to the middle of two laps: 12 of 14 are right.
REPAIRED = 0.8
# Laps with a stop or a crossing too few or too many: 13 of 49 are right.
DOUBTFUL = 0.3
# Of three implausibly short laps none is right; timers more than a second off the timestamps are of another lap.
IMPLAUSIBLE = 0.1

_DOUBTFUL = frozenset({Flag.LONG_LAP, Flag.MISSING_CROSSING, Flag.EXTRA_CROSSING, Flag.UNKNOWN_PACE})
# A lap time is right if it is within this of the official one, seconds.
_RIGHT_S = 0.5
# Of so many laps the share of right ones is known to about a tenth, two standard deviations.
_MEASURED_LAPS = 100


def confidence(lap: Lap, shares: Mapping[float, float]) -> float:
    """Return the confidence of a lap time, 0 to 1; see docs/laps.md.

    Args:
        lap: The lap.
        shares: Result of :func:`measured_shares` for its session.
    """
    if lap.verdict is not None:
        return lap.verdict.confidence
    value = _of_own_time(lap)
    return shares.get(value, value)


def measured_shares(laps: Iterable[Lap]) -> dict[float, float]:
    """Return the share of right own times among the official laps of a session, by the confidence of their class.

    Classes with fewer than a hundred laps are left out, and so are classes with no lower a share than in other races:
    laps that official timing lists say nothing good about those it does not list.
    """
    right: defaultdict[float, list[bool]] = defaultdict(list)
    for lap in laps:
        reference_s = _independent_time_s(lap)
        if reference_s is not None and lap.time_s is not None:
            right[_of_own_time(lap)].append(abs(lap.time_s - reference_s) <= _RIGHT_S)
    measured = {value: round(sum(of) / len(of), 2) for value, of in right.items() if len(of) >= _MEASURED_LAPS}
    return {value: share for value, share in measured.items() if share < value}


def _independent_time_s(lap: Lap) -> float | None:
    """Return the published time of a lap in seconds if official cells state it, and not the car's own witnesses.

    Lap 1 is left out: it counts from the green flag officially, and from the line in the car's own data.
    """
    if lap.official is None or lap.official.number <= 1 or lap.verdict is None or lap.verdict.is_contested:
        return None
    # Where the car's own times tipped the balance, they would be measured on themselves.
    is_official = lap.verdict.method in OFFICIAL_METHODS and lap.verdict.time_s == lap.official.time_s
    return lap.verdict.time_s if is_official else None


def _of_own_time(lap: Lap) -> float:
    """Return the confidence of the time of a lap's own crossings, by its class."""
    return _of_doubtful(lap) or _of_ordinary(lap)


def _of_doubtful(lap: Lap) -> float | None:
    """Return the confidence of a lap with a sign that its time is wrong, ``None`` for all others."""
    if Flag.UNIT_VALUE_DISAGREES in lap.flags:
        return IMPLAUSIBLE if lap.method == "trigger" else CONTRADICTED
    if Flag.IMPLAUSIBLY_SHORT in lap.flags:
        return IMPLAUSIBLE
    if lap.method == "repaired":
        return REPAIRED
    return DOUBTFUL if lap.telemetry_crossing is None and not _DOUBTFUL.isdisjoint(lap.flags) else None


def _of_ordinary(lap: Lap) -> float:
    if not lap.is_pace_even:
        return AT_PACE_NEXT_TO_SLOW if lap.is_at_pace else SLOW
    has_timer = lap.unit_s is not None and lap.is_timer_independent
    return TWO_SOURCES if has_timer or lap.telemetry_s is not None else ONE_SOURCE

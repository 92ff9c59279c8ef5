"""States how likely a lap time derived without official timing is within half a second of the official one.

``official_verdict.py`` has the confidence of a lap that official timing lists.

Each value is the share of such laps in nine real races with official timing hidden, rounded; with the track that a lap
is from left out of the count, the values of classes with a hundred laps or more change by less than 0.02. See
docs/laps.md for the reliability table and ``benchmarks/reliability.py`` for computing it.
"""

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap

# Laps of even pace: 1,331 by a timer (all right), and 1,243 by timestamps (1,225 right).
TWO_SOURCES = 0.99
ONE_SOURCE = 0.98
# Laps that are slow or next to a slow one: 371 outside COTA, of which 365 are right.
UNEVEN_PACE = 0.97
# At this track the cars and official timing measure at two lines; the time between them grows from 7 to 14 s as a car
# slows down. Of 410 laps with an uneven pace there 188 are right, of 476 others all.
_TWO_LINES = frozenset({"circuit_of_the_americas"})
UNEVEN_PACE_WITH_TWO_LINES = 0.46
# Timer and timestamps differ by 0.5 to 1 s: 4 of 7 are right outside COTA.
CONTRADICTED = 0.6
# Crossing moved to the middle of two laps: 12 of 14 are right.
REPAIRED = 0.8
# Laps with a stop or a crossing too few or too many: 13 of 48 are right.
DOUBTFUL = 0.3
# Of three implausibly short laps none is right; timers more than a second off the timestamps are of another lap.
IMPLAUSIBLE = 0.1

_DOUBTFUL = frozenset({Flag.LONG_LAP, Flag.MISSING_CROSSING, Flag.EXTRA_CROSSING, Flag.UNKNOWN_PACE})


def has_two_lines(track: str) -> bool:
    """Return whether the cars and official timing measure at two different lines of this track."""
    return track in _TWO_LINES


def confidence(lap: Lap) -> float:
    """Return the confidence of a lap time, 0 to 1; see docs/laps.md."""
    if lap.verdict is not None:
        return lap.verdict.confidence
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
        return UNEVEN_PACE_WITH_TWO_LINES if lap.has_two_lines else UNEVEN_PACE
    has_timer = lap.unit_s is not None and lap.is_timer_independent
    return TWO_SOURCES if has_timer or lap.telemetry_s is not None else ONE_SOURCE

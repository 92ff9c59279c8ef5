"""Computes the six scores of a car, 0 to 100 with a sentence each, and those of a session from its cars.

See ``table.py`` for the rows the scores are computed from, and ``summary.py`` for the session note.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from apex_pipeline.sources.gr_cup.quality.summary import counted
from apex_pipeline.tables.model import Row

# For every measure, a score below 75 needs a check and one below 40 needs action; the value that scores 0 differs.
_OK_FROM, _WARN_FROM = 75.0, 40.0
# Shares at which the score is 0. Real telemetry repeats 0.7 to 4.7 % of its readings (16 % in the worst case). Data
# with gaps of a fifth of the session, or with half of the laps more than half a second off, is not usable. The limit
# for laps is not a fifth, or a car that retired after five laps would need action because of a single one.
_WORST_DUPLICATES = 0.2
_WORST_GAPS = 0.2
_WORST_MISMATCH = 0.5
# Contradictions between clock and receive time are rare: none in ten real files.
_WORST_BACKWARD = 0.001
# A stopped clock loses the order of readings within a message, but not the readings: needs a check.
_FROZEN_SCORE = 60.0
# The laps of an undecided car are good but cannot be assigned to a car number: needs a check.
_UNDECIDED_SCORE = 60.0
_AGREES_S = 0.5
# Shortest gap, as in the definition of ``telemetry_cars.gaps``.
_MIN_GAP_S = 2.0
# Laps that telemetry need not cover: the device may only be switched on during the drive to the grid.
_NOT_RACED = frozenset({"formation_lap", "post_race_lap", "other_day"})
_PERFECT = 100.0
_LAP_MEASURES = ("lap_coverage", "official_mismatch")
# An official lap with one of these flags lacks at least one crossing in the lap files.
_UNSEEN = frozenset({"truncated_export", "missing_crossing"})


@dataclass(frozen=True)
class Score:
    """One score.

    Attributes:
        measure: Name of the measure.
        score: 0 to 100, ``None`` if there is nothing to score.
        sentence: The finding, in one sentence.
    """

    measure: str
    score: float | None
    sentence: str

    @property
    def level(self) -> str:
        """``ok``, ``warn`` or ``error``."""
        if self.score is None or self.score >= _OK_FROM:
            return "ok"
        return "warn" if self.score >= _WARN_FROM else "error"


def telemetry_scores(name: str, car: Row | None, laps: Sequence[Row]) -> list[Score]:
    """Return the four scores of a car's telemetry.

    Args:
        name: Name of the car for the sentences.
        car: Its row of ``telemetry_cars``, ``None`` if it has none.
        laps: Its rows of ``laps``, which define the period that telemetry should cover.
    """
    if car is None or not car["readings"]:
        measures = ("duplicates", "backward_time", "gaps", "missing_channels")
        return [Score(measure, None, f"{name} has no telemetry.") for measure in measures]
    readings = car["readings"]
    duplicates = car["exact_duplicates"] or 0
    return [
        Score(
            "duplicates",
            _share_score(duplicates / readings, _WORST_DUPLICATES),
            f"{name}: {duplicates / readings:.1%} of {readings:,} readings are exact duplicates.",
        ),
        _backward_time(name, car),
        _gaps(name, car, laps),
        _missing_channels(name, car),
    ]


def _share_score(share: float, worst: float) -> float:
    return round(100 * max(0.0, 1 - share / worst), 1)


def _backward_time(name: str, car: Row) -> Score:
    if car["is_clock_frozen"]:
        return Score("backward_time", _FROZEN_SCORE, f"{name}'s clock stood still: sample times are receive times.")
    steps = car["backward_steps"] or 0
    score = _share_score(steps / car["readings"], _WORST_BACKWARD)
    return Score(
        "backward_time", score, f"{name}: clock and receive time contradict each other {counted(steps, 'time')}."
    )


def _gaps(name: str, car: Row, laps: Sequence[Row]) -> Score:
    longest_s, gaps = car["longest_gap_s"] or 0.0, car["gaps"] or 0
    first, last = car["first_sample_utc"], car["last_sample_utc"]
    start, end = _racing_period(laps) or (first, last)
    outside_s = max(0.0, (first - start).total_seconds()) + max(0.0, (end - last).total_seconds())
    # Only the longest gap has a known length; every other gap counts with the shortest length possible.
    lost_s = longest_s + _MIN_GAP_S * max(0, gaps - 1) + outside_s
    span_s = (max(last, end) - min(first, start)).total_seconds()
    score = _share_score(lost_s / span_s, _WORST_GAPS) if span_s else 100.0
    longest = f", the longest {longest_s:.0f} s" if gaps else ""
    outside = f"; {outside_s:.0f} s of its laps are before or after it" if outside_s else ""
    return Score("gaps", score, f"{name}: {counted(gaps, 'hole')} of more than 2 s in telemetry{longest}{outside}.")


def _racing_period(laps: Sequence[Row]) -> tuple[datetime, datetime] | None:
    """Return the start and end of the car's racing laps by its own crossings; ``None`` if it did not race."""
    raced = [lap for lap in laps if lap["trigger_lap_time_s"] is not None and _NOT_RACED.isdisjoint(lap["flags"])]
    starts = [lap["lap_start_utc"] for lap in raced if lap["lap_start_utc"] is not None]
    ends = [lap["lap_end_utc"] for lap in raced if lap["lap_end_utc"] is not None]
    return (min(starts), max(ends)) if starts and ends else None


def _missing_channels(name: str, car: Row) -> Score:
    missing = car["missing_channels"]
    score = round(100 * len(car["channels"]) / max(1, len(car["channels"]) + len(missing)), 1)
    finding = f"lacks {', '.join(missing)}" if missing else "has every channel the others have"
    return Score("missing_channels", score, f"{name} {finding}.")


def lap_scores(name: str, laps: Sequence[Row], listed: int, *, is_undecided: bool) -> list[Score]:
    """Return the two scores that compare a car's laps with official timing.

    Args:
        name: Name of the car for the sentences.
        laps: Its rows of ``laps``.
        listed: Number of laps official timing lists for it.
        is_undecided: Whether it may be one of several official cars.
    """
    official = [lap for lap in laps if lap["official_lap_number"] is not None]
    if is_undecided:
        undecided = f"{name} could be one of several official cars: its laps cannot be compared."
        return [Score("lap_coverage", None, undecided), Score("official_mismatch", _UNDECIDED_SCORE, undecided)]
    if not official and not listed:
        no_laps = f"{name} has no official laps to compare with."
        return [Score(measure, None, no_laps) for measure in _LAP_MEASURES]
    return [_coverage(name, official, listed), _mismatch(name, official)]


def _coverage(name: str, official: Sequence[Row], listed: int) -> Score:
    seen = sum(_UNSEEN.isdisjoint(lap["flags"]) for lap in official)
    expected = max(len(official), listed)
    sentence = f"{name}: the lap files hold the crossings of {seen} of {expected} official laps."
    return Score("lap_coverage", round(100 * seen / expected, 1), sentence)


def _mismatch(name: str, official: Sequence[Row]) -> Score:
    compared = [lap for lap in official if lap["delta_to_official_s"] is not None]
    steady = [lap for lap in compared if "field_wide_jump" not in lap["flags"]]
    off = sum(abs(lap["delta_to_official_s"]) > _AGREES_S for lap in steady)
    jumps = len(compared) - len(steady)
    left_out = f"; laps with a jump of the whole field, left out: {jumps}" if jumps else ""
    sentence = f"{name}: {off} of {len(steady)} own lap times are more than 0.5 s off official timing{left_out}."
    score = _share_score(off / len(steady), _WORST_MISMATCH) if steady else None
    return Score("official_mismatch", score, sentence)


def session_score(measure: str, scores: Iterable[Score]) -> Score:
    """Return the score of a session: the mean of its cars' scores, with the sentence of the lowest one."""
    known = [(score.score, score.sentence) for score in scores if score.score is not None]
    if not known:
        wanted = "official laps to compare with" if measure in _LAP_MEASURES else "telemetry"
        return Score(measure, None, f"No car has {wanted}.")
    mean = round(fmean(value for value, _ in known), 1)
    lowest, finding = min(known)
    cars, below = counted(len(known), "car"), sum(value < _OK_FROM for value, _ in known)
    if lowest == _PERFECT:
        return Score(measure, mean, f"{cars} scored, all {_PERFECT:.0f}.")
    return Score(measure, mean, f"{cars} scored, {below} below {_OK_FROM:.0f}. The lowest: {finding}")

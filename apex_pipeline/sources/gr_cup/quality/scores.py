"""The six scores of one car, 0 to 100 with a sentence each; of a session, from those of its cars.

Here belongs what a score is worth. Which rows it is made from is ``table.py``, the session in words ``summary.py``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from apex_pipeline.sources.gr_cup.quality.summary import counted

# A score calls for a look below 75 and for action below 40, whatever it measures; what is worth 0 differs.
_OK_FROM, _WARN_FROM = 75.0, 40.0
# Shares that are worth 0. Real telemetry repeats 0.7 to 4.7 % of its readings (16 % at the worst told); with holes of a
# fifth of the session, or half of the laps more than half a second off, it is no usable data. One lap off calls for no
# action even where a car retired after five: with a fifth it would.
_WORST_DUPLICATES = 0.2
_WORST_HOLES = 0.2
_WORST_MISMATCH = 0.5
# Contradictions of clock and receive time are rare: none in ten real files.
_WORST_BACKWARD = 0.001
# A stopped clock costs the order within a message, not the readings: worth a look.
_FROZEN_SCORE = 60.0
# A car nobody can tell apart has good laps that belong to nobody: worth a look.
_UNDECIDED_SCORE = 60.0
_AGREES_S = 0.5
# A hole is at least this long: the definition of ``telemetry_cars.gaps``.
_HOLE_S = 2.0
# Laps whose time telemetry need not cover: the unit may be switched on on the way to the grid.
_NOT_RACED = frozenset({"formation_lap", "post_race_lap", "other_day"})
_PERFECT = 100.0
_LAP_MEASURES = ("lap_coverage", "official_mismatch")
# Official laps with one of these are not in the lap files as a whole.
_UNSEEN = frozenset({"truncated_export", "missing_crossing"})

Row = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """One score.

    Attributes:
        measure: What is scored.
        score: 0 to 100, ``None`` where there is nothing to score.
        sentence: The finding.
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
        name: The car in words.
        car: Its row of ``telemetry_cars``, ``None`` if it has none.
        laps: Its rows of ``laps``: the time telemetry should cover.
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
    begin, end = _raced_time(laps) or (first, last)
    outside_s = max(0.0, (first - begin).total_seconds()) + max(0.0, (end - last).total_seconds())
    # Only the longest hole is known by its length; each other one costs the least it can have.
    lost_s = longest_s + _HOLE_S * max(0, gaps - 1) + outside_s
    span_s = (max(last, end) - min(first, begin)).total_seconds()
    score = _share_score(lost_s / span_s, _WORST_HOLES) if span_s else 100.0
    longest = f", the longest {longest_s:.0f} s" if gaps else ""
    outside = f"; {outside_s:.0f} s of its laps are before or after it" if outside_s else ""
    return Score("gaps", score, f"{name}: {counted(gaps, 'hole')} of more than 2 s in telemetry{longest}{outside}.")


def _raced_time(laps: Sequence[Row]) -> tuple[datetime, datetime] | None:
    """Return when the car raced by its own crossings; ``None`` if it did not."""
    raced = [lap for lap in laps if lap["trigger_lap_time_s"] is not None and _NOT_RACED.isdisjoint(lap["flags"])]
    begins = [lap["lap_start_utc"] for lap in raced if lap["lap_start_utc"] is not None]
    ends = [lap["lap_end_utc"] for lap in raced if lap["lap_end_utc"] is not None]
    return (min(begins), max(ends)) if begins and ends else None


def _missing_channels(name: str, car: Row) -> Score:
    missing = car["missing_channels"]
    score = round(100 * len(car["channels"]) / max(1, len(car["channels"]) + len(missing)), 1)
    told = f"lacks {', '.join(missing)}" if missing else "has every channel the others have"
    return Score("missing_channels", score, f"{name} {told}.")


def lap_scores(name: str, laps: Sequence[Row], listed: int, *, is_undecided: bool) -> list[Score]:
    """Return the two scores of a car's laps against official timing.

    Args:
        name: The car in words.
        laps: Its rows of ``laps``.
        listed: Number of laps official timing lists for it.
        is_undecided: It may be one of several official cars.
    """
    official = [lap for lap in laps if lap["official_lap_number"] is not None]
    if is_undecided:
        doubt = f"{name} could be one of several official cars: its laps cannot be compared."
        return [Score("lap_coverage", None, doubt), Score("official_mismatch", _UNDECIDED_SCORE, doubt)]
    if not official and not listed:
        nothing = f"{name} has no official laps to compare with."
        return [Score(measure, None, nothing) for measure in _LAP_MEASURES]
    return [_coverage(name, official, listed), _mismatch(name, official)]


def _coverage(name: str, official: Sequence[Row], listed: int) -> Score:
    seen = sum(_UNSEEN.isdisjoint(lap["flags"]) for lap in official)
    wanted = max(len(official), listed)
    sentence = f"{name}: the lap files hold the crossings of {seen} of {wanted} official laps."
    return Score("lap_coverage", round(100 * seen / wanted, 1), sentence)


def _mismatch(name: str, official: Sequence[Row]) -> Score:
    compared = [lap for lap in official if lap["delta_to_official_s"] is not None]
    steady = [lap for lap in compared if "field_wide_jump" not in lap["flags"]]
    off = sum(abs(lap["delta_to_official_s"]) > _AGREES_S for lap in steady)
    jumps = len(compared) - len(steady)
    aside = f"; laps with a jump of the whole field, left out: {jumps}" if jumps else ""
    sentence = f"{name}: {off} of {len(steady)} own lap times are more than 0.5 s off official timing{aside}."
    score = _share_score(off / len(steady), _WORST_MISMATCH) if steady else None
    return Score("official_mismatch", score, sentence)


def session_score(measure: str, scores: Iterable[Score]) -> Score:
    """Return the score of a session: the mean of its cars', with the worst one told."""
    known = [(score.score, score.sentence) for score in scores if score.score is not None]
    if not known:
        wanted = "official laps to compare with" if measure in _LAP_MEASURES else "telemetry"
        return Score(measure, None, f"No car has {wanted}.")
    mean = round(fmean(value for value, _ in known), 1)
    lowest, told = min(known)
    cars, below = counted(len(known), "car"), sum(value < _OK_FROM for value, _ in known)
    if lowest == _PERFECT:
        return Score(measure, mean, f"{cars} scored, all {_PERFECT:.0f}.")
    return Score(measure, mean, f"{cars} scored, {below} below {_OK_FROM:.0f}. The lowest: {told}")

"""Reports how accurate the laps of a session are, and adds up the reports of several sessions.

A source fills it by comparing its derived laps with official timing; see ``gr_cup/accuracy.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class AccuracyReport:
    """Accuracy counts of one session, or of several added up.

    Laps are "blind" if they were derived without official timing.

    Attributes:
        official: Laps of official timing.
        of_known_cars: Of these, laps of cars whose on-board device is known.
        listed: Of these, laps that are in ``laps``, derived with official timing, exactly once with the official time.
        comparable: Official laps after the first whose two crossings are both in the lap files.
        matched: Of these, laps that were also found blind.
        within_50ms: Of these, laps whose blind time is within 50 ms of the official time.
        within_100ms: The same within 100 ms.
        within_500ms: The same within 500 ms.
        off_by_1s: Matched laps that are off by more than a second.
        jumping: Matched laps during which the official time of the whole field jumped.
        jumping_within_500ms: Of these, laps within 500 ms.
        invented: Blind laps that are valid although no official lap matches them; formation laps, laps after the race
            and laps of cars that could not be identified are left out.
        best_official_s: Best official lap of cars whose device is known, seconds.
        best_hidden_s: Best valid blind lap, seconds.
        best_listed_s: Best valid lap derived with official timing, seconds.
    """

    official: int
    of_known_cars: int
    listed: int
    comparable: int
    matched: int
    within_50ms: int
    within_100ms: int
    within_500ms: int
    off_by_1s: int
    jumping: int
    jumping_within_500ms: int
    invented: tuple[str, ...]
    best_official_s: float | None
    best_hidden_s: float | None
    best_listed_s: float | None

    @property
    def missed(self) -> int:
        """Number of comparable laps that were not found blind."""
        return self.comparable - self.matched

    @property
    def is_right(self) -> bool:
        """Whether every official lap of a known car is listed and no lap is invented."""
        return self.listed == self.of_known_cars and not self.invented


def pool_reports(reports: Sequence[AccuracyReport]) -> AccuracyReport:
    """Add up the reports of several sessions; the best laps are left out."""
    sums = {
        field.name: sum(getattr(report, field.name) for report in reports)
        for field in fields(AccuracyReport)
        if field.name not in {"invented", "best_official_s", "best_hidden_s", "best_listed_s"}
    }
    invented = tuple(lap for report in reports for lap in report.invented)
    return AccuracyReport(**sums, invented=invented, best_official_s=None, best_hidden_s=None, best_listed_s=None)

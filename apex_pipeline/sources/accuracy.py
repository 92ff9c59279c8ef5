"""How right the laps of a session are, in counts; sessions can be added up.

Contains the report only. A source makes it by comparing its own derivation with official timing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class AccuracyReport:
    """Counts of one session, or of several together.

    Attributes:
        official: Laps of official timing.
        of_known_cars: Of these, laps of cars whose unit is known.
        listed: Of these, laps that are in ``laps`` exactly once with the official time, official timing not hidden.
        comparable: Official laps after the first whose two crossings are in the lap files.
        matched: Of these, laps found with official timing hidden.
        within_50ms: Of these, laps whose hidden time is that near to the official one.
        within_100ms: The same for 100 ms.
        within_500ms: The same for 500 ms.
        off_by_1s: Matched laps more than a second off.
        jumping: Matched laps during which the whole field's official time moved.
        jumping_within_500ms: Of these, laps within 500 ms.
        invented: Hidden laps that count as valid and that no official lap supports; formation laps, laps after the race
            and laps of cars nobody can tell apart are left out.
        best_official_s: Best official lap of cars whose unit is known, seconds.
        best_hidden_s: Best valid lap with official timing hidden.
        best_listed_s: Best valid lap with official timing.
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
        """Comparable laps that were not found."""
        return self.comparable - self.matched

    @property
    def is_right(self) -> bool:
        """Every official lap of a known car is listed, and none is invented."""
        return self.listed == self.of_known_cars and not self.invented


def pool_reports(reports: Sequence[AccuracyReport]) -> AccuracyReport:
    """Return the reports of several sessions added up; best laps cannot be."""
    sums = {
        field.name: sum(getattr(report, field.name) for report in reports)
        for field in fields(AccuracyReport)
        if field.name not in {"invented", "best_official_s", "best_hidden_s", "best_listed_s"}
    }
    invented = tuple(lap for report in reports for lap in report.invented)
    return AccuracyReport(**sums, invented=invented, best_official_s=None, best_hidden_s=None, best_listed_s=None)

"""The words for raw files: what kinds there are, and what is known about one file.

Here belong plain values only. How a file is recognised is in ``naming.py``; how it is read, in ``csv_files.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class FileKind(StrEnum):
    """What a raw file holds."""

    LAP_START = "lap_start"
    LAP_END = "lap_end"
    LAP_TIME = "lap_time"
    TELEMETRY = "telemetry"
    RESULTS = "results"
    RESULTS_BY_CLASS = "results_by_class"
    SECTIONS = "sections"
    WEATHER = "weather"
    BEST_LAPS = "best_laps"
    CHAMPIONSHIP = "championship"
    IGNORED = "ignored"
    UNKNOWN = "unknown"


# What the cars sent, against what the timekeepers printed.
CAR_KINDS = frozenset({FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME, FileKind.TELEMETRY})
OFFICIAL_KINDS = frozenset(
    {FileKind.RESULTS, FileKind.RESULTS_BY_CLASS, FileKind.SECTIONS, FileKind.WEATHER, FileKind.BEST_LAPS}
)


class FileStatus(StrEnum):
    """What becomes of a raw file."""

    READY = "ready"
    QUARANTINED = "quarantined"
    UNRESOLVED = "unresolved"
    IGNORED = "ignored"


@dataclass(frozen=True)
class FoundFile:
    """A file somewhere, before anything is known about it.

    Attributes:
        path: POSIX path relative to the source folder (or to ``data/`` in the lake).
        size: Bytes.
        read_start: Returns at most the first n bytes; called only when the name is not enough.
    """

    path: str
    size: int
    read_start: Callable[[int], bytes]


@dataclass(frozen=True)
class FileIdentity:
    """What one file is, why we think so, and whether it is used.

    Attributes:
        path: POSIX path relative to the source folder.
        size: Bytes.
        kind: What it holds.
        track: Track slug, ``None`` if not known.
        track_name: Track as people write it.
        session: Session, with the season in front where a season folder says it (``2026_R1``).
        season: Season (``2026``) where a folder says it.
        event_code: ``meta_event`` of car data, for example ``I_R06_2025-09-07``.
        version: ``official`` or ``provisional`` for classifications, else ``None``.
        rule: Name of the rule that decided.
        evidence: What the decision rests on, a sentence each, in the order it was weighed.
        confidence: 0 to 1.
        status: What becomes of it.
        reason: Why it is not used; ``None`` when ready.
    """

    path: str
    size: int
    kind: FileKind
    track: str | None
    track_name: str | None
    session: str | None
    season: str | None
    event_code: str | None
    version: str | None
    rule: str
    evidence: tuple[str, ...]
    confidence: float
    status: FileStatus
    reason: str | None


@dataclass(frozen=True)
class Reject:
    """One row of a raw file that cannot be used.

    Attributes:
        file: Path of the raw file relative to the source folder.
        line: Line number in it, the header being 1; ``None`` where a reader cannot tell.
        kind: Kind of the file.
        reason: One of a few fixed words, for counting (``too_few_columns``, ``bad_time``, ``bad_number`` …).
        detail: Column and value, at most 200 characters.
    """

    file: str
    line: int | None
    kind: FileKind
    reason: str
    detail: str


__all__ = ["CAR_KINDS", "OFFICIAL_KINDS", "FileIdentity", "FileKind", "FileStatus", "FoundFile", "Reject"]

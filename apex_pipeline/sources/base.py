"""The words every source shares, and what a source has to offer.

Contains plain values and one protocol. What the files of one kind of race data mean is in that source's own package;
which sources there are is listed in ``sources/__init__.py``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol

import pyarrow as pa

from apex_pipeline.settings import Settings
from apex_pipeline.sources.accuracy import AccuracyReport
from apex_pipeline.sources.lineage import Evidence, RawRows
from apex_pipeline.sources.raw_access import RawFileAccess
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables import RACE_TABLES
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

# Kinds that every source may give: a file that is not race data, and one that could not be identified.
IGNORED_KIND = "ignored"
UNKNOWN_KIND = "unknown"

# Takes a piece of a file.
Write = Callable[[bytes], object]

# Opens a raw file by its path relative to the source folder, at its first byte, to be read once from front to back.
FileOpener = Callable[[str], AbstractContextManager[BinaryIO]]


class FileStatus(StrEnum):
    """What becomes of a raw file."""

    READY = "ready"
    QUARANTINED = "quarantined"
    UNRESOLVED = "unresolved"
    IGNORED = "ignored"


@dataclass(frozen=True)
class FoundFile:
    """A file in a folder or a bucket, before anything is known about it.

    Attributes:
        path: POSIX path relative to the source folder (or to ``data/`` in the lake).
        size: Bytes.
        read_start: Returns at most the first n bytes; called only when the name is not enough.
    """

    path: str
    size: int
    read_head: Callable[[int], bytes]


@dataclass(frozen=True)
class FileIdentity:
    """What one file is, the evidence for it, and whether it is used.

    Attributes:
        path: POSIX path relative to the source folder.
        size: Bytes.
        kind: What it holds, one of its source's kinds, ``ignored`` or ``unknown``.
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
        source: Name of the source that reads it, empty where none does.
    """

    path: str
    size: int
    kind: str
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
    source: str = ""


@dataclass(frozen=True)
class Reject:
    """One row of a raw file that cannot be used.

    Attributes:
        file: Path of the raw file relative to the source folder.
        line: Line number in it, the header being 1; ``None`` where a reader does not know it.
        kind: Kind of the file.
        reason: One of a few fixed words, for counting (``too_few_columns``, ``bad_time``, ``bad_number`` …).
        detail: Column and value, at most 200 characters.
    """

    file: str
    line: int | None
    kind: str
    reason: str
    detail: str


@dataclass(frozen=True)
class DerivedTable:
    """One table of one session, as its source derived it.

    Attributes:
        table: Which published table.
        content: The rows, or a Parquet file on this machine that holds them; the receiver removes the file.
        facts: Figures about the derivation, for whoever runs it.
        warnings: What an operator should look at, a sentence each.
    """

    table: Table
    content: pa.Table | Path
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class DownsampleStats:
    """What became of the rows of a file that was downsampled.

    Attributes:
        rows_in: Lines of the file that are neither blank nor a header.
        rows_out: Lines that were copied.
        unreadable_rows: Lines among both whose car or time cannot be read; all of them are copied.
        samples_in: Different sample times, summed over the cars.
        samples_out: How many of them were kept.
    """

    rows_in: int
    rows_out: int
    unreadable_rows: int
    samples_in: int
    samples_out: int


class Source(Protocol):
    """One kind of race data: how its files are recognised, and what tables a session of them gives.

    Sources are pure: they read the streams they are handed and write nothing but staged files in the workspace. An
    implementation inherits from this class and keeps the defaults that suit it.

    Attributes:
        name: Its name in the column ``source`` of the table ``files``.
        derivation_version: Raised whenever the same raw files would give other tables; the sessions of this source, and
            of no other, are then derived again on the next sync.
        required_tables: Tables without which a session is not published.
        optional_tables: Tables a session may have besides.
        expected_kinds: Kinds of file a full session has.
        table_inputs: Kinds of file that give rows to a table, by the table's name.
        raw_access: For applications that load its raw files by name; ``None`` where none does.
    """

    name: ClassVar[str]
    derivation_version: ClassVar[str]
    required_tables: ClassVar[tuple[Table, ...]]
    optional_tables: ClassVar[tuple[Table, ...]] = ()
    expected_kinds: ClassVar[tuple[str, ...]] = ()
    table_inputs: ClassVar[Mapping[str, Collection[str]]] = {}
    raw_access: ClassVar[RawFileAccess | None] = None

    def load_rules(self, settings: Settings) -> Any:  # noqa: ANN401  -- each source has rules of its own shape
        """Return the rules by which files are recognised, the user's own included.

        Raises:
            ConfigurationError: The user's own rules cannot be read.
        """
        del settings

    def rules_version(self, settings: Settings) -> str:
        """Return a fingerprint of these rules; the catalog is refreshed when it changes."""
        del settings
        return self.derivation_version

    def identify(self, files: Sequence[FoundFile], rules: Any) -> list[FileIdentity]:  # noqa: ANN401
        """Return the identity of the files that may be this source's; the others may be left out.

        Args:
            files: All files of one source folder, or of one lake.
            rules: What :meth:`load_rules` returned.
        """
        ...

    def derive(
        self,
        key: SessionKey,
        files: Sequence[FileIdentity],
        open_file: FileOpener,
        workspace: Workspace,
        rules: Any,  # noqa: ANN401
    ) -> Iterator[DerivedTable]:
        """Yield the tables of a session one at a time, every required one among them.

        Args:
            key: The session.
            files: Its files in use, sorted by path.
            open_file: Opens one of them.
            workspace: Memory and disk the derivation may use.
            rules: What :meth:`load_rules` returned.

        Raises:
            MalformedFileError: A file cannot be read as what it was identified as.
        """
        ...

    def work_bytes(self, files: Iterable[FileIdentity]) -> int:
        """Return how many raw bytes a derivation reports as progress, to scale a progress bar."""
        return sum(file.size for file in files)

    def measure_accuracy(
        self,
        key: SessionKey,
        files: Sequence[FileIdentity],
        official_laps: pa.Table,
        open_file: FileOpener,
        workspace: Workspace,
        rules: Any,  # noqa: ANN401
    ) -> AccuracyReport | None:
        """Compare laps derived without official timing with it; ``None`` where there is nothing to compare.

        Args:
            key: The session.
            files: Its files in use.
            official_laps: Its published table ``official_laps``.
            open_file: Opens one of the files.
            workspace: Memory and disk the derivation may use.
            rules: What :meth:`load_rules` returned.
        """
        del key, files, official_laps, open_file, workspace, rules

    def find_lap_evidence(
        self,
        lap: Mapping[str, Any],
        laps: Sequence[Mapping[str, Any]],
        cars: Sequence[Mapping[str, Any]],
        official_laps: Sequence[Mapping[str, Any]],
        files: Sequence[FileIdentity],
        raw: RawRows,
    ) -> list[Evidence]:
        """Return the raw rows behind a published lap; none from a source that does not record them.

        Args:
            lap: Its row of ``laps``, with start and end also as ``start_ms`` and ``end_ms``.
            laps: All laps of its car, likewise.
            cars: Rows of ``cars``.
            official_laps: Rows of ``official_laps``.
            files: The session's files in use.
            raw: Access to their rows.
        """
        del lap, laps, cars, official_laps, files, raw
        return []

    def downsample(
        self, file: FileIdentity, open_file: Callable[[], AbstractContextManager[BinaryIO]], every: int, write: Write
    ) -> DownsampleStats | None:
        """Write every Nth sample of a file, decompressed, lines byte for byte; ``None`` for a file without samples.

        Args:
            file: What it is.
            open_file: Opens it, at its first byte at every call.
            every: Keep every Nth sample of each car.
            write: Takes the lines that stay.

        Raises:
            MalformedFileError: The samples cannot be told apart.
        """
        del file, open_file, every, write


def tables_of(source: Source) -> tuple[Table, ...]:
    """Return all tables a session of this source may have, in the order of the data dictionary."""
    order = {table.name: place for place, table in enumerate(RACE_TABLES)}
    tables = (*source.required_tables, *source.optional_tables)
    return tuple(sorted(tables, key=lambda table: order.get(table.name, len(order))))

"""Contains the types that all sources share and the protocol a source implements.

How one kind of race data is read is defined in that source's package; ``sources/__init__.py`` lists the sources.
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
from apex_pipeline.sources.unreadable import UnreadableFile
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables import RACE_TABLES
from apex_pipeline.tables.model import Row, Table
from apex_pipeline.tables.session_key import SessionKey

# Kinds that every source may return: a file that is not race data, and one that could not be identified.
IGNORED_KIND = "ignored"
UNKNOWN_KIND = "unknown"

# Receives a chunk of a file.
Write = Callable[[bytes], object]

# Opens a raw file by its path relative to the source folder, for one sequential read from its first byte.
FileOpener = Callable[[str], AbstractContextManager[BinaryIO]]


class FileStatus(StrEnum):
    """Whether and how a raw file is used."""

    READY = "ready"
    QUARANTINED = "quarantined"
    UNRESOLVED = "unresolved"
    IGNORED = "ignored"


def was_ready(status: FileStatus, kind: str) -> bool:
    """Return whether a file could be used before it was compared with others, which may have set it aside."""
    return status is FileStatus.READY or (status is FileStatus.IGNORED and kind != IGNORED_KIND)


@dataclass(frozen=True)
class FoundFile:
    """A file found in a folder or a bucket and not yet identified.

    Attributes:
        path: POSIX path relative to the source folder (or to ``data/`` in the lake).
        size: Bytes.
        read_head: Returns at most the first n bytes; not called for files that are ignored.
        observation: What the source noted when it last identified the file, if the file has not changed since.
        sha256: Digest of the content; known for every file that has the size of another one.
        twins: Identities of files elsewhere with the same content that come next before it, in order of path: the
            last that could be used, and the last of the others. They are not to be identified.
    """

    path: str
    size: int
    read_head: Callable[[int], bytes]
    observation: str = ""
    sha256: str | None = None
    twins: "tuple[FileIdentity, ...]" = ()


@dataclass(frozen=True)
class FileIdentity:
    """What one file is, the evidence for that, and whether the file is used.

    Attributes:
        path: POSIX path relative to the source folder.
        size: Bytes.
        kind: One of its source's kinds, ``ignored`` or ``unknown``.
        track: Track slug; ``None`` if not known.
        track_name: Display name of the track.
        session: Session, prefixed with the season if a folder names one (``2026_R1``).
        season: Season (``2026``) if a folder names one.
        event_code: ``meta_event`` of car data, for example ``I_R06_2025-09-07``.
        version: ``official`` or ``provisional`` for classifications, else ``None``.
        rule: Name of the rule that identified the file.
        evidence: Reasons for the decision, one sentence each, in the order they were considered.
        confidence: 0 to 1.
        status: Whether and how it is used.
        reason: Why it is not used; ``None`` if it is ready.
        source: Name of the source that reads it; empty if none does.
        observation: What the source read from the first bytes, in a form of its own; it gets this back as
            :attr:`FoundFile.observation` while the file is unchanged.
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
    observation: str = ""


@dataclass(frozen=True)
class Reject:
    """One row of a raw file that cannot be used.

    Attributes:
        file: Path of the raw file relative to the source folder.
        line: Line number in the file, counting the header as 1; ``None`` if the reader does not know it.
        kind: Kind of the file.
        reason: One of a few fixed codes, for counting (``too_few_columns``, ``bad_time``, ``bad_number`` …).
        detail: Column and value, at most 200 characters.
    """

    file: str
    line: int | None
    kind: str
    reason: str
    detail: str


@dataclass(frozen=True)
class DerivedTable:
    """One table of one session as derived by its source.

    Attributes:
        table: Definition of the published table.
        content: The rows, or a local Parquet file that holds them; the receiver deletes the file.
        facts: Statistics of the derivation, for the operator.
        warnings: Problems an operator should check, one sentence each; includes the files that were left out.
        unreadable: Files that feed this table and were left out.
    """

    table: Table
    content: pa.Table | Path
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[str, ...] = ()
    unreadable: tuple[UnreadableFile, ...] = ()


@dataclass(frozen=True)
class DownsampleStats:
    """Row and sample counts of one downsampled file.

    Attributes:
        rows_in: Lines of the file that are neither blank nor headers.
        rows_out: Lines that were copied.
        unreadable_rows: Lines whose car or time cannot be read; all are copied, so both counts above include them.
        samples_in: Distinct sample times, summed over the cars.
        samples_out: Sample times that were kept, summed over the cars.
    """

    rows_in: int
    rows_out: int
    unreadable_rows: int
    samples_in: int
    samples_out: int


class Source(Protocol):
    """One kind of race data: how its files are recognised, and which tables are derived from a session.

    Sources are pure: they read the streams they are given and write nothing but staged files in the workspace. An
    implementation inherits from this class and keeps the defaults that suit it.

    Attributes:
        name: Its name in the column ``source`` of the table ``files``.
        derivation_version: Raised whenever the same raw files would give other tables; the next sync then derives the
            sessions of this source again and leaves those of other sources alone.
        required_tables: Tables without which a session is not published.
        optional_tables: Further tables that a session may have.
        expected_kinds: Kinds of file in a complete session.
        exclusive_kinds: Kinds of which a session has only one file; two with different content contradict each other.
        table_inputs: Kinds of file that contribute rows to a table, by table name.
        raw_access: Access for applications that load raw files by name; ``None`` if that is not supported.
    """

    name: ClassVar[str]
    derivation_version: ClassVar[str]
    required_tables: ClassVar[tuple[Table, ...]]
    optional_tables: ClassVar[tuple[Table, ...]] = ()
    expected_kinds: ClassVar[tuple[str, ...]] = ()
    exclusive_kinds: ClassVar[Collection[str]] = ()
    table_inputs: ClassVar[Mapping[str, Collection[str]]] = {}
    raw_access: ClassVar[RawFileAccess | None] = None

    def load_rules(self, settings: Settings) -> Any:  # noqa: ANN401  -- each source has its own type of rules
        """Return the rules by which files are recognised, including the user's own.

        Raises:
            ConfigurationError: The user's own rules cannot be read.
        """
        del settings

    def rules_version(self, settings: Settings) -> str:
        """Return a hash of these rules; the catalog is refreshed when it changes."""
        del settings
        return self.derivation_version

    def scope_of(self, folder: str, rules: Any) -> str:  # noqa: ANN401
        """Return the folder whose files have to be identified together with those of this one; empty for all files.

        Args:
            folder: Path of the folder; empty for the source folder itself.
            rules: What :meth:`load_rules` returned.
        """
        del folder, rules
        return ""

    def identify(self, files: Sequence[FoundFile], rules: Any) -> list[FileIdentity]:  # noqa: ANN401
        """Return the identity of each file that may belong to this source; other files may be left out.

        Args:
            files: All files of at least one scope, and all files of every session that has a file among them.
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
        """Yield the tables of a session one at a time, including every required one.

        Args:
            key: The session.
            files: Its files in use, sorted by path.
            open_file: Opens one of them.
            workspace: Memory and disk the derivation may use.
            rules: What :meth:`load_rules` returned.

        Raises:
            MalformedFileError: A file cannot be read as the kind it was identified as.
        """
        ...

    def work_bytes(self, files: Iterable[FileIdentity]) -> int:
        """Return how many raw bytes a derivation will report as progress, to scale a progress bar."""
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
        """Compare laps derived blind with official timing; ``None`` if there is nothing to compare.

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
        lap: Row,
        laps: Sequence[Row],
        cars: Sequence[Row],
        official_laps: Sequence[Row],
        files: Sequence[FileIdentity],
        raw: RawRows,
    ) -> list[Evidence]:
        """Return the raw rows behind a published lap; an empty list if the source does not record them.

        Args:
            lap: Its row of ``laps``, with start and end also given as ``start_ms`` and ``end_ms``.
            laps: All laps of its car, in the same form.
            cars: Rows of ``cars``.
            official_laps: Rows of ``official_laps``.
            files: The session's files in use.
            raw: Access to the rows of these files.
        """
        del lap, laps, cars, official_laps, files, raw
        return []

    def downsample(
        self, file: FileIdentity, open_file: Callable[[], AbstractContextManager[BinaryIO]], every: int, write: Write
    ) -> DownsampleStats | None:
        """Write every Nth sample of a file, decompressed but otherwise unchanged; ``None`` for a file without samples.

        Args:
            file: Identity of the file.
            open_file: Opens the file; every call starts at its first byte.
            every: Keep every Nth sample of each car.
            write: Receives the lines that are kept.

        Raises:
            MalformedFileError: The samples cannot be distinguished.
        """
        del file, open_file, every, write


def tables_of(source: Source) -> tuple[Table, ...]:
    """Return all tables that a session of this source may have, in data dictionary order."""
    order = {table.name: position for position, table in enumerate(RACE_TABLES)}
    tables = (*source.required_tables, *source.optional_tables)
    return tuple(sorted(tables, key=lambda table: order.get(table.name, len(order))))

"""Derives the tables of one session from its raw files, with one function per family of tables.

``source.py`` runs them one after the other; Dagster runs each as a separate asset. The algorithms are in
``laps/``, ``telemetry/``, ``official_timing.py`` and ``quality/``.

A file that cannot be read is left out as a whole and reported; the tables are derived from the other files. If there
are no others, its error stops the derivation, and what was published before stays. See ``sources/unreadable.py`` for
which errors count as such, and ``sources/limits.py`` for the limits on files.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa

from apex_pipeline.errors import ApexError, MalformedFileError, StoreError
from apex_pipeline.sources.base import FileIdentity, FileOpener, Reject
from apex_pipeline.sources.gr_cup.kinds import LAP_KINDS, FileKind
from apex_pipeline.sources.gr_cup.laps.crossings import TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.derivation import LapReport, derive_laps
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger, read_triggers
from apex_pipeline.sources.gr_cup.official_entries import add_classified_times
from apex_pipeline.sources.gr_cup.official_fit import fit_to
from apex_pipeline.sources.gr_cup.official_points import official_points_table
from apex_pipeline.sources.gr_cup.official_rows import CELL_REASONS, ParsedFile
from apex_pipeline.sources.gr_cup.official_timing import (
    official_laps_table,
    read_results,
    read_sections,
    read_weather,
    results_table,
    weather_table,
)
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.convert import convert_telemetry
from apex_pipeline.sources.gr_cup.telemetry.crossings import find_telemetry_crossings
from apex_pipeline.sources.gr_cup.telemetry.report import TelemetryReport
from apex_pipeline.sources.gr_cup.two_races import without_contradictions
from apex_pipeline.sources.gr_cup.vehicle_spellings import find_spellings
from apex_pipeline.sources.limits import BYTES_PER_OFFICIAL_ROW, BYTES_PER_TRIGGER, RowBudget
from apex_pipeline.sources.rejects import file_rejects, rejects_table
from apex_pipeline.sources.unreadable import UnreadableFile, is_unreadable
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables.session_key import SessionKey

_Parsed = TypeVar("_Parsed")

# Kinds of file that tables are derived from.
_READ_KINDS = LAP_KINDS | {FileKind.TELEMETRY, FileKind.SECTIONS, FileKind.RESULTS, FileKind.WEATHER}


@dataclass(frozen=True)
class LapTables:
    """Tables ``laps`` and ``cars`` of one session.

    Attributes:
        laps: Table ``laps``.
        cars: Table ``cars``.
        rejects: Table of rejects; a file that was left out has one row.
        report: Counts of the derivation.
        unreadable: Lap files that were left out.
    """

    laps: pa.Table
    cars: pa.Table
    rejects: pa.Table
    report: LapReport
    unreadable: tuple[UnreadableFile, ...] = ()


@dataclass(frozen=True)
class SessionTriggers:
    """Triggers and rejects of the lap files of a session, and the files that were left out."""

    triggers: list[Trigger]
    rejects: list[Reject]
    unreadable: tuple[UnreadableFile, ...]


@dataclass(frozen=True)
class OfficialTables:
    """Official timing tables of one session.

    Attributes:
        official_laps: Table ``official_laps``.
        official_points: Table ``official_points``.
        results: Table ``results``.
        weather: Table ``weather``.
        rejects: Table of rejects; a file that was left out has one row.
        dropped_columns: Columns left unpublished, including personal names.
        unreadable: Files that were left out.
    """

    official_laps: pa.Table
    official_points: pa.Table
    results: pa.Table
    weather: pa.Table
    rejects: pa.Table
    dropped_columns: tuple[str, ...]
    unreadable: tuple[UnreadableFile, ...] = ()


def derive_lap_tables(
    key: SessionKey,
    files: Sequence[FileIdentity],
    open_file: FileOpener,
    official_laps: pa.Table | None,
    zone: str | None,
    workspace: Workspace,
) -> LapTables:
    """Derive the laps and cars of a session from its lap files and official timing.

    Args:
        key: The session.
        files: The files to use.
        open_file: Opens one of the files.
        official_laps: Its table ``official_laps``; ``None`` derives the laps blind, without official timing.
        zone: IANA time zone of the track's official clock; ``None`` if not known.
        workspace: Memory, limits on the files, and temporary disk space for reading telemetry.

    Raises:
        MalformedFileError: The session has only lap files, and none of them can be read.
        ObjectMissingError: A file is no longer in the lake.
        TransientError: A file cannot be read at the moment.
    """
    read = read_session_triggers(files, open_file, workspace.row_budget(BYTES_PER_TRIGGER))
    _require_any_readable(files, read.unreadable)
    has_official = official_laps is not None and official_laps.num_rows > 0
    # Official timing lists every crossing, so telemetry is searched for crossings only if there is none.
    telemetry_crossings = [] if has_official else _find_crossings(files, open_file, workspace, read.triggers)
    derived = derive_laps(key.track, key.session, read.triggers, official_laps, zone, telemetry_crossings)
    rejects = rejects_table(key.track, key.session, [*read.rejects, *file_rejects(read.unreadable)])
    return LapTables(derived.laps, derived.cars, rejects, derived.report, read.unreadable)


def read_session_triggers(files: Sequence[FileIdentity], open_file: FileOpener, budget: RowBudget) -> SessionTriggers:
    """Read the lap files of a session.

    Args:
        files: The files to use.
        open_file: Opens one of the files.
        budget: Memory for the rows, and limits on the files.

    Raises:
        ObjectMissingError: A file is no longer in the lake.
        TransientError: A file cannot be read at the moment.
    """
    cars: set[str] = set()

    def read(stream: BinaryIO, identity: FileIdentity) -> tuple[list[Trigger], list[Reject]]:
        triggers, rejects = read_triggers(stream, identity, budget)
        if rejects:  # without any row it is an empty export, and the other lap files have the same crossings
            _require_rows(identity, triggers, rejects)
        found = cars.union(trigger.vehicle_id for trigger in triggers)
        budget.limits.check_cars(identity.path, len(found))
        cars.update(found)
        return triggers, rejects

    parsed, unreadable = _read_files(files, LAP_KINDS, open_file, read, budget)
    return SessionTriggers(
        [trigger for triggers, _ in parsed for trigger in triggers],
        [reject for _, rejects in parsed for reject in rejects],
        unreadable,
    )


def _find_crossings(
    files: Sequence[FileIdentity], open_file: FileOpener, workspace: Workspace, triggers: Sequence[Trigger]
) -> list[TelemetryCrossing]:
    known = set(find_spellings(triggers).published.values())
    return find_telemetry_crossings(_telemetry_files(files, open_file, workspace), workspace, known)


def derive_official_tables(
    key: SessionKey, files: Sequence[FileIdentity], open_file: FileOpener, workspace: Workspace | None = None
) -> OfficialTables:
    """Read the official timing of a session: laps with sectors, classification, weather.

    Args:
        key: The session.
        files: The files to use.
        open_file: Opens one of the files.
        workspace: Memory for the rows, and limits on the files; by default a gigabyte and the default limits.

    Raises:
        MalformedFileError: The session has only official timing, and none of it can be read.
        ObjectMissingError: A file is no longer in the lake.
        TransientError: A file cannot be read at the moment.
    """
    budget = RowBudget() if workspace is None else workspace.row_budget(BYTES_PER_OFFICIAL_ROW)
    fit = fit_to(lambda: read_session_triggers(files, open_file, budget.rest(BYTES_PER_TRIGGER)).triggers)
    merged: list[ParsedFile] = []
    tables: list[pa.Table] = []
    unreadable: list[UnreadableFile] = []
    by_kind: dict[FileKind, list[ParsedFile]] = {}
    for kind, read in (
        (FileKind.SECTIONS, read_sections),
        (FileKind.RESULTS, read_results),
        (FileKind.WEATHER, read_weather),
    ):
        parsed, left_out = _read_files(files, {kind}, open_file, partial(_read_official, read, budget), budget)
        by_kind[kind], contradicting = without_contradictions(parsed, kind, fit)
        unreadable += [*left_out, *contradicting]
    add_classified_times(by_kind[FileKind.SECTIONS], by_kind[FileKind.RESULTS])
    for parsed, to_table in zip(by_kind.values(), (official_laps_table, results_table, weather_table), strict=True):
        table, rows = to_table(key.track, key.session, parsed)
        tables.append(table)
        merged.append(rows)
    _require_any_readable(files, unreadable)
    rejects = [reject for rows in merged for reject in rows.rejects]
    official_laps, results, weather = tables
    return OfficialTables(
        official_laps,
        official_points_table(key.track, key.session, merged[0].rows, merged[0].points),
        results,
        weather,
        rejects=rejects_table(key.track, key.session, [*rejects, *file_rejects(unreadable)]),
        dropped_columns=tuple(sorted({name for rows in merged for name in rows.dropped_columns})),
        unreadable=tuple(unreadable),
    )


def _read_official(
    read: Callable[[BinaryIO, FileIdentity, RowBudget], ParsedFile],
    budget: RowBudget,
    stream: BinaryIO,
    identity: FileIdentity,
) -> ParsedFile:
    parsed = read(stream, identity, budget)
    _require_rows(identity, parsed.rows, parsed.rejects)
    cars = {row.get("car_number") for row in parsed.rows}
    budget.limits.check_cars(identity.path, len(cars))
    return parsed


def derive_telemetry(
    key: SessionKey,
    files: Sequence[FileIdentity],
    open_file: FileOpener,
    laps: pa.Table,
    output: Path,
    workspace: Workspace,
) -> TelemetryReport:
    """Write the pivoted telemetry of a session as one Parquet file.

    Args:
        key: The session.
        files: Its files in use.
        open_file: Opens one of the files.
        laps: Its table ``laps``, for the lap number of each sample.
        output: Local path of the Parquet file.
        workspace: Memory and temporary disk space the conversion may use.

    Raises:
        MalformedFileError: The session has only telemetry, and none of it can be read.
        ObjectMissingError: A file is no longer in the lake.
        TransientError: A file cannot be read at the moment.
        ReconciliationError: The number of readings differs from cells written plus duplicates plus rejects.
    """
    report = convert_telemetry(
        key,
        _telemetry_files(files, open_file, workspace),
        laps,
        output,
        workspace,
        workspace.file_metadata,
        partial(_is_of_one_file, files, open_file),
    )
    _require_any_readable(files, report.unreadable)
    return report


def telemetry_bytes(files: Iterable[FileIdentity]) -> int:
    """Return the total size of the telemetry files in bytes."""
    return sum(identity.size for identity in _of_kind(files, FileKind.TELEMETRY))


def _telemetry_files(files: Sequence[FileIdentity], open_file: FileOpener, workspace: Workspace) -> list[TelemetryFile]:
    return [
        TelemetryFile(identity, partial(open_file, identity.path), workspace.limits)
        for identity in _of_kind(files, FileKind.TELEMETRY)
    ]


def _require_rows(identity: FileIdentity, rows: Sequence[object], rejects: Sequence[Reject]) -> None:
    """Require that a file gives at least one row: one that gives none was cut off, or is written in another way.

    Raises:
        MalformedFileError: It has a header only, or every row is rejected.
    """
    if rows:
        return
    of_rows = [reject for reject in rejects if reject.reason not in CELL_REASONS]
    first = f" {len(of_rows):,} rows are rejected, the first for {of_rows[0].reason}." if of_rows else ""
    raise MalformedFileError(
        f"{identity.path} gives no {identity.kind} row.{first}",
        "Export it again, or take it out of the source folder if nothing was recorded.",
    )


def _of_kind(files: Iterable[FileIdentity], kind: FileKind) -> list[FileIdentity]:
    return [identity for identity in files if identity.kind == kind]


def _read_files(
    files: Sequence[FileIdentity],
    kinds: Collection[FileKind],
    open_file: FileOpener,
    read: Callable[[BinaryIO, FileIdentity], _Parsed],
    budget: RowBudget,
) -> tuple[list[_Parsed], tuple[UnreadableFile, ...]]:
    """Return the content of every file of these kinds that can be read, and the files that cannot."""
    parsed: list[_Parsed] = []
    unreadable: list[UnreadableFile] = []
    for identity in (item for item in files if item.kind in kinds):
        checkpoint = budget.checkpoint()
        try:
            with open_file(identity.path) as stream:
                parsed.append(read(stream, identity))
        except ApexError as error:
            if not _is_of_one_file(files, open_file, error, identity.path):
                raise
            budget.rewind(checkpoint)
            unreadable.append(UnreadableFile(identity.path, identity.kind, error))
    return parsed, tuple(unreadable)


def _is_of_one_file(files: Iterable[FileIdentity], open_file: FileOpener, error: ApexError, path: str) -> bool:
    """Return whether an error concerns only this file of the session.

    If the store refuses one file, it may refuse all of them, for example after a change of permissions. Empty tables
    must not replace those published before, so another file of the session is tried.
    """
    if not isinstance(error, StoreError):
        return is_unreadable(error)
    return is_unreadable(error) and any(_can_open(item.path, open_file) for item in files if item.path != path)


def _can_open(path: str, open_file: FileOpener) -> bool:
    try:
        with open_file(path) as stream:
            return bool(stream.read(1))
    except ApexError:
        return False


def _require_any_readable(files: Iterable[FileIdentity], unreadable: Sequence[UnreadableFile]) -> None:
    """Raise the error of the first file that was left out if the session has no other file to derive tables from."""
    left_out = {file.path for file in unreadable}
    if left_out and all(item.path in left_out for item in files if item.kind in _READ_KINDS):
        raise unreadable[0].error

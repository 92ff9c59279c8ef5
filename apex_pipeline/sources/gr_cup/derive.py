"""Derives the tables of one session from its raw files, with one function per family of tables.

``source.py`` runs them one after the other; Dagster runs each as a separate asset. The algorithms are in
``laps/``, ``telemetry/``, ``official_timing.py`` and ``quality/``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from apex_pipeline.sources.base import FileIdentity, FileOpener, Reject
from apex_pipeline.sources.gr_cup.kinds import LAP_KINDS, FileKind
from apex_pipeline.sources.gr_cup.laps.crossings import TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.derivation import LapReport, derive_laps
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger, read_triggers
from apex_pipeline.sources.gr_cup.official_timing import (
    ParsedFile,
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
from apex_pipeline.sources.rejects import rejects_table
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables.session_key import SessionKey


@dataclass(frozen=True)
class LapTables:
    """Tables ``laps`` and ``cars`` of one session, with rejects and derivation counts."""

    laps: pa.Table
    cars: pa.Table
    rejects: pa.Table
    report: LapReport


@dataclass(frozen=True)
class OfficialTables:
    """Official timing tables of one session.

    Attributes:
        official_laps: Table ``official_laps``.
        results: Table ``results``.
        weather: Table ``weather``.
        rejects: Table of rejects.
        dropped_columns: Columns left unpublished, including personal names.
    """

    official_laps: pa.Table
    results: pa.Table
    weather: pa.Table
    rejects: pa.Table
    dropped_columns: tuple[str, ...]


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
        workspace: Memory and temporary disk space for reading telemetry.

    Raises:
        MalformedFileError: A lap file lacks a required column.
    """
    triggers, rejects = read_session_triggers(files, open_file)
    has_official = official_laps is not None and official_laps.num_rows > 0
    # Official timing lists every crossing, so telemetry is searched for crossings only if there is none.
    telemetry_crossings = [] if has_official else _find_crossings(files, open_file, workspace)
    derived = derive_laps(key.track, key.session, triggers, official_laps, zone, telemetry_crossings)
    return LapTables(derived.laps, derived.cars, rejects_table(key.track, key.session, rejects), derived.report)


def read_session_triggers(files: Sequence[FileIdentity], open_file: FileOpener) -> tuple[list[Trigger], list[Reject]]:
    """Read the lap files of a session.

    Returns:
        The triggers and the rejected rows.

    Raises:
        MalformedFileError: A lap file lacks a required column.
    """
    triggers: list[Trigger] = []
    rejects: list[Reject] = []
    for identity in (item for item in files if item.kind in LAP_KINDS):
        with open_file(identity.path) as stream:
            read, rejected = read_triggers(stream, identity)
        triggers += read
        rejects += rejected
    return triggers, rejects


def _find_crossings(
    files: Sequence[FileIdentity], open_file: FileOpener, workspace: Workspace
) -> list[TelemetryCrossing]:
    return find_telemetry_crossings(_telemetry_files(files, open_file), workspace)


def derive_official_tables(key: SessionKey, files: Sequence[FileIdentity], open_file: FileOpener) -> OfficialTables:
    """Read the official timing of a session: laps with sectors, classification, weather.

    Raises:
        MalformedFileError: A file lacks a required column.
    """
    built = [
        to_table(key.track, key.session, _parse(_of_kind(files, kind), open_file, read))
        for kind, read, to_table in (
            (FileKind.SECTIONS, read_sections, official_laps_table),
            (FileKind.RESULTS, read_results, results_table),
            (FileKind.WEATHER, read_weather, weather_table),
        )
    ]
    (official_laps, _), (results, _), (weather, _) = built
    rejects = [reject for _, merged in built for reject in merged.rejects]
    return OfficialTables(
        official_laps=official_laps,
        results=results,
        weather=weather,
        rejects=rejects_table(key.track, key.session, rejects),
        dropped_columns=tuple(sorted({name for _, merged in built for name in merged.dropped_columns})),
    )


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
        MalformedFileError: A file lacks a required column.
        ReconciliationError: The number of readings differs from cells written plus duplicates plus rejects.
    """
    return convert_telemetry(key, _telemetry_files(files, open_file), laps, output, workspace, workspace.file_metadata)


def telemetry_bytes(files: Iterable[FileIdentity]) -> int:
    """Return the total size of the telemetry files in bytes."""
    return sum(identity.size for identity in _of_kind(files, FileKind.TELEMETRY))


def _telemetry_files(files: Sequence[FileIdentity], open_file: FileOpener) -> list[TelemetryFile]:
    return [
        TelemetryFile(identity, partial(open_file, identity.path)) for identity in _of_kind(files, FileKind.TELEMETRY)
    ]


def _of_kind(files: Iterable[FileIdentity], kind: FileKind) -> list[FileIdentity]:
    return [identity for identity in files if identity.kind == kind]


def _parse(
    files: Iterable[FileIdentity], open_file: FileOpener, read: Callable[[BinaryIO, FileIdentity], ParsedFile]
) -> list[ParsedFile]:
    parsed: list[ParsedFile] = []
    for identity in files:
        with open_file(identity.path) as stream:
            parsed.append(read(stream, identity))
    return parsed

"""From the raw files of one session, as they lie in the store, to its tables.

Here belongs fetching the files and handing them to ``sources``, one function per family of tables. Not here: what the
rows mean (``sources``) and where the tables go (``resources``).
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from apex_pipeline.session_key import SessionKey
from apex_pipeline.sources.gr_cup.files import FileIdentity, FileKind, Reject
from apex_pipeline.sources.gr_cup.laps.derivation import LapReport, derive_laps
from apex_pipeline.sources.gr_cup.line_passing import LinePassing
from apex_pipeline.sources.gr_cup.official_timing import (
    Parsed,
    official_laps_table,
    read_results,
    read_sections,
    read_weather,
    results_table,
    weather_table,
)
from apex_pipeline.sources.gr_cup.rejects import rejects_table
from apex_pipeline.sources.gr_cup.telemetry.conversion import convert_telemetry
from apex_pipeline.sources.gr_cup.telemetry.line_passings import find_line_passings
from apex_pipeline.sources.gr_cup.telemetry.raw_file import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.report import TelemetryReport
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace
from apex_pipeline.sources.gr_cup.triggers import Trigger, read_triggers
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.layout import raw_key

# Files whose rows are triggers of the finish line.
LAP_KINDS = (FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME)


@dataclass(frozen=True)
class LapTables:
    """The tables ``laps`` and ``cars`` of one session, what was rejected, and the counts behind them."""

    laps: pa.Table
    cars: pa.Table
    rejects: pa.Table
    report: LapReport


@dataclass(frozen=True)
class OfficialTables:
    """The tables of official timing of one session.

    Attributes:
        official_laps: Table ``official_laps``.
        results: Table ``results``.
        weather: Table ``weather``.
        rejects: What was rejected.
        dropped_columns: Columns of the files that are not published, names of persons among them.
    """

    official_laps: pa.Table
    results: pa.Table
    weather: pa.Table
    rejects: pa.Table
    dropped_columns: tuple[str, ...]


def make_laps(
    store: ObjectStore,
    key: SessionKey,
    files: Sequence[FileIdentity],
    official_laps: pa.Table | None,
    zone: str | None,
    workspace: Workspace,
) -> LapTables:
    """Derive the laps of a session, and who drove them, from its lap files and official timing.

    Args:
        store: The lake.
        key: The session.
        files: Its files in use.
        official_laps: Its table ``official_laps``; ``None`` hides official timing from the derivation.
        zone: IANA zone of the track's official clock, ``None`` if not known.
        workspace: Memory and scratch, for the look into telemetry.

    Raises:
        MalformedFileError: A lap file lacks a column it cannot do without.
    """
    triggers, rejects = read_session_triggers(store, files)
    has_official = official_laps is not None and official_laps.num_rows > 0
    # Official timing lists every crossing; without it telemetry is asked, which means reading its files once more.
    passings = [] if has_official else _find_passings(store, files, workspace)
    derived = derive_laps(key.track, key.session, triggers, official_laps, zone, passings)
    return LapTables(derived.laps, derived.cars, rejects_table(key.track, key.session, rejects), derived.report)


def read_session_triggers(store: ObjectStore, files: Sequence[FileIdentity]) -> tuple[list[Trigger], list[Reject]]:
    """Read the lap files of a session.

    Returns:
        The triggers, and the rows that are none.

    Raises:
        MalformedFileError: A lap file lacks a column it cannot do without.
    """
    triggers: list[Trigger] = []
    rejects: list[Reject] = []
    for identity in _of_kind(files, *LAP_KINDS):
        with _open(store, identity) as stream:
            found, refused = read_triggers(stream, identity)
        triggers += found
        rejects += refused
    return triggers, rejects


def _find_passings(store: ObjectStore, files: Sequence[FileIdentity], workspace: Workspace) -> list[LinePassing]:
    return find_line_passings(_telemetry_files(store, files), workspace)


def make_official_tables(store: ObjectStore, key: SessionKey, files: Sequence[FileIdentity]) -> OfficialTables:
    """Read the official timing of a session: laps with sectors, classification, weather.

    Raises:
        MalformedFileError: A file lacks a column it cannot do without.
    """
    made = [
        to_table(key.track, key.session, _parse(store, _of_kind(files, kind), read))
        for kind, read, to_table in (
            (FileKind.SECTIONS, read_sections, official_laps_table),
            (FileKind.RESULTS, read_results, results_table),
            (FileKind.WEATHER, read_weather, weather_table),
        )
    ]
    (official_laps, _), (results, _), (weather, _) = made
    rejects = [reject for _, merged in made for reject in merged.rejects]
    return OfficialTables(
        official_laps=official_laps,
        results=results,
        weather=weather,
        rejects=rejects_table(key.track, key.session, rejects),
        dropped_columns=tuple(sorted({name for _, merged in made for name in merged.dropped_columns})),
    )


def make_telemetry(
    store: ObjectStore,
    key: SessionKey,
    files: Sequence[FileIdentity],
    laps: pa.Table,
    output: Path,
    workspace: Workspace,
    metadata: Mapping[str, str],
) -> TelemetryReport:
    """Write the wide telemetry of a session as one Parquet file.

    Args:
        store: The lake.
        key: The session.
        files: Its files in use.
        laps: Its table ``laps``, for the lap number of each sample.
        output: Where the Parquet file goes, on this machine.
        workspace: Memory and scratch the conversion may use.
        metadata: Entries for the Parquet file's own metadata.

    Raises:
        MalformedFileError: A file lacks a column it cannot do without.
        ConservationError: Readings in do not equal cells out plus duplicates plus rejects.
    """
    return convert_telemetry(key, _telemetry_files(store, files), laps, output, workspace, metadata)


def telemetry_bytes(files: Iterable[FileIdentity]) -> int:
    """Return the size of the telemetry files among these."""
    return sum(identity.size for identity in _of_kind(files, FileKind.TELEMETRY))


def _telemetry_files(store: ObjectStore, files: Sequence[FileIdentity]) -> list[TelemetryFile]:
    """Return the telemetry files to be read where they lie: gigabytes need no copy on this machine's disk."""
    return [
        TelemetryFile(identity, partial(store.open_stream, raw_key(identity.path)))
        for identity in _of_kind(files, FileKind.TELEMETRY)
    ]


def _of_kind(files: Iterable[FileIdentity], *kinds: FileKind) -> list[FileIdentity]:
    return [identity for identity in files if identity.kind in kinds]


def _parse(
    store: ObjectStore, files: Iterable[FileIdentity], read: Callable[[BinaryIO, FileIdentity], Parsed]
) -> list[Parsed]:
    parsed: list[Parsed] = []
    for identity in files:
        with _open(store, identity) as stream:
            parsed.append(read(stream, identity))
    return parsed


@contextmanager
def _open(store: ObjectStore, identity: FileIdentity) -> Generator[BinaryIO]:
    with store.open_local(raw_key(identity.path)) as path, path.open("rb") as stream:
        yield stream


__all__ = [
    "LAP_KINDS",
    "LapTables",
    "OfficialTables",
    "make_laps",
    "make_official_tables",
    "make_telemetry",
    "read_session_triggers",
    "telemetry_bytes",
]

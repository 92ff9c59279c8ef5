"""Exports published tables to a database file or a folder of CSV files; see formats.py for the writers.

Each published table becomes one table of the export; its columns ``track`` and ``session`` name the session of a row.
The rows written are counted and compared with the snapshot.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ConfigurationError, ReconciliationError
from apex_pipeline.export.formats import TableWriter, csv_folder, duckdb_file, sqlite_file
from apex_pipeline.lake.catalog_tables import CatalogTables
from apex_pipeline.lake.objects import open_table_file, table_file_key
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.snapshot import Snapshot, read_current
from apex_pipeline.progress import current_progress
from apex_pipeline.sources import all_tables
from apex_pipeline.storage.atomic import new_file, new_folder
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.tables import CATALOG_TABLES, TELEMETRY

Format = Literal["duckdb", "sqlite", "csv"]


@dataclass(frozen=True)
class ExportedTable:
    """A table of an export.

    Attributes:
        name: Name of the table.
        rows: Number of rows, over all sessions.
    """

    name: str
    rows: int


def select_tables(wanted: Collection[str]) -> tuple[str, ...]:
    """Return the names of the tables to export: by default all but telemetry, which can be gigabytes.

    Raises:
        ConfigurationError: A table does not exist.
    """
    known = all_tables()
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ConfigurationError(f"Unknown tables: {', '.join(unknown)}.", f"Available: {', '.join(known)}.")
    return tuple(name for name in known if (name in wanted if wanted else name != TELEMETRY.name))


def export_tables(
    store: ObjectStore, snapshot: Snapshot, names: Collection[str], kind: Format, target: Path
) -> list[ExportedTable]:
    """Write published tables in another format.

    Args:
        store: The lake.
        snapshot: The snapshot to export.
        names: Names of the tables.
        kind: ``duckdb`` or ``sqlite`` for a database file, ``csv`` for a folder.
        target: The new file or folder; it appears only when it is complete.

    Raises:
        ConfigurationError: The target exists, or the format needs a library that is not installed.
        ObjectMissingError: A published table is missing from the lake.
        ReconciliationError: The export and the lake have different numbers of rows, which is a bug in the export.
    """
    if kind == "csv":
        with new_folder(target) as folder, csv_folder(folder) as writer:
            return [_export(store, snapshot, name, writer) for name in names]
    opener = duckdb_file if kind == "duckdb" else sqlite_file
    with new_file(target) as file, opener(file) as writer:
        return [_export(store, snapshot, name, writer) for name in names]


def _export(store: ObjectStore, snapshot: Snapshot, name: str, writer: TableWriter) -> ExportedTable:
    if name in {table.name for table in CATALOG_TABLES}:
        content: pa.Table = getattr(CatalogTables(snapshot, is_current=read_current(store) == snapshot), name)
        writer.create(name, content.schema)
        for batch in content.to_batches():
            writer.write(batch)
        return _counted(name, writer, content.num_rows)
    records, progress = list(_records(snapshot, name)), current_progress()
    writer.create(name, all_tables()[name].schema_with(_extra_columns(store, records, name)))
    for record in records:
        with open_table_file(store, record) as path, pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                writer.write(batch)
        if progress:
            progress(record.bytes)
    return _counted(name, writer, sum(record.rows for record in records))


def export_bytes(snapshot: Snapshot, names: Collection[str]) -> int:
    """Return the size of the table files that an export reads and reports as progress one by one."""
    return sum(record.bytes for name in names for record in _records(snapshot, name))


def _counted(name: str, writer: TableWriter, expected: int) -> ExportedTable:
    """Return the exported table if it has the expected number of rows."""
    found = writer.count()
    if found != expected:
        raise ReconciliationError(
            f"The export of {name} has {found:,} rows, the lake {expected:,}.",
            "This is a bug in the export; please report it.",
        )
    return ExportedTable(name, found)


def _records(snapshot: Snapshot, name: str) -> Iterator[TableRecord]:
    for session in snapshot.sessions:
        if name in session.tables:
            yield session.tables[name]


def _extra_columns(store: ObjectStore, records: list[TableRecord], name: str) -> list[str]:
    """Return the distinct channels of these sessions that are not declared as columns."""
    table = all_tables()[name]
    if not table.allows_extra_columns:
        return []
    extra: dict[str, None] = {}
    for record in records:
        with store.open_seekable(table_file_key(store, record)) as stream:
            extra |= dict.fromkeys(pq.read_schema(pa.PythonFile(stream)).names)
    return [column for column in extra if column not in table.schema.names]

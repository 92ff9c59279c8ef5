"""Exports published tables to a database file or a folder of files; see formats.py for the writers.

Each published table becomes one table of the export; its columns ``track`` and ``session`` name the session of a row.
The rows written are counted and compared with the snapshot, or with those that were chosen of it.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ConfigurationError, ReconciliationError, did_you_mean
from apex_pipeline.export.formats import TableWriter, aligned, csv_folder, duckdb_file, parquet_folder, sqlite_file
from apex_pipeline.lake.catalog_tables import CatalogTables
from apex_pipeline.lake.objects import open_table_file, table_file_key
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.snapshot import Snapshot, read_current
from apex_pipeline.progress import current_progress
from apex_pipeline.sources import all_tables
from apex_pipeline.storage.atomic import new_file, new_folder
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.tables import CATALOG_TABLES, TELEMETRY
from apex_pipeline.tables.session_key import SessionKey

Format = Literal["duckdb", "sqlite", "csv", "parquet"]
_FOLDERS = {"csv": csv_folder, "parquet": parquet_folder}
_FILES = {"duckdb": duckdb_file, "sqlite": sqlite_file}


@dataclass(frozen=True)
class ExportedTable:
    """A table of an export.

    Attributes:
        name: Name of the table.
        rows: Number of rows, over all sessions.
    """

    name: str
    rows: int


@dataclass(frozen=True)
class Choice:
    """What of the tables is exported; by default everything.

    Attributes:
        sessions: Only rows of these sessions; ``None`` for all.
        rows: Returns the rows to keep of some rows of a table; ``None`` keeps all.
        columns: Only these columns, in this order; all if empty.
    """

    sessions: frozenset[SessionKey] | None = None
    rows: Callable[[pa.Table], pa.Table] | None = None
    columns: tuple[str, ...] = ()

    def has(self, key: SessionKey) -> bool:
        """Return whether rows of a session are exported."""
        return self.sessions is None or key in self.sessions

    def of(self, rows: pa.Table) -> pa.Table:
        """Return what is exported of some rows."""
        kept = self.rows(rows) if self.rows else rows
        return kept.select(self.columns) if self.columns else kept

    def schema_of(self, name: str, schema: pa.Schema) -> pa.Schema:
        """Return the columns of a table that are exported.

        Raises:
            ConfigurationError: The table has no such column.
        """
        unknown = [column for column in self.columns if column not in schema.names]
        if unknown:
            guess = did_you_mean(unknown[0], schema.names)
            raise ConfigurationError(
                f"{name} has no column {', '.join(unknown)}.", f"{guess}It has: {', '.join(schema.names)}."
            )
        return pa.schema([schema.field(column) for column in self.columns]) if self.columns else schema


EVERYTHING = Choice()


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
    store: ObjectStore,
    snapshot: Snapshot,
    names: Collection[str],
    kind: Format,
    target: Path,
    choice: Choice = EVERYTHING,
) -> list[ExportedTable]:
    """Write published tables in another format.

    Args:
        store: The lake.
        snapshot: The snapshot to export.
        names: Names of the tables.
        kind: ``duckdb`` or ``sqlite`` for a database file, ``csv`` or ``parquet`` for a folder.
        target: The new file or folder; it appears only when it is complete.
        choice: Which sessions, rows and columns of them.

    Raises:
        ConfigurationError: The target exists, a table has no such column, or the format needs a library that is not
            installed.
        ObjectMissingError: A published table is missing from the lake.
        ReconciliationError: The export has another number of rows than were chosen, which is a bug in the export.
    """
    if kind in _FOLDERS:
        with new_folder(target) as folder, _FOLDERS[kind](folder) as writer:
            return [_export(store, snapshot, name, writer, choice) for name in names]
    with new_file(target) as file, _FILES[kind](file) as writer:
        return [_export(store, snapshot, name, writer, choice) for name in names]


def _export(store: ObjectStore, snapshot: Snapshot, name: str, writer: TableWriter, choice: Choice) -> ExportedTable:
    if name in {table.name for table in CATALOG_TABLES}:
        content: pa.Table = getattr(CatalogTables(snapshot, is_current=read_current(store) == snapshot), name)
        chosen = _of_sessions(content, choice)
        writer.create(name, choice.schema_of(name, content.schema))
        return _counted(name, writer, _written(choice.of(chosen), writer))
    records, progress, expected = list(_records(snapshot, name, choice)), current_progress(), 0
    schema = all_tables()[name].schema_with(_extra_columns(store, records, name))
    writer.create(name, choice.schema_of(name, schema))
    for record in records:
        with open_table_file(store, record) as path, pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                expected += _written(choice.of(aligned(batch, schema)), writer)
        if progress:
            progress(record.bytes)
    if choice.rows is None:
        expected = sum(record.rows for record in records)
    return _counted(name, writer, expected)


def _written(rows: pa.Table, writer: TableWriter) -> int:
    """Write rows, and return their number."""
    for batch in rows.to_batches():
        writer.write(batch)
    return rows.num_rows


def _of_sessions(rows: pa.Table, choice: Choice) -> pa.Table:
    """Return the rows of a table of the catalog that are of the chosen sessions, or of their tracks."""
    if choice.sessions is None:
        return rows
    names = [name for name in SessionKey._fields if name in rows.schema.names]
    wanted = {tuple(getattr(key, name) for name in names) for key in choice.sessions}
    found = zip(*(rows[name].to_pylist() for name in names), strict=True)
    return rows.filter(pa.array([row in wanted for row in found], pa.bool_()))


def export_bytes(snapshot: Snapshot, names: Collection[str], choice: Choice = EVERYTHING) -> int:
    """Return the size of the table files that an export reads and reports as progress one by one."""
    return sum(record.bytes for name in names for record in _records(snapshot, name, choice))


def _counted(name: str, writer: TableWriter, expected: int) -> ExportedTable:
    """Return the exported table if it has the expected number of rows."""
    found = writer.count()
    if found != expected:
        raise ReconciliationError(
            f"The export of {name} has {found:,} rows, the lake {expected:,}.",
            "This is a bug in the export; please report it.",
        )
    return ExportedTable(name, found)


def _records(snapshot: Snapshot, name: str, choice: Choice) -> Iterator[TableRecord]:
    for session in snapshot.sessions:
        if name in session.tables and choice.has(session.key):
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

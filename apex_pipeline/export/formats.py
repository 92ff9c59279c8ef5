"""Writes the export formats: SQLite, DuckDB, CSV and Parquet; see tables.py for what is exported.

SQLite and CSV have no types for times and lists: a time is written as ISO text in UTC with milliseconds, a list as
JSON, and a boolean as 1 or 0. Rows are written one record batch at a time, so gigabytes of telemetry need
the memory of only one batch.
"""

import csv
import importlib
import json
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from apex_pipeline.extras import needs_libraries
from apex_pipeline.tables.model import ZSTD_LEVEL

# Rows of a row group: a condition may leave ten rows of each of a thousand batches.
_ROW_GROUP_ROWS = 100_000


class TableWriter(Protocol):
    """Writes tables to an export, one after the other."""

    def create(self, name: str, schema: pa.Schema) -> None:
        """Create an empty table with these columns; the following calls of :meth:`write` append to it."""
        ...

    def write(self, rows: pa.RecordBatch) -> None:
        """Append rows; columns missing from the rows become null."""
        ...

    def count(self) -> int:
        """Count the rows of the table by reading it back."""
        ...


@contextmanager
def sqlite_file(path: Path) -> Generator[TableWriter]:
    """Open a writer for an SQLite database."""
    with closing(sqlite3.connect(path)) as connection:
        yield _SqliteWriter(connection)


@contextmanager
def duckdb_file(path: Path) -> Generator[TableWriter]:
    """Open a writer for a DuckDB database.

    Raises:
        MissingExtraError: DuckDB is not installed.
    """
    with needs_libraries():
        duckdb: Any = importlib.import_module("duckdb")
    with closing(duckdb.connect(str(path))) as connection:
        yield _DuckDbWriter(connection)


@contextmanager
def csv_folder(folder: Path) -> Generator[TableWriter]:
    """Open a writer for one CSV file per table: UTF-8, comma, header, LF."""
    yield _CsvWriter(folder)


@contextmanager
def parquet_folder(folder: Path) -> Generator[TableWriter]:
    """Open a writer for one Parquet file per table, with the types of the lake."""
    yield _ParquetWriter(folder)


class _SqliteWriter:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._name = ""
        self._schema = pa.schema([])

    def create(self, name: str, schema: pa.Schema) -> None:
        self._name, self._schema = name, schema
        self._append(_text_frame(schema.empty_table()))

    def write(self, rows: pa.RecordBatch) -> None:
        self._append(_text_frame(aligned(rows, self._schema)))

    def count(self) -> int:
        query = f"SELECT count(*) FROM {_quoted(self._name)}"  # noqa: S608  -- the name of a known table, quoted
        return int(self._connection.execute(query).fetchone()[0])

    def _append(self, frame: pd.DataFrame) -> None:
        # Explicit types: pandas would create an empty column as text.
        types = {field.name: _sqlite_type(field.type) for field in self._schema}
        frame.to_sql(self._name, self._connection, if_exists="append", index=False, dtype=types)


class _DuckDbWriter:
    def __init__(self, connection: Any) -> None:  # noqa: ANN401  -- DuckDB ships no types
        self._connection = connection
        self._name = ""
        self._schema = pa.schema([])

    def create(self, name: str, schema: pa.Schema) -> None:
        # Without dictionary types, because the labels differ between sessions.
        self._name, self._schema = name, pa.schema([pa.field(field.name, _value_type(field.type)) for field in schema])
        self._run("CREATE TABLE {} AS SELECT * FROM added", self._schema.empty_table())

    def write(self, rows: pa.RecordBatch) -> None:
        self._run("INSERT INTO {} SELECT * FROM added", aligned(rows, self._schema))

    def count(self) -> int:
        query = f"SELECT count(*) FROM {_quoted(self._name)}"  # noqa: S608  -- as above
        return int(self._connection.execute(query).fetchall()[0][0])

    def _run(self, statement: str, rows: pa.Table) -> None:
        self._connection.register("added", rows)
        # Fetch all results: until then the connection accepts no other statement.
        self._connection.execute(statement.format(_quoted(self._name))).fetchall()
        self._connection.unregister("added")


class _CsvWriter:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder
        self._schema = pa.schema([])

    def create(self, name: str, schema: pa.Schema) -> None:
        self._file, self._schema = self._folder / f"{name}.csv", schema
        _text_frame(schema.empty_table()).to_csv(self._file, index=False, lineterminator="\n")

    def write(self, rows: pa.RecordBatch) -> None:
        # pyarrow.csv is faster, but quotes every text and drops the ".0" of whole numbers.
        frame = _text_frame(aligned(rows, self._schema))
        frame.to_csv(self._file, mode="a", header=False, index=False, lineterminator="\n")

    def count(self) -> int:
        with self._file.open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.reader(file)) - 1  # the header


class _ParquetWriter:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder
        self._schema = pa.schema([])
        self._writer: Any = None
        self._waiting: list[pa.Table] = []

    def create(self, name: str, schema: pa.Schema) -> None:
        self._file, self._schema = self._folder / f"{name}.parquet", schema
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd", compression_level=ZSTD_LEVEL)

    def write(self, rows: pa.RecordBatch) -> None:
        self._waiting.append(aligned(rows, self._schema))
        if sum(part.num_rows for part in self._waiting) >= _ROW_GROUP_ROWS:
            self._flush()

    def count(self) -> int:
        self._flush()
        self._writer.close()
        return pq.read_metadata(self._file).num_rows

    def _flush(self) -> None:
        rows = pa.concat_tables(self._waiting) if self._waiting else None
        if rows is not None and rows.num_rows:
            self._writer.write_table(rows.unify_dictionaries())
        self._waiting = []


def aligned(rows: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return rows with exactly the columns of a table, in its order and types."""
    given = set(rows.schema.names)
    columns = [
        rows.column(field.name).cast(field.type) if field.name in given else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _text_frame(rows: pa.Table) -> pd.DataFrame:
    """Return rows as numbers and text, with null instead of NaN, so that integers with missing values stay integers."""
    columns = [_number_or_text(column) for column in rows.columns]
    return pa.Table.from_arrays(columns, names=rows.schema.names).to_pandas(types_mapper=pd.ArrowDtype)


def _number_or_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return pc.strftime(column.cast(pa.timestamp("ms")), format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_list(kind):
        texts = [None if item is None else json.dumps(item, ensure_ascii=False) for item in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8())
    return column.cast(pa.string() if pa.types.is_time(kind) else _value_type(kind))


def _value_type(kind: pa.DataType) -> pa.DataType:
    """Return the value type of a dictionary type; return any other type unchanged."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _sqlite_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "INTEGER"
    return "REAL" if pa.types.is_floating(kind) else "TEXT"


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'

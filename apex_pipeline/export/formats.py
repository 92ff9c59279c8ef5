"""The three formats of an export, behind one small contract: begin a table, add rows, end it and count.

Here belongs how Arrow's values look there. In SQLite and CSV, which have no times and lists, a time is ISO text in UTC
to the millisecond, a list is JSON, and a truth value is 1 or 0.
"""

import csv
import importlib
import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.errors import ConfigurationError


class Sink(Protocol):
    """Where an export goes; one table after the other."""

    def begin(self, name: str, schema: pa.Schema) -> None:
        """Begin a table with these columns."""
        ...

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows; a column of the table that they lack is null in them."""
        ...

    def end(self) -> int:
        """End the table, and return how many rows it has, read back."""
        ...


@contextmanager
def sqlite_file(path: Path) -> Generator[Sink]:
    """Give a sink that writes an SQLite database."""
    with closing(sqlite3.connect(path)) as connection:
        yield _Sqlite(connection)
        connection.commit()


@contextmanager
def duckdb_file(path: Path) -> Generator[Sink]:
    """Give a sink that writes a DuckDB database.

    Raises:
        ConfigurationError: DuckDB is not installed.
    """
    try:
        duckdb: Any = importlib.import_module("duckdb")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "DuckDB is not installed here.", "Install the package duckdb, or export to sqlite or csv."
        ) from error
    with closing(duckdb.connect(str(path))) as connection:
        yield _DuckDb(connection)


@contextmanager
def csv_folder(folder: Path) -> Generator[Sink]:
    """Give a sink that writes one CSV file per table: UTF-8, comma, header, LF."""
    yield _Csv(folder)


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._name = ""
        self._columns: list[str] = []

    def begin(self, name: str, schema: pa.Schema) -> None:
        self._name, self._columns = name, schema.names
        columns = ", ".join(f"{_quoted(field.name)} {_sqlite_type(field.type)}" for field in schema)
        self._connection.execute(f"CREATE TABLE {_quoted(name)} ({columns})")

    def add(self, rows: pa.RecordBatch) -> None:
        places = ", ".join("?" * len(self._columns))
        self._connection.executemany(
            f"INSERT INTO {_quoted(self._name)} VALUES ({places})",  # noqa: S608  -- our own table's name, quoted
            _plain_rows(rows, self._columns),
        )

    def end(self) -> int:
        query = f"SELECT count(*) FROM {_quoted(self._name)}"  # noqa: S608  -- as above
        return int(self._connection.execute(query).fetchone()[0])


class _DuckDb:
    def __init__(self, connection: Any) -> None:  # noqa: ANN401  -- DuckDB ships no types
        self._connection = connection
        self._name = ""
        self._schema = pa.schema([])

    def begin(self, name: str, schema: pa.Schema) -> None:
        self._name, self._schema = name, pa.schema([pa.field(field.name, _plain_type(field.type)) for field in schema])
        self._insert("CREATE TABLE {} AS SELECT * FROM added", self._schema.empty_table())

    def add(self, rows: pa.RecordBatch) -> None:
        missing = [pa.nulls(rows.num_rows, field.type) for field in self._schema]
        given = [
            rows.column(field.name).cast(field.type) if field.name in rows.schema.names else missing[index]
            for index, field in enumerate(self._schema)
        ]
        self._insert("INSERT INTO {} SELECT * FROM added", pa.Table.from_arrays(given, schema=self._schema))

    def end(self) -> int:
        query = f"SELECT count(*) FROM {_quoted(self._name)}"  # noqa: S608  -- as above
        return int(self._connection.execute(query).fetchall()[0][0])

    def _insert(self, statement: str, rows: pa.Table) -> None:
        self._connection.register("added", rows)
        # Fetched to the end: until then the connection takes nothing else.
        self._connection.execute(statement.format(_quoted(self._name))).fetchall()
        self._connection.unregister("added")


class _Csv:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder
        self._columns: list[str] = []

    def begin(self, name: str, schema: pa.Schema) -> None:
        self._file, self._columns = self._folder / f"{name}.csv", schema.names
        self._write([self._columns])

    def add(self, rows: pa.RecordBatch) -> None:
        self._write(_plain_rows(rows, self._columns))

    def end(self) -> int:
        with self._file.open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.reader(file)) - 1  # the header

    def _write(self, rows: Iterable[Iterable[object]]) -> None:
        with self._file.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _plain_rows(rows: pa.RecordBatch, columns: list[str]) -> Iterator[tuple[object, ...]]:
    """Yield rows of numbers and text, in the order of ``columns``."""
    given = set(rows.schema.names)
    values = [_plain(rows.column(name)) if name in given else [None] * rows.num_rows for name in columns]
    return zip(*values, strict=True)


def _plain(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return pc.strftime(column.cast(pa.timestamp("ms")), format="%Y-%m-%dT%H:%M:%SZ").to_pylist()
    if pa.types.is_list(kind):
        return [None if item is None else json.dumps(item, ensure_ascii=False) for item in column.to_pylist()]
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8()).to_pylist()
    return column.cast(pa.string()).to_pylist() if pa.types.is_time(kind) else column.to_pylist()


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type without a dictionary: another session has other labels, and they must fit too."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _sqlite_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "INTEGER"
    return "REAL" if pa.types.is_floating(kind) else "TEXT"


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


__all__ = ["Sink", "csv_folder", "duckdb_file", "sqlite_file"]

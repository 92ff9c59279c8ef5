"""From CSV text to typed readings in a DuckDB table on disk.

Columns are bound by the names in the file's header, never by position alone. All are read as text and turned into their
type here: DuckDB's own detection reads other types from other files, and its list of rejected lines lies in memory
whatever the limit. What cannot be meant (no time zone, not a number, another race) is marked with its problem and never
becomes a cell. Broken lines do not come here (``surveying``); what DuckDB still refuses is recorded with its line.
"""

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

from apex_pipeline.errors import MalformedFileError, VanishedFileError
from apex_pipeline.sources.gr_cup.csv_files import Dialect, detect_dialect
from apex_pipeline.sources.gr_cup.files import FileIdentity
from apex_pipeline.sources.gr_cup.triggers import LOST_LAP

# Twice the longest line that comes here; DuckDB's buffers are a multiple of it.
_MAX_LINE_BYTES = 2_000_000
_HEADER_BYTES = 65_536
_UNPACKED_BYTES = 1_000_000

# What stands in unit_lap for a lap that is none; where the unit lost count, null does.
UNREADABLE_LAP = -1

# A file open for reading bytes, compressed or not.
Bytes = BinaryIO | gzip.GzipFile | io.BufferedReader

_COMMON = ("vehicle_id", "timestamp", "meta_time", "lap")
_LONG = ("telemetry_name", "telemetry_value")
_LISTED = ("value",)

# The times that name an instant: date, time, and Z or an offset. DuckDB and Python each take more forms, but not the
# same ones, and a date alone ends like an offset.
INSTANT = r"\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):\d\d(:\d\d(\.\d+)?)?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)"

_SCHEMA = """
CREATE OR REPLACE TABLE reading (
    file_number INTEGER, position INTEGER, vehicle_id VARCHAR, channel VARCHAR, value DOUBLE,
    car_ms BIGINT, received_ms BIGINT, unit_lap INTEGER, problem VARCHAR)
"""

# A line that holds a list of readings becomes one row per element; a list nobody can read, one row without a reading.
_ELEMENTS = """
SELECT * EXCLUDE elements, unnest(elements) AS element, unnest(range(1, len(elements) + 1)) AS position
FROM (SELECT *, CASE WHEN json_valid(value) AND json_array_length(value) > 0
                     THEN json_extract(value, '$[*]') ELSE [NULL] END AS elements FROM ({rows}))
"""


@dataclass(frozen=True)
class TelemetryFile:
    """A telemetry file on this machine.

    Attributes:
        path: Where it is; may have any name.
        identity: What it is; ``identity.path`` tells by its ending whether it is compressed.
        is_clean_copy: Our own copy without broken lines; it is never compressed.
    """

    path: Path
    identity: FileIdentity
    is_clean_copy: bool = False

    @property
    def compression(self) -> str:
        """``gzip``, ``zstd`` or ``none``."""
        if self.is_clean_copy:
            return "none"
        suffix = Path(self.identity.path.lower()).suffix
        return {".gz": "gzip", ".zst": "zstd"}.get(suffix, "none")

    @contextmanager
    def open_text(self) -> Generator[Bytes]:
        """Give the file's uncompressed bytes.

        Raises:
            VanishedFileError: The file is gone.
            MalformedFileError: It cannot be unpacked.
        """
        try:
            if self.compression == "gzip":
                with gzip.open(self.path, "rb") as stream:
                    yield stream
            elif self.compression == "zstd":
                # Arrow's stream has no readline; Python's buffer around it has.
                unpacked = pa.CompressedInputStream(pa.OSFile(str(self.path)), "zstd")
                with io.BufferedReader(unpacked, _UNPACKED_BYTES) as stream:
                    yield stream
            else:
                with self.path.open("rb") as stream:
                    yield stream
        except FileNotFoundError:
            raise vanished(self) from None
        except (EOFError, OSError, zlib.error) as error:
            if getattr(error, "errno", None) is not None:
                raise  # the machine's trouble, not the file's
            raise MalformedFileError(f"{self.identity.path} cannot be read: {error}.", "Export it again.") from error


def vanished(file: TelemetryFile) -> VanishedFileError:
    """Return the error for a file that is gone."""
    return VanishedFileError(f"{file.identity.path} was there a moment ago and is gone.", "Run the sync again.")


@dataclass(frozen=True)
class Shape:
    """How a telemetry file is laid out.

    Attributes:
        dialect: Delimiter, encoding and columns.
        is_listed: A line holds a list of readings instead of one.
        is_quoted: Cells may be in quotes. Where none is at the beginning of the file, a quote further on is damage, and
            taken for one it would swallow the lines up to the next.
    """

    dialect: Dialect
    is_listed: bool
    is_quoted: bool


def shape_of(file: TelemetryFile) -> Shape:
    """Read the header.

    Raises:
        MalformedFileError: The file is empty, binary, without header, or lacks a column it cannot do without.
    """
    with file.open_text() as stream:
        start = stream.read(_HEADER_BYTES)
    dialect = _dialect_of(start, file.identity.path)
    columns = set(dialect.columns)
    is_listed = not set(_LONG) <= columns and set(_LISTED) <= columns
    missing = [name for name in (*_COMMON, *(_LISTED if is_listed else _LONG)) if name not in columns]
    if missing:
        raise MalformedFileError(
            f"{file.identity.path} lacks the column {', '.join(missing)}; it has {', '.join(dialect.columns)}.",
            "Check that it is a telemetry file.",
        )
    return Shape(dialect, is_listed, is_quoted=is_listed or b'"' in start)


def _dialect_of(start: bytes, path: str) -> Dialect:
    if b"\r" in start.partition(b"\n")[0].removesuffix(b"\r"):
        raise MalformedFileError(f"{path} has lines that end in CR alone.", "Export it with LF or CRLF.")
    dialect = detect_dialect(start, path)
    # SQL does not tell names apart by case.
    alike = Counter(name.casefold() for name in dialect.columns)
    repeated = [name for name in dialect.columns if alike[name.casefold()] > 1]
    if repeated:
        raise MalformedFileError(
            f"{path} has columns that differ only in case: {', '.join(repeated)}.", "Export it with one of each name."
        )
    return dialect


def rows_of(
    connection: duckdb.DuckDBPyConnection, query: str, values: dict[str, object] | None = None
) -> list[tuple[Any, ...]]:
    """Return all rows of a query; DuckDB refuses other work on a connection before the last row was fetched."""
    return connection.execute(query, values or {}).fetchall()


def create_table(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the empty table of readings."""
    connection.execute(_SCHEMA)


def load_file(connection: duckdb.DuckDBPyConnection, number: int, file: TelemetryFile, shape: Shape) -> None:
    """Append a file's readings to the table ``reading``; lines DuckDB refuses go to ``bad_line_{number}``."""
    rejects = f"store_rejects = true, rejects_limit = 0, rejects_table = 'bad_{number}', rejects_scan = 'scan_{number}'"
    connection.execute(f"INSERT INTO reading {_select(file, shape, rejects, number)}", _bindings(file))
    connection.execute(
        f"CREATE OR REPLACE TABLE bad_line_{number} AS "  # noqa: S608  -- as above
        "SELECT line, min(error_type::VARCHAR) AS error, "
        "trim(any_value(csv_line), chr(13) || chr(10) || ' ')[:200] AS start "
        f"FROM bad_{number} GROUP BY line"
    )


def load_channels(
    connection: duckdb.DuckDBPyConnection, number: int, file: TelemetryFile, shape: Shape, channels: Collection[str]
) -> None:
    """Append a few channels of a file to the table ``reading``; broken lines are passed over without a word.

    Args:
        connection: Holds the table.
        number: The file's number.
        file: The file.
        shape: Its layout.
        channels: Raw names in lower case.
    """
    wanted = ", ".join(map(sql_text, channels))
    connection.execute(
        f"INSERT INTO reading {_select(file, shape, 'ignore_errors = true', number, wanted)}", _bindings(file)
    )


def _bindings(file: TelemetryFile) -> dict[str, object]:
    session = re.fullmatch(r"(?:\d{4}_)?R(\d+)", file.identity.session or "")
    return {"path": str(file.path), "race": int(session[1]) if session else None}


def _select(file: TelemetryFile, shape: Shape, on_broken: str, number: int, wanted: str | None = None) -> str:
    """Return the query for typed readings: all, or those of the wanted channels (a SQL list)."""
    has_session = "meta_session" in shape.dialect.columns
    race = "TRY_CAST(regexp_extract(meta_session, '^R(\\d+)$', 1) AS INTEGER)" if has_session else "NULL"
    if shape.is_listed:
        raw, position, is_list = (
            _ELEMENTS.format(rows=_read_csv(file, shape, on_broken)),
            "position",
            "element IS NOT NULL",
        )
        channel = "json_extract_string(element, '$.name')"
        reading = "TRY_CAST(json_extract_string(element, '$.value') AS DOUBLE)"
    else:
        raw, position, is_list = _read_csv(file, shape, on_broken), "1", "true"
        channel, reading = "telemetry_name", "TRY_CAST(telemetry_value AS DOUBLE)"
    only = f"WHERE lower({channel}) IN ({wanted})" if wanted else ""
    return f"""
        SELECT {number}, position, vehicle_id, channel, value, car_ms, received_ms,
            CASE WHEN unit_lap = {LOST_LAP} THEN NULL WHEN unit_lap >= 0 THEN unit_lap ELSE {UNREADABLE_LAP} END,
            CASE WHEN vehicle_id = 'vehicle_id' AND lap = 'lap' THEN 'repeated_header'
                 WHEN coalesce(vehicle_id, '') = '' THEN 'no_vehicle'
                 WHEN NOT is_list THEN 'bad_list'
                 WHEN coalesce(channel, '') = '' THEN 'no_channel'
                 WHEN value IS NULL THEN 'bad_number'
                 WHEN NOT isfinite(value) THEN 'not_a_number'
                 WHEN car_ms IS NULL OR received_ms IS NULL THEN 'bad_time'
                 WHEN race <> $race THEN 'wrong_session' END
        FROM (SELECT {position} AS position, {is_list} AS is_list, vehicle_id, {channel} AS channel, {reading} AS value,
                     {_milliseconds("timestamp")} AS car_ms, {_milliseconds("meta_time")} AS received_ms,
                     lap, TRY_CAST(lap AS INTEGER) AS unit_lap, {race} AS race
              FROM ({raw}) {only})"""  # noqa: S608  -- built from constants and our own numbers


def _milliseconds(column: str) -> str:
    """Return SQL for an instant; a plain TIMESTAMP would drop the offset."""
    is_instant = f"regexp_full_match({column}, {sql_text(INSTANT)})"
    return f"CASE WHEN {is_instant} THEN epoch_ms(TRY_CAST({column} AS TIMESTAMPTZ)) END"


def _read_csv(file: TelemetryFile, shape: Shape, on_broken: str) -> str:
    columns = ", ".join(f"{sql_text(name)}: 'VARCHAR'" for name in shape.dialect.columns)
    quote = '"' if shape.is_quoted else ""
    return f"""
        SELECT * FROM read_csv($path, columns = {{{columns}}}, header = false, skip = 1, auto_detect = false,
            delim = {sql_text(shape.dialect.delimiter)}, quote = '{quote}', escape = '{quote}',
            encoding = '{shape.dialect.encoding}', compression = '{file.compression}',
            max_line_size = {_MAX_LINE_BYTES}, null_padding = false,
            {on_broken})
        """  # noqa: S608  -- built from constants, the file's own header quoted, and our own words


def sql_text(text: str) -> str:
    """Return text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


__all__ = [
    "INSTANT",
    "UNREADABLE_LAP",
    "Bytes",
    "Shape",
    "TelemetryFile",
    "create_table",
    "load_channels",
    "load_file",
    "rows_of",
    "shape_of",
    "sql_text",
    "vanished",
]

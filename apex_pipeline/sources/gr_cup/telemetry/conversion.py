"""The whole conversion: raw telemetry files of a session in, one Parquet file out, every reading accounted for.

Here belongs the order of the steps, the bounds on memory, and the file that is written. DuckDB holds the readings on
disk and spills what does not fit; the wide rows exist for one car at a time.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ConservationError, MalformedFileError, StoreFullError
from apex_pipeline.progress import Progress
from apex_pipeline.session_key import SessionKey
from apex_pipeline.sources.gr_cup.files import Reject
from apex_pipeline.sources.gr_cup.telemetry.channels import is_known
from apex_pipeline.sources.gr_cup.telemetry.clocks import measure_clocks
from apex_pipeline.sources.gr_cup.telemetry.loading import (
    TelemetryFile,
    count_lines,
    create_table,
    load_file,
    rows_of,
    shape_of,
    sql_text,
)
from apex_pipeline.sources.gr_cup.telemetry.locating import count_rejects, locate_rejects
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock, TelemetryCounts, TelemetryReport
from apex_pipeline.sources.gr_cup.telemetry.widening import channels_in, published_schema, widen_car

# DuckDB goes about 100 MB over its limit, the interpreter with Dagster needs 250 MB and one car's rows up to 150 MB:
# half of what the process may use is what DuckDB may.
_DUCKDB_SHARE = 0.5
# More threads need more memory each, and two are what the smallest machine has.
_THREADS = 2

# Times rise slowly, so their differences pack well; coordinates share their leading bytes. Measured on a 3 GB file:
# 24 % smaller than dictionaries, and quicker to write. More columns split by bytes made it larger.
_DELTA = ("sample_time_utc", "car_time", "received_time_utc")
_BYTE_SPLIT = ("latitude_deg", "longitude_deg")


# Entry of the file's own metadata that holds its TelemetryCounts as JSON: a published file tells its own conservation.
COUNTS_KEY = "apex.telemetry_counts"


@dataclass(frozen=True)
class Workspace:
    """What a conversion may use of this machine.

    Attributes:
        memory_limit: Bytes the whole process may use.
        scratch: Folder for temporary files; about the size of the raw files is spilled there.
        progress: Told about raw bytes as they are read.
    """

    memory_limit: int
    scratch: Path
    progress: Progress | None = None


def convert_telemetry(
    key: SessionKey,
    files: Sequence[TelemetryFile],
    laps: pa.Table | None,
    output: Path,
    workspace: Workspace,
    metadata: Mapping[str, str] | None = None,
) -> TelemetryReport:
    """Write the wide telemetry of a session.

    Args:
        key: The session.
        files: Its telemetry files; none gives an empty table.
        laps: Its table ``laps``, for the lap of each sample; without it the lap is null.
        output: Where the Parquet file goes; it is there whole or not at all.
        workspace: Memory and scratch.
        metadata: Entries for the Parquet file's own metadata; the counts are added to them.

    Returns:
        The counts, clocks and rejects.

    Raises:
        MalformedFileError: A file is empty, binary, or lacks a column it cannot do without.
        ConservationError: Readings in do not equal cells out plus duplicates plus rejects.
        StoreFullError: The disk of the scratch folder is full.
    """
    workspace.scratch.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    try:
        with _database(workspace) as connection:
            report = _convert(connection, key, files, laps, partial, workspace, dict(metadata or {}))
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return report


@contextmanager
def _database(workspace: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a DuckDB on disk within bounds; it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="telemetry-", dir=workspace.scratch))
    try:
        with duckdb.connect(str(folder / "readings.duckdb")) as connection:
            limit = int(workspace.memory_limit * _DUCKDB_SHARE / 1_000_000)
            connection.execute(f"SET memory_limit = '{limit}MB'")
            connection.execute("SET temp_directory = " + sql_text(str(folder)))
            connection.execute(f"SET threads = {_THREADS}")
            connection.execute("SET TimeZone = 'UTC'")
            # The order of the rows means nothing here, and keeping it costs memory.
            connection.execute("SET preserve_insertion_order = false")
            yield connection
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise StoreFullError(
            f"The conversion ran out of room in {workspace.scratch}: {str(error).splitlines()[0]}.",
            "Free disk space there, point APEX_STATE_DIR to a larger disk, or raise APEX_MEMORY_LIMIT.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _convert(
    connection: duckdb.DuckDBPyConnection,
    key: SessionKey,
    files: Sequence[TelemetryFile],
    laps: pa.Table | None,
    output: Path,
    workspace: Workspace,
    metadata: dict[str, str],
) -> TelemetryReport:
    rejects, reasons, readings_in = _load(connection, files, workspace.progress)
    clocks = measure_clocks(connection)
    channels = channels_in(connection)
    schema = published_schema(channels)
    schema = schema.with_metadata({**(schema.metadata or {}), **metadata})
    with _writer(output, schema) as writer:
        written = _write_cars(writer, connection, key, clocks, channels, laps)
        counts = TelemetryCounts(readings_in=readings_in, rejected=sum(reasons.values()), cars=len(clocks), **written)
        _require_conserved(key, counts)
        # The footer is written when the writer closes, so what is known last still gets in.
        writer.add_key_value_metadata({COUNTS_KEY: json.dumps(asdict(counts))})
    unknown = tuple(channel for channel in channels if not is_known(channel))
    return TelemetryReport(counts, tuple(rejects), dict(sorted(reasons.items())), tuple(clocks), unknown)


def _require_conserved(key: SessionKey, counts: TelemetryCounts) -> None:
    if not counts.is_conserved:
        raise ConservationError(
            f"The telemetry of {key} is not published: {counts.readings_in:,} readings went in, {counts.cells_out:,} "
            f"cells, {counts.exact_duplicates:,} duplicates and {counts.rejected:,} rejects came out.",
            "This is a defect of the conversion; please report it with the file.",
        )


def _load(
    connection: duckdb.DuckDBPyConnection, files: Sequence[TelemetryFile], progress: Progress | None
) -> tuple[list[Reject], Counter[str], int]:
    """Load every file; return the rejects told one by one, all of them counted, and the readings that went in."""
    create_table(connection)
    rejects: list[Reject] = []
    reasons: Counter[str] = Counter()
    readings_in = 0
    for number, file in enumerate(files):
        shape = shape_of(file)
        lines = count_lines(file, progress)
        try:
            load_file(connection, number, file, shape)
        except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
            raise MalformedFileError(
                f"{file.identity.path} cannot be read: {str(error).splitlines()[0]}.", "Export it again."
            ) from error
        reasons.update(count_rejects(connection, number, shape))
        rejects += locate_rejects(connection, number, file, shape)
        readings_in += _readings_in(connection, number, lines, is_listed=shape.is_listed)
    return rejects, reasons, readings_in


def _readings_in(connection: duckdb.DuckDBPyConnection, number: int, lines: int, *, is_listed: bool) -> int:
    """Return the readings of a file: its data lines, or where lines hold lists the elements of the lines that fit."""
    if not is_listed:
        return lines
    ((elements,),) = rows_of(connection, "SELECT count(*) FROM reading WHERE file_number = $n", {"n": number})
    ((bad,),) = rows_of(connection, f"SELECT count(*) FROM bad_line_{number}")  # noqa: S608  -- our own number
    return int(elements + bad)


def _write_cars(
    writer: pq.ParquetWriter,
    connection: duckdb.DuckDBPyConnection,
    key: SessionKey,
    clocks: list[CarClock],
    channels: list[str],
    laps: pa.Table | None,
) -> dict[str, int]:
    """Write car by car, one row group each, and count what was written."""
    schema = writer.schema
    counts: Counter[str] = Counter(cells_out=0, exact_duplicates=0, rows_out=0, repeat_rows=0)
    channel_columns = schema.names[schema.get_field_index("unit_lap") + 1 :]
    for clock in clocks:
        car = widen_car(connection, clock, channels, schema, laps)
        rows = _with_session(car.rows, key, schema)
        writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        counts["cells_out"] += sum(rows.num_rows - rows[name].null_count for name in channel_columns)
        counts["exact_duplicates"] += car.readings - car.distinct
        counts["rows_out"] += rows.num_rows
        counts["repeat_rows"] += sum(1 for repeat in rows["repeat"].to_pylist() if repeat)
    return dict(counts)


def _with_session(rows: pa.Table, key: SessionKey, schema: pa.Schema) -> pa.Table:
    for index, text in ((0, key.track), (1, key.session)):
        zeros = pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows)
        rows = rows.set_column(index, schema.field(index).name, pa.DictionaryArray.from_arrays(zeros, pa.array([text])))
    return rows.cast(schema)


def _writer(output: Path, schema: pa.Schema) -> pq.ParquetWriter:
    special = dict.fromkeys(_DELTA, "DELTA_BINARY_PACKED") | dict.fromkeys(_BYTE_SPLIT, "BYTE_STREAM_SPLIT")
    return pq.ParquetWriter(
        output,
        schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name in schema.names if name not in special],
        column_encoding=special,
    )


__all__ = ["COUNTS_KEY", "TelemetryFile", "TelemetryReport", "Workspace", "convert_telemetry"]

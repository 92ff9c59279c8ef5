"""Converts the raw telemetry files of a session to one Parquet file, with every reading accounted for.

Runs the steps in order and writes the file. The readings are on disk, grouped by car; only the pivoted rows of one car,
or of one time range of it, are in memory.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ApexError, ReconciliationError
from apex_pipeline.sources.gr_cup.telemetry.arrow_arrays import repeated
from apex_pipeline.sources.gr_cup.telemetry.bounds import OutOfRange, add_outside, outside_rejects
from apex_pipeline.sources.gr_cup.telemetry.car_stats import CarStatsBuilder
from apex_pipeline.sources.gr_cup.telemetry.channels import is_known
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.clock_laps import LapCrossings, lap_crossings
from apex_pipeline.sources.gr_cup.telemetry.clocks import measure_clock
from apex_pipeline.sources.gr_cup.telemetry.holes import most_holes_of_car
from apex_pipeline.sources.gr_cup.telemetry.parse import ParseStats, read_file
from apex_pipeline.sources.gr_cup.telemetry.pivot import PivotedRows, Pivoter, SampleTooLargeError, published_schema
from apex_pipeline.sources.gr_cup.telemetry.report import (
    CarClock,
    CarStats,
    TelemetryFileCounts,
    TelemetryReport,
)
from apex_pipeline.sources.gr_cup.telemetry.spill import ReadingSpill
from apex_pipeline.sources.gr_cup.vehicle_spellings import Spellings, match_spellings
from apex_pipeline.sources.limits import limit_exceeded
from apex_pipeline.sources.rejects import file_rejects
from apex_pipeline.sources.unreadable import UnreadableFile, is_unreadable
from apex_pipeline.sources.workspace import Workspace, scratch_folder
from apex_pipeline.tables import TELEMETRY_COUNTS
from apex_pipeline.tables.model import ZSTD_LEVEL
from apex_pipeline.tables.session_key import SessionKey

_Item = TypeVar("_Item")

# Encodings that compress best, measured on all real files at the length of a race (45,000 rows): times rise slowly, so
# their differences are small (a fifth of the size of dictionaries); integers and coordinates share bytes (25 to 45 %
# smaller); speed hardly repeats a value (19 % smaller with plain encoding). The other channels repeat their values, and
# are up to four times as large with byte-stream split.
_DELTA_ENCODED = ("sample_time_utc", "car_time", "received_time_utc")
_BYTE_STREAM_SPLIT = ("latitude_deg", "longitude_deg", "engine_rpm", "lap_distance_m")
_PLAIN = ("speed_kph",)
_ORDER = (("vehicle_id", "ascending"), ("sample_time_utc", "ascending"), ("repeat", "ascending"))


def convert_telemetry(
    key: SessionKey,
    files: Sequence[TelemetryFile],
    laps: pa.Table | None,
    output: Path,
    workspace: Workspace,
    metadata: Mapping[str, str] | None = None,
    is_left_out: Callable[[ApexError, str], bool] | None = None,
) -> TelemetryReport:
    """Write the table ``telemetry`` of a session.

    Args:
        key: The session.
        files: Its telemetry files; without any that can be read, the table is empty.
        laps: Its table ``laps``, for the lap of each sample; without it the lap is null.
        output: Path of the Parquet file, which is written completely or not at all.
        workspace: Memory limit and scratch folder.
        metadata: Entries for the Parquet file's metadata; the counts are added to them.
        is_left_out: Returns whether an error while a file is read only leaves out the file with this path; by default
            decided by the error alone.

    Returns:
        The counts, the cars with their clocks, the rejects, and the files that were left out.

    Raises:
        FileChangedError: A file no longer exists.
        TransientError: A file cannot be read at the moment.
        ReconciliationError: Readings in do not equal cells out plus duplicates plus rejects.
        StorageFullError: The memory or the disk of the scratch folder is full.
    """
    partial = output.with_name(output.name + ".partial")
    is_left_out = is_left_out or (lambda error, _: is_unreadable(error))
    try:
        try:
            report = _convert(key, files, laps, partial, workspace, metadata or {}, is_left_out)
        except SampleTooLargeError as error:
            problem = f"has more readings of {error.vehicle_id} at one time than fit in memory"
            unreadable = [_left_out(file, limit_exceeded(file.path, problem, "APEX_MEMORY_LIMIT")) for file in files]
            report = _with_unreadable(
                _convert(key, [], laps, partial, workspace, metadata or {}, is_left_out), unreadable
            )
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return report


def _convert(
    key: SessionKey,
    files: Sequence[TelemetryFile],
    laps: pa.Table | None,
    output: Path,
    workspace: Workspace,
    metadata: Mapping[str, str],
    is_left_out: Callable[[ApexError, str], bool],
) -> TelemetryReport:
    with scratch_folder(workspace) as folder, ReadingSpill(folder, workspace.limits) as readings:
        all_stats, unreadable = _read_files(files, readings, workspace, is_left_out)
        spellings = _merge_spellings(readings, laps)
        schema = published_schema(readings.channels)
        schema = schema.with_metadata({**(schema.metadata or {}), **metadata})
        pivoter = Pivoter(readings, schema, laps, workspace.bytes_for_one_car)
        report = _write(key, readings, pivoter, lap_crossings(laps), all_stats, schema, output)
    return _with_unreadable(replace(report, spellings=spellings), unreadable)


def _merge_spellings(readings: ReadingSpill, laps: pa.Table | None) -> Spellings:
    """Merge the spellings of each car into the id that the lap files publish, or the one with the most readings."""
    known = [] if laps is None else laps["vehicle_id"].cast(pa.string()).unique().to_pylist()
    spellings = match_spellings({car: readings.size_of(car).readings for car in readings.cars}, known)
    readings.merge_cars(spellings.published)
    return spellings


def _with_unreadable(report: TelemetryReport, files: Sequence[UnreadableFile]) -> TelemetryReport:
    return replace(report, rejects=(*report.rejects, *file_rejects(files)), unreadable=tuple(files))


def _left_out(file: TelemetryFile, error: ApexError) -> UnreadableFile:
    return UnreadableFile(file.path, file.identity.kind, error)


def _read_files(
    files: Sequence[TelemetryFile],
    readings: ReadingSpill,
    workspace: Workspace,
    is_left_out: Callable[[ApexError, str], bool],
) -> tuple[list[ParseStats], list[UnreadableFile]]:
    """Parse the files; a file that cannot be read to its end is left out as a whole."""
    all_stats: list[ParseStats] = []
    unreadable: list[UnreadableFile] = []
    for file in files:
        checkpoint = readings.checkpoint()
        try:
            all_stats.append(read_file(file, readings, workspace.progress))
        except ApexError as error:
            if not is_left_out(error, file.path):
                raise
            readings.rewind(checkpoint)
            unreadable.append(_left_out(file, error))
    return all_stats, unreadable


def _write(
    key: SessionKey,
    readings: ReadingSpill,
    pivoter: Pivoter,
    crossings: Mapping[str, LapCrossings],
    all_stats: Sequence[ParseStats],
    schema: pa.Schema,
    output: Path,
) -> TelemetryReport:
    reasons = sum((stats.reasons for stats in all_stats), Counter[str]())
    with _writer(output, schema) as writer:
        outside: dict[str, OutOfRange] = {}
        cars, written = _write_cars(writer, key, readings, pivoter, crossings, outside)
        reasons["out_of_range"] += sum(found.count for found in outside.values())
        counts = TelemetryFileCounts(
            readings_in=sum(stats.readings_in for stats in all_stats),
            rejected=reasons.total(),
            cars=len(cars),
            exact_duplicates=sum(car.exact_duplicates for car in cars),
            repeat_rows=sum(car.repeat_rows for car in cars),
            **written,
        )
        _require_reconciled(key, counts)
        # The footer is written when the writer closes, so the counts can still be added here.
        writer.add_key_value_metadata({TELEMETRY_COUNTS: json.dumps(asdict(counts))})
    return TelemetryReport(
        counts=counts,
        rejects=(
            *(reject for stats in all_stats for reject in stats.samples),
            *outside_rejects(outside, (stats.path for stats in all_stats)),
        ),
        rejects_by_reason=dict(sorted((+reasons).items())),
        cars=tuple(cars),
        unknown_channels=tuple(channel for channel in sorted(readings.channels) if not is_known(channel)),
        unreadable_laps=sum(stats.unreadable_laps for stats in all_stats),
    )


def _require_reconciled(key: SessionKey, counts: TelemetryFileCounts) -> None:
    if not counts.reconciles:
        raise ReconciliationError(
            f"The telemetry of {key} is not published: {counts.readings_in:,} readings went in, {counts.cells_out:,} "
            f"cells, {counts.exact_duplicates:,} duplicates and {counts.rejected:,} rejects came out.",
            "This is a bug in the conversion; please report it and attach the file.",
        )


def _write_cars(
    writer: pq.ParquetWriter,
    key: SessionKey,
    readings: ReadingSpill,
    pivoter: Pivoter,
    crossings: Mapping[str, LapCrossings],
    outside: dict[str, OutOfRange],
) -> tuple[list[CarStats], dict[str, int]]:
    """Write each part of a car as one row group; return the stats of each car and the cells and rows written.

    Readings beyond the bounds of their channel are added to ``outside``.
    """
    schema = writer.schema
    written: Counter[str] = Counter(cells_out=0, rows_out=0)
    channel_columns = schema.names[schema.get_field_index("unit_lap") + 1 :]
    most_holes = most_holes_of_car(len(readings.cars))
    builders: dict[str, CarStatsBuilder] = {}
    for clock, part in _prefetch(_parts(readings, pivoter, crossings)):
        rows = _with_session(part.rows, key, schema)
        writer.write_table(rows, row_group_size=rows.num_rows)
        written["cells_out"] += sum(rows.num_rows - rows[name].null_count for name in channel_columns)
        written["rows_out"] += rows.num_rows
        add_outside(outside, part.out_of_range)
        if clock.vehicle_id not in builders:
            builders[clock.vehicle_id] = CarStatsBuilder(clock, channel_columns, most_holes)
        builders[clock.vehicle_id].add(part)
    return [builder.stats() for builder in builders.values()], dict(written)


def _parts(
    readings: ReadingSpill, pivoter: Pivoter, crossings: Mapping[str, LapCrossings]
) -> Iterator[tuple[CarClock, PivotedRows]]:
    for car in readings.cars:
        clock = measure_clock(car, partial(readings.blocks_of, car), crossings.get(car))
        for part in pivoter.pivot(clock):
            yield clock, part


def _prefetch(items: Iterator[_Item]) -> Iterator[_Item]:
    """Compute the next item in another thread while this one is written; both take about the same time."""
    with ThreadPoolExecutor(1, thread_name_prefix="pivot") as thread:
        next_item = thread.submit(next, items, None)
        while (item := next_item.result()) is not None:
            next_item = thread.submit(next, items, None)
            yield item


def _with_session(rows: pa.Table, key: SessionKey, schema: pa.Schema) -> pa.Table:
    for index, text in ((0, key.track), (1, key.session)):
        rows = rows.set_column(index, schema.field(index).name, repeated(text, rows.num_rows))
    return rows.cast(schema)


def _writer(output: Path, schema: pa.Schema) -> pq.ParquetWriter:
    encodings = dict.fromkeys(_DELTA_ENCODED, "DELTA_BINARY_PACKED") | dict.fromkeys(
        _BYTE_STREAM_SPLIT, "BYTE_STREAM_SPLIT"
    )
    return pq.ParquetWriter(
        output,
        schema,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=[name for name in schema.names if name not in encodings and name not in _PLAIN],
        column_encoding=encodings,
        sorting_columns=pq.SortingColumn.from_ordering(schema, list(_ORDER)),
        # Readers fetch single pages over a network, where a digest of the file is no use. The checksums make the
        # file 0.1 % larger and reveal a flipped bit.
        write_page_checksum=True,
    )

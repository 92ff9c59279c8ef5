"""The whole conversion: raw telemetry files of a session in, one Parquet file out, every reading accounted for.

Here belongs the order of the steps and the file that is written. The readings lie on disk by car; the wide rows exist
for one car at a time, or for a range of its times.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ReconciliationError
from apex_pipeline.sources.gr_cup.telemetry.car_stats import CarStatsBuilder
from apex_pipeline.sources.gr_cup.telemetry.channels import is_known
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.clocks import measure_clock
from apex_pipeline.sources.gr_cup.telemetry.parse import ParseStats, read_file
from apex_pipeline.sources.gr_cup.telemetry.pivot import PivotedRows, Pivoter, published_schema
from apex_pipeline.sources.gr_cup.telemetry.report import (
    CarClock,
    CarStats,
    TelemetryFileCounts,
    TelemetryReport,
)
from apex_pipeline.sources.gr_cup.telemetry.spill import ReadingSpill
from apex_pipeline.sources.workspace import Workspace, scratch_folder
from apex_pipeline.tables import TELEMETRY_COUNTS
from apex_pipeline.tables.model import ZSTD_LEVEL
from apex_pipeline.tables.session_key import SessionKey

_Item = TypeVar("_Item")

# What packs best, measured on all real files at the length of a race (45,000 rows): times rise slowly, so their
# differences are small (a fifth of the size of dictionaries); whole numbers and coordinates share bytes (25 to 45 %
# smaller); speed hardly repeats a value (19 % smaller bare). The others repeat theirs, and are up to four times as
# large when split by bytes.
_DELTA = ("sample_time_utc", "car_time", "received_time_utc")
_BYTE_SPLIT = ("latitude_deg", "longitude_deg", "engine_rpm", "lap_distance_m")
_BARE = ("speed_kph",)
_ORDER = (("vehicle_id", "ascending"), ("sample_time_utc", "ascending"), ("repeat", "ascending"))


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
        The counts, the cars with their clocks, and the rejects.

    Raises:
        MalformedFileError: A file is empty, binary, or lacks a column it cannot do without.
        VanishedFileError: A file is gone.
        ConservationError: Readings in do not equal cells out plus duplicates plus rejects.
        StoreFullError: Memory or the disk of the scratch folder do not suffice.
    """
    partial = output.with_name(output.name + ".partial")
    try:
        with scratch_folder(workspace) as folder, ReadingSpill(folder) as readings:
            tallies = [read_file(file, readings, workspace.progress) for file in files]
            schema = published_schema(readings.channels)
            schema = schema.with_metadata({**(schema.metadata or {}), **(metadata or {})})
            widener = Pivoter(readings, schema, laps, workspace.bytes_for_one_car)
            report = _write(key, readings, widener, tallies, schema, partial)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return report


def _write(
    key: SessionKey,
    readings: ReadingSpill,
    widener: Pivoter,
    tallies: Sequence[ParseStats],
    schema: pa.Schema,
    output: Path,
) -> TelemetryReport:
    reasons = sum((tally.reasons for tally in tallies), Counter[str]())
    with _writer(output, schema) as writer:
        cars, written = _write_cars(writer, key, readings, widener)
        counts = TelemetryFileCounts(
            readings_in=sum(tally.readings_in for tally in tallies),
            rejected=reasons.total(),
            cars=len(cars),
            exact_duplicates=sum(car.exact_duplicates for car in cars),
            repeat_rows=sum(car.repeat_rows for car in cars),
            **written,
        )
        _require_reconciled(key, counts)
        # The footer is written when the writer closes, so what is known last still gets in.
        writer.add_key_value_metadata({TELEMETRY_COUNTS: json.dumps(asdict(counts))})
    return TelemetryReport(
        counts=counts,
        rejects=tuple(reject for tally in tallies for reject in tally.samples),
        rejects_by_reason=dict(sorted(reasons.items())),
        cars=tuple(cars),
        unknown_channels=tuple(channel for channel in sorted(readings.channels) if not is_known(channel)),
        unreadable_laps=sum(tally.unreadable_laps for tally in tallies),
    )


def _require_reconciled(key: SessionKey, counts: TelemetryFileCounts) -> None:
    if not counts.reconciles:
        raise ReconciliationError(
            f"The telemetry of {key} is not published: {counts.readings_in:,} readings went in, {counts.cells_out:,} "
            f"cells, {counts.exact_duplicates:,} duplicates and {counts.rejected:,} rejects came out.",
            "This is a defect of the conversion; please report it with the file.",
        )


def _write_cars(
    writer: pq.ParquetWriter, key: SessionKey, readings: ReadingSpill, widener: Pivoter
) -> tuple[list[CarStats], dict[str, int]]:
    """Write car by car, one row group each; return what each car is like, and how many cells and rows were written."""
    schema = writer.schema
    written: Counter[str] = Counter(cells_out=0, rows_out=0)
    channel_columns = schema.names[schema.get_field_index("unit_lap") + 1 :]
    facts: dict[str, CarStatsBuilder] = {}
    for clock, part in _prefetch(_parts(readings, widener)):
        rows = _with_session(part.rows, key, schema)
        writer.write_table(rows, row_group_size=rows.num_rows)
        written["cells_out"] += sum(rows.num_rows - rows[name].null_count for name in channel_columns)
        written["rows_out"] += rows.num_rows
        facts.setdefault(clock.vehicle_id, CarStatsBuilder(clock, channel_columns)).add(part)
    return [car.stats() for car in facts.values()], dict(written)


def _parts(readings: ReadingSpill, widener: Pivoter) -> Iterator[tuple[CarClock, PivotedRows]]:
    for car in readings.cars:
        clock = measure_clock(car, readings.blocks_of(car))
        for part in widener.pivot(clock):
            yield clock, part


def _prefetch(items: Iterator[_Item]) -> Iterator[_Item]:
    """Make the next item in another thread while this one is written, which takes as long."""
    with ThreadPoolExecutor(1, thread_name_prefix="widening") as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


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
        compression_level=ZSTD_LEVEL,
        use_dictionary=[name for name in schema.names if name not in special and name not in _BARE],
        column_encoding=special,
        sorting_columns=pq.SortingColumn.from_ordering(schema, list(_ORDER)),
        # Readers fetch single pages over a network, where no digest of the whole helps: 0.1 % larger, and a flipped bit
        # is noticed.
        write_page_checksum=True,
    )

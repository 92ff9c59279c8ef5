"""The promise about telemetry: what goes in equals what comes out plus what is counted as rejected.

The conversion counts while it works; here the published file is counted again, from its own statistics, so that a check
compares two figures that were found in different ways.
"""

import json
from dataclasses import asdict
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from apex_pipeline.sources.gr_cup.telemetry.report import COUNTS_KEY, TelemetryReport

# Columns of the wide table that are not channels, hence hold no reading.
_NOT_CHANNELS = frozenset(
    {
        "track",
        "session",
        "vehicle_id",
        "chassis",
        "sample_time_utc",
        "car_time",
        "received_time_utc",
        "repeat",
        "lap_number",
        "unit_lap",
    }
)


def counts_as_metadata(report: TelemetryReport) -> dict[str, Any]:
    """Return the counts of a conversion as flat facts for the materialization."""
    facts: dict[str, Any] = dict(asdict(report.counts))
    facts["rejected_by_reason"] = report.rejects_by_reason
    facts["unreadable_laps"] = report.unreadable_laps
    facts["frozen_clocks"] = ", ".join(clock.vehicle_id for clock in report.clocks if clock.is_frozen) or "none"
    facts["unknown_channels"] = ", ".join(report.unknown_channels) or "none"
    return facts


def count_cells(stream: BinaryIO) -> int:
    """Return the number of readings in a published telemetry file: its channel cells that are not null.

    Only the footer is read: Parquet keeps the number of nulls of every column and row group.
    """
    footer = pq.read_metadata(stream)
    cells = 0
    for group in range(footer.num_row_groups):
        columns = footer.row_group(group)
        for index in range(columns.num_columns):
            column = columns.column(index)
            if column.path_in_schema not in _NOT_CHANNELS:
                cells += columns.num_rows - column.statistics.null_count
    return cells


def read_counts(stream: BinaryIO) -> dict[str, int] | None:
    """Return what the conversion counted on its way in, as the published file tells it; ``None`` if it does not."""
    entry = (pq.read_metadata(stream).metadata or {}).get(COUNTS_KEY.encode())
    return json.loads(entry) if entry else None


__all__ = ["count_cells", "counts_as_metadata", "read_counts"]

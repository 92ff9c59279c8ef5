"""Counts the readings in a telemetry file, to check that readings in equal readings out plus rejected readings.

The conversion counts while it runs; this module counts again from the statistics of the published file, so the check
compares two independent numbers.
"""

import json
from typing import BinaryIO

import pyarrow.parquet as pq

from apex_pipeline.tables import TELEMETRY, TELEMETRY_COUNTS

# The columns before the channels are not readings: the key, the lap number, the lap counter of the device and the flag.
_NOT_CHANNELS = frozenset({"track", "session", "chassis", "time_flag", "lap_number", "unit_lap"} | set(TELEMETRY.key))


def count_cells(stream: BinaryIO) -> int:
    """Return the number of readings in a published telemetry file: its channel cells that are not null.

    Only the footer is read: it contains the number of nulls per column and row group.
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
    """Return the input counts that the conversion stored in the file's metadata, or ``None`` if it has none."""
    entry = (pq.read_metadata(stream).metadata or {}).get(TELEMETRY_COUNTS.encode())
    return json.loads(entry) if entry else None

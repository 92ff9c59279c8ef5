"""The promise about telemetry: what goes in equals what comes out plus what is counted as rejected.

The conversion counts while it works; here the published file is counted again, from its own statistics, so that a check
compares two figures that were found in different ways.
"""

import json
from typing import BinaryIO

import pyarrow.parquet as pq

from apex_pipeline.tables import TELEMETRY, TELEMETRY_COUNTS

# The columns of the wide table before its channels, hence without readings; lap and counter of the unit follow the key.
_NOT_CHANNELS = frozenset({"track", "session", "chassis", "lap_number", "unit_lap"} | set(TELEMETRY.key))


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
    entry = (pq.read_metadata(stream).metadata or {}).get(TELEMETRY_COUNTS.encode())
    return json.loads(entry) if entry else None

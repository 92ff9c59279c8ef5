"""Builds the wide table slowly, line by line and without our code, as the reference for every cell.

Exact duplicates (equal in car, channel, value, both times and lap) are dropped. Several readings of a channel at one
car time are sorted by receive time, value and lap (a lost lap last) and numbered 0, 1 … in ``repeat``. The receive time
of a row is the earliest of its readings, its lap the largest that is not lost. Needs several times the file size in
memory.
"""

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from telemetry_engines.contract import CHANNELS, LOST_LAP

REFERENCE_COLUMNS = (*CHANNELS.values(), "received_time_utc", "unit_lap")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A reading: receive time, value, lap. Its cell: car, car time, column.
_Reading = tuple[int, float, int]
_Cell = tuple[str, int, str]


def reference_table(source: Path) -> tuple[pa.Table, int]:
    """Build the wide table of a telemetry file.

    Returns:
        The unsorted table, with ``vehicle_id``, ``car_time``, ``repeat`` and :data:`REFERENCE_COLUMNS`, and the number
        of lines without a valid reading.
    """
    by_cell, unreadable = _readings_by_cell(source)
    rows: defaultdict[tuple[str, int, int], dict[str, float]] = defaultdict(dict)
    for (car, car_ms, column), readings in by_cell.items():
        for repeat, (received_ms, value, lap) in enumerate(sorted(set(readings))):
            row = rows[car, car_ms, repeat]
            row[column] = value
            row["received_time_utc"] = min(received_ms, row.get("received_time_utc", received_ms))
            if lap != LOST_LAP:
                row["unit_lap"] = max(lap, row.get("unit_lap", lap))
    return _table(rows), unreadable


def _readings_by_cell(source: Path) -> tuple[dict[_Cell, list[_Reading]], int]:
    by_cell: defaultdict[_Cell, list[_Reading]] = defaultdict(list)
    lines: Counter[bool] = Counter()
    with source.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            reading = _reading(line)
            lines[reading is None] += 1
            if reading is not None:
                cell, values = reading
                by_cell[cell].append(values)
    return by_cell, lines[True]


def _reading(line: dict[str, str]) -> tuple[_Cell, _Reading] | None:
    try:
        value, lap = float(line["telemetry_value"]), int(line["lap"])
        car_ms, received_ms = _milliseconds(line["timestamp"]), _milliseconds(line["meta_time"])
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    column = CHANNELS.get(line["telemetry_name"], line["telemetry_name"])
    return (line["vehicle_id"], car_ms, column), (received_ms, value, lap)


@lru_cache(maxsize=10_000)
def _milliseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)


def _table(rows: dict[tuple[str, int, int], dict[str, float]]) -> pa.Table:
    columns: dict[str, Iterable[object]] = {
        "vehicle_id": [car for car, _, _ in rows],
        "car_time": pa.array([car_ms for _, car_ms, _ in rows], pa.timestamp("ms", "UTC")),
        "repeat": [repeat for _, _, repeat in rows],
    }
    for column in REFERENCE_COLUMNS:
        columns[column] = pa.array([row.get(column) for row in rows.values()], pa.float64())
    return pa.table(columns)

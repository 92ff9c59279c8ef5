"""Computes the lap chart of a session: the order of the cars at the end of each lap, and their gaps.

Official timing decides where there is any: a car is a printed number and an entry, because two cars may carry the same
one. Without it, the order is that of the cars' own passings of the line. This is the order on the road; see
``penalties.py`` for what the result adds to it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time
from statistics import median

import pyarrow as pa

from apex_pipeline.tables.model import Row

# A car in official timing: the number as printed, and which of the cars that carry it.
Entry = tuple[str, int]
_DAY_S = 86_400

CHART_SCHEMA = pa.schema(
    [
        pa.field("lap_number", pa.int64(), nullable=False),
        pa.field("position", pa.int64()),
        pa.field("car_number", pa.string()),
        pa.field("entry", pa.int64()),
        pa.field("vehicle_id", pa.string()),
        pa.field("elapsed_s", pa.float64()),
        pa.field("gap_to_leader_s", pa.float64()),
        pa.field("gap_to_ahead_s", pa.float64()),
        pa.field("method", pa.string(), nullable=False),
    ]
)


def lap_chart(official: pa.Table | None, laps: pa.Table, vehicles: Mapping[Entry, str]) -> pa.Table:
    """Return a row for each car and lap, in the order of laps and positions.

    Args:
        official: The table ``official_laps``; ``None`` or empty without official timing.
        laps: The table ``laps``.
        vehicles: The vehicle_id of each car in official timing, as far as it is known.

    Returns:
        Rows of :data:`CHART_SCHEMA`. ``elapsed_s`` is the time since the green flag; from the cars' own laps it is the
        time since the first car began lap 1. Where official timing has no sum of the lap times, it is that of the
        passing (``method`` is then ``official_crossing``). Position and gaps are null where it is not known.
    """
    has_official = official is not None and official.num_rows > 0
    rows = _official_rows(official, vehicles) if has_official else _own_rows(laps)
    by_lap: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_lap[row["lap_number"]].append(row)
    found = [row for _, of_lap in sorted(by_lap.items()) for row in _ranked(of_lap)]
    return pa.Table.from_pylist(found, CHART_SCHEMA)


def vehicles_by_entry(cars: pa.Table | None) -> dict[Entry, str]:
    """Return the vehicle_id of each car in official timing from the table ``cars``, where the two are matched."""
    if cars is None:
        return {}
    rows = cars.select(["vehicle_id", "official_number", "official_entry"]).to_pylist()
    return {
        (row["official_number"], row["official_entry"] or 1): row["vehicle_id"]
        for row in rows
        if row["vehicle_id"] is not None and row["official_number"] is not None
    }


def _official_rows(official: pa.Table, vehicles: Mapping[Entry, str]) -> Iterator[Row]:
    columns = ["car_number", "entry", "lap_number", "elapsed_s", "crossing_local_time"]
    rows = official.select(columns).to_pylist()
    green_s = _green_flag(rows)
    for row in rows:
        crossing = row.pop("crossing_local_time")
        method = "official"
        # A car without a time for one lap has no sum from there on; without its place, all behind would move up one.
        if row["elapsed_s"] is None and crossing is not None and green_s is not None:
            row["elapsed_s"] = round((_of_day_s(crossing) - green_s) % _DAY_S, 3)
            method = "official_crossing"
        yield {**row, "vehicle_id": vehicles.get((row["car_number"], row["entry"])), "method": method}


def _green_flag(rows: Iterable[Row]) -> float | None:
    """Return the time of day from which official laps are counted, seconds: the same for all cars but for rounding."""
    found = [
        (_of_day_s(row["crossing_local_time"]) - row["elapsed_s"]) % _DAY_S
        for row in rows
        if row["elapsed_s"] is not None and row["crossing_local_time"] is not None
    ]
    return median(found) if found else None


def _of_day_s(moment: time) -> float:
    return moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6


def _own_rows(laps: pa.Table) -> list[Row]:
    columns = ["vehicle_id", "car_number", "lap_number", "lap_start_utc", "lap_end_utc"]
    rows = [row for row in laps.select(columns).to_pylist() if row["lap_number"] >= 1]
    starts = [row["lap_start_utc"] for row in rows if row["lap_number"] == 1 and row["lap_start_utc"]]
    first = min(starts or [row["lap_end_utc"] for row in rows if row["lap_end_utc"]], default=None)
    return [{**row, "elapsed_s": _seconds_since(first, row["lap_end_utc"]), "method": "own_laps"} for row in rows]


def _seconds_since(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


def _ranked(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows of one lap with position and gaps, those without a time last."""
    rows = sorted(
        rows, key=lambda row: (row["car_number"] or "", row["entry"] if "entry" in row else row["vehicle_id"])
    )
    timed = sorted((row for row in rows if row["elapsed_s"] is not None), key=lambda row: row["elapsed_s"])
    ahead: float | None = None
    for position, row in enumerate(timed, start=1):
        elapsed_s = row["elapsed_s"]
        gap_to_ahead_s = None if ahead is None else round(elapsed_s - ahead, 3)
        gap_to_leader_s = round(elapsed_s - timed[0]["elapsed_s"], 3)
        yield {**row, "position": position, "gap_to_leader_s": gap_to_leader_s, "gap_to_ahead_s": gap_to_ahead_s}
        ahead = elapsed_s
    yield from (row for row in rows if row["elapsed_s"] is None)

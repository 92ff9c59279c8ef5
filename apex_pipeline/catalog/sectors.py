"""Finds the best sectors of each car of a session, and the lap that they would make.

The sum of a car's best sectors may be slower than its best lap: sectors of single laps are missing in some files, and
then the best lap may have none.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import pyarrow as pa

from apex_pipeline.catalog.lap_chart import Entry
from apex_pipeline.tables.model import Row

_SECTORS = ("s1_s", "s2_s", "s3_s")
SECTORS_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("car_number", "vehicle_id")),
        *(pa.field(name, pa.int64()) for name in ("entry", "best_lap_number")),
        *(pa.field(name, pa.float64()) for name in ("best_lap_time_s", *(f"best_{name}" for name in _SECTORS))),
        pa.field("theoretical_best_s", pa.float64()),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("laps", "laps_with_sectors")),
        pa.field("method", pa.string(), nullable=False),
    ]
)

_Car = tuple[str | None, str | None, int | None]


def best_sectors(official: pa.Table | None, laps: pa.Table, vehicles: Mapping[Entry, str]) -> pa.Table:
    """Return the best sectors of each car, the car with the fastest lap first.

    Laps that end in the pits, or have time in the pits, do not count: the way through the pit lane is shorter.

    Args:
        official: The table ``official_laps``; ``None`` or empty without official timing.
        laps: The table ``laps``, whose valid laps count without official timing.
        vehicles: The vehicle_id of each car in official timing, as far as it is known.

    Returns:
        Rows of :data:`SECTORS_SCHEMA`; a best sector is null where no lap of the car has that sector.
    """
    has_official = official is not None and official.num_rows > 0
    by_car: defaultdict[_Car, list[Row]] = defaultdict(list)
    for car, row in _official(official, vehicles) if has_official else _own(laps):
        by_car[car].append(row)
    method = "official" if has_official else "own_laps"
    found = [{**_best_of(car, rows), "method": method} for car, rows in by_car.items()]
    found.sort(key=lambda row: (row["best_lap_time_s"], row["car_number"] or "", row["entry"] or 0))
    return pa.Table.from_pylist(found, SECTORS_SCHEMA)


def _official(official: pa.Table, vehicles: Mapping[Entry, str]) -> Iterator[tuple[_Car, Row]]:
    columns = ["car_number", "entry", "lap_number", "lap_time_s", *_SECTORS, "is_finish_in_pit", "pit_time_s"]
    for row in official.select(columns).to_pylist():
        if not row["is_finish_in_pit"] and not row["pit_time_s"]:
            entry = (row["car_number"], row["entry"])
            yield (row["car_number"], vehicles.get(entry), row["entry"]), row


def _own(laps: pa.Table) -> Iterator[tuple[_Car, Row]]:
    columns = ["car_number", "vehicle_id", "lap_number", "lap_time_s", *_SECTORS, "is_valid"]
    for row in laps.select(columns).to_pylist():
        if row["is_valid"] and row["lap_time_s"] is not None:
            yield (row["car_number"], row["vehicle_id"], None), row


def _best_of(car: _Car, rows: list[Row]) -> Row:
    number, vehicle_id, entry = car
    fastest = min(rows, key=lambda row: row["lap_time_s"])
    best = [min((row[name] for row in rows if row[name] is not None), default=None) for name in _SECTORS]
    return {
        "car_number": number,
        "vehicle_id": vehicle_id,
        "entry": entry,
        "best_lap_number": fastest["lap_number"],
        "best_lap_time_s": fastest["lap_time_s"],
        **{f"best_{name}": value for name, value in zip(_SECTORS, best, strict=True)},
        "theoretical_best_s": None if None in best else round(sum(filter(None, best)), 3),
        "laps": len(rows),
        "laps_with_sectors": sum(None not in [row[name] for name in _SECTORS] for row in rows),
    }

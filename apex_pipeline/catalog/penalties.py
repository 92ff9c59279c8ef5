"""Compares the result of a session with the order on the road: the difference of the two times is the penalty.

``total_time_s`` of the classification has penalties in it, ``elapsed_s`` of a car's last official lap has none. The
classification does not say which of two cars with the same printed number it means; their laps do.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import pyarrow as pa

from apex_pipeline.catalog.lap_chart import Entry
from apex_pipeline.tables.model import Row

PENALTIES_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.int64()) for name in ("position", "position_on_road", "places_lost")),
        pa.field("car_number", pa.string(), nullable=False),
        *(pa.field("entry", pa.int64()), pa.field("vehicle_id", pa.string()), pa.field("status", pa.string())),
        pa.field("laps_completed", pa.int64()),
        *(pa.field(name, pa.float64()) for name in ("elapsed_s", "penalty_s", "total_time_s")),
    ]
)
# Times are stated to the millisecond.
_DECIMALS = 3

_Laps = Mapping[Entry, Mapping[int, Row]]


def penalties(results: pa.Table, official: pa.Table | None, vehicles: Mapping[Entry, str]) -> pa.Table:
    """Return a row for each car of the classification, and for each car that has official laps only.

    Args:
        results: The final classification; no rows without one.
        official: The table ``official_laps``; ``None`` without official timing.
        vehicles: The vehicle_id of each car in official timing, as far as it is known.

    Returns:
        Rows of :data:`PENALTIES_SCHEMA` in the order of the result; none without a classification. ``penalty_s`` is
        null where the car has no lap, or the two count different laps.
    """
    laps = _laps_by_entry(official)
    on_road = _order_on_road(laps)
    rows = results.select(
        ["position", "car_number", "status", "laps_completed", "total_time_s", "best_lap_number", "best_lap_time_s"]
    ).to_pylist()
    entries = _entries_of(rows, laps)
    found = [
        _compared(row, entry, laps.get(entry, {}), on_road, vehicles) for row, entry in zip(rows, entries, strict=True)
    ]
    if rows:
        unclassified: Row = dict.fromkeys(("position", "status", "laps_completed", "total_time_s"))
        found += [
            _compared({**unclassified, "car_number": entry[0]}, entry, laps[entry], on_road, vehicles)
            for entry in sorted(laps.keys() - set(entries))
        ]
    found.sort(key=lambda row: (row["position"] is None, row["position"] or 0))
    return pa.Table.from_pylist(found, PENALTIES_SCHEMA)


def _laps_by_entry(official: pa.Table | None) -> dict[Entry, dict[int, Row]]:
    laps: defaultdict[Entry, dict[int, Row]] = defaultdict(dict)
    if official is not None:
        columns = ["car_number", "entry", "lap_number", "elapsed_s", "lap_time_s"]
        for row in official.select(columns).to_pylist():
            laps[row["car_number"], row["entry"]][row["lap_number"]] = row
    return dict(laps)


def _order_on_road(laps: _Laps) -> dict[Entry, int]:
    """Return the place of each car by its laps and its time at the end of the last of them."""
    last = {entry: (max(of_car), of_car[max(of_car)]["elapsed_s"]) for entry, of_car in laps.items()}
    timed = sorted((-number, elapsed_s, entry) for entry, (number, elapsed_s) in last.items() if elapsed_s is not None)
    return {entry: place for place, (_, _, entry) in enumerate(timed, start=1)}


def _entries_of(rows: Sequence[Row], laps: _Laps) -> list[Entry]:
    """Return the car that each row of the classification means: that with its laps, its best lap and nearly its time.

    Of cars that share a printed number, the pair that agrees best is matched first.
    """
    pairs = sorted(
        (-_agreement(row, laps[entry]), _distance_s(row, laps[entry]), place, entry)
        for place, row in enumerate(rows)
        for entry in laps
        if entry[0] == row["car_number"]
    )
    found: dict[int, Entry] = {}
    for _, _, place, entry in pairs:
        if place not in found and entry not in found.values():
            found[place] = entry
    return [found.get(place, (row["car_number"], 0)) for place, row in enumerate(rows)]


def _agreement(row: Row, of_car: Mapping[int, Row]) -> int:
    best = of_car.get(row["best_lap_number"] or 0)
    has_best_lap = best is not None and best["lap_time_s"] == row["best_lap_time_s"]
    return (max(of_car) == row["laps_completed"]) + has_best_lap


def _distance_s(row: Row, of_car: Mapping[int, Row]) -> float:
    elapsed_s = of_car[max(of_car)]["elapsed_s"]
    return float("inf") if elapsed_s is None or row["total_time_s"] is None else abs(row["total_time_s"] - elapsed_s)


def _compared(
    row: Row, entry: Entry, of_car: Mapping[int, Row], on_road: Mapping[Entry, int], vehicles: Mapping[Entry, str]
) -> Row:
    last = max(of_car, default=0)
    elapsed_s = of_car[last]["elapsed_s"] if of_car else None
    total_s = row["total_time_s"] if row["laps_completed"] == last else None
    place, place_on_road = row["position"], on_road.get(entry)
    return {
        **row,
        "entry": entry[1] or None,
        "vehicle_id": vehicles.get(entry),
        "elapsed_s": elapsed_s,
        "penalty_s": None if elapsed_s is None or total_s is None else round(total_s - elapsed_s, _DECIMALS),
        "position_on_road": place_on_road,
        "places_lost": place - place_on_road if place and place_on_road else None,
    }

"""Finds the best laps of a session in its table ``laps``."""

import pyarrow as pa

_COLUMNS = ["vehicle_id", "lap_number", "lap_time_s", "is_valid"]
_BEST = ("track", "session", "rank", "car_number", "vehicle_id", "lap_number", "lap_time_s", "gap_s")
_EVIDENCE = ("lap_time_method", "confidence", "flags")


def best_rows(laps: pa.Table) -> pa.Table:
    """Return the row of the best valid lap of each car, the fastest first; of equal laps the earlier one."""
    rows = enumerate(laps.select(_COLUMNS).to_pylist())
    timed = [(row["lap_time_s"], row["lap_number"], place, row["vehicle_id"]) for place, row in rows if _counts(row)]
    best: dict[str, int] = {}
    for _, _, place, vehicle in sorted(timed):
        best.setdefault(vehicle, place)
    return laps.take(pa.array(best.values(), pa.int64()))


def _counts(row: dict[str, object]) -> bool:
    return bool(row["is_valid"]) and row["lap_time_s"] is not None


def best_table(laps: pa.Table) -> pa.Table:
    """Return the best valid lap of each car with its rank and its gap to the best of all, in seconds."""
    best = best_rows(laps)
    times = best["lap_time_s"].to_pylist()
    new = {
        "rank": pa.array(range(1, len(times) + 1), pa.int64()),
        "gap_s": pa.array([round(time - times[0], 3) for time in times], pa.float64()),
    }
    names = [*_BEST, *_EVIDENCE]
    fields = [
        pa.field(name, new[name].type, nullable=False) if name in new else best.schema.field(name) for name in names
    ]
    return pa.table([new[name] if name in new else best[name] for name in names], schema=pa.schema(fields))

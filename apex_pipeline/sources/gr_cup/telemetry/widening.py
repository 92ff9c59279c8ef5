"""One car's readings, widened: one row per sample time, one column per channel.

Exact duplicates are dropped and counted. Separate readings of a channel with the same car time (messages sent in a
burst) are told apart by ``repeat``: 0, 1 … in the order they were received. The order of the rows in the file plays no
part, so a shuffled file gives the same table.
"""

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.schemas import TELEMETRY
from apex_pipeline.sources.gr_cup.telemetry.channels import columns_of
from apex_pipeline.sources.gr_cup.telemetry.loading import UNREADABLE_LAP, rows_of, sql_text
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.vehicle_id import split_vehicle_id

_UTC_MS = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True)
class WideCar:
    """One car's wide rows and the readings behind them."""

    rows: pa.Table
    readings: int
    distinct: int


def channels_in(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the raw channels that have a usable reading, sorted."""
    found = rows_of(connection, "SELECT DISTINCT channel FROM reading WHERE problem IS NULL ORDER BY channel")
    return [channel for (channel,) in found]


def widen_car(
    connection: duckdb.DuckDBPyConnection,
    clock: CarClock,
    channels: list[str],
    schema: pa.Schema,
    laps: pa.Table | None,
) -> WideCar:
    """Widen one car's readings.

    Args:
        connection: Holds the table ``reading``.
        clock: The car and its clock.
        channels: The session's raw channels.
        schema: Schema of the published table, unknown channels included; track and session are filled in later.
        laps: The session's table ``laps``, for the lap of each sample.
    """
    frame = "received_ms" if clock.is_frozen else "car_ms"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE one_car AS "
        "SELECT channel, value, car_ms, received_ms, unit_lap, count(*) AS copies "
        "FROM reading WHERE vehicle_id = $car AND problem IS NULL GROUP BY ALL",
        {"car": clock.vehicle_id},
    )
    ((readings, distinct),) = rows_of(connection, "SELECT sum(copies)::BIGINT, count(*) FROM one_car")
    wide = connection.sql(_wide_query(frame, channels)).to_arrow_table()
    connection.execute("DROP TABLE one_car")
    return WideCar(_with_identity(wide, clock, schema, laps), readings, distinct)


def _wide_query(frame: str, channels: list[str]) -> str:
    by_column: dict[str, list[str]] = {}
    for channel, column in columns_of(channels).items():
        by_column.setdefault(column, []).append(sql_text(channel))
    # Every (frame, repeat, column) holds one reading, so max only picks it.
    cells = ", ".join(
        f'max(value) FILTER (WHERE channel IN ({", ".join(names)})) AS "{column}"'
        for column, names in by_column.items()
    )
    of_channel = " ".join(f"WHEN channel IN ({', '.join(names)}) THEN '{name}'" for name, names in by_column.items())
    return f"""
        WITH told_apart AS (
            SELECT *, row_number() OVER (PARTITION BY {frame}, CASE {of_channel} END
                                         ORDER BY received_ms, car_ms, value, unit_lap) - 1 AS repeat FROM one_car)
        SELECT {frame} AS frame_ms, repeat, min(car_ms) AS car_ms, min(received_ms) AS received_ms,
               nullif(max(unit_lap), {UNREADABLE_LAP})::BIGINT AS unit_lap, {cells}
        FROM told_apart GROUP BY frame_ms, repeat ORDER BY frame_ms, repeat
        """  # noqa: S608  -- constants and channel names, quoted


def _with_identity(wide: pa.Table, clock: CarClock, schema: pa.Schema, laps: pa.Table | None) -> pa.Table:
    """Add who and when, and put the columns in published order; a channel this car never sent is null."""
    offset_ms = 0 if clock.is_frozen else round(clock.offset_s * 1000)
    sample_ms = pc.add(wide["frame_ms"], offset_ms)
    chassis, _ = split_vehicle_id(clock.vehicle_id)
    columns: dict[str, object] = {
        "vehicle_id": _label(clock.vehicle_id, wide.num_rows),
        "chassis": _label(chassis, wide.num_rows),
        "sample_time_utc": sample_ms.cast(_UTC_MS),
        "car_time": wide["car_ms"].cast(_UTC_MS),
        "received_time_utc": wide["received_ms"].cast(_UTC_MS),
        "lap_number": _lap_numbers(sample_ms.to_numpy(), clock.vehicle_id, laps),
    }
    arrays: list[object] = []
    for field in schema:
        found = columns.get(field.name)
        if found is None and field.name in wide.column_names:
            found = wide[field.name].cast(field.type)
        arrays.append(pa.nulls(wide.num_rows, field.type) if found is None else found)
    return pa.Table.from_arrays(arrays, names=schema.names)


def _label(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([text]))


def _lap_numbers(sample_ms: np.ndarray, vehicle_id: str, laps: pa.Table | None) -> pa.Array:
    """Find the lap of each sample by time: the unit's own counter may be lost, ahead or behind."""
    if laps is None or not laps.num_rows:
        return pa.nulls(len(sample_ms), pa.int64())
    own = laps.filter(pc.equal(laps["vehicle_id"].cast(pa.string()), vehicle_id))
    # A lap that only official timing has, without a time of day, has neither begin nor end.
    timed = pc.and_(pc.is_valid(own["lap_start_utc"]), pc.is_valid(own["lap_end_utc"]))
    own = own.filter(timed).sort_by("lap_start_utc")
    starts, ends = (own[name].cast(pa.int64()).to_numpy() for name in ("lap_start_utc", "lap_end_utc"))
    if not len(starts):
        return pa.nulls(len(sample_ms), pa.int64())
    index = np.searchsorted(starts, sample_ms, side="right") - 1
    is_in_lap = (index >= 0) & (sample_ms < ends[np.maximum(index, 0)])
    numbers = own["lap_number"].to_numpy()[np.maximum(index, 0)]
    return pa.array(numbers, mask=~is_in_lap)


def published_schema(channels: list[str]) -> pa.Schema:
    """Return the schema of the wide table for these raw channels: the declared columns, then unknown ones by name."""
    declared = set(TELEMETRY.schema.names)
    extra = sorted(set(columns_of(channels).values()) - declared)
    return TELEMETRY.schema_with(extra)


__all__ = ["WideCar", "channels_in", "published_schema", "widen_car"]

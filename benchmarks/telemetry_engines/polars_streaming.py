"""Converts with polars: a lazy scan and a group-by in its streaming engine.

``max(when(name == c).then(value))`` instead of ``filter(name == c).max()``: the same result for a third less CPU.

Run as ``python -m telemetry_engines.polars_streaming SOURCE OUTPUT``; threads come from ``POLARS_MAX_THREADS``.
"""

import sys

import polars as pl  # pyright: ignore[reportMissingImports]  -- in the group "bench", not in the project

from telemetry_engines.contract import CHANNELS, FILE_COLUMNS, LOST_LAP

_TIME = "%Y-%m-%dT%H:%M:%S%.3fZ"


def convert(source: str, output: str) -> None:
    """Write the wide Parquet of a telemetry file."""
    types = {"telemetry_value": pl.Float64, "lap": pl.Int32}
    schema = {name: types.get(name, pl.String) for name in FILE_COLUMNS}
    name, value, lap = pl.col("telemetry_name"), pl.col("telemetry_value"), pl.col("lap")
    readings = pl.scan_csv(source, schema=schema).select(
        "vehicle_id",
        _time("timestamp").alias("car_time"),
        _time("meta_time").alias("received_time_utc"),
        pl.when(lap != LOST_LAP).then(lap).alias("unit_lap"),
        name,
        value,
    )
    rows = readings.group_by("vehicle_id", "car_time").agg(
        pl.col("received_time_utc").max(),
        pl.col("unit_lap").max(),
        *(pl.when(name == raw).then(value).max().alias(column) for raw, column in CHANNELS.items()),
    )
    rows.sort("vehicle_id", "car_time").sink_parquet(output, compression="zstd", engine="streaming")


def _time(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime(_TIME, time_unit="ms", time_zone="UTC")


if __name__ == "__main__":
    convert(*sys.argv[1:])

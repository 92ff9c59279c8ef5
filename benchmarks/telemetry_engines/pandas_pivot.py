"""Converts with pandas: the usual code, with declared types and without unused columns.

Run as ``python -m telemetry_engines.pandas_pivot SOURCE OUTPUT``.
"""

import sys

import pandas as pd

from telemetry_engines.contract import CHANNELS, LOST_LAP

_TYPES = {"vehicle_id": "category", "telemetry_name": "category", "telemetry_value": "float64", "lap": "int32"}
_TIMES = ["timestamp", "meta_time"]
_FRAME = ["vehicle_id", "timestamp"]


def convert(source: str, output: str) -> None:
    """Write the wide Parquet of a telemetry file; holds all readings in memory, in more bytes than the CSV."""
    readings = pd.read_csv(
        source, usecols=[*_TYPES, *_TIMES], dtype=_TYPES, parse_dates=_TIMES, date_format="ISO8601", engine="c"
    )
    readings["lap"] = readings["lap"].where(readings["lap"] != LOST_LAP).astype("Int32")
    rows = readings.groupby(_FRAME, observed=True)[["meta_time", "lap"]].max()
    cells = readings.pivot_table(
        index=_FRAME, columns="telemetry_name", values="telemetry_value", aggfunc="max", observed=True
    )
    cells.columns = cells.columns.astype(str)  # a categorical index accepts no new column
    cells = cells.reindex(columns=list(CHANNELS)).rename(columns=CHANNELS)
    names = {"timestamp": "car_time", "meta_time": "received_time_utc", "lap": "unit_lap"}
    rows.join(cells).reset_index().rename(columns=names).to_parquet(output, compression="zstd", index=False)


if __name__ == "__main__":
    convert(*sys.argv[1:])

"""Converts with DuckDB, the main baseline: one statement, all columns declared, nothing checked.

Run as ``python -m telemetry_engines.plain_duckdb SOURCE OUTPUT``.
"""

import sys

import duckdb

from telemetry_engines.contract import CHANNELS, FILE_COLUMNS, LOST_LAP, THREADS

# TIMESTAMPTZ, because a plain TIMESTAMP silently drops the offset of a time, and its Parquet type has no UTC.
_TYPES = {"timestamp": "TIMESTAMPTZ", "meta_time": "TIMESTAMPTZ", "telemetry_value": "DOUBLE", "lap": "INTEGER"}


def convert(source: str, output: str) -> None:
    """Write the wide Parquet of a telemetry file, within DuckDB's own memory limit (80 % of the machine)."""
    columns = ", ".join(f"'{name}': '{_TYPES.get(name, 'VARCHAR')}'" for name in FILE_COLUMNS)
    cells = ", ".join(
        f"max(telemetry_value) FILTER (telemetry_name = '{raw}') AS {column}" for raw, column in CHANNELS.items()
    )
    query = f"""
        SELECT vehicle_id, timestamp AS car_time, max(meta_time) AS received_time_utc,
               max(nullif(lap, {LOST_LAP})) AS unit_lap, {cells}
        FROM read_csv($source, columns = {{{columns}}}, header = true)
        GROUP BY vehicle_id, timestamp ORDER BY vehicle_id, timestamp
        """  # noqa: S608  -- built from constants
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}")
        statement = f"COPY ({query}) TO $output (FORMAT parquet, COMPRESSION zstd)"
        connection.execute(statement, {"source": source, "output": output})


if __name__ == "__main__":
    convert(*sys.argv[1:])

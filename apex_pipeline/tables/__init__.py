"""The published tables, each described once: columns, types, units, meaning, keys, order, bounds.

One :class:`~apex_pipeline.tables.model.Table` object feeds the Arrow schema of the Parquet files, Dagster's column
schema, the blocking checks and ``docs/tables.md``. Not here: how a table is made (``sources``), where it is kept
(``storage``), or anything of Dagster's.
"""

from apex_pipeline.tables.catalog import FILES, SESSIONS, TRACKS
from apex_pipeline.tables.laps import CAR_NUMBER_METHODS, CARS, LAPS
from apex_pipeline.tables.model import Column, Table
from apex_pipeline.tables.quality import (
    LAP_REJECTS,
    OFFICIAL_REJECTS,
    QUALITY,
    QUALITY_MEASURES,
    REJECTS,
    TELEMETRY_REJECTS,
)
from apex_pipeline.tables.telemetry import TELEMETRY, TELEMETRY_CARS
from apex_pipeline.tables.timing import OFFICIAL_LAPS, RESULTS, WEATHER

# Entry of a telemetry file's own metadata: its counts of readings as JSON, so that every published file can be
# reconciled with what went in.
TELEMETRY_COUNTS = "apex.telemetry_counts"

# Tables of a race session, in the order of the data dictionary. Which of them a session has is up to its source.
RACE_TABLES = (
    LAPS,
    CARS,
    TELEMETRY,
    TELEMETRY_CARS,
    OFFICIAL_LAPS,
    RESULTS,
    WEATHER,
    QUALITY,
    LAP_REJECTS,
    TELEMETRY_REJECTS,
    OFFICIAL_REJECTS,
)

CATALOG_TABLES = (FILES, TRACKS, SESSIONS)


def is_rejects_table(name: str) -> bool:
    """Return whether a table lists rejected rows: every source names such a table ``…_rejects``."""
    return name.endswith(REJECTS.name)


__all__ = [
    "CARS",
    "CAR_NUMBER_METHODS",
    "CATALOG_TABLES",
    "FILES",
    "LAPS",
    "LAP_REJECTS",
    "OFFICIAL_LAPS",
    "OFFICIAL_REJECTS",
    "QUALITY",
    "QUALITY_MEASURES",
    "RACE_TABLES",
    "REJECTS",
    "RESULTS",
    "SESSIONS",
    "TELEMETRY",
    "TELEMETRY_CARS",
    "TELEMETRY_COUNTS",
    "TELEMETRY_REJECTS",
    "TRACKS",
    "WEATHER",
    "Column",
    "Table",
    "is_rejects_table",
]

"""Defines the published tables: columns, types, units, descriptions, keys, sort order and bounds.

One :class:`~apex_pipeline.tables.model.Table` object defines the Arrow schema of the Parquet files, Dagster's column
schema, the blocking checks and ``docs/tables.md``. See ``sources/base.py`` for deriving tables and
``storage/layout.py`` for their keys in the lake.
"""

from apex_pipeline.tables.catalog import FILES, LISTED_SESSIONS, SESSIONS, TRACKS
from apex_pipeline.tables.events import EVENT_REJECTS, EVENT_TABLES, RECORDS
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
from apex_pipeline.tables.races import AMS2_TABLES, RACE_LAPS, RACE_SAMPLES, RACE_TIMING
from apex_pipeline.tables.telemetry import TELEMETRY, TELEMETRY_CARS, TELEMETRY_HOLES
from apex_pipeline.tables.timing import OFFICIAL_LAPS, OFFICIAL_POINTS, RESULTS, WEATHER

# Metadata key of a telemetry file's reading counts as JSON, used to reconcile each published file with its raw files.
TELEMETRY_COUNTS = "apex.telemetry_counts"

# Tables of a race session, in data-dictionary order. The source decides which of them a session has.
RACE_TABLES = (
    LAPS,
    CARS,
    TELEMETRY,
    TELEMETRY_CARS,
    TELEMETRY_HOLES,
    OFFICIAL_LAPS,
    OFFICIAL_POINTS,
    RESULTS,
    WEATHER,
    QUALITY,
    LAP_REJECTS,
    TELEMETRY_REJECTS,
    OFFICIAL_REJECTS,
)

CATALOG_TABLES = (FILES, TRACKS, SESSIONS)


def is_rejects_table(name: str) -> bool:
    """Return whether a table lists rejects; every source names such a table ``…_rejects``."""
    return name.endswith(REJECTS.name)


__all__ = [
    "AMS2_TABLES",
    "CARS",
    "CAR_NUMBER_METHODS",
    "CATALOG_TABLES",
    "EVENT_REJECTS",
    "EVENT_TABLES",
    "FILES",
    "LAPS",
    "LAP_REJECTS",
    "LISTED_SESSIONS",
    "OFFICIAL_LAPS",
    "OFFICIAL_POINTS",
    "OFFICIAL_REJECTS",
    "QUALITY",
    "QUALITY_MEASURES",
    "RACE_LAPS",
    "RACE_SAMPLES",
    "RACE_TABLES",
    "RACE_TIMING",
    "RECORDS",
    "REJECTS",
    "RESULTS",
    "SESSIONS",
    "TELEMETRY",
    "TELEMETRY_CARS",
    "TELEMETRY_COUNTS",
    "TELEMETRY_HOLES",
    "TELEMETRY_REJECTS",
    "TRACKS",
    "WEATHER",
    "Column",
    "Table",
    "is_rejects_table",
]

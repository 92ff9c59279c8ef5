"""Defines the tables of quality scores and rejected rows."""

from dataclasses import replace

from apex_pipeline.tables.columns import SESSION, SOURCE_FILE, TRACK, VEHICLE_ID
from apex_pipeline.tables.model import Column, Table

# The measures, one row of ``quality`` each. ``overall`` is the lowest of the other six scores; for a session, its
# sentence is the session note.
QUALITY_MEASURES = (
    "duplicates",
    "backward_time",
    "gaps",
    "missing_channels",
    "lap_coverage",
    "official_mismatch",
    "overall",
)

QUALITY = Table(
    name="quality",
    folder="tables",
    description="One row per score of a car or of the whole session: 0 to 100 with a sentence.",
    key=("scope", "vehicle_id", "measure"),
    sort_by=("scope", "vehicle_id", "measure"),
    columns=(
        TRACK,
        SESSION,
        Column("scope", "category", "Whole session, or one car.", required=True, allowed=("session", "car")),
        replace(VEHICLE_ID, required=False, description="The car; null for the whole session."),
        Column("measure", "category", "What is scored.", required=True, allowed=QUALITY_MEASURES),
        Column("score", "float", "100 is perfect; null where there is nothing to score.", minimum=0, maximum=100),
        Column("level", "category", "What the score calls for.", required=True, allowed=("ok", "warn", "error")),
        Column("sentence", "string", "The finding in plain words, with its numbers.", required=True),
    ),
)

REJECTS = Table(
    name="rejects",
    folder="tables",
    description="One row per row of a raw file that could not be used, or (out_of_range) per value left out of it, "
    "or (column_notation) per column that has lost precision.",
    key=("source_file", "source_row", "occurrence"),
    sort_by=("source_file", "source_row", "occurrence"),
    columns=(
        TRACK,
        SESSION,
        SOURCE_FILE,
        Column("source_row", "integer", "Line of the raw file, the header being line 1.", minimum=1),
        Column("occurrence", "integer", "0, 1 … where one line gave several rejects.", required=True, minimum=0),
        Column("kind", "category", "Kind of the raw file.", required=True),
        Column("reason", "category", "What is wrong, one of a few fixed words.", required=True),
        Column("detail", "string", "The column and value, shortened to 200 characters.", required=True),
    ),
)

LAP_REJECTS = replace(REJECTS, name="lap_rejects")

TELEMETRY_REJECTS = replace(REJECTS, name="telemetry_rejects")

OFFICIAL_REJECTS = replace(REJECTS, name="official_rejects")

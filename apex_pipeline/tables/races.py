"""Defines the tables of a race recorded in Automobilista 2, which are keyed by race and not by track and session.

A recording is read before its race has an id, so :func:`without_race_id` and :func:`with_race_id` translate between the
tables of a recording and the published ones.
"""

from dataclasses import replace

import pyarrow as pa

from apex_pipeline.tables.columns import LAP_INDEX, RACE_ID, SESSION_INDEX
from apex_pipeline.tables.model import Column, Table

# Published types of a session, by the number the game sends for it.
SESSION_TYPES = ("unknown", "practice", "test", "qualifying", "formation", "race", "time_attack")

LAP_KINDS = ("flying", "out", "in", "partial", "abandoned")

# Bounds of the samples: far beyond every car and track of the game, so what is outside them is damage.
RACE_LAPS = Table(
    name="race_laps",
    folder="tables",
    description="One row per run of the driver's lap clock, including out-laps and laps that were not finished.",
    key=("race_id", "lap_index"),
    sort_by=("race_id", "lap_index"),
    columns=(
        RACE_ID,
        replace(LAP_INDEX, description="0, 1, 2 … in driven order over the whole recording."),
        SESSION_INDEX,
        Column("session_type", "category", "What the session was.", required=True, allowed=SESSION_TYPES),
        Column("track_location", "category", "Track as the game calls it."),
        Column("track_variation", "category", "Layout of the track."),
        Column("track_length_m", "float", "Length of the layout.", "metres", minimum=0),
        Column(
            "lap_number",
            "integer",
            "The game's number; an out-lap, a restart and an attempt after a reset to the pits share it with the lap. "
            "The game counts to 255 and starts at 0 again; here counting goes on.",
            required=True,
            minimum=0,
        ),
        Column(
            "kind",
            "category",
            "flying: from line to line; out: before the line, or from the pits; in: ended in the pits; partial: its "
            "beginning or end was not recorded; abandoned: ended by a reset, a restart or leaving the session.",
            required=True,
            allowed=LAP_KINDS,
        ),
        Column(
            "is_published",
            "boolean",
            "The one row of its lap_number that stands for the lap; the others are further attempts.",
            required=True,
        ),
        Column(
            "is_valid",
            "boolean",
            "A flying lap that the game did not invalidate; use these for best laps.",
            required=True,
        ),
        Column("lap_time_s", "float", "Lap time; only of a run from line to line.", "seconds", minimum=0),
        Column(
            "lap_time_method",
            "category",
            "official: the game's last lap time of this car; clock: the lap clock, continued to the line.",
            allowed=("official", "clock"),
        ),
        Column("lap_time_uncertainty_s", "float", "How far off lap_time_s can be.", "seconds", minimum=0),
        Column("s1_s", "float", "Sector 1.", "seconds", minimum=0),
        Column("s2_s", "float", "Sector 2.", "seconds", minimum=0),
        Column("s3_s", "float", "Sector 3.", "seconds", minimum=0),
        Column("race_position", "integer", "Position at the end of the lap.", minimum=1),
        Column("samples", "integer", "Rows of race_samples.", required=True, minimum=0),
        Column("sample_interval_s", "float", "Median time between two samples.", "seconds", minimum=0),
        Column("flags", "string_list", "Reasons to look twice, for example invalidated or gap.", required=True),
    ),
)

RACE_SAMPLES = Table(
    name="race_samples",
    folder="tables",
    description="One row per sample of the driver's car, at the recorded rate.",
    key=("race_id", "lap_index", "sample_index"),
    sort_by=("race_id", "lap_index", "sample_index"),
    columns=(
        RACE_ID,
        LAP_INDEX,
        Column("sample_index", "integer", "0, 1, 2 … within the lap.", required=True, minimum=0),
        Column(
            "tick",
            "integer",
            "The game's tick count without its wrap at 2^32; null in packets of Project CARS 2, which have none.",
            minimum=0,
        ),
        Column(
            "lap_distance_m",
            "float",
            "Distance from the line: the whole metre reported, and speed times time within it.",
            "metres",
            minimum=0,
            maximum=65_536,
        ),
        Column("current_time_s", "float", "Lap clock; null while it does not run.", "seconds", minimum=0),
        Column("pos_x_m", "float", "Position in the game's world, x.", "metres", minimum=-100_000, maximum=100_000),
        Column("pos_z_m", "float", "Position in the game's world, z.", "metres", minimum=-100_000, maximum=100_000),
        Column("speed_mps", "float", "Speed.", "metres per second", minimum=0, maximum=200),
        Column("engine_rpm", "float", "Engine speed.", "revolutions per minute", minimum=0, maximum=65_535),
        Column("throttle", "float", "Throttle, 0 to 1.", minimum=0, maximum=1),
        Column("brake", "float", "Brake, 0 to 1.", minimum=0, maximum=1),
        Column("steering", "float", "Steering, -1 (left) to 1.", minimum=-1, maximum=1),
        Column("yaw_rad", "float", "Heading.", "radians", minimum=-7, maximum=7),
        Column("fuel_capacity_l", "float", "Size of the tank.", "litres", minimum=0, maximum=255),
        Column("fuel_level", "float", "Share of the tank that is filled, 0 to 1.", minimum=0, maximum=1),
        Column("fuel_l", "float", "Fuel in the tank.", "litres", minimum=0, maximum=255),
        Column("gear", "integer", "Gear; 0 neutral, -1 reverse.", minimum=-1, maximum=14),
    ),
)

RACE_TIMING = Table(
    name="race_timing",
    folder="tables",
    description="One row per lap of every car in the timings packets, the driver's own included.",
    key=("race_id", "session_index", "participant_index", "run_index"),
    sort_by=("race_id", "session_index", "participant_index", "run_index"),
    columns=(
        RACE_ID,
        SESSION_INDEX,
        Column("participant_index", "integer", "Place of the car in the packets.", required=True, minimum=0),
        Column("run_index", "integer", "0, 1, 2 … of the car in the session.", required=True, minimum=0),
        Column("is_driver", "boolean", "It is the car of race_laps.", required=True),
        Column("is_human", "boolean", "A person drives; null for the driver's own entry, which does not say."),
        Column(
            "participant_name", "string", "The driver's name; null unless APEX_KEEP_NAMES is set.", is_personal=True
        ),
        Column("car_name", "category", "Car; null where the game does not name it."),
        Column("car_class", "category", "Class of the car; null where the game does not name it."),
        Column("lap_number", "integer", "The game's number of the lap.", required=True, minimum=0),
        Column("is_complete", "boolean", "Its end at the line was recorded.", required=True),
        Column("is_invalidated", "boolean", "The game invalidated the lap.", required=True),
        Column("lap_time_s", "float", "Lap time; only of a run from line to line.", "seconds", minimum=0),
        Column("lap_time_method", "category", "As in race_laps.", allowed=("official", "clock")),
        Column("race_position", "integer", "Position at the end of the lap.", minimum=1),
        Column(
            "sector", "integer", "Sector at the end of what was recorded of the lap, as the game counts.", minimum=0
        ),
        Column("was_in_pits", "boolean", "The car was in the pit lane, its box or the garage.", required=True),
    ),
)

AMS2_TABLES = (RACE_LAPS, RACE_SAMPLES, RACE_TIMING)


def without_race_id(table: Table) -> Table:
    """Return a race table as it is in a recording, whose race has no id yet."""
    return replace(
        table,
        columns=tuple(column for column in table.columns if column != RACE_ID),
        key=tuple(name for name in table.key if name != RACE_ID.name),
        sort_by=tuple(name for name in table.sort_by if name != RACE_ID.name),
    )


def with_race_id(table: Table, rows: pa.Table, race_id: str) -> pa.Table:
    """Return the rows of a recording as rows of the published table.

    Args:
        table: The published table.
        rows: Rows with the schema of :func:`without_race_id`.
        race_id: The race they belong to.
    """
    ids = pa.DictionaryArray.from_arrays(pa.array([0] * rows.num_rows, pa.int32()), pa.array([race_id]))
    return rows.add_column(0, RACE_ID.arrow_field, ids).cast(table.schema)

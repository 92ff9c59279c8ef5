"""Defines the tables of laps and cars."""

from dataclasses import replace

from apex_pipeline.tables.columns import CAR_NUMBER, CHASSIS, SESSION, SOURCE_FILE, SOURCE_ROW, TRACK, VEHICLE_ID
from apex_pipeline.tables.model import Column, Table

# How a car's number was determined, best method first. ``official_only``: the car is in official timing only.
CAR_NUMBER_METHODS = ("official_crossings", "suffix", "undecided", "official_only")

LAPS = Table(
    name="laps",
    folder="tables",
    description="One row per car and lap actually driven.",
    key=("vehicle_id", "lap_number"),
    sort_by=("vehicle_id", "lap_number"),
    columns=(
        TRACK,
        SESSION,
        VEHICLE_ID,
        CHASSIS,
        CAR_NUMBER,
        Column(
            "car_number_method",
            "category",
            "How the number was found: official crossing times, the suffix of vehicle_id, or undecided.",
            allowed=CAR_NUMBER_METHODS,
        ),
        Column("car_number_confidence", "float", "How sure the number is.", minimum=0, maximum=1),
        Column(
            "lap_number",
            "integer",
            "1, 2, 3 … in driven order since the green flag; 0, -1 … before it. Without official timing since the "
            "car's first crossing.",
            required=True,
        ),
        Column("official_lap_number", "integer", "Lap number of official timing.", minimum=1),
        Column(
            "unit_lap", "integer", "Raw counter of the car's unit; null where it had lost count (32768).", minimum=0
        ),
        Column("lap_start_utc", "timestamp_utc", "Crossing of the line that begins the lap."),
        Column("lap_end_utc", "timestamp_utc", "Crossing of the line that ends the lap."),
        Column(
            "line_start_utc",
            "timestamp_utc",
            "When the car itself crossed the line to begin the lap; cut telemetry here. Null if either is unknown.",
        ),
        Column("line_end_utc", "timestamp_utc", "When the car itself crossed the line to end the lap."),
        Column(
            "line_method",
            "category",
            "Where the two line times come from: the car's triggers, one of them from official timing, both from it, "
            "one from telemetry, or one repaired.",
            allowed=("trigger", "trigger_and_official", "official", "telemetry", "repaired"),
        ),
        Column(
            "line_residual_s",
            "float",
            "Time between the two line times minus lap_time_s; flagged line_disagrees beyond 0.5 s. Do not stretch it "
            "away: another lap may be meant.",
            "seconds",
        ),
        Column(
            "from_green",
            "boolean",
            "Official lap 1: lap_time_s runs from the green flag, so its residual is not an error.",
        ),
        Column("lap_time_s", "float", "Best estimate of the lap time.", "seconds", minimum=0),
        Column(
            "lap_time_method",
            "category",
            "Where lap_time_s comes from.",
            allowed=("official", "official_cells", "trigger", "unit_value", "telemetry", "repaired"),
        ),
        Column("trigger_lap_time_s", "float", "Difference of the two crossings.", "seconds", minimum=0),
        Column("unit_lap_time_s", "float", "Lap time the car's unit reported.", "seconds", minimum=0),
        Column(
            "telemetry_lap_time_s",
            "float",
            "Time between two passings of the line in telemetry, car's clock; looked for where official timing is "
            "missing.",
            "seconds",
            minimum=0,
        ),
        Column("official_lap_time_s", "float", "Lap time of official timing.", "seconds", minimum=0),
        Column("delta_to_official_s", "float", "lap_time before official timing minus official lap time.", "seconds"),
        Column("confidence", "float", "How sure lap_time_s is; the rule is in docs/laps.md.", minimum=0, maximum=1),
        Column("is_out_lap", "boolean", "The lap began in the pits."),
        Column("is_in_lap", "boolean", "The lap ended in the pits."),
        Column("is_valid", "boolean", "Nothing speaks against the lap time; use these for best laps.", required=True),
        Column("flags", "string_list", "Reasons to look twice, for example late_trigger_pair.", required=True),
        Column("flag_at_finish", "category", "Flag shown at the line: GF green, FCY full-course yellow, FF finish."),
        Column("s1_s", "float", "Sector 1.", "seconds", minimum=0),
        Column("s2_s", "float", "Sector 2.", "seconds", minimum=0),
        Column("s3_s", "float", "Sector 3.", "seconds", minimum=0),
        Column("top_speed_kph", "float", "Speed at the official speed trap.", "km/h", minimum=0),
        Column("driver_number", "integer", "Which of the car's drivers drove, by official timing: 1, 2 …", minimum=0),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
)

CARS = Table(
    name="cars",
    folder="tables",
    description="One row per car of a session: who it is, and what that rests on.",
    key=("vehicle_id", "official_number", "official_entry"),
    sort_by=("vehicle_id", "official_number", "official_entry"),
    columns=(
        TRACK,
        SESSION,
        replace(
            VEHICLE_ID, required=False, description="The car's unit; null for a car known to official timing only."
        ),
        replace(CHASSIS, required=False),
        Column(
            "spellings",
            "string_list",
            "All spellings of vehicle_id in the lap files (case, separators, zeros); the commonest is published.",
        ),
        Column("suffix", "string", "Last part of vehicle_id: the number somebody typed into the unit."),
        replace(CAR_NUMBER, description="Resolved start number as text (03 is not 3); null while undecided."),
        Column("official_number", "string", "The same as official timing prints it; anonymising turns 03 into 3."),
        Column("official_entry", "integer", "Which of the cars printed alike: entry of official_laps.", minimum=1),
        Column("method", "category", "How the number was found.", required=True, allowed=CAR_NUMBER_METHODS),
        Column("confidence", "float", "How sure the number is; docs/laps.md.", required=True, minimum=0, maximum=1),
        Column("has_started", "boolean", "Raced: official laps, or without official timing any lap.", required=True),
        Column("crossings", "integer", "Crossings of the line found in the lap files.", minimum=0),
        Column("official_crossings", "integer", "Official crossings the lap files cover.", minimum=0),
        Column("agreeing_crossings", "integer", "Of these, crossings within 0.5 s of the car's own.", minimum=0),
        Column("median_residual_s", "float", "Car's crossing minus official one, clocks aligned.", "seconds"),
        Column("runner_up", "string", "Number of the next best official car."),
        Column("runner_up_agreeing", "integer", "Crossings that agree with the runner-up.", minimum=0),
        Column("candidates", "string_list", "Numbers an undecided car may have, best first.", required=True),
        Column("evidence", "string", "Why, in a sentence.", required=True),
    ),
)

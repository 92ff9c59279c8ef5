"""The published tables, each described once: columns, types, units, meaning, keys, order, bounds.

One :class:`~apex_pipeline.table_model.Table` object feeds the Arrow schema of the Parquet files, Dagster's column
schema, the blocking checks and ``docs/tables.md``. Not here: how a table is made (``sources``), where it is kept
(``storage``), or anything of Dagster's.
"""

from dataclasses import replace

from apex_pipeline.table_model import Column, Table

# -- columns that several tables share: the same quantity has the same name and meaning everywhere ---------------------

_TRACK = Column("track", "category", "Track slug, for example barber_motorsports_park.", required=True)
_SESSION = Column(
    "session", "category", "Session as the files say it (R1, practice), with the season if known.", required=True
)
_VEHICLE_ID = Column(
    "vehicle_id", "category", "GR86-{chassis}-{car number}, as written by the car's unit.", required=True
)
_CHASSIS = Column(
    "chassis", "category", "Chassis number out of vehicle_id: the key of a car within a session.", required=True
)
_CAR_NUMBER = Column("car_number", "string", "Official start number as text: 03 and 3 are different cars.")
_SOURCE_FILE = Column("source_file", "category", "Path of the raw file, relative to data/ in the lake.", required=True)
_SOURCE_ROW = Column("source_row", "integer", "Line of the raw file, the header being line 1.", minimum=2)

# How the number of a car was found, best first. ``official_only``: official timing knows the car, telemetry does not.
CAR_NUMBER_METHODS = ("official_crossings", "suffix", "undecided", "official_only")

LAPS = Table(
    name="laps",
    folder="tables",
    description="One row per car and lap actually driven.",
    key=("vehicle_id", "lap_number"),
    sort_by=("vehicle_id", "lap_number"),
    columns=(
        _TRACK,
        _SESSION,
        _VEHICLE_ID,
        _CHASSIS,
        _CAR_NUMBER,
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
        Column("lap_time_s", "float", "Best estimate of the lap time.", "seconds", minimum=0),
        Column(
            "lap_time_method",
            "category",
            "Where lap_time_s comes from.",
            allowed=("official", "trigger", "unit_value", "telemetry", "repaired"),
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
        _SOURCE_FILE,
        _SOURCE_ROW,
    ),
)

CARS = Table(
    name="cars",
    folder="tables",
    description="One row per car of a session: who it is, and what that rests on.",
    key=("vehicle_id", "official_number", "official_entry"),
    sort_by=("vehicle_id", "official_number", "official_entry"),
    columns=(
        _TRACK,
        _SESSION,
        replace(
            _VEHICLE_ID, required=False, description="The car's unit; null for a car known to official timing only."
        ),
        replace(_CHASSIS, required=False),
        Column("suffix", "string", "Last part of vehicle_id: the number somebody typed into the unit."),
        replace(_CAR_NUMBER, description="Resolved start number as text (03 is not 3); null while undecided."),
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

# What is scored, one row of ``quality`` each; ``overall`` is the lowest of the six and, for a session, its note.
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
        _TRACK,
        _SESSION,
        Column("scope", "category", "Whole session, or one car.", required=True, allowed=("session", "car")),
        replace(_VEHICLE_ID, required=False, description="The car; null for the whole session."),
        Column("measure", "category", "What is scored.", required=True, allowed=QUALITY_MEASURES),
        Column("score", "float", "100 is perfect; null where there is nothing to score.", minimum=0, maximum=100),
        Column("level", "category", "What the score calls for.", required=True, allowed=("ok", "warn", "error")),
        Column("sentence", "string", "The finding in plain words, with its numbers.", required=True),
    ),
)

TELEMETRY_CARS = Table(
    name="telemetry_cars",
    folder="tables",
    description="One row per car with telemetry: the correction of its clock, and what its readings are like.",
    key=("vehicle_id",),
    sort_by=("vehicle_id",),
    columns=(
        _TRACK,
        _SESSION,
        _VEHICLE_ID,
        _CHASSIS,
        Column("clock_offset_s", "float", "Add to car_time for UTC: median of receive minus car time.", "seconds"),
        Column("clock_spread_s", "float", "Width of the middle 90 % of that difference.", "seconds", minimum=0),
        Column(
            "clock_method",
            "category",
            "offset: car time plus clock_offset_s; received: the clock stood still, sample times are receive times.",
            required=True,
            allowed=("offset", "received"),
        ),
        Column("is_clock_frozen", "boolean", "The car's clock stood still.", required=True),
        Column("readings", "integer", "Readings in the raw files that could be used.", required=True, minimum=0),
        Column("exact_duplicates", "integer", "Of these, readings equal in everything to another.", minimum=0),
        Column("repeat_rows", "integer", "Rows beyond the first of one sample time.", minimum=0),
        Column(
            "backward_steps",
            "integer",
            "Steps along sample_time_utc at which the receive time falls by more than 60 s: the car's clock went back, "
            "for late deliveries are late by 52 s at most. Null where the clock stood still.",
            minimum=0,
        ),
        Column("gaps", "integer", "Holes of more than 2 s between samples.", minimum=0),
        Column("longest_gap_s", "float", "The longest of them; null without any.", "seconds", minimum=0),
        Column("first_sample_utc", "timestamp_utc", "First sample."),
        Column("last_sample_utc", "timestamp_utc", "Last sample."),
        Column("channels", "string_list", "Columns of telemetry with at least one reading.", required=True),
        Column(
            "missing_channels", "string_list", "Columns other cars of the session fill, not this one.", required=True
        ),
    ),
)

# Entry of a telemetry file's own metadata: its counts of readings as JSON, so that every published file can be
# reconciled with what went in.
TELEMETRY_COUNTS = "apex.telemetry_counts"

TELEMETRY = Table(
    name="telemetry",
    folder="tables",
    description="One row per car and sample time; one column per channel, null where the channel was not sent.",
    key=("vehicle_id", "sample_time_utc", "car_time", "received_time_utc", "repeat"),
    sort_by=("vehicle_id", "sample_time_utc", "car_time", "received_time_utc", "repeat"),
    allows_extra_columns=True,
    columns=(
        _TRACK,
        _SESSION,
        _VEHICLE_ID,
        _CHASSIS,
        Column("sample_time_utc", "timestamp_utc", "When the reading was taken, car clock repaired.", required=True),
        Column("car_time", "timestamp_utc", "The car's own clock as sent; days off, sometimes stopped."),
        Column(
            "received_time_utc",
            "timestamp_utc",
            "When the message was received: the earliest one of the row.",
            required=True,
        ),
        Column("repeat", "integer", "0, 1 … for separate readings with the same car time.", required=True, minimum=0),
        Column("lap_number", "integer", "lap_number of laps, joined by time."),
        Column("unit_lap", "integer", "Raw counter of the car's unit; null where it had lost count.", minimum=0),
        Column("speed_kph", "float", "Vehicle speed.", "km/h"),
        Column("engine_rpm", "float", "Engine speed.", "revolutions per minute"),
        Column("gear", "float", "Gear; -1 and 6 occur."),
        Column("throttle_blade_pct", "float", "Throttle blade opening.", "%"),
        Column("accelerator_pedal_pct", "float", "Accelerator pedal position.", "%"),
        Column("brake_front_bar", "float", "Front brake pressure.", "bar"),
        Column("brake_rear_bar", "float", "Rear brake pressure.", "bar"),
        Column("accel_long_g", "float", "Forward acceleration, + speeding up.", "g"),
        Column("accel_lat_g", "float", "Sideways acceleration, + left turn.", "g"),
        Column("steering_deg", "float", "Steering wheel angle, - counterclockwise.", "degrees"),
        Column("latitude_deg", "float", "Latitude.", "degrees"),
        Column("longitude_deg", "float", "Longitude.", "degrees"),
        Column("lap_distance_m", "float", "Distance from start/finish.", "metres"),
    ),
)

OFFICIAL_LAPS = Table(
    name="official_laps",
    folder="tables",
    description="One row per car and lap of official timing.",
    key=("car_number", "entry", "lap_number"),
    sort_by=("car_number", "entry", "lap_number"),
    columns=(
        _TRACK,
        _SESSION,
        replace(_CAR_NUMBER, required=True, description="Number as printed, text."),
        Column(
            "entry",
            "integer",
            "1, 2 … where several cars carry the same printed number (03 and 3 anonymised alike): file order.",
            required=True,
            minimum=1,
        ),
        Column("lap_number", "integer", "Official lap number.", required=True, minimum=1),
        Column("lap_time_s", "float", "Official lap time.", "seconds", required=True, minimum=0),
        Column("elapsed_s", "float", "Sum of the lap times so far.", "seconds", minimum=0),
        Column("crossing_local_time", "time_of_day", "Time of day of the crossing, track's zone, no date."),
        Column("s1_s", "float", "Sector 1.", "seconds", minimum=0),
        Column("s2_s", "float", "Sector 2.", "seconds", minimum=0),
        Column("s3_s", "float", "Sector 3.", "seconds", minimum=0),
        Column("average_kph", "float", "Average speed.", "km/h", minimum=0),
        Column("top_speed_kph", "float", "Speed at the speed trap.", "km/h", minimum=0),
        Column("pit_time_s", "float", "Time in the pits.", "seconds", minimum=0),
        Column("is_finish_in_pit", "boolean", "The line was crossed in the pit lane.", required=True),
        Column("flag_at_finish", "category", "Flag shown at the line: GF green, FCY full-course yellow, FF finish."),
        Column("class_name", "category", "Class."),
        Column("group_name", "category", "Group within the class."),
        _SOURCE_FILE,
        _SOURCE_ROW,
    ),
)

RESULTS = Table(
    name="results",
    folder="tables",
    description="One row per car, classification and version (official or provisional); prefer is_final.",
    key=("version", "car_number", "source_file", "source_row"),
    sort_by=("version", "position", "car_number"),
    columns=(
        _TRACK,
        _SESSION,
        Column(
            "version",
            "category",
            "Which classification the row is from.",
            required=True,
            allowed=("official", "provisional", "unstated"),
        ),
        Column(
            "is_final", "boolean", "The row is of the session's best version: official if there is one.", required=True
        ),
        Column("position", "integer", "Place; null for a car that did not start.", minimum=1),
        replace(_CAR_NUMBER, required=True, description="Number as printed, text."),
        Column("status", "category", "Classified, Not started …"),
        Column("laps_completed", "integer", "Laps completed.", minimum=0),
        Column("total_time_s", "float", "Race time, penalties included.", "seconds", minimum=0),
        Column("gap_to_first_s", "float", "Gap to the winner, same lap.", "seconds", minimum=0),
        Column("gap_to_first_laps", "integer", "Gap to the winner in laps.", minimum=0),
        Column("best_lap_number", "integer", "Lap of the fastest lap.", minimum=0),
        Column("best_lap_time_s", "float", "Fastest lap.", "seconds", minimum=0),
        Column("best_lap_kph", "float", "Average speed of the fastest lap.", "km/h", minimum=0),
        Column("class_name", "category", "Class."),
        Column("group_name", "category", "Group within the class."),
        Column("vehicle", "category", "Make and model."),
        _SOURCE_FILE,
        _SOURCE_ROW,
    ),
)

WEATHER = Table(
    name="weather",
    folder="tables",
    description="One row per weather reading, about one a minute.",
    key=("observed_utc", "source_file", "source_row"),
    sort_by=("observed_utc",),
    columns=(
        _TRACK,
        _SESSION,
        Column("observed_utc", "timestamp_utc", "Time of the reading.", required=True),
        Column("air_temp_c", "float", "Air temperature.", "°C"),
        Column("track_temp_c", "float", "Track temperature; null where the sensor sent only 0.", "°C"),
        Column("humidity_pct", "float", "Relative humidity.", "%", minimum=0, maximum=100),
        Column("pressure_hpa", "float", "Air pressure.", "hPa"),
        Column("wind_speed", "float", "Wind speed; the source does not state its unit.", minimum=0),
        Column("wind_direction_deg", "float", "Wind direction.", "degrees", minimum=0, maximum=360),
        Column("is_raining", "boolean", "Rain reported."),
        _SOURCE_FILE,
        _SOURCE_ROW,
    ),
)

REJECTS = Table(
    name="rejects",
    folder="tables",
    description="One row per row of a raw file that could not be used, or (out_of_range) per value left out of it.",
    key=("source_file", "source_row", "occurrence"),
    sort_by=("source_file", "source_row", "occurrence"),
    columns=(
        _TRACK,
        _SESSION,
        _SOURCE_FILE,
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

FILES = Table(
    name="files",
    folder="catalog",
    description="One row per file seen, with what it is and what became of it.",
    key=("path",),
    sort_by=("path",),
    columns=(
        Column("path", "string", "Path relative to the source folder and to data/ in the lake.", required=True),
        Column("bytes", "integer", "Size.", required=True, minimum=0),
        Column("sha256", "string", "SHA-256 of the content; null if somebody else uploaded it without one."),
        Column("store_tag", "string", "The store's own version mark of the object; null where it is not in the store."),
        Column("content_version", "string", "What tells two contents apart: sha256, else the store's own tag."),
        Column("kind", "category", "lap_start, telemetry, sections …", required=True),
        Column("source", "category", "Source that reads the file; null where none does."),
        Column("track", "category", "Track slug."),
        Column("track_name", "category", "Track as people write it."),
        Column("session", "category", "Session."),
        Column("season", "category", "Season, where a folder or the content says it."),
        Column("event_code", "category", "meta_event of car data, for example I_R06_2025-09-07."),
        Column("version", "category", "official or provisional, for results."),
        Column("rule", "category", "The rule that decided.", required=True),
        Column("evidence", "string_list", "What the decision rests on, a sentence each.", required=True),
        Column("confidence", "float", "How sure the decision is.", required=True, minimum=0, maximum=1),
        Column(
            "status",
            "category",
            "ready is used; quarantined contradicts itself; unresolved is not understood; ignored is no race data.",
            required=True,
            allowed=("ready", "quarantined", "unresolved", "ignored"),
        ),
        Column("reason", "string", "Why the file is not used."),
    ),
)

TRACKS = Table(
    name="tracks",
    folder="catalog",
    description="One row per track with at least one session.",
    key=("track",),
    sort_by=("track",),
    columns=(
        replace(_TRACK, kind="string"),
        Column("track_name", "string", "Track as people write it.", required=True),
        Column("sessions", "integer", "Number of sessions.", required=True, minimum=1),
        Column("files", "integer", "Number of files in use.", required=True, minimum=0),
        Column("bytes", "integer", "Their size.", required=True, minimum=0),
    ),
)

SESSIONS = Table(
    name="sessions",
    folder="catalog",
    description="One row per session, with the raw files it has and misses.",
    key=("track", "session"),
    sort_by=("track", "session"),
    columns=(
        replace(_TRACK, kind="string"),
        replace(_SESSION, kind="string"),
        Column("session_type", "category", "race, qualifying, practice or other.", required=True),
        Column("season", "category", "Season, where known."),
        Column("event_code", "category", "meta_event of the car data."),
        Column("kinds", "string_list", "Kinds of raw file in use.", required=True),
        Column("missing_kinds", "string_list", "Kinds of raw file a full session would also have.", required=True),
        Column("files", "integer", "Number of files in use.", required=True, minimum=0),
        Column("quarantined_files", "integer", "Number of files set aside.", required=True, minimum=0),
        Column("bytes", "integer", "Size of the files in use.", required=True, minimum=0),
        Column(
            "inputs_version",
            "string",
            "Fingerprint of the files in use: tables are made again when it changes.",
            required=True,
        ),
    ),
)

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

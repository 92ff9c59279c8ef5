"""The published tables, each described once: columns, types, units, meaning, keys, order, bounds.

One :class:`~apex_pipeline.table_model.Table` object feeds the Arrow schema of the Parquet files, Dagster's column
schema, the blocking checks and ``docs/tables.md``. Not here: how a table is made (``sources``), where it is kept
(``storage``), or anything of Dagster's.
"""

from dataclasses import replace

from apex_pipeline.table_model import Column, Table

# -- columns that several tables share: the same quantity has the same name and meaning everywhere ---------------------

_TRACK = Column("track", "label", "Track slug, for example barber_motorsports_park.", is_required=True)
_SESSION = Column(
    "session", "label", "Session as the files say it (R1, practice), with the season if known.", is_required=True
)
_VEHICLE_ID = Column(
    "vehicle_id", "label", "GR86-{chassis}-{car number}, as written by the car's unit.", is_required=True
)
_CHASSIS = Column(
    "chassis", "label", "Chassis number out of vehicle_id: the key of a car within a session.", is_required=True
)
_CAR_NUMBER = Column("car_number", "text", "Official start number as text: 03 and 3 are different cars.")
_SOURCE_FILE = Column("source_file", "label", "Path of the raw file, relative to data/ in the lake.", is_required=True)
_SOURCE_ROW = Column("source_row", "integer", "Line of the raw file, the header being line 1.", at_least=2)

# How the number of a car was found, best first. ``official_only``: official timing knows the car, telemetry does not.
CAR_NUMBER_METHODS = ("official_crossings", "suffix", "undecided", "official_only")

LAPS = Table(
    name="laps",
    folder="tables",
    meaning="One row per car and lap actually driven.",
    key=("vehicle_id", "lap_number"),
    order=("vehicle_id", "lap_number"),
    columns=(
        _TRACK,
        _SESSION,
        _VEHICLE_ID,
        _CHASSIS,
        _CAR_NUMBER,
        Column(
            "car_number_method",
            "label",
            "How the number was found: official crossing times, the suffix of vehicle_id, or undecided.",
            one_of=CAR_NUMBER_METHODS,
        ),
        Column("car_number_confidence", "number", "How sure the number is.", at_least=0, at_most=1),
        Column(
            "lap_number",
            "integer",
            "1, 2, 3 … in driven order since the green flag; 0, -1 … before it. Without official timing since the "
            "car's first crossing.",
            is_required=True,
        ),
        Column("official_lap_number", "integer", "Lap number of official timing.", at_least=1),
        Column(
            "unit_lap", "integer", "Raw counter of the car's unit; null where it had lost count (32768).", at_least=0
        ),
        Column("lap_start_utc", "time_utc", "Crossing of the line that begins the lap."),
        Column("lap_end_utc", "time_utc", "Crossing of the line that ends the lap."),
        Column("lap_time_s", "number", "Best estimate of the lap time.", "seconds", at_least=0),
        Column(
            "lap_time_method",
            "label",
            "Where lap_time_s comes from.",
            one_of=("official", "trigger", "unit_value", "telemetry", "repaired"),
        ),
        Column("trigger_lap_time_s", "number", "Difference of the two crossings.", "seconds", at_least=0),
        Column("unit_lap_time_s", "number", "Lap time the car's unit reported.", "seconds", at_least=0),
        Column(
            "telemetry_lap_time_s",
            "number",
            "Time between two passings of the line in telemetry, car's clock; looked for where official timing is "
            "missing.",
            "seconds",
            at_least=0,
        ),
        Column("official_lap_time_s", "number", "Lap time of official timing.", "seconds", at_least=0),
        Column("delta_to_official_s", "number", "lap_time before official timing minus official lap time.", "seconds"),
        Column("confidence", "number", "How sure lap_time_s is; the rule is in docs/laps.md.", at_least=0, at_most=1),
        Column("is_out_lap", "flag", "The lap began in the pits."),
        Column("is_in_lap", "flag", "The lap ended in the pits."),
        Column("is_valid", "flag", "Nothing speaks against the lap time; use these for best laps.", is_required=True),
        Column("flags", "text_list", "Reasons to look twice, for example late_trigger_pair.", is_required=True),
        Column("flag_at_finish", "label", "Flag shown at the line: GF green, FCY full-course yellow, FF finish."),
        Column("s1_s", "number", "Sector 1.", "seconds", at_least=0),
        Column("s2_s", "number", "Sector 2.", "seconds", at_least=0),
        Column("s3_s", "number", "Sector 3.", "seconds", at_least=0),
        Column("top_speed_kph", "number", "Speed at the official speed trap.", "km/h", at_least=0),
        _SOURCE_FILE,
        _SOURCE_ROW,
    ),
)

CARS = Table(
    name="cars",
    folder="tables",
    meaning="One row per car of a session: who it is, and what that rests on.",
    key=("vehicle_id", "official_number", "official_entry"),
    order=("vehicle_id", "official_number", "official_entry"),
    columns=(
        _TRACK,
        _SESSION,
        replace(
            _VEHICLE_ID, is_required=False, meaning="The car's unit; null for a car known to official timing only."
        ),
        replace(_CHASSIS, is_required=False),
        Column("suffix", "text", "Last part of vehicle_id: the number somebody typed into the unit."),
        replace(_CAR_NUMBER, meaning="Resolved start number as text (03 is not 3); null while undecided."),
        Column("official_number", "text", "The same as official timing prints it; anonymising turns 03 into 3."),
        Column("official_entry", "integer", "Which of the cars printed alike: entry of official_laps.", at_least=1),
        Column("method", "label", "How the number was found.", is_required=True, one_of=CAR_NUMBER_METHODS),
        Column(
            "confidence", "number", "How sure the number is; docs/laps.md.", is_required=True, at_least=0, at_most=1
        ),
        Column("has_started", "flag", "Raced: official laps, or without official timing any lap.", is_required=True),
        Column("crossings", "integer", "Crossings of the line found in the lap files.", at_least=0),
        Column("official_crossings", "integer", "Official crossings the lap files cover.", at_least=0),
        Column("agreeing_crossings", "integer", "Of these, crossings within 0.5 s of the car's own.", at_least=0),
        Column("median_residual_s", "number", "Car's crossing minus official one, clocks aligned.", "seconds"),
        Column("runner_up", "text", "Number of the next best official car."),
        Column("runner_up_agreeing", "integer", "Crossings that agree with the runner-up.", at_least=0),
        Column("candidates", "text_list", "Numbers an undecided car may have, best first.", is_required=True),
        Column("evidence", "text", "Why, in a sentence.", is_required=True),
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
    meaning="One row per score of a car or of the whole session: 0 to 100 with a sentence.",
    key=("scope", "vehicle_id", "measure"),
    order=("scope", "vehicle_id", "measure"),
    columns=(
        _TRACK,
        _SESSION,
        Column("scope", "label", "Whole session, or one car.", is_required=True, one_of=("session", "car")),
        replace(_VEHICLE_ID, is_required=False, meaning="The car; null for the whole session."),
        Column("measure", "label", "What is scored.", is_required=True, one_of=QUALITY_MEASURES),
        Column("score", "number", "100 is perfect; null where there is nothing to score.", at_least=0, at_most=100),
        Column("level", "label", "What the score calls for.", is_required=True, one_of=("ok", "warn", "error")),
        Column("sentence", "text", "The finding in plain words, with its numbers.", is_required=True),
    ),
)

TELEMETRY_CARS = Table(
    name="telemetry_cars",
    folder="tables",
    meaning="One row per car with telemetry: the correction of its clock, and what its readings are like.",
    key=("vehicle_id",),
    order=("vehicle_id",),
    columns=(
        _TRACK,
        _SESSION,
        _VEHICLE_ID,
        _CHASSIS,
        Column("clock_offset_s", "number", "Add to car_time for UTC: median of receive minus car time.", "seconds"),
        Column("clock_spread_s", "number", "Width of the middle 90 % of that difference.", "seconds", at_least=0),
        Column(
            "clock_method",
            "label",
            "offset: car time plus clock_offset_s; received: the clock stood still, sample times are receive times.",
            is_required=True,
            one_of=("offset", "received"),
        ),
        Column("is_clock_frozen", "flag", "The car's clock stood still.", is_required=True),
        Column("readings", "integer", "Readings in the raw files that could be used.", is_required=True, at_least=0),
        Column("exact_duplicates", "integer", "Of these, readings equal in everything to another.", at_least=0),
        Column("repeat_rows", "integer", "Rows beyond the first of one sample time.", at_least=0),
        Column(
            "backward_steps",
            "integer",
            "Steps along sample_time_utc at which the receive time falls by more than 60 s: the car's clock went back, "
            "for late deliveries are late by 52 s at most. Null where the clock stood still.",
            at_least=0,
        ),
        Column("gaps", "integer", "Holes of more than 2 s between samples.", at_least=0),
        Column("longest_gap_s", "number", "The longest of them; null without any.", "seconds", at_least=0),
        Column("first_sample_utc", "time_utc", "First sample."),
        Column("last_sample_utc", "time_utc", "Last sample."),
        Column("channels", "text_list", "Columns of telemetry with at least one reading.", is_required=True),
        Column(
            "missing_channels", "text_list", "Columns other cars of the session fill, not this one.", is_required=True
        ),
    ),
)

# Entry of a telemetry file's own metadata: its counts of readings as JSON, so that every published file can be
# reconciled with what went in.
TELEMETRY_COUNTS = "apex.telemetry_counts"

TELEMETRY = Table(
    name="telemetry",
    folder="tables",
    meaning="One row per car and sample time; one column per channel, null where the channel was not sent.",
    key=("vehicle_id", "sample_time_utc", "car_time", "received_time_utc", "repeat"),
    order=("vehicle_id", "sample_time_utc", "car_time", "received_time_utc", "repeat"),
    takes_more_columns=True,
    columns=(
        _TRACK,
        _SESSION,
        _VEHICLE_ID,
        _CHASSIS,
        Column("sample_time_utc", "time_utc", "When the reading was taken, car clock repaired.", is_required=True),
        Column("car_time", "time_utc", "The car's own clock as sent; days off, sometimes stopped."),
        Column(
            "received_time_utc",
            "time_utc",
            "When the message was received: the earliest one of the row.",
            is_required=True,
        ),
        Column(
            "repeat", "integer", "0, 1 … for separate readings with the same car time.", is_required=True, at_least=0
        ),
        Column("lap_number", "integer", "lap_number of laps, joined by time."),
        Column("unit_lap", "integer", "Raw counter of the car's unit; null where it had lost count.", at_least=0),
        Column("speed_kph", "number", "Vehicle speed.", "km/h"),
        Column("engine_rpm", "number", "Engine speed.", "revolutions per minute"),
        Column("gear", "number", "Gear; -1 and 6 occur."),
        Column("throttle_blade_pct", "number", "Throttle blade opening.", "%"),
        Column("accelerator_pedal_pct", "number", "Accelerator pedal position.", "%"),
        Column("brake_front_bar", "number", "Front brake pressure.", "bar"),
        Column("brake_rear_bar", "number", "Rear brake pressure.", "bar"),
        Column("accel_long_g", "number", "Forward acceleration, + speeding up.", "g"),
        Column("accel_lat_g", "number", "Sideways acceleration, + left turn.", "g"),
        Column("steering_deg", "number", "Steering wheel angle, - counterclockwise.", "degrees"),
        Column("latitude_deg", "number", "Latitude.", "degrees"),
        Column("longitude_deg", "number", "Longitude.", "degrees"),
        Column("lap_distance_m", "number", "Distance from start/finish.", "metres"),
    ),
)

OFFICIAL_LAPS = Table(
    name="official_laps",
    folder="tables",
    meaning="One row per car and lap of official timing.",
    key=("car_number", "entry", "lap_number"),
    order=("car_number", "entry", "lap_number"),
    columns=(
        _TRACK,
        _SESSION,
        replace(_CAR_NUMBER, is_required=True, meaning="Number as printed, text."),
        Column(
            "entry",
            "integer",
            "1, 2 … where several cars carry the same printed number (03 and 3 anonymised alike): file order.",
            is_required=True,
            at_least=1,
        ),
        Column("lap_number", "integer", "Official lap number.", is_required=True, at_least=1),
        Column("lap_time_s", "number", "Official lap time.", "seconds", is_required=True, at_least=0),
        Column("elapsed_s", "number", "Sum of the lap times so far.", "seconds", at_least=0),
        Column("crossing_local_time", "time_of_day", "Time of day of the crossing, track's zone, no date."),
        Column("s1_s", "number", "Sector 1.", "seconds", at_least=0),
        Column("s2_s", "number", "Sector 2.", "seconds", at_least=0),
        Column("s3_s", "number", "Sector 3.", "seconds", at_least=0),
        Column("average_kph", "number", "Average speed.", "km/h", at_least=0),
        Column("top_speed_kph", "number", "Speed at the speed trap.", "km/h", at_least=0),
        Column("pit_time_s", "number", "Time in the pits.", "seconds", at_least=0),
        Column("is_finish_in_pit", "flag", "The line was crossed in the pit lane.", is_required=True),
        Column("flag_at_finish", "label", "Flag shown at the line: GF green, FCY full-course yellow, FF finish."),
        Column("class_name", "label", "Class."),
        Column("group_name", "label", "Group within the class."),
        _SOURCE_FILE,
        _SOURCE_ROW,
    ),
)

RESULTS = Table(
    name="results",
    folder="tables",
    meaning="One row per car, classification and version (official or provisional); prefer is_final.",
    key=("version", "car_number", "source_file", "source_row"),
    order=("version", "position", "car_number"),
    columns=(
        _TRACK,
        _SESSION,
        Column(
            "version",
            "label",
            "Which classification the row is from.",
            is_required=True,
            one_of=("official", "provisional", "unstated"),
        ),
        Column(
            "is_final", "flag", "The row is of the session's best version: official if there is one.", is_required=True
        ),
        Column("position", "integer", "Place; null for a car that did not start.", at_least=1),
        replace(_CAR_NUMBER, is_required=True, meaning="Number as printed, text."),
        Column("status", "label", "Classified, Not started …"),
        Column("laps_completed", "integer", "Laps completed.", at_least=0),
        Column("total_time_s", "number", "Race time, penalties included.", "seconds", at_least=0),
        Column("gap_to_first_s", "number", "Gap to the winner, same lap.", "seconds", at_least=0),
        Column("gap_to_first_laps", "integer", "Gap to the winner in laps.", at_least=0),
        Column("best_lap_number", "integer", "Lap of the fastest lap.", at_least=0),
        Column("best_lap_time_s", "number", "Fastest lap.", "seconds", at_least=0),
        Column("best_lap_kph", "number", "Average speed of the fastest lap.", "km/h", at_least=0),
        Column("class_name", "label", "Class."),
        Column("group_name", "label", "Group within the class."),
        Column("vehicle", "label", "Make and model."),
        _SOURCE_FILE,
        _SOURCE_ROW,
    ),
)

WEATHER = Table(
    name="weather",
    folder="tables",
    meaning="One row per weather reading, about one a minute.",
    key=("observed_utc", "source_file", "source_row"),
    order=("observed_utc",),
    columns=(
        _TRACK,
        _SESSION,
        Column("observed_utc", "time_utc", "Time of the reading.", is_required=True),
        Column("air_temp_c", "number", "Air temperature.", "°C"),
        Column("track_temp_c", "number", "Track temperature; null where the sensor sent only 0.", "°C"),
        Column("humidity_pct", "number", "Relative humidity.", "%", at_least=0, at_most=100),
        Column("pressure_hpa", "number", "Air pressure.", "hPa"),
        Column("wind_speed", "number", "Wind speed; the source does not state its unit.", at_least=0),
        Column("wind_direction_deg", "number", "Wind direction.", "degrees", at_least=0, at_most=360),
        Column("is_raining", "flag", "Rain reported."),
        _SOURCE_FILE,
        _SOURCE_ROW,
    ),
)

REJECTS = Table(
    name="rejects",
    folder="tables",
    meaning="One row per row of a raw file that could not be used, or (out_of_range) per value left out of it.",
    key=("source_file", "source_row", "occurrence"),
    order=("source_file", "source_row", "occurrence"),
    columns=(
        _TRACK,
        _SESSION,
        _SOURCE_FILE,
        Column("source_row", "integer", "Line of the raw file, the header being line 1.", at_least=1),
        Column("occurrence", "integer", "0, 1 … where one line gave several rejects.", is_required=True, at_least=0),
        Column("kind", "label", "Kind of the raw file.", is_required=True),
        Column("reason", "label", "What is wrong, one of a few fixed words.", is_required=True),
        Column("detail", "text", "The column and value, shortened to 200 characters.", is_required=True),
    ),
)

LAP_REJECTS = replace(REJECTS, name="lap_rejects")
TELEMETRY_REJECTS = replace(REJECTS, name="telemetry_rejects")
OFFICIAL_REJECTS = replace(REJECTS, name="official_rejects")

FILES = Table(
    name="files",
    folder="catalog",
    meaning="One row per file seen, with what it is and what became of it.",
    key=("path",),
    order=("path",),
    columns=(
        Column("path", "text", "Path relative to the source folder and to data/ in the lake.", is_required=True),
        Column("bytes", "integer", "Size.", is_required=True, at_least=0),
        Column("sha256", "text", "SHA-256 of the content; null if somebody else uploaded it without one."),
        Column("store_tag", "text", "The store's own version mark of the object; null where it is not in the store."),
        Column("content_version", "text", "What tells two contents apart: sha256, else the store's own tag."),
        Column("kind", "label", "lap_start, telemetry, sections …", is_required=True),
        Column("source", "label", "Source that reads the file; null where none does."),
        Column("track", "label", "Track slug."),
        Column("track_name", "label", "Track as people write it."),
        Column("session", "label", "Session."),
        Column("season", "label", "Season, where a folder or the content says it."),
        Column("event_code", "label", "meta_event of car data, for example I_R06_2025-09-07."),
        Column("version", "label", "official or provisional, for results."),
        Column("rule", "label", "The rule that decided.", is_required=True),
        Column("evidence", "text_list", "What the decision rests on, a sentence each.", is_required=True),
        Column("confidence", "number", "How sure the decision is.", is_required=True, at_least=0, at_most=1),
        Column(
            "status",
            "label",
            "ready is used; quarantined contradicts itself; unresolved is not understood; ignored is no race data.",
            is_required=True,
            one_of=("ready", "quarantined", "unresolved", "ignored"),
        ),
        Column("reason", "text", "Why the file is not used."),
    ),
)

TRACKS = Table(
    name="tracks",
    folder="catalog",
    meaning="One row per track with at least one session.",
    key=("track",),
    order=("track",),
    columns=(
        replace(_TRACK, kind="text"),
        Column("track_name", "text", "Track as people write it.", is_required=True),
        Column("sessions", "integer", "Number of sessions.", is_required=True, at_least=1),
        Column("files", "integer", "Number of files in use.", is_required=True, at_least=0),
        Column("bytes", "integer", "Their size.", is_required=True, at_least=0),
    ),
)

SESSIONS = Table(
    name="sessions",
    folder="catalog",
    meaning="One row per session, with the raw files it has and misses.",
    key=("track", "session"),
    order=("track", "session"),
    columns=(
        replace(_TRACK, kind="text"),
        replace(_SESSION, kind="text"),
        Column("session_type", "label", "race, qualifying, practice or other.", is_required=True),
        Column("season", "label", "Season, where known."),
        Column("event_code", "label", "meta_event of the car data."),
        Column("kinds", "text_list", "Kinds of raw file in use.", is_required=True),
        Column("missing_kinds", "text_list", "Kinds of raw file a full session would also have.", is_required=True),
        Column("files", "integer", "Number of files in use.", is_required=True, at_least=0),
        Column("quarantined_files", "integer", "Number of files set aside.", is_required=True, at_least=0),
        Column("bytes", "integer", "Size of the files in use.", is_required=True, at_least=0),
        Column(
            "inputs_version",
            "text",
            "Fingerprint of the files in use: tables are made again when it changes.",
            is_required=True,
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

"""Defines the tables of official timing: laps, results, weather."""

from dataclasses import replace

from apex_pipeline.tables.columns import CAR_NUMBER, SESSION, SOURCE_FILE, SOURCE_ROW, TRACK
from apex_pipeline.tables.model import Column, Table

# The fastest racing cars reach 410 km/h. Air where people race is between -60 and 57 °C, at 1,085 hPa at sea level down
# to 540 hPa at 5,000 m; asphalt in the sun reaches 80 °C. What is beyond is a sensor's word for "no value".
MAX_KPH = 500
# Files state times to the millisecond, so a lap time of less is zero: a word for "no value".
_LEAST_LAP_S = 0.001

OFFICIAL_LAPS = Table(
    name="official_laps",
    folder="tables",
    description="One row per car and lap of official timing.",
    key=("car_number", "entry", "lap_number"),
    sort_by=("car_number", "entry", "lap_number"),
    columns=(
        TRACK,
        SESSION,
        replace(CAR_NUMBER, required=True, description="Number as printed, text."),
        Column(
            "entry",
            "integer",
            "1, 2 … where several cars carry the same printed number (03 and 3 anonymised alike): file order.",
            required=True,
            minimum=1,
        ),
        Column("lap_number", "integer", "Official lap number.", required=True, minimum=1),
        Column("lap_time_s", "float", "Official lap time.", "seconds", required=True, minimum=_LEAST_LAP_S),
        Column(
            "lap_time_resolution_s",
            "float",
            "What lap_time_s is rounded to where the file has lost precision; null if it is whole.",
            "seconds",
            minimum=0,
        ),
        Column(
            "classified_lap_time_s",
            "float",
            "FL_TIME of the classification where this is the car's fastest lap there.",
            "seconds",
            minimum=0,
        ),
        Column(
            "driver_number", "integer", "Which of the car's drivers drove: 1, 2 …; names are not published.", minimum=0
        ),
        Column("elapsed_s", "float", "Sum of the lap times so far.", "seconds", minimum=0),
        Column("crossing_local_time", "time_of_day", "Time of day of the crossing, track's zone, no date."),
        Column("s1_s", "float", "Sector 1.", "seconds", minimum=0),
        Column("s2_s", "float", "Sector 2.", "seconds", minimum=0),
        Column("s3_s", "float", "Sector 3.", "seconds", minimum=0),
        Column("average_kph", "float", "Average speed.", "km/h", minimum=0, maximum=MAX_KPH),
        Column("top_speed_kph", "float", "Speed at the speed trap.", "km/h", minimum=0, maximum=MAX_KPH),
        Column("pit_time_s", "float", "Time in the pits.", "seconds", minimum=0),
        Column("is_finish_in_pit", "boolean", "The line was crossed in the pit lane.", required=True),
        Column("flag_at_finish", "category", "Flag shown at the line: GF green, FCY full-course yellow, FF finish."),
        Column("class_name", "category", "Class."),
        Column("group_name", "category", "Group within the class."),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
)

OFFICIAL_POINTS = Table(
    name="official_points",
    folder="tables",
    description="One row per car, official lap and intermediate point of official timing that has a time.",
    key=("car_number", "entry", "lap_number", "point"),
    sort_by=("car_number", "entry", "lap_number", "point_order"),
    columns=(
        TRACK,
        SESSION,
        replace(CAR_NUMBER, required=True, description="Number as printed, text."),
        Column("entry", "integer", "As in official_laps.", required=True, minimum=1),
        Column("lap_number", "integer", "Official lap number.", required=True, minimum=1),
        Column("point", "category", "Name as printed: IM1a, IM1, IM2a … FL is the finish line.", required=True),
        Column("point_order", "integer", "1, 2 … in the order the points are driven.", required=True, minimum=1),
        Column("time_s", "float", "Time since the point before it.", "seconds", minimum=0),
        Column("elapsed_s", "float", "Time since the start of the lap.", "seconds", minimum=0),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
)

RESULTS = Table(
    name="results",
    folder="tables",
    description="One row per car, classification and version (official or provisional); prefer is_final.",
    key=("version", "car_number", "source_file", "source_row"),
    sort_by=("version", "position", "car_number"),
    columns=(
        TRACK,
        SESSION,
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
        replace(CAR_NUMBER, required=True, description="Number as printed, text."),
        Column("status", "category", "Classified, Not started …"),
        Column("laps_completed", "integer", "Laps completed.", minimum=0),
        Column("total_time_s", "float", "Race time, penalties included.", "seconds", minimum=0),
        Column("gap_to_first_s", "float", "Gap to the winner, same lap.", "seconds", minimum=0),
        Column("gap_to_first_laps", "integer", "Gap to the winner in laps.", minimum=0),
        Column("best_lap_number", "integer", "Lap of the fastest lap.", minimum=0),
        Column("best_lap_time_s", "float", "Fastest lap.", "seconds", minimum=0),
        Column("best_lap_kph", "float", "Average speed of the fastest lap.", "km/h", minimum=0, maximum=MAX_KPH),
        Column("class_name", "category", "Class."),
        Column("group_name", "category", "Group within the class."),
        Column("vehicle", "category", "Make and model."),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
)

WEATHER = Table(
    name="weather",
    folder="tables",
    description="One row per weather reading, about one a minute.",
    key=("observed_utc", "source_file", "source_row"),
    sort_by=("observed_utc",),
    columns=(
        TRACK,
        SESSION,
        Column("observed_utc", "timestamp_utc", "Time of the reading.", required=True),
        Column("air_temp_c", "float", "Air temperature.", "°C", minimum=-60, maximum=60),
        Column(
            "track_temp_c",
            "float",
            "Track temperature; null where the sensor sent only 0.",
            "°C",
            minimum=-60,
            maximum=90,
        ),
        Column("humidity_pct", "float", "Relative humidity.", "%", minimum=0, maximum=100),
        Column("pressure_hpa", "float", "Air pressure.", "hPa", minimum=500, maximum=1_100),
        Column("wind_speed", "float", "Wind speed; the source does not state its unit.", minimum=0, maximum=250),
        Column("wind_direction_deg", "float", "Wind direction.", "degrees", minimum=0, maximum=360),
        Column("is_raining", "boolean", "Rain reported."),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
)

"""Defines the tables of telemetry, of each car's clock, and of the holes in telemetry."""

from apex_pipeline.tables.columns import CHASSIS, SESSION, TRACK, VEHICLE_ID
from apex_pipeline.tables.model import Column, Table

TELEMETRY_CARS = Table(
    name="telemetry_cars",
    folder="tables",
    description="One row per car with telemetry and piece of its clock: its correction, and what the car sent.",
    key=("vehicle_id", "clock_piece"),
    sort_by=("vehicle_id", "clock_piece"),
    columns=(
        TRACK,
        SESSION,
        VEHICLE_ID,
        CHASSIS,
        Column("spellings", "string_list", "All spellings of vehicle_id in the telemetry files."),
        Column(
            "clock_piece",
            "integer",
            "1, 2 … for the pieces of the car's clock: it stops while the car is off, and continues further behind. "
            "The columns with clock_ and piece_ are about this piece, the others about the car: equal on all its rows.",
            required=True,
            minimum=1,
        ),
        Column("piece_start_utc", "timestamp_utc", "First sample of the piece that was received without delay."),
        Column("piece_end_utc", "timestamp_utc", "Last sample of the piece that was received without delay."),
        Column("clock_offset_s", "float", "Add to car_time for UTC; found by clock_method.", "seconds"),
        Column("clock_spread_s", "float", "Width of the middle 90 % of receive minus car time.", "seconds", minimum=0),
        Column(
            "clock_method",
            "category",
            "Which offset is used. lap_change: crossing minus car time of the unit's lap changes; lower_edge: of "
            "receive minus car time; received: the clock stood still, sample times are receive times.",
            required=True,
            allowed=("lap_change", "lower_edge", "received"),
        ),
        Column(
            "clock_lap_offset_s",
            "float",
            "Crossing time minus car time when the unit counts a new lap, median; null without such a lap.",
            "seconds",
        ),
        Column(
            "clock_edge_offset_s",
            "float",
            "Lower edge of receive minus car time, half a percent of the readings below it; the shortest delay of a "
            "message is in it. Null where the clock stood still.",
            "seconds",
        ),
        Column("clock_offsets_differ_s", "float", "clock_edge_offset_s minus clock_lap_offset_s.", "seconds"),
        Column("clock_lap_changes", "integer", "Lap changes that clock_lap_offset_s rests on.", minimum=0),
        Column("clock_lap_residual_s", "float", "Median distance of these from their median.", "seconds", minimum=0),
        Column(
            "clock_residual_s",
            "float",
            "Largest difference of receive and sample time in the piece that late delivery does not explain.",
            "seconds",
            minimum=0,
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
        Column(
            "unexplained_rows",
            "integer",
            "Rows of telemetry whose time is not explained within 2 s by clock and receive time; see time_flag.",
            minimum=0,
        ),
        Column("gaps", "integer", "Holes of more than 2 s between samples.", minimum=0),
        Column("short_gaps", "integer", "Holes of more than 0.5 s and at most 2 s, not counted in gaps.", minimum=0),
        Column("longest_gap_s", "float", "The longest hole of more than 2 s; null without any.", "seconds", minimum=0),
        Column("first_sample_utc", "timestamp_utc", "First sample."),
        Column("last_sample_utc", "timestamp_utc", "Last sample."),
        Column("channels", "string_list", "Columns of telemetry with at least one reading.", required=True),
        Column(
            "missing_channels", "string_list", "Columns other cars of the session fill, not this one.", required=True
        ),
    ),
)

TELEMETRY_HOLES = Table(
    name="telemetry_holes",
    folder="tables",
    description="One row per hole of more than 0.5 s in a car's telemetry: the first 10,000 of each car, of more than "
    "30 cars an equal share of 300,000.",
    key=("vehicle_id", "hole_start_utc"),
    sort_by=("vehicle_id", "hole_start_utc"),
    columns=(
        TRACK,
        SESSION,
        VEHICLE_ID,
        Column("lap_number", "integer", "lap_number of the last sample before the hole; null outside laps."),
        Column("hole_start_utc", "timestamp_utc", "Last sample before the hole.", required=True),
        Column("hole_end_utc", "timestamp_utc", "First sample after the hole.", required=True),
        Column("hole_s", "float", "Time between the two.", "seconds", required=True, minimum=0),
        Column(
            "bunched_samples",
            "integer",
            "Samples in the second after the hole that follow the one before by less than a quarter of the usual step: "
            "the unit stamped together what it had kept, so their times are unsure. Null where the clock stood still.",
            minimum=0,
        ),
    ),
)

# Bounds of the channels: what no car and no sensor of one reaches, so that real extremes stay. Crashes reach 100 g,
# steering wheels turn less than four times, the longest track (25 km) is a quarter of the longest distance.
TELEMETRY = Table(
    name="telemetry",
    folder="tables",
    description="One row per car and sample time; one column per channel, null where the channel was not sent.",
    key=("vehicle_id", "sample_time_utc", "car_time", "received_time_utc", "repeat"),
    sort_by=("vehicle_id", "sample_time_utc", "car_time", "received_time_utc", "repeat"),
    allows_extra_columns=True,
    columns=(
        TRACK,
        SESSION,
        VEHICLE_ID,
        CHASSIS,
        Column("sample_time_utc", "timestamp_utc", "When the reading was taken, car clock repaired.", required=True),
        Column("car_time", "timestamp_utc", "The car's own clock as sent; days off, sometimes stopped."),
        Column(
            "received_time_utc",
            "timestamp_utc",
            "When the message was received: the earliest one of the row.",
            required=True,
        ),
        Column("repeat", "integer", "0, 1 … for separate readings with the same car time.", required=True, minimum=0),
        Column(
            "time_flag",
            "category",
            "Null if the time is sure. unsure: the clock may have stopped just before, or the message was received too "
            "late or too early for it; unplaced: no piece of the clock shows it, sample_time_utc is the receive time.",
            allowed=("unsure", "unplaced"),
        ),
        Column("lap_number", "integer", "lap_number of laps, joined by time."),
        Column("unit_lap", "integer", "Raw counter of the car's unit; null where it had lost count.", minimum=0),
        Column("speed_kph", "float", "Vehicle speed.", "km/h", minimum=-50, maximum=500),
        Column("engine_rpm", "float", "Engine speed.", "revolutions per minute", minimum=0, maximum=25_000),
        Column("gear", "float", "Gear; -1 and 6 occur.", minimum=-2, maximum=12),
        Column("throttle_blade_pct", "float", "Throttle blade opening.", "%", minimum=-20, maximum=120),
        Column("accelerator_pedal_pct", "float", "Accelerator pedal position.", "%", minimum=-20, maximum=120),
        Column("brake_front_bar", "float", "Front brake pressure.", "bar", minimum=-20, maximum=400),
        Column("brake_rear_bar", "float", "Rear brake pressure.", "bar", minimum=-20, maximum=400),
        Column("accel_long_g", "float", "Forward acceleration, + speeding up.", "g", minimum=-100, maximum=100),
        Column("accel_lat_g", "float", "Sideways acceleration, + left turn.", "g", minimum=-100, maximum=100),
        Column(
            "steering_deg",
            "float",
            "Steering wheel angle, - counterclockwise.",
            "degrees",
            minimum=-1_440,
            maximum=1_440,
        ),
        Column("latitude_deg", "float", "Latitude.", "degrees", minimum=-90, maximum=90),
        Column("longitude_deg", "float", "Longitude.", "degrees", minimum=-180, maximum=180),
        Column("lap_distance_m", "float", "Distance from start/finish.", "metres", minimum=-1_000, maximum=100_000),
    ),
)

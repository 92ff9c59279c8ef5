"""Defines the input and output of every engine, independently of the package under test.

Output of the other engines: one row per ``vehicle_id`` and ``car_time``, sorted by both; ``received_time_utc`` and
``unit_lap`` are the largest of the row (lost laps are ignored), the column of a channel is the largest of its readings,
null without a reading. Our output has more rows, one for each of several readings at one time, and more columns.
"""

# Raw channel to column: 13, of which a track sends 8, 9 or 12.
CHANNELS = {
    "speed": "speed_kph",
    "nmot": "engine_rpm",
    "gear": "gear",
    "ath": "throttle_blade_pct",
    "aps": "accelerator_pedal_pct",
    "pbrake_f": "brake_front_bar",
    "pbrake_r": "brake_rear_bar",
    "accx_can": "accel_long_g",
    "accy_can": "accel_lat_g",
    "Steering_Angle": "steering_deg",
    "VBOX_Lat_Min": "latitude_deg",
    "VBOX_Long_Minutes": "longitude_deg",
    "Laptrigger_lapdist_dls": "lap_distance_m",
}

# The columns of a published telemetry file, in order. DuckDB assigns columns by position, so the order is checked.
FILE_COLUMNS = (
    "expire_at",
    "lap",
    "meta_event",
    "meta_session",
    "meta_source",
    "meta_time",
    "original_vehicle_id",
    "outing",
    "telemetry_name",
    "telemetry_value",
    "timestamp",
    "vehicle_id",
    "vehicle_number",
)

# Sent by a device that has lost count of laps.
LOST_LAP = 32768

# Threads of every engine that lets them be set; the smallest machine has two cores.
THREADS = 2

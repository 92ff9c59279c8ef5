"""What every engine reads and writes, told once and without the package under test.

Output of a rival: one row per ``vehicle_id`` and ``car_time``, sorted by both; ``received_time_utc`` and ``unit_lap``
are the largest of the row (a lost lap is none), a channel's column the largest of its readings, null where none came.
Ours has more rows, one for each of several readings at one time, and more columns.
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

# The columns of a published telemetry file, in its order. DuckDB binds by position, so the order is checked.
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

# What the unit sends when it has lost count of the laps.
LOST_LAP = 32768

# Every engine that can be told gets as many; two are what the smallest machine has.
THREADS = 2

"""Says which columns of the raw files and of other tables each column of a GR Cup table is made from.

``laps: timestamp`` is a column of a kind of raw file, ``official_laps.lap_time_s`` one of a table. The asset pages show
it, and lineage tools read it.
"""

from collections.abc import Iterable, Mapping

import dagster as dg

from apex_pipeline.sources.gr_cup.telemetry.channels import PUBLISHED_NAMES
from apex_pipeline.tables.model import Table

_RAW_FILES = dg.AssetKey(["raw", "files"])

# Columns of every table: the folder and the name of a raw file say the session, its path and lines are kept.
_SHARED = {"track": "files: path", "session": "files: path", "source_file": "files: path", "source_row": "files: line"}
_REJECTS: dict[str, str] = dict.fromkeys(["occurrence", "kind", "reason", "detail"], "files: line")
_CAR = {"vehicle_id": "laps: vehicle_id", "chassis": "laps: vehicle_id"}
_TELEMETRY_CAR = {"vehicle_id": "telemetry: vehicle_id", "chassis": "telemetry: vehicle_id"}
_CROSSING = "laps: timestamp, laps: meta_time"
_OFFICIAL_CROSSING = "official_laps.elapsed_s, official_laps.crossing_local_time"
_CLOCK = "telemetry: timestamp, telemetry: meta_time"
_MATCH = f"laps: vehicle_id, {_CROSSING}, official_laps.car_number, {_OFFICIAL_CROSSING}"
_BEST_TIME = f"{_CROSSING}, laps: value, official_laps.lap_time_s"

_LAPS = {
    **_CAR,
    **dict.fromkeys(("car_number", "car_number_method", "car_number_confidence"), _MATCH),
    "lap_number": f"laps: lap, {_CROSSING}, official_laps.lap_number",
    "official_lap_number": "official_laps.lap_number",
    "unit_lap": "laps: lap",
    **dict.fromkeys(("lap_start_utc", "lap_end_utc"), f"{_CROSSING}, {_OFFICIAL_CROSSING}"),
    **dict.fromkeys(
        ("line_start_utc", "line_end_utc", "line_method", "line_residual_s"), f"{_CROSSING}, {_OFFICIAL_CROSSING}"
    ),
    "from_green": "official_laps.lap_number",
    **dict.fromkeys(("lap_time_s", "lap_time_method", "delta_to_official_s", "confidence"), _BEST_TIME),
    "trigger_lap_time_s": _CROSSING,
    "unit_lap_time_s": "laps: value",
    "telemetry_lap_time_s": "telemetry: timestamp, telemetry: telemetry_value",
    "official_lap_time_s": "official_laps.lap_time_s, official_laps.classified_lap_time_s",
    "is_out_lap": "official_laps.pit_time_s, official_laps.is_finish_in_pit",
    "is_in_lap": "official_laps.is_finish_in_pit",
    **dict.fromkeys(("is_valid", "flags"), f"{_BEST_TIME}, official_laps.flag_at_finish"),
    **{name: f"official_laps.{name}" for name in ("flag_at_finish", "s1_s", "s2_s", "s3_s", "top_speed_kph")},
    "driver_number": "official_laps.driver_number",
}

_CARS = {
    **_CAR,
    **dict.fromkeys(("spellings", "suffix"), "laps: vehicle_id"),
    **dict.fromkeys(("official_number", "official_entry"), "official_laps.car_number, official_laps.entry"),
    "has_started": f"{_CROSSING}, official_laps.lap_number",
    "crossings": _CROSSING,
    "official_crossings": _OFFICIAL_CROSSING,
    **dict.fromkeys(
        (
            *("car_number", "method", "confidence", "agreeing_crossings", "median_residual_s"),
            *("runner_up", "runner_up_agreeing", "candidates", "evidence"),
        ),
        _MATCH,
    ),
}

_TELEMETRY = {
    **_TELEMETRY_CAR,
    "sample_time_utc": f"{_CLOCK}, telemetry: lap, laps.lap_end_utc",
    "car_time": "telemetry: timestamp",
    "received_time_utc": "telemetry: meta_time",
    "repeat": "telemetry: timestamp, telemetry: meta_time",
    "time_flag": _CLOCK,
    "lap_number": f"{_CLOCK}, laps.lap_number, laps.line_start_utc, laps.line_end_utc",
    "unit_lap": "telemetry: lap",
    **dict.fromkeys(PUBLISHED_NAMES.values(), "telemetry: telemetry_name, telemetry: telemetry_value"),
}

_TELEMETRY_CARS = {
    **_TELEMETRY_CAR,
    "spellings": "telemetry: vehicle_id",
    **dict.fromkeys(
        ("clock_lap_offset_s", "clock_lap_changes", "clock_lap_residual_s", "clock_offset_s", "clock_method"),
        f"{_CLOCK}, telemetry: lap, laps.lap_end_utc",
    ),
    "clock_offsets_differ_s": f"{_CLOCK}, telemetry: lap, laps.lap_end_utc",
    **dict.fromkeys(
        (
            *("clock_piece", "piece_start_utc", "piece_end_utc", "clock_spread_s", "clock_edge_offset_s"),
            *("clock_residual_s", "is_clock_frozen", "repeat_rows", "backward_steps", "unexplained_rows", "gaps"),
            *("short_gaps", "longest_gap_s", "first_sample_utc", "last_sample_utc"),
        ),
        _CLOCK,
    ),
    **dict.fromkeys(("readings", "exact_duplicates"), "telemetry: telemetry_name, telemetry: telemetry_value"),
    **dict.fromkeys(("channels", "missing_channels"), "telemetry: telemetry_name"),
}

_TELEMETRY_HOLES = {
    "vehicle_id": _TELEMETRY_CAR["vehicle_id"],
    "lap_number": f"{_CLOCK}, laps.line_start_utc, laps.line_end_utc",
    **dict.fromkeys(("hole_start_utc", "hole_end_utc", "hole_s", "bunched_samples"), _CLOCK),
}

_OFFICIAL_LAPS = {
    **dict.fromkeys(("car_number", "entry"), "sections: NUMBER"),
    "lap_number": "sections: LAP_NUMBER",
    **dict.fromkeys(("lap_time_s", "lap_time_resolution_s"), "sections: LAP_TIME"),
    "classified_lap_time_s": "results: FL_TIME",
    "driver_number": "sections: DRIVER_NUMBER",
    "elapsed_s": "sections: ELAPSED",
    "crossing_local_time": "sections: HOUR",
    **{f"s{sector}_s": f"sections: S{sector}, sections: S{sector}_SECONDS" for sector in (1, 2, 3)},
    "average_kph": "sections: KPH",
    "top_speed_kph": "sections: TOP_SPEED",
    "pit_time_s": "sections: PIT_TIME",
    "is_finish_in_pit": "sections: CROSSING_FINISH_LINE_IN_PIT",
    "flag_at_finish": "sections: FLAG_AT_FL",
    "class_name": "sections: CLASS",
    "group_name": "sections: GROUP",
}

_OFFICIAL_POINTS = {
    **{name: _OFFICIAL_LAPS[name] for name in ("car_number", "entry", "lap_number")},
    **dict.fromkeys(("point", "point_order"), "sections: IM1a_time"),
    "time_s": "sections: IM1a_time",
    "elapsed_s": "sections: IM1a_elapsed",
}

_RESULTS = {
    **dict.fromkeys(("version", "is_final"), "files: path"),
    "position": "results: POSITION",
    "car_number": "results: NUMBER",
    "status": "results: STATUS",
    "laps_completed": "results: LAPS",
    "total_time_s": "results: TOTAL_TIME",
    **dict.fromkeys(("gap_to_first_s", "gap_to_first_laps"), "results: GAP_FIRST"),
    "best_lap_number": "results: FL_LAPNUM",
    "best_lap_time_s": "results: FL_TIME",
    "best_lap_kph": "results: FL_KPH",
    "class_name": "results: CLASS",
    "group_name": "results: GROUP",
    "vehicle": "results: VEHICLE",
}

_WEATHER = {
    "observed_utc": "weather: TIME_UTC_SECONDS, weather: TIME_UTC_STR",
    "air_temp_c": "weather: AIR_TEMP",
    "track_temp_c": "weather: TRACK_TEMP",
    "humidity_pct": "weather: HUMIDITY",
    "pressure_hpa": "weather: PRESSURE",
    "wind_speed": "weather: WIND_SPEED",
    "wind_direction_deg": "weather: WIND_DIRECTION",
    "is_raining": "weather: RAIN",
}

# The six scores are rows, not columns: each comes from what the cars and the laps say.
_SCORED = (
    "telemetry_cars.readings, telemetry_cars.exact_duplicates, telemetry_cars.backward_steps, telemetry_cars.gaps, "
    "telemetry_cars.missing_channels, laps.flags, laps.delta_to_official_s, official_laps.lap_number"
)
_QUALITY = {
    "vehicle_id": "laps.vehicle_id",
    **dict.fromkeys(("scope", "measure", "score", "level", "sentence"), _SCORED),
}

_ORIGINS: Mapping[str, Mapping[str, str]] = {
    "laps": _LAPS,
    "cars": _CARS,
    "telemetry": _TELEMETRY,
    "telemetry_cars": _TELEMETRY_CARS,
    "telemetry_holes": _TELEMETRY_HOLES,
    "official_laps": _OFFICIAL_LAPS,
    "official_points": _OFFICIAL_POINTS,
    "results": _RESULTS,
    "weather": _WEATHER,
    "quality": _QUALITY,
    "lap_rejects": _REJECTS,
    "telemetry_rejects": _REJECTS,
    "official_rejects": _REJECTS,
}


def column_lineage(table: Table) -> dg.TableColumnLineage:
    """Return for each column of a GR Cup table what it is made from."""
    origins = {**_SHARED, **_ORIGINS[table.name]}
    return dg.TableColumnLineage(
        {column.name: list(_dependencies(origins[column.name].split(", "))) for column in table.columns}
    )


def _dependencies(origins: Iterable[str]) -> Iterable[dg.TableColumnDep]:
    for origin in dict.fromkeys(origins):
        if ": " in origin:
            yield dg.TableColumnDep(asset_key=_RAW_FILES, column_name=origin)
        else:
            table, _, column = origin.partition(".")
            yield dg.TableColumnDep(asset_key=dg.AssetKey(["tables", table]), column_name=column)

"""Builds small tables of one session for the tests in this folder: a car without problems, and variations of it."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.gr_cup.quality import score_session
from apex_pipeline.sources.rejects import rejects_table
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS, QUALITY, RESULTS, TELEMETRY_CARS

Row = dict[str, Any]

UNIT = "GR86-022-13"
GREEN = datetime(2025, 9, 6, 18, 42, tzinfo=UTC)  # 13:42 local time, five hours behind UTC
_LAP_S = 98.0


def lap(number: int, unit: str = UNIT, **changes: Any) -> Row:
    """Return an official lap of a car, timed by the car itself within 0.02 s."""
    end = GREEN + timedelta(seconds=_LAP_S * number)
    return {
        "track": "spa",
        "session": "R1",
        "vehicle_id": unit,
        "chassis": unit.split("-")[1],
        "lap_number": number,
        "official_lap_number": number,
        "lap_start_utc": end - timedelta(seconds=_LAP_S),
        "lap_end_utc": end,
        "lap_time_s": _LAP_S,
        "trigger_lap_time_s": _LAP_S + 0.02,
        "official_lap_time_s": _LAP_S,
        "delta_to_official_s": 0.02 if number > 1 else None,
        "is_valid": True,
        "flags": [],
        "source_file": "spa/R1_spa_lap_end.csv",
        **changes,
    }


def official_lap(number: int, car: str = "13", behind_s: float = 0.0) -> Row:
    """Return the official timing row of the same lap."""
    at = GREEN + timedelta(seconds=_LAP_S * number - behind_s, hours=-5)
    return {
        "track": "spa",
        "session": "R1",
        "car_number": car,
        "entry": 1,
        "lap_number": number,
        "lap_time_s": _LAP_S,
        "crossing_local_time": time(at.hour, at.minute, at.second, at.microsecond),
        "is_finish_in_pit": False,
        "source_file": "spa/23.CSV",
    }


def car(unit: str | None = UNIT, number: str | None = "13", **changes: Any) -> Row:
    """Return a car whose number is confirmed by its crossings."""
    return {
        "track": "spa",
        "session": "R1",
        "vehicle_id": unit,
        "suffix": unit.rpartition("-")[2] if unit else None,
        "car_number": number,
        "official_number": number,
        "official_entry": 1,
        "method": "official_crossings",
        "confidence": 0.96,
        "has_started": True,
        "candidates": [],
        "evidence": "because",
        **changes,
    }


def telemetry_car(unit: str = UNIT, **changes: Any) -> Row:
    """Return a car with an hour of telemetry without problems."""
    return {
        "track": "spa",
        "session": "R1",
        "vehicle_id": unit,
        "chassis": unit.split("-")[1],
        "clock_offset_s": 90_000.0,
        "clock_piece": 1,
        "clock_method": "lower_edge",
        "is_clock_frozen": False,
        "readings": 100_000,
        "exact_duplicates": 0,
        "repeat_rows": 0,
        "backward_steps": 0,
        "unexplained_rows": 0,
        "gaps": 0,
        "longest_gap_s": 0.0,
        "first_sample_utc": GREEN,
        "last_sample_utc": GREEN + timedelta(hours=1),
        "channels": ["speed_kph", "gear"],
        "missing_channels": [],
        **changes,
    }


def score(rejects: Sequence[Reject] = (), /, **tables: list[Row]) -> pa.Table:
    """Return the table ``quality`` of a session with these rows, checked against its schema."""
    schemas = {"laps": LAPS, "cars": CARS, "official_laps": OFFICIAL_LAPS, "results": RESULTS}
    built = {name: schema.from_rows(tables.get(name, [])) for name, schema in schemas.items()}
    telemetry = TELEMETRY_CARS.from_rows(tables.get("telemetry_cars", []))
    rejected = rejects_table("spa", "R1", rejects)
    quality = score_session("spa", "R1", **built, telemetry_cars=telemetry, rejects=[rejected])
    assert QUALITY.violations(quality) == []
    return quality


def good_session(**changes: list[Row]) -> dict[str, list[Row]]:
    """Return the tables of a session with one car and no problems."""
    return {
        "laps": [lap(number) for number in range(1, 11)],
        "cars": [car()],
        "official_laps": [official_lap(number) for number in range(1, 11)],
        "telemetry_cars": [telemetry_car()],
        **changes,
    }


def row_of(quality: pa.Table, measure: str, unit: str | None = UNIT) -> Row:
    """Return one score of a car, or of the session."""
    (row,) = (row for row in quality.to_pylist() if (row["measure"], row["vehicle_id"]) == (measure, unit))
    return row

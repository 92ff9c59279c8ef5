"""A race of any number of cars as tables, and a lake of sessions that lack one thing or another."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS, QUALITY, RESULTS, TELEMETRY, TELEMETRY_CARS, WEATHER
from apex_pipeline.tables.model import Row, Table
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import parquet_bytes, publish_tables

GREEN = datetime(2025, 6, 15, 18, 40, tzinfo=UTC)
_LAP_S = 97.0
_FROM = {"source_file": "file.csv", "source_row": 1}
_TABLES: Mapping[str, Table] = {
    table.name: table for table in (CARS, LAPS, OFFICIAL_LAPS, QUALITY, RESULTS, TELEMETRY, TELEMETRY_CARS, WEATHER)
}


def race(
    cars: int, laps: int, *, penalties: Mapping[str, float] | None = None, numbers: Sequence[str] = ()
) -> dict[str, list[Row]]:
    """Return the rows of a race: car ``n`` is ``n`` tenths a lap slower than car 1, and the last one retires half way.

    Args:
        cars: How many start.
        laps: How many the leader drives.
        penalties: Seconds that the result adds, by printed number.
        numbers: Printed numbers; by default 1, 2 …
    """
    printed = [*numbers, *(str(car) for car in range(len(numbers) + 1, cars + 1))]
    official: list[Row] = []
    own: list[Row] = []
    results: list[tuple[int, float, Row]] = []
    seen: dict[str, int] = {}
    for car, number in enumerate(printed):
        seen[number] = entry = seen.get(number, 0) + 1
        driven = max(laps // 2, 1) if car and car == cars - 1 else laps
        times = [round(_LAP_S + car / 10 + (lap * 7 + car * 3) % 10 / 100, 3) for lap in range(1, driven + 1)]
        for lap, time_s in enumerate(times, start=1):
            elapsed_s = round(sum(times[:lap]), 3)
            official.append(_official(number, entry, lap, time_s, elapsed_s))
            own.append(_own(car, number, lap, time_s, elapsed_s))
        added_s = (penalties or {}).get(number, 0.0)
        total_s = round(sum(times) + added_s, 3)
        best_s = min(times)
        found = {"car_number": number, "laps_completed": driven, "total_time_s": total_s, "best_lap_time_s": best_s}
        results.append((-driven, total_s, {**found, "best_lap_number": times.index(best_s) + 1}))
    ranked = [row for _, _, row in sorted(results, key=lambda result: result[:2])]
    rows = [
        {"version": "official", "is_final": True, "position": place, "status": "Classified", **row, **_FROM}
        for place, row in enumerate(ranked, start=1)
    ]
    return {"official_laps": official, "laps": own, "results": rows, "weather": _weather(), "quality": _quality("")}


def note(sentence: str) -> list[Row]:
    """Return the scores of a session with this note."""
    return _quality(sentence)


def publish(folder: Path, sessions: Mapping[SessionKey, Mapping[str, list[Row]]]) -> Path:
    """Publish sessions into a new lake and return its folder."""
    path = folder / "lake"
    path.mkdir()
    store = LocalStore(path, DigestCache())
    for key, tables in sessions.items():
        of_session = {"track": key.track, "session": key.session}
        contents = {
            name: parquet_bytes(table.from_rows([{**row, **of_session} for row in tables.get(name, ())]))
            for name, table in _TABLES.items()
        }
        publish_tables(store, key, contents=contents)
    return path


def _official(number: str, entry: int, lap: int, time_s: float, elapsed_s: float) -> Row:
    return {
        **_FROM,
        "car_number": number,
        "entry": entry,
        "lap_number": lap,
        "lap_time_s": time_s,
        "elapsed_s": elapsed_s,
        # The sector times of every fifth lap are missing, as they are in real files.
        **({} if lap % 5 == 0 else {"s1_s": 30.0, "s2_s": 40.0, "s3_s": round(time_s - 70, 3)}),
        "is_finish_in_pit": False,
    }


def _own(car: int, number: str, lap: int, time_s: float, elapsed_s: float) -> Row:
    end = GREEN + timedelta(seconds=elapsed_s)
    return {
        **_FROM,
        "vehicle_id": f"GR86-{car:03}-{number}",
        "chassis": f"{car:03}",
        "car_number": number,
        "lap_number": lap,
        "lap_start_utc": end - timedelta(seconds=time_s),
        "lap_end_utc": end,
        "lap_time_s": time_s,
        "lap_time_method": "official",
        "confidence": 1.0,
        "is_valid": True,
        "flags": [],
    }


def _weather() -> list[Row]:
    return [
        {
            **_FROM,
            "observed_utc": GREEN + timedelta(minutes=minute),
            "air_temp_c": 25 + minute / 10,
            "humidity_pct": 60.0,
            "is_raining": minute > 20,
        }
        for minute in range(30)
    ]


def _quality(sentence: str) -> list[Row]:
    scores = [("session", None, "overall", 80.0, "warn", sentence or "31 cars. One clock stood still.")]
    scores += [("session", None, "gaps", 80.0, "warn", "2 cars scored, 1 below 75.")]
    scores += [("car", "GR86-000-1", "gaps", 40.0, "error", "GR86-000-1: 3 holes of more than 2 s.")]
    names = ("scope", "vehicle_id", "measure", "score", "level", "sentence")
    return [dict(zip(names, row, strict=True)) for row in scores]

"""A lake of driven laps: two races on the demo's Harbor track, one on a track without GPS, official timing and faults.

Cars of a race drive laps 1 to 3. Car 13 is received whole, car 7 lacks speed, the clock of car 80 stands still, car 98
was received in part of its laps only, and lap 3 of car 22 ends in the pits.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS, OFFICIAL_POINTS, TELEMETRY, TELEMETRY_CARS
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.catalog.race_lake import telemetry_bytes
from apex_pipeline_tests.distance.driving import LENGTH_M, Driven, Faults, drive
from apex_pipeline_tests.lake.tables import parquet_bytes, publish_tables

HARBOR_1 = SessionKey("harbor_street_circuit", "R1")
HARBOR_2 = SessionKey("harbor_street_circuit", "R2")
BARE = SessionKey("harbor_street_circuit", "practice")
MESA = SessionKey("mesa_verde_raceway", "R1")
_GREEN_MS = int(datetime(2025, 6, 15, 18, 40, tzinfo=UTC).timestamp()) * 1000
_CARS = ("13", "22", "7", "80", "98")
_LAPS = (1, 2, 3)
_ALL_WELL: Mapping[str, str] = {}


def publish_lake(folder: Path) -> Path:
    """Publish the lake in a folder and return its path."""
    path = folder / "lake"
    path.mkdir()
    store = LocalStore(path, DigestCache())
    for number, key in enumerate((HARBOR_1, HARBOR_2, MESA)):
        publish_tables(store, key, contents=_tables(key, number))
    publish_tables(store, BARE, contents=_bare_tables())
    return path


def publish_session(store: LocalStore, key: SessionKey, cars: Sequence[str], receivers: Mapping[str, str]) -> None:
    """Publish a session of cars whose receivers may be faulty.

    Args:
        store: The lake.
        key: The session.
        cars: Its cars, by number.
        receivers: Of some cars, what is wrong with theirs: ``silent`` sends next to nothing, ``still`` one place.
    """
    publish_tables(store, key, contents=_tables(key, 0, cars, receivers))


def _bare_tables() -> dict[str, bytes]:
    """Return a session of laps alone: no telemetry, no official timing; the last lap's begin is not known."""
    laps = list(_lap_rows(BARE, "13", _laps_of("13", 0)))
    laps[-1] |= {"lap_start_utc": None, "line_start_utc": None, "s1_s": None}
    return {"laps": parquet_bytes(LAPS.from_rows(laps))}


def _tables(
    key: SessionKey, number: int, cars: Sequence[str] = _CARS, receivers: Mapping[str, str] = _ALL_WELL
) -> dict[str, bytes]:
    everything = [(car, _laps_of(car, number)) for car in cars]
    samples = [_received(_telemetry(key, car, laps), receivers.get(car, "")) for car, laps in everything]
    return {
        "telemetry": telemetry_bytes(samples),
        "laps": parquet_bytes(LAPS.from_rows([row for car, laps in everything for row in _lap_rows(key, car, laps)])),
        "cars": parquet_bytes(CARS.from_rows([_car_row(key, car) for car in cars])),
        "telemetry_cars": parquet_bytes(TELEMETRY_CARS.from_rows([_clock_row(key, car) for car in cars])),
        "official_laps": parquet_bytes(
            OFFICIAL_LAPS.from_rows([row for car, laps in everything for row in _official_rows(key, car, laps)])
        ),
        "official_points": parquet_bytes(
            OFFICIAL_POINTS.from_rows([row for car, laps in everything for row in _point_rows(key, car, laps)])
        ),
    }


def _laps_of(car: str, session: int) -> list[Driven]:
    faults = Faults(wheel=0.996, holes=((0.0, 70.0),) if car == "98" else ())
    return [drive(96.5 + lap / 4 + session + int(car) / 50, 0.02, lap + session + int(car), faults) for lap in _LAPS]


def _starts_ms(laps: list[Driven]) -> list[int]:
    times = [round(lap.samples.lap_time_s * 1000) for lap in laps]
    return [_GREEN_MS + 300 + sum(times[:lap]) for lap in range(len(laps) + 1)]


def _telemetry(key: SessionKey, car: str, laps: list[Driven]) -> pa.Table:
    parts: dict[str, list[np.ndarray]] = {}
    for number, start_ms, lap in zip(_LAPS, _starts_ms(laps), laps, strict=False):
        inside = (lap.samples.times_s >= 0) & (lap.samples.times_s < lap.samples.lap_time_s)
        parts.setdefault("sample_time_utc", []).append(np.rint(lap.samples.times_s[inside] * 1000) + start_ms)
        parts.setdefault("lap_number", []).append(np.full(int(inside.sum()), number))
        for name, values in lap.samples.channels.items():
            parts.setdefault(name, []).append(values[inside])
    columns: dict[str, object] = {
        name: pa.array(np.concatenate(values), from_pandas=True) for name, values in parts.items()
    }
    times = np.concatenate(parts["sample_time_utc"]).astype(np.int64)
    hidden = {"7": ("speed_kph", "lap_distance_m")}.get(car, ())
    hidden += ("latitude_deg", "longitude_deg", "lap_distance_m") if key == MESA else ()
    shared = {"track": key.track, "session": key.session, "vehicle_id": _vehicle(car), "chassis": f"0{car}"}
    known = {name: values for name, values in columns.items() if name not in hidden}
    rows = {name: [value] * len(times) for name, value in shared.items()}
    return TELEMETRY.from_columns(
        {
            **known,
            **rows,
            "sample_time_utc": times,
            "received_time_utc": times,
            "repeat": np.zeros(len(times), np.int64),
        }
    )


def _received(samples: pa.Table, fault: str) -> pa.Table:
    """Return samples as a receiver with a fault gives them."""
    if not fault:
        return samples
    for name in ("latitude_deg", "longitude_deg"):
        column = samples.schema.get_field_index(name)
        value = samples[name].drop_null()[0].as_py()
        values = [value if fault == "still" or row == 0 else None for row in range(samples.num_rows)]
        samples = samples.set_column(column, samples.schema.field(name), pa.array(values, pa.float64()))
    return samples


def _vehicle(car: str) -> str:
    return f"GR86-0{car}-{car}"


def _lap_rows(key: SessionKey, car: str, laps: list[Driven]) -> Iterator[Row]:
    starts = _starts_ms(laps)
    for number, lap in zip(_LAPS, laps, strict=True):
        # Official lap 1 counts from the green flag, 0.3 s before the car is at the line.
        time_s = lap.samples.lap_time_s + (0.3 if number == 1 else 0)
        points = dict(lap.samples.points)
        yield {
            **_of(key, car),
            "vehicle_id": _vehicle(car),
            "chassis": f"0{car}",
            "lap_number": number,
            "official_lap_number": number,
            "lap_start_utc": starts[number - 1],
            "lap_end_utc": starts[number],
            "line_start_utc": starts[number - 1],
            "line_end_utc": starts[number],
            "line_residual_s": lap.samples.lap_time_s - time_s,
            "from_green": number == 1,
            "lap_time_s": round(time_s, 3),
            "lap_time_method": "official",
            "confidence": 1.0,
            "is_in_lap": car == "22" and number == _LAPS[-1],
            "is_out_lap": False,
            "is_valid": True,
            "flags": [],
            "s1_s": points["IM2"],
            "s2_s": points["IM4"] - points["IM2"],
            "source_file": "laps.csv",
        }


def _of(key: SessionKey, car: str) -> Row:
    return {"track": key.track, "session": key.session, "car_number": car}


def _car_row(key: SessionKey, car: str) -> Row:
    return {
        **_of(key, car),
        "vehicle_id": _vehicle(car),
        "official_number": car,
        "official_entry": 1,
        "method": "official_crossings",
        "confidence": 1.0,
        "has_started": True,
        "candidates": [],
        "evidence": "Its crossings match.",
    }


def _clock_row(key: SessionKey, car: str) -> Row:
    gps = ["latitude_deg", "longitude_deg"] if key != MESA else []
    return {
        **_of(key, car),
        "vehicle_id": _vehicle(car),
        "chassis": f"0{car}",
        "clock_piece": 1,
        "clock_method": "received" if car == "80" else "lap_change",
        "is_clock_frozen": car == "80",
        "readings": 1,
        "channels": [*gps, *([] if car == "7" else ["speed_kph"])],
        "missing_channels": [],
    }


def _official_rows(key: SessionKey, car: str, laps: list[Driven]) -> Iterator[Row]:
    for row, lap in zip(_lap_rows(key, car, laps), laps, strict=True):
        yield {
            **_of(key, car),
            "entry": 1,
            "lap_number": row["lap_number"],
            "lap_time_s": row["lap_time_s"],
            "average_kph": round(LENGTH_M / lap.samples.lap_time_s * 3.6, 1),
            "is_finish_in_pit": False,
            "source_file": "sections.csv",
        }


def _point_rows(key: SessionKey, car: str, laps: list[Driven]) -> Iterator[Row]:
    for number, lap in zip(_LAPS, laps, strict=True):
        points = [*lap.samples.points, ("FL", lap.samples.lap_time_s)]
        for order, (name, time_s) in enumerate(points, start=1):
            yield {
                **_of(key, car),
                "entry": 1,
                "lap_number": number,
                "point": name,
                "point_order": order,
                "elapsed_s": round(time_s + (0.3 if number == 1 else 0), 3),
                "source_file": "sections.csv",
            }

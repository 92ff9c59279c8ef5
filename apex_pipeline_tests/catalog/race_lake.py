"""Publishes a race with telemetry of realistic shape, for the tests of this folder.

Twenty cars sample every 43 ms and drive laps of 40 s, the first of which starts 5 s after the first sample. The file
has one row group per car and two for the third car, as if it had very many rows.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.catalog import Catalog
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CARS, LAPS, TELEMETRY
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import parquet_bytes, publish_tables

TRACK, SESSION = "test_track", "R1"
KEY = SessionKey(TRACK, SESSION)
VEHICLES = tuple(f"GR86-{number:03d}-{number}" for number in range(1, 21))
CAR, IN_TWO_GROUPS = VEHICLES[6], VEHICLES[2]
FOUR_CHANNELS = ("speed_kph", "latitude_deg", "longitude_deg", "brake_front_bar")

START = datetime(2025, 9, 6, 18, 40, tzinfo=UTC)
START_MS = int(START.timestamp()) * 1000
STEP_MS, LAP_MS, BEFORE_FIRST_LAP_MS = 43, 40_000, 5_000


def lap_start_ms(lap_number: int) -> int:
    """Return the start of a lap, milliseconds since 1970 UTC; every car drives the same laps."""
    return START_MS + BEFORE_FIRST_LAP_MS + (lap_number - 1) * LAP_MS


def car_rows(vehicle: str, rows: int, seed: int = 0) -> pa.Table:
    """Return the telemetry of one car: noisy waves with the precision of real devices, speed in every fifth row."""
    rng = np.random.default_rng([seed, *vehicle.encode()])
    time_ms = START_MS + STEP_MS * np.arange(rows)
    phase = np.arange(rows) / 300
    lap = (time_ms - lap_start_ms(1)) // LAP_MS + 1
    decimals = {"gear": 0, "latitude_deg": 7, "longitude_deg": 7, "accel_long_g": 3, "accel_lat_g": 3, "speed_kph": 2}
    channels = TELEMETRY.schema.names[TELEMETRY.schema.get_field_index("unit_lap") + 1 :]
    columns: dict[str, object] = {
        "track": [TRACK] * rows,
        "session": [SESSION] * rows,
        "vehicle_id": [vehicle] * rows,
        "chassis": [vehicle.split("-")[1]] * rows,
        "sample_time_utc": time_ms,
        "car_time": time_ms - 172_803_000,
        "received_time_utc": (time_ms // 300 + 4) * 300,
        "repeat": np.zeros(rows, np.int64),
        "lap_number": pa.array(lap, mask=(lap < 1) | (lap > laps_within(rows))),
        # The device's counter has lost count and must not be used.
        "unit_lap": np.full(rows, 77),
    }
    for number, name in enumerate(channels):
        values = np.round(100 * np.sin(phase + number) + rng.normal(0, 1, rows), decimals.get(name, 2))
        is_missing = np.arange(rows) % 5 != 0 if name == "speed_kph" else np.zeros(rows, bool)
        columns[name] = pa.array(values, mask=is_missing)
    return TELEMETRY.from_columns(columns)


def laps_within(rows: int) -> int:
    """Return the number of complete laps that a car drives in this number of rows."""
    return int((rows * STEP_MS - BEFORE_FIRST_LAP_MS) // LAP_MS)


def telemetry_bytes(cars: Iterable[pa.Table], *, is_checked: bool = True) -> bytes:
    """Return cars as a Parquet file with a row group per car, encoded as by the conversion."""
    sink = io.BytesIO()
    special = dict.fromkeys(("sample_time_utc", "car_time", "received_time_utc"), "DELTA_BINARY_PACKED")
    special |= dict.fromkeys(("latitude_deg", "longitude_deg"), "BYTE_STREAM_SPLIT")
    with pq.ParquetWriter(
        sink,
        TELEMETRY.schema,
        compression="zstd",
        use_dictionary=[name for name in TELEMETRY.schema.names if name not in special],
        column_encoding=special,
        write_page_checksum=is_checked,
    ) as writer:
        for rows in cars:
            writer.write_table(rows)
    return sink.getvalue()


def race_bytes(rows: int, vehicles: Sequence[str] = VEHICLES, *, is_checked: bool = True) -> bytes:
    """Return the telemetry of a race as a Parquet file."""
    groups: list[pa.Table] = []
    for vehicle in vehicles:
        car = car_rows(vehicle, rows)
        groups += [car.slice(0, rows // 2), car.slice(rows // 2)] if vehicle == IN_TWO_GROUPS else [car]
    return telemetry_bytes(groups, is_checked=is_checked)


def race_laps(rows: int, vehicles: Sequence[str] = VEHICLES) -> pa.Table:
    """Return the laps of a race: complete ones, and per car a lap 99 without times, as from official timing only."""
    laps: list[dict[str, object]] = []
    for vehicle in vehicles:
        timed = [(number, lap_start_ms(number)) for number in range(1, laps_within(rows) + 1)]
        for number, start_ms in [*timed, (99, None)]:
            laps.append(
                {
                    "track": TRACK,
                    "session": SESSION,
                    "vehicle_id": vehicle,
                    "chassis": vehicle.split("-")[1],
                    "car_number": number_of(vehicle),
                    "lap_number": number,
                    "unit_lap": 77,
                    "lap_start_utc": start_ms,
                    "lap_end_utc": None if start_ms is None else start_ms + LAP_MS,
                    "is_valid": True,
                    "flags": [],
                    "source_file": "laps.csv",
                }
            )
    return LAPS.from_rows(laps)


def number_of(vehicle: str) -> str:
    """Return the official number of a car, which differs from the one in its vehicle_id."""
    return f"1{vehicle.split('-')[1]}"


def race_cars(vehicles: Sequence[str] = VEHICLES) -> pa.Table:
    """Return the table ``cars``, including a car that only official timing lists."""
    named: list[tuple[str | None, str]] = [(vehicle, number_of(vehicle)) for vehicle in vehicles]
    return CARS.from_rows(
        [
            {
                "track": TRACK,
                "session": SESSION,
                "vehicle_id": vehicle,
                "car_number": number,
                "method": "official_crossings",
                "confidence": 1.0,
                "has_started": True,
                "candidates": [],
                "evidence": "Its crossings match.",
            }
            for vehicle, number in [*named, (None, "51")]
        ]
    )


@dataclass(frozen=True)
class Race:
    """A published race.

    Attributes:
        store: The lake.
        telemetry: Content of the published telemetry file.
        rows: Rows per car.
    """

    store: ObjectStore
    telemetry: bytes
    rows: int

    @property
    def catalog(self) -> Catalog:
        """A newly opened catalog, with nothing cached."""
        return Catalog(self.store)

    @property
    def telemetry_key(self) -> str:
        """Key of the telemetry file."""
        return object_key(hashlib.sha256(self.telemetry).hexdigest())


def publish_race(
    store: ObjectStore,
    rows: int,
    *,
    telemetry: bytes | None = None,
    laps: pa.Table | None = None,
    cars: pa.Table | None = None,
) -> Race:
    """Publish a race with this number of rows per car; given tables replace the default ones."""
    content = race_bytes(rows) if telemetry is None else telemetry
    contents = {
        "telemetry": content,
        "laps": parquet_bytes(race_laps(rows) if laps is None else laps),
        "cars": parquet_bytes(race_cars() if cars is None else cars),
    }
    publish_tables(store, KEY, contents=contents)
    return Race(store, content, rows)


def local_store(folder: Path) -> LocalStore:
    """Return an empty lake in a folder."""
    store = LocalStore(folder / "lake", DigestCache())
    store.prepare_for_writing()
    return store

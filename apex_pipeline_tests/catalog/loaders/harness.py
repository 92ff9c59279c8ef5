"""Provides lakes for the tests of the loaders, in a folder and in a bucket, and helpers for files and log records."""

import logging
import operator
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from apex_pipeline.catalog import DataLoader, LocalDataLoader, S3DataLoader
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import CAR, Row, csv_bytes, moment, reading

LAP_TABLE = b"LapNumber,LapTime,Driver,CarNumber\n1,97.428,Ada,03\n2,96.5,Ada,03\n"
TELEMETRY_TABLE = b"Time,Speed,Throttle,Brake,Latitude,Longitude\n0.0,101.5,88,0,33.5,-86.6\n0.04,102,90,0,33.5,-86.6\n"
PRACTICE = "data/barber_motorsports_park/practice_barber_motorsports_park_lap_start.csv"

_LAP_S = 90.0
_TRIGGER_COLUMNS = ("lap", "meta_event", "meta_session", "meta_time", "timestamp", "vehicle_id")


def raw_laps(laps: int = 4, session: str = "R1", cars: tuple[str, ...] = (CAR,)) -> bytes:
    """Return a file of lap starts in the raw format of the devices: consecutive laps of 90 s."""
    rows: list[Row] = [
        {
            "lap": str(lap),
            "meta_event": "I_R06_2025-09-07",
            "meta_session": session,
            "meta_time": moment(_LAP_S * lap + 1.2),
            "timestamp": moment(_LAP_S * lap),
            "vehicle_id": car,
        }
        for car in cars
        for lap in range(1, laps + 2)
    ]
    return csv_bytes(rows, _TRIGGER_COLUMNS)


def raw_telemetry(samples: int = 100, session: str = "R1") -> bytes:
    """Return a file of readings in the raw format of the devices: speed, front brake and pedal at 25 Hz."""
    rows = [
        reading(100 + sample / 25, channel, str(sample), meta_session=session)
        for sample in range(samples)
        for channel in ("speed", "pbrake_f", "aps")
    ]
    return csv_bytes(rows)


def settings_for(folder: Path, **overrides: object) -> Settings:
    """Return settings with the lake and all local state in this folder."""
    return load_settings(lake_dir=folder / "lake", state_dir=folder / "state", **overrides)


def settings_of(home: S3Bucket, folder: Path, **overrides: object) -> Settings:
    """Return settings for a lake in a bucket."""
    server = home.server
    return settings_for(
        folder,
        **{
            "bucket": home.name,
            "s3_endpoint_url": server.endpoint,
            "aws_access_key_id": server.access_key_id,
            "aws_secret_access_key": server.secret_access_key,
            **overrides,
        },
    )


@dataclass(frozen=True)
class LoaderHarness:
    """A loader and its lake.

    Attributes:
        loader: The loader.
        store: The lake, for writing files to it.
        place: Name of the lake's location in the loader's log lines.
    """

    loader: LocalDataLoader | S3DataLoader
    store: ObjectStore
    place: str

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files to the lake, by key."""
        for key, content in files.items():
            self.store.write_bytes(key, content)


def local_harness(folder: Path, **overrides: object) -> LoaderHarness:
    """Return a loader for an empty lake in a folder."""
    store = LocalStore(folder / "lake", DigestCache())
    store.prepare_for_writing()
    return LoaderHarness(LocalDataLoader(settings_for(folder, **overrides), store), store, "disk")


def s3_harness(connection: S3Connection, folder: Path, prefix: str = "", **overrides: object) -> LoaderHarness:
    """Return a loader for a lake in a bucket; lakes with other prefixes may share the connection."""
    store = S3Store(connection, prefix, DigestCache(), state=folder / "state", sleep=lambda _: None)
    return LoaderHarness(S3DataLoader(settings_for(folder, **overrides), store), store, "S3")


@contextmanager
def log_of(level: int = logging.INFO) -> Generator[list[logging.LogRecord]]:
    """Collect the log records of the package, separately for each example of a Hypothesis test (unlike caplog)."""
    records: list[logging.LogRecord] = []

    class _Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, handler = logging.getLogger("apex_pipeline"), _Collect()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def messages(records: list[logging.LogRecord], level: int | None = None) -> list[str]:
    """Return the messages, optionally of one level only."""
    return [record.getMessage() for record in records if level in {None, record.levelno}]


def attempts(records: list[logging.LogRecord]) -> list[str]:
    """Return the patterns that were tried, in order."""
    prefix = "Attempting pattern: "
    return [text.removeprefix(prefix) for text in messages(records) if text.startswith(prefix)]


def fields(records: list[logging.LogRecord], message: str) -> dict[str, Any]:
    """Return the fields of the record with this message."""
    return vars(next(record for record in records if record.getMessage() == message))


def download(loader: DataLoader, key: str) -> pd.DataFrame | None:
    """Call the loader's ``_download_csv_from_s3``, which applications call despite its name."""
    return operator.methodcaller("_download_csv_from_s3", key)(loader)


def loaded(frame: pd.DataFrame | None) -> pd.DataFrame:
    """Assert that a frame was loaded, and return it."""
    assert frame is not None
    return frame


def put_quickly(harness: LoaderHarness, files: Mapping[str, bytes]) -> None:
    """Write files to a lake without the checks and disk syncs of a real write."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(_put_quickly, harness.store), files, files.values()))


def _put_quickly(store: ObjectStore, key: str, content: bytes) -> None:
    address = store.uri_of(key)
    if isinstance(store, LocalStore):
        Path(address).parent.mkdir(parents=True, exist_ok=True)
        Path(address).write_bytes(content)
    else:
        bucket, _, full_key = address.removeprefix("s3://").partition("/")
        vars(store)["_connection"].client.put_object(Bucket=bucket, Key=full_key, Body=content)

"""Requests of the loaders: concurrent callers share one download of each object, and no call fetches one twice."""

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

import pandas as pd
import pytest

from apex_pipeline.catalog import LocalDataLoader
from apex_pipeline.catalog.loaders.fetch import ObjectReader, StagingArea
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.single_flight import SingleFlight
from apex_pipeline_tests.catalog.loaders.harness import (
    LAP_TABLE,
    PRACTICE,
    LoaderHarness,
    download,
    raw_laps,
    raw_telemetry,
    s3_harness,
    settings_for,
)
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect

THREADS = 32
_Result = TypeVar("_Result")


def all_at_once(calls: list[Callable[[], _Result]]) -> list[_Result]:
    """Start all calls at the same moment, each in a separate thread."""
    barrier = threading.Barrier(len(calls))
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: _run(barrier, call), calls))


def _run(barrier: threading.Barrier, call: Callable[[], _Result]) -> _Result:
    barrier.wait()
    return call()


def wait_for_all_callers() -> None:
    """Block until every thread of :func:`all_at_once` is either in this function or waiting for another thread."""
    end = time.monotonic() + 60
    frames = sys._current_frames  # pyright: ignore[reportPrivateUsage]  -- documented despite its name
    while any(map(_is_busy, frames().values())) and time.monotonic() < end:
        time.sleep(0.01)


def _is_busy(frame: FrameType | None) -> bool:
    is_waiting = frame is not None and frame.f_code is threading.Condition.wait.__code__
    codes: set[CodeType] = set()
    while frame is not None:
        codes.add(frame.f_code)
        frame = frame.f_back
    is_idle = wait_for_all_callers.__code__ in codes or (is_waiting and SingleFlight.do.__code__ in codes)
    return _run.__code__ in codes and not is_idle


@pytest.fixture
def connection(s3_bucket: S3Bucket) -> S3Connection:
    return connect(s3_bucket)


def requests_of(connection: S3Connection) -> Counter[str]:
    """Count requests by operation and key from now on; a listing blocks until every thread has made its call."""
    sent: Counter[str] = Counter()
    lock = threading.Lock()

    def count(model: Any, params: dict[str, Any], **_: object) -> None:
        with lock:
            sent[f"{model.name} {params['url_path'].partition('/data/')[2]}".strip()] += 1
        if model.name == "ListObjectsV2":
            wait_for_all_callers()

    connection.client.meta.events.register("before-call.s3", count)
    return sent


@pytest.mark.req("A-125", "A-126")
def test_threads_loading_the_same_session_share_one_download(connection: S3Connection, tmp_path: Path) -> None:
    harness = s3_harness(connection, tmp_path)
    harness.put({PRACTICE: LAP_TABLE})
    sent = requests_of(connection)
    frames = all_at_once([lambda: harness.loader.load_lap_times("barber_motorsports_park", "practice")] * THREADS)
    assert all(frame is not None and len(frame) == 2 for frame in frames)
    assert sent == {"ListObjectsV2": 1, f"GetObject {PRACTICE.removeprefix('data/')}": 1}
    assert harness.loader.metrics()["downloads"] == 1

    harness.loader.load_lap_times("barber_motorsports_park", "practice")
    assert harness.loader.metrics()["downloads"] == 2


@pytest.mark.req("A-125")
def test_laps_and_telemetry_of_one_session_share_its_downloads(connection: S3Connection, tmp_path: Path) -> None:
    harness = s3_harness(connection, tmp_path)
    names = {
        "COTA/Race 1/COTA_lap_start_time_R1.csv": raw_laps(4),
        "COTA/Race 1/COTA_lap_end_time_R1.csv": raw_laps(4),
        "COTA/Race 1/R1_cota_telemetry_data.csv": raw_telemetry(100),
    }
    harness.put({f"data/{name}": content for name, content in names.items()})
    sent = requests_of(connection)
    half = THREADS // 2
    frames = all_at_once(
        [lambda: harness.loader.load_lap_times("cota", "R1")] * half
        + [lambda: harness.loader.load_telemetry("cota", "R1")] * half
    )
    assert [len(frame) for frame in frames if frame is not None] == [4] * half + [100] * half
    downloads = {name: count for name, count in sent.items() if name.startswith("GetObject COTA")}
    assert downloads == {f"GetObject {name.replace(' ', '%20')}": 1 for name in names} or downloads == {
        f"GetObject {name}": 1 for name in names
    }
    assert harness.loader.metrics()["downloads"] == 3


def test_an_unsynced_bucket_is_identified_once_per_loader_and_again_only_where_it_changed(
    connection: S3Connection, tmp_path: Path
) -> None:
    harness = s3_harness(connection, tmp_path)
    names = {
        f"data/Sebring/Race {race}/sebring_lap_{kind}_time_R{race}.csv": raw_laps(3 + race, f"R{race}")
        for race in range(1, 12)
        for kind in ("start", "end")
    }
    harness.put(names)
    loader = harness.loader
    sent = requests_of(connection)
    first = loader.load_lap_times("sebring", "R1")
    assert first is not None, loader.last_failure
    # One listing, the start of each file, and the snapshot that does not exist.
    assert sent.total() == 1 + len(names) + 1
    sent.clear()
    for _ in range(3):
        again = loader.load_lap_times("sebring", "R1")
        pd.testing.assert_frame_equal(first, again)  # type: ignore[arg-type]
    assert sent.total() <= 3 * 4, sent
    harness.put({next(iter(names)): raw_laps(20)})
    sent.clear()
    changed = loader.load_lap_times("sebring", "R1")
    assert changed is not None
    assert len(changed) == 20
    assert sent.total() >= len(names)


def test_a_large_raw_file_takes_one_request_for_its_header_and_one_download(
    connection: S3Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.catalog.loaders.raw_index.SMALL_BYTES", 1_000)
    harness = s3_harness(connection, tmp_path)
    harness.put({"data/sebring/R1_sebring_telemetry_data.csv": raw_telemetry(1_000)})
    sent = requests_of(connection)
    assert len(harness.loader.load_telemetry("sebring", "R1")) == 1_000  # type: ignore[arg-type]
    assert harness.loader.metrics()["downloads"] == 1
    # Two for the header and the complete file; the third one is for the current snapshot, which does not exist.
    assert sent == {"ListObjectsV2": 1, "GetObject sebring/R1_sebring_telemetry_data.csv": 2, "GetObject": 1}
    assert list(tmp_path.rglob("*.csv")) == []
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_staged_files_are_removed_after_the_last_call_that_uses_them(connection: S3Connection, tmp_path: Path) -> None:
    harness = s3_harness(connection, tmp_path)
    listed = [harness.store.write_bytes("data/a.csv", b"a" * 100), harness.store.write_bytes("data/b.csv", b"b" * 100)]
    reader = ObjectReader(harness.store)
    staging = StagingArea(reader, lambda: tmp_path)
    sent = requests_of(connection)
    with staging.open("x", listed, {"data/b.csv": b"b" * 100}) as one:
        with staging.open("x", listed, {}) as other:
            assert other is one
            assert [other.read_bytes(item.key)[:1] for item in listed] == [b"a", b"b"]
        with one.open_as_file("data/a.csv") as path:
            assert path.read_bytes() == b"a" * 100
            assert path.is_relative_to(tmp_path)
    assert sent == {"GetObject a.csv": 1}
    assert reader.downloads == 1
    assert list(tmp_path.glob("staging-*")) == []
    with staging.open("x", listed, {}) as later:
        assert later is not one


@pytest.mark.parametrize(
    ("megabytes", "requests"),
    [(3, {"GetObject a.csv": 1}), (5, {"GetObject a.csv": 1}), (35, {"GetObject a.csv": 1 + 3})],
)
def test_a_small_staged_file_takes_one_request_and_a_large_one_a_request_per_16_mb(
    connection: S3Connection, tmp_path: Path, megabytes: int, requests: dict[str, int]
) -> None:
    harness = s3_harness(connection, tmp_path)
    listed = harness.store.write_bytes("data/a.csv", bytes(megabytes * 1_000_000))
    reader = ObjectReader(harness.store)
    sent = requests_of(connection)
    with StagingArea(reader, lambda: tmp_path).open("x", [listed], {}) as staged:
        for _ in range(2):
            with staged.open_stream(listed.key) as stream:
                assert len(stream.read()) == listed.size
    assert sent == requests
    assert reader.downloads == 1


def test_an_object_replaced_after_the_listing_is_read_in_its_new_version(
    connection: S3Connection, tmp_path: Path
) -> None:
    harness = s3_harness(connection, tmp_path)
    listed = harness.store.write_bytes("data/a.csv", b"old")
    harness.store.write_bytes("data/a.csv", b"new and longer")
    with StagingArea(ObjectReader(harness.store), lambda: tmp_path).open("x", [listed], {}) as staged:
        assert staged.read_bytes("data/a.csv") == b"new and longer"


def test_a_staged_file_that_cannot_be_linked_is_copied(
    connection: S3Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("apex_pipeline.catalog.loaders.raw_index.SMALL_BYTES", 1_000)
    monkeypatch.setattr(os, "link", refuse)
    harness = s3_harness(connection, tmp_path)
    harness.put({"data/sebring/R1_sebring_telemetry_data.csv": raw_telemetry(1_000)})
    frame = harness.loader.load_telemetry("sebring", "R1")
    assert frame is not None
    assert len(frame) == 1_000
    assert harness.loader.metrics()["downloads"] == 1


def test_changing_a_frame_does_not_affect_concurrent_callers(connection: S3Connection, tmp_path: Path) -> None:
    harness = s3_harness(connection, tmp_path)
    harness.put({PRACTICE: LAP_TABLE})
    requests_of(connection)
    one, other = all_at_once([lambda: harness.loader.load_lap_times("barber_motorsports_park", "practice")] * 2)
    assert one is not None
    assert other is not None
    one.loc[0, "LapTime"] = 1.0
    assert other["LapTime"].tolist() == [97.428, 96.5]


@pytest.mark.req("A-125")
def test_a_failure_is_raised_in_all_waiting_threads_and_not_cached() -> None:
    flights = SingleFlight()
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        wait_for_all_callers()
        raise ValueError("no")

    def attempt() -> str:
        with pytest.raises(ValueError, match="no"):
            flights.do("x", fail)
        return "raised"

    assert all_at_once([attempt] * 8) == ["raised"] * 8
    assert len(tries) == 1
    assert flights.do("x", lambda: 7) == 7


def test_work_under_another_key_does_not_wait() -> None:
    flights = SingleFlight()
    assert flights.do("x", lambda: flights.do("y", lambda: 1)) == 1


def test_the_last_failure_is_that_of_the_calling_thread(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    loader = LocalDataLoader(settings_for(tmp_path))
    assert loader.load_lap_times("x", "y") is None
    assert loader.last_failure is not None
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: loader.last_failure).result() is None
    assert loader.get_available_tracks() == []
    assert loader.last_failure is None


# -- metrics -----------------------------------------------------------------------------------------------------------


@pytest.mark.req("A-086", "A-087", "A-088", "A-089")
def test_metrics_count_every_request_and_every_error(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    s3_harness(connect(s3_bucket), tmp_path).put({PRACTICE: LAP_TABLE})
    loader = s3_harness(connect(s3_bucket), tmp_path).loader
    assert loader.metrics()["requests"] == 0
    assert loader.get_available_tracks() == ["barber_motorsports_park"]
    assert loader.load_lap_times("barber_motorsports_park", "practice") is not None
    assert download(loader, PRACTICE) is not None
    assert download(loader, "data/no.csv") is None
    metrics = loader.metrics()
    assert metrics.pop("avg_ms") > 0
    assert metrics == {
        "requests": 5,
        "errors": 1,
        "error_rate": 0.2,
        "downloads": 2,
        "cache_hits": 0,
        "cache_misses": 0,
        "cache_hit_rate": 0.0,
    }


@pytest.mark.req("A-089")
def test_metrics_include_the_hit_rate_of_the_stores_cache(tmp_path: Path) -> None:
    class Cached(LocalStore):
        hits, misses = 3, 1

    loader = LocalDataLoader(settings_for(tmp_path), Cached(tmp_path / "lake", DigestCache()))
    harness = LoaderHarness(loader, None, "disk")  # type: ignore[arg-type]
    (tmp_path / "lake").mkdir()
    harness.loader.get_available_tracks()
    assert harness.loader.metrics()["cache_hit_rate"] == 0.75


def test_a_large_table_equals_the_frame_read_by_pandas(connection: S3Connection, tmp_path: Path) -> None:
    content = b"Time,Speed\n" + b"".join(b"%d,%d.5\n" % (row, row) for row in range(150_000))
    assert len(content) > 1_000_000
    harness = s3_harness(connection, tmp_path)
    harness.put({"data/sebring/race_telemetry_data.csv": content})
    frame = harness.loader.load_telemetry("sebring", "race")
    assert frame is not None
    assert frame["Speed"].sum() == sum(range(150_000)) + 75_000
    plain = download(harness.loader, "data/sebring/race_telemetry_data.csv")
    assert plain is not None
    pd.testing.assert_frame_equal(frame[["Time"]], plain[["Time"]].astype("float64"))

"""Tests of the read cache: nothing is fetched twice, and stale content is never returned."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.errors import ObjectMissingError, StoreCorruptionError
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.caching import CachedStore
from apex_pipeline.storage.factory import open_store, open_store_at
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.cache_harness import (
    KEY,
    LARGE,
    READS,
    SMALL,
    Requests,
    cached_files,
    cached_store,
    count_operations,
    read_by_open_seekable,
    read_by_open_stream,
)


@pytest.mark.req("A-132", "A-089")
@pytest.mark.parametrize(("read", "again"), list(zip(READS, [*READS[1:], READS[0]], strict=True)))
def test_a_second_read_sends_one_head_and_fetches_nothing(
    store: S3Store,
    requests: Requests,
    tmp_path: Path,
    read: Callable[[ObjectStore, str], bytes],
    again: Callable[[ObjectStore, str], bytes],
) -> None:
    store.write_bytes(KEY, SMALL)
    cached = cached_store(store, tmp_path)
    assert read(cached, KEY) == SMALL
    requests.clear()
    assert again(cached, KEY) == SMALL
    assert count_operations(requests) == {"HeadObject": 1}
    assert (cached.hits, cached.misses, cached.hit_rate) == (1, 1, 0.5)


@pytest.mark.req("A-132")
def test_a_small_object_is_fetched_in_one_request(store: S3Store, requests: Requests, tmp_path: Path) -> None:
    store.write_bytes(KEY, SMALL)
    requests.clear()
    read_by_open_seekable(cached_store(store, tmp_path), KEY)
    assert count_operations(requests) == {"HeadObject": 1, "GetObject": 1}


@pytest.mark.req("A-132")
@pytest.mark.parametrize("read", READS[:3])
def test_a_large_object_that_is_read_completely_is_cached(
    store: S3Store, requests: Requests, tmp_path: Path, read: Callable[[ObjectStore, str], bytes]
) -> None:
    store.write_bytes(KEY, LARGE)
    cached = cached_store(store, tmp_path)
    assert read(cached, KEY) == LARGE
    requests.clear()
    assert read(cached, KEY) == read_by_open_seekable(cached, KEY) == LARGE
    assert count_operations(requests) == {"HeadObject": 2}


@pytest.mark.req("A-132")
def test_a_large_object_is_cached_after_its_full_size_was_read_in_ranges(
    store: S3Store, requests: Requests, tmp_path: Path
) -> None:
    store.write_bytes(KEY, LARGE)
    cached = cached_store(store, tmp_path)
    for start in (0, 1_500_000, 3_000_000):
        with cached.open_seekable(KEY) as stream:
            assert stream.seekable()
            assert stream.seek(start) == stream.tell() == start
            buffer = bytearray(1_500_000)
            assert stream.readinto(buffer) == len(buffer)  # type: ignore[attr-defined]  # every raw stream has it
            assert bytes(buffer) == LARGE[start : start + 1_500_000]
        assert cached_files(tmp_path) == []
    assert read_by_open_seekable(cached, KEY) == LARGE
    assert len(cached_files(tmp_path)) == 1
    requests.clear()
    with cached.open_seekable(KEY) as stream:
        stream.seek(4_000_000)
        assert stream.read() == LARGE[4_000_000:]
    assert count_operations(requests) == {"HeadObject": 1}
    assert (cached.hits, cached.misses) == (1, 4)


def test_parquet_reads_from_ranges_and_from_disk_are_identical(store: S3Store, tmp_path: Path) -> None:
    table = pa.table({"speed": np.random.default_rng(3).random(700_000)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=100_000, compression="none", use_dictionary=False)
    store.write_file(KEY, tmp_path / "x.parquet")
    cached = cached_store(store, tmp_path)
    for _ in range(3):
        with cached.open_seekable(KEY) as file:
            assert pq.ParquetFile(file).read_row_group(4).equals(table.slice(400_000, 100_000))
        cached.read_bytes(KEY)
    assert cached.hits == 4


def test_read_head_sends_a_single_get_and_caches_nothing(store: S3Store, requests: Requests, tmp_path: Path) -> None:
    store.write_bytes(KEY, SMALL)
    requests.clear()
    assert cached_store(store, tmp_path).read_head(KEY, 3) == SMALL[:3]
    assert count_operations(requests) == {"GetObject": 1}
    assert cached_files(tmp_path) == []


@pytest.mark.req("A-132")
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_replaced_or_deleted_object_is_never_served_from_the_cache(
    store: S3Store,
    s3_bucket: S3Bucket,
    tmp_path: Path,
    read: Callable[[ObjectStore, str], bytes],
    *,
    is_recorded: bool,
) -> None:
    cached = cached_store(store, tmp_path)
    for content in (b"old", b"new", b"old"):
        if is_recorded:
            store.write_bytes(KEY, content)
        else:
            s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=KEY, Body=content)
        assert read(cached, KEY) == content
        assert read(cached, KEY) == content
    assert cached.hits == 4, (
        "every second read, and the first read of the third version, which repeats the first content"
    )
    cached.delete(KEY)
    with pytest.raises(ObjectMissingError):
        read(cached, KEY)


@pytest.mark.req("A-132")
def test_an_object_without_a_digest_is_cached_by_address_and_tag(
    store: S3Store, s3_bucket: S3Bucket, requests: Requests, tmp_path: Path
) -> None:
    for key in ("data/a.csv", "data/b.csv"):
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=SMALL)
    cached = cached_store(store, tmp_path)
    assert cached.read_bytes("data/a.csv") == cached.read_bytes("data/b.csv") == SMALL
    assert len(cached_files(tmp_path)) == 2
    requests.clear()
    assert cached.read_bytes("data/a.csv") == SMALL
    assert count_operations(requests) == {"HeadObject": 1}


def test_the_same_content_under_several_keys_is_cached_once(store: S3Store, tmp_path: Path) -> None:
    store.write_bytes("data/a.csv", SMALL)
    store.copy("data/a.csv", "data/b.csv")
    cached = cached_store(store, tmp_path)
    assert cached.read_bytes("data/a.csv") == cached.read_bytes("data/b.csv") == SMALL
    assert (len(cached_files(tmp_path)), cached.hits) == (1, 1)


@pytest.mark.req("A-132")
def test_concurrent_threads_fetch_an_object_once(store: S3Store, requests: Requests, tmp_path: Path) -> None:
    store.write_bytes(KEY, LARGE)
    cached = cached_store(store, tmp_path)
    requests.clear()
    barrier = threading.Barrier(32)

    def read(_: int) -> str:
        barrier.wait()
        return hashlib.sha256(read_by_open_stream(cached, KEY)).hexdigest()

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(read, range(32))) == {hashlib.sha256(LARGE).hexdigest()}
    ranges = [headers.get("Range") for name, headers in requests if name == "GetObject"]
    assert len(ranges) == len(set(ranges)), "no range was fetched twice"
    assert count_operations(requests)["HeadObject"] == 32
    assert (cached.hits, cached.misses) == (31, 1)


def test_a_failed_fetch_fails_all_waiting_reads_and_the_next_read_retries(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes(KEY, SMALL)
    cached, attempts = cached_store(store, tmp_path), list[str]()

    def fail(key: str) -> bytes:
        attempts.append(key)
        time.sleep(1)
        raise StoreCorruptionError("Damaged.", "Write it again.")

    def read(_: int) -> None:
        with pytest.raises(StoreCorruptionError):
            cached.read_bytes(KEY)

    with monkeypatch.context() as patched, ThreadPoolExecutor(4) as pool:
        patched.setattr(store, "read_bytes", fail)
        list(pool.map(read, range(4)))
    assert len(attempts) < 4
    assert cached.read_bytes(KEY) == SMALL


_READER = """
import sys
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.factory import open_store
store = open_store(load_settings(), for_writing=False)
sys.stdin.readline()
with store.open_as_file("tables/x.parquet") as path:
    print(path.stat().st_size, store.hits, store.misses)
"""


@pytest.mark.req("A-132")
def test_concurrent_processes_fetch_an_object_once(store: S3Store, s3_bucket: S3Bucket, tmp_path: Path) -> None:
    store.write_bytes(KEY, LARGE)
    environment = {
        **s3_bucket.environment,
        "APEX_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PATH": os.environ["PATH"],
    }
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", _READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        for _ in range(4)
    ]
    outputs = [reader.communicate("go\n", timeout=600)[0].split() for reader in readers]
    assert [size for size, _, _ in outputs] == [str(len(LARGE))] * 4
    assert sum(int(misses) for _, _, misses in outputs) == 1
    assert sum(int(hits) for _, hits, _ in outputs) == 3


@pytest.mark.parametrize("is_recorded", [True, False])
def test_an_object_replaced_while_it_is_fetched_is_not_cached(
    store: S3Store, s3_bucket: S3Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_recorded: bool
) -> None:
    def put(content: bytes) -> None:
        if is_recorded:
            store.write_bytes(KEY, content)
        else:
            s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=KEY, Body=content)

    def head_then_replace(key: str) -> ObjectInfo | None:
        monkeypatch.undo()
        found = store.head(key)
        put(b"new")
        return found

    put(b"old")
    cached = cached_store(store, tmp_path)
    monkeypatch.setattr(store, "head", head_then_replace)
    assert cached.read_bytes(KEY) == b"new"
    assert cached_files(tmp_path) == []
    assert (cached.hits, cached.misses, cached.hit_rate) == (0, 1, 0.0)


def test_other_operations_are_delegated_to_the_store(store: S3Store, s3_bucket: S3Bucket, tmp_path: Path) -> None:
    cached = cached_store(store, tmp_path)
    s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key="data/started.csv")
    (upload,) = cached.incomplete_uploads()
    assert upload.key == "data/started.csv"
    cached.abort(upload)
    assert cached.incomplete_uploads() == []
    assert cached.presigned_url("data/x.csv", 60).startswith(s3_bucket.server.endpoint)
    assert cached.request_stats == store.request_stats
    assert cached.request_stats.requests > 0
    with cached.open_seekable(cached.write_bytes(KEY, LARGE).key) as stream:
        assert stream.readable()


@pytest.mark.req("A-126", "K-30")
def test_nothing_is_cached_by_default(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in s3_bucket.environment.items():
        monkeypatch.setenv(name, value)
    assert type(open_store(load_settings(), for_writing=False)) is S3Store
    open_store(load_settings(), for_writing=True).write_bytes(KEY, SMALL)
    open_store(load_settings(), for_writing=False).read_bytes(KEY)
    assert not (tmp_path / "cache").exists()


@pytest.mark.req("A-132", "K-30")
def test_the_settings_enable_the_cache_for_reads_from_s3_only(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {**s3_bucket.environment, "APEX_CACHE_DIR": "cache", "APEX_CACHE_SIZE": "1MB"}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    writing = open_store(settings, for_writing=True)
    assert type(writing) is S3Store
    writing.write_bytes(KEY, SMALL)
    for reading in (open_store(settings, for_writing=False), open_store_at(f"s3://{s3_bucket.name}", settings)):
        assert isinstance(reading, CachedStore)
        assert reading.read_bytes(KEY) == SMALL
    assert len(cached_files(tmp_path)) == 1
    assert type(open_store_at("lake", settings)) is LocalStore

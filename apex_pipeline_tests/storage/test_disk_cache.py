"""Tests of the disk cache: damage is detected, the size is bounded, and failures only cost time."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.disk_cache import DiskCache
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.cache_harness import (
    KEY,
    LARGE,
    READS,
    SMALL,
    cached_files,
    cached_store,
    disk_usage,
    read_by_read_bytes,
)


@pytest.mark.req("A-132")
@pytest.mark.parametrize(
    ("read", "damage"),
    [
        *((read, "a flipped bit, old time") for read in READS),
        *((read_by_read_bytes, damage) for damage in ("a flipped bit", "cut short", "emptied")),
    ],
)
def test_a_damaged_copy_is_detected_and_fetched_again(
    store: S3Store, tmp_path: Path, read: Callable[[ObjectStore, str], bytes], damage: str
) -> None:
    store.write_bytes(KEY, SMALL)
    cached_store(store, tmp_path).read_bytes(KEY)
    (kept,) = cached_files(tmp_path)
    before = kept.stat()
    content = bytearray(SMALL)
    content[7] ^= 1
    kept.write_bytes(SMALL[:-1] if damage == "cut short" else b"" if damage == "emptied" else content)
    if damage.endswith("old time"):
        os.utime(kept, ns=(before.st_atime_ns, before.st_mtime_ns))
    another_process = cached_store(store, tmp_path)
    assert read(another_process, KEY) == SMALL
    assert (another_process.hits, another_process.misses) == (0, 1)
    assert read(another_process, KEY) == SMALL
    assert another_process.hits == 1


def test_a_copy_damaged_between_two_reads_is_detected_by_its_modification_time(store: S3Store, tmp_path: Path) -> None:
    store.write_bytes(KEY, SMALL)
    cached = cached_store(store, tmp_path)
    cached.read_bytes(KEY)
    (kept,) = cached_files(tmp_path)
    kept.write_bytes(bytes(len(SMALL)))
    assert cached.read_bytes(KEY) == SMALL


def test_an_object_damaged_in_the_store_is_not_cached(store: S3Store, s3_bucket: S3Bucket, tmp_path: Path) -> None:
    store.write_bytes(KEY, LARGE)
    metadata = s3_bucket.client.head_object(Bucket=s3_bucket.name, Key=KEY)["Metadata"]
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=KEY, Body=bytes(len(LARGE)), Metadata=metadata)
    cached = cached_store(store, tmp_path)
    for read in READS[:3]:
        with pytest.raises(StoreCorruptionError, match="damaged"):
            read(cached, KEY)
    assert cached_files(tmp_path) == []
    assert disk_usage(tmp_path / "cache") < 1000, "no partial download is left"


@pytest.mark.req("A-132")
def test_the_least_recently_used_object_is_evicted_to_stay_within_the_limit(store: S3Store, tmp_path: Path) -> None:
    contents = {name: bytes([number]) * 1000 for number, name in enumerate("abcd")}
    for name, content in contents.items():
        store.write_bytes(name, content)
    cached = cached_store(store, tmp_path, max_bytes=3_500)
    for name in "abcabad":
        cached.read_bytes(name)
    contents_cached = {path.read_bytes() for path in cached_files(tmp_path)}
    assert contents_cached == {contents[name] for name in "abd"}
    assert disk_usage(tmp_path / "cache") <= 3_500


@pytest.mark.parametrize("read", READS)
def test_an_object_larger_than_the_cache_is_read_from_the_store(
    store: S3Store, tmp_path: Path, read: Callable[[ObjectStore, str], bytes]
) -> None:
    store.write_bytes("small", b"1" * 500)
    store.write_bytes(KEY, SMALL)
    cached = cached_store(store, tmp_path, max_bytes=1000)
    cached.read_bytes("small")
    assert read(cached, KEY) == read(cached, KEY) == SMALL
    assert len(cached_files(tmp_path)) == 1, "nothing was evicted for it"
    assert cached.hits == 0


def test_a_copy_in_use_is_not_evicted(store: S3Store, tmp_path: Path) -> None:
    for name in "ab":
        store.write_bytes(name, name.encode() * 1000)
    cached = cached_store(store, tmp_path, max_bytes=1_500)
    with cached.open_as_file("a") as path:
        assert cached.read_bytes("b") == b"b" * 1000
        assert path.read_bytes() == b"a" * 1000
        assert len(cached_files(tmp_path)) == 1
    assert not path.exists()
    assert cached.read_bytes("b") == b"b" * 1000
    assert [kept.read_bytes() for kept in cached_files(tmp_path)] == [b"b" * 1000]


def test_a_copy_deleted_by_hand_stays_readable_while_it_is_open(store: S3Store, tmp_path: Path) -> None:
    store.write_bytes(KEY, SMALL)
    cached = cached_store(store, tmp_path)
    with cached.open_as_file(KEY) as path:
        (kept,) = cached_files(tmp_path)
        kept.unlink()
        assert path.read_bytes() == SMALL
    assert cached.read_bytes(KEY) == SMALL


@pytest.mark.parametrize("read", READS)
def test_without_a_usable_disk_all_reads_go_to_the_store(
    store: S3Store, tmp_path: Path, read: Callable[[ObjectStore, str], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    store.write_bytes(KEY, SMALL)
    (tmp_path / "cache").write_text("a file where the folder should be")
    cached = cached_store(store, tmp_path)
    assert read(cached, KEY) == read(cached, KEY) == SMALL
    assert [record.levelname for record in caplog.records if "cache cannot be used" in record.message] == ["WARNING"]
    assert (cached.hits, cached.misses) == (0, 2)


@pytest.mark.parametrize("read", READS)
def test_without_hard_links_a_cached_object_is_copied_and_not_fetched_again(
    store: S3Store, tmp_path: Path, read: Callable[[ObjectStore, str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no hard links on this file system")

    monkeypatch.setattr(os, "link", refuse)
    store.write_bytes(KEY, SMALL)
    cached = cached_store(store, tmp_path)
    assert read(cached, KEY) == read(cached, KEY) == SMALL
    assert (cached.hits, cached.misses) == (1, 1)


def test_a_read_succeeds_when_the_cache_disk_is_full(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes(KEY, SMALL)
    path_open = Path.open

    def open_full(path: Path, mode: str = "r", *rest: Any) -> Any:
        return path_open(Path("/dev/full"), "wb") if mode == "r+b" else path_open(path, mode, *rest)

    monkeypatch.setattr(Path, "open", open_full)
    assert cached_store(store, tmp_path).read_bytes(KEY) == SMALL
    assert cached_files(tmp_path) == []


def test_a_copy_removed_while_it_is_opened_is_fetched_again(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes(KEY, SMALL)
    cached = cached_store(store, tmp_path)
    cached.read_bytes(KEY)
    (kept,) = cached_files(tmp_path)

    def remove_then_link(*_: object) -> None:
        monkeypatch.undo()
        kept.unlink()
        raise FileNotFoundError

    monkeypatch.setattr(os, "link", remove_then_link)
    assert cached.read_bytes(KEY) == SMALL
    assert (cached.misses, cached_files(tmp_path)) == (2, [kept])


def test_a_file_that_disappears_during_eviction_is_ignored(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes(KEY, SMALL)
    walk = os.walk

    def walk_with_missing_file(folder: Path) -> list[tuple[str, list[str], list[str]]]:
        return [*walk(folder), (str(folder), [], ["gone"])]

    monkeypatch.setattr(os, "walk", walk_with_missing_file)
    assert cached_store(store, tmp_path).read_bytes(KEY) == SMALL
    assert len(cached_files(tmp_path)) == 1


def test_a_process_that_is_stopped_while_it_fetches_does_not_stop_the_others(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.storage.disk_cache._PATIENCE_S", 0.1)
    store.write_bytes(KEY, SMALL)
    cached = cached_store(store, tmp_path)
    with DiskCache(tmp_path / "cache", 1).lock(hashlib.sha256(SMALL).hexdigest()):
        assert cached.read_bytes(KEY) == SMALL
    assert (cached.hits, cached.misses) == (0, 1)
    assert cached.read_bytes(KEY) == SMALL

"""Tests of copying many files: the decision per file and the report."""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from apex_pipeline.errors import (
    ApexError,
    FileChangedError,
    StorageFullError,
    StoreAuthError,
    StoreConfigError,
    StoreError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.progress import Progress
from apex_pipeline.storage import copy
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.copy import NOT_STORED, CopiedFile, CopyFailure, CopyItem, copy_file, copy_files, iter_copies
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.s3_server import S3Bucket


class RecordingStore(LocalStore):
    """Records its lookups and writes, and fails for chosen keys."""

    def __init__(self, root: Path, failing: dict[str, Exception] | None = None) -> None:
        super().__init__(root, DigestCache())
        self.failing = failing or {}
        self.written: list[str] = []
        self.looked_up: list[str] = []

    def head(self, key: str) -> ObjectInfo | None:
        self.looked_up.append(key)
        return super().head(key)

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        if key in self.failing:
            raise self.failing[key]
        self.written.append(key)
        return super().write_file(key, path, sha256=sha256, progress=progress)


@pytest.fixture
def items(tmp_path: Path) -> list[CopyItem]:
    folder = tmp_path / "source" / "COTA" / "Race 1"
    folder.mkdir(parents=True)
    for number in range(10):
        (folder / f"{number}.csv").write_bytes(b"x" * number)
    return [CopyItem(folder / f"{number}.csv", f"data/COTA/Race 1/{number}.csv") for number in range(10)]


def _digests() -> DigestCache:
    return DigestCache(now_ns=lambda: time.time_ns() + 10**10)


@pytest.mark.req("A-040", "A-041")
def test_every_file_is_stored_under_its_key(tmp_path: Path, items: list[CopyItem]) -> None:
    store = RecordingStore(tmp_path / "lake")
    copied: list[int] = []
    report = copy_files(store, items, _digests(), copied.append)
    assert report
    assert [file.item for file in report.copied] == items
    assert report.bytes_copied == sum(copied) == 45
    assert all(file.sha256 == hashlib.sha256(b"x" * file.size).hexdigest() for file in report.copied)
    assert [stored.key for stored in store.list()] == [item.key for item in items]


@pytest.mark.req("A-049")
def test_a_second_run_writes_nothing(tmp_path: Path, items: list[CopyItem]) -> None:
    digests = _digests()
    copy_files(RecordingStore(tmp_path / "lake"), items, digests)
    store = RecordingStore(tmp_path / "lake")
    copied: list[int] = []
    report = copy_files(store, items, digests, copied.append)
    assert report
    assert not store.written
    assert not report.copied
    assert [file.item for file in report.unchanged] == items
    assert report.bytes_unchanged == sum(copied) == 45


def test_digests_known_to_the_caller_are_not_looked_up(tmp_path: Path, items: list[CopyItem]) -> None:
    store = RecordingStore(tmp_path / "lake")
    same = CopyItem(items[1].path, items[1].key, known_sha256=hashlib.sha256(b"x").hexdigest())
    other = CopyItem(items[2].path, items[2].key, known_sha256="0" * 64)
    new = CopyItem(items[3].path, items[3].key, known_sha256=NOT_STORED)
    report = copy_files(store, [same, other, new], _digests())
    assert not store.looked_up
    assert [file.item for file in report.unchanged] == [same]
    assert [file.item for file in report.copied] == [other, new]


@pytest.mark.req("A-047")
def test_one_failed_file_does_not_stop_the_others(tmp_path: Path, items: list[CopyItem]) -> None:
    failures: dict[str, Exception] = {
        items[2].key: StoreUnavailableError("It timed out.", "Again."),
        items[5].key: StoreError("Too large.", "Split it."),
    }
    items[8].path.unlink()
    report = copy_files(RecordingStore(tmp_path / "lake", failures), items, _digests())
    assert not report
    assert [failure.item for failure in report.failed] == [items[2], items[5], items[8]]
    assert [type(failure.error) for failure in report.failed] == [StoreUnavailableError, StoreError, FileChangedError]
    assert len(report.copied) == 7
    assert not report.not_tried
    assert report.stopped_by is None


def test_an_unsafe_key_does_not_stop_the_others(tmp_path: Path, items: list[CopyItem]) -> None:
    report = copy_files(RecordingStore(tmp_path / "lake"), [CopyItem(items[0].path, "../out"), *items[1:]], _digests())
    assert len(report.copied) == 9
    assert "'../out'" in str(report.failed[0].error)


@pytest.mark.req("A-048")
@pytest.mark.parametrize("error_type", [StoreAuthError, StoreConfigError, StorageFullError, StorePermissionError])
def test_a_fatal_error_stops_the_batch_and_the_report_lists_every_file(
    tmp_path: Path, items: list[CopyItem], monkeypatch: pytest.MonkeyPatch, error_type: type[ApexError]
) -> None:
    monkeypatch.setattr(copy, "_PARALLEL_FILES", 1)
    error = error_type("No.", "Ask.")
    store = RecordingStore(tmp_path / "lake", {items[4].key: error})
    report = copy_files(store, items, _digests())
    assert not report
    assert [file.item for file in report.copied] == items[:4]
    assert report.stopped_by is error
    assert [failure.item for failure in report.failed] == [items[4]]
    assert list(report.not_tried) == items[5:]
    assert store.written == [item.key for item in items[:4]]


def test_an_interrupt_ends_the_batch(tmp_path: Path, items: list[CopyItem], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "_PARALLEL_FILES", 1)

    class Interrupted(BaseException):
        pass

    store = RecordingStore(tmp_path / "lake")

    def interrupt(_: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        copy_files(store, items[1:], _digests(), interrupt)
    assert len(store.written) < len(items)
    assert not list(store.list())


def test_a_copy_in_progress_is_abandoned_when_the_batch_stops(
    tmp_path: Path, items: list[CopyItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_stopped = threading.Event()

    def write(key: str, _: Path, *, progress: Progress, **__: Any) -> ObjectInfo:
        if key == items[1].key:
            is_stopped.set()
            raise StoreAuthError("The key is unknown.", "Check it.")
        assert is_stopped.wait(60)
        while True:  # a large file: it is copied until progress() raises
            progress(1)
            time.sleep(0.01)

    store = RecordingStore(tmp_path / "lake")
    monkeypatch.setattr(store, "write_file", write)
    report = copy_files(store, items[:2], _digests())
    assert [failure.item for failure in report.failed] == [items[1]]
    assert report.not_tried == (items[0],)
    assert report.stopped_by is report.failed[0].error


def test_a_report_without_files_is_truthy(tmp_path: Path) -> None:
    assert copy_files(RecordingStore(tmp_path / "lake"), [], _digests())


def _copy_one(store: LocalStore) -> Callable[[CopyItem, Progress], CopiedFile]:
    return lambda item, progress: copy_file(store, item, NOT_STORED, DigestCache(), progress)


def test_each_outcome_is_yielded_while_other_copies_are_running(tmp_path: Path, items: list[CopyItem]) -> None:
    is_seen = threading.Event()
    copy_now = _copy_one(RecordingStore(tmp_path / "lake"))

    def copy_one(item: CopyItem, progress: Progress) -> CopiedFile:
        if item != items[3]:
            assert is_seen.wait(10)
        return copy_now(item, progress)

    results = iter_copies(items, copy_one)
    assert next(results) == CopiedFile(items[3], 3, hashlib.sha256(b"xxx").hexdigest(), ANY)
    is_seen.set()
    assert len(list(results)) == 9


def test_all_files_share_one_thread_pool(tmp_path: Path, items: list[CopyItem]) -> None:
    threads: set[str] = set()
    copy_now = _copy_one(RecordingStore(tmp_path / "lake"))

    def copy_one(item: CopyItem, progress: Progress) -> CopiedFile:
        threads.add(threading.current_thread().name)
        return copy_now(item, progress)

    many = [replace(item, key=f"{item.key}/{number}") for number in range(20) for item in items]
    assert len(list(iter_copies(many, copy_one))) == 200
    assert len(threads) <= 10


def test_a_fatal_error_of_the_first_file_stops_the_others_before_they_start(
    tmp_path: Path, items: list[CopyItem]
) -> None:
    error = StoreAuthError("No.", "Ask.")
    store = RecordingStore(tmp_path / "lake", {items[0].key: error})
    results = list(iter_copies(items[1:], _copy_one(store), first=items[0]))
    assert results[0] == CopyFailure(items[0], error)
    assert {item.key for item in results[1:] if isinstance(item, CopyItem)} == {item.key for item in items[1:]}
    assert store.written == []


def test_closing_the_generator_starts_no_further_copies(
    tmp_path: Path, items: list[CopyItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "_PARALLEL_FILES", 1)
    store = RecordingStore(tmp_path / "lake")
    copy_now = _copy_one(store)

    def copy_one(item: CopyItem, progress: Progress) -> CopiedFile:
        while item == items[1]:  # a large file: it is copied until the batch is stopped
            progress(0)
            time.sleep(0.01)
        return copy_now(item, progress)

    results = iter_copies(items, copy_one)
    next(results)
    results.close()
    assert store.written == [items[0].key]


@pytest.mark.req("A-049")
def test_a_second_run_into_a_bucket_uploads_nothing(s3_bucket: S3Bucket, items: list[CopyItem]) -> None:
    server = s3_bucket.server
    connection = S3Connection(
        s3_bucket.name, "us-east-1", server.endpoint, server.access_key_id, server.secret_access_key
    )
    digests = _digests()
    store = S3Store(connection, "", digests)
    sent: list[str] = []
    connection.client.meta.events.register("before-call.s3", lambda model, **_: sent.append(model.name))
    assert len(copy_files(store, items, digests).copied) == 10
    assert sorted(sent) == ["ListObjectsV2", *["PutObject"] * 10]
    sent.clear()
    assert len(copy_files(store, items, digests).unchanged) == 10
    assert sorted(sent) == [*["HeadObject"] * 10, "ListObjectsV2"]


@pytest.mark.req("A-048")
def test_wrong_credentials_stop_the_batch_before_anything_is_written(
    s3_bucket: S3Bucket, items: list[CopyItem]
) -> None:
    connection = S3Connection(s3_bucket.name, "us-east-1", s3_bucket.server.endpoint, "unknown", "wrong")
    digests = _digests()
    report = copy_files(S3Store(connection, "", digests), items, digests)
    assert isinstance(report.stopped_by, StoreAuthError)
    assert not report.copied
    assert len(report.failed) + len(report.not_tried) == len(items)

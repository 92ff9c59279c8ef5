"""Multipart uploads to a real server: interrupted and resumed, never partly visible, and nothing left behind."""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apex_pipeline.errors import FileChangedError, StoreConfigError, StorePermissionError, StoreUnavailableError
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline.storage.s3.upload import limits
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.storage.s3.harness import store_of, write_source

_KEY = "data/telemetry.csv"
_MIB = 1024**2
_CONTENT = np.random.default_rng(5).bytes(41 * _MIB)
_PARTS = 6

Requests = list[tuple[str, dict[str, Any]]]


@pytest.fixture(autouse=True)
def one_part_at_a_time(connection: S3Connection) -> None:
    """Send parts one at a time, so a test knows how many have been sent."""
    connection.upload_slots = threading.BoundedSemaphore(1)


class _KilledError(BaseException):
    """Simulates a killed process: not an ``Exception``, so no error handler catches it."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path, _CONTENT)


def _kill_after(parts: int) -> Callable[[int], None]:
    """Return a progress callback that raises ``_KilledError`` after this number of parts."""
    seen: list[int] = []

    def progress(moved: int) -> None:
        seen.append(moved)
        if len(seen) > parts:
            raise _KilledError

    return progress


def _uploads(bucket: S3Bucket) -> list[Any]:
    return list(bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []))


def _sent(requests: Requests, operation: str) -> int:
    return Counter(name for name, _ in requests)[operation]


@pytest.mark.parametrize("parts", [0, 3])
def test_resume_sends_only_the_missing_parts(
    s3_bucket: S3Bucket, store: S3Store, requests: Requests, source: Path, parts: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(_KilledError):
        store.write_file(_KEY, source, progress=_kill_after(parts))
    assert s3_bucket.object_keys() == []
    (upload,) = _uploads(s3_bucket)
    stored = s3_bucket.client.list_parts(Bucket=s3_bucket.name, Key=_KEY, UploadId=upload["UploadId"])["Parts"]
    assert len(stored) == parts + 1
    requests.clear()
    moved: list[int] = []
    with caplog.at_level(logging.INFO):
        store.write_file(_KEY, source, progress=moved.append)
    assert _sent(requests, "UploadPart") == _PARTS - parts - 1
    assert _sent(requests, "CreateMultipartUpload") == 0
    assert f"the store has {parts + 1} parts" in caplog.text
    assert sum(moved) == len(_CONTENT)
    assert store.read_bytes(_KEY) == _CONTENT
    assert _uploads(s3_bucket) == []


def test_parts_sent_concurrently_form_the_same_object(
    s3_bucket: S3Bucket, connection: S3Connection, store: S3Store, source: Path
) -> None:
    connection.upload_slots = threading.BoundedSemaphore(10)
    store.write_file(_KEY, source)
    assert store.read_bytes(_KEY) == _CONTENT
    assert _uploads(s3_bucket) == []


def test_stored_parts_with_other_bytes_are_sent_again(s3_bucket: S3Bucket, store: S3Store, source: Path) -> None:
    with pytest.raises(_KilledError):
        store.write_file(_KEY, source, progress=_kill_after(2))
    (upload,) = _uploads(s3_bucket)
    s3_bucket.client.upload_part(
        Bucket=s3_bucket.name,
        Key=_KEY,
        UploadId=upload["UploadId"],
        PartNumber=1,
        Body=bytes(8 * _MIB),
        ChecksumAlgorithm="CRC32",
    )
    store.write_file(_KEY, source)
    assert store.read_bytes(_KEY) == _CONTENT


def test_an_upload_of_changed_content_is_aborted_and_restarted(
    s3_bucket: S3Bucket, store: S3Store, requests: Requests, source: Path
) -> None:
    with pytest.raises(_KilledError):
        store.write_file(_KEY, source, progress=_kill_after(2))
    source.write_bytes(_CONTENT[::-1])
    store.write_file(_KEY, source)
    assert store.read_bytes(_KEY) == _CONTENT[::-1]
    assert _uploads(s3_bucket) == []
    assert _sent(requests, "AbortMultipartUpload") == 1


def test_an_upload_that_the_store_has_dropped_is_restarted(s3_bucket: S3Bucket, store: S3Store, source: Path) -> None:
    with pytest.raises(_KilledError):
        store.write_file(_KEY, source, progress=_kill_after(2))
    for upload in store.incomplete_uploads():
        store.abort(upload)
        store.abort(upload)
    assert store.incomplete_uploads() == []
    store.write_file(_KEY, source)
    assert store.read_bytes(_KEY) == _CONTENT


def test_an_upload_whose_id_was_lost_is_not_left_behind(
    s3_bucket: S3Bucket,
    store: S3Store,
    source: Path,
    connection: S3Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = connection.client
    create = client.create_multipart_upload

    def die(**options: Any) -> None:
        create(**options)
        raise _KilledError

    monkeypatch.setattr(client, "create_multipart_upload", die)
    with pytest.raises(_KilledError):
        store.write_file(_KEY, source)
    monkeypatch.undo()
    # An upload to another key with the same prefix must not be aborted.
    other = s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key=f"{_KEY}.bak")["UploadId"]
    assert len(_uploads(s3_bucket)) == 2
    store.write_file(_KEY, source)
    assert [upload["UploadId"] for upload in _uploads(s3_bucket)] == [other]


def test_a_completed_upload_is_recognized_after_a_lost_reply(
    store: S3Store, source: Path, connection: S3Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = connection.client.complete_multipart_upload

    def lose_reply(**options: Any) -> Any:
        complete(**options)
        return complete(**options)  # like a retry, after the upload is gone

    monkeypatch.setattr(connection.client, "complete_multipart_upload", lose_reply)
    assert store.write_file(_KEY, source).size == len(_CONTENT)
    assert store.read_bytes(_KEY) == _CONTENT


def test_an_upload_aborted_by_another_client_fails(
    store: S3Store, source: Path, connection: S3Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes(_KEY, b"old")
    complete = connection.client.complete_multipart_upload

    def too_late(**options: Any) -> Any:
        connection.client.abort_multipart_upload(**{name: options[name] for name in ("Bucket", "Key", "UploadId")})
        return complete(**options)

    monkeypatch.setattr(connection.client, "complete_multipart_upload", too_late)
    with pytest.raises(StoreUnavailableError, match="Another client aborted"):
        store.write_file(_KEY, source)
    assert store.read_bytes(_KEY) == b"old"
    monkeypatch.undo()
    store.write_file(_KEY, source)
    assert store.read_bytes(_KEY) == _CONTENT


@pytest.mark.parametrize(
    ("error", "is_kept"), [(StoreUnavailableError, True), (StorePermissionError, False), (StoreConfigError, False)]
)
def test_a_failed_upload_is_kept_only_if_the_next_run_can_resume_it(
    s3_bucket: S3Bucket, store: S3Store, source: Path, error: type[Exception], *, is_kept: bool
) -> None:
    def fail(_: int) -> None:
        raise error("The connection is lost.", "Run it again.")

    with pytest.raises(error):
        store.write_file(_KEY, source, progress=fail)
    assert len(_uploads(s3_bucket)) == is_kept
    assert s3_bucket.object_keys() == []


def test_a_file_edited_during_its_upload_keeps_the_old_object_and_leaves_no_parts(
    s3_bucket: S3Bucket, store: S3Store, source: Path
) -> None:
    store.write_bytes(_KEY, b"old")

    def edit(_: int) -> None:
        with source.open("r+b") as file:
            file.write(b"another lap")

    with pytest.raises(FileChangedError):
        store.write_file(_KEY, source, progress=edit)
    assert store.read_bytes(_KEY) == b"old"
    assert _uploads(s3_bucket) == []


@pytest.mark.parametrize("is_writer", [True, False])
def test_abandoned_uploads_are_aborted_by_the_next_writer(
    s3_bucket: S3Bucket, connection: S3Connection, store: S3Store, source: Path, *, is_writer: bool
) -> None:
    with pytest.raises(_KilledError):
        store.write_file(_KEY, source, progress=_kill_after(2))
    source.unlink()
    S3Store(connection, "", DigestCache(), aborts_abandoned=is_writer).check_access()
    assert len(_uploads(s3_bucket)) == (0 if is_writer else 1)


def test_an_upload_that_cannot_be_aborted_now_stays_in_the_journal(
    s3_bucket: S3Bucket, connection: S3Connection, store: S3Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(_KilledError):
        store.write_file(_KEY, source, progress=_kill_after(2))
    source.write_bytes(_CONTENT[::-1])
    abort = connection.client.abort_multipart_upload
    elsewhere = partial(abort, Bucket="no-such-bucket", Key=_KEY, UploadId="none")
    monkeypatch.setattr(connection.client, "abort_multipart_upload", lambda **_: elsewhere())
    writer = S3Store(connection, "", DigestCache(), aborts_abandoned=True)
    writer.check_access()
    assert len(_uploads(s3_bucket)) == 1
    monkeypatch.undo()
    writer.check_access()
    assert _uploads(s3_bucket) == []


def test_a_file_with_too_many_parts_gets_larger_parts(
    store: S3Store, requests: Requests, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_PARTS", 4)
    store.write_file(_KEY, source)
    assert _sent(requests, "UploadPart") == 4
    assert store.read_bytes(_KEY) == _CONTENT


def test_another_store_on_the_same_machine_resumes_the_upload(
    s3_bucket: S3Bucket, connection: S3Connection, store: S3Store, requests: Requests, source: Path
) -> None:
    with pytest.raises(_KilledError):
        store.write_file(_KEY, source, progress=_kill_after(3))
    requests.clear()
    store_of(connection).write_file(_KEY, source)
    assert _sent(requests, "UploadPart") == _PARTS - 4
    assert store.read_bytes(_KEY) == _CONTENT

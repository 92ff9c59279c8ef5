"""A lake in a bucket on a real server: the behaviour that the contract suite cannot test on every store."""

import hashlib
import io
import logging
import threading
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import FlexibleChecksumError, IncompleteReadError, ResponseStreamingError

from apex_pipeline.errors import (
    FileChangedError,
    StoreCorruptionError,
    StoreError,
    StoreUnavailableError,
)
from apex_pipeline.storage import streams
from apex_pipeline.storage.block_checksums import sums_of
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.s3 import store as s3
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.reader import S3Reader
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline.storage.s3.upload.checksums import to_metadata
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.storage.s3.harness import CONTENT, connect, store_of, write_source

_LARGE = np.random.default_rng(7).bytes(17_000_003)


@pytest.mark.parametrize("content", [CONTENT, _LARGE], ids=["in one request", "in parts"])
def test_an_upload_has_checksum_digest_and_content_type_and_no_acl(
    store: S3Store, s3_bucket: S3Bucket, requests: list[tuple[str, dict[str, Any]]], tmp_path: Path, content: bytes
) -> None:
    store.write_file("data/x.csv", write_source(tmp_path, content))
    head = s3_bucket.client.head_object(Bucket=s3_bucket.name, Key="data/x.csv", ChecksumMode="ENABLED")
    assert head["ContentType"] == "text/csv"
    assert head["Metadata"] == to_metadata(hashlib.sha256(content).hexdigest(), sums_of(content))
    assert head["ChecksumCRC32"] == b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    operations = [operation for operation, _ in requests]
    parts = ["CreateMultipartUpload", "CompleteMultipartUpload", *["UploadPart"] * 3]
    assert sorted(operations) == sorted(["PutObject"] if content is CONTENT else parts)
    assert not [name for _, headers in requests for name in headers if "acl" in name.lower()]
    assert all("apex-pipeline/" in headers["User-Agent"] for _, headers in requests)


@pytest.mark.req("K-27")
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("data/x.CSV", "text/csv"),
        ("catalog/current.json", "application/json"),
        ("tables/x.parquet", "application/vnd.apache.parquet"),
        ("data/noname", "application/octet-stream"),
    ],
)
def test_the_content_type_follows_the_suffix(store: S3Store, s3_bucket: S3Bucket, key: str, expected: str) -> None:
    store.write_bytes(key, b"")
    assert s3_bucket.client.head_object(Bucket=s3_bucket.name, Key=key)["ContentType"] == expected


def test_a_failed_multipart_upload_leaves_no_parts_behind(
    store: S3Store,
    connection: S3Connection,
    s3_bucket: S3Bucket,
    requests: list[tuple[str, dict[str, Any]]],
    tmp_path: Path,
) -> None:
    connection.upload_slots = threading.BoundedSemaphore(1)  # the file must be edited before it is read completely
    source = write_source(tmp_path, _LARGE)

    def edit(_: int) -> None:
        with source.open("ab") as file:
            file.write(b"another lap")

    with pytest.raises(FileChangedError):
        store.write_file("data/x.csv", source, progress=edit)
    operations = [operation for operation, _ in requests]
    assert "AbortMultipartUpload" in operations
    assert "CompleteMultipartUpload" not in operations
    assert not s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.name).get("Uploads")


def test_a_listing_covers_several_pages_and_skips_folder_markers(
    store: S3Store, s3_bucket: S3Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [f"data/{number:04}.csv" for number in range(1003)]
    for key in [*keys, "data/marker/"]:
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=b"")
    with caplog.at_level(logging.WARNING):
        assert [stored.key for stored in store.list("data/")] == keys
    assert not caplog.text


def test_invalid_keys_from_other_tools_are_skipped_with_a_warning(
    store: S3Store, s3_bucket: S3Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="data/a\x7fb.csv", Body=b"")
    store.write_bytes("data/x.csv", b"")
    with caplog.at_level(logging.WARNING):
        assert [stored.key for stored in store.list()] == ["data/x.csv"]
    assert "a\\x7fb.csv" in caplog.text


def test_an_object_from_another_tool_has_no_digest_and_can_be_read(store: S3Store, s3_bucket: S3Bucket) -> None:
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="data/x.csv", Body=CONTENT)
    found = store.head("data/x.csv")
    assert found is not None
    assert found.sha256 is None
    assert store.read_bytes("data/x.csv") == CONTENT
    with store.open_as_file("data/x.csv") as path:
        assert path.read_bytes() == CONTENT


def test_a_lake_under_a_prefix_lists_only_its_own_objects(s3_bucket: S3Bucket) -> None:
    one = S3Store(connect(s3_bucket), "lakes/one", DigestCache())
    other = S3Store(connect(s3_bucket), "lakes/one_more", DigestCache())
    one.write_bytes("data/x.csv", b"")
    assert one.uri == f"s3://{s3_bucket.name}/lakes/one"
    assert not list(other.list())
    assert s3_bucket.object_keys() == ["lakes/one/data/x.csv"]


def test_a_large_copy_is_multipart_and_keeps_the_digest(
    store: S3Store, requests: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(s3, "_COPY_IN_ONE_BYTES", 1_000_000)
    written = store.write_file("tables/x.parquet", write_source(tmp_path, _LARGE))
    copied = store.copy("tables/x.parquet", "history/x.parquet")
    assert copied.sha256 == written.sha256
    assert store.read_bytes("history/x.parquet") == _LARGE
    assert [operation for operation, _ in requests].count("UploadPartCopy") == 3


def test_a_large_copy_of_an_object_without_a_digest_has_none(
    store: S3Store, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_COPY_IN_ONE_BYTES", 1_000_000)
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="data/x.bin", Body=_LARGE)
    copied = store.copy("data/x.bin", "data/y.bin")
    assert (copied.sha256, copied.size) == (None, len(_LARGE))


def test_an_object_replaced_during_a_copy_is_detected(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes("data/x.csv", b"old")
    reader: S3Reader = vars(store)["_reader"]
    seen = reader.find("data/x.csv")
    store.write_bytes("data/x.csv", b"new")
    monkeypatch.setattr(reader, "find", lambda _: seen)
    with pytest.raises(FileChangedError, match="replaced in the meantime"):
        store.copy("data/x.csv", "data/y.csv")


# -- reading ranges ---------------------------------------------------------------------------------------------------


def test_reading_one_row_group_takes_few_requests_and_bytes(
    store: S3Store, requests: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    table = pa.table({name: np.random.default_rng(1).random(400_000) for name in "ab"})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=50_000, use_dictionary=False)
    store.write_file("tables/x.parquet", tmp_path / "x.parquet")
    requests.clear()
    with store.open_seekable("tables/x.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(3, columns=["a"]).num_rows == 50_000
    ranges = [headers["Range"].removeprefix("bytes=").split("-") for name, headers in requests if name == "GetObject"]
    fetched = sum(int(end) + 1 - int(start) for start, end in ranges)
    assert len(requests) <= 4
    assert fetched < 0.2 * (tmp_path / "x.parquet").stat().st_size


@pytest.mark.parametrize("is_deleted", [True, False])
def test_an_object_changed_during_a_read_is_detected(store: S3Store, *, is_deleted: bool) -> None:
    store.write_bytes("data/x.csv", b"old")
    with store.open_seekable("data/x.csv") as file:
        if is_deleted:
            store.delete("data/x.csv")
        else:
            store.write_bytes("data/x.csv", b"new")
        with pytest.raises(FileChangedError):
            file.read()


# -- replies that break off -------------------------------------------------------------------------------------------


class _BreakingClient:
    """A client whose first replies have a broken body."""

    def __init__(self, client: Any, faults: list[Exception | bytes]) -> None:
        self._client = client
        self._faults = faults

    def get_object(self, **options: Any) -> dict[str, Any]:
        reply = self._client.get_object(**options)
        if self._faults:
            reply["Body"].close()
            reply["Body"] = _BrokenBody(self._faults.pop(0))
        return reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class _BrokenBody(io.RawIOBase):
    def __init__(self, fault: Exception | bytes) -> None:
        super().__init__()
        self._fault = fault

    def read(self, _: int = -1, /) -> bytes:
        if isinstance(self._fault, Exception):
            raise self._fault
        content, self._fault = self._fault, b""
        return content


def _read_file(store: S3Store) -> bytes:
    with store.open_as_file("data/x.csv") as path:
        return path.read_bytes()


def _read_seekable(store: S3Store) -> bytes:
    with store.open_seekable("data/x.csv") as file:
        return file.read()


def _read_stream(store: S3Store) -> bytes:
    with store.open_stream("data/x.csv") as stream:
        return stream.read()


_READS: dict[str, Callable[[S3Store], bytes]] = {
    "read_bytes": lambda store: store.read_bytes("data/x.csv"),
    "read_head": lambda store: store.read_head("data/x.csv", 100),
    "open_as_file": _read_file,
    "open_seekable": _read_seekable,
    "open_stream": _read_stream,
}


def _breaking_store(
    s3_bucket: S3Bucket, faults: list[Exception | bytes], pauses: list[float], *, is_direct: bool = True
) -> S3Store:
    connection = connect(s3_bucket, is_direct=is_direct)
    store_of(connection).write_bytes("data/x.csv", CONTENT)
    name = "_direct" if connection.objects is not connection.client else "_client"
    vars(connection)[name] = _BreakingClient(connection.objects, faults)
    return S3Store(connection, "", DigestCache(), sleep=pauses.append)


_FAULTS = [
    ResponseStreamingError(error=ValueError("cut")),
    IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ConnectionResetError(104, "reset"),
]


@pytest.mark.parametrize("is_direct", [True, False], ids=["direct", "botocore"])
@pytest.mark.parametrize("read", _READS)
def test_a_request_is_repeated_when_its_reply_breaks_off(s3_bucket: S3Bucket, read: str, *, is_direct: bool) -> None:
    pauses: list[float] = []
    store = _breaking_store(s3_bucket, list(_FAULTS), pauses, is_direct=is_direct)
    assert _READS[read](store) == CONTENT
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("read", _READS)
def test_replies_that_always_break_off_raise_an_error(s3_bucket: S3Bucket, read: str) -> None:
    store = _breaking_store(s3_bucket, [*_FAULTS, *_FAULTS], [])
    with pytest.raises(StoreUnavailableError, match="the connection broke"):
        _READS[read](store)


@pytest.mark.parametrize("read", ["read_bytes", "open_as_file"])
@pytest.mark.parametrize("fault", [b"lap,time\n1,97.429\n", FlexibleChecksumError(error_msg="x")])
def test_bytes_damaged_in_transit_are_requested_again(s3_bucket: S3Bucket, read: str, fault: Exception | bytes) -> None:
    assert _READS[read](_breaking_store(s3_bucket, [fault], [])) == CONTENT
    with pytest.raises(StoreCorruptionError):
        _READS[read](_breaking_store(s3_bucket, [fault] * 4, []))


def test_a_stream_ends_without_error_only_if_its_bytes_are_intact(s3_bucket: S3Bucket) -> None:
    damaged = CONTENT.replace(b"1", b"7", 1)
    assert len(damaged) == len(CONTENT)
    assert _read_stream(_breaking_store(s3_bucket, [damaged], [])) == CONTENT
    with pytest.raises(StoreCorruptionError, match="damaged"):
        _read_stream(_breaking_store(s3_bucket, [damaged] * 4, []))


def test_a_stream_of_several_blocks_is_complete(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAM_BLOCK_BYTES", 7)
    store.write_bytes("data/x.csv", CONTENT)
    assert _read_stream(store) == CONTENT


def test_a_stream_of_a_replaced_object_raises_an_error(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAM_BLOCK_BYTES", 4)  # the object's own blocks are 16 KiB
    monkeypatch.setattr(s3, "_SMALL_BYTES", 200_000)
    content = _LARGE[:300_000]
    store.write_bytes("data/x.csv", content)
    with store.open_stream("data/x.csv") as stream:
        assert stream.read(4) == content[:4]
        store.write_bytes("data/x.csv", content[::-1])
        with pytest.raises(FileChangedError):
            stream.read()


def test_a_truncated_range_raises_an_error(s3_bucket: S3Bucket) -> None:
    with pytest.raises(StoreUnavailableError, match=f"3 of {len(CONTENT)} bytes"):
        _read_seekable(_breaking_store(s3_bucket, [b"lap"] * 4, []))


def test_an_unusable_download_folder_is_reported(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    (tmp_path / "scratch").write_bytes(b"")
    store = S3Store(connect(s3_bucket), "", DigestCache(), state=tmp_path / "scratch")
    store.write_bytes("data/x.csv", CONTENT)
    with pytest.raises(StoreError, match="Creating the folder for temporary files"):
        _read_file(store)


def test_a_copy_gets_the_access_control_list_of_the_store(
    connection: S3Connection, requests: list[tuple[str, dict[str, Any]]]
) -> None:
    store = S3Store(connection, "", DigestCache(), acl="public-read")
    source = store.write_bytes("objects/x.parquet", b"1")
    store.copy("objects/x.parquet", "tables/x.parquet", source_info=source)
    assert [(name, headers["x-amz-acl"]) for name, headers in requests] == [
        ("PutObject", "public-read"),
        ("CopyObject", "public-read"),
    ]

"""Tests of the lake in a bucket, against a real server: what the contract suite cannot ask of every store."""

import hashlib
import io
import logging
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError, FlexibleChecksumError, IncompleteReadError, ResponseStreamingError

from apex_pipeline.errors import (
    ApexError,
    StoreAuthError,
    StoreConfigError,
    StoreCorruptionError,
    StoreError,
    StorePermissionError,
    StoreUnavailableError,
    VanishedFileError,
)
from apex_pipeline.storage import s3, s3_client
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.s3 import S3Store
from apex_pipeline.storage.s3_client import S3Connection
from apex_pipeline_tests.servers.seaweed import S3Bucket

_CONTENT = b"lap,time\n1,97.428\n"
_LARGE = np.random.default_rng(7).bytes(17_000_003)
_NOWHERE = "http://127.0.0.1:1"  # nobody listens on port 1


def _connect(
    bucket: S3Bucket, *, name: str | None = None, key: str | None = None, secret: str | None = None
) -> S3Connection:
    server = bucket.server
    return S3Connection(
        name or bucket.name,
        "us-east-1",
        server.endpoint,
        key or server.access_key_id,
        secret or server.secret_access_key,
    )


def _store(connection: S3Connection, *, may_create_bucket: bool = False) -> S3Store:
    return S3Store(connection, "", Fingerprints(), may_create_bucket=may_create_bucket, sleep=lambda _: None)


@pytest.fixture
def connection(s3_bucket: S3Bucket) -> S3Connection:
    return _connect(s3_bucket)


@pytest.fixture
def store(connection: S3Connection) -> S3Store:
    return _store(connection)


@pytest.fixture
def requests(connection: S3Connection) -> list[tuple[str, dict[str, Any]]]:
    """What is sent from now on: operation and headers."""
    sent: list[tuple[str, dict[str, Any]]] = []

    def note(model: Any, params: dict[str, Any], **_: object) -> None:
        sent.append((model.name, params["headers"]))

    connection.client.meta.events.register("before-call.s3", note)
    return sent


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "source.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [_CONTENT, _LARGE], ids=["in one request", "in parts"])
def test_an_upload_carries_checksum_digest_and_type_and_no_access_list(
    store: S3Store, s3_bucket: S3Bucket, requests: list[tuple[str, dict[str, Any]]], tmp_path: Path, content: bytes
) -> None:
    store.write_file("data/x.csv", _file(tmp_path, content))
    head = s3_bucket.client.head_object(Bucket=s3_bucket.name, Key="data/x.csv", ChecksumMode="ENABLED")
    assert head["ContentType"] == "text/csv"
    assert head["Metadata"] == {"sha256": hashlib.sha256(content).hexdigest()}
    assert head["ChecksumCRC32"] == b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    operations = [operation for operation, _ in requests]
    parts = ["CreateMultipartUpload", "CompleteMultipartUpload", *["UploadPart"] * 3, "HeadObject"]
    assert sorted(operations) == sorted(["PutObject", "HeadObject"] if content is _CONTENT else parts)
    assert not [name for _, headers in requests for name in headers if "acl" in name.lower()]
    assert all("apex-pipeline/" in headers["User-Agent"] for _, headers in requests)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("data/x.CSV", "text/csv"),
        ("catalog/current.json", "application/json"),
        ("tables/x.parquet", "application/vnd.apache.parquet"),
        ("data/noname", "application/octet-stream"),
    ],
)
def test_the_content_type_follows_the_name(store: S3Store, s3_bucket: S3Bucket, key: str, expected: str) -> None:
    store.write_bytes(key, b"")
    assert s3_bucket.client.head_object(Bucket=s3_bucket.name, Key=key)["ContentType"] == expected


def test_a_refused_upload_in_parts_leaves_no_parts_behind(
    store: S3Store, s3_bucket: S3Bucket, requests: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    with pytest.raises(VanishedFileError):
        store.write_file("data/x.csv", _file(tmp_path, _LARGE), sha256="0" * 64)
    operations = [operation for operation, _ in requests]
    assert "AbortMultipartUpload" in operations
    assert "CompleteMultipartUpload" not in operations
    assert not s3_bucket.client.list_multipart_uploads(Bucket=s3_bucket.name).get("Uploads")


def test_a_listing_has_more_than_one_page_and_no_folder_markers(
    store: S3Store, s3_bucket: S3Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [f"data/{number:04}.csv" for number in range(1003)]
    for key in [*keys, "data/marker/"]:
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=b"")
    with caplog.at_level(logging.WARNING):
        assert [stored.key for stored in store.list("data/")] == keys
    assert not caplog.text


def test_keys_of_others_that_are_not_legal_are_left_out_and_said_so(
    store: S3Store, s3_bucket: S3Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="data/a\x7fb.csv", Body=b"")
    store.write_bytes("data/x.csv", b"")
    with caplog.at_level(logging.WARNING):
        assert [stored.key for stored in store.list()] == ["data/x.csv"]
    assert "a\\x7fb.csv" in caplog.text


def test_an_object_of_somebody_else_has_no_digest_and_can_be_read(store: S3Store, s3_bucket: S3Bucket) -> None:
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="data/x.csv", Body=_CONTENT)
    found = store.head("data/x.csv")
    assert found is not None
    assert found.sha256 is None
    assert store.read_bytes("data/x.csv") == _CONTENT
    with store.open_local("data/x.csv") as path:
        assert path.read_bytes() == _CONTENT


def test_a_lake_under_a_prefix_sees_only_itself(s3_bucket: S3Bucket) -> None:
    one = S3Store(_connect(s3_bucket), "lakes/one", Fingerprints())
    other = S3Store(_connect(s3_bucket), "lakes/one_more", Fingerprints())
    one.write_bytes("data/x.csv", b"")
    assert one.uri == f"s3://{s3_bucket.name}/lakes/one"
    assert not list(other.list())
    assert s3_bucket.object_keys() == ["lakes/one/data/x.csv"]


def test_a_large_copy_is_made_in_parts_and_keeps_its_digest(
    store: S3Store, requests: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(s3, "_COPY_IN_ONE_BYTES", 1_000_000)
    written = store.write_file("tables/x.parquet", _file(tmp_path, _LARGE))
    copied = store.copy("tables/x.parquet", "history/x.parquet")
    assert copied.sha256 == written.sha256
    assert store.read_bytes("history/x.parquet") == _LARGE
    assert [operation for operation, _ in requests].count("UploadPartCopy") == 3


def test_a_large_copy_of_an_object_without_digest_gets_none(
    store: S3Store, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_COPY_IN_ONE_BYTES", 1_000_000)
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="data/x.bin", Body=_LARGE)
    copied = store.copy("data/x.bin", "data/y.bin")
    assert (copied.sha256, copied.size) == (None, len(_LARGE))


def test_an_object_replaced_while_it_is_copied_is_noticed(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes("data/x.csv", b"old")
    seen = store.head("data/x.csv")
    store.write_bytes("data/x.csv", b"new")
    monkeypatch.setattr(store, "head", lambda _: seen)
    with pytest.raises(VanishedFileError, match="replaced meanwhile"):
        store.copy("data/x.csv", "data/y.csv")


# -- reading ranges ---------------------------------------------------------------------------------------------------


def test_one_row_group_is_read_with_few_requests_and_few_bytes(
    store: S3Store, requests: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    table = pa.table({name: np.random.default_rng(1).random(400_000) for name in "ab"})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=50_000, use_dictionary=False)
    store.write_file("tables/x.parquet", tmp_path / "x.parquet")
    requests.clear()
    with store.open_random("tables/x.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(3, columns=["a"]).num_rows == 50_000
    ranges = [headers["Range"].removeprefix("bytes=").split("-") for name, headers in requests if name == "GetObject"]
    fetched = sum(int(end) + 1 - int(start) for start, end in ranges)
    assert len(requests) <= 4
    assert fetched < 0.2 * (tmp_path / "x.parquet").stat().st_size


@pytest.mark.parametrize("is_deleted", [True, False])
def test_an_object_that_changes_while_it_is_read_is_noticed(store: S3Store, *, is_deleted: bool) -> None:
    store.write_bytes("data/x.csv", b"old")
    with store.open_random("data/x.csv") as file:
        if is_deleted:
            store.delete("data/x.csv")
        else:
            store.write_bytes("data/x.csv", b"new")
        with pytest.raises(VanishedFileError):
            file.read()


# -- replies that break off -------------------------------------------------------------------------------------------


class _Breaking:
    """A client whose first replies have a broken body."""

    def __init__(self, client: Any, breaks: list[Exception | bytes]) -> None:
        self._client = client
        self._breaks = breaks

    def get_object(self, **options: Any) -> dict[str, Any]:
        reply = self._client.get_object(**options)
        if self._breaks:
            reply["Body"].close()
            reply["Body"] = _BrokenBody(self._breaks.pop(0))
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


def _read_local(store: S3Store) -> bytes:
    with store.open_local("data/x.csv") as path:
        return path.read_bytes()


def _read_random(store: S3Store) -> bytes:
    with store.open_random("data/x.csv") as file:
        return file.read()


_READS: dict[str, Callable[[S3Store], bytes]] = {
    "read_bytes": lambda store: store.read_bytes("data/x.csv"),
    "read_start": lambda store: store.read_start("data/x.csv", 100),
    "open_local": _read_local,
    "open_random": _read_random,
}


def _breaking_store(s3_bucket: S3Bucket, breaks: list[Exception | bytes], pauses: list[float]) -> S3Store:
    connection = _connect(s3_bucket)
    _store(connection).write_bytes("data/x.csv", _CONTENT)
    vars(connection)["_client"] = _Breaking(connection.client, breaks)
    return S3Store(connection, "", Fingerprints(), sleep=pauses.append)


_FAULTS = [
    ResponseStreamingError(error=ValueError("cut")),
    IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ConnectionResetError(104, "reset"),
]


@pytest.mark.parametrize("read", _READS)
def test_a_reply_that_breaks_off_is_asked_for_again(s3_bucket: S3Bucket, read: str) -> None:
    pauses: list[float] = []
    store = _breaking_store(s3_bucket, list(_FAULTS), pauses)
    assert _READS[read](store) == _CONTENT
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("read", _READS)
def test_a_reply_that_always_breaks_off_is_given_up(s3_bucket: S3Bucket, read: str) -> None:
    store = _breaking_store(s3_bucket, [*_FAULTS, *_FAULTS], [])
    with pytest.raises(StoreUnavailableError, match="the connection broke"):
        _READS[read](store)


@pytest.mark.parametrize("read", ["read_bytes", "open_local"])
@pytest.mark.parametrize("fault", [b"lap,time\n1,97.429\n", FlexibleChecksumError(error_msg="x")])
def test_bytes_damaged_on_the_way_are_asked_for_again(s3_bucket: S3Bucket, read: str, fault: Exception | bytes) -> None:
    assert _READS[read](_breaking_store(s3_bucket, [fault], [])) == _CONTENT
    with pytest.raises(StoreCorruptionError):
        _READS[read](_breaking_store(s3_bucket, [fault] * 4, []))


def test_a_range_that_comes_short_is_not_taken_for_whole(s3_bucket: S3Bucket) -> None:
    with pytest.raises(StoreUnavailableError, match=f"3 of {len(_CONTENT)} bytes"):
        _read_random(_breaking_store(s3_bucket, [b"lap"], []))


def test_a_download_without_room_is_said_so(s3_bucket: S3Bucket, tmp_path: Path) -> None:
    (tmp_path / "scratch").write_bytes(b"")
    store = S3Store(_connect(s3_bucket), "", Fingerprints(), scratch=tmp_path / "scratch")
    store.write_bytes("data/x.csv", _CONTENT)
    with pytest.raises(StoreError, match="Making the folder for downloads"):
        _read_local(store)


def test_what_was_written_and_cannot_be_seen_is_an_error(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "head", lambda _: None)
    with pytest.raises(StoreUnavailableError, match="cannot be seen"):
        store.write_bytes("data/x.csv", b"")


# -- access -----------------------------------------------------------------------------------------------------------

_ANY: dict[str, Callable[[S3Store], object]] = {
    "check_access": lambda store: store.check_access(),
    "head": lambda store: store.head("data/x.csv"),
    "list": lambda store: list(store.list()),
    "read": lambda store: store.read_bytes("data/x.csv"),
    "write": lambda store: store.write_bytes("data/x.csv", b""),
    "upload": lambda store: store.write_file("data/x.csv", Path("source.csv")),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return _file(tmp_path, _CONTENT)


@pytest.mark.parametrize("operation", _ANY)
@pytest.mark.parametrize(
    ("wrong", "problem"), [({"secret": "wrong"}, "secret does not belong"), ({"key": "nobody"}, "does not know")]
)
def test_wrong_keys_are_named_as_such_by_every_operation(
    s3_bucket: S3Bucket, source: Path, operation: str, wrong: dict[str, str], problem: str
) -> None:
    store = _store(_connect(s3_bucket, **wrong))
    with pytest.raises(StoreAuthError, match=problem) as raised:
        _ANY[operation](store)
    assert "from AWS_ACCESS_KEY_ID" in raised.value.problem
    assert s3_bucket.server.secret_access_key not in str(raised.value)


@pytest.mark.parametrize("operation", _ANY)
def test_a_missing_bucket_is_named_by_every_operation_and_not_made(
    s3_bucket: S3Bucket, source: Path, operation: str
) -> None:
    store = _store(_connect(s3_bucket, name=f"{s3_bucket.name}-none"))
    with pytest.raises(StoreConfigError, match="no such bucket"):
        _ANY[operation](store)
    with pytest.raises(ClientError, match="404"):
        s3_bucket.client.head_bucket(Bucket=f"{s3_bucket.name}-none")


def test_a_reader_may_read_and_not_write(s3_bucket: S3Bucket, store: S3Store, source: Path) -> None:
    store.write_bytes("data/x.csv", _CONTENT)
    server = s3_bucket.server
    reader = _store(_connect(s3_bucket, key=server.reader_key_id, secret=server.reader_secret))
    reader.check_access()
    assert reader.read_bytes("data/x.csv") == _CONTENT
    for operation in ("write", "upload"):
        with pytest.raises(StorePermissionError, match="may not do this"):
            _ANY[operation](reader)
    with pytest.raises(StorePermissionError):
        reader.delete("data/x.csv")


def test_a_head_that_is_forbidden_in_a_bucket_that_can_be_listed_is_a_matter_of_permission(
    store: S3Store, connection: S3Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")

    monkeypatch.setattr(connection.client, "head_object", refuse)
    with pytest.raises(StorePermissionError):
        store.head("data/x.csv")


def test_the_bucket_is_looked_for_once(store: S3Store, requests: list[tuple[str, dict[str, Any]]]) -> None:
    assert store.head("data/none.csv") is None
    assert store.head("data/none.csv") is None
    assert [operation for operation, _ in requests] == ["HeadObject", "ListObjectsV2", "HeadObject"]


@pytest.mark.req("K-20")
def test_a_missing_bucket_is_made_where_that_is_allowed(s3_bucket: S3Bucket) -> None:
    name = f"{s3_bucket.name}-new"
    store = _store(_connect(s3_bucket, name=name), may_create_bucket=True)
    store.check_access()
    store.check_access()
    assert not list(store.list())
    s3_bucket.client.delete_bucket(Bucket=name)


@pytest.mark.parametrize(
    ("region", "expected"),
    [("us-east-1", {}), ("eu-west-3", {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-3"}})],
)
@pytest.mark.parametrize("answer", [None, "BucketAlreadyOwnedByYou", "AccessDenied"])
def test_a_bucket_is_made_in_the_region_of_the_settings(
    region: str, expected: dict[str, Any], answer: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = S3Connection("races", region, _NOWHERE, "key", "secret")
    asked: list[dict[str, Any]] = []

    def list_objects_v2(**_: object) -> None:
        raise ClientError({"Error": {"Code": "NoSuchBucket"}}, "ListObjectsV2")

    def create_bucket(**options: object) -> None:
        asked.append(options)
        if answer is not None:
            raise ClientError({"Error": {"Code": answer}}, "CreateBucket")

    monkeypatch.setattr(connection.client, "list_objects_v2", list_objects_v2)
    monkeypatch.setattr(connection.client, "create_bucket", create_bucket)
    store = _store(connection, may_create_bucket=True)
    if answer == "AccessDenied":
        with pytest.raises(StorePermissionError, match="Creating the bucket"):
            store.check_access()
    else:
        store.check_access()
    assert asked == [{"Bucket": "races", **expected}]


@pytest.mark.req("A-074")
def test_a_store_that_is_not_there_may_be_there_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    with pytest.raises(StoreUnavailableError, match="cannot be reached") as raised:
        _store(S3Connection("races", "us-east-1", _NOWHERE, "key", "secret")).check_access()
    assert _NOWHERE in raised.value.problem


def test_an_address_that_is_none_is_said_so() -> None:
    with pytest.raises(StoreConfigError, match="'localhost9000'"):
        _store(S3Connection("races", "us-east-1", "localhost9000", "key", "secret")).check_access()


@pytest.mark.req("A-046", "A-071")
def test_no_credentials_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    connection = S3Connection("races", "us-east-1")
    assert connection.credential_source() == "none found"
    with pytest.raises(StoreAuthError, match="Credentials: none found") as raised:
        _store(connection).check_access()
    assert "AWS_ACCESS_KEY_ID" in raised.value.remedy
    assert "at AWS us-east-1" in raised.value.problem


def test_the_source_of_the_credentials_is_told_and_never_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    connection = S3Connection("races", "us-east-1")
    assert connection.client.meta.region_name == "us-east-1"
    assert connection.credential_source() == "found by boto3 (env)"
    given = S3Connection("races", "us-east-1", None, "key", "hush-hush", "hush-token")
    assert "hush" not in repr(given) + repr(given.place)


def test_an_unusable_profile_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "racing")
    with pytest.raises(StoreConfigError, match="ProfileNotFound") as raised:
        _store(S3Connection("races", "us-east-1")).check_access()
    assert isinstance(raised.value, ApexError)


def test_the_settings_of_the_client(s3_bucket: S3Bucket, connection: S3Connection) -> None:
    config: Any = connection.client.meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 8}
    assert config.max_pool_connections == 32
    assert connection.client.meta.endpoint_url == s3_bucket.server.endpoint
    assert connection.transfers is connection.transfers
    assert type(connection.transfers).__module__ == "s3transfer.manager"

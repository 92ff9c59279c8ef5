"""Access to a bucket: credentials, permissions, missing buckets, and the error message for each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from apex_pipeline.errors import (
    StoreAuthError,
    StoreConfigError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.storage.s3 import client as s3_client
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.storage.s3.harness import CONTENT, connect, store_of, write_source

_NOWHERE = "http://127.0.0.1:1"  # no service listens on port 1
_OPERATIONS: dict[str, Callable[[S3Store], object]] = {
    "check_access": lambda store: store.check_access(),
    "head": lambda store: store.head("data/x.csv"),
    "list": lambda store: list(store.list()),
    "read": lambda store: store.read_bytes("data/x.csv"),
    "write": lambda store: store.write_bytes("data/x.csv", b""),
    "upload": lambda store: store.write_file("data/x.csv", Path("source.csv")),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path, CONTENT)


@pytest.mark.parametrize("operation", _OPERATIONS)
@pytest.mark.parametrize(
    ("wrong", "problem"), [(("secret", "wrong"), "secret does not belong"), (("key", "unknown"), "does not know")]
)
def test_every_operation_reports_wrong_credentials(
    s3_bucket: S3Bucket, source: Path, operation: str, wrong: tuple[str, str], problem: str
) -> None:
    given: Any = dict([wrong])
    store = store_of(connect(s3_bucket, **given))
    with pytest.raises(StoreAuthError, match=problem) as raised:
        _OPERATIONS[operation](store)
    assert "from AWS_ACCESS_KEY_ID" in raised.value.problem
    assert s3_bucket.server.secret_access_key not in str(raised.value)


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_every_operation_reports_a_missing_bucket_and_does_not_create_it(
    s3_bucket: S3Bucket, source: Path, operation: str
) -> None:
    store = store_of(connect(s3_bucket, name=f"{s3_bucket.name}-none"))
    with pytest.raises(StoreConfigError, match="no such bucket"):
        _OPERATIONS[operation](store)
    with pytest.raises(ClientError, match="404"):
        s3_bucket.client.head_bucket(Bucket=f"{s3_bucket.name}-none")


def test_read_only_credentials_cannot_write(s3_bucket: S3Bucket, store: S3Store, source: Path) -> None:
    store.write_bytes("data/x.csv", CONTENT)
    server = s3_bucket.server
    reader = store_of(connect(s3_bucket, key=server.reader_key_id, secret=server.reader_secret))
    reader.check_access()
    assert reader.read_bytes("data/x.csv") == CONTENT
    for operation in ("write", "upload"):
        with pytest.raises(StorePermissionError, match="may not do this"):
            _OPERATIONS[operation](reader)
    with pytest.raises(StorePermissionError):
        reader.delete("data/x.csv")


def test_a_forbidden_head_in_a_listable_bucket_is_a_permission_error(
    store: S3Store, connection: S3Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")

    monkeypatch.setattr(connection.objects, "head_object", refuse)
    with pytest.raises(StorePermissionError):
        store.head("data/x.csv")


def test_the_existence_of_the_bucket_is_checked_once(
    store: S3Store, requests: list[tuple[str, dict[str, Any]]]
) -> None:
    assert store.head("data/none.csv") is None
    assert store.head("data/none.csv") is None
    assert [operation for operation, _ in requests] == ["HeadObject", "ListObjectsV2", "HeadObject"]


@pytest.mark.req("K-20")
def test_a_missing_bucket_is_created_if_allowed(s3_bucket: S3Bucket) -> None:
    name = f"{s3_bucket.name}-new"
    store = store_of(connect(s3_bucket, name=name), may_create_bucket=True)
    store.check_access()
    store.check_access()
    assert not list(store.list())
    s3_bucket.client.delete_bucket(Bucket=name)


@pytest.mark.parametrize(
    ("region", "expected"),
    [("us-east-1", {}), ("eu-west-3", {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-3"}})],
)
@pytest.mark.parametrize("code", [None, "BucketAlreadyOwnedByYou", "AccessDenied"])
def test_a_bucket_is_created_in_the_configured_region(
    region: str, expected: dict[str, Any], code: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = S3Connection("races", region, _NOWHERE, "key", "secret")
    created: list[dict[str, Any]] = []

    def list_objects_v2(**_: object) -> None:
        raise ClientError({"Error": {"Code": "NoSuchBucket"}}, "ListObjectsV2")

    def create_bucket(**options: object) -> None:
        created.append(options)
        if code is not None:
            raise ClientError({"Error": {"Code": code}}, "CreateBucket")

    monkeypatch.setattr(connection.client, "list_objects_v2", list_objects_v2)
    monkeypatch.setattr(connection.client, "create_bucket", create_bucket)
    store = store_of(connection, may_create_bucket=True)
    if code == "AccessDenied":
        with pytest.raises(StorePermissionError, match="Creating the bucket"):
            store.check_access()
    else:
        store.check_access()
    assert created == [{"Bucket": "races", **expected}]


@pytest.mark.req("A-074")
def test_an_unreachable_store_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    with pytest.raises(StoreUnavailableError, match="cannot be reached") as raised:
        store_of(S3Connection("races", "us-east-1", _NOWHERE, "key", "secret")).check_access()
    assert _NOWHERE in raised.value.problem


def test_an_invalid_endpoint_url_is_reported() -> None:
    with pytest.raises(StoreConfigError, match="'localhost9000'"):
        store_of(S3Connection("races", "us-east-1", "localhost9000", "key", "secret")).check_access()


@pytest.mark.req("A-046", "A-071")
def test_missing_credentials_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    connection = S3Connection("races", "us-east-1")
    assert connection.credential_source() == "none found"
    with pytest.raises(StoreAuthError, match="Credentials: none found") as raised:
        store_of(connection).check_access()
    assert "AWS_ACCESS_KEY_ID" in raised.value.hint
    assert "at AWS us-east-1" in raised.value.problem


def test_the_credential_source_is_reported_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    connection = S3Connection("races", "us-east-1")
    assert connection.client.meta.region_name == "us-east-1"
    assert connection.credential_source() == "found by boto3 (env)"
    given = S3Connection("races", "us-east-1", None, "key", "hush-hush", "hush-token")
    assert "hush" not in repr(given) + repr(given.error_context)


def test_an_unknown_profile_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "racing")
    with pytest.raises(StoreConfigError, match=r"there is no profile 'racing' \(ProfileNotFound\)") as raised:
        store_of(S3Connection("races", "us-east-1")).check_access()
    assert "AWS_PROFILE" in raised.value.hint


def test_client_settings(s3_bucket: S3Bucket, connection: S3Connection) -> None:
    config: Any = connection.client.meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 8}
    assert config.max_pool_connections == 32
    assert connection.client.meta.endpoint_url == s3_bucket.server.endpoint
    assert connection.transfers is connection.transfers
    assert type(connection.transfers).__module__ == "s3transfer.manager"

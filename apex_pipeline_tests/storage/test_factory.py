"""Tests of opening stores: the choice of the backend and its settings."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from apex_pipeline.errors import ConfigurationError, StoreConfigError
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.factory import open_digest_cache, open_store, open_store_at
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.s3_server import S3Bucket


@pytest.mark.req("A-003", "A-004")
@pytest.mark.parametrize(("switch", "expected"), [(None, LocalStore), ("false", LocalStore), ("true", S3Store)])
def test_use_s3_data_selects_the_backend(monkeypatch: pytest.MonkeyPatch, switch: str | None, expected: type) -> None:
    if switch is not None:
        monkeypatch.setenv("USE_S3_DATA", switch)
    assert type(open_store(load_settings(), for_writing=False)) is expected


@pytest.mark.parametrize("for_writing", [True, False])
def test_the_lake_folder_is_created_for_writing_only(tmp_path: Path, *, for_writing: bool) -> None:
    store = open_store(load_settings(), for_writing=for_writing)
    assert store.uri == str(tmp_path / "lake")
    assert (tmp_path / "lake").exists() is for_writing


def test_reading_creates_no_files(tmp_path: Path) -> None:
    store = open_store(load_settings(), for_writing=False)
    assert store.head("data/x.csv") is None
    assert not list(store.list())
    assert not list(tmp_path.iterdir())


@pytest.mark.req("A-003")
def test_a_local_lake_does_not_import_boto3() -> None:
    program = (
        "import sys; from apex_pipeline.settings import load_settings\n"
        "from apex_pipeline.storage.factory import open_store\n"
        "open_store(load_settings(), for_writing=True).write_bytes('data/x.csv', b'')\n"
        "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


@pytest.mark.req("A-005", "A-006", "A-007", "K-16")
def test_the_settings_reach_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    store = open_store(load_settings(use_s3_data=True, lake_prefix="/lakes/one/"), for_writing=False)
    assert store.uri == "s3://apex-racing-data/lakes/one"
    connection = vars(store)["_connection"]
    assert connection.client.meta.region_name == "eu-west-3"
    assert (connection.access_key_id, connection.secret_access_key, connection.session_token) == (
        "key",
        "secret",
        "token",
    )


@pytest.mark.req("A-133")
@pytest.mark.parametrize(
    ("switch", "host"),
    [("true", "apex-racing-data.s3-accelerate.amazonaws.com"), ("false", "apex-racing-data.s3.amazonaws.com")],
)
def test_transfer_acceleration_uses_another_host(monkeypatch: pytest.MonkeyPatch, switch: str, host: str) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "USE_S3_DATA": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S3_USE_ACCELERATE", switch)
    address = urlsplit(open_store(load_settings(), for_writing=False).presigned_url("data/x.csv", 60))
    assert address.hostname == host


def test_without_keys_the_credentials_are_left_to_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "left over")
    connection = vars(open_store(load_settings(use_s3_data=True), for_writing=False))["_connection"]
    assert (connection.access_key_id, connection.secret_access_key, connection.session_token) == (None, None, None)


@pytest.mark.parametrize(
    ("given", "missing"),
    [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")],
)
def test_the_error_names_the_missing_credential(monkeypatch: pytest.MonkeyPatch, given: str, missing: str) -> None:
    monkeypatch.setenv(given, "something")
    with pytest.raises(ConfigurationError, match=f"{missing} is not set"):
        open_store(load_settings(use_s3_data=True), for_writing=False)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://races", "s3://races"),
        ("s3://races/", "s3://races"),
        ("s3://races/lakes/one/", "s3://races/lakes/one"),
        ("/data/lake", "/data/lake"),
    ],
)
def test_a_lake_can_be_opened_by_its_uri(uri: str, expected: str) -> None:
    assert open_store_at(uri, load_settings()).uri == expected


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///x", "gs://races", "ftp://races.example/x"])
def test_an_invalid_lake_location_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a lake location"):
        open_store_at(uri, load_settings())


@pytest.mark.parametrize("address", ["https://races.example/bundle.zip", "http://races.example/x/Bundle.ZIP"])
def test_a_bundle_on_a_web_server_is_refused_with_the_way_to_read_it(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is a bundle on a web server\. Download it"):
        open_store_at(address, load_settings())


def test_a_bundle_behind_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store_at("https://user:" + "hidden@races.example/bundle.zip", load_settings())
    assert "hidden" not in str(caught.value)


def test_a_file_that_is_no_zip_is_not_called_a_lake_without_sessions(tmp_path: Path) -> None:
    (tmp_path / "laps.csv").write_text("lap", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"laps\.csv is a file, which is no lake"):
        open_store_at(str(tmp_path / "laps.csv"), load_settings())


@pytest.mark.req("K-20")
@pytest.mark.parametrize(
    ("may_create", "for_writing", "is_created"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_bucket_is_created_only_for_writing_and_if_allowed(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, *, may_create: bool, for_writing: bool, is_created: bool
) -> None:
    for name, value in s3_bucket.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"{s3_bucket.name}-new"
    settings = load_settings(bucket=bucket, allow_create_bucket=may_create)
    store = open_store(settings, for_writing=for_writing)
    if is_created:
        store.check_access()
        s3_bucket.client.delete_bucket(Bucket=bucket)
    else:
        with pytest.raises(StoreConfigError, match="no such bucket"):
            store.check_access()


@pytest.mark.req("A-006", "A-005")
def test_an_s3_lake_works_with_settings_from_the_environment_alone(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in s3_bucket.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(load_settings(), for_writing=True)
    store.write_bytes("data/x.csv", b"lap")
    with store.open_as_file("data/x.csv") as path:
        assert path.read_bytes() == b"lap"
        assert path.is_relative_to(tmp_path / ".apex")


def test_the_digest_cache_is_in_the_state_folder(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"")
    open_digest_cache(load_settings()).sha256_of(tmp_path / "x.csv")
    assert (tmp_path / ".apex" / "fingerprints.sqlite").exists()

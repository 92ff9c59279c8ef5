"""Credentials from given keys, profiles, processes and files; and the messages if they cannot be loaded."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apex_pipeline.errors import StoreAuthError, StoreConfigError, StoreError
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline_tests.servers.canned import answering
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_CONFIG = """
[profile child]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = missing
[profile circle]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = circle2
[profile circle2]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = circle
[profile process]
credential_process = /nonexistent/tool --get
[profile failing]
credential_process = /bin/sh -c "echo hush-hush >&2; exit 1"
[profile garbage]
credential_process = /bin/echo hush-hush
[profile web]
role_arn = arn:aws:iam::123456789012:role/x
web_identity_token_file = /nonexistent/token
[profile nonsense]
role_arn = arn:aws:iam::123456789012:role/x
credential_source = Nonsense
[profile sso]
sso_session = nope
sso_account_id = 1
sso_role_name = x
[profile partial]
aws_access_key_id = key
[profile good]
aws_access_key_id = key
aws_secret_access_key = hush-hush
"""


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only configuration of AWS in these tests."""
    path = tmp_path / "config"
    path.write_text(_CONFIG)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return path


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
@pytest.mark.parametrize("profile", ["", " ", "no-such-profile", "child", "partial", "good"])
def test_given_keys_count_whatever_the_profile_says(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, variable: str, profile: str
) -> None:
    monkeypatch.setenv(variable, profile)
    store = store_of(connect(s3_bucket))
    store.check_access()
    store.write_bytes("x", b"1")
    assert store.read_bytes("x") == b"1"


@pytest.mark.parametrize("profile", ["", "  "])
def test_a_blank_profile_is_none(monkeypatch: pytest.MonkeyPatch, profile: str) -> None:
    monkeypatch.setenv("AWS_PROFILE", profile)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    connection = S3Connection("races", "us-east-1")
    assert connection.client
    assert connection.credential_source() == "found by boto3 (env)"


def test_a_good_profile_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "good")
    connection = S3Connection("races", "us-east-1")
    assert connection.client
    assert connection.credential_source() == "found by boto3 (config-file)"


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("child", 'The source_profile "missing" referenced in the profile "child" does not exist'),
        ("circle", "Infinite loop"),
        ("process", "No such file or directory: /nonexistent/tool"),
        ("failing", "the provider custom-process failed"),
        ("garbage", "does not print JSON"),
        ("web", "No such file or directory: /nonexistent/token"),
        ("nonsense", '"Nonsense"'),
        ("sso", '"nope"'),
        ("partial", "missing: aws_secret_access_key"),
    ],
)
def test_credentials_that_cannot_be_loaded_are_one_message_without_secrets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, profile: str, message: str
) -> None:
    monkeypatch.setenv("AWS_PROFILE", profile)
    with pytest.raises(StoreAuthError) as raised:
        store_of(S3Connection("races", "us-east-1")).check_access()
    assert raised.value.problem.startswith("Loading the credentials for s3://races at AWS us-east-1 failed: ")
    assert message in raised.value.problem
    assert "AWS_PROFILE" in raised.value.hint
    assert "hush" not in str(raised.value)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_missing_token_file_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x")
    with pytest.raises(StoreAuthError, match="/nonexistent/token"):
        store_of(S3Connection("races", "us-east-1")).check_access()


@pytest.mark.parametrize("content", ["[profile\nbroken", "\x00\x01", "no section = 1"])
@pytest.mark.parametrize("key", [None, "key"])
def test_a_broken_configuration_file_is_named(config: Path, content: str, key: str | None) -> None:
    config.write_text(content)
    with pytest.raises(StoreConfigError, match="configuration of AWS cannot be read") as raised:
        store_of(S3Connection("races", "us-east-1", None, key, key)).check_access()
    assert str(config) in raised.value.problem


def test_a_missing_ca_bundle_is_named(monkeypatch: pytest.MonkeyPatch, no_pauses: list[float]) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent/bundle.pem")
    with answering(200, "", {}) as endpoint:
        secure = endpoint.replace("http:", "https:")
        with pytest.raises(StoreConfigError, match="secure connection") as raised:
            store_of(S3Connection("races", "us-east-1", secure, "key", "secret")).check_access()
    assert "AWS_CA_BUNDLE" in raised.value.hint


def test_a_token_file_that_disappears_later_is_reported_too(
    config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The credentials of a process expire and are loaded again in the middle of a run.
    script = tmp_path / "provide"
    script.write_text(
        '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "hush",'
        ' "SessionToken": "t", "Expiration": "2020-01-01T00:00:00Z"}\'\nrm "$0"\n'
    )
    script.chmod(0o700)
    config.write_text(f"[profile expiring]\ncredential_process = {script}\n")
    monkeypatch.setenv("AWS_PROFILE", "expiring")
    with pytest.raises(StoreError) as raised:
        store_of(S3Connection("races", "us-east-1", "http://127.0.0.1:1")).check_access()
    assert "hush" not in str(raised.value)
    assert not os.path.lexists(script)


@pytest.mark.parametrize(
    "text",
    [
        *("2025-09-06T18:40:00.000Z", "2025-09-06T18:40:00Z", "2025-09-06T20:40:00+02:00", "2025-09-06 18:40:00Z"),
        *("Sat, 06 Sep 2025 18:40:00 GMT", "20250906T184000Z", "1757184000", "1757184000.0"),
    ],
)
def test_times_in_listings_are_read_in_every_form_that_botocore_reads(text: str) -> None:
    entry = f"<Contents><Key>x.csv</Key><Size>1</Size><ETag>0</ETag><LastModified>{text}</LastModified></Contents>"
    with answering(200, f"<ListBucketResult>{entry}</ListBucketResult>", {}) as address:
        (found,) = store_of(S3Connection("races", "us-east-1", address, "key", "secret")).list()
    assert found.modified_utc == datetime(2025, 9, 6, 18, 40, tzinfo=UTC)


def test_a_time_in_no_form_is_an_error() -> None:
    entry = "<Contents><Key>x.csv</Key><Size>1</Size><ETag>0</ETag><LastModified>soon</LastModified></Contents>"
    with answering(200, f"<ListBucketResult>{entry}</ListBucketResult>", {}) as address:
        store = store_of(S3Connection("races", "us-east-1", address, "key", "secret"))
        with pytest.raises(StoreConfigError, match="does not reply as an S3 store does"):
            list(store.list())

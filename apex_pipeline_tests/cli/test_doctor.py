"""``apex doctor``: every error has its own message, with its location and the next step, and never a secret."""

import json
import logging
import re
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline_tests.cli.conftest import SECRET, Apex, use_bucket
from apex_pipeline_tests.servers.canned import answering, refusal
from apex_pipeline_tests.servers.seaweed import S3Bucket


@pytest.fixture
def bucket(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """An empty bucket, set as the lake of the settings."""
    use_bucket(s3_bucket, monkeypatch)
    return s3_bucket


@pytest.mark.req("A-121")
def test_a_bucket_is_checked_without_writing(bucket: S3Bucket, run_doctor: Any, sent: list[str]) -> None:
    found = run_doctor()
    assert found.code == 0
    assert "from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, set in the environment" in found["credentials"]["said"]
    assert bucket.server.endpoint in found["endpoint"]["said"]
    assert found["bucket"]["said"] == f"s3://{bucket.name} exists"
    assert found["clock"]["state"] == "ok"
    assert found["writing"]["state"] == "note"
    assert set(sent) <= {"ListObjectsV2", "GetObject", "HeadObject"}


@pytest.mark.req("A-121")
def test_the_write_option_tests_writing_and_leaves_nothing(bucket: S3Bucket, run_doctor: Any, sent: list[str]) -> None:
    found = run_doctor("--write")
    assert (found.code, found["writing"]["state"], found["concurrency"]["state"]) == (0, "ok", "ok")
    assert {"PutObject", "DeleteObject"} <= set(sent)
    assert bucket.object_keys() == []


def test_a_store_that_ignores_conditions_is_noted(
    old_bucket: S3Bucket, run_doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_bucket(old_bucket, monkeypatch)
    assert "concurrency" not in run_doctor()
    found = run_doctor("--write")
    assert (found.code, found["concurrency"]["state"]) == (0, "note")
    assert "only leases keep two syncs apart" in found["concurrency"]["said"]
    assert "Run one sync at a time" in found["concurrency"]["remedy"]
    assert old_bucket.object_keys() == []


def test_an_incomplete_upload_is_reported(bucket: S3Bucket, run_doctor: Any) -> None:
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key="data/a.csv")
    found = run_doctor("--write")
    assert found["unfinished"]["said"] == "incomplete uploads: 1"
    assert found.code == 0


@pytest.mark.req("A-121")
def test_a_read_only_key_fails_the_write_check_with_the_missing_permission(
    bucket: S3Bucket, run_doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(bucket.server.reader_key_id))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(bucket.server.reader_secret))
    assert run_doctor().code == 0
    found = run_doctor("--write")
    assert (found.code, found["reading"]["state"], found["writing"]["state"]) == (2, "ok", "problem")
    assert "concurrency" not in found
    assert "may not do this" in found["writing"]["said"]
    assert "s3:PutObject" in found["writing"]["remedy"]


@pytest.mark.req("A-067")
@pytest.mark.req("A-071")
@pytest.mark.parametrize(
    ("variables", "problem", "hint"),
    [
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "the secret does not belong to the access key", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "the store does not know the access key", "AWS_ACCESS_KEY_ID"),
        ({"S3_BUCKET_NAME": "nobody-has-this-bucket"}, "there is no such bucket", "S3_BUCKET_NAME"),
    ],
)
@pytest.mark.parametrize("command", [("doctor",), ("plan", "season"), ("cost",), ("metrics",), ("share", "a.csv")])
def test_each_bucket_error_has_its_own_message_without_secrets(
    bucket: S3Bucket,
    apex: Apex,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str],
    problem: str,
    hint: str,
    command: tuple[str, ...],
) -> None:
    Path("season").mkdir()
    Path("season", "R1_spa_lap_start.csv").write_text("timestamp,vehicle_id,lap\n", encoding="utf-8")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.DEBUG):
        result = apex(*command)
    if command[0] == "plan" and "S3_BUCKET_NAME" in variables:
        assert (result.code, "the bucket does not exist yet" in result.out) == (0, True)
        return
    output = result.out + result.error
    assert result.code == 2
    assert f"s3://{variables.get('S3_BUCKET_NAME', bucket.name)}" in output
    assert problem in output
    assert hint in output
    assert "Credentials: from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY." in output
    assert "Traceback" not in output
    for secret in (SECRET, bucket.server.secret_access_key):
        assert secret not in output + caplog.text


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"AWS_ACCESS_KEY_ID": "writer-key\r"}, "AWS_ACCESS_KEY_ID cannot be used: it ends with a carriage return"),
        ({"AWS_REGION": " us-east-1"}, "AWS_REGION (or AWS_DEFAULT_REGION) cannot be used: it starts with a blank"),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:99999"}, "S3_ENDPOINT_URL cannot be used"),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:1/{bucket}"}, "S3_ENDPOINT_URL cannot be used: it contains the bucket"),
        ({"APEX_LAKE_PREFIX": "lake\r"}, "APEX_LAKE_PREFIX"),
        (
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "no-such-profile"},
            "there is no profile 'no-such-profile' (ProfileNotFound)",
        ),
    ],
    ids=str,
)
def test_an_unusable_setting_is_one_message_in_every_command(
    bucket: S3Bucket,
    run_doctor: Any,
    apex: Apex,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    problem: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(bucket=bucket.name))
    found = run_doctor()
    assert (found.code, found["credentials"]["state"]) == (2, "problem")
    assert problem in found["credentials"]["said"]
    result = apex("sessions")
    assert result.code == 2
    assert problem in " ".join(result.error.split())
    assert "Traceback" not in result.error


@pytest.mark.parametrize("profile", ["", "no-such-profile"])
def test_given_keys_count_whatever_the_profile_says(
    bucket: S3Bucket, run_doctor: Any, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    monkeypatch.setenv("AWS_PROFILE", profile)
    assert run_doctor().code == 0


@pytest.mark.req("A-072")
@pytest.mark.req("K-20")
def test_a_missing_bucket_is_a_note_if_a_sync_may_create_it(
    bucket: S3Bucket, run_doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_BUCKET_NAME", f"{bucket.name}-new")
    found = run_doctor()
    assert (found.code, found["bucket"]["state"], "ALLOW_CREATE_BUCKET" in found["bucket"]["remedy"]) == (
        2,
        "problem",
        True,
    )
    monkeypatch.setenv("ALLOW_CREATE_BUCKET", "true")
    found = run_doctor("--write")
    assert (found.code, found["bucket"]["state"], found["bucket"]["remedy"]) == (0, "note", "`apex sync` creates it.")
    assert "writing" not in found


@pytest.mark.req("A-067")
def test_incomplete_and_missing_credentials_are_reported(
    bucket: S3Bucket, run_doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = run_doctor()
    message = "AWS_SECRET_ACCESS_KEY is not set, but AWS_ACCESS_KEY_ID is."
    assert (found.code, found["credentials"]["said"]) == (2, message)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    found = run_doctor()
    assert "no credentials were found" in found["credentials"]["said"]
    assert "endpoint" not in found


def test_credentials_from_a_profile_are_reported_as_such(
    bucket: S3Bucket, run_doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("credentials").write_text(
        f"[default]\naws_access_key_id = {bucket.server.access_key_id}\n"
        f"aws_secret_access_key = {bucket.server.secret_access_key}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(Path("credentials").absolute()))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = run_doctor()
    assert (found.code, found["credentials"]["said"]) == (0, "found by boto3 (shared-credentials-file)")


def test_credentials_from_the_dotenv_file_are_reported_as_such(
    bucket: S3Bucket, run_doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    Path(".env").write_text("".join(f"{name}={bucket.environment[name]}\n" for name in names), encoding="utf-8")
    for name in names:
        monkeypatch.delenv(name)
    found = run_doctor()
    place = Path(".env").absolute()
    assert found["credentials"]["said"].endswith(f", set in {place}")
    assert f"{place} sets AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in found["settings"]["said"]
    assert bucket.server.secret_access_key not in json.dumps(found)


@pytest.mark.req("A-121")
def test_a_refused_connection_is_reported_and_skips_the_bucket_check(
    closed_port: str, run_doctor: Any, use_endpoint: Any
) -> None:
    use_endpoint(closed_port)
    found = run_doctor()
    assert found.code == 2
    message = found["endpoint"]["said"]
    assert message.startswith(f"Connecting to s3://races at {closed_port} failed: Connection refused.")
    assert "Credentials: from AWS_ACCESS_KEY_ID" in message
    assert "bucket" not in found
    assert found["disk"]["state"] == "ok"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (socket.gaierror(-2, "no"), "the name store.example is not known"),
        (TimeoutError(), "no answer within 5 s"),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
        (OSError("odd"), "odd"),
    ],
)
def test_the_reason_a_store_is_unreachable_is_reported(
    run_doctor: Any, use_endpoint: Any, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("apex_pipeline.ops.doctor_s3.socket.create_connection", fail)
    use_endpoint("https://store.example")
    assert f"failed: {message}." in run_doctor()["endpoint"]["said"]


def test_behind_a_proxy_the_store_need_not_be_directly_reachable(
    bucket: S3Bucket, run_doctor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("apex_pipeline.ops.doctor_s3.getproxies", lambda: {"http": "http://proxy.example"})
    monkeypatch.setattr("apex_pipeline.ops.doctor_s3.socket.create_connection", fail)
    assert run_doctor().code == 0


def test_an_invalid_endpoint_is_reported(run_doctor: Any, use_endpoint: Any) -> None:
    use_endpoint("not an address")
    assert "cannot be used" in run_doctor()["credentials"]["said"]


@pytest.mark.req("A-121")
def test_a_bucket_in_another_region_is_reported_with_its_region(run_doctor: Any, use_endpoint: Any) -> None:
    headers = {"x-amz-bucket-region": "eu-central-1", "Date": format_datetime(datetime.now(UTC), usegmt=True)}
    with answering(301, refusal("PermanentRedirect"), headers) as endpoint:
        use_endpoint(endpoint)
        found = run_doctor()
    assert found.code == 2
    assert found["region"]["said"] == "the bucket races is in eu-central-1, but AWS_REGION is us-east-1."
    assert found["region"]["remedy"] == "Set AWS_REGION=eu-central-1."
    assert "the bucket is in another region" in found["bucket"]["said"]
    assert SECRET not in json.dumps(found)


def test_the_right_region_is_ok(run_doctor: Any, use_endpoint: Any) -> None:
    body = "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
    with answering(200, body, {"x-amz-bucket-region": "us-east-1"}) as endpoint:
        use_endpoint(endpoint)
        found = run_doctor()
    assert (found["region"]["state"], found["region"]["said"]) == ("ok", "us-east-1")
    assert "clock" not in found


@pytest.mark.req("A-121")
@pytest.mark.parametrize(
    ("ahead", "state", "message"),
    [
        (timedelta(seconds=5), "ok", "ahead of the store"),
        (timedelta(minutes=-2), "note", "behind the store"),
        (timedelta(minutes=20), "problem", "ahead of the store; S3 refuses requests that are off by 900 s."),
    ],
)
def test_clock_skew_is_reported_in_seconds(
    run_doctor: Any, use_endpoint: Any, ahead: timedelta, state: str, message: str
) -> None:
    status, body = (200, "<ListBucketResult/>") if state != "problem" else (403, refusal("RequestTimeTooSkewed"))
    date = format_datetime(datetime.now(UTC) - ahead, usegmt=True)
    with answering(status, body, {"Date": date}) as endpoint:
        use_endpoint(endpoint)
        found = run_doctor()
    assert found["clock"]["state"] == state
    assert message in found["clock"]["said"]
    (seconds,) = re.findall(r"this machine is ([\d,]+) s ", found["clock"]["said"])
    assert abs(int(seconds.replace(",", "")) - abs(ahead.total_seconds())) < 30
    assert (found["bucket"]["state"], "clocks" in found["bucket"]["said"]) == (
        ("problem", True) if state == "problem" else ("ok", False)
    )

"""The class of the original shipper: its messages word for word, its return values, and what it must do better."""

import logging
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.events.s3_client import S3Client
from apex_pipeline_tests.events.harness import KEY, NAME, XML, Harness
from apex_pipeline_tests.servers.fault_proxy import FOREVER, FaultProxy
from apex_pipeline_tests.servers.faults import SLOW_DOWN, refuse


def _client(harness: Harness, **config: Any) -> S3Client:
    server = harness.bucket.server
    return S3Client(
        {
            "BUCKET_NAME": harness.bucket.name,
            "S3_ENDPOINT_URL": harness.endpoint,
            "AWS_ACCESS_KEY_ID": server.access_key_id,
            "AWS_SECRET_ACCESS_KEY": server.secret_access_key,
            "AWS_REGION": "us-east-1",
            "APEX_STATE_DIR": str(harness.state_dir),
            "RETRY_BASE_DELAY": "0",
        }
        | config
    )


def _messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("apex_pipeline.events")]


@pytest.mark.req("B-001")
def test_the_bucket_is_required_with_the_original_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_NAME", "of-the-environment")
    with pytest.raises(ValueError, match=r"^BUCKET_NAME environment variable is required$"):
        S3Client({})


@pytest.mark.req("B-002", "B-004", "B-005")
def test_the_defaults_are_those_of_the_original() -> None:
    client = S3Client({"BUCKET_NAME": "apex-events"})
    assert (client.bucket_name, client.prefix) == ("apex-events", "xml-events/")
    assert (client.use_date_folders, client.max_retries, client.retry_base_delay) == (False, 5, 1.0)


@pytest.mark.req("B-002", "B-004")
@pytest.mark.parametrize(
    ("config", "name", "key"),
    [
        ({}, NAME, KEY),
        ({}, f"/some/where/{NAME}", KEY),
        ({"PREFIX": "lap-events"}, NAME, f"lap-events/{NAME}"),
        ({"PREFIX": ""}, NAME, NAME),
        ({"USE_DATE_FOLDERS": "false"}, NAME, KEY),
        ({"USE_DATE_FOLDERS": "true"}, NAME, f"xml-events/2025/07/29/{NAME}"),
        ({"USE_DATE_FOLDERS": True}, "R1_barber_events.xml", "xml-events/R1_barber_events.xml"),
        ({"USE_DATE_FOLDERS": True}, "20251399_161500.xml", "xml-events/20251399_161500.xml"),
        ({"USE_DATE_FOLDERS": True}, "a.xml", "xml-events/a.xml"),
    ],
)
def test_keys_are_made_as_the_original_meant_them(config: dict[str, Any], name: str, key: str) -> None:
    assert S3Client({"BUCKET_NAME": "apex-events", **config}).get_s3_key(name) == key


def test_a_name_without_a_date_is_told(caplog: pytest.LogCaptureFixture) -> None:
    S3Client({"BUCKET_NAME": "apex-events", "USE_DATE_FOLDERS": True}).get_s3_key("R1_barber_events.xml")
    assert "Could not parse date from filename: R1_barber_events.xml" in _messages(caplog)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_RETRIES", "0"), ("MAX_RETRIES", "many"), ("RETRY_BASE_DELAY", "-1"), ("RETRY_BASE_DELAY", "nan")],
)
def test_a_bad_value_is_refused_at_the_start(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        S3Client({"BUCKET_NAME": "apex-events", name: value})


@pytest.mark.req("B-003", "A-007")
def test_the_region_of_the_configuration_is_used() -> None:
    client = S3Client({"BUCKET_NAME": "apex-events", "AWS_REGION": "eu-west-3"})
    assert client.s3.meta.region_name == "eu-west-3"


@pytest.mark.req("B-015", "B-016", "B-017")
def test_an_upload_is_told_in_the_words_of_the_original(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path, name = str(harness.write(NAME)), harness.bucket.name
    client = _client(harness)
    assert client.check_bucket_access() is True
    assert client.upload_file(path) is True
    assert _messages(caplog) == [
        f"S3 client initialized for bucket: {name}",
        f"Successfully verified access to bucket: {name}",
        f"Uploading {path} to s3://{name}/{KEY} (Attempt 1/5)",
        f"Successfully uploaded {path} to s3://{name}/{KEY}",
    ]
    assert harness.objects() == {KEY: XML}
    assert harness.left() == [NAME]


@pytest.mark.req("B-014")
def test_a_missing_file_is_told(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    assert _client(harness).upload_file("/no/such/file.xml") is False
    assert "File not found: /no/such/file.xml" in _messages(caplog)


def test_a_folder_is_no_file(harness: Harness) -> None:
    assert _client(harness).upload_file(str(harness.folder)) is False


@pytest.mark.req("B-015")
@pytest.mark.parametrize(
    ("key", "is_absolute", "expected"),
    [
        ("20250801_130000.json", False, "xml-events/2025/08/01/20250801_130000.json"),
        ("xml-events/mine.xml", False, "xml-events/mine.xml"),
        ("elsewhere/mine.xml", True, "elsewhere/mine.xml"),
    ],
)
def test_a_key_is_a_file_name_unless_it_has_the_prefix(
    harness: Harness, key: str, expected: str, *, is_absolute: bool
) -> None:
    client = _client(harness, USE_DATE_FOLDERS="true")
    assert client.upload_file(str(harness.write(NAME)), key, absolute_key=is_absolute)
    assert list(harness.objects()) == [expected]


def test_ill_formed_content_keeps_the_key_that_was_asked_for(harness: Harness) -> None:
    assert _client(harness).upload_file(str(harness.write(NAME, b"no XML")))
    assert harness.objects() == {KEY: b"no XML"}


def test_another_file_of_the_same_key_is_not_overwritten(harness: Harness) -> None:
    client = _client(harness)
    assert client.upload_file(str(harness.write(NAME)))
    assert client.upload_file(str(harness.write(NAME, XML * 2)))
    assert harness.objects() == {KEY: XML, KEY.replace(".xml", "_1.xml"): XML * 2}


@pytest.mark.req("B-010")
def test_two_failures_and_a_success_are_three_attempts(
    proxied: Harness, fault_proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fault_proxy.inject(SLOW_DOWN, method="PUT", contains=NAME, times=2)
    assert _client(proxied).upload_file(str(proxied.write(NAME))) is True
    lines = _messages(caplog)
    assert lines.count("S3 throttling error: SlowDown, retrying in 0.00s") == 2
    assert sum("(Attempt 3/5)" in line for line in lines) == 1


@pytest.mark.req("B-011", "B-012")
@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_refused_credentials_are_tried_once(
    proxied: Harness, fault_proxy: FaultProxy, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    fault_proxy.inject(refuse(403, code), method="PUT", contains=NAME, times=FOREVER)
    assert _client(proxied).upload_file(str(proxied.write(NAME))) is False
    assert fault_proxy.count("PUT", NAME) == 1
    assert any(line.startswith(f"S3 authentication error: {code} - ") for line in _messages(caplog))


@pytest.mark.req("B-013")
def test_other_errors_are_tried_as_often_as_allowed(
    proxied: Harness, fault_proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    fault_proxy.inject(refuse(400, "SomethingElse"), method="PUT", contains=NAME, times=FOREVER)
    assert _client(proxied, MAX_RETRIES="3").upload_file(str(proxied.write(NAME))) is False
    assert fault_proxy.count("PUT", NAME) == 3
    assert any(
        line.startswith("S3 error: SomethingElse - ") and line.endswith("max retries exceeded")
        for line in _messages(caplog)
    )


@pytest.mark.req("B-013")
def test_a_wrong_clock_is_not_tried_again(
    proxied: Harness, fault_proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    fault_proxy.inject(refuse(403, "RequestTimeTooSkewed"), method="PUT", contains=NAME, times=FOREVER)
    assert _client(proxied).upload_file(str(proxied.write(NAME))) is False
    assert fault_proxy.count("PUT", NAME) == 1
    assert any("Set this machine's clock" in line for line in _messages(caplog))


@pytest.mark.req("B-017", "B-018")
@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"BUCKET_NAME": "no-such-bucket"}, "Failed to access bucket no-such-bucket: NoSuchBucket - "),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, ": SignatureDoesNotMatch - "),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:1"}, "Unexpected error checking bucket access: "),
    ],
)
def test_each_reason_against_access_is_told(
    harness: Harness, caplog: pytest.LogCaptureFixture, config: dict[str, str], line: str
) -> None:
    assert _client(harness, **config).check_bucket_access() is False
    assert any(line in message for message in _messages(caplog))


def test_no_line_shows_a_secret(harness: Harness, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG, "apex_pipeline")
    client = _client(harness, AWS_SECRET_ACCESS_KEY="hush-hush-hush")  # noqa: S106  -- not a secret
    assert client.upload_file(str(harness.write(NAME))) is False
    assert "hush-hush-hush" not in "\n".join(_messages(caplog))

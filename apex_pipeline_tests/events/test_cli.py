"""``apex events ship`` and the lines of ``apex doctor``: output, exit codes, and what a wrong call is told."""

import json

import pytest
from typer.testing import CliRunner

from apex_pipeline.cli.app import app
from apex_pipeline_tests.events.harness import KEY, NAME, XML, Harness
from apex_pipeline_tests.servers.s3_server import S3Bucket


def _run(harness: Harness, *arguments: str, **variables: str) -> tuple[int, str]:
    names = ("BUCKET_NAME", "S3_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    environment = harness.environment()
    chosen = {name: environment[name] for name in (*names, "APEX_STATE_DIR")} | {"EVENTS_SETTLE_S": "0"} | variables
    result = CliRunner().invoke(app, list(arguments), env=chosen)
    return result.exit_code, result.stdout


def test_ship_prints_a_line_per_file_and_the_totals(harness: Harness) -> None:
    harness.write(NAME)
    code, output = _run(harness, "events", "ship", str(harness.folder))
    assert code == 0
    assert f"shipped   {NAME} as {KEY} ({len(XML)} bytes)" in output
    assert f"s3://{harness.bucket.name}/xml-events/: 1 shipped ({len(XML)} bytes in" in output


def test_ship_prints_one_object_of_json(harness: Harness) -> None:
    harness.write(NAME)
    (harness.folder / "a.xml").mkdir()
    code, output = _run(harness, "events", "ship", str(harness.folder), "--json")
    facts = json.loads(output)
    assert (code, facts["shipped"], facts["failures"]) == (1, 1, {"data": 1})


def test_wrong_credentials_are_told_once_with_exit_code_2(harness: Harness) -> None:
    for second in range(3):
        harness.write(f"20250729_16150{second}.xml")
    code, output = _run(harness, "events", "ship", str(harness.folder), AWS_SECRET_ACCESS_KEY="wrong")  # noqa: S106
    assert code == 2
    assert output.count("SignatureDoesNotMatch") == 1
    assert "1 failed, 2 not tried" in output


@pytest.mark.req("B-018")
def test_doctor_checks_the_bucket_of_events(harness: Harness) -> None:
    _, output = _run(harness, "doctor", "--json", "--write", S3_BUCKET_NAME="another-bucket")
    checks = {check["check"]: check for check in json.loads(output)["checks"] if check["check"].startswith("events")}
    assert checks["events"]["said"].startswith("BUCKET_NAME and S3_BUCKET_NAME differ")
    assert checks["events bucket"]["state"] == "ok"
    assert checks["events uniqueness"]["state"] == "ok"


def test_doctor_names_the_variable_of_a_missing_bucket(harness: Harness) -> None:
    _, output = _run(harness, "doctor", "--json", BUCKET_NAME="no-such-bucket")
    check = next(check for check in json.loads(output)["checks"] if check["check"] == "events bucket")
    assert check["state"] == "problem"
    assert "Check BUCKET_NAME" in check["remedy"]


def test_doctor_says_where_names_are_kept_apart_by_a_lock(old_harness: Harness, old_bucket: S3Bucket) -> None:
    _, output = _run(old_harness, "doctor", "--json", "--write")
    assert old_bucket.name
    check = next(check for check in json.loads(output)["checks"] if check["check"] == "events uniqueness")
    assert "under the lock of the folder" in check["said"]

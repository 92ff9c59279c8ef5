"""The command line with race files in a bucket, against a real S3 server."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline_tests.orchestration.lake_runs import session_files
from apex_pipeline_tests.servers.s3_server import S3Bucket

pytestmark = pytest.mark.soak

_PROJECT = Path(__file__).resolve().parents[2]


def _apex(folder: Path, bucket: S3Bucket, *arguments: str) -> Any:
    """Run a command in an empty machine's folder, and return what it prints as JSON; of a sync, the result."""
    environment = {**os.environ, **bucket.environment, "APEX_LAKE_PREFIX": "lake", "PYTHONPATH": str(_PROJECT)}
    done = subprocess.run(
        [sys.executable, "-m", "apex_pipeline", *arguments, "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (
        [json.loads(line) for line in done.stdout.splitlines()] if arguments[0] == "sync" else json.loads(done.stdout)
    )


def _upload(bucket: S3Bucket, laps: int) -> None:
    for name, text in session_files("spa/R1", laps).items():
        bucket.client.put_object(Bucket=bucket.name, Key=f"incoming/spa/{name}", Body=text.encode())


def test_a_bucket_is_synced_like_a_folder_and_nothing_is_read_twice_by_another_machine(
    tmp_path: Path, s3_bucket: S3Bucket
) -> None:
    source = f"s3://{s3_bucket.name}/incoming"
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    _upload(s3_bucket, laps=3)
    plan = _apex(first, s3_bucket, "plan", source)
    assert plan["source"] == source
    done = _apex(first, s3_bucket, "sync", source)
    assert (done["copied"], done["derived"]) == (3, ["spa/R1"]), done
    before = s3_bucket.object_keys()
    again = _apex(second, s3_bucket, "sync", source)
    assert (again["copied"], again["derived"]) == (0, []), again
    assert s3_bucket.object_keys() == before
    _upload(s3_bucket, laps=4)
    assert _apex(second, s3_bucket, "sync", source)["derived"] == ["spa/R1"]

"""Tests the lake resource's request statistics."""

from pathlib import Path

import pytest

from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.servers.s3_server import S3Bucket


@pytest.mark.req("A-086", "A-087", "A-088")
def test_requests_and_errors_of_a_run_are_counted(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_bucket.environment.items():
        monkeypatch.setenv(name, value)
    lake = LakeResource.from_settings(load_settings())
    lake.open().check_access()
    assert lake.open().head("data/none.csv") is None
    metadata = lake.request_metadata()
    assert (metadata["s3/requests"], metadata["s3/errors"]) == (2, 1)
    assert metadata["s3/avg_ms"] > 0


def test_a_local_lake_has_no_request_metadata(tmp_path: Path) -> None:
    lake = LakeResource.from_settings(load_settings(lake_dir=tmp_path / "lake"))
    assert lake.request_metadata() == {}

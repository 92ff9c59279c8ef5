"""Contains the fixtures of this folder: a small lake whose steps are materialized one by one, and an empty one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.servers.s3_server import S3Bucket


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[LakeRuns]:
    lake = LakeRuns(tmp_path)
    yield lake
    lake.close()


@pytest.fixture(params=["local", "s3"])
def lake_resource(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LakeResource:
    """An empty lake, in a folder and in a bucket."""
    if request.param == "local":
        return LakeResource.from_settings(load_settings(lake_dir=tmp_path / "lake"))
    bucket: S3Bucket = request.getfixturevalue("s3_bucket")
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return LakeResource.from_settings(load_settings(use_s3_data=True, bucket=bucket.name))

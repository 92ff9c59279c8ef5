"""A minute of the soak test of a running Dagster; benchmarks/daemon_soak.py runs ten."""

from pathlib import Path

import pytest

from apex_pipeline_tests.e2e.daemon_soak import SoakPlan, soak
from apex_pipeline_tests.servers.s3_server import S3Bucket

pytestmark = pytest.mark.soak


def test_a_dagster_whose_processes_are_killed_converges_to_the_lake_of_one_clean_sync(tmp_path: Path) -> None:
    lakes = [{"APEX_LAKE_DIR": str(tmp_path / name)} for name in ("lake", "clean-lake")]
    result = soak(tmp_path, lakes[0], lakes[1], SoakPlan(seconds=60, seed=3), print)
    assert result.failures == []
    assert result.counts["objects compared"] > 0


def test_the_same_in_a_bucket(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    lakes = [{**s3_bucket.environment, "APEX_LAKE_PREFIX": name} for name in ("lake", "clean")]
    result = soak(tmp_path, lakes[0], lakes[1], SoakPlan(seconds=60, seed=4), print)
    assert result.failures == []
    assert result.counts["objects compared"] > 0

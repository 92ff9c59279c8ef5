"""A few rounds of the soak test of whole syncs; benchmarks/sync_soak.py runs sixty."""

from pathlib import Path

import pytest

from apex_pipeline_tests.e2e.sync_soak import SoakPlan, soak
from apex_pipeline_tests.servers.s3_server import S3Bucket

pytestmark = pytest.mark.soak


@pytest.mark.soak
def test_syncs_that_are_killed_stopped_and_raced_converge_to_the_lake_of_one_clean_sync(tmp_path: Path) -> None:
    lakes = [{"APEX_LAKE_DIR": str(tmp_path / name)} for name in ("lake", "clean-lake")]
    result = soak(tmp_path, lakes[0], lakes[1], SoakPlan(rounds=3, seed=5), print)
    assert result.failures == []
    assert result.counts["reads"] > 0


@pytest.mark.soak
def test_the_same_in_a_bucket(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    lakes = [{**s3_bucket.environment, "APEX_LAKE_PREFIX": name} for name in ("lake", "clean")]
    result = soak(tmp_path, lakes[0], lakes[1], SoakPlan(rounds=3, seed=6), print)
    assert result.failures == []
    assert result.counts["reads"] > 0

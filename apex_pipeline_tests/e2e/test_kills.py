"""Tests that a copy process, killed repeatedly, shows no partial file, resends no stored part, and completes."""

from pathlib import Path

import pytest

from apex_pipeline_tests.e2e.kill_harness import SoakPlan, soak
from apex_pipeline_tests.servers.s3_server import S3Bucket

_PLAN = SoakPlan(files=12, total_bytes=60_000_000, kills=3, seed=5)


@pytest.mark.slow
@pytest.mark.req("B-019")
def test_a_copy_killed_three_times_completes_without_resending_stored_parts(
    s3_bucket: S3Bucket, tmp_path: Path
) -> None:
    result = soak(s3_bucket, tmp_path, _PLAN, lambda _: None)
    assert result.failures == []
    assert len(result.kills) == _PLAN.kills
    assert len(s3_bucket.object_keys()) == _PLAN.files
    # The test proves nothing unless at least one part was stored before a kill.
    assert any(kill.stored_parts for kill in result.kills)

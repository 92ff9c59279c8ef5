"""A publisher that is killed a few times while programs read; benchmarks/publish_soak.py kills it fifty times."""

from pathlib import Path

import pytest

from apex_pipeline_tests.e2e.publish_soak import SoakPlan, soak

pytestmark = pytest.mark.soak


def test_each_answer_is_of_one_snapshot_and_whole_however_often_the_publisher_is_killed(tmp_path: Path) -> None:
    result = soak(tmp_path, SoakPlan(kills=5, seed=8), print)
    assert result.failures == []
    assert result.counts["kills"] == 5
    for kind in ("python: opened", "python: refreshed", "python: yesterday", "http: page", "http: walk", "http: by id"):
        assert result.counts[kind] > 0, kind
    assert result.counts["walks over a publication"] > 0

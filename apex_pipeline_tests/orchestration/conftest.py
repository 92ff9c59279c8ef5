"""Contains the fixtures of this folder: a small lake whose steps are materialized one by one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apex_pipeline_tests.orchestration.lake_runs import LakeRuns


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[LakeRuns]:
    lake = LakeRuns(tmp_path)
    yield lake
    lake.close()

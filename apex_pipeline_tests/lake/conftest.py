"""Fixtures with local lakes, shared with the tests of ingest, export and ops."""

import shutil
from pathlib import Path

import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.lake.derived import open_lake

__all__ = ["open_lake"]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return open_lake(tmp_path / "lake")


@pytest.fixture(scope="session")
def weekend(derived_lake: Path, demo_weekend: tuple[Path, GroundTruth]) -> tuple[Path, GroundTruth]:
    """A demo weekend (folder ``files``) and the lake derived from it (folder ``lake``); read-only."""
    return derived_lake, demo_weekend[1]


@pytest.fixture
def lake(derived_lake: Path, tmp_path: Path) -> LocalStore:
    """A copy of the weekend's lake that tests may damage."""
    shutil.copytree(derived_lake / "lake", tmp_path / "lake")
    return open_lake(tmp_path / "lake")

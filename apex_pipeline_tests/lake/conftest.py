"""Local lakes for the tests of this folder."""

import shutil
from pathlib import Path

import pytest

from apex_pipeline.demo import GroundTruth, WeekendOptions, make_weekend
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.lake.derived import publish_folder


def open_lake(folder: Path) -> LocalStore:
    """Return the lake in a folder, ready for writing."""
    made = LocalStore(folder, Fingerprints())
    made.prepare_for_writing()
    return made


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return open_lake(tmp_path / "lake")


@pytest.fixture(scope="package")
def weekend(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GroundTruth]:
    """A made weekend (folder ``files``), and beside it (folder ``lake``) the lake made from it; for reading only."""
    base = tmp_path_factory.mktemp("weekend")
    sheet = make_weekend(base / "files", WeekendOptions(target_bytes=2_000_000))
    publish_folder(open_lake(base / "lake"), base / "files", base / "scratch")
    return base, sheet


@pytest.fixture
def lake(weekend: tuple[Path, GroundTruth], tmp_path: Path) -> LocalStore:
    """A copy of the weekend's lake to damage."""
    shutil.copytree(weekend[0] / "lake", tmp_path / "lake")
    return open_lake(tmp_path / "lake")

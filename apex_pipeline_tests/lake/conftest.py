"""A local lake for the tests of this folder."""

from pathlib import Path

import pytest

from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path / "lake", Fingerprints())
    made.prepare_for_writing()
    return made

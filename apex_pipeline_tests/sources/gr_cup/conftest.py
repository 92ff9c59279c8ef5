"""Fixtures for the tests of this folder: the real races, read once."""

from pathlib import Path

import pytest

from apex_pipeline_tests.sources.gr_cup.real_races import Races, read_races


@pytest.fixture(scope="session")
def races(real_data: Path) -> Races:
    """Return the nine real races by track and session."""
    return read_races(real_data / "grcup")

"""Generates one weekend with faults and one without, once for all tests, which only read them."""

import pytest

from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline_tests.demo.reading import Weekend


@pytest.fixture(scope="session")
def weekend(tmp_path_factory: pytest.TempPathFactory) -> Weekend:
    folder = tmp_path_factory.mktemp("demo") / "weekend"
    return Weekend(folder, make_weekend(folder, WeekendOptions(target_bytes=3_000_000)))


@pytest.fixture(scope="session")
def clean_weekend(tmp_path_factory: pytest.TempPathFactory) -> Weekend:
    folder = tmp_path_factory.mktemp("demo") / "clean"
    return Weekend(folder, make_weekend(folder, WeekendOptions(target_bytes=2_000_000, inject_faults=False)))

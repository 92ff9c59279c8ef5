"""Fixtures of this folder: a small published race, and an empty lake with its loader."""

from pathlib import Path

import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline_tests.catalog.loaders.harness import LoaderHarness, local_harness, s3_harness
from apex_pipeline_tests.catalog.race_lake import Race, local_store, publish_race
from apex_pipeline_tests.storage.s3.harness import connect


@pytest.fixture(scope="package")
def race(tmp_path_factory: pytest.TempPathFactory) -> Race:
    """Return a race of twenty cars with 3,000 samples and three laps each; tests only read it."""
    return publish_race(local_store(tmp_path_factory.mktemp("race")), 3_000)


@pytest.fixture
def catalog(race: Race) -> Catalog:
    return race.catalog


@pytest.fixture(params=["local", "s3"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> LoaderHarness:
    """Return an empty lake, once in a folder and once in a bucket."""
    if request.param == "local":
        return local_harness(tmp_path)
    return s3_harness(connect(request.getfixturevalue("s3_bucket")), tmp_path)

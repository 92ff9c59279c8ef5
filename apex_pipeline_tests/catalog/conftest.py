"""A small published race for the tests of this folder."""

import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline_tests.catalog.race_lake import Race, local_store, publish_race


@pytest.fixture(scope="package")
def race(tmp_path_factory: pytest.TempPathFactory) -> Race:
    """Twenty cars, 3,000 samples and three laps each; for reading only."""
    return publish_race(local_store(tmp_path_factory.mktemp("race")), 3_000)


@pytest.fixture
def catalog(race: Race) -> Catalog:
    return race.catalog

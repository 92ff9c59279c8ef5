"""The lake of driven laps, published once."""

from pathlib import Path

import pytest

from apex_pipeline_tests.distance.driven_lake import publish_lake


@pytest.fixture(scope="session")
def driven_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the lake; read-only."""
    return publish_lake(tmp_path_factory.mktemp("driven"))

"""Lakes that are served over HTTP: the weekend with its tables, and a race with telemetry."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from apex_pipeline.api.lake.app import create_app
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.catalog.race_lake import Race, local_store, publish_race
from apex_pipeline_tests.servers.asgi import running_asgi

API = "/api/v1"


@contextmanager
def serving(lake: Path, **settings: Any) -> Generator[httpx.Client]:
    """Serve the lake in a folder, and yield a client."""
    app = create_app(load_settings(lake_dir=lake, state_dir=lake.parent / "state", **settings))
    with running_asgi(app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def weekend(derived_lake: Path) -> Generator[httpx.Client]:
    """The lake of the weekend, without telemetry; read-only."""
    with serving(derived_lake / "lake") as client:
        yield client


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> Race:
    """A race of twenty cars with 3,000 samples and three laps each; read-only."""
    return publish_race(local_store(tmp_path_factory.mktemp("race")), 3_000)


@pytest.fixture(scope="module")
def served_race(race: Race) -> Generator[httpx.Client]:
    """The lake of the race."""
    with serving(Path(race.store.uri)) as client:
        yield client

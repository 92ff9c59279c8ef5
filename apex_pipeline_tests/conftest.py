"""Fixtures for all tests: real files, servers, lakes, and an environment without the caller's settings.

Hypothesis uses one of three profiles, the same on every machine: ``default`` runs the same examples every time, without
deadlines; ``soak`` runs twice as many, in ``make soak``; ``nightly`` runs 1,000 new examples per test. Choose
one with ``APEX_HYPOTHESIS_PROFILE=nightly make test`` or with pytest's option ``--hypothesis-profile``.
"""

import gc
import os
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.handlers import BUILTIN_HANDLERS
from botocore.loaders import create_loader
from hypothesis import HealthCheck, settings

from apex_pipeline_tests.dagster_databases import databases_opened_quickly
from apex_pipeline_tests.environment import forget_settings
from apex_pipeline_tests.servers.fault_proxy import fault_proxy
from apex_pipeline_tests.servers.juicefs import old_bucket, old_server
from apex_pipeline_tests.servers.postgres import postgres_server, postgres_url
from apex_pipeline_tests.servers.redis_server import redis_server, shared_redis
from apex_pipeline_tests.servers.seaweed import s3_bucket, s3_server
from apex_pipeline_tests.shared_lakes import demo_bucket_lake, demo_folder, demo_lake, demo_weekend, derived_lake
from apex_pipeline_tests.shared_run import close_shared_run, hand_over_shared_run, open_shared_run, shared_run

# Fixtures available to all tests.
__all__ = [
    "databases_opened_quickly",
    "demo_bucket_lake",
    "demo_folder",
    "demo_lake",
    "demo_weekend",
    "derived_lake",
    "fault_proxy",
    "old_bucket",
    "old_server",
    "postgres_server",
    "postgres_url",
    "redis_server",
    "s3_bucket",
    "s3_server",
    "shared_redis",
    "shared_run",
]

# How long it takes to draw or run an example depends on the load of the machine, not on the code.
settings.register_profile(
    "default",
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("soak", settings.get_profile("default"), max_examples=30)
settings.register_profile("nightly", settings.get_profile("default"), max_examples=1000, derandomize=False)
settings.load_profile(os.environ.get("APEX_HYPOTHESIS_PROFILE", "default"))

_PROJECT = Path(__file__).resolve().parent.parent
_NEXT_TO_PROJECT = _PROJECT.parent / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    open_shared_run(config)


@pytest.hookimpl(optionalhook=True)  # a hook of xdist
def pytest_configure_node(node: Any) -> None:
    hand_over_shared_run(node.config, node.workerinput)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector what lives as long as the process: modules and tests, a million objects.

    Looking at all of them again and again took a tenth of the processor time of the tests. It also collects less often:
    after 10,000 new objects instead of 700.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest files first: started last, one would keep a single worker busy while the others idle.

    The end-to-end tests come next: they build the shared lakes, so that no other worker waits for one.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name != "e2e"))


def pytest_unconfigure(config: pytest.Config) -> None:
    close_shared_run(config)


def real_data_folder() -> Path | None:
    """Return the folder of real race files (``APEX_REAL_DATA``, else ``../shared/data``), or ``None``."""
    folder = Path(os.environ.get("APEX_REAL_DATA", _NEXT_TO_PROJECT))
    return folder if (folder / "grcup").is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = real_data_folder()
    if folder is None:
        message = "real race files not found: set APEX_REAL_DATA to the folder that holds grcup/ and grcup_rebuilt/"
        if os.environ.get("CI"):
            pytest.fail(message + " (CI must not skip)")
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session", autouse=True)
def service_models_read_once() -> Iterator[None]:
    """Share botocore's service models between all boto3 sessions: a client takes 10 ms instead of 94."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start every test without the caller's settings, in its own empty folder."""
    forget_settings(monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def sessions_without_moto(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep moto out of the sessions of tests that do not use it: once imported, it adds a handler to all of them.

    The store would leave its requests to botocore because of it, as for any other handler of a stranger.
    """
    if not hasattr(request.module, "mock_aws"):
        own = [entry for entry in BUILTIN_HANDLERS if not type(entry[1]).__module__.startswith("moto")]
        monkeypatch.setattr("botocore.handlers.BUILTIN_HANDLERS", own)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, those of botocore included, recorded instead of slept."""
    pauses: list[float] = []
    for module in ("botocore.endpoint", "apex_pipeline.storage.s3.direct.client"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=pauses.append))
    return pauses

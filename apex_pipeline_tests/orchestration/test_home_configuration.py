"""The configuration of a new Dagster home: as many runs at once as fit, and the same rules as a server's."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from apex_pipeline.orchestration import home_configuration as configuration
from apex_pipeline.orchestration.home_configuration import concurrent_runs, home_configuration
from apex_pipeline.settings import DEFAULT_MEMORY_LIMIT

_DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
_GB = 1_000_000_000


@pytest.mark.parametrize(
    ("free", "processors", "limit", "runs"),
    [
        pytest.param(8 * _GB, 16, 1 * _GB, 7, id="memory decides, less what Dagster takes"),
        pytest.param(8 * _GB, 16, 4 * _GB, 1, id="by the limit of one run"),
        pytest.param(64 * _GB, 2, 1 * _GB, 2, id="processors decide"),
        pytest.param(640 * _GB, 64, 1 * _GB, 10, id="never more than ten"),
        pytest.param(0, 16, 1 * _GB, 1, id="at least one"),
        pytest.param(None, 16, 1 * _GB, 1, id="not told"),
    ],
)
def test_as_many_runs_as_memory_and_processors_allow(
    monkeypatch: pytest.MonkeyPatch, free: int | None, processors: int, limit: int, runs: int
) -> None:
    monkeypatch.setattr(configuration, "free_memory", lambda: free)
    monkeypatch.setattr(configuration.os, "cpu_count", lambda: processors)
    assert concurrent_runs(limit) == runs


def test_dagster_takes_every_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(home_configuration(tmp_path, DEFAULT_MEMORY_LIMIT))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == concurrent_runs(DEFAULT_MEMORY_LIMIT)
        assert (queue.max_user_code_failure_retries, queue.user_code_failure_retry_delay) == (3, 60)
        assert instance.run_monitoring_max_runtime_seconds == 86_400
        assert not instance.telemetry_enabled


@pytest.mark.parametrize("file", ["dagster.yaml", "postgres/dagster.yaml", "render/dagster.yaml"])
def test_a_server_has_the_same_rules(file: str, tmp_path: Path) -> None:
    server: dict[str, Any] = yaml.safe_load((_DEPLOY / file).read_text())
    home: dict[str, Any] = yaml.safe_load(home_configuration(tmp_path, DEFAULT_MEMORY_LIMIT))
    # What belongs to one machine, and what to a server.
    for part in ("nux", "storage", "compute_logs", "concurrency"):
        server.pop(part, None)
        home.pop(part, None)
    assert server == home

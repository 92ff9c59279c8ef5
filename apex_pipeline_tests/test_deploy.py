"""What is shipped for a server loads in the Dagster that is pinned."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

_DEPLOY = Path(__file__).resolve().parents[1] / "deploy"


def test_the_server_instance_loads_with_its_two_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(_DEPLOY / "dagster.yaml", tmp_path)
    monkeypatch.setenv("APEX_LOG_BUCKET", "logs")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.compute_log_manager).__name__ == "S3ComputeLogManager"
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1

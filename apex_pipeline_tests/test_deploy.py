"""The deployment files load in the pinned Dagster release, and their start commands work."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from apex_pipeline.settings import environment_variables

_PROJECT = Path(__file__).resolve().parents[1]
_DEPLOY = _PROJECT / "deploy"
_RENDER: dict[str, Any] = yaml.safe_load((_DEPLOY / "render.yaml").read_text())
_SERVICES: dict[str, dict[str, Any]] = {service["name"]: service for service in _RENDER["services"]}
_GROUP: list[dict[str, Any]] = _RENDER["envVarGroups"][0]["envVars"]
_START_TIMEOUT_S = 600


def test_the_server_instance_loads_with_its_two_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(_DEPLOY / "dagster.yaml", tmp_path)
    monkeypatch.setenv("APEX_LOG_BUCKET", "logs")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.compute_log_manager).__name__ == "S3ComputeLogManager"


def _variables(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the variables a service sees, by name."""
    own = [entry for entry in service["envVars"] if "key" in entry]
    return {entry["key"]: entry for entry in [*_GROUP, *own]}


@pytest.mark.req("A-113")
def test_render_runs_a_code_location_a_daemon_and_a_webserver() -> None:
    assert {name: service["type"] for name, service in _SERVICES.items()} == {
        "apex-code": "pserv",
        "apex-daemon": "worker",
        "apex-web": "web",
    }
    group = {entry["key"]: entry["value"] for entry in _GROUP}
    assert group["USE_S3_DATA"] == "true"
    assert group["S3_BUCKET_NAME"] == "apex-racing-data"
    assert group["AWS_REGION"] == "us-east-1"


@pytest.mark.req("A-096", "A-113", "K-21")
def test_render_prompts_for_credentials_and_the_file_contains_none() -> None:
    for name, service in _SERVICES.items():
        given = {key: entry for key, entry in _variables(service).items() if re.search("SECRET|TOKEN|KEY_ID", key)}
        assert given.keys() == ({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} if name != "apex-daemon" else set())
        assert all(entry == {"key": key, "sync": False} for key, entry in given.items())
        assert "fromDatabase" in _variables(service)["DAGSTER_PG_PASSWORD"]
    assert _RENDER["databases"][0]["ipAllowList"] == []


@pytest.mark.parametrize("name", _SERVICES)
def test_every_variable_of_a_service_is_read_and_every_required_one_is_set(name: str) -> None:
    service = _SERVICES[name]
    instance = (_DEPLOY / "render" / "dagster.yaml").read_text()
    read_by_dagster = set(re.findall(r"env: (\w+)", instance + (_DEPLOY / "render" / "workspace.yaml").read_text()))
    read_by_commands = set(re.findall(r"\$(\w+)", " ".join(each["startCommand"] for each in _SERVICES.values())))
    given = set(_variables(service))
    known = set(environment_variables()) | read_by_dagster | read_by_commands | {"PYTHON_VERSION"}
    assert given <= known
    needed = set(re.findall(r"env: (\w+)", instance)) | set(re.findall(r"\$(\w+)", service["startCommand"]))
    if "-w " in service["startCommand"]:
        needed |= read_by_dagster
    assert needed - {"PWD", "PORT"} <= given  # PORT is set by Render


def test_the_render_instance_differs_only_in_storage_and_concurrent_runs() -> None:
    server: dict[str, Any] = yaml.safe_load((_DEPLOY / "dagster.yaml").read_text())
    render: dict[str, Any] = yaml.safe_load((_DEPLOY / "render" / "dagster.yaml").read_text())
    assert render.pop("storage")["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    assert render["concurrency"]["runs"] == {"max_concurrent_runs": 1}
    render["concurrency"]["runs"] = server["concurrency"]["runs"]
    assert render == server


def test_the_postgres_instance_differs_only_in_storage() -> None:
    server: dict[str, Any] = yaml.safe_load((_DEPLOY / "dagster.yaml").read_text())
    postgres: dict[str, Any] = yaml.safe_load((_DEPLOY / "postgres" / "dagster.yaml").read_text())
    render: dict[str, Any] = yaml.safe_load((_DEPLOY / "render" / "dagster.yaml").read_text())
    assert postgres.pop("storage") == render["storage"]
    assert postgres == server


def test_render_installs_dagster_postgres_of_the_pinned_release() -> None:
    pinned = re.search(r'"dagster-aws(>=[^"]+)"', (_PROJECT / "pyproject.toml").read_text())
    assert pinned is not None
    assert {service["buildCommand"] for service in _SERVICES.values()} == {
        f'pip install . "dagster-postgres{pinned[1]}"'
    }


@pytest.fixture
def render_folder(tmp_path: Path) -> Path:
    """The files of a service, with SQLite instead of its database."""
    shutil.copytree(_DEPLOY, tmp_path / "deploy")
    path = tmp_path / "deploy" / "render" / "dagster.yaml"
    instance: dict[str, Any] = yaml.safe_load(path.read_text())
    del instance["storage"]
    path.write_text(yaml.safe_dump(instance))
    return tmp_path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _started(name: str, folder: Path, environment: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """Run the start command of a service as Render does."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", _SERVICES[name]["startCommand"]],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _fetch_json(url: str, query: str | None = None) -> Any:
    """Return the JSON reply to a GET, or to a GraphQL query; ``None`` if the server does not respond."""
    body = None if query is None else json.dumps({"query": query}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  -- loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  -- as above
            return json.load(reply)
    except OSError:
        return None


@pytest.mark.slow
@pytest.mark.req("A-113", "A-116")
def test_the_three_render_services_start_and_find_each_other(render_folder: Path) -> None:
    port = _free_port()
    group = {entry["key"]: entry["value"] for entry in _GROUP}
    environment = {
        **os.environ,
        **group,
        "PYTHONPATH": str(_PROJECT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": str(port),
        "CODE_HOST": "127.0.0.1",
        "CODE_PORT": str(_free_port()),
    }
    query = "{workspaceOrError {... on Workspace {locationEntries {name locationOrLoadError {__typename}}}}}"
    expected = [{"name": "apex_pipeline", "locationOrLoadError": {"__typename": "RepositoryLocation"}}]
    entries: Any = None
    with ExitStack() as services:
        processes = [services.enter_context(_started(name, render_folder, environment)) for name in _SERVICES]
        deadline = time.monotonic() + _START_TIMEOUT_S
        while entries != expected and time.monotonic() < deadline and all(p.poll() is None for p in processes):
            time.sleep(0.5)
            reply = _fetch_json(f"http://127.0.0.1:{port}/graphql", query)
            entries = reply and reply["data"]["workspaceOrError"]["locationEntries"]
            if entries and entries != expected:
                # The webserver started before the code location, and retries only later or on request.
                reload = "mutation {reloadWorkspace {__typename}}"
                _fetch_json(f"http://127.0.0.1:{port}/graphql", reload)
        logs = {name: (render_folder / f"{name}.log").read_text()[-1500:] for name in _SERVICES}
        assert entries == expected, logs
        assert _fetch_json(f"http://127.0.0.1:{port}/server_info")["dagster_version"] == dg.__version__
        assert [process.poll() for process in processes] == [None, None, None], logs

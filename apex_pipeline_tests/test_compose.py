"""The file for Docker Compose: valid, without default passwords, and with commands that work.

No container is built or started here; the commands are run as processes (``compose_stack.py``).
"""

import base64
import json
import re
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest

from apex_pipeline.orchestration.daemon_settings import DAEMON_ENVIRONMENT
from apex_pipeline.settings import environment_variables, load_settings
from apex_pipeline_tests.compose_stack import COMPOSE, PROJECT, Stack, generated_passwords, running_stack, services
from apex_pipeline_tests.orchestration.dagster_server import DagsterServer
from apex_pipeline_tests.orchestration.lake_runs import session_files

_OURS = ("migrate", "code", "daemon", "web", "worker")
# Two looks of the sensor, 30 s apart, and a run; a busy machine needs many times the minute that these take.
_PUBLISH_TIMEOUT_S = 600


def test_the_file_is_valid_by_the_compose_specification() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE / "compose.yaml")]
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_it_has_a_service_for_each_part_and_each_that_stays_has_a_health_check() -> None:
    found = services()
    assert set(found) == {*_OURS, "postgres", "redis", "seaweedfs"}
    assert [name for name, service in found.items() if "healthcheck" not in service] == ["migrate"]
    assert found["migrate"]["restart"] == "no"


def test_everything_waits_for_the_migration_and_for_what_it_needs() -> None:
    found = services()
    for name in ("code", "daemon", "web", "worker"):
        conditions = {other: entry["condition"] for other, entry in found[name]["depends_on"].items()}
        assert conditions["migrate"] == "service_completed_successfully"
        assert {"redis", "seaweedfs"} <= conditions.keys()
    assert found["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_no_password_has_a_default_and_each_is_generated(tmp_path: Path) -> None:
    text = "".join((COMPOSE / name).read_text() for name in ("compose.yaml", "ams2.yaml"))
    passwords = generated_passwords(tmp_path)
    wanted = set(re.findall(r"\$\{(\w+)", text))
    assert wanted == passwords.keys()
    assert set(re.findall(r"\$\{\w+(.{2})", text)) == {":?"}  # Compose refuses to start without the variable
    assert len(set(passwords.values())) == len(passwords)
    assert all(re.fullmatch("[0-9a-f]{48}", password) for password in passwords.values())
    for service in services().values():
        secret = {name: value for name, value in service.get("environment", {}).items() if _is_secret(name)}
        assert all(value.startswith("${") or "${" in value for value in secret.values()), secret


def _is_secret(name: str) -> bool:
    return re.search("PASSWORD|SECRET|AUTH|BROKER_URL|PG_URL", name) is not None


def test_passwords_are_for_their_owner_alone_and_never_made_twice(tmp_path: Path) -> None:
    before = generated_passwords(tmp_path)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    again = subprocess.run([sys.executable, str(tmp_path / "make_env.py")], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert _lines(tmp_path) == before
    ignored = subprocess.run(
        ["git", "check-ignore", "deploy/compose/.env"], cwd=PROJECT, capture_output=True, check=False
    )
    assert ignored.returncode == 0


def test_the_file_of_passwords_does_not_stop_the_commands_that_are_run_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = generated_passwords(tmp_path)
    monkeypatch.chdir(tmp_path)
    token = load_settings().api_token  # raises if a name looks like a misspelled setting
    assert token is not None
    assert token.get_secret_value() == passwords["APEX_API_TOKEN"]


def _lines(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())


def test_only_this_machine_reaches_the_published_ports() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", _OURS)
def test_every_variable_is_read_and_lake_and_source_are_in_buckets(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, str] = services()[name]["environment"]
    celery = "".join(path.read_text() for path in (PROJECT / "deploy" / "celery").iterdir())
    read_by_dagster = set(re.findall(r"env: (\w+)", celery))
    assert read_by_dagster <= given.keys()
    assert given.keys() <= {*environment_variables(), *DAEMON_ENVIRONMENT, *read_by_dagster}
    folder = tmp_path / "compose"  # not the folder of the process, which reads its own .env
    folder.mkdir()
    passwords = generated_passwords(folder)
    for key, value in given.items():
        monkeypatch.setenv(key, re.sub(r"\$\{(\w+)[^}]*\}", lambda match: passwords[match[1]], value))
    settings = load_settings()
    assert settings.use_s3_data
    assert settings.source.startswith("s3://")


def test_the_image_installs_from_the_lock_with_hashes_and_runs_as_a_user() -> None:
    lines = (PROJECT / "deploy" / "Dockerfile").read_text().splitlines()
    assert any(line.startswith("RUN pip install") and "--require-hashes" in line for line in lines)
    assert [line.split()[1] for line in lines if line.startswith("USER")] == ["10001"]
    copied = [line.split()[-2] for line in lines if line.startswith("COPY")]
    allowed = [line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(allowed)
    assert all((PROJECT / path).exists() for path in copied)


def test_the_services_run_from_a_copy_because_they_write_into_their_home(tmp_path: Path) -> None:
    stack = Stack(tmp_path, dict.fromkeys(("redis", "seaweedfs", "code", "web"), "1"), generated_passwords(tmp_path))
    for name in _OURS:
        home = Path(stack.environment(name)["DAGSTER_HOME"])
        assert home.is_relative_to(tmp_path)
        assert (home / "dagster.yaml").is_file()
    left = {path.name for path in (PROJECT / "deploy" / "celery").iterdir()}
    assert left == {"celery.yaml", "dagster.yaml", "workspace.yaml"}


def _ask(address: str, password: str) -> Any:
    credentials = base64.b64encode(f"apex:{password}".encode()).decode()
    request = urllib.request.Request(address, headers={"Authorization": f"Basic {credentials}"})  # noqa: S310  -- loopback
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  -- as above
        return json.load(reply)


@pytest.mark.soak
def test_the_services_publish_what_is_uploaded_and_every_health_check_succeeds(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        bucket = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{stack.ports['seaweedfs']}",
            region_name="us-east-1",
            aws_access_key_id="apex",
            aws_secret_access_key=stack.passwords["STORE_PASSWORD"],
        )
        for name, text in session_files("spa/R1", laps=3).items():
            bucket.put_object(Bucket="apex-racing-data", Key=f"incoming/spa/{name}", Body=text.encode())
        address, password = f"http://127.0.0.1:{stack.ports['web']}", stack.passwords["APEX_WEB_PASSWORD"]
        DagsterServer(f"{address}/graphql", f"apex:{password}").start_sensor("sync_source")
        deadline = time.monotonic() + _PUBLISH_TIMEOUT_S
        while "Contents" not in bucket.list_objects_v2(Bucket="apex-racing-data", Prefix="lake/catalog/current.json"):
            assert time.monotonic() < deadline, "\n".join(map(stack.log, ("daemon", "worker", "code")))
            time.sleep(1)
        assert _ask(f"{address}/api/analytics/tracks", password) == ["spa"]
        assert all(stack.is_healthy(name) for name in ("code", "daemon", "web", "worker"))
        bucket.close()

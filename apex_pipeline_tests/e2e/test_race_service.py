"""The service of deploy/compose/ams2.yaml: every command line and health check, one race all the way, and the docs."""

import base64
import io
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

from apex_pipeline_tests.races_service.conftest import LAP_TIMES_S, two_laps
from apex_pipeline_tests.servers.race_stack import COMPOSE, PROJECT, RaceStack, running_stack
from apex_pipeline_tests.servers.s3_server import S3Bucket, S3Server

_PAGE = PROJECT / "docs" / "races.md"
_BLOCK = re.compile(r"```sh\n(.*?)```(?:\n```(?:json|text)\n(.*?)```)?", re.DOTALL)
_WORKER_START_S = 60
# In place of Docker: the programs of this machine, with the words that follow the name of the service.
_DOCKER = """
docker() {{
    shift 4; service=$1; shift
    case $service in
        postgres) shift; PGPASSWORD=$POSTGRES_PASSWORD {psql} -h 127.0.0.1 -p {postgres} "$@" ;;
        redis) shift; {python} {redis_cli} {redis} "$REDIS_PASSWORD" "$@" ;;
        worker) shift; {python} "$@" ;;
    esac
}}
"""
_REDIS_CLI = """
import sys, redis
answer = redis.Redis("127.0.0.1", int(sys.argv[1]), password=sys.argv[2]).execute_command(*sys.argv[3:])
print("PONG" if answer is True else f"(integer) {answer}")
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[RaceStack]:
    with running_stack() as stack:
        stack.start_api()
        stack.start("rq-dashboard")
        yield stack


@pytest.fixture(scope="module")
def api(stack: RaceStack) -> Iterator[httpx.Client]:
    with stack.http() as client:
        yield client


def _store(stack: RaceStack) -> S3Bucket:
    given = stack.environment("worker")
    server = S3Server(given["S3_ENDPOINT_URL"], given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"])
    return S3Bucket(given["AMS2_BUCKET_NAME"], server, server.client())


def _wait_until_ready(stack: RaceStack, api: httpx.Client, race: str) -> dict[str, object]:
    stack.wait_until(lambda: api.get(f"/race/{race}/status").json()["status"] == "Ready", "worker", _WORKER_START_S)
    return api.get(f"/race/{race}/status").json()


@pytest.mark.soak
@pytest.mark.req("C-001", "C-003", "C-004", "C-005", "C-007", "C-008", "C-009", "C-010", "C-011", "C-014", "C-017")
def test_a_race_goes_all_the_way_and_leaves_nothing_when_deleted(stack: RaceStack, api: httpx.Client) -> None:
    begun = time.monotonic()
    answer = api.post("/race/upload", json={"data": base64.b64encode(two_laps()).decode()}).raise_for_status().json()
    assert time.monotonic() - begun < 5  # under a second on a quiet machine
    assert (list(answer), answer["status"]) == (["race_id", "status", "job_id", "message"], "Processing")
    race = answer["race_id"]
    with stack.redis() as queue:
        assert queue.llen("rq:queue:race_processing") == 1
        assert queue.exists(f"rq:job:{answer['job_id']}")
    stack.start("worker")
    found = _wait_until_ready(stack, api, race)
    laps = api.get(f"/race/{race}/laps").json()
    assert found["laps_count"] == len(laps)
    first, second = [lap for lap in laps if lap["lap_time_s"]]
    assert [first["lap_time_s"], second["lap_time_s"]] == pytest.approx(LAP_TIMES_S, abs=0.1)
    assert [(str(row[0]), row[1]) for row in stack.sql("SELECT race_id, status, created_at FROM races;")] == [
        (race, "Ready")
    ]
    assert len(stack.sql("SELECT lap_uuid, race_id, lap_number FROM laps;")) == len(laps)
    _require_same_samples(stack, api, race, first)
    compared = api.get(f"/race/{race}/compare/{first['lap_number']}/{second['lap_number']}").json()
    assert compared["delta_s"][-1] == pytest.approx(second["lap_time_s"] - first["lap_time_s"], abs=0.001)
    assert api.get(f"/race/{race}/fuel/{first['lap_number']}").json()["used_l"] > 0
    assert api.get(f"/race/{race}/download").content[:2] == b"PK"
    assert api.get(f"/race/{race}/download/raw").content == two_laps()
    assert [api.delete(f"/race/{race}").status_code for _ in range(2)] == [204, 204]
    assert _store(stack).object_keys() == []
    assert stack.sql("SELECT (SELECT count(*) FROM races), (SELECT count(*) FROM laps)") == [(0, 0)]


def _require_same_samples(stack: RaceStack, api: httpx.Client, race: str, lap: dict[str, object]) -> None:
    """Require the same samples as a numpy file without pickle, as Arrow and as CSV."""
    store = _store(stack)
    stored = store.client.get_object(Bucket=store.name, Key=f"races/{race}/laps/{lap['lap_uuid']}.npy")
    array = np.load(io.BytesIO(stored["Body"].read()))
    path = f"/race/{race}/laps/{lap['lap_number']}"
    arrow = pa.ipc.open_stream(api.get(path, params={"format": "arrow"}).content).read_all()
    assert arrow.num_rows == len(array) > 100
    assert len(api.get(path, params={"format": "csv"}).text.splitlines()) == len(array) + 1


@pytest.mark.soak
@pytest.mark.req("C-017", "C-020")
def test_every_service_passes_its_health_check_and_only_the_api_is_open(stack: RaceStack) -> None:
    if "worker" not in stack.processes:
        stack.start("worker")
    for service in ("postgres", "redis", "s3", "api", "worker", "rq-dashboard"):
        stack.wait_until(lambda service=service: stack.check(service), service)
    dashboard = httpx.get(f"http://127.0.0.1:{stack.ports['9181']}/")
    assert dashboard.status_code == 200
    assert httpx.get(f"http://127.0.0.1:{stack.ports['8000']}/race/list_ids").status_code == 401
    published = re.findall(r'"((?:[\d.]+:)?\d+:\d+)"', COMPOSE.read_text(encoding="utf-8"))
    assert [port for port in published if not port.startswith("127.0.0.1:")] == ["8000:8000"]


@pytest.mark.soak
@pytest.mark.req("C-018", "C-019")
def test_the_commands_of_the_page_print_what_it_says(stack: RaceStack, api: httpx.Client) -> None:
    if "worker" not in stack.processes:
        stack.start("worker")
    (stack.folder / "race.deflate").write_bytes(two_laps(1))
    blocks = [block for block in _BLOCK.findall(_PAGE.read_text(encoding="utf-8")) if _can_run(block[0])]
    assert len(blocks) == 6
    race = ""
    for commands, expected in blocks:
        printed = _run(stack, re.sub(r"^RACE=.*", f"RACE={race}", commands, flags=re.MULTILINE))
        if not race:
            race = re.findall(r'"race_id":"([^"]+)"', printed)[0]
            _wait_until_ready(stack, api, race)
        for line in expected.splitlines():
            assert _normal(line.partition("…")[0]) in _normal(printed), printed
    assert api.delete(f"/race/{race}").status_code == 204


def _can_run(commands: str) -> bool:
    return "curl" in commands or " exec " in commands


def _run(stack: RaceStack, commands: str) -> str:
    client = stack.folder / "redis_cli.py"
    client.write_text(_REDIS_CLI)
    shell = _DOCKER.format(
        psql=Path(stack.command("postgres")[0]).with_name("psql"),
        postgres=stack.ports["5432"],
        redis=stack.ports["6379"],
        redis_cli=client,
        python=sys.executable,
    )
    address = f"localhost:{stack.ports['8000']}"
    script = f"{shell}\n. ./.env\n{commands.replace('localhost:8000', address)}"
    environment = stack.environment("worker")
    ended = subprocess.run(
        ["sh", "-eu"], input=script, cwd=stack.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _normal(text: str) -> str:
    """Return the text without what differs from one time to the next: ids and the name of the database's host."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", text)
    return re.sub(r'"database":"[^/]+/', '"database":"<host>/', text).rstrip("}]")

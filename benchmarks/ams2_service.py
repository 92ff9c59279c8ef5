"""Measures the service of AMS2 races as processes: uploads against a naive rival, status, workers, memory.

Run it from the project's folder, with the packages of the group `dev`:

    python benchmarks/ams2_service.py uploads status workers memory large

The rival is what a first version looks like: FastAPI that parses the JSON, decodes it, writes a local file, inserts a
row and enqueues a job, without a digest, an outbox or S3.
"""

import base64
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg

from apex_pipeline_tests.races_service.conftest import two_laps
from apex_pipeline_tests.servers.race_stack import RaceStack, running_stack
from apex_pipeline_tests.servers.s3_server import free_ports

_BYTES = {"Content-Type": "application/octet-stream"}
_JSON = {"Content-Type": "application/json"}
_CLIENTS = 8
_UPLOADS = 80
_RIVAL = """
import base64, os, uuid
import psycopg, redis, rq
from fastapi import FastAPI
from pydantic import BaseModel

class Upload(BaseModel):
    data: str

app = FastAPI()
queue = rq.Queue("naive", connection=redis.Redis.from_url(os.environ["REDIS_URL"]))
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS naive (race_id uuid PRIMARY KEY, path text)")

@app.post("/race/upload")
def upload(body: Upload):
    race = str(uuid.uuid4())
    with open(os.path.join(os.environ["TMPDIR"], race), "wb") as file:
        file.write(base64.b64decode(body.data))
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO naive VALUES (%s, %s)", (race, race))
    return {"race_id": race, "job_id": queue.enqueue("builtins.len", race).id}
"""


def _noise(size: int, seed: int) -> bytes:
    """Return bytes that no compression makes smaller, different for each seed."""
    return random.Random(seed).randbytes(size)  # noqa: S311  -- repeatable, not secret


def _json_of(blob: bytes) -> bytes:
    return b'{"data": "' + base64.b64encode(blob) + b'"}'


def _timed(calls: Iterable[Callable[[], httpx.Response]], clients: int) -> tuple[float, list[float]]:
    """Make calls from some clients at once; return calls per second and the time of each, sorted."""

    def measure(call: Callable[[], httpx.Response]) -> float:
        begun = time.perf_counter()
        call().raise_for_status()
        return time.perf_counter() - begun

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = sorted(pool.map(measure, calls))
    return len(times) / (time.perf_counter() - begun), times


def _shown(name: str, rate: float, times: list[float]) -> None:
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    print(f"{name:<28} {rate:7.1f}/s   p50 {statistics.median(times):6.3f} s   p99 {p99:6.3f} s")


def uploads(stack: RaceStack) -> None:
    """Upload 1 MB from 8 clients to the service and to its rival, in turn."""
    port = free_ports(1)[0]
    (stack.folder / "naive_rival.py").write_text(_RIVAL)
    environment = stack.environment("api") | {"PYTHONPATH": str(stack.folder)}
    command = [sys.executable, "-m", "uvicorn", "naive_rival:app", "--port", str(port)]
    with (stack.folder / "rival.log").open("ab") as log:
        rival = subprocess.Popen(command, env=environment, cwd=stack.folder, stdout=log, stderr=log)
    try:
        for attempt in range(2):
            bodies = [_json_of(_noise(1_000_000, attempt * _UPLOADS + number)) for number in range(_UPLOADS)]
            with (
                httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=_JSON, timeout=60) as naive,
                stack.http() as ours,
            ):
                stack.wait_until(lambda naive=naive: naive.get("/openapi.json").is_success, "rival")
                for name, client in (("naive rival", naive), ("service", ours)):
                    process = rival if client is naive else stack.processes["api"]
                    cpu = _cpu_s(process.pid)
                    calls = [lambda body=body, client=client: _post(client, body) for body in bodies]
                    _shown(f"{name}, 1 MB, {_CLIENTS} clients", *_timed(calls, _CLIENTS))
                    print(f"CPU of its process: {(_cpu_s(process.pid) - cpu) / len(bodies) * 1000:.0f} ms per upload")
    finally:
        rival.kill()
        rival.wait()


def _post(client: httpx.Client, body: bytes) -> httpx.Response:
    return client.post("/race/upload", content=body, headers=_JSON)


def status(stack: RaceStack, per_second: int = 200, seconds: int = 10) -> None:
    """Ask for a status 200 times a second, on time; the time counts from when a question was due."""
    api = stack.processes["api"].pid
    with stack.http() as client:
        race = client.post("/race/upload", content=two_laps(), headers=_BYTES).json()["race_id"]
        begun, cpu = time.perf_counter(), _cpu_s(api)

        def ask(number: int) -> float:
            due = begun + number / per_second
            time.sleep(max(0.0, due - time.perf_counter()))
            client.get(f"/race/{race}/status").raise_for_status()
            return time.perf_counter() - due

        with ThreadPoolExecutor(8) as pool:
            times = sorted(pool.map(ask, range(per_second * seconds)))
        _shown(f"status, due {per_second}/s", len(times) / (time.perf_counter() - begun), times)
        print(f"CPU of the API: {(_cpu_s(api) - cpu) / len(times) * 1000:.1f} ms per status")


def workers(stack: RaceStack) -> None:
    """Process eight races of two seconds each, with one worker and with four."""
    _forget_races(stack)
    slow = stack.folder / "slow" / "sitecustomize.py"
    slow.parent.mkdir(exist_ok=True)
    # Each race sleeps two seconds before it is read: what is measured is the queue, not the parser.
    slow.write_text(
        "import time, apex_pipeline.races.process as process\n"
        "read = process._read\n"
        "process._read = lambda *given: (time.sleep(2), read(*given))[1]\n"
    )
    for count in (1, 4):
        for number in range(count):
            stack.start(
                f"worker.{number}", PYTHONPATH=f"{slow.parent}{os.pathsep}{stack.environment('worker')['PYTHONPATH']}"
            )
        stack.wait_until(lambda count=count: _alive(stack) == count, "worker.0")
        with stack.http() as client:
            begun = time.perf_counter()
            races = [
                client.post("/race/upload", params={"force": "true"}, content=two_laps(), headers=_BYTES).json()[
                    "race_id"
                ]
                for _ in range(8)
            ]
            while any(client.get(f"/race/{race}/status").json()["status"] == "Processing" for race in races):
                time.sleep(0.1)
        print(f"8 races of 2 s, {count} worker{'s' * (count > 1)}: {time.perf_counter() - begun:.1f} s")
        for number in range(count):
            stack.kill(f"worker.{number}")
        _forget_races(stack)


def _forget_races(stack: RaceStack) -> None:
    """Empty the queue and the database, so that nothing of an earlier measurement is worked on."""
    with psycopg.connect(stack.environment("worker")["DATABASE_URL"]) as connection:
        connection.execute("TRUNCATE races CASCADE")
    with stack.redis() as queue:
        queue.flushall()


def _alive(stack: RaceStack) -> int:
    with stack.redis() as queue:
        return queue.scard("rq:workers")


def memory(stack: RaceStack, count: int = 200) -> None:
    """Upload and process 200 races, and show the memory of API and worker as they go."""
    _forget_races(stack)
    worker = stack.start("worker")
    with stack.http() as client:
        for number in range(count + 1):
            if number % 50 == 0:
                while any(
                    race["status"] == "Processing" for race in client.get("/race/list", params={"limit": 300}).json()
                ):
                    time.sleep(0.2)
                own = [_rss_mb(process.pid) for process in (stack.processes["api"], worker)]
                print(f"after {number:3} uploads: API {own[0]:.0f} MB, worker {own[1]:.0f} MB")
            client.post(
                "/race/upload", params={"force": "true"}, content=two_laps(number % 5), headers=_BYTES
            ).raise_for_status()
    stack.kill("worker")


def large(stack: RaceStack) -> None:
    """Upload the worst hour, 140 MB in 187 MB of JSON, and show the API's greatest memory."""
    blob = zlib.compress(_noise(140_000_000, 1), 0)
    before = _peak_mb(stack.processes["api"].pid)
    with tempfile.TemporaryFile() as body, stack.http() as client:
        body.write(_json_of(blob))
        size = body.tell()
        body.seek(0)
        begun = time.perf_counter()
        client.post(
            "/race/upload", content=body, headers=_JSON | {"Content-Length": str(size)}, timeout=300
        ).raise_for_status()
    took, peak = time.perf_counter() - begun, _peak_mb(stack.processes["api"].pid)
    print(f"{size / 1e6:.0f} MB of JSON: {took:.1f} s, API at most {peak:.0f} MB (before: {before:.0f} MB)")


def _rss_mb(pid: int) -> float:
    return _memory(pid, "VmRSS")


def _peak_mb(pid: int) -> float:
    return _memory(pid, "VmHWM")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1000


def main() -> None:
    """Run the measurements named on the command line, or all of them."""
    known = {kind.__name__: kind for kind in (uploads, status, workers, memory, large)}
    with running_stack() as stack:
        stack.start_api()
        print(json.dumps({"cpus": os.cpu_count(), "load": os.getloadavg()[0]}))
        for name in sys.argv[1:] or known:
            known[name](stack)


if __name__ == "__main__":
    main()

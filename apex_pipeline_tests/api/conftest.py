"""The API and its workers as processes of their own, on real PostgreSQL, Redis and S3."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

_PROJECT = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S = 60


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """Run a program of this project in the background, and kill it at the end.

    Args:
        command: Module and arguments for this Python.
        environment: Variables added to those of the tests.
        log: File for its output.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=log.parent,
            env={**os.environ, "PYTHONPATH": str(_PROJECT), **environment},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_api(environment: dict[str, str], folder: Path) -> Generator[httpx.Client]:
    """Run the API on a free port, and yield a client once it is ready."""
    port = free_port()
    command = ["uvicorn", "--factory", "apex_pipeline.api.app:create_app", "--port", str(port)]
    with started(command, environment, folder / "api.log") as process:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    client.get("/health")
                except httpx.TransportError:
                    time.sleep(0.1)
                else:
                    yield client
                    return
        pytest.fail((folder / "api.log").read_text()[-3000:])


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(client: httpx.Client, race_id: str, status: str, timeout_s: float = 60) -> dict[str, object]:
    """Ask for a race's status until it is this one."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = client.get(f"/race/{race_id}/status").json()
        if found["status"] == status or time.monotonic() > deadline:
            assert found["status"] == status, found
            return found
        time.sleep(0.1)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The API of a laptop: SQLite, a folder, no Redis; nothing is processed."""
    folder = tmp_path_factory.mktemp("api")
    # A worker that seems to run already, so that none is started.
    with running_api({"MAX_RACE_MB": "2", "APEX_STATE_DIR": str(folder / "state")}, folder) as client:
        yield client

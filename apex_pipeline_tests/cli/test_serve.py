"""`apex serve`: one process that answers, stops cleanly, and says what is wrong before it listens."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.static import serving

_PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def listening() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@contextmanager
def _running(lake: str, folder: Path) -> Generator[tuple["subprocess.Popen[str]", str]]:
    """Start `apex serve`, and yield its process and its address."""
    command = [sys.executable, "-m", "apex_pipeline", "serve", "--port", "0", "--lake", lake]
    with subprocess.Popen(
        command, cwd=folder, env=_environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"Serving at (http://127\.0\.0\.1:\d+)/api/v1/sessions; stop with Ctrl\+C\.\n", line)
        assert found is not None, line + process.stderr.read()
        try:
            yield process, found[1]
        finally:
            process.kill()


def _environment(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(_PROJECT), "HOME": str(folder), "PATH": ""}


@pytest.mark.slow
def test_the_lake_is_served_until_the_process_is_asked_to_end(derived_lake: Path, tmp_path: Path) -> None:
    with _running(str(derived_lake / "lake"), tmp_path) as (process, address):
        with httpx.Client(base_url=address, timeout=30) as client:
            # Without pandas, as every command that only reads tables.
            for path in ("laps", "best", "positions", "gaps", "penalties", "sectors", "results", "weather", "quality"):
                assert client.get(f"/api/v1/sessions/harbor/R1/{path}").status_code == 200, path
            assert client.get("/api/v1/tables/laps?sort=lap_time_s&is_valid=true&format=csv").status_code == 200
            memory = client.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=10)
        assert process.returncode == 128 + signal.SIGTERM
        assert "Traceback" not in error
    used = float(re.search(r"process_resident_memory_bytes ([0-9.e+]+)\n", memory)[1])  # type: ignore[index]  # it is there
    assert used < 300_000_000


@pytest.mark.slow
def test_ctrl_c_during_a_request_ends_the_server_in_seconds(derived_lake: Path, tmp_path: Path) -> None:
    with serving(derived_lake / "lake") as store, _running(store.address, tmp_path) as (process, address):
        assert httpx.get(f"{address}/api/v1/sessions", timeout=30).status_code == 200
        store.answers.clear()
        asked, answers = len(store.requests), list[httpx.Response]()
        path = f"{address}/api/v1/sessions/harbor/R1/weather"
        client = threading.Thread(target=lambda: answers.append(httpx.get(path, timeout=30)))
        client.start()
        while len(store.requests) == asked:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=5)
        client.join()
        assert process.returncode == 130
        assert (answers[0].status_code, answers[0].json()["detail"]) == (503, "The server is being stopped.")
        assert "Traceback" not in error
        assert error.endswith("Stopped by Ctrl+C. The server has stopped; it only reads, so it left nothing behind.\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "outlook"), [("apex_pipeline.cli.app", "It had not begun."), ("uvicorn", "The server has stopped; ")]
)
def test_ctrl_c_while_the_server_starts_says_so_in_one_line(tmp_path: Path, module: str, outlook: str) -> None:
    program = f"""
import os, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from apex_pipeline.__main__ import main
main()
"""
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--lake", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (130, "")
    assert re.fullmatch(rf"Stopped by Ctrl\+C\. {re.escape(outlook)}.*\n", ended.stderr)


def test_a_port_in_use_is_an_error_with_another_one(listening: int, apex: Apex) -> None:
    result = apex("serve", "--port", str(listening))
    assert result.code == 2
    assert f"127.0.0.1:{listening} cannot be listened on: Address already in use." in result.error
    assert "--port" in result.error


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "races.example"])  # noqa: S104  -- it must be refused
def test_other_machines_are_served_with_a_token_only(apex: Apex, host: str) -> None:
    result = apex("serve", "--host", host)
    assert result.code == 2
    assert "no token is set" in result.error
    assert "APEX_API_TOKEN" in result.error

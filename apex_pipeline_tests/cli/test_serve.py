"""`apex serve`: one process that answers, stops cleanly, and says what is wrong before it listens."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from apex_pipeline_tests.cli.conftest import Apex

_PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def listening() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
def test_the_lake_is_served_until_the_process_is_asked_to_end(derived_lake: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "apex_pipeline", "serve", "--port", "0", "--lake", str(derived_lake / "lake")]
    environment = {"PYTHONPATH": str(_PROJECT), "HOME": str(tmp_path), "PATH": ""}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"Serving at (http://127\.0\.0\.1:\d+)/api/v1/sessions; stop with Ctrl\+C\.\n", line)
        assert found is not None, line + process.stderr.read()
        with httpx.Client(base_url=found[1], timeout=30) as client:
            # Without pandas, as every command that only reads tables.
            for path in ("laps", "best", "positions", "gaps", "penalties", "sectors", "results", "weather", "quality"):
                assert client.get(f"/api/v1/sessions/harbor/R1/{path}").status_code == 200, path
            assert client.get("/api/v1/tables/laps?sort=lap_time_s&is_valid=true&format=csv").status_code == 200
            memory = client.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
        assert "Traceback" not in process.stderr.read()
    used = float(re.search(r"process_resident_memory_bytes ([0-9.e+]+)\n", memory)[1])  # type: ignore[index]  # it is there
    assert used < 300_000_000


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

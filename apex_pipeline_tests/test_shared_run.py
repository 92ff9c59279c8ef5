"""Shared results are built once per test run, and shared servers stop with it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apex_pipeline_tests.shared_run import SharedRun

_PROJECT = Path(__file__).resolve().parents[1]
_BUILDER = """
import os, sys, time
from pathlib import Path
from apex_pipeline_tests.shared_run import SharedRun

def build(folder):
    (folder / f"built-by-{os.getpid()}").touch()
    return os.getpid()

print(SharedRun(Path(sys.argv[1])).once("lake", build)[1])
"""
# A fake server: a file that exists while it runs.
_KEEPER = """
import sys
from contextlib import contextmanager
from pathlib import Path
from apex_pipeline_tests.servers.s3_server import S3Server
from apex_pipeline_tests.servers.shared import keep_server

@contextmanager
def running(binary):
    binary.touch()
    yield S3Server("http://127.0.0.1:1", "key", "secret")
    binary.unlink()

keep_server("toy", running)
"""
# The first process of the run, to be killed.
_CONTROLLER = """
import sys
from pathlib import Path
from apex_pipeline_tests.shared_run import SharedRun

with SharedRun(Path(sys.argv[1])).life():
    print("alive", flush=True)
    sys.stdin.read()
"""


def _start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(_PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_concurrent_processes_share_one_build(tmp_path: Path) -> None:
    builders = [_start(_BUILDER, tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        printed = list(pool.map(lambda builder: builder.communicate()[0].strip(), builders))
    assert len(set(printed)) == 1
    assert [path.name for path in (tmp_path / "lake").iterdir()] == [f"built-by-{printed[0]}"]


def test_a_failed_build_is_repeated_in_an_empty_folder(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("no")

    run = SharedRun(tmp_path)
    with pytest.raises(ValueError, match="no"):
        run.once("lake", fail)
    folder, found = run.once("lake", lambda folder: list(folder.iterdir()))
    assert (folder, found) == (tmp_path / "lake", [])


def test_a_shared_server_stops_when_the_first_process_is_killed(tmp_path: Path) -> None:
    controller = _start(_CONTROLLER, tmp_path)
    assert controller.stdout is not None
    assert controller.stdout.readline() == "alive\n"
    (tmp_path / "toy").mkdir()
    server = tmp_path / "server"
    keeper = _start(_KEEPER, tmp_path, server)
    while not (tmp_path / "toy" / "address").exists():
        assert keeper.poll() is None
    assert server.exists()
    controller.kill()
    controller.communicate()
    keeper.communicate(timeout=600)
    assert keeper.returncode == 0
    assert not server.exists()

"""One server of each kind per test run, shared by all worker processes and stopped with the run.

Contains the process that owns a server; see seaweed.py and juicefs.py for how a server is started. The process starts
the server, writes its address to a file, and waits for the lock that the first process of the run holds: the operating
system releases it however that process ends, including by Ctrl+C or a kill.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

import pytest

from apex_pipeline_tests.servers.s3_server import S3Server
from apex_pipeline_tests.shared_run import SharedRun

_PROJECT = Path(__file__).resolve().parents[2]
Running = Callable[[Path], AbstractContextManager[S3Server]]


def shared_server(run: SharedRun, module: str, binary: Path) -> S3Server:
    """Return the run's server of this kind; the first process that calls this starts it.

    Args:
        run: The test run.
        module: Module of this package that calls ``keep_server`` when executed; also the name of the server.
        binary: The server's binary.
    """
    _, server = run.once(module, lambda folder: _start(run, module, binary, folder))
    return server


def keep_server(name: str, running: Running) -> None:
    """Run a server until the test run is over: the main function of the process that owns it.

    The command line arguments are the run's folder and the server's binary.
    """
    run, binary = SharedRun(Path(sys.argv[1])), Path(sys.argv[2])
    with run.alive(name), running(binary) as server:
        address = run.folder / name / "address"
        partial = address.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(server)))
        partial.replace(address)
        with run.life():
            pass


def _start(run: SharedRun, module: str, binary: Path, folder: Path) -> S3Server:
    command = [sys.executable, "-m", f"{__package__}.{module}", str(run.folder), str(binary)]
    with (folder / "log").open("wb") as log:
        # In a new session: Ctrl+C must not stop it before the tests that use it.
        keeper = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_PROJECT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while not (folder / "address").is_file():
        # The process ends with a message after several failed attempts to start the server.
        if keeper.poll() is not None:
            pytest.fail((folder / "log").read_text(errors="replace")[-4000:])
        time.sleep(0.05)
    # It outlives this process, and a deleted Popen object would warn that its process is still running.
    keeper.returncode = 0
    return S3Server(**json.loads((folder / "address").read_text()))

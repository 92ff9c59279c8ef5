"""One server of a kind per run of the tests, used by all worker processes and ended with the run.

Contains the process that owns a server. It starts the server, writes down its address, and waits for the lock that the
run's first process holds: the system lets go of it however that process ends, by Ctrl+C or a kill too. How a server is
started is in seaweed.py and juicefs.py.
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
# Not waited for: they end after the run. A dropped Popen object would warn that its process still runs.
_keepers: list["subprocess.Popen[bytes]"] = []


def shared_server(run: SharedRun, module: str, binary: Path) -> S3Server:
    """Return the run's server of this kind; the first process that asks for it has it started.

    Args:
        run: The run of the tests.
        module: Module of this package that calls ``keep_server`` when it is run; names the server too.
        binary: The server's binary.
    """
    _, server = run.once(module, lambda folder: _start(run, module, binary, folder))
    return server


def keep_server(name: str, running: Running) -> None:
    """Run a server until the run of the tests is over; the body of the process that owns it.

    The command line gives the run's folder and the server's binary.
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
        # In a session of its own: Ctrl+C must not end it before the tests that use it.
        keeper = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_PROJECT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _keepers.append(keeper)
    while not (folder / "address").is_file():
        # It gives up by itself, with a reason, after some starts that lead nowhere.
        if keeper.poll() is not None:
            pytest.fail((folder / "log").read_text(errors="replace")[-4000:])
        time.sleep(0.05)
    return S3Server(**json.loads((folder / "address").read_text()))

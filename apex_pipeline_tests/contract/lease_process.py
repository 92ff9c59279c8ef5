"""A process that holds leases, for the tests that kill, stop or race such processes.

``hold NAME LIFETIME_S``: acquires a lease, prints ``held``, and answers every line on standard input with ``yes`` or
``lost``. ``count NAME TIMES FILE``: adds to the number in a file, without any other protection than the lease.
"""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from apex_pipeline.errors import LeaseLostError
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.leases import held

_PROJECT = Path(__file__).resolve().parents[2]


class LeaseProcess:
    """A running process of this module.

    Args:
        environment: Variables that describe the store.
        arguments: Arguments of this module.
    """

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "apex_pipeline_tests.contract.lease_process", *arguments],
            env={**os.environ, **environment, "PYTHONPATH": str(_PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read_line(self) -> str:
        """Return the next line that the process prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self) -> str:
        """Ask whether the process still holds its lease."""
        assert self.process.stdin is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return self.read_line()


@contextmanager
def lease_process(environment: Mapping[str, str], *arguments: str) -> Generator[LeaseProcess]:
    """Start a process of this module, and kill it at the end."""
    running = LeaseProcess(environment, *arguments)
    with running.process:
        try:
            yield running
        finally:
            running.process.kill()


def _hold(store: ObjectStore, name: str, lifetime_s: str) -> None:
    with held(store, name, "holding", lifetime_s=float(lifetime_s)) as lease:
        print("held", flush=True)  # noqa: T201
        for _ in sys.stdin:
            try:
                lease.require()
                print("yes", flush=True)  # noqa: T201
            except LeaseLostError:
                print("lost", flush=True)  # noqa: T201


def _count(store: ObjectStore, name: str, times: str, path: str) -> None:
    counter = Path(path)
    for _ in range(int(times)):
        with held(store, name, "counting", timeout_s=300) as lease:
            before = int(counter.read_text())
            marker = counter.with_suffix(".busy")
            marker.touch(exist_ok=False)
            lease.require()
            counter.write_text(str(before + 1))
            marker.unlink()


if __name__ == "__main__":
    _command, *_arguments = sys.argv[1:]
    {"hold": _hold, "count": _count}[_command](open_store(load_settings(), for_writing=True), *_arguments)

"""One process measured from outside: CPU, wall, peak memory, anonymous memory. Linux only; standard library only.

A child's peak begins at what its parent held at the fork, so whoever calls this must be small: no Arrow, no numbers.
"""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.05
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class Measurement:
    """What one run used, its own child processes included.

    Attributes:
        cpu_s: Seconds of CPU, user and system.
        wall_s: Seconds from start to end.
        peak_mb: Largest resident memory, pages of mapped files included, in 1,000,000 bytes.
        anonymous_mb: Largest anonymous memory seen, looked at every 50 ms: what no file backs.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float
    anonymous_mb: float


class EngineFailedError(Exception):
    """An engine ended with an error; the message is the last line it said."""


def measure(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[Measurement, str]:
    """Run a command in a folder and return what it used and what it printed.

    Raises:
        EngineFailedError: It ended with an error.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complaint:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=said, stderr=complaint)
        sampler = _Sampler(process.pid)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        anonymous_mb = sampler.stop() / 1e6
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            complaint.seek(0)
            lines = complaint.read().strip().splitlines() or [f"exit code {process.returncode}"]
            raise EngineFailedError(lines[-1][:_SHOWN_CHARACTERS])
        said.seek(0)
        printed = said.read()
    # Linux counts ru_maxrss in KiB.
    peak_mb = usage.ru_maxrss * 1024 / 1e6
    return Measurement(usage.ru_utime + usage.ru_stime, wall_s, peak_mb, anonymous_mb), printed


class _Sampler(threading.Thread):
    """Looks at the anonymous memory of a process and its descendants until it is stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._largest = 0
        self._is_over = threading.Event()

    def run(self) -> None:
        """Look, and look again."""
        while not self._is_over.wait(_SAMPLE_S):
            self._largest = max(self._largest, sum(map(_anonymous_bytes, _family(self._pid))))

    def stop(self) -> int:
        """End the watch and return the largest sum seen, in bytes."""
        self._is_over.set()
        self.join()
        return self._largest


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return  # it has just ended
    for task in tasks:
        for child in _text(task / "children").split():
            yield from _family(int(child))


def _anonymous_bytes(pid: int) -> int:
    for line in _text(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has just ended

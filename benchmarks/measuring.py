"""Measures a process from outside: CPU, wall time, peak memory, anonymous memory. Linux and standard library only.

The peak memory of a child process starts at that of its parent at the fork, so the caller must be small: no Arrow, no
NumPy.
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
    """Resources used by one run, including its child processes.

    Attributes:
        cpu_s: Seconds of CPU time, user and system.
        wall_s: Seconds from start to end.
        peak_mb: Largest resident memory, including pages of mapped files, in 1,000,000 bytes.
        anonymous_mb: Largest anonymous memory (not backed by a file), sampled every 50 ms.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float
    anonymous_mb: float


class EngineFailedError(Exception):
    """An engine failed; the message is the last line of its error output."""


def measure(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[Measurement, str]:
    """Run a command in a folder and return its measurement and its output.

    Raises:
        EngineFailedError: The command failed.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=output, stderr=errors)
        sampler = _Sampler(process.pid)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        anonymous_mb = sampler.stop() / 1e6
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [f"exit code {process.returncode}"]
            raise EngineFailedError(lines[-1][:_SHOWN_CHARACTERS])
        output.seek(0)
        printed = output.read()
    # Linux counts ru_maxrss in KiB.
    peak_mb = usage.ru_maxrss * 1024 / 1e6
    return Measurement(usage.ru_utime + usage.ru_stime, wall_s, peak_mb, anonymous_mb), printed


class _Sampler(threading.Thread):
    """Samples the anonymous memory of a process and its descendants until it is stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._largest = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stopped.wait(_SAMPLE_S):
            self._largest = max(self._largest, sum(map(_anonymous_bytes, _process_tree(self._pid))))

    def stop(self) -> int:
        """Stop sampling and return the largest sum, in bytes."""
        self._stopped.set()
        self.join()
        return self._largest


def _process_tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return  # the process has just ended
    for task in tasks:
        for child in _text(task / "children").split():
            yield from _process_tree(int(child))


def _anonymous_bytes(pid: int) -> int:
    for line in _text(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""  # the process has just ended

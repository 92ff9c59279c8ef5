"""Identifies a process across time, to find out later whether it is still alive.

A process id alone is not enough: ids are reused, and each container and machine has its own. An identity therefore
also has the host, its boot, the PID namespace and the start time: host names are often equal, the first PID namespace
of every machine has the same number, and start times count from the boot.
"""

import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = Path("sys/kernel/random/boot_id")
# The fields of /proc/PID/stat after the name, which is in parentheses and may contain anything.
_STATE_FIELD, _START_FIELD = 0, 19
# A zombie has ended; only its parent has not noticed yet.
_ENDED_STATES = frozenset("ZXx")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process of some machine.

    Attributes:
        host: Name of the machine or container.
        namespace: The boot of that machine and its PID namespace, see :func:`pid_namespace`.
        pid: Process id in this namespace.
        started: When it started, in a form that only this machine understands; empty if unknown.
    """

    host: str
    namespace: str
    pid: int
    started: str

    @property
    def is_local(self) -> bool:
        """Whether it ran where this process runs, so that its end can be seen from here."""
        own = this_process()
        return (self.host, self.namespace) == (own.host, own.namespace)

    @property
    def is_dead(self) -> bool:
        """Whether it has certainly ended; false for processes of other machines and containers."""
        if not self.is_local:
            return False
        started = _start_of(self.pid)
        return started is None or bool(self.started and started and started != self.started)


def this_process() -> ProcessIdentity:
    """Return the identity of this process."""
    return ProcessIdentity(socket.gethostname(), pid_namespace(), os.getpid(), _start_of(os.getpid()) or "")


def pid_namespace() -> str:
    """Return an identifier of this boot and this PID namespace; empty if the system does not report them."""
    try:
        boot = (_PROC / _BOOT_ID).read_text(encoding="ascii").strip()
        return f"{boot}/{_PROC.joinpath('self', 'ns', 'pid').stat().st_ino}"
    except (OSError, UnicodeError):
        return ""


def _start_of(pid: int) -> str | None:
    """Return the start time of a process, empty if it is unknown, or ``None`` if no such process runs."""
    if os.name == "nt":  # where signal 0 is Ctrl+C
        return ""
    try:
        os.kill(pid, 0)  # only checks whether the process exists
    except ProcessLookupError:
        return None
    except PermissionError:  # another user's
        pass
    return _start_in_proc(pid) if _PROC.joinpath("self", "stat").exists() else _start_by_ps(pid)


def _start_in_proc(pid: int) -> str | None:
    try:
        stat = _PROC.joinpath(str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # hidden from other users, or it ended a moment ago
        return ""
    fields = stat.rpartition(")")[2].split()
    return None if fields[_STATE_FIELD] in _ENDED_STATES else fields[_START_FIELD]


def _start_by_ps(pid: int) -> str:
    command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()  # noqa: S603  -- a number
    except (OSError, subprocess.SubprocessError):
        return ""

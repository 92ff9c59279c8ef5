"""Identifies processes across restarts, machines and containers, to find out whether the owner of something has ended.

A process id alone is not enough: ids are reused, and every container has a process 1. "Ended" is concluded only about a
process of the same host and the same PID namespace; anything else can only be waited for.

Why not psutil: it does not report the namespace, and the rest is two files in ``/proc``.
"""

import hashlib
import os
import socket
from pathlib import Path
from typing import NamedTuple

from apex_pipeline.process.identity import pid_namespace

# Fields of /proc/{pid}/stat after the name, which may contain anything; see proc(5).
_STATE = 0
_STARTED = 19
_ENDED_STATES = frozenset("ZX")  # zombie: killed, and its parent has not noticed yet


class ProcessId(NamedTuple):
    """A process, unique over all machines and times.

    Attributes:
        host: Name of its machine or container.
        namespace: Boot and PID namespace in which ``pid`` is valid; empty if the system does not report them.
        pid: Its process id.
        started: Its start in clock ticks since the boot; 0 if unknown.
    """

    host: str
    namespace: str
    pid: int
    started: int


def this_process() -> ProcessId:
    """Return the calling process; not cached, because a forked child is another process."""
    pid = os.getpid()
    found = _read_stat(pid)
    return ProcessId(socket.gethostname(), pid_namespace(), pid, 0 if found is None else found[1])


def process_scope() -> str:
    """Return a name, usable in file names, of where this process's id is valid: its host, boot and PID namespace."""
    return f"{socket.gethostname()}.{hashlib.sha256(pid_namespace().encode()).hexdigest()[:12]}"


def has_ended(process: ProcessId) -> bool:
    """Return whether a process has certainly ended; ``False`` if it is alive or cannot be seen from here."""
    namespace = pid_namespace()
    if not namespace or (process.host, process.namespace) != (socket.gethostname(), namespace):
        return False
    if not is_alive(process.pid):
        return True
    found = _read_stat(process.pid)
    return found is not None and process.started not in {0, found[1]}


def is_alive(pid: int) -> bool:
    """Return whether a process with this id runs in this PID namespace.

    Args:
        pid: The process id; any number.
    """
    if pid <= 0:  # would address a group of processes
        return False
    try:
        os.kill(pid, 0)  # signal 0 only checks whether the process exists
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    found = _read_stat(pid)  # None: hidden from this user
    return found is None or found[0] not in _ENDED_STATES


def _read_stat(pid: int) -> tuple[str, int] | None:
    """Return state and start of a process; ``None`` if it does not exist or is hidden."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return fields[_STATE], int(fields[_STARTED])
    except (OSError, IndexError, ValueError):
        return None

"""Contains the lock of a local lake, held only for the moment in which an object is compared and replaced.

The operating system releases it when its process ends, however that happens. It also keeps the modification times that
the lake has given out, so that no two versions of an object get the same tag (size, time and inode).

Why not ``filelock``: it hides the open file, which is needed to keep the last time under the lock.
"""

import errno
import fcntl
import os
import random
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from apex_pipeline.errors import StoreConfigError, StoreLockedError

LOCK_NAME = "lake.lock"
# Comparing and renaming takes milliseconds. After this time, the holder is stopped (Ctrl+Z) or its disk hangs.
_TIMEOUT_S = 30.0
# Pauses between attempts: the lock is usually free again within a millisecond.
_SHORTEST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.02
# Steps by which a time is advanced: file systems store 1 ns, 100 ns, 1 µs, 1 ms, 1 s or 2 s.
_STEPS_NS = (1, 100, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000)
_FUTURE_NS = 60 * 1_000_000_000
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_LONGEST_NOTE = 400


class LakeLock:
    """The lock of one lake; works between threads, processes, and machines that share the disk.

    Args:
        path: The lock file. Its folder must exist when the lock is taken.
        timeout_s: Longest wait in seconds.
    """

    def __init__(self, path: Path, timeout_s: float = _TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    @contextmanager
    def hold(self) -> "Generator[HeldLock]":
        """Hold the lock within the block.

        Raises:
            StoreLockedError: Another process did not release it in time.
            StoreConfigError: The file system has no locks.
            OSError: The lock file cannot be opened.
        """
        handle = self._acquire()
        try:
            yield HeldLock(handle)
        finally:
            # Released by hand: a child process that was forked meanwhile has the file open, too.
            fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)

    def _acquire(self) -> int:
        deadline_s = time.monotonic() + self._timeout_s
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._wait(handle, deadline_s)
                if _is_file(handle, self._path):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # someone removed the file: others lock the new one

    def _wait(self, handle: int, deadline_s: float) -> None:
        pause_s = _SHORTEST_PAUSE_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    raise self._has_no_locks() from error
                if not isinstance(error, BlockingIOError):
                    raise
            else:
                return
            if time.monotonic() >= deadline_s:
                raise self._held_too_long(handle)
            time.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  -- keeps the waiting apart, not a secret
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _held_too_long(self, handle: int) -> StoreLockedError:
        _, holder = _read_note(handle)
        return StoreLockedError(
            f"{self._path} has been locked for more than {self._timeout_s:g} s{holder and f' by {holder}'}.",
            "If that process is stopped, continue or end it; check that the disk responds; then run it again.",
        )

    def _has_no_locks(self) -> StoreConfigError:
        return StoreConfigError(
            f"{self._path} cannot be locked: this file system has no file locks.",
            "Move the lake (APEX_LAKE_DIR) to another disk, or mount the network share with locks.",
        )


class HeldLock:
    """The lock while it is held.

    Args:
        handle: The open lock file.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._last_ns, _ = _read_note(handle)
        self._write_note()

    def advance_mtime(self, new: Path, present: os.stat_result | None) -> os.stat_result:
        """Make the time of a new file later than that of every version before it, and return the new file's status.

        Times repeat on their own, because the kernel's clock has ticks of up to 10 ms. A version whose inode is reused
        would then have the tag of an older one.

        Args:
            new: The file that is about to become the object.
            present: Status of the object that it replaces.
        """
        status = advance_mtime(new, self._last_ns, 0 if present is None else present.st_mtime_ns)
        self._last_ns = status.st_mtime_ns
        self._write_note()
        return status

    def _write_note(self) -> None:
        note = f"{self._last_ns} process {os.getpid()} on {socket.gethostname()}\n".encode()
        os.pwrite(self._handle, note, 0)
        os.ftruncate(self._handle, len(note))


def advance_mtime(path: Path, *earlier_ns: int) -> os.stat_result:
    """Make a file's modification time later than the given ones, if it is not, and return the file's status.

    Times far in the future are ignored: they are from before the clock was set back, cannot be mistaken for the present
    time, and would never be left behind.

    Args:
        path: The file, just written.
        earlier_ns: The times, in nanoseconds since 1970.
    """
    status = path.stat()
    latest_ns = max((time_ns for time_ns in earlier_ns if time_ns <= status.st_mtime_ns + _FUTURE_NS), default=0)
    for step_ns in _STEPS_NS:
        if status.st_mtime_ns > latest_ns:
            break
        os.utime(path, ns=(status.st_atime_ns, latest_ns + step_ns))
        status = path.stat()
    return status


def _is_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _read_note(handle: int) -> tuple[int, str]:
    """Return the last modification time given out, in ns, and who took the lock last; 0 and nothing if unreadable."""
    time_ns, _, holder = os.pread(handle, _LONGEST_NOTE, 0).decode(errors="replace").strip().partition(" ")
    # A time has 19 digits until the year 2286; anything longer is damage and would overflow.
    is_time = time_ns.isascii() and time_ns.isdigit() and len(time_ns) <= len(str(2**63 - 1)) and int(time_ns) < 2**62
    return int(time_ns) if is_time else 0, holder if is_time and holder.isprintable() else ""

"""Contains temporary folders that belong to one process, and the free space of a disk.

A process that is killed cannot tidy up after itself. Each one holds a lock on its folder, which the operating system
takes back when it dies, so the next process sees which folders are abandoned. A process id would not do: ids are used
again, and differ between machines that share a disk.
"""

import atexit
import os
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from apex_pipeline.storage.os_errors import translating_os_errors

_PREFIX = "process-"
_LOCK = "owner.lock"

_guard = threading.Lock()
# By process as well: a forked child must not write into its parent's folder, which may be removed at any time.
_own: dict[tuple[int, Path], tuple[Path, FileLock]] = {}


def process_temp_dir(base: Path) -> Path:
    """Return this process's folder below ``base``, made on first use and removed when the process ends.

    Args:
        base: Where such folders lie; what dead processes left there is removed.

    Raises:
        StoreError: The folder cannot be made.
    """
    key = (os.getpid(), base.absolute())
    with _guard:
        if key not in _own or not _own[key][0].is_dir():
            with translating_os_errors(f"Making the folder for temporary files {base}"):
                base.mkdir(parents=True, exist_ok=True)
                _sweep(base)
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base.absolute()))
            _own[key] = (folder, _hold(folder))
        return _own[key][0]


def _hold(folder: Path) -> FileLock:
    # Held by the process, and not by the thread that happens to ask first.
    lock = FileLock(folder / _LOCK, thread_local=False)
    lock.acquire()
    atexit.register(_leave, os.getpid(), folder, lock)
    return lock


def _leave(process: int, folder: Path, lock: FileLock) -> None:
    if process == os.getpid():
        lock.release(force=True)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(base: Path) -> None:
    """Remove the folders whose owner is gone."""
    for folder in base.glob(f"{_PREFIX}*"):
        # A folder without lock is just being made, or was left half removed: only its maker knows.
        if not (folder / _LOCK).exists():
            continue
        lock = FileLock(folder / _LOCK, thread_local=False)
        with suppress(Timeout, OSError):
            lock.acquire(timeout=0)
            shutil.rmtree(folder, ignore_errors=True)
            lock.release(force=True)


class DiskSpace(NamedTuple):
    """Room on the disk behind a folder.

    Attributes:
        folder: The folder that was asked, or its nearest parent that exists.
        free: Bytes free there.
    """

    folder: Path
    free: int


def disk_space(folder: Path) -> DiskSpace:
    """Return the room where ``folder`` is, or would be."""
    wanted = folder.expanduser().absolute()
    existing = next(place for place in (wanted, *wanted.parents) if place.is_dir())
    return DiskSpace(existing, shutil.disk_usage(existing).free)

"""Contains temporary folders that belong to one process, and a function that returns free disk space.

A killed process cannot clean up after itself. Each process holds a lock on its folder, which the operating system
releases when the process dies, so the next process knows which folders are abandoned. A process id is not enough:
ids are reused, and machines that share a disk may use the same ones.
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

from apex_pipeline.storage.os_errors import translating_state_errors

_PREFIX = "process-"
_LOCK = "owner.lock"

_guard = threading.Lock()
# Keyed by process id too: a forked child must not write to its parent's folder, which may be removed at any time.
_folders: dict[tuple[int, Path], tuple[Path, FileLock]] = {}


def process_temp_dir(base: Path) -> Path:
    """Return this process's folder below ``base``, created on first use and removed when the process ends.

    Args:
        base: Parent of these folders; folders of dead processes are removed.

    Raises:
        StoreError: The folder cannot be created.
    """
    key = (os.getpid(), base.absolute())
    with _guard:
        if key not in _folders or not _folders[key][0].is_dir():
            with translating_state_errors(f"Creating the folder for temporary files {base}"):
                base.mkdir(parents=True, exist_ok=True)
                _remove_abandoned(base)
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base.absolute()))
                _folders[key] = (folder, _lock_folder(folder))
        return _folders[key][0]


def _lock_folder(folder: Path) -> FileLock:
    # Held by the process, not by the thread that happens to call first.
    lock = FileLock(folder / _LOCK, thread_local=False)
    lock.acquire()
    atexit.register(_clean_up, os.getpid(), folder, lock)
    return lock


def _clean_up(process: int, folder: Path, lock: FileLock) -> None:
    if process == os.getpid():
        lock.release(force=True)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(base: Path) -> None:
    """Remove the folders of processes that have ended."""
    for folder in base.glob(f"{_PREFIX}*"):
        # A folder without a lock file is either being created or was only partly removed; the two look the same.
        if not (folder / _LOCK).exists():
            continue
        lock = FileLock(folder / _LOCK, thread_local=False)
        with suppress(Timeout, OSError):
            lock.acquire(timeout=0)
            shutil.rmtree(folder, ignore_errors=True)
            lock.release(force=True)


class DiskSpace(NamedTuple):
    """Free space on the disk of a folder.

    Attributes:
        folder: The requested folder, or its nearest existing parent.
        free: Free bytes.
    """

    folder: Path
    free: int


def disk_space(folder: Path) -> DiskSpace:
    """Return the free space on the disk where ``folder`` is or would be created."""
    absolute = folder.expanduser().absolute()
    existing = next(parent for parent in (absolute, *absolute.parents) if parent.is_dir())
    return DiskSpace(existing, shutil.disk_usage(existing).free)

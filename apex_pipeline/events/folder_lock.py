"""Lets one shipper of this machine work on a folder at a time.

The lock is on the folder itself, so it holds for every process, whatever its settings, and leaves no file behind. The
operating system releases it when the process ends, however that happens.
"""

import errno
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from apex_pipeline.errors import SourceError, StoreLockedError
from apex_pipeline.process.interrupts import pause
from apex_pipeline.storage.os_errors import translating_state_errors

# How often a waiting shipper looks whether the folder is free.
_LOOK_EVERY_S = 0.5
# NFS has no locks on folders that are opened for reading.
_NO_FOLDER_LOCKS = frozenset({errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@contextmanager
def folder_locked(
    folder: Path,
    state_dir: Path,
    *,
    patience_s: float,
    on_wait: Callable[[str], None] = lambda _: None,
    should_stop: threading.Event | None = None,
) -> Generator[None]:
    """Hold the folder within the block.

    Args:
        folder: The folder.
        state_dir: Folder of the notes that name the holder, and of the lock where folders cannot be locked.
        patience_s: How long to wait for another shipper.
        on_wait: Called once with a sentence if there is one.
        should_stop: Ends the wait when set.

    Raises:
        SourceError: The folder cannot be opened.
        StoreLockedError: Another shipper is working on it.
    """
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    note = state_dir.absolute() / f"events-{name}.holder"
    spare = FileLock(note.with_suffix(".lock"))
    with _opened(folder) as handle:
        _wait(
            lambda: _acquire(handle, spare, note),
            lambda: f"Another process{_holder(note)} is shipping {folder}.",
            lambda waited_s: waited_s >= patience_s or (should_stop is not None and should_stop.is_set()),
            on_wait,
        )
        with _released_afterwards(handle, spare, note):
            yield


def _wait(
    acquire: Callable[[], bool],
    problem: Callable[[], str],
    is_over: Callable[[float], bool],
    on_wait: Callable[[str], None],
) -> None:
    """Try until the lock is acquired; tell once that another process has it.

    Args:
        acquire: Tries it.
        problem: Returns who has it, as a sentence.
        is_over: Returns whether to give up after this many seconds.
        on_wait: Called with that sentence before the first pause.
    """
    started_s, has_told = time.monotonic(), False
    while not acquire():
        if is_over(time.monotonic() - started_s):
            raise StoreLockedError(problem(), "Wait until it has ended, or stop it; one shipper per folder is enough.")
        if not has_told:
            on_wait(problem())
            has_told = True
        pause(_LOOK_EVERY_S)


@contextmanager
def _opened(folder: Path) -> Generator[int]:
    """Open a folder, whose handle can be locked."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(
            f"The folder {folder} cannot be opened: {error.strerror}.",
            "Name the folder in which event files are rotated.",
        ) from error
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _released_afterwards(handle: int, spare: FileLock, note: Path) -> Generator[None]:
    """Note who holds the lock within the block, and release it afterwards."""
    try:
        _leave_note(note)
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        spare.release()
        fcntl.flock(handle, fcntl.LOCK_UN)


def _acquire(handle: int, spare: FileLock, note: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_FOLDER_LOCKS:
            raise
        with translating_state_errors(f"Locking {note.with_suffix('.lock')}"):
            note.parent.mkdir(parents=True, exist_ok=True)
            try:
                spare.acquire(timeout=0)
            except Timeout:
                return False
    return True


def _leave_note(note: Path) -> None:
    with suppress(OSError):  # it is only for the message
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(os.getpid()), encoding="ascii")


def _holder(note: Path) -> str:
    with suppress(OSError, ValueError):
        return f" (process {int(note.read_text(encoding='ascii'))})"
    return ""

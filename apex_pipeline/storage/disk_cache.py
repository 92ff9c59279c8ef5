"""Contains the disk cache: a folder of objects, shared by all processes and bounded in size.

See caching.py for which objects are kept, and when.

A file's name contains the SHA-256 of its content, so damage is detected. It is opened through a hard link: a file in
use is not evicted, and would stay readable if it were. The time of last use is the file's access time, set by every
``open``.

Why not diskcache or the file cache of fsspec: the first stores values instead of files, the second trusts modification
times. Here the file name is the digest, so every file can be verified and shared by hard link.
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from filelock import FileLock

from apex_pipeline.errors import StoreError
from apex_pipeline.storage.file_hashing import FileState, file_state_of
from apex_pipeline.storage.temp_dirs import process_temp_dir

_LOG = logging.getLogger(__name__)

# Number of leading hex digits of an object's id that select its lock file. Lock files are never removed: there are at
# most 4,096, and two downloads rarely wait for each other unnecessarily.
_LOCK_LETTERS = 3
# Another process may take so long to fetch an object that reading it from the store is faster; or it is stopped.
_PATIENCE_S = 60.0


class CacheUnavailableError(Exception):
    """The cache folder cannot be used: the disk is full, or this user may not write there."""


class DiskCache:
    """A folder of objects; may be used by several threads and processes at once. Nothing is created before first use.

    Every method raises :class:`CacheUnavailableError` if the disk fails; the store can always be read without a cache.

    Args:
        folder: Folder of the cache.
        max_bytes: Limit on the total size of cached objects and downloads in progress.
        in_use: Existing folder on the same disk for files in use, to which only this process writes; by default a
            folder below ``folder`` that is removed when the process ends.
    """

    def __init__(self, folder: Path, max_bytes: int, *, in_use: Path | None = None) -> None:
        self._folder = folder.absolute()
        self._objects = self._folder / "objects"
        self._max_bytes = max_bytes
        self._in_use = in_use
        # State of each file when this process last verified it.
        self._verified: dict[str, FileState] = {}

    @contextmanager
    def lock(self, name: str) -> Generator[None]:
        """Hold an exclusive lock, across threads and processes, for the object of this name."""
        locks = self._folder / "locks"
        with _as_unavailable():
            locks.mkdir(parents=True, exist_ok=True)
            lock = FileLock(locks / _id_of(name)[:_LOCK_LETTERS])
            lock.acquire(timeout=_PATIENCE_S)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def open(self, name: str, size: int | None, file_name: str = "object") -> Generator[Path | None]:
        """Provide an object as a read-only file, or ``None`` if no intact copy is cached.

        A file is hashed when a process opens it for the first time, and again if its size, modification time or inode
        has changed; a damaged file is removed.

        Args:
            name: Name passed to :meth:`put`.
            size: Size in bytes; ``None`` if only the content's digest, which the cache knows, can be compared.
            file_name: Last part of the path.
        """
        with self._private_folder() as folder:
            with _as_unavailable():
                path = self._linked(name, size, folder / file_name)
            yield path

    def put(self, name: str, size: int, fetch: Callable[[BinaryIO], str | None]) -> bool:
        """Add an object atomically.

        Args:
            name: Identifies one version of one object.
            size: Size in bytes.
            fetch: Writes the content to a file and returns its SHA-256, or ``None`` if it fetched a different
                version. Not called if there is no room for the object. Its errors are not caught.

        Returns:
            Whether the object was added.
        """
        with self._private_folder() as folder, _as_unavailable():
            path = folder / "incoming"
            if not self._reserve(path, size):
                return False
            with path.open("r+b") as file:
                sha256 = fetch(file)
                file.truncate()
            if sha256 is None:
                return False
            kept = self._folder_of(name) / f"{_id_of(name)}-{sha256}"
            self._verified[kept.name] = _file_state_of(path)
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)
        return True

    def _linked(self, name: str, size: int | None, path: Path) -> Path | None:
        for kept in self._entry_paths(name):
            try:
                _link_or_copy(kept, path)
            except FileNotFoundError:  # evicted since the folder was listed
                return None
            if self._is_intact(kept.name, path, size):
                os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
                return path
            _LOG.warning("The cached copy %s is damaged; fetching it again.", kept)
            path.unlink()
            kept.unlink(missing_ok=True)
        return None

    def _entry_paths(self, name: str) -> list[Path]:
        try:
            return [path for path in self._folder_of(name).iterdir() if path.name.startswith(f"{_id_of(name)}-")]
        except FileNotFoundError:
            return []

    def _is_intact(self, kept_name: str, path: Path, size: int | None) -> bool:
        state = _file_state_of(path)
        if size is not None and state.size != size:
            return False
        if self._verified.get(kept_name) != state:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != kept_name.rpartition("-")[2]:
                    return False
            self._verified[kept_name] = state
        return True

    def _reserve(self, path: Path, size: int) -> bool:
        """Evict the least recently used files and create an empty file of this size; return whether there is room."""
        with FileLock(self._folder / "room.lock", timeout=_PATIENCE_S):
            files = list(_files_below(self._folder))
            excess = sum({status.st_ino: status.st_size for _, status in files}.values()) + size - self._max_bytes
            # A file with a second link is in use: removing it would free no space.
            idle = [
                (file, status) for file, status in files if file.is_relative_to(self._objects) and status.st_nlink == 1
            ]
            if excess > sum(status.st_size for _, status in idle):
                return False
            for evicted, status in sorted(idle, key=lambda entry: entry[1].st_atime_ns):
                if excess <= 0:
                    break
                evicted.unlink(missing_ok=True)
                excess -= status.st_size
            with path.open("xb") as reserved:
                reserved.truncate(size)
        return True

    @contextmanager
    def _private_folder(self) -> Generator[Path]:
        """Provide a private folder on the same disk, removed afterwards."""
        with _as_unavailable():
            try:
                scratch = self._in_use or process_temp_dir(self._folder / "in-use")
            except StoreError as error:
                raise CacheUnavailableError(error.problem) from error
            folder = TemporaryDirectory(prefix="open-", dir=scratch)
        with folder:
            yield Path(folder.name)

    def _folder_of(self, name: str) -> Path:
        return self._objects / _id_of(name)[:2]


@contextmanager
def _as_unavailable() -> Generator[None]:
    try:
        yield
    except OSError as error:  # including the lock's Timeout
        raise CacheUnavailableError(str(error)) from error


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links, or a file of another user
        shutil.copyfile(source, target)


def _file_state_of(path: Path) -> FileState:
    """Return the state of a file, except its ctime, which every hard link changes."""
    return file_state_of(path.stat())._replace(ctime_ns=None)


def _id_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                yield path, path.stat()
            except FileNotFoundError:  # closed or removed by another process
                continue

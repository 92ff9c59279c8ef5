"""Journal of this machine's multipart uploads, which lets a later process resume them.

Contains the entries and their locks; see multipart.py for how uploads are resumed. An entry is written before its
upload starts, so no upload is lost, and removed when the upload is completed or aborted. An entry is locked while a
process works on it: two processes never resume the same upload.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from apex_pipeline.storage.file_hashing import FileState, file_state_of
from apex_pipeline.storage.os_errors import translating_state_errors
from apex_pipeline.storage.s3.upload.checksums import ChecksumMode

_LOG = logging.getLogger(__name__)

# Buckets drop incomplete uploads after 7 days (deploy/iam/bucket-lifecycle.json): older entries cannot be resumed.
_RETENTION_S = 7 * 24 * 3600
# Uploading a file of the usual size takes a few seconds.
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class ObjectAddress:
    """Address of an object: store, bucket and key."""

    endpoint: str
    bucket: str
    key: str

    @property
    def name(self) -> str:
        """File name of its journal entry, without the suffix."""
        return hashlib.sha256(f"{self.endpoint}\n{self.bucket}\n{self.key}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class JournalEntry:
    """One multipart upload. The names of the fields are the keys of the JSON file.

    Attributes:
        place: Address of the object.
        path: The file being sent.
        mark: The state of that file.
        sha256: Its digest.
        part_bytes: Size of the parts in bytes.
        dialect: Value of the checksum mode of this upload.
        upload_id: The store's ID of the upload; ``None`` until the store has returned it.
        begun_s: Start time in seconds since 1970.
    """

    place: ObjectAddress
    path: str
    mark: FileState
    sha256: str
    part_bytes: int
    dialect: str
    upload_id: str | None
    begun_s: float


class LockedEntry:
    """The journal entry of one upload, locked by this process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> JournalEntry | None:
        """Return the entry; ``None`` if it does not exist or cannot be read."""
        return _read(self._path)

    def write(self, entry: JournalEntry) -> None:
        """Write the entry; it is synced to disk when this returns."""
        draft = self._path.with_suffix(".new")
        with translating_state_errors(f"Writing the upload journal entry {self._path}"):
            with draft.open("w", encoding="utf-8") as file:
                json.dump(asdict(entry), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)

    def remove(self) -> None:
        """Remove the entry, if it exists."""
        with translating_state_errors(f"Removing the upload journal entry {self._path}"):
            self._path.unlink(missing_ok=True)


class UploadJournal:
    """The multipart uploads of this machine. Safe to share between threads and processes.

    Args:
        folder: Folder of the entries; created with the first entry.
        now_s: The clock, in seconds since 1970; replaced in tests.
    """

    def __init__(self, folder: Path, *, now_s: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self.now_s = now_s

    @contextmanager
    def lock(self, address: ObjectAddress) -> Generator[LockedEntry]:
        """Lock the entry of an upload to this address.

        While another process uploads to it, this one waits for a short time, in case that is nearly done. Then it uses
        an entry of its own: it must not wait for a process that is stopped, and of two uploads of the same content, it
        does not matter which one is completed last.
        """
        with translating_state_errors(f"Creating the upload journal {self._folder}"):
            self._folder.mkdir(parents=True, exist_ok=True)
            lock, name = self._acquire(address.name)
        try:
            yield LockedEntry(self._folder / f"{name}.json")
        finally:
            lock.release()

    def _acquire(self, name: str) -> tuple[FileLock, str]:
        """Return an acquired lock and the name of its entry."""
        lock = FileLock(self._folder / f"{name}.lock")
        try:
            lock.acquire(timeout=_PATIENCE_S)
        except Timeout:
            _LOG.warning("Another process has been uploading the same object for %g s; uploading it too.", _PATIENCE_S)
            name = f"{name}-{uuid4().hex[:8]}"
            lock = FileLock(self._folder / f"{name}.lock")
            lock.acquire()
        return lock, name

    def abandoned(self, endpoint: str, bucket: str) -> Iterator[tuple[JournalEntry, LockedEntry]]:
        """Yield and lock the entries that cannot be resumed: their file was deleted or changed, or they are too old."""
        for path in sorted(self._folder.glob("*.json")):
            entry = _read(path)
            if entry is None or (entry.place.endpoint, entry.place.bucket) != (endpoint, bucket):
                continue
            if _is_unchanged(entry) and self.now_s() - entry.begun_s < _RETENTION_S:
                continue
            lock = FileLock(path.with_suffix(".lock"))
            with translating_state_errors(f"Locking the upload journal entry {path}"):
                is_locked = _try_acquire(lock)
            if is_locked:
                try:
                    yield entry, LockedEntry(path)
                finally:
                    lock.release()


def _try_acquire(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _read(path: Path) -> JournalEntry | None:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        document["place"], document["mark"] = ObjectAddress(**document["place"]), FileState(*document["mark"])
        entry = JournalEntry(**document)
        _check_types(entry)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError, OSError) as error:
        _LOG.warning("The upload journal entry %s cannot be read (%s); restarting the upload.", path, error)
        return None
    return entry


def _check_types(entry: JournalEntry) -> None:
    place, upload_id = entry.place, "" if entry.upload_id is None else entry.upload_id
    texts: list[object] = [entry.path, entry.sha256, place.endpoint, place.bucket, place.key, upload_id]
    numbers: list[object] = [entry.begun_s, entry.part_bytes, *entry.mark[:-1]]
    are_texts = all(isinstance(text, str) for text in texts)
    if not are_texts or not all(isinstance(number, int | float) for number in numbers) or entry.part_bytes <= 0:
        raise ValueError("a field has the wrong type")
    ChecksumMode(entry.dialect)


def _is_unchanged(entry: JournalEntry) -> bool:
    try:
        return file_state_of(Path(entry.path).stat()) == entry.mark
    except OSError:
        return False

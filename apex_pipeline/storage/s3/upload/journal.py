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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from apex_pipeline.storage.file_hashing import FileState, file_state_of
from apex_pipeline.storage.os_errors import translating_os_errors

_LOG = logging.getLogger(__name__)

# Buckets drop incomplete uploads after 7 days (deploy/iam/bucket-lifecycle.json): older entries cannot be resumed.
_RETENTION_S = 7 * 24 * 3600


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
        with translating_os_errors(f"Writing the upload journal entry {self._path}"):
            with draft.open("w", encoding="utf-8") as file:
                json.dump(asdict(entry), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)

    def remove(self) -> None:
        """Remove the entry, if it exists."""
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
        """Lock the entry of an upload to this address; wait while another process holds the lock."""
        with translating_os_errors(f"Creating the upload journal {self._folder}"):
            self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f"{address.name}.lock"):
            yield LockedEntry(self._folder / f"{address.name}.json")

    def abandoned(self, endpoint: str, bucket: str) -> Iterator[tuple[JournalEntry, LockedEntry]]:
        """Yield and lock the entries that cannot be resumed: their file was deleted or changed, or they are too old."""
        for path in sorted(self._folder.glob("*.json")):
            entry = _read(path)
            if entry is None or (entry.place.endpoint, entry.place.bucket) != (endpoint, bucket):
                continue
            if _is_unchanged(entry) and self.now_s() - entry.begun_s < _RETENTION_S:
                continue
            with suppress(Timeout), FileLock(path.with_suffix(".lock"), timeout=0):
                yield entry, LockedEntry(path)


def _read(path: Path) -> JournalEntry | None:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        document["place"], document["mark"] = ObjectAddress(**document["place"]), FileState(*document["mark"])
        return JournalEntry(**document)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, OSError) as error:
        _LOG.warning("The upload journal entry %s cannot be read (%s); restarting the upload.", path, error)
        return None


def _is_unchanged(entry: JournalEntry) -> bool:
    try:
        return file_state_of(Path(entry.path).stat()) == entry.mark
    except OSError:
        return False

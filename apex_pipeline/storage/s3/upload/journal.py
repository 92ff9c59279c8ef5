"""Which uploads in parts were begun, noted on this machine's disk so that a later process can go on with them.

An upload is noted before it is begun, so that none is ever forgotten, and struck out when the object is there or the
upload is taken back. Each note is held under a lock while somebody works on it: two processes never go on with the same
upload. Here belong the notes. Going on with an upload is ``uploader.py``.
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

# Buckets are told to drop unfinished uploads after 7 days (deploy/iam/bucket-lifecycle.json): no use in older notes.
_KEPT_S = 7 * 24 * 3600


@dataclass(frozen=True)
class ObjectAddress:
    """Where an object goes: which store, bucket and key."""

    endpoint: str
    bucket: str
    key: str

    @property
    def name(self) -> str:
        """A file name for it."""
        return hashlib.sha256(f"{self.endpoint}\n{self.bucket}\n{self.key}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class JournalEntry:
    """One upload in parts.

    Attributes:
        place: Where the object goes.
        path: The file that is sent.
        mark: The state of that file.
        sha256: Its digest.
        part_bytes: Size of the parts.
        dialect: How checksums are said in this upload.
        upload_id: The store's name for the upload; ``None`` while it is being begun.
        begun_s: When, in seconds since 1970.
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
    """The note on one upload, held by this process: read, written, struck out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> JournalEntry | None:
        """Return what was noted; ``None`` if nothing was, or nothing that can be read."""
        return _read(self._path)

    def write(self, note: JournalEntry) -> None:
        """Note it; on the disk when this returns."""
        draft = self._path.with_suffix(".new")
        with translating_os_errors(f"Noting an upload in {self._path}"):
            with draft.open("w", encoding="utf-8") as file:
                json.dump(asdict(note), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)

    def remove(self) -> None:
        """Forget it."""
        self._path.unlink(missing_ok=True)


class UploadJournal:
    """The notes of this machine on uploads in parts; may be shared by threads and processes.

    Args:
        folder: Where they are; made when the first is written.
        now_s: The clock, for tests.
    """

    def __init__(self, folder: Path, *, now_s: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self.now_s = now_s

    @contextmanager
    def hold(self, place: ObjectAddress) -> Generator[LockedEntry]:
        """Give the note on an upload to this place; waits while another process holds it."""
        with translating_os_errors(f"Making the folder for notes on uploads {self._folder}"):
            self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f"{place.name}.lock"):
            yield LockedEntry(self._folder / f"{place.name}.json")

    def abandoned(self, endpoint: str, bucket: str) -> Iterator[tuple[JournalEntry, LockedEntry]]:
        """Yield the notes nobody will go on with, each held: their file is gone or another one now, or they are old."""
        for path in sorted(self._folder.glob("*.json")):
            note = _read(path)
            if note is None or (note.place.endpoint, note.place.bucket) != (endpoint, bucket):
                continue
            if _is_unchanged(note) and self.now_s() - note.begun_s < _KEPT_S:
                continue
            with suppress(Timeout), FileLock(path.with_suffix(".lock"), timeout=0):
                yield note, LockedEntry(path)


def _read(path: Path) -> JournalEntry | None:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        document["place"], document["mark"] = ObjectAddress(**document["place"]), FileState(*document["mark"])
        return JournalEntry(**document)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, OSError) as error:
        _LOG.warning("The note on an upload %s cannot be read (%s); the upload is begun again.", path, error)
        return None


def _is_unchanged(note: JournalEntry) -> bool:
    try:
        return file_state_of(Path(note.path).stat()) == note.mark
    except OSError:
        return False

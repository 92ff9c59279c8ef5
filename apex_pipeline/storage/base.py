"""The object store every other module talks to: one contract, two backends.

Here belongs what both backends promise. Not here: how they keep the promise (``local.py``, ``s3/``), which one is
used (``factory.py``), and what is kept where (``layout.py``).

The promises, tested by one suite over every backend:

* A write is whole or not at all: until it has finished, readers see the old object or none.
* Keys are checked (``keys.py``) before anything is sent, so no key leaves the lake.
* ``sha256`` of what was written is kept with the object and comes back with :meth:`ObjectStore.head`.
* Nothing creates a bucket or a lake as a side effect of reading.
* Every failure is one of the types in :mod:`apex_pipeline.errors`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from apex_pipeline.progress import Progress
from apex_pipeline.storage.request_stats import RequestStats


@dataclass(frozen=True)
class ObjectInfo:
    """What the store says about one object.

    Attributes:
        key: Key inside the lake, without bucket and prefix.
        size: Bytes.
        modified_utc: Time of the last write, aware.
        tag: The store's own version mark (ETag; for files size, time and inode). Changes when the content does.
        sha256: Hex digest recorded at writing, where known. A listing on S3 does not carry it.
    """

    key: str
    size: int
    modified_utc: datetime
    tag: str
    sha256: str | None = None


@dataclass(frozen=True)
class IncompleteUpload:
    """A write that was begun and neither finished nor taken back: a killed process leaves such things behind.

    Attributes:
        key: Where it was to go; ``None`` where the store does not say.
        started_utc: When it was begun, aware.
        mark: The store's own name for it (upload id, or name of the temporary file).
        size: Bytes it takes already; ``None`` where the store does not say.
    """

    key: str | None
    started_utc: datetime
    mark: str
    size: int | None = None


class ObjectStore(ABC):
    """A lake's object store. Keys are POSIX paths relative to the lake."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """Address of the lake, for people and for other readers (``/path/lake`` or ``s3://bucket/prefix``)."""

    @abstractmethod
    def uri_of(self, key: str) -> str:
        """Return the full address of an object."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, sorted by key; all pages, no folder markers.

        What others put there under a name that is no legal key is left out, with a warning in the log.
        """

    @abstractmethod
    def head(self, key: str) -> ObjectInfo | None:
        """Return the object's facts, ``sha256`` included where recorded, or ``None`` if there is none."""

    @abstractmethod
    def read_bytes(self, key: str) -> bytes:
        """Return a small object whole, verified against its recorded digest.

        Raises:
            ObjectMissingError: No object has this key.
            StoreCorruptionError: The bytes differ from the recorded digest.
        """

    @abstractmethod
    def read_head(self, key: str, length: int) -> bytes:
        """Return at most the first ``length`` bytes.

        Raises:
            ObjectMissingError: No object has this key.
        """

    @abstractmethod
    def open_as_file(self, key: str) -> AbstractContextManager[Path]:
        """Give the object as a local file, for reading only; a download is verified, and removed afterwards.

        Raises:
            ObjectMissingError: No object has this key.
            StoreCorruptionError: The bytes differ from the recorded digest.
        """

    @abstractmethod
    def open_stream(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Give a large object to be read once, front to back, without a copy on this machine.

        What crosses a network is verified: reading to the end raises if the bytes are not those recorded, so nothing
        made of them may be used before.

        Raises:
            ObjectMissingError: No object has this key.
            StoreCorruptionError: In reading the end: the bytes differ from the recorded digest.
            VanishedFileError: In reading: the object was replaced or deleted in a bucket (a file stays readable).
        """

    @abstractmethod
    def open_seekable(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Give the object as a seekable stream that fetches only what is read, for Parquet readers.

        What is read is of one version of the object; ranges cannot be verified against its digest.

        Raises:
            ObjectMissingError: No object has this key.
            VanishedFileError: In reading: the object was replaced or deleted in a bucket (a file stays readable).
        """

    @abstractmethod
    def write_bytes(self, key: str, content: bytes) -> ObjectInfo:
        """Write a small object, replacing any before it."""

    @abstractmethod
    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        """Copy a local file into the store, replacing any object before it.

        Args:
            key: Where to.
            path: The file; it is only read.
            sha256: Its digest where the caller knows it. The bytes sent are hashed either way.
            progress: Told about bytes as they move.

        Raises:
            VanishedFileError: The file is gone, changed while it was read, or is not what ``sha256`` says.
            SourceError: The file cannot be read.
        """

    @abstractmethod
    def copy(self, source: str, target: str) -> ObjectInfo:
        """Copy an object inside the store without moving its bytes through this process where possible.

        Raises:
            ObjectMissingError: No object has the key ``source``.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; removing one that is not there is no error."""

    @abstractmethod
    def incomplete_uploads(self) -> "list[IncompleteUpload]":
        """Return every write of this lake that was begun and not finished, those that still go on among them."""

    @abstractmethod
    def abort(self, upload: IncompleteUpload) -> None:
        """Take an unfinished write back, with the space it takes; one that is gone is no error."""

    @abstractmethod
    def presigned_url(self, key: str, expires_s: int) -> str:
        """Return an address under which anyone can read the object for ``expires_s`` seconds; nothing is sent.

        Raises:
            ConfigurationError: The lake is a folder, which has no such addresses, or the time is not 1 s to 7 days.
        """

    @property
    @abstractmethod
    def traffic(self) -> RequestStats:
        """What this process has asked of the store so far; all zero for a folder."""

    @abstractmethod
    def check_access(self) -> None:
        """Make sure the lake can be reached with the present configuration.

        Raises:
            StoreError: With what to change.
            StoreUnavailableError: The store cannot be reached at the moment.
        """

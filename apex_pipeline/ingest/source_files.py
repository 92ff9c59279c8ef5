"""The files of a source, in a folder or in a bucket, as everything after the scan sees them.

A scan (``source_folder.py``, ``source_bucket.py``) lists them; what they are is decided in ``discover.py``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from apex_pipeline.progress import Progress
from apex_pipeline.storage.copy import CopyItem
from apex_pipeline.storage.digest_cache import DigestCache


@dataclass(frozen=True, slots=True)
class SourceFile(ABC):
    """A file of the source.

    Attributes:
        path: POSIX path relative to the source.
        size: Size in bytes.
        mtime_ns: Modification time in nanoseconds, used to detect changes.
    """

    path: str
    size: int
    mtime_ns: int

    @property
    def is_remote(self) -> bool:
        """Whether reading it moves it through a network, so that it is not read only to compare it."""
        return False

    @property
    def version(self) -> str | None:
        """What changes with the content of an object in a bucket; ``None`` for a local file, whose times can be set."""
        return None

    @property
    def state(self) -> str:
        """What shows, without reading it, that it changed between two looks."""
        return self.version or f"{self.size} bytes of {self.mtime_ns}"

    def has_version(self, recorded: str | None) -> bool:
        """Return whether it is certain to be the version that a record names."""
        return self.version is not None and self.version == recorded

    @abstractmethod
    def read_head(self, length: int) -> bytes:
        """Return at most the first ``length`` bytes.

        Raises:
            FileChangedError: The file was deleted after the scan.
            SourceError: It cannot be read.
            StoreError: It cannot be read from its bucket.
        """

    @abstractmethod
    def sha256(self, digests: DigestCache, progress: Progress | None = None) -> str:
        """Return the digest of its content, which is read unless the digest is known.

        Args:
            digests: Digests of this machine.
            progress: Called with the number of bytes just read.

        Raises:
            FileChangedError: The file is gone, or changed while it was read.
            SourceError: It cannot be read.
            StoreError: It cannot be read from its bucket.
        """

    @abstractmethod
    def known_sha256(self, digests: DigestCache) -> str | None:
        """Return the digest if it is known without reading the content."""

    @abstractmethod
    def copy_item(self, key: str, digests: DigestCache) -> CopyItem:
        """Return the copy of this file to a key of a store."""


@dataclass(frozen=True)
class SourceListing:
    """The result of scanning a source.

    Attributes:
        root: The folder, or the URI of the bucket and prefix.
        files: Readable files, sorted by path.
        refused: Path (escaped for printing) and reason of each entry that the user has to mend: no permission, a link
            that points outside the folder or to another folder, or a name that cannot be an object key.
        skipped: Path and reason of each entry that is not race data and needs no action: pipes, sockets and devices,
            folders of the operating system, files that vanished during the scan, and lakes.
    """

    root: Path | str
    files: Sequence[SourceFile]
    refused: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def bytes(self) -> int:
        """Total size of all files in bytes."""
        return sum(file.size for file in self.files)


def printable(path: str) -> str:
    """Return the path with undecodable bytes and terminal control characters escaped."""
    return path if path.isprintable() else repr(path)[1:-1]

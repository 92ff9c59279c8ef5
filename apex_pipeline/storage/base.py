"""Contains the interface of an object store; see ``local.py`` and ``s3/`` for the two backends.

``factory.py`` chooses the backend, ``layout.py`` defines the keys.

Both backends guarantee the following, and one test suite runs against both:

* Writes are atomic: until a write has finished, readers see the old object, or none if there was none.
* Keys are checked (``keys.py``) before anything is sent, so no key can point outside the lake.
* The SHA-256 of the content is stored with the object and returned by :meth:`ObjectStore.head`.
* Reading never creates a bucket or a lake as a side effect.
* Every failure is raised as one of the types in :mod:`apex_pipeline.errors`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from apex_pipeline.progress import Progress
from apex_pipeline.storage.request_stats import RequestStats


@dataclass(frozen=True)
class ObjectInfo:
    """Metadata of one object.

    Attributes:
        key: Key inside the lake, without bucket and prefix.
        size: Size in bytes.
        modified_utc: Time of the last write (timezone-aware).
        tag: The store's version tag (ETag; for local files: size, time and inode). Changes when the content does.
        sha256: Hex digest recorded when the object was written, where known. S3 listings do not include it.
    """

    key: str
    size: int
    modified_utc: datetime
    tag: str
    sha256: str | None = None


@dataclass(frozen=True)
class IncompleteUpload:
    """A write that was started and neither completed nor aborted, such as one left behind by a killed process.

    Attributes:
        key: Target key; ``None`` if the store does not report it.
        started_utc: Start time (timezone-aware).
        mark: Identifier within the store (upload id, or name of the temporary file).
        size: Bytes stored so far; ``None`` if the store does not report it.
    """

    key: str | None
    started_utc: datetime
    mark: str
    size: int | None = None


# Looks at an object's metadata, and raises an error if it is not the expected object.
Inspect = Callable[[ObjectInfo], None]


class ObjectStore(ABC):
    """A lake's object store. Keys are POSIX paths relative to the lake."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """URI of the lake, for people and other programs (``/path/lake`` or ``s3://bucket/prefix``)."""

    @abstractmethod
    def uri_of(self, key: str) -> str:
        """Return the full URI of an object."""

    @property
    def can_list(self) -> bool:
        """Whether :meth:`list` works: a web server gives an object only by its name."""
        return True

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, sorted by key; all pages, no folder markers.

        Objects from other programs whose names are not valid keys are skipped with a logged warning.
        """

    @abstractmethod
    def list_unchecked(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, also those whose names are not valid keys.

        They come in no certain order and as they are fetched, so that a listing of any length needs the memory of one
        page.
        """

    @abstractmethod
    def head(self, key: str) -> ObjectInfo | None:
        """Return the object's metadata, including ``sha256`` where recorded, or ``None`` if it does not exist."""

    def distrust(self, key: str) -> None:
        """Drop the cached digest of an object that was found damaged, so that the next listing shows the damage."""
        del key  # digests are cached only where the store itself does not keep them

    @abstractmethod
    def read_bytes(self, key: str) -> bytes:
        """Return the content of a small object, verified against its recorded digest.

        Raises:
            ObjectMissingError: No object has this key.
            StoreCorruptionError: The bytes differ from the recorded digest.
        """

    @property
    def keeps_derived(self) -> bool:
        """Whether :meth:`derived` keeps what is computed, so that it is worth computing in that form."""
        return False

    def derived(self, name: str, compute: Callable[[], bytes]) -> bytes:
        """Return what is computed from objects that never change, computed now unless it is kept on this machine.

        Args:
            name: Names the content: two different contents never have the same.
            compute: Returns the content.
        """
        del name  # kept only by a store with a cache
        return compute()

    @abstractmethod
    def read_head(self, key: str, length: int) -> bytes:
        """Return at most the first ``length`` bytes.

        Raises:
            ObjectMissingError: No object has this key.
        """

    @abstractmethod
    def open_as_file(self, key: str) -> AbstractContextManager[Path]:
        """Provide the object as a read-only local file; a download is verified, and removed afterwards.

        Raises:
            ObjectMissingError: No object has this key.
            StoreCorruptionError: The bytes differ from the recorded digest.
        """

    @abstractmethod
    def open_stream(self, key: str, inspect: Inspect | None = None) -> AbstractContextManager[BinaryIO]:
        """Open a large object for one sequential read, without a local copy.

        Bytes that cross a network are verified: at the latest, the read that reaches the end raises if the content
        differs from the recorded digest. Do not use results derived from the content before then.

        Args:
            key: The object's key.
            inspect: Called with the metadata of the version that is read before its first byte is returned, and, for a
                file that may be edited in place, once more when it has been read. A file's digest is not computed for
                it.

        Raises:
            ObjectMissingError: No object has this key.
            StoreCorruptionError: On reading the end, or on opening a small object: the bytes differ from the recorded
                digest.
            FileChangedError: While reading: the object was replaced or deleted in a bucket (a file stays readable).
        """

    @abstractmethod
    def open_seekable(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open the object as a seekable stream that fetches only the ranges that are read, for Parquet readers.

        All ranges come from one version of the object; they cannot be verified against its digest.

        Raises:
            ObjectMissingError: No object has this key.
            FileChangedError: While reading: the object was replaced or deleted in a bucket (a file stays readable).
        """

    @abstractmethod
    def write_bytes(self, key: str, content: bytes) -> ObjectInfo:
        """Write a small object, replacing any existing one."""

    @abstractmethod
    def read_with_tag(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Return the content of a small object and its tag, both from one read; ``None`` if it does not exist.

        The pair is what :meth:`write_if` needs. The content is verified as by :meth:`read_bytes`, and never comes from
        a cache.

        Args:
            key: The object's key.
            limit: Largest accepted size in bytes; ``None`` accepts any.

        Raises:
            StoreCorruptionError: The object is larger than ``limit``, and was not read; or its bytes differ from the
                recorded digest.
            FileChangedError: The file was edited in place while it was read, several times in a row.
        """

    @abstractmethod
    def write_if(self, key: str, content: bytes, expected_tag: str | None) -> ObjectInfo | None:
        """Write a small object only if no other process has written it since the caller read it (compare-and-swap).

        Of any number of simultaneous calls with the same ``expected_tag``, in any process on any machine, one writes.
        Every writer of the key must use this method: :meth:`write_bytes` overwrites without asking.

        In a bucket the tag of a small object depends on its content alone. Content that must not be mistaken for an
        earlier version needs something unique in it, such as a counter or a random number.

        A store without conditional writes (see :attr:`has_conditional_writes`) compares and writes in two requests.
        There, a lease must keep others from writing in between.

        Args:
            key: The object's key.
            content: The new content.
            expected_tag: Tag of the object to be replaced; ``None`` writes only if there is no object.

        Returns:
            The new object's metadata, or ``None`` if the object has another tag, exists, or does not exist any more:
            nothing was written. After a lost reply, ``None`` may also mean that it was written and replaced since.

        Raises:
            StoreUnavailableError: The store cannot be reached; whether the object was written is unknown.
            TransientError: Another process has held the lock of a local lake for too long.
        """

    @abstractmethod
    def delete_if(self, key: str, expected_tag: str) -> bool:
        """Remove an object if it has this tag, and return whether it was removed.

        Atomic in a local lake. Not in a bucket, where most stores have no conditional delete: the tag is compared in a
        request of its own, and an object written between the two requests is lost.
        """

    @abstractmethod
    def version_age_s(self, key: str, tag: str) -> float | None:
        """Return how long ago the object was written, by the store's own clock, if it still has this tag.

        This machine's clock is not involved, so machines whose clocks differ get the same answer.

        Returns:
            Seconds, in steps of up to 2 s; ``None`` if the object has another tag or is gone, or if the store does not
            report its time.
        """

    @property
    @abstractmethod
    def has_conditional_writes(self) -> bool:
        """Whether :meth:`write_if` is atomic. A bucket is tested with three small writes, once per instance.

        Raises:
            StoreError: The test object could not be written.
        """

    @abstractmethod
    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        """Copy a local file into the store, replacing any existing object.

        Args:
            key: Target key.
            path: The local file; it is never modified.
            sha256: Its digest, if the caller knows it. The bytes sent are hashed either way.
            progress: Called with the number of bytes of each copied block.

        Raises:
            FileChangedError: The file is gone, changed while it was read, or does not match ``sha256``.
            SourceError: The file cannot be read.
        """

    @abstractmethod
    def copy(self, source: str, target: str, *, source_info: ObjectInfo | None = None) -> ObjectInfo:
        """Copy an object within the store, without moving its bytes through this process where the store can.

        A folder on a file system with reflinks shares the blocks; elsewhere the bytes are copied, and compared with the
        source's digest if it is known, so that a copy never spreads damage. A bucket copies on the server, with the
        source's recorded digest, against which every read of the copy is verified.

        Args:
            source: Key of the object.
            target: Key of the copy.
            source_info: The source's metadata, if the caller knows it: it is not looked up again. Without its digest,
                the result may lack it, too.

        Raises:
            ObjectMissingError: No object has the key ``source``.
            FileChangedError: The source is not the version in ``source_info``, or was replaced meanwhile.
            StoreCorruptionError: The source's bytes differ from its recorded digest.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; removing one that does not exist is not an error."""

    @abstractmethod
    def incomplete_uploads(self) -> "list[IncompleteUpload]":
        """Return every incomplete upload of this lake, including uploads that are still running."""

    @abstractmethod
    def abort(self, upload: IncompleteUpload) -> None:
        """Abort an incomplete upload and free its space; one that no longer exists is not an error."""

    @abstractmethod
    def presigned_url(self, key: str, expires_s: int) -> str:
        """Return a URL that lets anyone read the object for ``expires_s`` seconds; no request is sent.

        Raises:
            ConfigurationError: The lake is a folder, which has no such URLs, or ``expires_s`` is not 1 s to 7 days.
        """

    @property
    @abstractmethod
    def request_stats(self) -> RequestStats:
        """Requests this process has sent to the store so far; all zero for a folder."""

    @abstractmethod
    def check_access(self) -> None:
        """Check that the lake can be reached with the current configuration.

        Raises:
            StoreError: It cannot; the error's hint names the setting to change.
            StoreUnavailableError: The store is temporarily unreachable.
        """

"""Copies files into a store, skipping those whose content it already has; one failure does not stop the others.

Contains the thread pool, the decision per file and the report. The callers (``ingest/copy.py``, ``upload/upload.py``)
choose the files and their keys; see ``base.py`` for how a store writes one file safely.
"""

import posixpath
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apex_pipeline.errors import (
    ApexError,
    StorageFullError,
    StoreAuthError,
    StoreConfigError,
    StorePermissionError,
    TransientError,
)
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import is_legal_key

# Used in place of a stored digest: no object has the key, or the existing one is out of date.
NOT_STORED: Final = ""

# With these errors, every other file would fail the same way.
_FATAL_ERRORS = (StoreAuthError, StoreConfigError, StorageFullError, StorePermissionError)
# Small files mostly wait for replies; large ones share the connection's upload slots anyway.
_PARALLEL_FILES = 10
# One listing returns 1,000 objects, which would otherwise take one request each. Not worth it for a few files in a
# folder of many thousands.
_MIN_KEYS_FOR_LISTING = 5


@dataclass(frozen=True)
class FetchedFile:
    """A file that was fetched to this machine, and hashed on its way.

    Attributes:
        path: Where it is until the end of the block that fetched it.
        sha256: Digest of its content.
        size: Bytes.
    """

    path: Path
    sha256: str
    size: int


# Fetches a file; called now and then with 0 bytes, the progress raises an error if the batch was stopped.
Fetch = Callable[[Progress], AbstractContextManager[FetchedFile]]


@dataclass(frozen=True)
class CopyItem:
    """One file to copy.

    Attributes:
        path: The local file; with ``fetch``, the path by which the file is known where it comes from.
        key: Its key in the store.
        known_sha256: Digest of the stored object, if the caller knows it, which saves a request; :data:`NOT_STORED` if
            the file must be written; or ``None`` to query the store.
        fetch: Provides the file, for one that is not on this machine.
    """

    path: Path
    key: str
    known_sha256: str | None = None
    fetch: "Fetch | None" = None


@dataclass(frozen=True)
class CopiedFile:
    """One file that is now in the store.

    Attributes:
        item: The requested copy.
        size: Bytes stored.
        sha256: Digest of the stored content.
        tag: The store's version tag, if the file was written by this call.
        is_new: Whether this call wrote the file; otherwise the store already had this content.
    """

    item: CopyItem
    size: int
    sha256: str
    tag: str | None = None
    is_new: bool = True


@dataclass(frozen=True)
class CopyFailure:
    """One file that could not be copied, with the error."""

    item: CopyItem
    error: ApexError

    @property
    def stops_all(self) -> bool:
        """Whether every other file would fail the same way: credentials, permission, configuration, a full disk."""
        return isinstance(self.error, _FATAL_ERRORS)


# The outcome of one file; the item itself if an error stopped the batch before it was tried.
CopyResult = CopiedFile | CopyFailure | CopyItem
# Copies one file and reports bytes as they are copied.
CopyOne = Callable[[CopyItem, Progress], CopiedFile]


@dataclass(frozen=True)
class CopyReport:
    """The outcome of every file; each file is in exactly one of the four lists, in the requested order.

    Truthy if all files are in the store.

    Attributes:
        copied: Files written by this call.
        unchanged: Files whose content was already in the store.
        failed: Files that could not be copied.
        not_tried: Files skipped because an error stopped the batch.
    """

    copied: tuple[CopiedFile, ...]
    unchanged: tuple[CopiedFile, ...]
    failed: tuple[CopyFailure, ...]
    not_tried: tuple[CopyItem, ...]

    def __bool__(self) -> bool:
        return not self.failed and not self.not_tried

    @property
    def bytes_copied(self) -> int:
        """Bytes written."""
        return sum(file.size for file in self.copied)

    @property
    def bytes_unchanged(self) -> int:
        """Bytes that did not have to be written."""
        return sum(file.size for file in self.unchanged)

    @property
    def stopped_by(self) -> ApexError | None:
        """The error that stopped the batch, if one did."""
        return next((failure.error for failure in self.failed if failure.stops_all), None)


def copy_files(
    store: ObjectStore, items: Iterable[CopyItem], digests: DigestCache, progress: Progress | None = None
) -> CopyReport:
    """Copy every file unless the store already has its content under the same key.

    Contents are compared by SHA-256, never by time or size. An object without a recorded digest (uploaded by another
    tool) is written again. One failed file does not stop the others; an error that would affect all stops the batch.

    Args:
        store: Target store.
        items: The files.
        digests: Cached digests of local files.
        progress: Called with the size of each copied block and of each unchanged file, from several threads.
    """
    requested = list(items)
    not_stored = _not_stored(store, requested)

    def copy_one(item: CopyItem, report_bytes: Progress) -> CopiedFile:
        stored_sha256 = NOT_STORED if item.key in not_stored else item.known_sha256
        return copy_file(store, item, stored_sha256, digests, report_bytes)

    order = {item: number for number, item in enumerate(requested)}
    results = sorted(iter_copies(requested, copy_one, progress), key=lambda result: order[_item_of(result)])
    return CopyReport(
        copied=tuple(result for result in results if isinstance(result, CopiedFile) and result.is_new),
        unchanged=tuple(result for result in results if isinstance(result, CopiedFile) and not result.is_new),
        failed=tuple(result for result in results if isinstance(result, CopyFailure)),
        not_tried=tuple(result for result in results if isinstance(result, CopyItem)),
    )


def iter_copies(
    items: Iterable[CopyItem], copy_one: CopyOne, progress: Progress | None = None, *, first: CopyItem | None = None
) -> Generator[CopyResult]:
    """Copy files concurrently and yield each outcome as soon as it is known.

    An error that would affect all files stops the batch, and so does closing the generator; copies in progress are
    abandoned.

    Args:
        items: The files.
        copy_one: Copies one of them, in one of the threads.
        progress: Called with the size of each copied block, from several threads.
        first: A file to copy before all others, so that an error that would affect all occurs only once.
    """
    batch = _Batch(copy_one, progress)
    with ThreadPoolExecutor(_PARALLEL_FILES, thread_name_prefix="copy") as pool:
        try:
            if first is not None:
                yield pool.submit(batch.copy, first).result()
            for done in as_completed([pool.submit(batch.copy, item) for item in items]):
                yield done.result()
        except BaseException:
            batch.is_stopped.set()
            raise


def copy_file(
    store: ObjectStore, item: CopyItem, stored_sha256: str | None, digests: DigestCache, progress: Progress
) -> CopiedFile:
    """Copy one file unless the store already has its content.

    Args:
        store: Target store.
        item: The file; its ``known_sha256`` is ignored.
        stored_sha256: Same as :attr:`CopyItem.known_sha256`, which it replaces.
        digests: Cached digests of local files.
        progress: Called with the size of each copied block, or once with the size of an unchanged file.

    Raises:
        ApexError: The file cannot be read, or the store refuses it.
    """
    if item.fetch is not None:
        return _copy_fetched(store, item, item.fetch, stored_sha256, progress)
    if stored_sha256 == NOT_STORED:  # hashed while it is sent: one read instead of two
        stored = store.write_file(item.key, item.path, progress=progress)
        return CopiedFile(item, stored.size, stored.sha256 or "", stored.tag)
    sha256, size, _ = digests.digest_of(item.path)
    if _is_stored(store, item, stored_sha256, sha256):
        progress(size)
        return CopiedFile(item, size, sha256, is_new=False)
    stored = store.write_file(item.key, item.path, sha256=sha256, progress=progress)
    return CopiedFile(item, size, sha256, stored.tag)


def _copy_fetched(
    store: ObjectStore, item: CopyItem, fetch: Fetch, stored_sha256: str | None, progress: Progress
) -> CopiedFile:
    """Copy a file that has to be fetched first; nothing is written if the store has its content."""
    with fetch(progress) as file:
        if _is_stored(store, item, stored_sha256, file.sha256):
            progress(file.size)
            return CopiedFile(item, file.size, file.sha256, is_new=False)
        stored = store.write_file(item.key, file.path, sha256=file.sha256, progress=progress)
    return CopiedFile(item, file.size, file.sha256, stored.tag)


def _is_stored(store: ObjectStore, item: CopyItem, stored_sha256: str | None, sha256: str) -> bool:
    """Return whether the store has this content, which is looked up if the caller does not know the stored digest."""
    if stored_sha256 is None:
        found = store.head(item.key)
        stored_sha256 = None if found is None else found.sha256
    return stored_sha256 == sha256


class _StoppedError(TransientError):
    """The batch was stopped while this file was being copied."""


class _Batch:
    """State shared by the threads of one batch."""

    def __init__(self, copy_one: CopyOne, progress: Progress | None) -> None:
        self._copy_one = copy_one
        self._progress = progress
        self.is_stopped = threading.Event()

    def copy(self, item: CopyItem) -> CopyResult:
        if self.is_stopped.is_set():
            return item
        try:
            return self._copy_one(item, self._report)
        except _StoppedError:
            return item
        except ApexError as error:
            failure = CopyFailure(item, error)
            if failure.stops_all:
                self.is_stopped.set()
            return failure

    def _report(self, copied: int) -> None:
        """Forward progress; if the batch was stopped, raise to abandon the file."""
        if self.is_stopped.is_set():
            raise _StoppedError("The copy was stopped.", "Run it again; it will resume where it stopped.")
        if self._progress is not None:
            self._progress(copied)


def _item_of(result: CopyResult) -> CopyItem:
    return result if isinstance(result, CopyItem) else result.item


def _not_stored(store: ObjectStore, items: list[CopyItem]) -> set[str]:
    """Return the keys that do not exist: those the caller reported, and those missing from a single listing."""
    known = {item.key for item in items if item.known_sha256 == NOT_STORED}
    unknown = {item.key for item in items if item.known_sha256 is None and is_legal_key(item.key)}
    if len(unknown) < _MIN_KEYS_FOR_LISTING:
        return known
    folder = posixpath.commonpath([key.rpartition("/")[0] for key in unknown])
    try:
        existing = {stored.key for stored in store.list(f"{folder}/" if folder else "")}
    except ApexError:  # every copy will raise it again, and the report will list it
        return known
    return known | (unknown - existing)

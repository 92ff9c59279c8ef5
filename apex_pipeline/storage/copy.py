"""Copies files into a store: only those whose content is not there yet, and all that can be copied.

Contains the thread pool, the decision per file and the report. Which files are copied, and to which keys, is up to the
callers (``ingest/copy.py``, ``upload/upload.py``); see ``base.py`` for how a store writes one file safely.
"""

import posixpath
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
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

# As a stored digest: no object has the key, or the one that does is out of date.
NOT_STORED: Final = ""

# Every other file would fail the same way.
_STOPS_ALL = (StoreAuthError, StoreConfigError, StorageFullError, StorePermissionError)
# Small files mostly wait for replies; large ones share the connection's upload slots anyway.
_PARALLEL_FILES = 10
# One listing covers 1,000 objects that would take a request each, but not where a few files go into a folder of
# many thousands.
_WORTH_A_LISTING = 5


@dataclass(frozen=True)
class CopyItem:
    """One file to copy.

    Attributes:
        path: The local file.
        key: Its key in the store.
        known_sha256: Recorded digest of the stored object where the caller knows it, which saves a request: a digest,
            :data:`NOT_STORED`, or ``None`` to ask the store.
    """

    path: Path
    key: str
    known_sha256: str | None = None


@dataclass(frozen=True)
class CopiedFile:
    """One file that is in the store now.

    Attributes:
        item: What was asked for.
        size: Bytes stored.
        sha256: Digest of the stored content.
        tag: The store's version tag, for a file that was written now.
        is_new: It was written now; otherwise the store had this content already.
    """

    item: CopyItem
    size: int
    sha256: str
    tag: str | None = None
    is_new: bool = True


@dataclass(frozen=True)
class CopyFailure:
    """One file that is not in the store, and why."""

    item: CopyItem
    error: ApexError

    @property
    def stops_all(self) -> bool:
        """Every other file would fail the same way: credentials, permission, configuration, a full disk."""
        return isinstance(self.error, _STOPS_ALL)


# The outcome of one file; the item itself if it was not tried because an error had stopped the batch.
CopyResult = CopiedFile | CopyFailure | CopyItem
# Copies one file, reporting bytes as they move.
CopyOne = Callable[[CopyItem, Progress], CopiedFile]


@dataclass(frozen=True)
class CopyReport:
    """The outcome of every file; each is in exactly one of the four lists, in the order asked.

    True when all are in the store.

    Attributes:
        copied: Written now.
        unchanged: The store had the same content already.
        failed: Could not be copied.
        not_tried: Left out because an error stopped the batch.
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
    store: ObjectStore, items: Iterable[CopyItem], fingerprints: DigestCache, progress: Progress | None = None
) -> CopyReport:
    """Copy every file whose content the store does not have under its key.

    Contents are compared by SHA-256, never by time or size. An object without a recorded digest (uploaded by another
    tool) is written again. A file that fails does not stop the others; an error that all would meet stops the batch.

    Args:
        store: Where to copy.
        items: The files.
        fingerprints: Digests of local files.
        progress: Receives bytes as they move, and the size of an unchanged file at once; called from several threads.
    """
    wanted = list(items)
    not_stored = _not_stored(store, wanted)

    def copy_one(item: CopyItem, report_bytes: Progress) -> CopiedFile:
        stored_sha256 = NOT_STORED if item.key in not_stored else item.known_sha256
        return copy_file(store, item, stored_sha256, fingerprints, report_bytes)

    order = {item: number for number, item in enumerate(wanted)}
    results = sorted(iter_copies(wanted, copy_one, progress), key=lambda result: order[_item_of(result)])
    return CopyReport(
        copied=tuple(result for result in results if isinstance(result, CopiedFile) and result.is_new),
        unchanged=tuple(result for result in results if isinstance(result, CopiedFile) and not result.is_new),
        failed=tuple(result for result in results if isinstance(result, CopyFailure)),
        not_tried=tuple(result for result in results if isinstance(result, CopyItem)),
    )


def iter_copies(
    items: Iterable[CopyItem], copy_one: CopyOne, progress: Progress | None = None, *, first: CopyItem | None = None
) -> Generator[CopyResult]:
    """Copy files several at a time and yield each outcome as soon as it is known.

    An error that all would meet stops the batch; so does closing the generator: files on their way are abandoned.

    Args:
        items: The files.
        copy_one: Copies one of them, in one of the threads.
        progress: Receives bytes as they move; called from several threads.
        first: A file to copy alone before ``items``, so that an error all would meet is met once.
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
    store: ObjectStore, item: CopyItem, stored_sha256: str | None, fingerprints: DigestCache, progress: Progress
) -> CopiedFile:
    """Copy one file unless the store has its content.

    Args:
        store: Where to copy.
        item: The file; its ``known_sha256`` is not looked at.
        stored_sha256: As :attr:`CopyItem.known_sha256`.
        fingerprints: Digests of local files.
        progress: Receives bytes as they move, and the size of an unchanged file at once.

    Raises:
        ApexError: The file cannot be read, or the store refuses it.
    """
    if stored_sha256 == NOT_STORED:  # it is hashed while it is sent: one read instead of two
        stored = store.write_file(item.key, item.path, progress=progress)
        return CopiedFile(item, stored.size, stored.sha256 or "", stored.tag)
    sha256, size, _ = fingerprints.digest_of(item.path)
    if stored_sha256 is None:
        found = store.head(item.key)
        stored_sha256 = None if found is None else found.sha256
    if stored_sha256 == sha256:
        progress(size)
        return CopiedFile(item, size, sha256, is_new=False)
    stored = store.write_file(item.key, item.path, sha256=sha256, progress=progress)
    return CopiedFile(item, size, sha256, stored.tag)


class _StoppedError(TransientError):
    """This file was on its way when another one stopped the batch."""


class _Batch:
    """What the threads of one batch share."""

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

    def _report(self, moved: int) -> None:
        """Pass progress on; in a stopped batch, abandon the file that reports it."""
        if self.is_stopped.is_set():
            raise _StoppedError("The copying was stopped.", "Run it again: it goes on where it was.")
        if self._progress is not None:
            self._progress(moved)


def _item_of(result: CopyResult) -> CopyItem:
    return result if isinstance(result, CopyItem) else result.item


def _not_stored(store: ObjectStore, items: list[CopyItem]) -> set[str]:
    """Return the keys known to be missing: by the caller, or by one listing instead of a request per file."""
    known = {item.key for item in items if item.known_sha256 == NOT_STORED}
    asked = {item.key for item in items if item.known_sha256 is None and is_legal_key(item.key)}
    if len(asked) < _WORTH_A_LISTING:
        return known
    folder = posixpath.commonpath([key.rpartition("/")[0] for key in asked])
    try:
        there = {stored.key for stored in store.list(f"{folder}/" if folder else "")}
    except ApexError:  # each file will meet it, and has a place for it in the report
        return known
    return known | (asked - there)

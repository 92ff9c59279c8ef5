"""Copying many files into a store: only those whose content is not there yet, and all that can be copied.

Here belong the decision and the report. Which files, and under which keys, is decided by the caller; how one file is
copied safely, by the store.
"""

import posixpath
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apex_pipeline.errors import (
    ApexError,
    StoreAuthError,
    StoreConfigError,
    StoreFullError,
    StorePermissionError,
    TransientError,
)
from apex_pipeline.progress import Progress
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.keys import is_legal_key

# As ``known_sha256``: the caller knows that no object has the key, or that what is there is out of date.
NOT_STORED: Final = ""

# Every further file would fail the same way.
_STOPS_ALL = (StoreAuthError, StoreConfigError, StoreFullError, StorePermissionError)
# Small files are waiting for answers most of the time; large ones share the connection's senders anyway.
_PARALLEL_FILES = 10
# A listing tells of 1,000 objects what costs a question for each; of a few, in a folder of many thousands, it does not.
_WORTH_A_LISTING = 5


@dataclass(frozen=True)
class CopyItem:
    """One file to be copied.

    Attributes:
        path: The file on this disk.
        key: Where it belongs in the store.
        known_sha256: Recorded digest of the stored object where the caller knows it, which saves asking the store:
            a digest, :data:`NOT_STORED`, or ``None`` to ask.
    """

    path: Path
    key: str
    known_sha256: str | None = None


@dataclass(frozen=True)
class CopiedFile:
    """One file that is in the store now.

    Attributes:
        item: What was asked for.
        size: Bytes.
        sha256: Digest of the content.
        tag: The store's version mark, where it was written now.
    """

    item: CopyItem
    size: int
    sha256: str
    tag: str | None = None


@dataclass(frozen=True)
class FailedCopy:
    """One file that is not in the store, and why."""

    item: CopyItem
    error: ApexError


@dataclass(frozen=True)
class CopyReport:
    """What became of every file asked for; each is in exactly one of the four lists, in the order asked.

    True when all are in the store.

    Attributes:
        copied: Written now.
        unchanged: Were there already, with the same content.
        failed: Could not be copied.
        not_tried: Left out because an error stopped the batch: credentials, permission, configuration, a full disk.
    """

    copied: tuple[CopiedFile, ...]
    unchanged: tuple[CopiedFile, ...]
    failed: tuple[FailedCopy, ...]
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
        return next((failure.error for failure in self.failed if isinstance(failure.error, _STOPS_ALL)), None)


def copy_files(
    store: ObjectStore, items: Iterable[CopyItem], fingerprints: Fingerprints, progress: Progress | None = None
) -> CopyReport:
    """Copy every file whose content the store does not have under its key.

    Contents are compared by SHA-256, never by time or size. An object without a recorded digest (uploaded by another
    tool) is written again. A file that fails does not stop the others; an error that all would meet stops the batch.

    Args:
        store: Where to.
        items: The files.
        fingerprints: Gives their digests.
        progress: Told about bytes sent, and about the size of an unchanged file at once; called from several threads.
    """
    wanted = list(items)
    batch = _Batch(store, fingerprints, _not_stored(store, wanted), progress)
    with ThreadPoolExecutor(_PARALLEL_FILES, thread_name_prefix="copy") as pool:
        try:
            outcomes = list(pool.map(batch.copy, wanted))
        except BaseException:
            batch.is_stopped.set()
            raise
    return CopyReport(
        copied=tuple(outcome for outcome, is_new in outcomes if isinstance(outcome, CopiedFile) and is_new),
        unchanged=tuple(outcome for outcome, is_new in outcomes if isinstance(outcome, CopiedFile) and not is_new),
        failed=tuple(outcome for outcome, _ in outcomes if isinstance(outcome, FailedCopy)),
        not_tried=tuple(outcome for outcome, _ in outcomes if isinstance(outcome, CopyItem)),
    )


class _StoppedError(TransientError):
    """This file was on its way when the batch was stopped by another."""


def _not_stored(store: ObjectStore, items: list[CopyItem]) -> set[str]:
    """Return the keys that are known not to be there: by the caller, or by one listing instead of many questions."""
    known = {item.key for item in items if item.known_sha256 == NOT_STORED}
    asked = {item.key for item in items if item.known_sha256 is None and is_legal_key(item.key)}
    if len(asked) < _WORTH_A_LISTING:
        return known
    folder = posixpath.commonpath([key.rpartition("/")[0] for key in asked])
    try:
        there = {stored.key for stored in store.list(f"{folder}/" if folder else "")}
    except ApexError:  # each file is told the same, in its place in the report
        return known
    return known | (asked - there)


class _Batch:
    """What the copies of one call share."""

    def __init__(
        self, store: ObjectStore, fingerprints: Fingerprints, not_stored: set[str], progress: Progress | None
    ) -> None:
        self._store = store
        self._fingerprints = fingerprints
        self._not_stored = not_stored
        self._progress = progress
        self.is_stopped = threading.Event()

    def copy(self, item: CopyItem) -> tuple[CopiedFile | FailedCopy | CopyItem, bool]:
        """Return what became of the file (the item itself if it was not tried), and whether it was written."""
        if self.is_stopped.is_set():
            return item, False
        try:
            return self._copy(item)
        except _StoppedError:
            return item, False
        except ApexError as error:
            if isinstance(error, _STOPS_ALL):
                self.is_stopped.set()
            return FailedCopy(item, error), False

    def _copy(self, item: CopyItem) -> tuple[CopiedFile, bool]:
        if item.key in self._not_stored:  # it is hashed on its way
            stored = self._store.write_file(item.key, item.path, progress=self._tell)
            return CopiedFile(item, stored.size, stored.sha256 or "", stored.tag), True
        sha256, size, _ = self._fingerprints.fingerprint_of(item.path)
        if self._stored_digest(item) == sha256:
            self._tell(size)
            return CopiedFile(item, size, sha256), False
        stored = self._store.write_file(item.key, item.path, sha256=sha256, progress=self._tell)
        return CopiedFile(item, size, sha256, stored.tag), True

    def _tell(self, moved: int) -> None:
        """Pass progress on; a large file that is on its way does not go on in a batch that was stopped."""
        if self.is_stopped.is_set():
            raise _StoppedError("The copying was stopped.", "Run it again: it goes on where it was.")
        if self._progress is not None:
            self._progress(moved)

    def _stored_digest(self, item: CopyItem) -> str | None:
        if item.known_sha256 is not None:
            return item.known_sha256
        stored = self._store.head(item.key)
        return None if stored is None else stored.sha256


__all__ = ["NOT_STORED", "CopiedFile", "CopyItem", "CopyReport", "FailedCopy", "copy_files"]

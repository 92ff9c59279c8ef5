"""Copying many files into a store: only those whose content is not there yet, and all that can be copied.

Here belong the decision and the report. Which files, and under which keys, is decided by the caller; how one file is
copied safely, by the store.
"""

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
)
from apex_pipeline.progress import Progress
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.fingerprints import Fingerprints

# As ``known_sha256``: the caller knows that no object has the key, or that what is there is out of date.
NOT_STORED: Final = ""

# Every further file would fail the same way.
_STOPS_ALL = (StoreAuthError, StoreConfigError, StoreFullError, StorePermissionError)
# Small files are waiting for answers most of the time; large ones share the transfer manager's connections anyway.
_PARALLEL_FILES = 8


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
    """

    item: CopyItem
    size: int
    sha256: str


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
    batch = _Batch(store, fingerprints, progress)
    wanted = list(items)
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


class _Batch:
    """What the copies of one call share."""

    def __init__(self, store: ObjectStore, fingerprints: Fingerprints, progress: Progress | None) -> None:
        self._store = store
        self._fingerprints = fingerprints
        self._progress = progress
        self.is_stopped = threading.Event()

    def copy(self, item: CopyItem) -> tuple[CopiedFile | FailedCopy | CopyItem, bool]:
        """Return what became of the file (the item itself if it was not tried), and whether it was written."""
        if self.is_stopped.is_set():
            return item, False
        try:
            return self._copy(item)
        except ApexError as error:
            if isinstance(error, _STOPS_ALL):
                self.is_stopped.set()
            return FailedCopy(item, error), False

    def _copy(self, item: CopyItem) -> tuple[CopiedFile, bool]:
        sha256, size = self._fingerprints.fingerprint_of(item.path)
        if self._stored_digest(item) == sha256:
            if self._progress is not None:
                self._progress(size)
            return CopiedFile(item, size, sha256), False
        self._store.write_file(item.key, item.path, sha256=sha256, progress=self._progress)
        return CopiedFile(item, size, sha256), True

    def _stored_digest(self, item: CopyItem) -> str | None:
        if item.known_sha256 is not None:
            return item.known_sha256
        stored = self._store.head(item.key)
        return None if stored is None else stored.sha256


__all__ = ["NOT_STORED", "CopiedFile", "CopyItem", "CopyReport", "FailedCopy", "copy_files"]

"""Uploading a folder: which files, under which keys, several at a time, and what becomes of each.

Here belongs the work without a word to anybody: who wants to show something hands in a :class:`Watcher`. Not here: how
one file is copied (``storage/copying.py``) and what is compressed (``packing.py``).
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from apex_pipeline.errors import ApexError, ConfigurationError, SourceError
from apex_pipeline.lake.source_folder import SourceFile, look_at
from apex_pipeline.storage.contract import ObjectStore, StoredObject
from apex_pipeline.storage.copying import NOT_STORED, CopiedFile, CopyItem, CopyReport, FailedCopy, copy_files
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.hashing import FileMark
from apex_pipeline.storage.keys import HostileKeyError, check_key, check_prefix
from apex_pipeline.upload.packing import Compression, Packer, is_packable
from apex_pipeline.upload.report import UploadedFile, UploadReport, UploadStatus

# As many as ``copy_files`` would take: small files wait for answers most of the time.
_PARALLEL_FILES = 8
# Under these endings one text file may lie in the bucket.
_FORMS = ("", *(compression.ending for compression in Compression))


class Watcher(Protocol):
    """Who is told while an upload goes on."""

    def begin(self, files: int, size: int) -> None:
        """Hear how many files and bytes there are."""

    def moved(self, count: int) -> None:
        """Hear of bytes sent; called from several threads."""

    def finished(self, number: int, total: int, file: UploadedFile) -> None:
        """Hear what became of a file, the ``number``-th of ``total`` to be finished."""


@dataclass(frozen=True)
class _Task:
    """One file and where it goes; ``packer`` if it is compressed on the way."""

    file: SourceFile
    key: str
    packer: Packer | None


def upload_folder(
    folder: Path,
    store: ObjectStore,
    prefix: str,
    *,
    fingerprints: Fingerprints,
    watcher: Watcher,
    packer: Packer | None = None,
) -> UploadReport:
    """Copy every regular file of a folder into a store, unless its content is there already.

    Nothing is deleted. A file that fails does not stop the others; an error all would meet does, and because the
    smallest new file goes alone before all others, such an error is met once. What is there is learnt by one listing;
    the digest of a file that is there with its size is asked for once and then remembered.

    Args:
        folder: The folder; it is only read. Links out of it and links to folders are refused by name.
        store: Where to.
        prefix: What the keys begin with, before the path relative to the folder; may be empty.
        fingerprints: Digests of local files.
        watcher: Told about files as they are finished.
        packer: Compresses text files on the way; their keys get its ending.

    Raises:
        SourceError: The folder is missing, cannot be read or is empty.
        ConfigurationError: No key can begin with the prefix.
        StoreError: The store cannot be listed; nothing was sent.
        StoreUnavailableError: As before, and it may be gone on the next try.
    """
    start = _checked_prefix(prefix)
    found = look_at(folder)
    stored = {item.key: item for item in store.list(start)}
    outcomes = [_refused(path, reason) for path, reason in found.refused]
    tasks: list[_Task] = []
    for task in _plan(found.files, start, packer):
        if isinstance(task, UploadedFile):
            outcomes.append(task)
        else:
            tasks.append(task)
    total = len(outcomes) + len(tasks)
    watcher.begin(total, found.bytes)
    for number, outcome in enumerate(outcomes, start=1):
        watcher.finished(number, total, outcome)
    copies = _Copies(store, fingerprints, watcher, stored)
    for number, outcome in enumerate(copies.make(tasks), start=len(outcomes) + 1):
        outcomes.append(outcome)
        watcher.finished(number, total, outcome)
    return UploadReport(
        address=f"{store.uri}/{start}".rstrip("/"),
        files=tuple(sorted(outcomes, key=lambda outcome: outcome.path)),
        bytes_sent=copies.bytes_sent,
        stopped_by=copies.stopped_by,
        other_forms=tuple(sorted(_other_forms(tasks) & stored.keys())),
    )


class _Copies:
    """The copying of one upload's files: what its threads share."""

    def __init__(
        self,
        store: ObjectStore,
        fingerprints: Fingerprints,
        watcher: Watcher,
        stored: dict[str, StoredObject],
    ) -> None:
        self._store = store
        self._fingerprints = fingerprints
        self._watcher = watcher
        self._stored = stored
        self._lock = threading.Lock()
        self._is_stopped = threading.Event()
        self.stopped_by: ApexError | None = None
        self.bytes_sent = 0

    def make(self, tasks: list[_Task]) -> Iterator[UploadedFile]:
        """Copy the files and yield each as it is finished."""
        new = [task for task in tasks if task.key not in self._stored]
        if new:
            first = min(new, key=lambda task: task.file.size)
            yield self._copy(first)
            tasks = [task for task in tasks if task is not first]
        with ThreadPoolExecutor(_PARALLEL_FILES, thread_name_prefix="upload") as pool:
            try:
                for done in as_completed([pool.submit(self._copy, task) for task in tasks]):
                    yield done.result()
            except BaseException:
                self._is_stopped.set()
                raise

    def _copy(self, task: _Task) -> UploadedFile:
        status, problem = UploadStatus.NOT_TRIED, None
        if not self._is_stopped.is_set():
            status, problem = self._judge(self._try(task))
        return UploadedFile(task.file.path, task.key, task.file.size, status, problem)

    def _try(self, task: _Task) -> CopyReport:
        try:
            return self._copy_plain(task) if task.packer is None else self._copy_packed(task, task.packer)
        except ApexError as error:
            failed = FailedCopy(CopyItem(task.file.on_disk, task.key), error)
            return CopyReport(copied=(), unchanged=(), failed=(failed,), not_tried=())

    def _judge(self, report: CopyReport) -> tuple[UploadStatus, str | None]:
        """Return what became of the one file that was to be copied."""
        with self._lock:
            self.bytes_sent += report.bytes_copied
            if report.stopped_by is not None:
                self.stopped_by = self.stopped_by or report.stopped_by
                self._is_stopped.set()
        if report.failed:
            return UploadStatus.FAILED, str(report.failed[0].error)
        return (UploadStatus.UPLOADED if report.copied else UploadStatus.UNCHANGED), None

    def _copy_plain(self, task: _Task) -> CopyReport:
        stored = self._stored.get(task.key)
        recorded = self._recorded(stored) if stored is not None and stored.size == task.file.size else NOT_STORED
        return self._send(task.file.on_disk, task.key, recorded)

    def _copy_packed(self, task: _Task, packer: Packer) -> CopyReport:
        source = self._fingerprints.fingerprint_of(task.file.on_disk)
        stored = self._stored.get(task.key)
        recorded = NOT_STORED if stored is None else self._recorded(stored)
        if stored is not None and recorded == packer.known_digest(source):
            same = CopiedFile(CopyItem(task.file.on_disk, task.key), stored.size, recorded)
            return CopyReport(copied=(), unchanged=(same,), failed=(), not_tried=())
        with packer.packed(task.file.on_disk, source) as packed:
            return self._send(packed, task.key, recorded)

    def _recorded(self, stored: StoredObject) -> str:
        """Return the digest recorded with an object, asked for once per version; ``NOT_STORED`` if there is none."""
        version, mark = self._version(stored.key, stored.tag), FileMark(stored.size, 0, 0)
        known = stored.sha256 or self._fingerprints.known(version, mark)
        if known is not None:
            return known
        found = self._store.head(stored.key)
        if found is None or found.sha256 is None or found.tag != stored.tag:
            return NOT_STORED
        self._fingerprints.remember(version, mark, found.sha256)
        return found.sha256

    def _version(self, key: str, tag: str) -> Path:
        """Return the name of a version of an object in the memory of files: a path that no file has."""
        return Path(f"/{self._store.uri_of(key)}#{tag}")

    def _send(self, path: Path, key: str, known_sha256: str | None) -> CopyReport:
        report = copy_files(self._store, [CopyItem(path, key, known_sha256)], self._fingerprints, self._watcher.moved)
        for file in report.copied:
            mark = FileMark(file.size, 0, 0)
            self._fingerprints.remember(self._version(key, str(file.tag)), mark, file.sha256)
        return report


def _plan(files: tuple[SourceFile, ...], start: str, packer: Packer | None) -> Iterator[_Task | UploadedFile]:
    """Yield what is to be done with each file, or the outcome of one that cannot be copied."""
    paths = frozenset(file.path for file in files)
    for file in files:
        packed_by = packer if packer is not None and is_packable(file.path) else None
        target = file.path + (packed_by.ending if packed_by else "")
        try:
            if packed_by and target in paths:
                raise SourceError(
                    f"Compressed it would take the place of {target} beside it.", "Take one of them away."
                )
            yield _Task(file, check_key(start + target), packed_by)
        except ApexError as error:
            yield UploadedFile(file.path, None, file.size, UploadStatus.FAILED, str(error))


def _checked_prefix(prefix: str) -> str:
    """Return what keys begin with: empty, or the prefix with one slash behind it."""
    start = prefix.strip("/")
    try:
        return f"{check_prefix(start)}/" if start else ""
    except HostileKeyError as error:
        raise ConfigurationError(
            f"No key can begin with {prefix!r}: {error.problem}", "Choose a prefix such as data or races/2025."
        ) from error


def _refused(path: str, reason: str) -> UploadedFile:
    remedy = "Put the file itself there, give the right to read it, or take it away."
    return UploadedFile(path, None, 0, UploadStatus.FAILED, f"Not uploaded: {reason}. {remedy}")


def _other_forms(tasks: list[_Task]) -> set[str]:
    """Return the keys that would hold a file of these in another form, compressed or not."""
    own = {task.key for task in tasks}
    plain = {task.key.removesuffix(task.packer.ending) if task.packer else task.key for task in tasks}
    forms = {key + ending for key in plain if is_packable(key) for ending in _FORMS}
    return forms - own


__all__ = ["Watcher", "upload_folder"]

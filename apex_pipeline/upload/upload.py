"""Uploads a folder to a bucket unchanged, and reports the outcome of each file.

Contains :func:`upload_directory_to_s3` and its report; see ``compression.py`` for the compression of text files,
``storage/copy.py`` for the copying itself and ``upload/command.py`` for the command line.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any

from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    SourceError,
    StoreAuthError,
    StoreConfigError,
    StorePermissionError,
)
from apex_pipeline.ingest.source_folder import LocalFile, scan_folder
from apex_pipeline.progress import Progress
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.copy import (
    NOT_STORED,
    CopiedFile,
    CopyFailure,
    CopyItem,
    CopyResult,
    copy_file,
    iter_copies,
)
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_digest_cache, open_store
from apex_pipeline.storage.file_hashing import FileState
from apex_pipeline.storage.keys import UnsafeKeyError, check_key, check_prefix
from apex_pipeline.upload.compression import Compression, Compressor, is_compressible

_LOG = logging.getLogger("apex_pipeline.upload")


class UploadStatus(StrEnum):
    """The outcome of a file."""

    UPLOADED = "uploaded"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    NOT_TRIED = "not_tried"


@dataclass(frozen=True)
class UploadedFile:
    """One file of the folder.

    Attributes:
        path: POSIX path relative to the folder.
        key: Its key in the bucket, uploaded or not; ``None`` if it cannot be uploaded.
        size: Bytes of the local file.
        status: The outcome.
        problem: Why it failed, with the next step.
    """

    path: str
    key: str | None
    size: int
    status: UploadStatus
    problem: str | None = None


@dataclass(frozen=True)
class UploadReport:
    """The outcome of every file of the folder, each listed once. True if all files are in the bucket.

    Attributes:
        address: URI of the uploaded files, for people.
        files: Every file, sorted by path.
        bytes_sent: Bytes sent over the network; of compressed files, the compressed bytes.
        stopped_by: The error that stopped the upload because every other file would have failed too, if any.
        other_forms: Keys under which one of these files is also stored in the other form, compressed or not; left by
            earlier uploads and never deleted here.
    """

    address: str
    files: tuple[UploadedFile, ...]
    bytes_sent: int = 0
    stopped_by: ApexError | None = None
    other_forms: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return all(file.status in {UploadStatus.UPLOADED, UploadStatus.UNCHANGED} for file in self.files)

    def of(self, status: UploadStatus) -> tuple[UploadedFile, ...]:
        """Return the files with this outcome."""
        return tuple(file for file in self.files if file.status is status)

    @property
    def exit_code(self) -> int:
        """0 if all files are in the bucket, 1 if some are not, 2 if credentials or settings are wrong."""
        if isinstance(self.stopped_by, StoreAuthError | StoreConfigError | StorePermissionError):
            return 2
        return 0 if self else 1

    @property
    def summary(self) -> str:
        """The totals in one line: ``8 succeeded, 2 failed (5 uploaded, 3 unchanged, 1,204 bytes sent)``."""
        count = {status: len(self.of(status)) for status in UploadStatus}
        uploaded, unchanged = count[UploadStatus.UPLOADED], count[UploadStatus.UNCHANGED]
        not_tried = f", {count[UploadStatus.NOT_TRIED]} not tried" if count[UploadStatus.NOT_TRIED] else ""
        return (
            f"{uploaded + unchanged} succeeded, {count[UploadStatus.FAILED]} failed{not_tried} "
            f"({uploaded} uploaded, {unchanged} unchanged, {self.bytes_sent:,} bytes sent)"
        )

    def facts(self) -> dict[str, Any]:
        """Return the totals in machine-readable form, for ``--json``."""
        return {
            "address": self.address,
            **{status.value: len(self.of(status)) for status in UploadStatus},
            "bytes_sent": self.bytes_sent,
            "failures": {file.path: file.problem for file in self.of(UploadStatus.FAILED)},
            "other_forms": list(self.other_forms),
            "exit_code": self.exit_code,
        }


@dataclass(frozen=True)
class UploadEvent:
    """The start of an upload (``file`` is ``None``), or one finished file.

    Attributes:
        total: Number of files to upload.
        total_bytes: Their total size in bytes.
        number: Number of files finished so far.
        file: The file that has just finished.
    """

    total: int
    total_bytes: int
    number: int = 0
    file: UploadedFile | None = None


UploadListener = Callable[[UploadEvent], None]


@dataclass(frozen=True)
class UploadTarget:
    """The target of an upload.

    Attributes:
        bucket: Name of the bucket.
        prefix: Prefix of all keys.
        compression: How text files are compressed; ``None`` sends them uncompressed.
    """

    bucket: str
    prefix: str
    compression: Compression | None = None


def upload_directory_to_s3(local_directory: str | Path, bucket_name: str, s3_prefix: str) -> UploadReport:
    """Upload every file of a folder, recursively, keeping the paths.

    Credentials, region and endpoint come from the environment. Each file is logged by name, failures as errors. A
    second call without changes writes nothing.

    Args:
        local_directory: The folder.
        bucket_name: The bucket; it is created only if ``ALLOW_CREATE_BUCKET`` allows it.
        s3_prefix: Prefix of all keys; ``data`` for a lake's raw files.

    Returns:
        The outcome of every file; true if all files are in the bucket.

    Raises:
        SourceError: The folder is missing, cannot be read or is empty.
        ConfigurationError: A setting is wrong.
        StoreError: Credentials, bucket, region or endpoint are wrong; nothing was sent.
        StoreUnavailableError: The store cannot be reached at the moment; nothing was sent.
    """
    target = UploadTarget(bucket_name, s3_prefix)
    report = upload_to(target, Path(local_directory), load_settings(), _log)
    _LOG.info("%s: %s", report.address, report.summary)
    return report


def _log(event: UploadEvent) -> None:
    file = event.file
    if file is None:
        _LOG.info("Uploading %d files, %d bytes", event.total, event.total_bytes)
        return
    level = logging.ERROR if file.status is UploadStatus.FAILED else logging.INFO
    _LOG.log(level, "[%d/%d] %s %s %s", event.number, event.total, file.status, file.path, file.problem or "")


def upload_to(
    target: UploadTarget,
    folder: Path,
    settings: Settings,
    listener: UploadListener | None = None,
    progress: Progress | None = None,
) -> UploadReport:
    """Upload a folder with the credentials of the settings; see :func:`upload_directory_to_s3` for the errors."""
    chosen = settings.model_copy(update={"use_s3_data": True, "bucket": target.bucket, "lake_prefix": ""})
    digests = open_digest_cache(settings)
    compressor = None
    if target.compression is not None:
        compressor = Compressor(target.compression, digests, settings.state_dir.absolute() / "scratch")
    store = open_store(chosen, for_writing=True)
    store.check_access()
    return upload_folder(
        folder,
        store,
        target.prefix,
        digests=digests,
        compressor=compressor,
        listener=listener,
        progress=progress,
    )


def upload_folder(
    folder: Path,
    store: ObjectStore,
    prefix: str,
    *,
    digests: DigestCache,
    compressor: Compressor | None = None,
    listener: UploadListener | None = None,
    progress: Progress | None = None,
) -> UploadReport:
    """Copy every regular file of a folder into a store, unless its content is there already.

    Nothing is deleted. A file that fails does not stop the others, but an error that would affect every file does. The
    smallest new file is sent alone first, so such an error occurs only once. One listing finds the existing objects;
    the digest of an object of the same size as the file is requested once and then cached.

    Args:
        folder: The folder, only read. Links that leave it and links to folders are refused, each reported by name.
        store: The target store.
        prefix: Prefix of the keys, before the path relative to the folder; may be empty.
        digests: Cache of the digests of local files.
        compressor: Compresses text files before upload; its suffix is added to their keys.
        listener: Called at the start and for each finished file.
        progress: Called with the number of bytes moved, from several threads.

    Raises:
        SourceError: The folder is missing, cannot be read or is empty.
        ConfigurationError: The prefix is not valid in a key.
        StoreError: The store cannot be listed; nothing was sent.
        StoreUnavailableError: The store cannot be reached at the moment; nothing was sent.
    """
    start = _checked_prefix(prefix)
    found = scan_folder(folder)
    stored = {item.key: item for item in store.list(start)}
    files, refused = _plan(found.files, start, compressor)
    refused = [_refused(path, reason) for path, reason in (*found.refused, *found.skipped)] + refused
    upload = _Upload(store, digests, compressor, stored, files)
    event = UploadEvent(len(refused) + len(files), found.bytes)
    report_event = listener or (lambda _: None)
    report_event(event)
    outcomes: list[UploadedFile] = []
    with closing(upload.run(progress)) as uploaded:
        for outcome in chain(refused, uploaded):
            outcomes.append(outcome)
            report_event(replace(event, number=len(outcomes), file=outcome))
    return UploadReport(
        address=f"{store.uri}/{start}".rstrip("/"),
        files=tuple(sorted(outcomes, key=lambda outcome: outcome.path)),
        bytes_sent=upload.bytes_sent,
        stopped_by=upload.stopped_by,
        other_forms=tuple(sorted(_other_forms(files, start) & stored.keys())),
    )


class _Upload:
    """One upload: its files by key, and the objects already in the bucket."""

    def __init__(
        self,
        store: ObjectStore,
        digests: DigestCache,
        compressor: Compressor | None,
        stored: dict[str, ObjectInfo],
        files: dict[str, LocalFile],
    ) -> None:
        self._store = store
        self._digests = digests
        self._compressor = compressor
        self._stored = stored
        self._files = files
        self.stopped_by: ApexError | None = None
        self.bytes_sent = 0

    def run(self, progress: Progress | None) -> Generator[UploadedFile]:
        """Copy the files and yield each as it is finished."""
        items = [CopyItem(file.local_path, key) for key, file in self._files.items()]
        new = (item for item in items if item.key not in self._stored)
        first = min(new, key=lambda item: self._files[item.key].size, default=None)
        others = [item for item in items if item is not first]
        with closing(iter_copies(others, self._copy, progress, first=first)) as results:
            for result in results:
                yield self._outcome(result)

    def _outcome(self, result: CopyResult) -> UploadedFile:
        problem = None
        if isinstance(result, CopyItem):
            status = UploadStatus.NOT_TRIED
        elif isinstance(result, CopyFailure):
            status, problem = UploadStatus.FAILED, str(result.error)
            if result.stops_all:
                self.stopped_by = self.stopped_by or result.error
        else:
            status = UploadStatus.UPLOADED if result.is_new else UploadStatus.UNCHANGED
            self.bytes_sent += result.size if result.is_new else 0
        key = result.key if isinstance(result, CopyItem) else result.item.key
        return UploadedFile(self._files[key].path, key, self._files[key].size, status, problem)

    def _copy(self, item: CopyItem, progress: Progress) -> CopiedFile:
        """Copy one file; called from several threads."""
        stored = self._stored.get(item.key)
        if self._compressor is not None and is_compressible(item.path.name):
            return self._copy_compressed(item, self._compressor, stored, progress)
        is_candidate = stored is not None and stored.size == self._files[item.key].size
        return self._send(item, self._recorded_digest(stored) if is_candidate else NOT_STORED, progress)

    def _copy_compressed(
        self, item: CopyItem, compressor: Compressor, stored: ObjectInfo | None, progress: Progress
    ) -> CopiedFile:
        source = self._digests.digest_of(item.path)
        recorded = self._recorded_digest(stored)
        if stored is not None and recorded == compressor.known_digest(source):
            return CopiedFile(item, stored.size, recorded, is_new=False)
        with compressor.compressed(item.path, source) as path:
            return replace(self._send(replace(item, path=path), recorded, progress), item=item)

    def _send(self, item: CopyItem, recorded: str, progress: Progress) -> CopiedFile:
        copied = copy_file(self._store, item, recorded, self._digests, progress)
        if copied.is_new:
            version = self._version(item.key, str(copied.tag))
            self._digests.put_trusted(version, FileState(copied.size, 0, 0), copied.sha256)
        return copied

    def _recorded_digest(self, stored: ObjectInfo | None) -> str:
        """Return the digest recorded with an object, requested once per version; ``NOT_STORED`` if it has none."""
        if stored is None:
            return NOT_STORED
        version, state = self._version(stored.key, stored.tag), FileState(stored.size, 0, 0)
        known = stored.sha256 or self._digests.get(version, state)
        if known is not None:
            return known
        found = self._store.head(stored.key)
        if found is None or found.sha256 is None or found.tag != stored.tag:
            return NOT_STORED
        self._digests.put_trusted(version, state, found.sha256)
        return found.sha256

    def _version(self, key: str, tag: str) -> Path:
        """Return the path of an object's version in the digest cache; no local file can have it."""
        return Path(f"/{self._store.uri_of(key)}#{tag}")


def _plan(
    files: tuple[LocalFile, ...], start: str, compressor: Compressor | None
) -> tuple[dict[str, LocalFile], list[UploadedFile]]:
    """Return the files by key, and the outcome of those without a valid key."""
    paths = frozenset(file.path for file in files)
    by_key: dict[str, LocalFile] = {}
    refused: list[UploadedFile] = []
    for file in files:
        is_compressed = compressor is not None and is_compressible(file.path)
        target = file.path + (compressor.ending if compressor is not None and is_compressed else "")
        try:
            if is_compressed and target in paths:
                raise SourceError(
                    f"If compressed, it would overwrite {target} in the same folder.", "Remove one of the two files."
                )
            by_key[check_key(start + target)] = file
        except ApexError as error:
            refused.append(UploadedFile(file.path, None, file.size, UploadStatus.FAILED, str(error)))
    return by_key, refused


def _checked_prefix(prefix: str) -> str:
    """Return the start of every key: the prefix with one trailing slash, or an empty string."""
    start = prefix.strip("/")
    try:
        return f"{check_prefix(start)}/" if start else ""
    except UnsafeKeyError as error:
        raise ConfigurationError(
            f"{prefix!r} is not a valid key prefix: {error.problem}", "Choose a prefix such as data or races/2025."
        ) from error


def _refused(path: str, reason: str) -> UploadedFile:
    hint = "Replace it with the file itself, grant read permission, or remove it."
    return UploadedFile(path, None, 0, UploadStatus.FAILED, f"Not uploaded: {reason}. {hint}")


def _other_forms(files: dict[str, LocalFile], start: str) -> set[str]:
    """Return the keys these files would have in their other forms, compressed or not."""
    plain = [start + file.path for file in files.values() if is_compressible(file.path)]
    endings = ("", *(compression.ending for compression in Compression))
    return {key + ending for key in plain for ending in endings} - files.keys()

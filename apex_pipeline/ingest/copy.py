"""Copies files from the source folder into the lake, and reports those that could not be copied.

See ``discover.py`` for which files, and ``storage/copy.py`` for the copying itself.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from apex_pipeline.errors import FileChangedError, PermanentError, TransientError
from apex_pipeline.ingest.source_folder import SourceFile
from apex_pipeline.lake.records import RecordedFile
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.copy import CopiedFile, CopyItem, CopyReport, copy_files
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key, raw_path


def copy_source_files(
    store: ObjectStore,
    files: Sequence[SourceFile],
    digest_cache: DigestCache,
    progress: Progress | None = None,
    stored: dict[str, ObjectInfo] | None = None,
) -> CopyReport:
    """Copy files of the source folder into the lake, unless it has their content already.

    Args:
        store: The lake.
        files: The files.
        digest_cache: Digests of local files.
        progress: Called with the number of bytes just copied.
        stored: Receives, by path, each object that is now in the lake.

    Raises:
        TransientError: Some files were not copied, but a retry may copy all of them; the others were copied.
        PermanentError: Some files were not copied, and at least one will fail again unless something changes; the
            others were copied.
    """
    items = [CopyItem(path=file.local_path, key=raw_key(file.path)) for file in files]
    report = copy_files(store, items, digest_cache, progress=progress)
    if stored is not None:
        stored.update({raw_path(file.item.key): _object_of(store, file) for file in report.copied + report.unchanged})
    if not report:
        _raise_failures(report, items)
    return report


def _object_of(store: ObjectStore, file: CopiedFile) -> ObjectInfo:
    """Return the object of a copied file; one that was there already is looked up."""
    if file.tag is not None:
        return ObjectInfo(file.item.key, file.size, datetime.now(UTC), file.tag, file.sha256)
    found = store.head(file.item.key)
    if found is None:
        raise FileChangedError(f"{file.item.key} was removed while it was copied.", "Run the sync again.")
    return found


def recorded_version(files: Iterable[RecordedFile]) -> str:
    """Return a hash of the paths and contents of recorded files."""
    return _version_of((file.path, file.content_version or "") for file in files)


def observed_version(files: Iterable[RecordedFile], copies: Iterable[SourceFile]) -> str:
    """Return a hash of a session's files before they are copied: of contents where known, else of sizes and times.

    Args:
        files: The session's files.
        copies: Those of them that are not in the lake yet; gigabytes are not read only to say that they are new.
    """
    states = {file.path: f"{file.size} bytes of {file.mtime_ns}" for file in copies}
    return _version_of((file.path, file.sha256 or states.get(file.path, "")) for file in files)


def _version_of(files: Iterable[tuple[str, str]]) -> str:
    lines = sorted(f"{path}\t{sha256}" for path, sha256 in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _raise_failures(report: CopyReport, items: list[CopyItem]) -> None:
    """Raise one error that names every file that was not copied, in the order of ``items``."""
    errors = {failure.item: failure.error for failure in report.failed}
    # Files that were not attempted get the error that stopped the batch.
    stopped_by = report.stopped_by or PermanentError("Copying was stopped.", "Run the sync again.")
    errors |= dict.fromkeys(report.not_tried, stopped_by)
    failed = [(raw_path(item.key), errors[item]) for item in items if item in errors]
    problem = "; ".join(f"{path}: {error.problem}" for path, error in failed)
    kind = PermanentError if any(error.is_permanent for _, error in failed) else TransientError
    raise kind(f"{len(failed)} of {len(items)} files were not copied. {problem}", failed[0][1].hint)

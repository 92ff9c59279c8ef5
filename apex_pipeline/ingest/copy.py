"""Copies the files of one session, or those that belong to no session, from the source folder into the lake.

Selects the files and reports failed copies; see ``storage/copy.py`` for the copying itself.
"""

import hashlib
from collections.abc import Callable, Iterable

from apex_pipeline.errors import PermanentError, TransientError
from apex_pipeline.ingest.plan import session_key_of
from apex_pipeline.ingest.source_folder import SourceFile, SourceFolder
from apex_pipeline.progress import Progress
from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.copy import CopyItem, CopyReport, copy_files
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key, raw_path
from apex_pipeline.tables.session_key import SessionKey


def copy_session(
    key: SessionKey | None,
    store: ObjectStore,
    folder: SourceFolder | None,
    identify: Callable[[SourceFolder], list[FileIdentity]],
    digest_cache: DigestCache,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy the files of a session that are not in the lake yet.

    Args:
        key: The session; ``None`` for the files that belong to no session.
        store: The lake.
        folder: The source folder; ``None`` if there is no folder and the files should already be in the lake.
        identify: Returns the identities of the folder's files.
        digest_cache: Digests of local files.
        progress: Called with the number of bytes just copied.

    Raises:
        TransientError: Some files were not copied, but a retry may copy all of them; the others were copied.
        PermanentError: Some files were not copied, and at least one will fail again unless something changes; the
            others were copied.
    """
    chosen = _select(key, folder, identify) if folder else []
    items = [CopyItem(path=file.local_path, key=raw_key(file.path)) for file in chosen]
    report = copy_files(store, items, digest_cache, progress=progress)
    if not report:
        _raise_failures(report, items)
    return report


def content_version(files: Iterable[SourceFile], digest_cache: DigestCache, progress: Progress | None = None) -> str:
    """Return a hash of the paths and contents; ``progress`` is called with the number of bytes read."""
    return _version_of((file.path, digest_cache.sha256_of(file.local_path, progress)) for file in files)


def copied_version(report: CopyReport) -> str:
    """Return the :func:`content_version` of the files in the lake after a copy."""
    return _version_of((raw_path(file.item.key), file.sha256) for file in report.copied + report.unchanged)


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


def _select(
    key: SessionKey | None, folder: SourceFolder, identify: Callable[[SourceFolder], list[FileIdentity]]
) -> list[SourceFile]:
    wanted = {
        item.path for item in identify(folder) if item.status is not FileStatus.IGNORED and session_key_of(item) == key
    }
    return [file for file in folder.files if file.path in wanted]

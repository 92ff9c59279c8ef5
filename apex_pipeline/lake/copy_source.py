"""Bring the files of one session, or those of none, from the source folder into the lake.

Here belongs choosing the files and judging the outcome; the copying itself is ``storage/copying.py``.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from apex_pipeline.errors import ApexError, PermanentError, TransientError
from apex_pipeline.lake.plan import session_of
from apex_pipeline.lake.source_folder import SourceFile, SourceFolder
from apex_pipeline.progress import Progress
from apex_pipeline.session_key import SessionKey
from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.copying import CopyItem, CopyReport, copy_files
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.layout import raw_key


@dataclass(frozen=True)
class CopyOutcome:
    """What one copying did.

    Attributes:
        paths: Files that are in the lake now, relative to the source folder.
        copied: Number of files written.
        unchanged: Number of files that were there with this content.
        bytes: Bytes written.
        failed: Path and error of every file that could not be copied.
        content_version: Fingerprint of paths and contents.
    """

    paths: tuple[str, ...]
    copied: int
    unchanged: int
    bytes: int
    failed: tuple[tuple[str, ApexError], ...]
    content_version: str

    def raise_failures(self) -> None:
        """Raise one error that names every file that failed, after all others were copied.

        Raises:
            TransientError: Every failure may be gone on the next try.
            PermanentError: At least one needs a change first.
        """
        if not self.failed:
            return
        problem = "; ".join(f"{path}: {error.problem}" for path, error in self.failed)
        kind = PermanentError if any(error.is_permanent for _, error in self.failed) else TransientError
        raise kind(
            f"{len(self.failed)} of {len(self.failed) + len(self.paths)} files were not copied. {problem}",
            self.failed[0][1].remedy,
        )


def copy_files_of(
    key: SessionKey | None,
    store: ObjectStore,
    folder: SourceFolder | None,
    identify: Callable[[SourceFolder], list[FileIdentity]],
    fingerprints: Fingerprints,
    progress: Progress | None = None,
) -> CopyOutcome:
    """Copy what the lake does not hold yet of a session's files.

    Args:
        key: The session; ``None`` for the files that belong to no session.
        store: The lake.
        folder: The source folder; ``None`` where there is none and the files are expected to be in the lake already.
        identify: Tells what the folder's files are.
        fingerprints: Digests of local files.
        progress: Told about bytes as they move.
    """
    chosen = _choose(key, folder, identify) if folder else []
    items = [CopyItem(path=file.on_disk, key=raw_key(file.path)) for file in chosen]
    report = copy_files(store, items, fingerprints, progress=progress)
    failed = {failure.item.key: failure.error for failure in report.failed}
    failed |= {item.key: _stopped(report) for item in report.not_tried}
    done = [file for file in chosen if raw_key(file.path) not in failed]
    return CopyOutcome(
        paths=tuple(file.path for file in done),
        copied=len(report.copied),
        unchanged=len(report.unchanged),
        bytes=report.bytes_copied,
        failed=tuple((file.path, failed[raw_key(file.path)]) for file in chosen if raw_key(file.path) in failed),
        content_version=content_version(done, fingerprints),
    )


def _stopped(report: CopyReport) -> ApexError:
    """Return the error that a file was not tried for: the one that stopped the batch."""
    return report.stopped_by or PermanentError("Copying was stopped.", "Run the sync again.")


def content_version(files: Iterable[SourceFile], fingerprints: Fingerprints, progress: Progress | None = None) -> str:
    """Return a fingerprint of paths and contents; ``progress`` is told about bytes that have to be read for it."""
    lines = sorted(f"{file.path}\t{fingerprints.sha256_of(file.on_disk, progress)}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _choose(
    key: SessionKey | None, folder: SourceFolder, identify: Callable[[SourceFolder], list[FileIdentity]]
) -> list[SourceFile]:
    wanted = {
        item.path for item in identify(folder) if item.status is not FileStatus.IGNORED and session_of(item) == key
    }
    return [file for file in folder.files if file.path in wanted]


__all__ = ["CopyOutcome", "content_version", "copy_files_of"]

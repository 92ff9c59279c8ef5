"""The work on one session: which files to copy, and the record to write once they are copied.

A sync finds the work of all sessions at once and hands each session's over; a run that was started in Dagster's UI, or
on another machine, finds that of its own session itself. See ``discover.py``.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from apex_pipeline.errors import LeaseLostError, SourceError, StoreCorruptionError
from apex_pipeline.ingest.copy import copy_source_files, observed_version, recorded_version
from apex_pipeline.ingest.discover import Discovery, discover
from apex_pipeline.ingest.source_files import SourceFile, SourceListing
from apex_pipeline.lake.forgotten import read_forgotten
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.records import (
    RecordedFile,
    SessionRecord,
    UnassignedRecord,
    change_unassigned,
    read_record_with_tag,
    read_unassigned,
    replace_record,
    require_usable,
    session_record,
    with_stored,
)
from apex_pipeline.progress import Progress
from apex_pipeline.settings import Settings
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.copy import CopyReport
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import record_key
from apex_pipeline.storage.leases import Holder, Lease, held
from apex_pipeline.tables.session_key import SessionKey


@dataclass
class SessionWork:
    """The work on one session.

    Attributes:
        key: The session.
        files: Its files as the discovery identified them; those still to be copied have no tag.
        copies: The files of the source folder to copy.
        stored: Objects that this work has written, by path.
        progress: Called with the number of bytes just copied.
        published: What is published of the session, if all of it is intact and no run of the session was left
            unfinished; else ``None``.
        store: The lake to work on; ``None`` if the run opens it.
    """

    key: SessionKey
    files: tuple[RecordedFile, ...]
    copies: tuple[SourceFile, ...] = ()
    stored: dict[str, ObjectInfo] = field(default_factory=dict[str, ObjectInfo])
    progress: Progress | None = None
    published: PublishedSession | None = None
    store: ObjectStore | None = None


@dataclass
class UnassignedWork:
    """The work on the files that belong to no session.

    Attributes:
        files: All of them as the discovery identified them; those still to be copied have no tag. ``None`` if their
            record does not change.
        copies: The files of the source folder to copy.
        stored: Objects that this work has written, by path.
        found: The discovery.
        store: The lake to work on; ``None`` if the run opens it.
    """

    files: tuple[RecordedFile, ...] | None
    copies: tuple[SourceFile, ...] = ()
    stored: dict[str, ObjectInfo] = field(default_factory=dict[str, ObjectInfo])
    found: Discovery | None = None
    store: ObjectStore | None = None


# Waiting longer would hide that the other process makes no progress; a session of 3.6 GB takes less than a minute.
_LONGEST_WAIT_S = 900.0

_prepared: ContextVar[SessionWork | UnassignedWork | None] = ContextVar("session_work", default=None)
_lease: ContextVar[Lease | None] = ContextVar("session_lease", default=None)


@contextmanager
def session_lease(
    store: ObjectStore,
    key: SessionKey,
    doing: str,
    on_wait: Callable[[Holder], None] = lambda _: None,
    timeout_s: float = _LONGEST_WAIT_S,
) -> Generator[Lease]:
    """Hold the lease of a session within the block; a block inside another one of the same session shares its lease.

    Args:
        store: The lake.
        key: The session.
        doing: What is done, for the messages of other processes.
        on_wait: Called when another process holds the lease.
        timeout_s: Longest wait in seconds.

    Raises:
        StoreLockedError: Another process still holds the lease after the longest wait.
        LeaseLostError: This process was stopped for so long that another one has taken the lease over.
    """
    outer = _lease.get()
    if outer is not None and outer.name == str(key):
        outer.require()
        yield outer
        return
    with held(store, str(key), doing, on_wait, timeout_s) as lease:
        token = _lease.set(lease)
        try:
            yield lease
        finally:
            _lease.reset(token)


@contextmanager
def prepared(work: SessionWork | UnassignedWork) -> Generator[None]:
    """Hand over work to the run that is executed inside the block."""
    token = _prepared.set(work)
    try:
        yield
    finally:
        _prepared.reset(token)


def find_work(
    key: SessionKey, store: ObjectStore, folder: SourceListing | None, settings: Settings, digest_cache: DigestCache
) -> SessionWork:
    """Return the work on a session: the one handed over, or what a discovery of its own finds.

    Args:
        key: The session.
        store: The lake.
        folder: The source folder, if there is one here.
        settings: The user's own rules.
        digest_cache: Digests of local files.

    Raises:
        SourceError: Neither the lake nor the source folder has a file of this session.
    """
    return handed_over_work(key) or work_of(key, discover(store, settings, folder, digest_cache))


def handed_over_work(key: SessionKey) -> SessionWork | None:
    """Return the work on a session if it was handed over to this run."""
    work = _prepared.get()
    return work if isinstance(work, SessionWork) and work.key == key else None


def handed_over_store() -> ObjectStore | None:
    """Return the lake that was handed over to this run with its work."""
    work = _prepared.get()
    return work.store if work else None


def work_of(key: SessionKey, found: Discovery) -> SessionWork:
    """Return the work on one session of a discovery.

    Raises:
        SourceError: The discovery found no file of this session.
    """
    files = found.files_of(key)
    if not files:
        known = ", ".join(map(str, found.sessions[:5])) or "none"
        raise SourceError(
            f"No file of the session {key} was found, neither in the lake {found.lake} nor in the source folder.",
            f"Check the spelling of the partition; sessions with files: {known}.",
        )
    return SessionWork(key, files, found.copies.by_session.get(key, ()))


def find_unassigned_work(
    store: ObjectStore, folder: SourceListing | None, settings: Settings, digest_cache: DigestCache
) -> UnassignedWork:
    """Return the work on the files that belong to no session; arguments as for :func:`find_work`."""
    return handed_over_unassigned_work() or unassigned_work_of(discover(store, settings, folder, digest_cache))


def handed_over_unassigned_work() -> UnassignedWork | None:
    """Return the work on the files without a session if it was handed over to this run."""
    work = _prepared.get()
    return work if isinstance(work, UnassignedWork) else None


def unassigned_work_of(found: Discovery) -> UnassignedWork:
    """Return the work on the files of a discovery that belong to no session."""
    return UnassignedWork(found.unassigned, found.copies.without_session, found=found)


def are_recorded(found: Discovery, files: pa.Table) -> bool:
    """Return whether every file that a discovery identified is recorded like that, or will be identified again anyway.

    Args:
        found: The discovery.
        files: The roll-up ``files`` as it is now. A file that is not in it, or has another tag, is identified again.
    """
    names = ("path", "store_tag", "kind", "version", "track", "session", "status")
    rows = zip(*(files[name].to_pylist() for name in names), strict=True)
    recorded: dict[str, list[Any]] = {path: identity for path, *identity in rows}
    listed = [*(file for files in found.changed.values() for file in files), *(found.unassigned or ())]
    for file in listed:
        tag, *identity = recorded.get(file.path, [None])
        wanted = [file.kind, file.version, file.track, file.session, file.status.value]
        if file.path in recorded and tag == file.tag and identity != wanted:
            return False
    return True


def write_unassigned_work(work: UnassignedWork, store: ObjectStore) -> UnassignedRecord:
    """Write the record of the files without a session if it changed, and return it.

    A file that could not be copied is left out; the next discovery finds it again. A file that another process has
    recorded since the discovery stays, and one that was taken out since does not come back.
    """
    if work.files is None:
        return read_unassigned(store)
    pending = {file.path for file in work.copies} - work.stored.keys()
    own = [file for file in with_stored(work.files, work.stored) if file.path not in pending]
    seen = {file.path for file in work.files} | (work.found.paths if work.found else set())
    forgotten = read_forgotten(store)

    def merged(present: tuple[RecordedFile, ...]) -> Iterable[RecordedFile]:
        files = [*own, *(file for file in present if file.path not in seen)]
        return (file for file in files if not forgotten.has(file.path, file.sha256))

    return change_unassigned(store, merged)


def copy_work(
    work: SessionWork | UnassignedWork, store: ObjectStore, digest_cache: DigestCache, progress: Progress | None = None
) -> CopyReport:
    """Copy the files that are not in the lake yet, and note the objects written.

    Raises:
        TransientError: Some files were not copied, but a retry may copy all of them; the others were copied.
        PermanentError: Some files were not copied, and at least one will fail again unless something changes.
    """
    own = work.progress if isinstance(work, SessionWork) else None
    return copy_source_files(store, work.copies, digest_cache, own or progress, work.stored)


def source_version(work: SessionWork, digest_cache: DigestCache, progress: Progress | None = None) -> str:
    """Return a hash of the paths and contents of a session's files; those to be copied are hashed.

    Objects of a source bucket are not read only for this: their versions stand for their contents.

    Args:
        work: The work on the session.
        digest_cache: Digests of local files.
        progress: Called with the number of bytes just read.
    """
    if any(file.is_remote for file in work.copies):
        return observed_version(work.files, work.copies)
    digests = {file.path: file.sha256(digest_cache, progress) for file in work.copies}
    return recorded_version(replace(file, sha256=digests.get(file.path, file.sha256)) for file in work.files)


def write_work_record(
    work: SessionWork, store: ObjectStore, require_lease: Callable[[], None] = lambda: None
) -> SessionRecord:
    """Write the session's record if it changed, and return it.

    Args:
        work: The work on the session.
        store: The lake.
        require_lease: Raises an error if this process no longer holds the session's lease.

    Raises:
        LeaseLostError: This process lost the session's lease; another one's record stays.
        SourceError: A file of the session has not been copied.
        ObjectMissingError: None of the session's files can be used.
    """
    record = record_of(work)
    missing = [file.path for file in record.files if file.is_in_use and file.tag is None]
    if missing:
        raise SourceError(
            f"{len(missing)} files of the session {work.key} are not in the lake yet: {', '.join(missing[:5])}.",
            f"Materialize the asset lake/files of the partition {work.key} first.",
        )
    require_usable(record)
    before, tag = _recorded(store, work.key)
    # Not earlier: what the next holder of the lease records is then certain to have another tag.
    require_lease()
    if before != record and not replace_record(store, record, tag):
        raise LeaseLostError(
            f"The record of {work.key} has been replaced by another process while this one worked on it.",
            "That record stays. Run the sync again.",
        )
    return record


def record_of(work: SessionWork) -> SessionRecord:
    """Return the session's record with what has been copied so far; a file that is set aside may not be in the lake."""
    return session_record(work.key, with_stored(work.files, work.stored))


def _recorded(store: ObjectStore, key: SessionKey) -> tuple[SessionRecord | None, str | None]:
    """Return a session's record, ``None`` if it is missing or damaged, and the tag of what is there."""
    try:
        return read_record_with_tag(store, key) or (None, None)
    except StoreCorruptionError:
        found = store.head(record_key(str(key)))
        return None, found.tag if found else None

"""Takes a race in: the one entry for HTTP, the command line and Python.

The order makes every crash harmless. The bytes are stored first; then the row and its place in the outbox are written
in one transaction; then the race is put into the queue. After a crash before the transaction there are bytes that no
row names, which ``apex gc`` removes after a day; after a crash behind it the reaper goes on from the outbox.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from apex_pipeline.errors import SourceError, StoreConfigError
from apex_pipeline.races.errors import (
    DatabaseUnavailableError,
    EmptyUploadError,
    QueueUnavailableError,
    RaceTooLargeError,
)
from apex_pipeline.races.models import MOST_ATTEMPTS, OutboxEntry, Race, RaceStatus
from apex_pipeline.races.outbox import dispatch_one, put_again
from apex_pipeline.races.services import RaceServices
from apex_pipeline.races.state import WORKER_LOST
from apex_pipeline.settings import Settings
from apex_pipeline.storage.layout import race_blob_key

_LOG = logging.getLogger(__name__)

_UPLOADED = "Race data uploaded successfully. Processing in background."
_KNOWN = "The same race data has been uploaded before."
_RETRIED = "The same race data has been uploaded before, and its processing was interrupted. It is processed again."
# Failures that say nothing about the bytes: the same upload may succeed now.
_WORTH_A_RETRY = (WORKER_LOST, "store unavailable")
_KNOWN_RACE = select(Race.race_id, Race.status, Race.error_class, Race.job_id).where(
    Race.unique_sha256 == bindparam("sha256"), Race.deleted_at.is_(None)
)


@dataclass(frozen=True)
class Submission:
    """The answer to an upload.

    Attributes:
        race_id: The race.
        status: Its status now.
        job_id: The job that processes it.
        message: What happened, for people.
        duplicate_of: The race with the same bytes, if there was one: then it is this race.
    """

    race_id: str
    status: str
    job_id: str
    message: str
    duplicate_of: str | None = None


@dataclass(frozen=True)
class Upload:
    """A race that was hashed while it arrived.

    Attributes:
        source: The compressed race, or a file that contains it.
        sha256: Its digest.
    """

    source: bytes | Path
    sha256: str


def submit_race(services: RaceServices, upload: Upload | bytes | Path, *, force: bool = False) -> Submission:
    """Store a race, register it and put it into the queue.

    Args:
        services: Database, store and queue.
        upload: The compressed race, or a file that contains it.
        force: Make a new race even if the same bytes were uploaded before.

    Raises:
        EmptyUploadError: There are no bytes.
        RaceTooLargeError: There are more than ``MAX_RACE_MB``.
        SourceError: The file cannot be read.
        DatabaseUnavailableError: The database cannot be reached; nothing is registered.
        QueueUnavailableError: The queue cannot be reached; nothing is registered.
        StoreError: The store refused the bytes; nothing is registered.
    """
    source = upload.source if isinstance(upload, Upload) else upload
    size = len(source) if isinstance(source, bytes) else _size_of(source)
    check_size(services.settings, size)
    sha256 = upload.sha256 if isinstance(upload, Upload) else _digest_of(source)
    known = None if force else _find_known(services, sha256)
    if known is not None:
        return known
    services.queue.check()
    race_id = str(uuid4())
    key = race_blob_key(race_id)
    _store(services, key, source, sha256)
    row = _new_row(race_id, services.store.uri_of(key), sha256, size, is_unique=not force)
    if not _register(services, row):
        services.store.delete(key)  # another upload of the same bytes was faster
        return _find_known(services, sha256) or submit_race(services, upload)
    job_id = str(row["job_id"])
    _dispatch(services, race_id, job_id)
    return Submission(race_id, RaceStatus.PROCESSING, job_id, _UPLOADED)


def check_size(settings: Settings, size: int) -> None:
    """Raise an error if an upload of this size is not accepted.

    Raises:
        EmptyUploadError: There are no bytes.
        RaceTooLargeError: There are more than ``MAX_RACE_MB``.
    """
    if size == 0:
        raise EmptyUploadError("The upload is empty.", "Send the compressed race data.")
    if size > settings.max_race_bytes:
        raise RaceTooLargeError(
            f"The upload is larger than {settings.max_race_mb} MB.",
            "Split the recording, or raise MAX_RACE_MB where the API runs.",
        )


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error


def _digest_of(source: bytes | Path) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{source} cannot be read: {error.strerror}.", "Check the path.") from error


def _store(services: RaceServices, key: str, source: bytes | Path, sha256: str) -> None:
    try:
        _write(services, key, source, sha256)
    except StoreConfigError:
        services.store.check_access()  # creates the bucket at the first upload, if it may; else it names the setting
        _write(services, key, source, sha256)


def _write(services: RaceServices, key: str, source: bytes | Path, sha256: str) -> None:
    if isinstance(source, bytes):
        services.store.write_bytes(key, source)
    else:
        services.store.write_file(key, source, sha256=sha256)


def _new_row(race_id: str, uri: str, sha256: str, size: int, *, is_unique: bool) -> dict[str, str | int | None]:
    return {
        "race_id": race_id,
        "status": RaceStatus.PROCESSING,
        "raw_data_path": uri,
        "sha256": sha256,
        "size_bytes": size,
        "unique_sha256": sha256 if is_unique else None,
        "job_id": str(uuid4()),
        "attempts": 0,
        "attempts_limit": MOST_ATTEMPTS,
        "published_attempt": 0,
        "reported_attempt": 0,
    }


def _register(services: RaceServices, row: dict[str, str | int | None]) -> bool:
    """Write the row and its outbox entry; return ``False`` if a race with the same bytes exists."""
    now = services.database.now
    try:
        with services.database.writing() as session:
            # Values that are parameters leave the statements alike, so they are compiled once.
            connection, race_id = session.connection(), {"race_id": row["race_id"]}
            connection.execute(insert(Race).values(created_at=now, updated_at=now, dispatched_at=now), row)
            connection.execute(insert(OutboxEntry).values(created_at=now), race_id)
    except IntegrityError:
        return False
    return True


def _dispatch(services: RaceServices, race_id: str, job_id: str) -> None:
    """Put the race into the queue; it is registered, so what fails here is done by the reaper."""
    try:
        dispatch_one(services.database, services.queue, race_id, job_id)
    except (QueueUnavailableError, DatabaseUnavailableError) as error:
        _LOG.warning("The race %s waits in the outbox: %s", race_id, error.problem)


def _find_known(services: RaceServices, sha256: str) -> Submission | None:
    """Return the answer for bytes that were uploaded before; a race that was interrupted is put into the queue."""
    row = services.database.fetch_one(_KNOWN_RACE, sha256=sha256)
    if row is None:
        return None
    race_id, status, error_class, job_id = row
    if status is not RaceStatus.FAILED or error_class not in _WORTH_A_RETRY:
        return Submission(race_id, status, job_id, _KNOWN, duplicate_of=race_id)
    return _retry(services, race_id) or _find_known(services, sha256)


def _retry(services: RaceServices, race_id: str) -> Submission | None:
    """Put a race that was interrupted into the queue; ``None`` if it is not such a race any more."""
    interrupted = select(Race).where(
        *(Race.race_id == race_id, Race.deleted_at.is_(None), Race.status == RaceStatus.FAILED),
        Race.error_class.in_(_WORTH_A_RETRY),
    )
    with services.database.writing() as session:
        race = session.scalar(interrupted.with_for_update())
        if race is None:
            return None
        race.status, race.error_class, race.error = RaceStatus.PROCESSING, None, None
        race.attempts_limit = race.attempts + MOST_ATTEMPTS
        session.flush()
        job_id = put_again(session, services.database, race_id)
    _dispatch(services, race_id, job_id)
    return Submission(race_id, RaceStatus.PROCESSING, job_id, _RETRIED, duplicate_of=race_id)

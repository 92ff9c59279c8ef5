"""Processes one race: the one function that RQ, Dagster and the command line call.

It owns nothing but its attempt. Whatever happens to its process, the row of the race stays right: see ``state.py`` for
the fence and ``reaper.py`` for what follows a death.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from apex_pipeline.errors import (
    ApexError,
    ObjectMissingError,
    SchemaViolationError,
    StoreCorruptionError,
    StoreError,
    TransientError,
)
from apex_pipeline.races.errors import (
    AttemptLostError,
    DatabaseUnavailableError,
    RaceFailedError,
    RaceNotReadyError,
)
from apex_pipeline.races.models import Lap, Race
from apex_pipeline.races.results import remove_race_objects, remove_stale_laps, write_results
from apex_pipeline.races.services import RaceServices
from apex_pipeline.races.state import (
    HEARTBEAT_S,
    Attempt,
    Published,
    beat,
    claim,
    fail,
    give_back,
    publish,
)
from apex_pipeline.sources.ams2.errors import RecordingError
from apex_pipeline.sources.ams2.limits import DEFAULT_LIMITS
from apex_pipeline.sources.ams2.recording import PARSER_VERSION, Recording, read_recording
from apex_pipeline.storage.layout import race_blob_key

_LOG = logging.getLogger(__name__)

# A database that is restarted is back within seconds; the work of an attempt is worth this wait.
_PERSIST_ATTEMPTS: Final = 10
_PERSIST_PAUSE_S: Final = 3.0
_DRAIN_BYTES: Final = 1_048_576

# What people are told about failures that are not the recording's.
_CLASSES: Final[dict[type[ApexError], str]] = {
    ObjectMissingError: "upload missing",
    StoreCorruptionError: "upload damaged",
    SchemaViolationError: "internal error",
    StoreError: "store refused",
    TransientError: "store unavailable",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a race.

    Attributes:
        status: ``Ready`` or ``Failed``; ``skipped`` if another attempt is at work or nothing was to be done;
            ``interrupted`` if a fault that may not recur ended the attempt.
        laps: Published laps.
        error: Why it failed; empty if it did not.
        attempt: Number of the attempt; 0 if there was none.
    """

    status: str
    laps: int = 0
    error: str = ""
    attempt: int = 0


def process_race(services: RaceServices, race_id: str, *, job_id: str | None = None, again: bool = False) -> Outcome:
    """Read a race and publish its laps.

    Args:
        services: Database and store.
        race_id: The race.
        job_id: The job or run that works on it, if it is not the one it was put into the queue with.
        again: Process it although it is ready or has failed.

    Raises:
        DatabaseUnavailableError: The database cannot be reached; the race is processed later.
    """
    attempt = claim(services.database, race_id, job_id=job_id, again=again)
    if attempt is None:
        return Outcome("skipped")
    try:
        with _heartbeat(services, attempt) as owner:
            laps, detail = _derive(services, attempt, owner)
            published = Published(laps, PARSER_VERSION, detail)
            _persist(lambda: publish(services.database, attempt, published))
    except AttemptLostError:
        _clean_up_if_deleted(services, race_id)
        return Outcome("skipped", attempt=attempt.number)
    except Exception as error:  # noqa: BLE001  -- whatever it is, the race must not stay in processing
        return _ended_badly(services, attempt, error)
    if attempt.was_ready:
        _tidy(services, race_id, laps)
    return Outcome("Ready", len(laps), attempt=attempt.number)


def _tidy(services: RaceServices, race_id: str, laps: tuple[Lap, ...]) -> None:
    """Remove the lap files that no row names any more; the laps are published, whatever the store says to this."""
    try:
        remove_stale_laps(services.store, race_id, laps)
    except ApexError as error:
        _LOG.warning("Lap files of an earlier parser of the race %s were left in the store: %s", race_id, error)


def require_ready(outcome: Outcome, race_id: str) -> None:
    """Raise an error unless the race was processed and is ready.

    Raises:
        RaceFailedError: It has failed.
        RaceNotReadyError: Another attempt is at work, or a fault that may not recur ended this one.
    """
    if outcome.status == "Ready":
        return
    hint = "`apex race status` says more."
    if outcome.status == "Failed":
        raise RaceFailedError(f"The race {race_id} failed: {outcome.error}", hint)
    reason = outcome.error or "another attempt is at work, or the race was deleted."
    raise RaceNotReadyError(f"The race {race_id} was not processed: {reason}", hint)


def _derive(services: RaceServices, attempt: Attempt, owner: "_Owner") -> tuple[tuple[Lap, ...], str]:
    recording = _read(services, attempt)
    laps = write_results(services.store, attempt.race_id, recording, services.temp_dir, owner.require)
    return laps, recording.detail


def _read(services: RaceServices, attempt: Attempt) -> Recording:
    limits = replace(DEFAULT_LIMITS, compressed_bytes=services.settings.max_race_bytes)
    with services.store.open_stream(race_blob_key(attempt.race_id)) as blob:
        try:
            return read_recording(blob, limits, keep_names=services.settings.keep_names)
        finally:
            _drain(blob)


def _drain(blob: BinaryIO) -> None:
    """Read to the end, where the store compares the digest: bytes that are damaged must not look like a bad race."""
    while blob.read(_DRAIN_BYTES):
        pass


class _Owner:
    """Knows whether the attempt still owns the race, from the last heartbeat.

    Args:
        services: The database.
        attempt: The attempt.
    """

    def __init__(self, services: RaceServices, attempt: Attempt) -> None:
        self._database = services.database
        self._attempt = attempt
        self._progress = "reading"
        self._is_lost = False
        self.stopped = threading.Event()

    def require(self, progress: str) -> None:
        """Raise :class:`AttemptLostError` if the race was taken over; what is going on is shown at the next beat."""
        self._progress = progress
        if self._is_lost:
            raise AttemptLostError(f"The race {self._attempt.race_id} was taken over.", "Nothing is to be done.")

    def keep_alive(self) -> None:
        """Beat until the attempt has ended; a database that is away for a moment is no reason to stop."""
        while not self.stopped.wait(HEARTBEAT_S):
            try:
                self._is_lost = not beat(self._database, self._attempt, self._progress)
            except DatabaseUnavailableError as error:
                _LOG.warning("No heartbeat for the race %s: %s", self._attempt.race_id, error.problem)


@contextmanager
def _heartbeat(services: RaceServices, attempt: Attempt) -> Generator[_Owner]:
    owner = _Owner(services, attempt)
    thread = threading.Thread(target=owner.keep_alive, name="race-heartbeat", daemon=True)
    thread.start()
    try:
        yield owner
    finally:
        owner.stopped.set()
        thread.join()


def _persist(write: Callable[[], None]) -> None:
    """Write the end of an attempt, and wait for a database that is being restarted."""
    for _ in range(_PERSIST_ATTEMPTS - 1):
        try:
            return write()
        except DatabaseUnavailableError as error:
            _LOG.warning("%s Trying again.", error.problem)
            time.sleep(_PERSIST_PAUSE_S)
    return write()


def _ended_badly(services: RaceServices, attempt: Attempt, error: Exception) -> Outcome:
    """Record why an attempt ended without laps: for good, or until the next attempt."""
    may_recur = not isinstance(error, TransientError) or attempt.is_last
    if not may_recur:
        _LOG.warning("Attempt %d at the race %s was interrupted: %s", attempt.number, attempt.race_id, error)
        _persist(lambda: give_back(services.database, attempt))
        _clean_up_if_deleted(services, attempt.race_id)
        return Outcome("interrupted", error=str(error), attempt=attempt.number)
    error_class, sentence = _explain(error)
    _LOG.warning("The race %s failed (%s): %s", attempt.race_id, error_class, sentence)
    try:
        _persist(lambda: _remove_results(services, attempt))
        _persist(lambda: fail(services.database, attempt, error_class, sentence))
    except AttemptLostError:
        _clean_up_if_deleted(services, attempt.race_id)
        return Outcome("skipped", attempt=attempt.number)
    return Outcome("Failed", error=sentence, attempt=attempt.number)


def _remove_results(services: RaceServices, attempt: Attempt) -> None:
    """Remove what an attempt wrote before it failed, while the race is still its own.

    Once the failure is recorded, the next attempt may begin at any moment, and it writes objects of the same names.

    Raises:
        AttemptLostError: Another attempt has begun, or the race was deleted.
    """
    if attempt.was_ready:
        return  # its earlier laps stay
    if not beat(services.database, attempt):
        raise AttemptLostError(f"The race {attempt.race_id} was taken over.", "Nothing is to be done.")
    try:
        remove_race_objects(services.store, attempt.race_id, keep_blob=True)
    except ApexError as error:
        # They do no harm: no row names them, and the next attempt replaces them.
        _LOG.warning("Objects of the failed race %s were left in the store: %s", attempt.race_id, error)


def _explain(error: Exception) -> tuple[str, str]:
    """Return the class and the sentence of a failure."""
    if isinstance(error, RecordingError):
        return error.error_class, str(error)
    if isinstance(error, ApexError):
        named = next((name for kind, name in _CLASSES.items() if isinstance(error, kind)), "not possible")
        return named, str(error)
    if isinstance(error, MemoryError):
        return "out of memory", "There is not enough memory for this race. Give the worker more."
    _LOG.error("Unexpected error", exc_info=error)
    return "internal error", f"Unexpected error ({type(error).__name__}). This is a bug, please report it."


def _clean_up_if_deleted(services: RaceServices, race_id: str) -> None:
    """Remove what this attempt wrote for a race that was deleted meanwhile; nobody else would."""
    with services.database.reading() as session:
        race = session.get(Race, race_id)
    if race is None or race.deleted_at is not None:
        remove_race_objects(services.store, race_id)

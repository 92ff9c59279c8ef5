"""Reads the state of races for those who ask: status, lists, laps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import bindparam, func, or_, select, update

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.races.database import RaceDatabase
from apex_pipeline.races.errors import RaceNotFoundError, RaceNotReadyError
from apex_pipeline.races.models import Lap, Race, RaceStatus
from apex_pipeline.races.race_ids import is_race_id
from apex_pipeline.races.state import SILENT_AFTER

# Races listed in one answer, at most.
MOST_LISTED = 10_000


@dataclass(frozen=True)
class RaceView:
    """What its owner is told about a race, the seed's six first.

    Attributes:
        race_id: The race.
        status: Processing, Ready or Failed.
        created_at: Time of the upload.
        updated_at: Last change of the status.
        raw_data_path: URI of the uploaded bytes.
        laps_count: Published laps.
        error_class: Why it failed, in a few fixed words.
        error: Why it failed, as a sentence.
        detail: What is worth knowing about the recording.
        progress: What its worker is doing.
        job_id: Job or run that processes it.
        attempts: Attempts so far.
        size_bytes: Bytes of the upload.
        sha256: Their digest.
        published_attempt: Attempt whose laps these are; 0 if there are none.
        parser_version: Version of the parser that read these laps.
    """

    race_id: str
    status: str
    created_at: str
    updated_at: str
    raw_data_path: str
    laps_count: int
    error_class: str | None
    error: str | None
    detail: str | None
    progress: str | None
    job_id: str
    attempts: int
    size_bytes: int
    sha256: str
    published_attempt: int
    parser_version: str | None


# The columns of a RaceView, in its order, of the races that are not being deleted.
_VIEWS: Final = select(
    *(Race.race_id, Race.status, Race.created_at, Race.updated_at, Race.raw_data_path),
    select(func.count()).where(Lap.race_id == Race.race_id).scalar_subquery(),
    *(Race.error_class, Race.error, Race.detail, Race.progress, Race.job_id, Race.attempts),
    *(Race.size_bytes, Race.sha256, Race.published_attempt, Race.parser_version),
).where(Race.deleted_at.is_(None))
# A recorder asks this one every second, so it is built once.
_VIEW_OF_ONE: Final = _VIEWS.where(Race.race_id == bindparam("race_id"))


@dataclass(frozen=True)
class WaitingRace:
    """A race that nobody works on.

    Attributes:
        race_id: The race.
        job_id: The job with which it was put into the queue.
        attempts: Attempts so far.
    """

    race_id: str
    job_id: str
    attempts: int


def view_race(database: RaceDatabase, race_id: str) -> RaceView:
    """Return the view of one race.

    Raises:
        RaceNotFoundError: There is no such race.
    """
    row = database.fetch_one(_VIEW_OF_ONE, race_id=race_id)
    if row is None:
        raise _unknown(race_id)
    return _view(row)


def list_races(
    database: RaceDatabase, *, status: str | None = None, limit: int = MOST_LISTED, offset: int = 0
) -> list[RaceView]:
    """Return the views of races, newest first.

    Raises:
        ConfigurationError: There is no such status.
    """
    chosen = _VIEWS.order_by(Race.created_at.desc(), Race.race_id).limit(limit).offset(offset)
    if status is not None:
        chosen = chosen.where(Race.status == _status(status))
    with database.reading() as session:
        return [_view(row) for row in session.execute(chosen)]


def list_race_ids(database: RaceDatabase, *, limit: int = MOST_LISTED, offset: int = 0) -> list[str]:
    """Return the ids of races, newest first."""
    chosen = select(Race.race_id).where(Race.deleted_at.is_(None)).order_by(Race.created_at.desc(), Race.race_id)
    with database.reading() as session:
        return list(session.scalars(chosen.limit(limit).offset(offset)))


def waiting_races(database: RaceDatabase) -> list[WaitingRace]:
    """Return the races that nobody works on, the oldest first."""
    is_free = or_(Race.heartbeat_at.is_(None), Race.heartbeat_at < database.ago(SILENT_AFTER))
    chosen = (
        select(Race.race_id, Race.job_id, Race.attempts)
        .where(Race.status == RaceStatus.PROCESSING, Race.deleted_at.is_(None), is_free)
        .where(Race.attempts < Race.attempts_limit)
        .order_by(Race.created_at)
        .limit(MOST_LISTED)
    )
    with database.reading() as session:
        return [WaitingRace(*row) for row in session.execute(chosen)]


def outdated_races(database: RaceDatabase, parser_version: str) -> list[str]:
    """Return the ids of the ready races that another version of the parser has read, the oldest first."""
    chosen = select(Race.race_id).where(
        Race.status == RaceStatus.READY, Race.deleted_at.is_(None), Race.parser_version != parser_version
    )
    with database.reading() as session:
        return list(session.scalars(chosen.order_by(Race.created_at)))


def unreported_races(database: RaceDatabase, limit: int) -> list[RaceView]:
    """Return the races whose published laps Dagster's catalog does not have yet, the oldest first."""
    chosen = _VIEWS.where(Race.published_attempt > Race.reported_attempt).order_by(Race.created_at).limit(limit)
    with database.reading() as session:
        return [_view(row) for row in session.execute(chosen)]


def mark_reported(database: RaceDatabase, views: list[RaceView]) -> None:
    """Record that the catalog has what these views show."""
    with database.writing() as session:
        for view in views:
            seen = update(Race).where(Race.race_id == view.race_id)
            session.execute(seen.values(reported_attempt=view.published_attempt))


def require_laps(database: RaceDatabase, race_id: str) -> list[Lap]:
    """Return the published laps of a race that is ready, by number.

    Raises:
        RaceNotFoundError: There is no such race.
        RaceNotReadyError: It is being processed, or failed.
    """
    with database.reading() as session:
        race = session.get(Race, race_id)
        if race is None or race.deleted_at is not None:
            raise _unknown(race_id)
        if race.status is not RaceStatus.READY:
            raise RaceNotReadyError(
                f"Race is not ready. Current status: {race.status}.",
                race.error or "Ask for its status until it is Ready.",
            )
        return list(session.scalars(select(Lap).where(Lap.race_id == race_id).order_by(Lap.lap_number)))


def require_lap(database: RaceDatabase, race_id: str, lap_number: int) -> Lap:
    """Return one published lap.

    Raises:
        RaceNotFoundError: There is no such race, or no such lap.
        RaceNotReadyError: The race is being processed, or failed.
    """
    laps = require_laps(database, race_id)
    for lap in laps:
        if lap.lap_number == lap_number:
            return lap
    numbers = ", ".join(str(lap.lap_number) for lap in laps[:20]) or "none"
    raise RaceNotFoundError(f"The race {race_id} has no lap {lap_number}.", f"Its laps: {numbers}.")


def iso(moment: datetime) -> str:
    """Return a time as text in UTC, with ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_race_id(text: str) -> str:
    """Return the id of a race in its usual spelling.

    Raises:
        ConfigurationError: It is not a UUID.
    """
    if not is_race_id(text.lower()):
        raise ConfigurationError("This is not the id of a race.", "It is a UUID; `apex race list` shows them.")
    return text.lower()


def _view(row: Sequence[Any]) -> RaceView:
    race_id, status, created_at, updated_at, *others = row
    return RaceView(race_id, status.value, iso(created_at), iso(updated_at), *others)


def _status(text: str) -> RaceStatus:
    for status in RaceStatus:
        if status.value.lower() == text.lower():
            return status
    names = ", ".join(status.value for status in RaceStatus)
    raise ConfigurationError(f"{text!r} is not a status.", f"Use one of {names}.")


def _unknown(race_id: str) -> RaceNotFoundError:
    return RaceNotFoundError(f"There is no race {race_id}.", "GET /race/list_ids and `apex race list` show the races.")

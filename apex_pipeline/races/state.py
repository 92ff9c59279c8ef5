"""Contains every change of a race's row after its upload: claimed, alive, published, failed, given back.

An attempt owns a race by its number. Each change is one statement that applies only while the number is still the
latest, so an attempt that was stopped, cut off or taken for dead can come back at any time and change nothing.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import CursorResult, delete, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from apex_pipeline.races.database import RaceDatabase
from apex_pipeline.races.errors import AttemptLostError
from apex_pipeline.races.models import Lap, Race, RaceStatus

# A worker shows that it lives every 3 s; one that has been silent five times as long is taken for dead.
HEARTBEAT_S: Final = 3.0
SILENT_AFTER: Final = timedelta(seconds=15)

WORKER_LOST: Final = "worker lost"


@dataclass(frozen=True)
class Attempt:
    """The right to process a race, until another attempt takes over.

    Attributes:
        race_id: The race.
        number: Which attempt at the race this is, from 1.
        is_last: The race fails if this attempt does.
        was_ready: The race has laps already, and is processed again.
        sha256: Digest of the uploaded bytes.
    """

    race_id: str
    number: int
    is_last: bool
    was_ready: bool
    sha256: str


@dataclass(frozen=True)
class Published:
    """What an attempt publishes.

    Attributes:
        laps: The published laps, without ids.
        parser_version: Version of the parser.
        detail: What is worth knowing about the recording; empty if nothing is.
    """

    laps: tuple[Lap, ...]
    parser_version: str
    detail: str


def claim(database: RaceDatabase, race_id: str, *, job_id: str | None = None, again: bool = False) -> Attempt | None:
    """Take a race for a new attempt; ``None`` if there is nothing to do or another attempt is alive.

    Args:
        database: The races' database.
        race_id: The race.
        job_id: The job or run that works on it from now on, if it is not the one it was put into the queue with.
        again: Take it although it is ready or has failed, to process it again.
    """
    is_free = or_(Race.heartbeat_at.is_(None), Race.heartbeat_at < database.ago(SILENT_AFTER))
    conditions: list[ColumnElement[bool]] = [Race.race_id == race_id, Race.deleted_at.is_(None), is_free]
    if not again:
        conditions += [Race.status == RaceStatus.PROCESSING, Race.attempts < Race.attempts_limit]
    values: dict[str, Any] = {"attempts": Race.attempts + 1, "heartbeat_at": database.now, "progress": "reading"}
    if job_id is not None:
        values["job_id"] = job_id
    taken = update(Race).where(*conditions).values(values)
    columns = (Race.attempts, Race.attempts_limit, Race.status, Race.sha256)
    with database.writing() as session:
        row = session.execute(taken.returning(*columns)).one_or_none()
    if row is None:
        return None
    number, limit, status, sha256 = row
    return Attempt(race_id, number, number >= limit, status is RaceStatus.READY, sha256)


def beat(database: RaceDatabase, attempt: Attempt, progress: str | None = None) -> bool:
    """Show that the attempt is alive, and return whether it still owns the race."""
    values: dict[str, Any] = {"heartbeat_at": database.now} | ({"progress": progress} if progress else {})
    with database.writing() as session:
        return _changed(session, update(Race).where(*_owned_by(attempt)).values(values))


def publish(database: RaceDatabase, attempt: Attempt, result: Published) -> None:
    """Make an attempt's laps the laps of the race, in one transaction.

    Raises:
        AttemptLostError: The attempt does not own the race any more; nothing was changed.
    """
    ready = {
        **_ended(database),
        "status": RaceStatus.READY,
        "error_class": None,
        "error": None,
        "detail": result.detail or None,
        "parser_version": result.parser_version,
        "published_attempt": attempt.number,
    }
    with database.writing() as session:
        _require_owned(_changed(session, update(Race).where(*_owned_by(attempt)).values(ready)), attempt)
        _replace_laps(session, attempt.race_id, result.laps)


def fail(database: RaceDatabase, attempt: Attempt, error_class: str, error: str) -> None:
    """Mark the race as failed; one that was ready stays ready, with the laps it had.

    Raises:
        AttemptLostError: The attempt does not own the race any more; nothing was changed.
    """
    values = {**_ended(database), "error_class": error_class, "error": error}
    if not attempt.was_ready:
        values["status"] = RaceStatus.FAILED
    with database.writing() as session:
        _require_owned(_changed(session, update(Race).where(*_owned_by(attempt)).values(values)), attempt)


def give_back(database: RaceDatabase, attempt: Attempt) -> None:
    """Give the race back after a fault that may not recur; the reaper puts it into the queue again."""
    with database.writing() as session:
        _changed(session, update(Race).where(*_owned_by(attempt)).values(heartbeat_at=None, progress=None))


def _owned_by(attempt: Attempt) -> tuple[ColumnElement[bool], ...]:
    return (Race.race_id == attempt.race_id, Race.attempts == attempt.number, Race.deleted_at.is_(None))


def _ended(database: RaceDatabase) -> dict[str, Any]:
    return {"updated_at": database.now, "heartbeat_at": None, "progress": None}


def _changed(session: Session, statement: Any) -> bool:  # noqa: ANN401  -- an update of any table
    result = session.execute(statement.execution_options(synchronize_session=False))
    return isinstance(result, CursorResult) and result.rowcount == 1


def _require_owned(is_owned: bool, attempt: Attempt) -> None:  # noqa: FBT001  -- the outcome of the call before
    if not is_owned:
        raise AttemptLostError(
            f"Attempt {attempt.number} at the race {attempt.race_id} was replaced, or the race was deleted.",
            "Nothing is to be done: the other attempt publishes.",
        )


def _replace_laps(session: Session, race_id: str, laps: tuple[Lap, ...]) -> None:
    """Bring the rows of the race's laps up to date; a lap that stays the same lap keeps its row and id."""
    present = {lap.lap_uuid: lap for lap in session.scalars(select(Lap).where(Lap.race_id == race_id))}
    kept = {lap.lap_uuid for lap in laps if _is_same(present.get(lap.lap_uuid), lap)}
    gone = [lap.id for uuid, lap in present.items() if uuid not in kept]
    session.execute(delete(Lap).where(Lap.id.in_(gone)))
    for lap in laps:
        if lap.lap_uuid not in kept:
            session.add(lap)
            continue
        row = present[lap.lap_uuid]
        row.kind, row.is_valid, row.lap_time_s = lap.kind, lap.is_valid, lap.lap_time_s
        row.processed_data_path = lap.processed_data_path


def _is_same(row: Lap | None, lap: Lap) -> bool:
    return row is not None and row.lap_number == lap.lap_number

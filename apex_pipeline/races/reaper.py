"""Finds what a crash has left undone, and does it: races in the outbox, races whose worker died, half-deleted races.

It compares what is with what should be, so it may run anywhere, at any time, any number of times at once. The API runs
it every few seconds, Dagster's sensor at every tick, and a worker without Redis before it ends.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from apex_pipeline.races.database import RaceDatabase
from apex_pipeline.races.deletion import finish_deletions
from apex_pipeline.races.models import OutboxEntry, Race, RaceStatus
from apex_pipeline.races.outbox import dispatch, put_again
from apex_pipeline.races.queues import RaceQueue
from apex_pipeline.races.services import RaceServices
from apex_pipeline.races.state import SILENT_AFTER, WORKER_LOST

# Races looked at in one go. Those that wait in the queue are asked for one by one, a millisecond each.
_MOST = 500
# A deletion takes seconds; one that was begun this long ago was cut off.
_DELETION_CUT_OFF = timedelta(seconds=60)


@dataclass(frozen=True)
class Reaped:
    """What was found.

    Attributes:
        dispatched: Races put into the queue.
        lost: Races that failed because every worker died at them.
        deleted: Races whose deletion was finished.
    """

    dispatched: int
    lost: int
    deleted: int


def reap(services: RaceServices) -> Reaped:
    """Do what a crash has left undone.

    Raises:
        DatabaseUnavailableError: The database cannot be reached.
        QueueUnavailableError: The queue cannot be reached.
        StoreUnavailableError: The store cannot be reached.
    """
    lost = _give_up(services.database)
    _revive(services.database, services.queue)
    dispatched = dispatch(services.database, services.queue)
    return Reaped(dispatched, lost, finish_deletions(services, _DELETION_CUT_OFF))


def _abandoned(database: RaceDatabase, *columns: Any) -> Any:  # noqa: ANN401  -- a select of these columns
    """Select the races in processing that nobody works on, and that were put into the queue a while ago."""
    silent = or_(Race.heartbeat_at.is_(None), Race.heartbeat_at < database.ago(SILENT_AFTER))
    return (
        select(*columns)
        .where(
            Race.status == RaceStatus.PROCESSING,
            Race.deleted_at.is_(None),
            Race.dispatched_at < database.ago(SILENT_AFTER),
            Race.race_id.not_in(select(OutboxEntry.race_id)),
            silent,
        )
        .order_by(Race.dispatched_at)
        .limit(_MOST)
    )


def _give_up(database: RaceDatabase) -> int:
    """Fail the races at which every allowed attempt died."""
    dead = _abandoned(database, Race.race_id).where(Race.attempts >= Race.attempts_limit)
    problem = "The worker of every attempt at this race died."
    values = {
        "status": RaceStatus.FAILED,
        "error_class": WORKER_LOST,
        "error": f"{problem} Upload it again to try once more; the workers' log says why they died.",
        "updated_at": database.now,
        "heartbeat_at": None,
        "progress": None,
    }
    with database.writing() as session:
        found = session.scalars(dead.with_for_update(skip_locked=True)).all()
        session.execute(update(Race).where(Race.race_id.in_(found)).values(values))
    return len(found)


def _revive(database: RaceDatabase, queue: RaceQueue) -> None:
    """Put the races back into the outbox whose job is neither waiting nor at work."""
    with database.reading() as session:
        candidates = session.execute(_abandoned(database, Race.race_id, Race.job_id)).all()
    missing = [row.race_id for row in candidates if not queue.is_waiting(row.job_id)]
    for race_id in missing:
        with database.writing() as session:
            if _is_still_abandoned(session, database, race_id):
                put_again(session, database, race_id)


def _is_still_abandoned(session: Session, database: RaceDatabase, race_id: str) -> bool:
    chosen = _abandoned(database, Race.race_id).where(Race.race_id == race_id)
    return session.scalar(chosen.with_for_update(skip_locked=True)) is not None

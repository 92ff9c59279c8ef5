"""Puts races into the queue that must be there, and removes them from the outbox.

A race is in the outbox from the transaction that created it, so a crash at any point leaves it there: it is put into
the queue once more, which does no harm, and never less than once.
"""

from typing import Final
from uuid import uuid4

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from apex_pipeline.races.database import RaceDatabase
from apex_pipeline.races.models import OutboxEntry, Race
from apex_pipeline.races.queues import RaceQueue

# Races put into the queue in one transaction, which holds their rows: some milliseconds.
_BATCH = 50
_REMOVED: Final = delete(OutboxEntry).where(OutboxEntry.race_id == bindparam("race_id"))


def dispatch(database: RaceDatabase, queue: RaceQueue) -> int:
    """Put the races in the outbox into the queue, and return how many.

    Args:
        database: The races' database.
        queue: The queue.

    Raises:
        QueueUnavailableError: The queue cannot be reached; the races stay in the outbox.
        DatabaseUnavailableError: The database cannot be reached.
    """
    total = 0
    while sent := _dispatch_batch(database, queue):
        total += sent
    return total


def dispatch_one(database: RaceDatabase, queue: RaceQueue, race_id: str, job_id: str) -> None:
    """Put a race into the queue that has just been written to the outbox.

    Its entry is not locked meanwhile, which would take two more statements: of the few that the reaper sees, some are
    put into the queue twice.

    Raises:
        QueueUnavailableError: The queue cannot be reached; the race stays in the outbox.
        DatabaseUnavailableError: The database cannot be reached; the race is put into the queue again later.
    """
    queue.put(race_id, job_id)
    database.execute_alone(_REMOVED, race_id=race_id)


def put_again(session: Session, database: RaceDatabase, race_id: str) -> str:
    """Put a race into the outbox with a new job, within the caller's transaction, and return the job's id."""
    job_id = str(uuid4())
    session.execute(update(Race).where(Race.race_id == race_id).values(job_id=job_id, dispatched_at=database.now))
    if session.get(OutboxEntry, race_id) is None:
        session.execute(insert(OutboxEntry).values(race_id=race_id, created_at=database.now))
    return job_id


def _dispatch_batch(database: RaceDatabase, queue: RaceQueue) -> int:
    chosen = select(Race.race_id, Race.job_id).join(OutboxEntry, OutboxEntry.race_id == Race.race_id)
    # Another process that dispatches at the same time takes other races.
    chosen = chosen.order_by(OutboxEntry.created_at).limit(_BATCH).with_for_update(of=OutboxEntry, skip_locked=True)
    with database.writing() as session:
        found = session.execute(chosen).all()
        for identity, job_id in found:
            queue.put(identity, job_id)
        if not found:
            return 0
        sent = [identity for identity, _ in found]
        session.execute(update(Race).where(Race.race_id.in_(sent)).values(dispatched_at=database.now))
        session.execute(delete(OutboxEntry).where(OutboxEntry.race_id.in_(sent)))
    return len(sent)

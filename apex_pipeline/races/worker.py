"""Runs a worker of RQ with the options under which a death is noticed within seconds."""

import socket
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Final

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.races.queues import JOB_MODULE, QUEUE_NAME, RqQueue, open_queue, redis_connection
from apex_pipeline.settings import Settings

# RQ takes a worker for dead after this long, and looks for such jobs this often; by default 420 s and 600 s.
WORKER_TTL_S: Final = 30
MAINTENANCE_INTERVAL_S: Final = 15
# Every job is a process that begins as a copy of the worker: what the worker has loaded, no job loads again. Arrow
# loads pandas at the first conversion of a column, which took more than half of a short race's 0.6 CPU seconds.
_LOADED_ONCE: Final = (JOB_MODULE, "pandas")


def is_worker_alive(settings: Settings) -> bool:
    """Return whether a worker on this machine, or in this container, has given a sign of life lately.

    Raises:
        ConfigurationError: Redis is not configured, its packages are missing, or ``REDIS_URL`` is invalid.
        QueueUnavailableError: Redis cannot be reached.
    """
    queue = _checked_queue(settings)
    from rq import Worker  # noqa: PLC0415  -- optional; the line above says so if it is missing

    oldest = datetime.now(UTC) - timedelta(seconds=2 * WORKER_TTL_S)
    return any(
        worker.hostname == socket.gethostname()
        and worker.last_heartbeat is not None
        and worker.last_heartbeat.replace(tzinfo=UTC) > oldest
        for worker in Worker.all(connection=queue.connection)
    )


def _checked_queue(settings: Settings) -> RqQueue:
    queue = open_queue(settings)
    if not isinstance(queue, RqQueue):
        raise ConfigurationError(
            "Neither REDIS_HOST nor REDIS_URL is set, so races are processed on this machine as they come.",
            "Set one of them where API and workers share a queue.",
        )
    queue.check()
    return queue


def run_rq_worker(settings: Settings, *, burst: bool = False) -> None:
    """Work on the queue until it is told to stop, or with ``burst`` until the queue is empty.

    Raises:
        ConfigurationError: Redis is not configured, its packages are missing, or ``REDIS_URL`` is invalid.
        QueueUnavailableError: Redis cannot be reached at the start.
    """
    _checked_queue(settings)
    from rq import Queue, Worker  # noqa: PLC0415  -- optional; the line above says so if it is missing

    for module in _LOADED_ONCE:
        import_module(module)
    connection = redis_connection(settings, timeout_s=None)
    worker = Worker(
        [Queue(QUEUE_NAME, connection=connection)],
        connection=connection,
        worker_ttl=WORKER_TTL_S,
        maintenance_interval=MAINTENANCE_INTERVAL_S,
    )
    worker.work(burst=burst, with_scheduler=not burst, logging_level="INFO")

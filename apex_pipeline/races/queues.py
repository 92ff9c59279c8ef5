"""Contains the queues into which races are put: Redis with RQ, or a process on this machine.

A queue may lose a job or run it twice: the row of the race says what is to be done. See ``reaper.py`` for lost jobs.
"""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.races.errors import QueueUnavailableError
from apex_pipeline.races.state import SILENT_AFTER
from apex_pipeline.settings import Settings

if TYPE_CHECKING:  # both are optional
    import redis
    import rq

QUEUE_NAME: Final = "race_processing"
JOB_MODULE: Final = "apex_pipeline.races.rq_job"
# The original's limit for one race; the worst hour takes some seconds.
_JOB_TIMEOUT_S = 1_800
# How long Redis keeps a job that has ended, for the dashboard.
_KEPT_S = 86_400
# Redis answers in a millisecond; an upload must not wait long to learn that it does not.
_REDIS_TIMEOUT_S = 3


class RaceQueue(Protocol):
    """Where races wait for a worker."""

    def check(self) -> None:
        """Raise :class:`QueueUnavailableError` if nothing can be put into the queue."""

    def put(self, race_id: str, job_id: str) -> None:
        """Put a race into the queue.

        Raises:
            QueueUnavailableError: The queue cannot be reached; whether the race is in it is unknown.
        """

    def is_waiting(self, job_id: str) -> bool:
        """Return whether the job waits in the queue, or has just been taken from it.

        Raises:
            QueueUnavailableError: The queue cannot be reached.
        """
        raise NotImplementedError


class RqQueue:
    """The queue ``race_processing`` of RQ; ``rq worker race_processing`` works on it.

    Args:
        connection: Redis.
        place: Where Redis is, for messages; without its password.
    """

    def __init__(self, connection: "redis.Redis", place: str) -> None:
        from rq import Queue  # noqa: PLC0415  -- optional

        self.connection = connection
        self.queue: rq.Queue = Queue(QUEUE_NAME, connection=connection)
        self._place = place

    def check(self) -> None:
        """Ask Redis for a sign of life."""
        with self._translated():
            self.connection.ping()

    def put(self, race_id: str, job_id: str) -> None:
        """Put a job with this id at the end of the queue."""
        with self._translated():
            self.queue.enqueue_call(
                f"{JOB_MODULE}.process",
                args=(race_id,),
                timeout=_JOB_TIMEOUT_S,
                result_ttl=_KEPT_S,
                failure_ttl=_KEPT_S,
                job_id=job_id,
                description=f"race {race_id}",
            )

    def is_waiting(self, job_id: str) -> bool:
        """Look for the job in the queue, and among those that a worker has just started."""
        from rq.exceptions import NoSuchJobError  # noqa: PLC0415  -- optional
        from rq.job import Job  # noqa: PLC0415  -- as above

        with self._translated():
            if self.queue.get_job_position(job_id) is not None:
                return True
            try:
                started = Job.fetch(job_id, connection=self.connection).started_at
            except NoSuchJobError:
                return False
        # A worker that has just taken the job has not claimed the race yet.
        return started is not None and datetime.now(UTC) - started.replace(tzinfo=UTC) < SILENT_AFTER

    @contextmanager
    def _translated(self) -> Generator[None]:
        from redis.exceptions import RedisError  # noqa: PLC0415  -- optional

        try:
            yield
        except (RedisError, OSError) as error:
            raise QueueUnavailableError(
                f"Redis at {self._place} cannot be used ({type(error).__name__}).",
                "Check that it runs and that REDIS_HOST or REDIS_URL is right, then try again.",
            ) from error


class LocalQueue:
    """The queue of a machine without Redis: one process that works on whatever the database says is to be done.

    Args:
        state_dir: Folder of the lock that the process holds and of its log.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir.absolute()

    def check(self) -> None:
        """A process can always be started."""

    def put(self, race_id: str, job_id: str) -> None:
        """Start the process, unless it runs; it finds the race in the database."""
        del race_id, job_id
        if self._is_running():
            return
        self._state_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "apex_pipeline", "race", "worker", "--burst"]
        with (self._state_dir / "race-worker.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  -- our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # It outlives the command that started it, and Ctrl+C there.
                start_new_session=True,
                env=os.environ,
            )
        # Nobody waits for it; a deleted Popen object would warn that its process is still running.
        process.returncode = 0

    def is_waiting(self, job_id: str) -> bool:
        """Return whether the process runs: it works on every race in turn."""
        del job_id
        return self._is_running()

    @contextmanager
    def working(self) -> Generator[bool]:
        """Be the process that works, and yield whether that was possible: another one may be it already."""
        self._state_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock_path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    @property
    def _lock_path(self) -> Path:
        return self._state_dir / "race-worker.lock"

    def _is_running(self) -> bool:
        if not self._lock_path.exists():
            return False
        lock = FileLock(self._lock_path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False


def uses_redis(settings: Settings) -> bool:
    """Return whether races wait in Redis."""
    return settings.redis_url is not None or settings.redis_host is not None


def open_queue(settings: Settings) -> RaceQueue:
    """Return the queue of the settings; nothing is sent before its first use.

    Raises:
        ConfigurationError: Redis is configured, but its packages are missing or ``REDIS_URL`` is invalid.
    """
    if not uses_redis(settings):
        return LocalQueue(settings.state_dir)
    return RqQueue(redis_connection(settings), redis_place(settings))


def redis_place(settings: Settings) -> str:
    """Return where Redis is, without its password, which may be before the host or an option behind it."""
    if settings.redis_url is None:
        return f"{settings.redis_host}:{settings.redis_port}"
    url = urlsplit(settings.redis_url.get_secret_value())
    with suppress(ValueError):  # a slash in the password, which should be %2F
        if url.hostname:
            return f"{url.hostname}:{url.port or settings.redis_port}"
    return "REDIS_URL"


def redis_connection(settings: Settings, *, timeout_s: float | None = _REDIS_TIMEOUT_S) -> "redis.Redis":
    """Return a connection to Redis.

    Args:
        settings: ``REDIS_URL``, or ``REDIS_HOST`` and ``REDIS_PORT``.
        timeout_s: Limit for an answer; ``None`` for a worker, which waits for jobs.

    Raises:
        ConfigurationError: The packages are missing, or ``REDIS_URL`` is invalid.
    """
    if find_spec("rq") is None or find_spec("redis") is None:
        raise ConfigurationError(
            "REDIS_HOST or REDIS_URL is set, but the packages redis and rq are missing.",
            "Install them with `pip install 'apex-pipeline[queue]'`, or unset the variable.",
        )
    import redis  # noqa: PLC0415  -- optional
    from redis.backoff import NoBackoff  # noqa: PLC0415  -- as above
    from redis.retry import Retry  # noqa: PLC0415  -- as above

    # Once more at once, for a connection that a restart has cut. By default it tries for 7 s, and an upload waits.
    retry = Retry(NoBackoff(), 1)
    if settings.redis_url is None:
        return redis.Redis(
            host=settings.redis_host or "localhost",
            port=settings.redis_port,
            socket_timeout=timeout_s,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
            retry=retry,
        )
    try:
        return redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=timeout_s,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
            retry=retry,
        )
    except ValueError as error:
        raise ConfigurationError("REDIS_URL cannot be used.", "Write it like redis://:password@host:6379/0.") from error

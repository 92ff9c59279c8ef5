"""Services of races on SQLite and on PostgreSQL, with a queue that remembers, and a recording whose laps are known."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psycopg
import pytest

from apex_pipeline.demo.race_packets import packets, recording
from apex_pipeline.demo.race_script import Script
from apex_pipeline.races.database import RaceDatabase, open_database
from apex_pipeline.races.errors import QueueUnavailableError
from apex_pipeline.races.services import RaceServices
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.factory import open_race_store
from apex_pipeline_tests.servers.postgres import PostgresServer

LAP_TIMES_S = (20.5, 20.25)


@cache
def two_laps(variant: int = 0) -> bytes:
    """Return a recording of two laps that take :data:`LAP_TIMES_S`; each variant has other bytes."""
    script = Script(10.0)
    script.begin_session(5)
    script.stand(1.0 + variant, pit_mode=0)
    for seconds in LAP_TIMES_S:
        script.lap(seconds)
    script.lap(30.0, _cut(5.0))
    return recording(packets(script.frames))


def _cut(until_s: float):  # noqa: ANN202  -- the script's own options
    from apex_pipeline.demo.race_script import LapOptions  # noqa: PLC0415

    return LapOptions(until_s=until_s, kind="partial")


@dataclass
class RememberingQueue:
    """A queue that remembers what was put into it; it can be made to fail, and to lose its jobs."""

    jobs: list[tuple[str, str]] = field(default_factory=list)
    is_away: bool = False

    def check(self) -> None:
        if self.is_away:
            raise QueueUnavailableError("The queue is away.", "Start it.")

    def put(self, race_id: str, job_id: str) -> None:
        self.check()
        self.jobs.append((race_id, job_id))

    def is_waiting(self, job_id: str) -> bool:
        self.check()
        return any(job == job_id for _, job in self.jobs)


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for all tests, with its tables made: making them takes longer than a test."""
    with postgres_server.new_database() as url:
        database = RaceDatabase(url)
        database.migrate()
        database.close()
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without races."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'races.sqlite'}"
    url: str = request.getfixturevalue("shared_postgres_url")
    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE races CASCADE")
    return url


@pytest.fixture
def queue() -> RememberingQueue:
    return RememberingQueue()


@pytest.fixture
def services(database_url: str, queue: RememberingQueue) -> Iterator[RaceServices]:
    settings = load_settings(DATABASE_URL=database_url)
    database = open_database(settings)
    yield RaceServices(settings, database, open_race_store(settings), queue)
    database.close()

"""Keeps what Dagster would build anew for each of its SQLite databases: engines and the list of migrations.

Dagster opens an engine for every statement, which therefore compiles all of its SQL again, and reads its 89 migrations
for every run: together a third of the CPU time of a small sync. An ephemeral instance opens a connection for every
statement, and sets it up with two more. The databases themselves are those of each test. The homes that we make keep
their databases open without this (orchestration/kept_databases.py).
"""

import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import SingletonThreadPool

_STORAGES = (
    "event_log.sqlite.sqlite_event_log",
    "runs.sqlite.sqlite_run_storage",
    "schedules.sqlite.sqlite_schedule_storage",
)
_IN_MEMORY = "dagster._core.storage.{}.in_memory"
# A run has one database of its own beside the three of its home; older ones are rarely opened again.
_KEPT_ENGINES = 32


@pytest.fixture(scope="session", autouse=True)
def databases_opened_quickly() -> Iterator[None]:
    """Share engines and migrations between all Dagster instances of this process."""
    with pytest.MonkeyPatch.context() as patch:
        shared = _shared_engines()
        for storage in _STORAGES:
            patch.setattr(f"dagster._core.storage.{storage}.create_engine", shared)
        for storage in ("event_log", "runs"):
            patch.setattr(f"{_IN_MEMORY.format(storage)}.create_engine", _kept_in_memory)
        patch.setattr(f"{_IN_MEMORY.format('event_log')}.InMemoryEventLogStorage._connect", _connected_alone)
        patch.setattr(f"{_IN_MEMORY.format('runs')}.InMemoryRunStorage.connect", _connected)
        patch.setattr(ScriptDirectory, "from_config", staticmethod(_shared_migrations()))
        yield


def _shared_engines() -> Callable[..., Engine]:
    """Return a ``create_engine`` that answers with one engine per database; without a pool, it holds no connection."""
    options_of: dict[str, dict[str, Any]] = {}

    @lru_cache(_KEPT_ENGINES)
    def engine(url: str, options: str) -> Engine:
        return create_engine(url, **options_of[options])

    def shared(url: str, **options: Any) -> Engine:
        options_of[repr(options)] = options
        return engine(url, repr(options))

    return shared


def _kept_in_memory(url: str, **_: object) -> Engine:
    """Return an engine that keeps one connection per thread, which SQLite demands, and sets it up once."""
    engine = create_engine(url, poolclass=SingletonThreadPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


@contextmanager
def _connected(storage: Any) -> Generator[Connection]:
    with storage._engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def _connected_alone(storage: Any) -> Generator[Connection]:
    with storage._db_lock, _connected(storage) as connection:
        yield connection


def _shared_migrations() -> Callable[[Config], ScriptDirectory]:
    read = ScriptDirectory.from_config
    dagsters: dict[tuple[object, ...], ScriptDirectory] = {}

    def shared(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location") or ""
        if not location.startswith("dagster:"):
            return read(config)
        key = (location, config.config_file_name)
        if key not in dagsters:
            dagsters[key] = read(config)
        return dagsters[key]

    return shared

"""Keeps what Dagster would build anew for each of its SQLite databases: engines and the list of migrations.

Dagster opens an engine for every statement, which therefore compiles all of its SQL again, and reads its 89 migrations
for every run: together a third of the CPU time of a small sync. The databases themselves are those of each test.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine

_STORAGES = (
    "event_log.sqlite.sqlite_event_log",
    "runs.sqlite.sqlite_run_storage",
    "schedules.sqlite.sqlite_schedule_storage",
)
# A run has one database of its own beside the three of its home; older ones are rarely opened again.
_KEPT_ENGINES = 32


@pytest.fixture(scope="session", autouse=True)
def databases_opened_quickly() -> Iterator[None]:
    """Share engines and migrations between all Dagster instances of this process."""
    with pytest.MonkeyPatch.context() as patch:
        shared = _shared_engines()
        for storage in _STORAGES:
            patch.setattr(f"dagster._core.storage.{storage}.create_engine", shared)
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

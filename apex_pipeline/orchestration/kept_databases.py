"""Dagster's SQLite storage with databases that stay open, named in the ``dagster.yaml`` of the homes that we make.

Dagster opens each database anew for every statement, and thereby compiles every statement anew: thousands of times in a
sync of nine sessions, a tenth of its processor time. Nothing else differs: tables, statements, locks and files are
Dagster's own. Its SQLite classes have no public name, so this is the one module that imports private ones of Dagster;
``test_kept_databases.py`` holds what it relies on, and what no longer fits is left to Dagster's own classes.
"""

import logging
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from dagster._core.storage.event_log.sqlite.sqlite_event_log import (  # noqa: TID251  -- see the module docstring
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage  # noqa: TID251  -- as above
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage  # noqa: TID251  -- as above
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, SqliteStorageConfig  # noqa: TID251  -- as above
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.pool import QueuePool

from apex_pipeline.orchestration.home_databases import UNFINISHED

_LOG = logging.getLogger(__name__)

# Dagster's own limit for the event log; its other two databases have SQLite's 5 s, too little for a busy disk.
_BUSY_S = 30
# A run has a database of its own, and a process works on one or two at once. SQLite keeps up to 2 MB for each.
_MOST_OPEN = 16
# Dagster makes thirty tables and indexes per run, most of which stay empty but for one page: of 4 kB by default.
_RUN_PAGE_BYTES = 512


@dataclass
class _Kept:
    """An engine, and the file that it has open: another one may be at its path later."""

    engine: Engine
    file: tuple[int, int] | None


class KeptEngines:
    """One engine per database, the most recently used ones; safe to share between threads.

    Args:
        most: Number of databases that stay open.
        new_page_bytes: Size of the pages of databases that are created; SQLite's default otherwise.
    """

    def __init__(self, most: int = 1, new_page_bytes: int | None = None) -> None:
        self._most = most
        self._new_page_bytes = new_page_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._inherited: list[_Kept] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def engine(self, path: str) -> tuple[Engine, bool]:
        """Return the engine of a database, and whether it was opened for this call.

        It is opened again if the file was replaced or removed since: what is written to a removed file is lost.
        """
        with self._lock:
            self._leave_to_parent()
            kept = self._still_valid(path)
            is_new = kept is None
            if kept is None:
                kept = self._kept[path] = _Kept(self._open(path), _file_at(path))
            self._kept.move_to_end(path)
            while len(self._kept) > self._most:
                _, oldest = self._kept.popitem(last=False)
                oldest.engine.dispose()
            return kept.engine, is_new

    def close(self, path: str | None = None) -> None:
        """Close one database, or all."""
        with self._lock:
            self._leave_to_parent()
            for each in [path] if path else list(self._kept):
                kept = self._kept.pop(each, None)
                if kept is not None:
                    kept.engine.dispose()

    def _leave_to_parent(self) -> None:
        """Put everything aside that was inherited from a process that forked this one, and never touch it.

        SQLite forbids that a process uses, or even closes, what it has inherited.
        """
        if self._pid != os.getpid():
            self._inherited += self._kept.values()
            self._kept.clear()
            self._pid = os.getpid()

    def _still_valid(self, path: str) -> _Kept | None:
        kept = self._kept.get(path)
        if kept is None:
            return None
        now = _file_at(path)
        if kept.file is None:  # created by the engine's first statement
            kept.file = now
        if now is not None and kept.file == now:
            return kept
        self._kept.pop(path).engine.dispose()
        return None

    def _open(self, path: str) -> Engine:
        # Dagster asks for a second connection within a transaction: threads that had all the others would wait for
        # each other. So there is no limit, and those beyond the usual five are closed after use.
        engine = create_engine(
            f"sqlite:///{path}",
            connect_args={"timeout": _BUSY_S, "check_same_thread": False},
            poolclass=QueuePool,
            max_overflow=-1,
        )

        @event.listens_for(engine, "connect")
        def _prepare(connection: sqlite3.Connection, _: object) -> None:
            if self._new_page_bytes and not Path(path).stat().st_size:  # SQLite creates the file when it opens it
                connection.execute(f"PRAGMA page_size = {self._new_page_bytes}")
            # Survives every death of a process. A power cut may take the last second of the history, which is not the
            # lake's: a run whose end is missing is closed like that of a dead process.
            connection.execute("PRAGMA synchronous = NORMAL")

        return engine


class KeptEventLog(SqliteEventLogStorage):
    """Dagster's event log, one database per run and one of all runs, of which the most recent stay open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = KeptEngines(_MOST_OPEN, _RUN_PAGE_BYTES)
        self._blank: bytes | None = None
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Generator[Connection]:
        with self._db_lock:
            path = self.path_for_shard(shard)
            engine, is_new = self._engines.engine(path)
            if is_new or shard not in self._initialized_dbs:
                self._create(shard, path, engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def has_table(self, table_name: str) -> bool:
        """Return whether the database of all runs has a table; one that it has, it keeps."""
        if table_name not in self._tables:
            # Asked within transactions, too, so without the lock that they hold.
            engine, _ = self._engines.engine(self.path_for_shard(INDEX_SHARD_NAME))
            if not inspect(engine).has_table(table_name):
                return False
            self._tables.add(table_name)
        return True

    def close_run(self, run_id: str) -> None:
        """Close the database of a run, which is needed to rewrite or remove its file."""
        with self._db_lock:
            self._engines.close(self.path_for_shard(run_id))
            self._initialized_dbs.discard(run_id)

    def dispose(self) -> None:
        """Stop watching for events, and close all databases."""
        super().dispose()
        self._engines.close()

    def _create(self, shard: str, path: str, engine: Engine) -> None:
        """Create the tables of a run's database: those of the first in this process are copied for the others.

        Dagster reads its 89 migrations for each run to mark a new database with the latest one.
        """
        if shard != INDEX_SHARD_NAME and self._blank is not None and _create_with(path, self._blank):
            return
        is_first = shard != INDEX_SHARD_NAME and self._blank is None and _file_at(path) is None
        self._initdb(engine)
        if is_first:
            self._blank = _content(path)


class KeptRuns(SqliteRunStorage):
    """Dagster's list of runs, in a database that stays open."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = KeptEngines()
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Generator[Connection]:
        """Return a connection within a transaction."""
        with _transaction(self._engines, self._conn_string) as connection:
            yield connection

    def dispose(self) -> None:
        """Close the database."""
        super().dispose()
        self._engines.close()


class KeptSchedules(SqliteScheduleStorage):
    """Dagster's ticks of sensors and schedules, in a database that stays open."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = KeptEngines()
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Generator[Connection]:
        """Return a connection within a transaction."""
        with _transaction(self._engines, self._conn_string) as connection:
            yield connection

    def dispose(self) -> None:
        """Close the database."""
        super().dispose()
        self._engines.close()


class KeptStorage(DagsterSqliteStorage):
    """All that Dagster stores in its home; files and tables are those of its own storage, so one can replace the other.

    Args:
        base_dir: The home.
        inst_data: How Dagster names this class to other processes.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        if not fits_dagster():
            _LOG.warning("This version of Dagster opens its databases for every statement: syncs take longer.")
            super().__init__(base_dir, inst_data)
            return
        super(DagsterSqliteStorage, self).__init__()  # that of the class above opens the stock ones
        self.base_dir, self._inst_data = base_dir, inst_data
        history = Path(base_dir, "history")
        self._run_storage = KeptRuns.from_local(str(history))
        self._event_log_storage = KeptEventLog(str(history / "runs"))
        self._schedule_storage = KeptSchedules.from_local(str(Path(base_dir, "schedules")))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: SqliteStorageConfig) -> "KeptStorage":
        """Return the storage that an entry of ``dagster.yaml`` describes."""
        return cls.from_local(inst_data=inst_data, **config_value)


def fits_dagster() -> bool:
    """Return whether this version of Dagster has the methods that the classes here replace or call."""
    return all(
        callable(getattr(stock, name, None))
        for stock, names in (
            (SqliteEventLogStorage, ("_connect", "_initdb", "path_for_shard", "dispose")),
            (SqliteRunStorage, ("connect", "from_local", "dispose")),
            (SqliteScheduleStorage, ("connect", "from_local", "dispose")),
        )
        for name in names
    )


@contextmanager
def _transaction(engines: KeptEngines, address: str) -> Generator[Connection]:
    engine, _ = engines.engine(address.removeprefix("sqlite:///"))
    with engine.connect() as connection, connection.begin():
        yield connection


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _content(path: str) -> bytes:
    """Return a new database as one file, without the log of changes beside it."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.serialize()


def _create_with(path: str, content: bytes) -> bool:
    """Create a database with this content, whole or not at all; return whether there was none."""
    if _file_at(path) is not None:
        return False
    with NamedTemporaryFile(dir=Path(path).parent, prefix=UNFINISHED, delete=False) as file:
        file.write(content)
    try:
        Path(path).hardlink_to(file.name)  # fails if another process has created it meanwhile
    except OSError:
        return False
    finally:
        Path(file.name).unlink(missing_ok=True)
    return True

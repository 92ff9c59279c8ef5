"""Dagster's SQLite storage with databases that stay open, named in the ``dagster.yaml`` of the homes that we make.

Dagster opens each database anew for every statement, and thereby compiles every statement anew: thousands of times in a
sync of nine sessions, a tenth of its processor time. It also makes a database of thirty tables and indexes for every
run, and writes most events twice: in that of the run and in that of all runs. New homes have the latter only. Tables
and statements are Dagster's own.

Dagster's SQLite classes have no public name, so this is the one module that imports private ones of Dagster;
``test_kept_databases.py`` holds what it relies on, and what no longer fits is left to Dagster's own classes. See
``kept_engines.py`` for what keeps them open.
"""

import logging
import sqlite3
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import dagster as dg
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS  # noqa: TID251  -- see the module docstring
from dagster._core.storage.compute_log_manager import CapturedLogContext  # noqa: TID251  -- as above
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable  # noqa: TID251  -- as above
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (  # noqa: TID251  -- see the module docstring
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager  # noqa: TID251  -- as above
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage  # noqa: TID251  -- as above
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage  # noqa: TID251  -- as above
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage  # noqa: TID251  -- as above
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, inspect

from apex_pipeline.orchestration.home_databases import UNFINISHED
from apex_pipeline.orchestration.kept_engines import KeptEngines, file_at
from apex_pipeline.orchestration.output_capture import is_captured

_LOG = logging.getLogger(__name__)

# A run has a database of its own, and a process works on one or two at once. SQLite keeps up to 2 MB for each.
_MOST_OPEN = 16
# Dagster makes thirty tables and indexes per run, most of which stay empty but for one page: of 4 kB by default.
_RUN_PAGE_BYTES = 512
_USED_OF_EVENT_LOG = (
    *("_connect", "_initdb", "path_for_shard", "dispose", "watch", "run_connection", "index_connection"),
    *("store_event", "store_event_batch", "store_asset_check_event", "get_all_run_ids", "get_event_records"),
    "has_dynamic_partition",
    *("_event_to_row", "_store_asset_event", "_store_asset_event_tags", "_has_asset_key_col_on_connection"),
)
_FIND_PARTITION = "SELECT 1 FROM dynamic_partitions WHERE partitions_def_name = ? AND partition = ?"
_INSERT_EVENT = SqlEventLogStorageTable.insert()


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

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:  # noqa: ANN401  -- Dagster's own type
        """Call back for the events of a run from now on, whichever process writes them.

        Dagster watches the database, which nothing changes while it stays open: events are in the log beside it first.
        """
        super().watch(run_id, cursor, callback)
        observer: Any = self._obs
        observer.remove_handler_for_watch(*self._watchers[run_id][callback])
        handler = _Watchdog(self, run_id, callback, cursor)
        self._watchers[run_id][callback] = (handler, observer.schedule(handler, self._base_dir, recursive=True))

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
        is_first = shard != INDEX_SHARD_NAME and self._blank is None and file_at(path) is None
        self._initdb(engine)
        if is_first:
            self._blank = _content(path)


class OneEventLog(KeptEventLog):
    """Dagster's event log in one database; runs that have one of their own, from before, keep it."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._writing = threading.local()
        self._columns: set[str] = set()
        self._runs_apart: set[str] = set()
        super().__init__(base_dir, inst_data)
        self._runs_apart.update({run_id for run_id in self.get_all_run_ids() if run_id})

    @property
    def is_run_sharded(self) -> bool:
        """Whether each run has a database, which decides what a place in the log is: here it is one of all runs."""
        return False

    def path_for_shard(self, run_id: str) -> str:
        """Return the database that a run is in."""
        return super().path_for_shard(self._shard_of(run_id))

    def run_connection(self, run_id: str | None = None) -> Any:  # noqa: ANN401  -- a context manager, as Dagster has it
        """Return a connection to the database that a run is in."""
        return self._connect(self._shard_of(run_id))

    def _shard_of(self, run_id: str | None) -> str:
        if run_id is None or run_id not in self._runs_apart:
            return INDEX_SHARD_NAME
        if not Path(super().path_for_shard(run_id)).is_file():  # pruned; Dagster would create an empty one
            self._runs_apart.discard(run_id)
            return INDEX_SHARD_NAME
        return run_id

    def _connect(self, shard: str) -> Any:  # noqa: ANN401  -- a context manager
        current: Connection | None = getattr(self._writing, "connection", None)
        if current is not None and shard == INDEX_SHARD_NAME:
            return nullcontext(current)  # the transaction of the events whose details are being written
        return super()._connect(shard)

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Write an event."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Write events in one transaction: all of them with what the pages of assets show, or none."""
        for event in events:
            if self._shard_of(event.run_id) != INDEX_SHARD_NAME:
                super().store_event(event)
        own = [event for event in events if self._shard_of(event.run_id) == INDEX_SHARD_NAME]
        with self.index_connection() as connection:
            self._writing.connection = connection
            try:
                for event in own:
                    self._write(connection, event)
            finally:
                self._writing.connection = None

    def _write(self, connection: Connection, event: dg.EventLogEntry) -> None:
        # Values apart from the statement, which SQLAlchemy then need not compare with those it has compiled.
        made = connection.execute(_INSERT_EVENT, self._event_to_row(event))
        event_id = made.inserted_primary_key[0]  # pyright: ignore[reportOptionalSubscript]  -- of an INSERT
        if event.dagster_event is None:
            return
        if event.dagster_event_type in ASSET_EVENTS and event.dagster_event.asset_key:
            self._store_asset_event_tags(connection, [event], [event_id])
            self._store_asset_event(connection, event, event_id)
        if event.dagster_event_type in ASSET_CHECK_EVENTS:
            self.store_asset_check_event(event, event_id)

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        # Asked for every event of an asset; a column that is there stays.
        if column_name not in self._columns and super()._has_asset_key_col_on_connection(conn, column_name):
            self._columns.add(column_name)
        return column_name in self._columns

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        """Return whether there is a partition; asked a hundred times per session, so without building a statement."""
        with self.index_connection() as connection:
            found = connection.exec_driver_sql(_FIND_PARTITION, (partitions_def_name, partition_key))
            return found.first() is not None

    def get_event_records(
        self,
        event_records_filter: dg.EventRecordsFilter,
        limit: int | None = None,
        ascending: bool = False,  # noqa: FBT001, FBT002  -- Dagster passes it so
    ) -> Sequence[dg.EventLogRecord]:
        """Return the events that pass a filter; of runs with a database of their own, those of assets and statuses."""
        return super(SqliteEventLogStorage, self).get_event_records(event_records_filter, limit, ascending)

    def close_run(self, run_id: str) -> None:
        """Close the database of a run that has one."""
        if run_id in self._runs_apart:
            super().close_run(run_id)


class _Watchdog(SqliteEventLogStorageWatchdog):
    """Notices what is written to the log of changes beside a database, too."""

    def __init__(self, log: KeptEventLog, run_id: str, callback: Any, cursor: str | None) -> None:  # noqa: ANN401  -- as above
        super().__init__(log, run_id, callback, cursor)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: object) -> None:  # noqa: ARG002  -- of either file
        """Hand on the events that are new."""
        self._process_log()


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
    """All that Dagster stores in its home, in the files that its own storage would use.

    Args:
        base_dir: The home.
        inst_data: How Dagster names this class to other processes.
        has_one_event_log: Whether the events of all runs are in one database. Dagster's own storage shows those of
            assets and checks then, and none on the pages of the runs.
    """

    def __init__(
        self, base_dir: str, inst_data: ConfigurableClassData | None = None, *, has_one_event_log: bool = False
    ) -> None:
        if not fits_dagster():
            _LOG.warning("This version of Dagster opens its databases for every statement: syncs take longer.")
            super().__init__(base_dir, inst_data)
            return
        super(DagsterSqliteStorage, self).__init__()  # that of the class above opens the stock ones
        self.base_dir, self._inst_data = base_dir, inst_data
        history = Path(base_dir, "history")
        self._run_storage = KeptRuns.from_local(str(history))
        self._event_log_storage = (OneEventLog if has_one_event_log else KeptEventLog)(str(history / "runs"))
        self._schedule_storage = KeptSchedules.from_local(str(Path(base_dir, "schedules")))

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return what an entry of ``dagster.yaml`` has."""
        return {
            "base_dir": dg.StringSource,
            "has_one_event_log": dg.Field(bool, is_required=False, default_value=False),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> "KeptStorage":
        """Return the storage that an entry of ``dagster.yaml`` describes."""
        Path(config_value["base_dir"]).mkdir(parents=True, exist_ok=True)
        return cls(**config_value, inst_data=inst_data)


class ComputeLogs(LocalComputeLogManager):
    """Dagster's files of what runs print, without those of runs whose output is not captured."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "ComputeLogs":
        """Return what an entry of ``dagster.yaml`` describes."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext]:
        """Capture what is printed within the block, if it is to be captured."""
        if is_captured():
            with super().capture_logs(log_key) as context:
                yield context
            return
        yield CapturedLogContext(log_key)
        complete = Path(self.complete_artifact_path(log_key))  # tells the page of the run that nothing more will come
        complete.parent.mkdir(parents=True, exist_ok=True)
        complete.touch()


def fits_dagster() -> bool:
    """Return whether this version of Dagster has the methods that the classes here replace or call."""
    return all(
        callable(getattr(stock, name, None))
        for stock, names in (
            (SqliteEventLogStorage, _USED_OF_EVENT_LOG),
            (SqliteEventLogStorageWatchdog, ("_process_log",)),
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


def _content(path: str) -> bytes:
    """Return a new database as one file, without the log of changes beside it."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.serialize()


def _create_with(path: str, content: bytes) -> bool:
    """Create a database with this content, whole or not at all; return whether there was none."""
    if file_at(path) is not None:
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

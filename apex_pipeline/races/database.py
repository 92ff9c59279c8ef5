"""Opens the races' database, PostgreSQL or a SQLite file, and brings its tables up to date.

Every wait has a limit, and every failure to reach the database becomes a
:class:`~apex_pipeline.races.errors.DatabaseUnavailableError` without the URL, which contains a password.
"""

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Executable,
    Row,
    Select,
    create_engine,
    event,
    func,
    literal,
    make_url,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.races.database_place import database_url
from apex_pipeline.races.errors import DatabaseUnavailableError
from apex_pipeline.races.models import UtcTime
from apex_pipeline.settings import Settings

# Version of the tables this code works with: the newest module in migrations/versions.
HEAD = "0001"

_POSTGRES = {"postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"}
_CONNECT_TIMEOUT_S = 5
# A statement here touches a few rows; what takes longer waits for a lock or for a disk that is failing.
_STATEMENT_TIMEOUT_MS = 20_000
_SQLITE_BUSY_S = 20
# As many as FastAPI has threads for, less those that wait for the store.
_CONNECTIONS = 20
_POOL_TIMEOUT_S = 10
# A connection that was used so recently is not asked for a sign of life, which takes as long as a short query.
_TRUSTED_FOR_S = 1.0
_USED_AT = "apex_used_at"
# Any number, the same in every process: the lock under which tables are made.
_MIGRATION_LOCK = 4_012_026


class RaceDatabase:
    """The races' database. Safe to share between threads, not between processes.

    Args:
        url: ``postgresql://…`` or ``sqlite:///…``.

    Raises:
        ConfigurationError: The URL is neither of these.
    """

    def __init__(self, url: str) -> None:
        self._url = _checked_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self.engine = self._create_engine()
        # A transaction around a single statement would cost two more ways to the database and back.
        self._single = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def place(self) -> str:
        """Where the database is, without user and password."""
        if self.is_sqlite:
            return str(self._url.database)
        return f"{self._url.host or 'localhost'}/{self._url.database}"

    @property
    def now(self) -> ColumnElement[datetime]:
        """The present time by the database's clock, which all machines share."""
        if self.is_sqlite:
            return literal(datetime.now(UTC), UtcTime)
        return func.clock_timestamp(type_=UtcTime)

    def ago(self, span: timedelta) -> ColumnElement[datetime]:
        """The time ``span`` before now, by the database's clock."""
        if self.is_sqlite:
            return literal(datetime.now(UTC) - span, UtcTime)
        return func.clock_timestamp() - span

    @contextmanager
    def reading(self) -> Generator[Session]:
        """Open a session that only reads.

        Raises:
            DatabaseUnavailableError: The database cannot be reached.
        """
        with self._translated(), Session(self._single, expire_on_commit=False) as session:
            yield session

    def fetch_one(self, statement: Select[*tuple[Any, ...]], **parameters: object) -> Row[*tuple[Any, ...]] | None:
        """Return the one row that a query of columns gives, or ``None``; takes half the time of a session.

        Raises:
            DatabaseUnavailableError: The database cannot be reached.
        """
        with self._translated(), self._single.connect() as connection:
            return connection.execute(statement, parameters).one_or_none()

    @contextmanager
    def writing(self) -> Generator[Session]:
        """Open a session whose changes are committed if the block succeeds, and undone otherwise.

        Raises:
            DatabaseUnavailableError: The database cannot be reached; whether the changes were made is unknown.
            IntegrityError: A row violates a constraint; nothing was changed.
        """
        with self._translated(), self.engine.connect() as connection:
            connection.execution_options(writes=True)
            with connection.begin(), Session(connection, expire_on_commit=False) as session:
                yield session
                session.flush()

    def execute_alone(self, statement: Executable, **parameters: object) -> None:
        """Execute one statement that is a transaction of its own; takes half the time of :meth:`writing`.

        Raises:
            DatabaseUnavailableError: The database cannot be reached; whether the change was made is unknown.
        """
        if self.is_sqlite:
            with self.writing() as session:
                session.execute(statement, parameters)
            return
        with self._translated(), self._single.connect() as connection:
            connection.execute(statement, parameters)

    def migrate(self) -> None:
        """Bring the tables up to date; of several processes that do so at once, one does.

        Raises:
            DatabaseUnavailableError: The database cannot be reached.
            ConfigurationError: The tables are of a newer version than this code.
        """
        with self._translated():
            found = self._version()
            if found is None or found < HEAD:
                self._upgrade()
            elif found > HEAD:
                raise ConfigurationError(
                    f"The database {self.place} has tables of version {found}; this program knows {HEAD}.",
                    "Update the program, or use another database in DATABASE_URL.",
                )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _version(self) -> str | None:
        with self.engine.connect() as connection:
            if not self.engine.dialect.has_table(connection, "alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

    def _upgrade(self) -> None:
        from alembic import command  # noqa: PLC0415  -- needed once in the life of a database
        from alembic.config import Config  # noqa: PLC0415  -- as above

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
        with self.engine.connect() as connection:
            connection.execution_options(writes=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
                config.attributes["connection"] = connection
                command.upgrade(config, "head")

    def _create_engine(self) -> Engine:
        if not self.is_sqlite:
            options = f"-c statement_timeout={_STATEMENT_TIMEOUT_MS} -c lock_timeout={_STATEMENT_TIMEOUT_MS}"
            engine = create_engine(
                self._url,
                pool_size=_CONNECTIONS,
                max_overflow=0,
                pool_timeout=_POOL_TIMEOUT_S,
                connect_args={"connect_timeout": _CONNECT_TIMEOUT_S, "options": options},
            )
            event.listen(engine, "checkin", _note_use)
            event.listen(engine, "checkout", partial(_require_alive, engine.dialect))
            return engine
        Path(str(self._url.database)).absolute().parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self._url, connect_args={"timeout": _SQLITE_BUSY_S})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            raise DatabaseUnavailableError(
                f"The races' database {self.place} cannot be used ({type(error).__name__}).",
                "Check that it runs and that DATABASE_URL is right, then try again.",
            ) from error


def open_database(settings: Settings) -> RaceDatabase:
    """Open the races' database of the settings, with its tables up to date.

    Raises:
        ConfigurationError: ``DATABASE_URL`` cannot be used.
        DatabaseUnavailableError: The database cannot be reached.
    """
    database = RaceDatabase(database_url(settings))
    database.migrate()
    return database


def _checked_url(given: str) -> URL:
    try:
        url = make_url(given)
        if url.drivername in _POSTGRES:
            return url.set(drivername="postgresql+psycopg")
        if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
            return url
    except (ArgumentError, ValueError):
        pass
    raise ConfigurationError(
        "DATABASE_URL is neither a PostgreSQL database nor a SQLite file.",
        "Write it like postgresql://user:{password}@host:5432/name or sqlite:////path/races.sqlite.",
    )


def _note_use(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    del connection
    record.info[_USED_AT] = time.monotonic()


def _require_alive(dialect: Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
    """Ask a connection that has been idle for a sign of life: the database may have been restarted meanwhile.

    Raises:
        InvalidatePoolError: It is dead; the pool opens a new one.
    """
    if time.monotonic() - record.info.get(_USED_AT, math.inf) < _TRUSTED_FOR_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def _set_up_sqlite(connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401  -- sqlite3's own
    del record
    connection.isolation_level = None  # transactions begin where _begin_sqlite says so
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction; one that writes waits for its turn now, because it could not while it holds a snapshot."""
    is_writer = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")

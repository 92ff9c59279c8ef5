"""The SQLite databases of a Dagster home: which are damaged, which were never finished, and how large they are.

Dagster creates a database only if its file does not exist. A process that is killed while it creates one leaves an
empty file, or tables without the mark of their version, and every later start fails. Such a database has no run in it,
so it is removed and created again. See ``home_errors.py`` for the messages about databases that cannot be used.
"""

import sqlite3
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

# At these paths Dagster keeps them unless dagster.yaml says otherwise.
DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
_COMPANIONS = ("", "-journal", "-wal", "-shm")
_LOCK = ".opening.lock"
# Each run has a database of its own here.
_RUNS = "history/runs"
# Dagster makes thirty tables and indexes per run, most of which stay empty but for one page of 4 kB.
_PAGE_BYTES = 512
# Where a SQLite file has a number of its user's own, in four bytes. https://www.sqlite.org/fileformat.html
_USER_VERSION_AT = 60
_COMPACTED = 1
# Of files that become the database of a run once they are complete: one that is an hour old has lost its process.
UNFINISHED = ".new-"
_UNFINISHED_S = 3600
# Opening a home takes a second; a process that is stopped while doing so must not hold up the others.
_LONGEST_WAIT_S = 60.0


@contextmanager
def without_unfinished_databases(home: Path) -> Generator[None]:
    """Remove the databases that a killed process did not finish, and let no other process create one in the block.

    If another process opens the home for more than a minute, nothing is removed.
    """
    lock = FileLock(home / _LOCK)
    try:
        lock.acquire(timeout=_LONGEST_WAIT_S)
    except Timeout:
        yield
        return
    try:
        for database in existing_databases(home):
            if _is_unfinished(database):
                for ending in _COMPANIONS:
                    database.with_name(database.name + ending).unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def existing_databases(home: Path) -> list[Path]:
    """Return the databases of a home that exist."""
    return [home / name for name in DATABASES if (home / name).is_file()]


def is_empty(database: Path) -> bool:
    """Return whether the file of a database has no content."""
    return database.stat().st_size == 0


def is_damaged(database: Path) -> bool:
    """Return whether SQLite cannot use a database; one that is locked or on a full disk is not damaged."""
    if is_empty(database):
        return True
    try:
        with _reading(database) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
    except sqlite3.DatabaseError as error:
        return not isinstance(error, sqlite3.OperationalError)


def run_database(home: Path, run_id: str) -> Path:
    """Return where the events of a run are."""
    return home / _RUNS / f"{run_id}.db"


def uncompacted_runs(home: Path) -> Iterator[tuple[str, float]]:
    """Yield the id of each run whose database was not compacted, and when it was last written, seconds since 1970.

    The file itself says so, by the number that SQLite leaves to its user; nothing else has to remember it.
    """
    for database in (home / _RUNS).glob("*.db"):
        if database.name in {"index.db", ".db"}:  # of all runs, and of events without one
            continue
        with suppress(OSError):  # pruned in the meantime
            with database.open("rb") as file:
                header = file.read(_USER_VERSION_AT + 4)
            if int.from_bytes(header[_USER_VERSION_AT:]) != _COMPACTED:
                yield database.stem, database.stat().st_mtime


def remove_leftovers(home: Path) -> None:
    """Remove what processes left that were killed while they made the database of a run."""
    for file in (home / _RUNS).glob(f"{UNFINISHED}*"):
        with suppress(FileNotFoundError):  # completed in the meantime
            if time.time() - file.stat().st_mtime > _UNFINISHED_S:
                file.unlink()


def history_bytes(home: Path) -> int | None:
    """Return the size of the databases of runs and events; ``None`` if they are not in the home."""
    if not (home / _RUNS / "index.db").is_file():
        return None
    return sum(file.stat().st_size for file in (home / "history").rglob("*.db*"))


def compact(database: Path, *, keep_pages: bool = False) -> None:
    """Rewrite a database without unused space; one that another process has open is left as it is.

    Args:
        database: Its file; nothing is done if there is none.
        keep_pages: Keep the size of its pages: small ones save space in small databases and cost time in large ones.
    """
    if not database.is_file():
        return
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection, suppress(sqlite3.Error):
        if not keep_pages:
            # Pages can only be resized outside of the mode that Dagster uses, which takes sole use of the file.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        try:
            connection.execute("VACUUM")
            if not keep_pages:
                connection.execute(f"PRAGMA user_version = {_COMPACTED}")
        finally:
            connection.execute("PRAGMA journal_mode = WAL")
            # What was rewritten is in the log of changes, which stays as large as it once was.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _is_unfinished(database: Path) -> bool:
    """Return whether the creation of a database was cut off.

    Then no table has a row: Dagster writes the version of the tables when it has created all of them.
    """
    if is_empty(database):
        return not any(database.with_name(database.name + ending).exists() for ending in ("-journal", "-wal"))
    try:
        with _reading(database) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            # Names of tables come from the database itself, and are quoted.
            return not any(connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in tables)  # noqa: S608
    except sqlite3.Error:
        return False  # damaged or in use: reported by what opens it


@contextmanager
def _reading(database: Path) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
        yield connection

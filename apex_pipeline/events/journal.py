"""The shipper's journal: what became of each file, in SQLite, so that a restart asks the bucket as little as it can.

The bucket is the truth: an object carries the digest of its file. A lost journal therefore costs one request per file,
and never an event. A write-ahead log without a sync per entry is enough: what a power cut takes away is asked again.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from apex_pipeline.errors import ApexError, StorageFullError, StoreConfigError, StoreLockedError
from apex_pipeline.events.failures import ErrorClass
from apex_pipeline.events.folder import EventFile

_LOG = logging.getLogger(__name__)

# Another process holds the journal for milliseconds.
_BUSY_S = 10.0
_TABLE = """CREATE TABLE IF NOT EXISTS files (
    folder BLOB, name BLOB, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, sha256 TEXT, key TEXT, etag TEXT,
    state TEXT, attempts INTEGER, error_class TEXT, moved_to BLOB, updated_s REAL,
    PRIMARY KEY (folder, name, size, mtime_ns)) WITHOUT ROWID"""
_COLUMNS = "name, size, mtime_ns, ctime_ns, sha256, key, etag, state, attempts, error_class, moved_to, updated_s"
# With their names, so that a table to which a newer version has added columns can be written.
_UPSERT = f"INSERT OR REPLACE INTO files (folder, {_COLUMNS}) VALUES (?{', ?' * 12})"  # noqa: S608  -- constants
_OPEN = f"SELECT {_COLUMNS} FROM files WHERE folder = ? AND state IS NOT 'done'"  # noqa: S608  -- as above
_ALL = f"SELECT {_COLUMNS} FROM files WHERE folder = ? ORDER BY updated_s"  # noqa: S608  -- as above


class EntryState(StrEnum):
    """How far a file has come.

    Attributes:
        SENDING: It is being sent, or was when the process ended.
        DELIVERED: It is in the bucket, and still in the folder.
        DONE: It is in the bucket, and was moved or deleted.
        FAILED: It could not be sent.
    """

    SENDING = "sending"
    DELIVERED = "delivered"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Entry:
    """What the journal knows of one file in one state of its content.

    Attributes:
        name: Name of the file.
        size: Its size in bytes.
        mtime_ns: Time of its last edit in nanoseconds since 1970.
        state: How far it has come.
        ctime_ns: Time of its last edit, move or change of rights, if it was left in place.
        sha256: Digest of its bytes, once known.
        key: Its key in the bucket, once chosen.
        etag: The ETag of its object, once written.
        attempts: How often sending it was tried.
        error_class: Class of the last failure.
        moved_to: Where it lies now, if it was moved.
        updated_s: Time of this entry in seconds since 1970; 0 is filled in when it is written.
    """

    name: str
    size: int
    mtime_ns: int
    state: EntryState
    ctime_ns: int = 0
    sha256: str | None = None
    key: str | None = None
    etag: str | None = None
    attempts: int = 0
    error_class: ErrorClass | None = None
    moved_to: Path | None = None
    updated_s: float = 0.0

    @property
    def version(self) -> tuple[str, int, int]:
        """Name, size and time of the last edit, by which a file is found again."""
        return self.name, self.size, self.mtime_ns


class Journal:
    """The journal of one folder. Safe to share between threads; used by one process at a time.

    Args:
        database: The SQLite file, shared by all folders of this machine.
        folder: The folder.
    """

    def __init__(self, database: Path, folder: Path) -> None:
        self._path = database
        self._folder = os.fsencode(folder)
        self._lock = threading.Lock()
        with _journal_errors(database):
            self._connection = _open(database)
            self._open_entries = {entry.version: entry for entry in self._read(_OPEN)}

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def entry_of(self, file: EventFile) -> Entry | None:
        """Return what is known of a file in its present state, unless it was done with; no file is read."""
        return self._open_entries.get((file.name, file.size, file.mtime_ns))

    def delivered(self) -> list[Entry]:
        """Return the entries of delivered files that were last seen in the folder."""
        return [entry for entry in self._open_entries.values() if entry.state is EntryState.DELIVERED]

    def entries(self) -> list[Entry]:
        """Return all entries of the folder, oldest first."""
        with self._lock, _journal_errors(self._path):
            return self._read(_ALL)

    def put(self, entry: Entry) -> None:
        """Write an entry, replacing an earlier one of the same file in the same state.

        Raises:
            StorageFullError: The disk is full.
            StoreConfigError: The journal cannot be written.
        """
        entry = entry if entry.updated_s else replace(entry, updated_s=time.time())
        values = (
            *(self._folder, os.fsencode(entry.name), entry.size, entry.mtime_ns, entry.ctime_ns, entry.sha256),
            *(entry.key, entry.etag, entry.state, entry.attempts, entry.error_class),
            None if entry.moved_to is None else os.fsencode(entry.moved_to),
            entry.updated_s,
        )
        with self._lock, _journal_errors(self._path):
            self._connection.execute(_UPSERT, values)
            if entry.state is EntryState.DONE:
                self._open_entries.pop(entry.version, None)
            else:
                self._open_entries[entry.version] = entry

    def _read(self, statement: str) -> list[Entry]:
        rows = self._connection.execute(statement, (self._folder,))
        try:
            return [_entry_of(row) for row in rows]
        except (TypeError, ValueError) as error:
            raise StoreConfigError(
                f"The journal {self._path} has an entry that this version cannot read: {error}.",
                "A newer version may have written it: use that one. Or move the journal away; a new one is made from "
                "the bucket, at the cost of one request per file.",
            ) from error


def journal_path(state_dir: Path) -> Path:
    """Return the path of this machine's journal."""
    return state_dir.absolute() / "events.sqlite"


def _entry_of(row: tuple[object, ...]) -> Entry:
    name, size, mtime_ns, ctime_ns, sha256, key, etag, state, attempts, error_class, moved_to, updated_s = row
    return Entry(
        name=os.fsdecode(name),  # pyright: ignore[reportArgumentType]  -- columns have the types of the table
        size=int(str(size)),
        mtime_ns=int(str(mtime_ns)),
        state=EntryState(str(state)),
        ctime_ns=int(str(ctime_ns)),
        sha256=None if sha256 is None else str(sha256),
        key=None if key is None else str(key),
        etag=None if etag is None else str(etag),
        attempts=int(str(attempts)),
        error_class=None if error_class is None else ErrorClass(str(error_class)),
        moved_to=None if moved_to is None else Path(os.fsdecode(moved_to)),  # pyright: ignore[reportArgumentType]
        updated_s=float(str(updated_s)),
    )


def _open(database: Path) -> sqlite3.Connection:
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(database)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, full or read-only: not damaged
            raise
        kept = database.with_suffix(f".damaged-{time.time_ns()}")
        _LOG.warning("The journal %s is damaged (%s); it is kept as %s, and a new one is made.", database, error, kept)
        database.rename(kept)
        for suffix in ("-wal", "-shm"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        return _connect(database)


def _connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_TABLE)
        connection.execute("SELECT max(size) FROM files").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _journal_errors(database: Path) -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(error, database) from error
    except OSError as error:
        raise StoreConfigError(
            f"The journal {database} cannot be created: {error.strerror}.",
            "Set APEX_STATE_DIR to a folder on a local disk.",
        ) from error


def _explained(error: sqlite3.Error, database: Path) -> ApexError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the lowest byte is the primary code
    if code == sqlite3.SQLITE_FULL:
        return StorageFullError(
            f"The journal {database} cannot be written: the disk is full.",
            "Free some space, or set APEX_STATE_DIR to another disk; the files stay where they are until then.",
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreLockedError(f"The journal {database} is in use by another process.", "Run it again.")
    return StoreConfigError(
        f"The journal {database} cannot be used: {error}.",
        "Let this user write to it, or set APEX_STATE_DIR to another folder; a new journal is made from the bucket.",
    )

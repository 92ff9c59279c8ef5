"""Contains the cache of file digests, so that unchanged files are not read again.

A file counts as unchanged while its absolute path, size, modification time in nanoseconds, inode and ctime are the same
(if the modification time was set back after an edit, the ctime differs). The cache only saves time: if it is lost,
damaged, locked or not writable, files are hashed again. Every entry has a checksum of its own, because a wrong digest
would make an intact file look damaged, and SQLite does not notice a flipped bit.

Why not joblib or diskcache: they have no rule for when an entry may be trusted. An edit whose modification time was set
back, or one within the clock resolution of the file system, would go unnoticed.
"""

import hashlib
import logging
import os
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from apex_pipeline.progress import Progress
from apex_pipeline.storage.block_checksums import BlockChecksumBuilder, BlockChecksums, parse_sums
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, FileState, HashingReader

_LOG = logging.getLogger(__name__)

# File systems record time in ticks: 2 s on FAT, 1 s on older ones, a few milliseconds on current ones. A second edit
# within the same tick that keeps the size does not change the file state. A digest taken less than the longest tick
# after the last edit may therefore be wrong for later content, and is not cached.
_SETTLED_NS = 2_000_000_000
# How long a process waits while another one writes to the cache.
_BUSY_S = 5.0
# How long the cache is left alone after it could not be used: with one wait per file, 1,000 files would take an hour.
_BYPASS_S = 60.0

# The table was renamed when its columns changed; entries of the last version are taken over.
_TABLE = """CREATE TABLE IF NOT EXISTS fingerprints_3 (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, ctime_ns INTEGER, sha256 TEXT, sums TEXT,
    crc INTEGER) WITHOUT ROWID"""
_EXISTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
_TAKE_OVER = """INSERT OR IGNORE INTO fingerprints_3
    SELECT path, size, mtime_ns, inode, ctime_ns, sha256, sums,
        crc_of(path, size, mtime_ns, inode, ctime_ns, sha256, sums)
    FROM fingerprints_2 WHERE length(sha256) = 64"""
_SELECT = """SELECT path, size, mtime_ns, inode, ctime_ns, sha256, sums, crc FROM fingerprints_3
    WHERE path = ? AND size = ? AND mtime_ns = ? AND inode = ? AND (ctime_ns IS NULL OR ctime_ns = ?)"""
_DELETE = "DELETE FROM fingerprints_3 WHERE path = ?"
_INSERT = "INSERT OR REPLACE INTO fingerprints_3 VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# The primary codes of errors of SQLite that do not mean damage: the file is locked, or the disk is full or read-only.
_NOT_AVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_PROTOCOL,
    }
)


class FileDigest(NamedTuple):
    """Digest, size and block checksums of a file, all from the same read."""

    sha256: str
    size: int
    sums: BlockChecksums


class DigestCache:
    """SHA-256 of local files and of objects of a source bucket, cached across runs.

    Several threads and processes may use it at once. The database is opened or created on first use.

    Args:
        database: SQLite file of the cache, or ``None`` for a cache in memory.
        now_ns: Clock, replaceable in tests.
        progress: Called with the size of each hashed block, unless a call has a receiver of its own.
    """

    def __init__(
        self,
        database: Path | None = None,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        progress: Progress | None = None,
    ) -> None:
        self._database = database
        self._now_ns = now_ns
        self._progress = progress
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        # By kind of statement: a process that is stopped while it writes blocks the others' writes, not their reads.
        self._bypassed_until_s = {"read": 0.0, "write": 0.0}

    def sha256_of(self, path: Path, progress: Progress | None = None) -> str:
        """Return the digest of a file; arguments and errors as for :meth:`digest_of`."""
        with HashingReader(path) as reader:
            known = self._row(_name(path), reader.state)
            return known[0] if known else self._hashed(path, reader, None, progress).sha256

    def digest_of(self, path: Path, progress: Progress | None = None) -> FileDigest:
        """Return the digest, size and block checksums of a file; the file is not read if they are cached.

        Args:
            path: The file.
            progress: Called with the size of each hashed block; not called if the digest is cached.

        Raises:
            FileChangedError: The file is gone, or changed while it was read.
            SourceError: It cannot be read.
        """
        with HashingReader(path) as reader:
            state = reader.state
            row = self._row(_name(path), state)
            sums = None if row is None else parse_sums(row[1], state.size)
            if row is not None and sums is not None:
                return FileDigest(row[0], state.size, sums)
            return self._hashed(path, reader, row, progress)

    def put(self, path: Path, state: FileState, opened_ns: int, sha256: str, sums: BlockChecksums | None) -> None:
        """Cache the digest of a file that was read completely, unless it was edited just before.

        An entry from :meth:`put_trusted` is kept: it does not depend on the ctime, so damage to an object of the lake
        is still detected.

        Args:
            path: The file.
            state: Its state, unchanged during the read.
            opened_ns: Time at which reading started.
            sha256: Digest of its content.
            sums: Block checksums of its content, if they were computed.
        """
        if _is_settled(state, opened_ns):
            row = self._row(_name(path), state)
            if row is None or (row[1] is None and sums is not None):
                self._store(_name(path), state, sha256, None if sums is None else sums.to_text())

    def get(self, path: Path, state: FileState) -> str | None:
        """Return the cached digest of a file in this state, without reading it; ``None`` if it is not cached."""
        row = self._row(_name(path), state)
        return None if row is None else row[0]

    def object_digest(self, uri: str, version: str, size: int, compute: Callable[[], str]) -> str:
        """Return the digest of an object in a bucket; computed if it is not cached for this version.

        Args:
            uri: The object's URI.
            version: What changes with its content.
            size: Its size in bytes.
            compute: Returns the digest of exactly this version.
        """
        known = self.known_object_digest(uri, version, size)
        if known is not None:
            return known
        sha256 = compute()
        self.put_object_digest(uri, version, size, sha256)
        return sha256

    def known_object_digest(self, uri: str, version: str, size: int) -> str | None:
        """Return the cached digest of an object; arguments as for :meth:`object_digest`."""
        row = self._row(uri.encode(), _object_state(version, size))
        return None if row is None else row[0]

    def put_object_digest(self, uri: str, version: str, size: int, sha256: str) -> None:
        """Cache the digest of an object; arguments as for :meth:`object_digest`."""
        self._store(uri.encode(), _object_state(version, size), sha256, None)

    def put_trusted(self, path: Path, state: FileState, sha256: str) -> None:
        """Cache the digest of a file that the caller has just written.

        Only for files that are never edited in place: new content is written to a new file, which replaces the old one
        and is cached again. The entry is therefore valid immediately. The ctime is not compared, because renaming the
        file into place changes it.
        """
        self._store(_name(path), state._replace(ctime_ns=None), sha256, None)

    def forget(self, path: Path) -> None:
        """Drop what is known of a file, so that its digest is computed again."""
        self._run("write", _DELETE, (_name(path),))

    def _hashed(
        self, path: Path, reader: HashingReader, row: tuple[str, str | None] | None, progress: Progress | None
    ) -> FileDigest:
        """Read an opened file to its end and cache its digest, unless it was edited just before.

        Args:
            path: The file.
            reader: The same, opened.
            row: What was just found to be cached of it, without checksums of blocks. A look costs as much as hashing a
                small object, of which a lake has twenty per session, so there is no second one.
            progress: Called with the size of each hashed block.
        """
        opened_ns = self._now_ns()
        sums = _sums_of(reader, progress or self._progress)
        if _is_settled(reader.state, opened_ns) and (row is None or row[1] is None):
            self._store(_name(path), reader.state, reader.sha256, sums.to_text())
        return FileDigest(reader.sha256, reader.state.size, sums)

    def _row(self, name: bytes, state: FileState) -> tuple[str, str | None] | None:
        row = self._run("read", _SELECT, (name, *_stored(state)))
        if row is None or row[-1] != _crc_of(*row[:-1]):  # not cached, or damaged
            return None
        return str(row[5]), None if row[6] is None else str(row[6])

    def _store(self, name: bytes, state: FileState, sha256: str, sums: str | None) -> None:
        values = (name, *_stored(state), sha256, sums)
        self._run("write", _INSERT, (*values, _crc_of(*values)))

    def _run(
        self, kind: Literal["read", "write"], statement: str, values: tuple[object, ...]
    ) -> tuple[object, ...] | None:
        with self._lock:
            if time.monotonic() < self._bypassed_until_s[kind]:
                return None
            if self._connection is None:
                self._connection = self._connect()
            try:
                return self._connection.execute(statement, values).fetchone()
            except (sqlite3.Error, UnicodeError) as error:
                if _is_damage(error):
                    self._connection.close()
                    self._connection = self._connect_again(error)
                else:
                    self._bypassed_until_s[kind] = time.monotonic() + _BYPASS_S
                    self._warn(f"cannot be used for {_BYPASS_S:.0f} s", error)
            return None

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._opened(self._database)
        except (sqlite3.Error, UnicodeError, OSError) as error:
            return self._connect_again(error)

    def _connect_again(self, error: Exception) -> sqlite3.Connection:
        """Recreate a damaged cache; fall back to memory if the file cannot be used."""
        if _is_damage(error) and self._database is not None:
            _LOG.warning("The digest cache %s is damaged (%s); recreating it.", self._database, error)
            try:
                _remove(self._database)
                return self._opened(self._database)
            except (sqlite3.Error, UnicodeError, OSError) as second_error:
                error = second_error
        self._warn("cannot be used", error)
        return self._opened(None)

    def _opened(self, database: Path | None) -> sqlite3.Connection:
        connection = _open(database)
        # Closed with this object, because sqlite3 complains about connections left open.
        weakref.finalize(self, connection.close)
        return connection

    def _warn(self, what: str, error: Exception) -> None:
        _LOG.warning(
            "The digest cache %s %s (%s); files may be hashed again next time. Check the folder APEX_STATE_DIR.",
            self._database,
            what,
            error,
        )


def _is_damage(error: Exception) -> bool:
    """Return whether the database must be created again: it is not a database, was damaged, or has another schema."""
    if isinstance(error, OSError):
        return False
    # The lowest byte is the primary code; Python sets none if a text of the database cannot be decoded.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _NOT_AVAILABLE


def _is_settled(state: FileState, opened_ns: int) -> bool:
    return opened_ns - state.mtime_ns >= _SETTLED_NS


def _crc_of(*values: object) -> int:
    """Return the checksum of an entry's other columns."""
    return zlib.crc32(repr(values).encode(errors="replace"))


def _sums_of(reader: HashingReader, progress: Progress | None) -> BlockChecksums:
    """Read a file to its end and return its checksums; for a large file, they are computed in another thread."""
    builder = BlockChecksumBuilder(reader.state.size)
    if reader.state.size <= BLOCK_BYTES:
        content = reader.read()
        builder.update(content)
        if progress is not None:
            progress(len(content))
        return builder.sums
    pending: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="block-sums") as executor:
        while block := reader.read(BLOCK_BYTES):
            if pending is not None:
                pending.result()
            pending = executor.submit(builder.update, block)
            if progress is not None:
                progress(len(block))
    return builder.sums


def _open(database: Path | None) -> sqlite3.Connection:
    if database is None:
        connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    else:
        database.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(database, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
    try:
        # With a write-ahead log, readers do not wait for a writer; after a power cut the last entries may be missing.
        # If another process is enabling it at this moment, SQLite fails instead of waiting, but the mode is set anyway.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        # A damaged text fails the comparison of its checksum, and is not an error.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        _create_table(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create_table(connection: sqlite3.Connection) -> None:
    is_new = connection.execute(_EXISTS, ("fingerprints_3",)).fetchone() is None
    connection.execute(_TABLE)
    if is_new and connection.execute(_EXISTS, ("fingerprints_2",)).fetchone() is not None:
        connection.create_function("crc_of", 7, _crc_of)
        connection.execute(_TAKE_OVER)


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)


def _name(path: Path) -> bytes:
    """Return the path as bytes, since a file name need not be valid Unicode."""
    return os.fsencode(os.path.abspath(path))  # noqa: PTH100  -- Path.absolute() keeps "..", resolve() costs a lookup per folder


def _object_state(version: str, size: int) -> FileState:
    """Return an object's version as the state of a file; a URI never equals a path, which is absolute."""
    return FileState(size, 0, int.from_bytes(hashlib.sha256(version.encode()).digest()[:8]))


def _stored(state: FileState) -> tuple[int, int, int, int | None]:
    """Return the state as SQLite can store it: inodes may use all 64 bits, but SQLite's integers are signed."""
    inode = state.inode - (1 << 64) if state.inode >= 1 << 63 else state.inode
    return state.size, state.mtime_ns, inode, state.ctime_ns

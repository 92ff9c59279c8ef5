"""Digests of local files, remembered, so that an unchanged tree need not be read again.

Here belong the cache and the rule when it may be trusted. A file is taken for unchanged while its absolute path, size,
time of modification in nanoseconds, inode and ctime are the same (an edit whose time was set back has another ctime).
The cache is a help and never a truth: lost, damaged or not writable, it only costs time.

Why not joblib or diskcache: they have no rule for when an entry may be trusted. An edit whose modification time was set
back, or one within the clock resolution of the file system, would go unnoticed.
"""

import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from apex_pipeline.progress import Progress
from apex_pipeline.storage.block_checksums import BlockChecksumBuilder, BlockChecksums, parse_sums
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, FileState, HashingReader

_LOG = logging.getLogger(__name__)

# A file system counts time in ticks: 2 s on FAT, 1 s on older ones, a few milliseconds on today's. A second edit of the
# same size within the tick of the first leaves the mark as it was. A digest taken less than the longest tick after the
# last edit could therefore stand for other bytes later, and is not remembered.
_SETTLED_NS = 2_000_000_000
# How long one process waits for another that is writing the cache.
_BUSY_S = 5.0

# The name has changed with the columns: a cache of an older version is left alone.
_TABLE = """CREATE TABLE IF NOT EXISTS fingerprints_2 (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, ctime_ns INTEGER, sha256 TEXT, sums TEXT)
    WITHOUT ROWID"""


class FileDigest(NamedTuple):
    """Digest, size and block sums of a file's content, of the same moment."""

    sha256: str
    size: int
    sums: BlockChecksums


class DigestCache:
    """SHA-256 of local files, cached across runs; may be used by several threads and processes at once.

    Nothing is opened or made before the first use.

    Args:
        database: SQLite file of the cache, or ``None`` to remember within this process only.
        now_ns: The clock, for tests.
    """

    def __init__(self, database: Path | None = None, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def sha256_of(self, path: Path, progress: Progress | None = None) -> str:
        """Return the digest of a file; arguments and errors as for :meth:`digest_of`."""
        with HashingReader(path) as reader:
            known = self.get(path, reader.state)
        return known or self.digest_of(path, progress).sha256

    def digest_of(self, path: Path, progress: Progress | None = None) -> FileDigest:
        """Return what identifies a file's content, read only if its mark is not known.

        Args:
            path: The file.
            progress: Told about bytes as they are hashed; not called when the digest is known.

        Raises:
            VanishedFileError: The file is gone, or changed while it was read.
            SourceError: It cannot be read.
        """
        with HashingReader(path) as reader:
            mark = reader.state
            row = self._row(path, mark)
            sums = None if row is None else parse_sums(row[1], mark.size)
            if row is not None and sums is not None:
                return FileDigest(row[0], mark.size, sums)
            opened_ns = self._now_ns()
            sums = _sums_of(reader, progress)
        fingerprint = FileDigest(reader.sha256, mark.size, sums)
        self.put(path, mark, opened_ns, fingerprint.sha256, fingerprint.sums)
        return fingerprint

    def put(self, path: Path, mark: FileState, opened_ns: int, sha256: str, sums: BlockChecksums | None) -> None:
        """Remember what somebody found who has read a file whole, unless it was edited too shortly before that.

        What :meth:`put_trusted` was told stays: it holds for a lake's own object whatever its ctime, so damage shows.

        Args:
            path: The file.
            mark: Its state, the same before and after the reading.
            opened_ns: When the reading began.
            sha256: Digest of its content.
            sums: Block sums of its content, where they were made.
        """
        is_settled = opened_ns - mark.mtime_ns >= _SETTLED_NS
        row = self._row(path, mark) if is_settled else None
        if is_settled and (row is None or (row[1] is None and sums is not None)):
            self._store(path, mark, sha256, None if sums is None else sums.to_text())

    def get(self, path: Path, mark: FileState) -> str | None:
        """Return the remembered digest of a file in the state ``mark``, without reading it."""
        row = self._row(path, mark)
        return None if row is None else row[0]

    def put_trusted(self, path: Path, mark: FileState, sha256: str) -> None:
        """Take the word of the one who has just written ``path``.

        Only for files that are never edited in place: each new content must be a new file put in place of the old one
        and remembered again, which is why no time to settle is needed. The rename that puts it there changes its
        ctime, which therefore does not count.
        """
        self._store(path, mark._replace(ctime_ns=None), sha256, None)

    def _row(self, path: Path, mark: FileState) -> tuple[str, str | None] | None:
        query = """SELECT sha256, sums FROM fingerprints_2 WHERE path = ? AND size = ? AND mtime_ns = ? AND inode = ?
            AND (ctime_ns IS NULL OR ctime_ns = ?)"""
        row = self._run(query, (_name(path), *_stored(mark)))
        return None if row is None else (str(row[0]), None if row[1] is None else str(row[1]))

    def _store(self, path: Path, mark: FileState, sha256: str, sums: str | None) -> None:
        values = (_name(path), *_stored(mark), sha256, sums)
        self._run("INSERT OR REPLACE INTO fingerprints_2 VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def _run(self, statement: str, values: tuple[object, ...]) -> tuple[object, ...] | None:
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            try:
                return self._connection.execute(statement, values).fetchone()
            except sqlite3.OperationalError as error:  # held by another process, disk full: not remembered, then
                _LOG.debug("File fingerprints in %s are not available now: %s", self._database, error)
            except sqlite3.DatabaseError as error:
                self._connection.close()
                self._connection = self._connect_again(error)
            return None

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._opened(self._database)
        except (sqlite3.DatabaseError, OSError) as error:
            return self._connect_again(error)

    def _connect_again(self, error: sqlite3.DatabaseError | OSError) -> sqlite3.Connection:
        """Make the cache new if it is damaged; do without a file where none can be had."""
        is_damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if is_damaged and self._database is not None:
            _LOG.warning("The file fingerprints in %s are damaged (%s); they are made new.", self._database, error)
            try:
                _remove(self._database)
                return self._opened(self._database)
            except (sqlite3.DatabaseError, OSError) as second_error:
                error = second_error
        _LOG.warning(
            "File fingerprints cannot be kept in %s (%s); files are read again next time.", self._database, error
        )
        return self._opened(None)

    def _opened(self, database: Path | None) -> sqlite3.Connection:
        connection = _open(database)
        # Closed with this object: SQLite would complain about a connection left open.
        weakref.finalize(self, connection.close)
        return connection


def _sums_of(reader: HashingReader, progress: Progress | None) -> BlockChecksums:
    """Read a file to its end and return its sums; a large one's are made beside its digest, in another thread."""
    summer = BlockChecksumBuilder(reader.state.size)
    if reader.state.size <= BLOCK_BYTES:
        content = reader.read()
        summer.update(content)
        if progress is not None:
            progress(len(content))
        return summer.sums
    pending: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="block-sums") as beside:
        while block := reader.read(BLOCK_BYTES):
            if pending is not None:
                pending.result()
            pending = beside.submit(summer.update, block)
            if progress is not None:
                progress(len(block))
    return summer.sums


def _open(database: Path | None) -> sqlite3.Connection:
    if database is None:
        connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    else:
        database.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(database, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
    try:
        # With a write-ahead log readers do not wait for a writer; after a power cut the last entries may be missing.
        # SQLite does not wait here while another process turns it on, but then it is turned on already.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_TABLE)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)


def _name(path: Path) -> bytes:
    """Return the path as bytes: a file name need not be valid Unicode."""
    return os.fsencode(os.path.abspath(path))  # noqa: PTH100  -- Path.absolute() keeps "..", resolve() costs a look-up per folder


def _stored(mark: FileState) -> tuple[int, int, int, int | None]:
    """Return the mark as SQLite can hold it: inodes may use all 64 bits, SQLite's integers have a sign."""
    inode = mark.inode - (1 << 64) if mark.inode >= 1 << 63 else mark.inode
    return mark.size, mark.mtime_ns, inode, mark.ctime_ns

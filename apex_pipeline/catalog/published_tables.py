"""Reads the tables of published sessions, one or many at a time, and keeps those that were read last.

A published file never changes, so what is kept stays valid. See ``frames.py`` for pandas, ``telemetry_reader.py`` for
the one table that is not read as a whole.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa

from apex_pipeline.catalog.session_groups import (
    SessionGroup,
    concatenated,
    group_sessions,
    pack_table,
    unpack_table,
)
from apex_pipeline.errors import ConfigurationError, NotPublishedError, did_you_mean
from apex_pipeline.lake.objects import read_table_file
from apex_pipeline.lake.published_session import PublishedSession, TableRecord
from apex_pipeline.lake.snapshot import FORMAT, Snapshot
from apex_pipeline.lake.tables import require_session
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import REJECTS, is_rejects_table
from apex_pipeline.tables.session_key import SessionKey

# Tables up to this size on disk are kept: all but telemetry. The laps of a race have 60 kB.
SMALL_BYTES = 1_000_000
# Memory for the tables that are kept. The laps of a race have 150 kB there.
_KEPT_BYTES = 256 * 1024**2


class PublishedTables:
    """The tables of a snapshot's sessions; safe to share between threads.

    Args:
        store: The lake.
        snapshot: The snapshot.
    """

    def __init__(self, store: ObjectStore, snapshot: Snapshot) -> None:
        self.store = store
        self.snapshot = snapshot
        self._kept = _KeptTables(_KEPT_BYTES)

    def remember(self, other: "PublishedTables") -> None:
        """Keep the tables that are kept for another snapshot of this lake."""
        self.snapshot.remember(other.snapshot)
        self._kept = other._kept  # noqa: SLF001  -- another one of this class

    def session(self, key: SessionKey) -> PublishedSession:
        """Return the published record of a session.

        Raises:
            NotPublishedError: The session is not published.
        """
        return require_session(self.snapshot, key)

    def record(self, name: str, key: SessionKey) -> TableRecord:
        """Return the record of one of a session's tables.

        Raises:
            NotPublishedError: The session is not published, or has no such table.
        """
        session = self.session(key)
        if name in session.tables:
            return session.tables[name]
        guess = did_you_mean(name, session.tables)
        raise NotPublishedError(
            f"The session {session.key} was published without the table {name}.",
            f"Run a sync to derive the session again. {guess}Its tables are: {', '.join(sorted(session.tables))}.",
        )

    def has(self, name: str, key: SessionKey) -> bool:
        """Return whether a session was published with a table, which may have no rows."""
        return name in self.session(key).tables

    def any_has(self, name: str) -> bool:
        """Return whether any session was published with a table."""
        return any(name in session.tables for session in self.snapshot.sessions)

    def read(self, name: str, key: SessionKey) -> pa.Table:
        """Return one of a session's tables; errors as for :meth:`record`, and for damaged files."""
        return self.read_record(self.record(name, key))

    def read_record(self, record: TableRecord) -> pa.Table:
        """Return a published table by its record."""
        found = self._read_file(record)
        if record.bytes <= SMALL_BYTES:
            self._kept.put(record.sha256, found)
        return found

    def rejects(self, key: SessionKey) -> pa.Table:
        """Return the rejected rows of all of a session's raw files."""
        records = _records_of(REJECTS.name, self.session(key))
        return concatenated([REJECTS.empty(), *map(self.read_record, records)])

    def read_many(self, name: str, keys: Sequence[SessionKey]) -> pa.Table:
        """Return a table of several sessions as one, in the order of the sessions.

        A session without this table has no rows in it. Columns that only some of the sessions have are null in the
        others.

        Raises:
            ConfigurationError: No session has such a table.
            NotPublishedError: There is no session.
            ObjectMissingError: A file is missing.
            StoreCorruptionError: A file is damaged.
        """
        found = self._read_groups(name, keys) if self._are_kept else []
        if not found:
            sessions = list(self.snapshot.sessions_of(keys))
            _require_table(name, sessions)
            found = self._read_all([record for session in sessions for record in _records_of(name, session)])
        return concatenated([REJECTS.empty(), *found] if name == REJECTS.name else found).unify_dictionaries()

    @property
    def _are_kept(self) -> bool:
        """Whether the tables of several sessions may be on the disk; the records of format 1 have no digests."""
        return self.store.keeps_derived and self.snapshot.format == FORMAT

    def _read_groups(self, name: str, keys: Sequence[SessionKey]) -> list[pa.Table]:
        """Return the tables of those groups of sessions that have it, through the files that the store keeps."""
        groups = group_sessions(self.snapshot, name, keys)
        with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
            return [table for table in pool.map(partial(self._read_group, name), groups) if table.num_columns]

    def _read_group(self, name: str, group: SessionGroup) -> pa.Table:
        found = self._kept.get(group.name)
        if found is None:
            found = unpack_table(self.store.derived(group.name, lambda: self._pack(name, group)))
            self._kept.put(group.name, found)
        return found

    def _pack(self, name: str, group: SessionGroup) -> bytes:
        records = [record for key in group.keys for record in _records_of(name, self.session(key))]
        # Not by read_record, which would keep each table a second time.
        return pack_table(concatenated([self._read_file(record) for record in records]))

    def _read_file(self, record: TableRecord) -> pa.Table:
        found = self._kept.get(record.sha256)
        return read_table_file(self.store, record) if found is None else found

    def _read_all(self, records: Sequence[TableRecord]) -> list[pa.Table]:
        """Return tables in the order of their records; those that are not kept are read in parallel."""
        kept = {record.sha256: table for record in records if (table := self._kept.get(record.sha256)) is not None}
        missing = list({record.sha256: record for record in records if record.sha256 not in kept}.values())
        if missing:
            with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
                tables = pool.map(self.read_record, missing)
                kept |= {record.sha256: table for record, table in zip(missing, tables, strict=True)}
        return [kept[record.sha256] for record in records]


def _records_of(name: str, session: PublishedSession) -> list[TableRecord]:
    """Return the records of a session's tables with a name; ``rejects`` means all that list rejected rows."""
    if name != REJECTS.name:
        return [session.tables[name]] if name in session.tables else []
    return [table for table_name, table in session.tables.items() if is_rejects_table(table_name)]


def _require_table(name: str, sessions: Collection[PublishedSession]) -> None:
    if not sessions:
        raise NotPublishedError("No session is published.", "Run `apex sync FOLDER` first, or open another lake.")
    known = {REJECTS.name, *(table for session in sessions for table in session.tables)}
    if name not in known:
        raise ConfigurationError(
            f"No table is called {name!r}.", f"{did_you_mean(name, known)}There are: {', '.join(sorted(known))}."
        )


class _KeptTables:
    """The tables that were read last, up to a number of bytes in memory.

    Args:
        limit: The number of bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._tables: OrderedDict[str, tuple[pa.Table, int]] = OrderedDict()
        self._bytes = 0

    def get(self, sha256: str) -> pa.Table | None:
        with self._lock:
            if sha256 not in self._tables:
                return None
            self._tables.move_to_end(sha256)
            return self._tables[sha256][0]

    def put(self, sha256: str, table: pa.Table) -> None:
        size = table.get_total_buffer_size()
        with self._lock:
            if sha256 in self._tables:
                return
            self._tables[sha256] = table, size
            self._bytes += size
            while self._bytes > self._limit:
                _, (_, freed) = self._tables.popitem(last=False)
                self._bytes -= freed

"""Snapshots: what is published, from the pointer down to the table files.

``catalog/current.json`` names a snapshot. A snapshot names its shards by digest, a shard names the published record of
each of its sessions by digest, and a record names the session's table files by digest. All of them but the pointer are
immutable, so a reader sees one state however many syncs run, and unchanged parts are shared between snapshots:
changing one session among 1,600 writes one record, one shard of eight, one snapshot and the pointer. Parts are read
when they are needed. See ``publication.py`` for the writing side.

Snapshots of format 1 are one document with all sessions, whose tables are at their stable names or in ``history/``.
They stay readable; the next sync publishes their content in format 2.

Why not Delta Lake, Iceberg or DuckLake: one pointer here publishes all tables of a session at once, and ``tables/`` is
plain hive-partitioned Parquet. Delta is atomic per table only, and a reader that ignores its log, such as
``pandas.read_parquet``, would read replaced files too.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.lake.documents import (
    MAX_DOCUMENT_BYTES,
    Count,
    Digest,
    NameText,
    PathText,
    SessionText,
    parse_document,
    read_digested,
)
from apex_pipeline.lake.published_session import (
    PublishedSession,
    SessionEntry,
    TableRecord,
    read_published_session,
    session_entry,
)
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    SNAPSHOT_IDS_PREFIX,
    SNAPSHOTS_PREFIX,
    object_key,
    published_session_key,
    shard_key,
    snapshot_key,
    snapshot_table_key,
    table_key,
)
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables.session_key import SessionKey, parse_session_key

# Written into every snapshot; a reader raises an error if it finds a higher number.
FORMAT = 2


@dataclass(frozen=True)
class Shard:
    """The entries of some of a snapshot's sessions, by ``track/session``."""

    sessions: dict[SessionText, SessionEntry]


@dataclass(frozen=True)
class Pointer:
    """The content of ``catalog/current.json``: the id of the published snapshot."""

    snapshot: PathText


@dataclass(frozen=True)
class _Document:
    """A snapshot as stored."""

    format: int
    id: str
    created_utc: str
    parent: str | None
    shards: tuple[Digest, ...]
    note: str = ""


@dataclass(frozen=True)
class _OldTable:
    key: PathText
    sha256: Digest
    bytes: Count
    rows: Count
    inputs_version: str | None


@dataclass(frozen=True)
class _OldSession:
    track: str
    session: str
    inputs_version: str
    tables: dict[NameText, _OldTable]
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class _OldDocument:
    """A snapshot of format 1 as stored."""

    format: int
    id: str
    created_utc: str
    parent: str | None
    catalog: dict[NameText, _OldTable]
    sessions: tuple[_OldSession, ...]


@dataclass(frozen=True)
class _Format:
    """The only field that is read before the format is known."""

    format: int


class LaterFormatError(StoreCorruptionError):
    """A snapshot was written by a later version of this project."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything published at one moment. Its parts are read from the store when they are needed, and kept.

    Attributes:
        id: Its id, which starts with the time of publication.
        created_utc: Time of publication.
        parent: Id of the snapshot it replaced, if any.
        shards: Digests of its shards; the session's key decides in which it is.
        note: Why it was published, if not by a sync.
        format: 1 or 2.
        catalog: Tables of the catalog that belong to a snapshot of format 1.
    """

    store: ObjectStore = field(repr=False)
    id: str
    created_utc: str
    parent: str | None
    shards: tuple[str, ...]
    note: str = ""
    format: int = FORMAT
    catalog: Mapping[str, TableRecord] = field(default_factory=dict[str, TableRecord])
    _entries: dict[str, dict[SessionKey, SessionEntry]] = field(
        default_factory=dict[str, dict[SessionKey, SessionEntry]], repr=False
    )
    _records: dict[str, PublishedSession] = field(default_factory=dict[str, PublishedSession], repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and (self.id, self.shards) == (other.id, other.shards)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def entries(self) -> dict[SessionKey, SessionEntry]:
        """The entry of every session, by key in order; reads all shards.

        Raises:
            StoreCorruptionError: A shard is missing or damaged.
        """
        return self.entries_in(self.shards)

    def entries_in(self, shards: Iterable[str]) -> dict[SessionKey, SessionEntry]:
        """Return the entries in some of its shards, by key in order.

        Raises:
            StoreCorruptionError: A shard is missing or damaged.
        """
        shards = list(shards)
        missing = [shard for shard in shards if shard not in self._entries]
        if missing:
            with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
                list(pool.map(self._shard, missing))
        return dict(sorted(item for shard in shards for item in self._entries[shard].items()))

    @property
    def keys(self) -> tuple[SessionKey, ...]:
        """The published sessions, sorted."""
        return tuple(self.entries)

    def entry(self, key: SessionKey) -> SessionEntry | None:
        """Return a session's entry, or ``None`` if it is not published; reads one shard."""
        if not self.shards:
            return None
        return self._shard(self.shards[shard_number(key, len(self.shards))]).get(key)

    def session(self, key: SessionKey) -> PublishedSession | None:
        """Return the published record of a session, or ``None`` if it is not published.

        Raises:
            StoreCorruptionError: The record or its shard is missing or damaged.
        """
        entry = self.entry(key)
        return None if entry is None else self._record(key, entry)

    @property
    def sessions(self) -> tuple[PublishedSession, ...]:
        """The published record of every session, sorted; reads all of them."""
        return tuple(self.sessions_of(self.entries))

    def sessions_of(self, keys: Iterable[SessionKey]) -> Iterator[PublishedSession]:
        """Yield the published records of these sessions; those that are not published are left out.

        Raises:
            StoreCorruptionError: A record or a shard is missing or damaged.
        """
        entries = self.entries
        found = {key: entries[key] for key in keys if key in entries}
        missing = [item for item in found.items() if item[1].record not in self._records]
        if missing:
            with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
                list(pool.map(lambda item: self._record(*item), missing))
        for key, entry in found.items():
            yield self._record(key, entry)

    def remember(self, other: "Snapshot") -> None:
        """Keep what another snapshot of this lake has read of itself: its parts are named by their content.

        What that one only remembers from a still earlier one is let go, or a reader would grow for as long as it runs.
        """
        if not self.format == other.format == FORMAT:
            return
        entries, records = dict(other._entries), dict(other._records)  # noqa: SLF001  -- another one of this class
        shards = {shard: entries[shard] for shard in other.shards if shard in entries}
        named = {entry.record for of_shard in shards.values() for entry in of_shard.values()}
        self._entries.update(shards)
        self._records.update({sha256: records[sha256] for sha256 in named & records.keys()})

    def _shard(self, sha256: str) -> dict[SessionKey, SessionEntry]:
        if sha256 not in self._entries:
            shard = read_digested(self.store, shard_key(sha256), sha256, Shard)
            self._entries[sha256] = {parse_session_key(text): entry for text, entry in shard.sessions.items()}
        return self._entries[sha256]

    def _record(self, key: SessionKey, entry: SessionEntry) -> PublishedSession:
        if entry.record not in self._records:
            self._records[entry.record] = read_published_session(self.store, entry.record, str(key))
        return self._records[entry.record]


# Up to this many sessions, a snapshot has this many shards. A shard of 256 sessions has 80 kB, and all eight of a lake
# of 1,600 sessions are read with eight requests.
_SHARDS = ((64, 1), (2_048, 8), (16_384, 64))
_MOST_SHARDS = 512


def shard_count(sessions: int) -> int:
    """Return the number of shards of a snapshot with this number of sessions."""
    return next((shards for most, shards in _SHARDS if sessions <= most), _MOST_SHARDS)


def shard_number(key: SessionKey, shards: int) -> int:
    """Return in which of the shards a session is."""
    return int.from_bytes(hashlib.sha256(str(key).encode()).digest()[:4]) % shards


def read_pointer(store: ObjectStore) -> tuple[str, str] | None:
    """Return the id of the published snapshot and the pointer's tag, or ``None`` if nothing is published.

    Raises:
        StoreCorruptionError: The pointer is damaged.
    """
    found = store.read_with_tag(CURRENT_SNAPSHOT_KEY, MAX_DOCUMENT_BYTES)
    if found is None:
        return None
    return parse_document(Pointer, found[0], store.uri_of(CURRENT_SNAPSHOT_KEY)).snapshot, found[1]


def read_current(store: ObjectStore) -> Snapshot | None:
    """Return the published snapshot, or ``None`` if nothing is published.

    Raises:
        StoreCorruptionError: The pointer or the snapshot it names cannot be read.
    """
    pointer = read_pointer(store)
    return None if pointer is None else read_snapshot(store, snapshot_key(pointer[0]))


def read_snapshot(store: ObjectStore, key: str) -> Snapshot:
    """Return a snapshot by its key.

    Raises:
        StoreCorruptionError: It is missing, damaged, another one, or has a later format.
    """
    found = store.read_with_tag(key, MAX_DOCUMENT_BYTES)
    if found is None:
        raise StoreCorruptionError(
            f"{store.uri_of(key)} is missing, although it is named as a snapshot.",
            "Run `apex sync`, which publishes the lake again; `apex history` lists the snapshots that are there.",
        )
    snapshot = parse_snapshot(store, found[0], store.uri_of(key))
    if snapshot_key(snapshot.id) != key:
        raise StoreCorruptionError(
            f"{store.uri_of(key)} holds another snapshot, {snapshot.id}.",
            "Run `apex sync`, which publishes the lake again.",
        )
    return snapshot


def parse_snapshot(store: ObjectStore, content: bytes, name: str) -> Snapshot:
    """Parse a snapshot.

    Args:
        store: The lake, from which its parts are read.
        content: Its JSON.
        name: Where it comes from, for messages.

    Raises:
        StoreCorruptionError: It is damaged, or has a later format (:class:`LaterFormatError`).
    """
    number = parse_document(_Format, content, name).format
    if number > FORMAT:
        raise LaterFormatError(
            f"{name} has format {number}, and this version reads up to {FORMAT}.", "Update apex_pipeline."
        )
    if number < FORMAT:
        return _snapshot_of_format_1(store, parse_document(_OldDocument, content, name))
    document = parse_document(_Document, content, name)
    if document.id != _id_of(document):
        raise StoreCorruptionError(
            f"{name} is damaged (its id is not that of its content).",
            "Run `apex sync`, which publishes the lake again.",
        )
    return Snapshot(
        store, document.id, document.created_utc, document.parent, document.shards, document.note, document.format
    )


def _id_of(document: _Document) -> str:
    return snapshot_id(document.created_utc, document.parent, document.shards, document.note)


def snapshot_id(created_utc: str, parent: str | None, shards: Iterable[str], note: str) -> str:
    """Return the id of a snapshot: its time of publication to the second, and a hash of what it says."""
    stamp = re.sub(r"[-:]", "", created_utc)
    digest = hashlib.sha256(" ".join([created_utc, str(parent), note, *shards]).encode()).hexdigest()
    return f"{stamp}-{digest[:8]}"


def snapshot_document(snapshot: Snapshot) -> object:
    """Return a snapshot as it is stored."""
    return _Document(
        snapshot.format, snapshot.id, snapshot.created_utc, snapshot.parent, snapshot.shards, snapshot.note
    )


def is_snapshot_part(key: str, content: bytes) -> bool:
    """Return whether an object is the part of a snapshot that its key names: its document, a shard or a record."""
    sha256 = hashlib.sha256(content).hexdigest()
    if key in {shard_key(sha256), published_session_key(sha256)}:
        return True
    if not key.startswith(SNAPSHOT_IDS_PREFIX):
        return False
    try:
        document = parse_document(_Document, content, key)
    except StoreCorruptionError:
        return False
    return document.id == _id_of(document) and key == snapshot_key(document.id)


def _snapshot_of_format_1(store: ObjectStore, document: _OldDocument) -> Snapshot:
    """Return a snapshot of format 1 as if it had one shard, which is already read."""
    entries: dict[SessionKey, SessionEntry] = {}
    records: dict[str, PublishedSession] = {}
    for old in document.sessions:
        key = parse_session_key(f"{old.track}/{old.session}")
        tables = {name: _table_record(table) for name, table in old.tables.items()}
        record = PublishedSession(old.track, old.session, old.inputs_version, old.sources, tables)
        # The key stands in for the digest of a record that no object holds.
        entries[key] = session_entry(record, str(key))
        records[str(key)] = record
    catalog = {name: _table_record(table) for name, table in document.catalog.items()}
    return Snapshot(
        store,
        document.id,
        document.created_utc,
        document.parent,
        (document.id,),
        format=document.format,
        catalog=catalog,
        _entries={document.id: entries},
        _records=records,
    )


def _table_record(old: _OldTable) -> TableRecord:
    return TableRecord(old.key, old.sha256, old.bytes, old.rows)


_SUFFIX = ".json"


def list_snapshot_keys(keys: Iterable[str]) -> list[str]:
    """Return the keys that are snapshots, the oldest first."""
    names = ((key, key.removeprefix(SNAPSHOTS_PREFIX)) for key in keys)
    return sorted(key for key, name in names if key != name and "/" not in name and name.endswith(_SUFFIX))


def snapshot_tables(snapshot: Snapshot) -> Iterator[TableRecord]:
    """Yield the record of every table file that a snapshot names, those of the catalog first."""
    yield from snapshot.catalog.values()
    for session in snapshot.sessions:
        yield from session.tables.values()


def snapshot_copies(snapshot: Snapshot) -> dict[str, TableRecord]:
    """Return the copies of the catalog tables that belong to a snapshot of format 1, by key."""
    return {snapshot_table_key(snapshot.id, name): record for name, record in snapshot.catalog.items()}


def snapshot_parts(snapshot: Snapshot) -> Iterator[str]:
    """Yield the key of every document and table object of a snapshot, except itself."""
    if snapshot.format < FORMAT:
        yield from snapshot_copies(snapshot)
    else:
        yield from map(shard_key, snapshot.shards)
        yield from (published_session_key(entry.record) for entry in snapshot.entries.values())
    yield from (object_key(table.sha256) for table in snapshot_tables(snapshot))


def stable_key(table: str, key: SessionKey) -> str:
    """Return the stable name of a session's table."""
    return table_key("tables", table, str(key))

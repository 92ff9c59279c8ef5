"""Reads and publishes snapshots: ``catalog/current.json`` names a snapshot, which names every table file by its hash.

A snapshot is written completely before the pointer is replaced, so a reader sees the old state or the new one. Table
files have stable keys and are replaced atomically. The footer of each contains the version of the inputs it was derived
from, so the snapshot is built from the store and not from what a run reports. A session whose tables were derived from
different inputs (because a run failed half-way) keeps its records from the previous snapshot; the older files are
in ``history/``.

Why not Delta Lake, Iceberg or DuckLake: one pointer here publishes all tables of a sync at once, and ``tables/`` is
plain hive-partitioned Parquet. Delta is atomic per table only, and a reader that ignores its log, such as
``pandas.read_parquet``, would read replaced files too.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ObjectMissingError, StoreCorruptionError
from apex_pipeline.sources import are_installed, session_tables, sources_named
from apex_pipeline.sources.base import Source
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    SNAPSHOTS_PREFIX,
    snapshot_key,
    snapshot_table_key,
    table_key,
)
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import CATALOG_TABLES
from apex_pipeline.tables.session_key import SessionKey

# Written into every snapshot; a reader raises an error if it finds a higher number.
FORMAT = 1

# Key in the metadata of a Parquet file: the version of the raw files it was derived from.
INPUTS_VERSION = "apex.inputs_version"


@dataclass(frozen=True)
class TableRecord:
    """One published table file: its key, content hash and size."""

    key: str
    sha256: str
    bytes: int
    rows: int
    inputs_version: str | None


@dataclass(frozen=True)
class SessionRecord:
    """The table files of one session, by table name, all derived from the same inputs.

    ``sources`` are the names of its sources; none in snapshots written before there were several sources.
    """

    track: str
    session: str
    inputs_version: str
    tables: dict[str, TableRecord]
    sources: tuple[str, ...] = ()

    @property
    def key(self) -> SessionKey:
        """The session's key."""
        return SessionKey(self.track, self.session)


@dataclass(frozen=True)
class Snapshot:
    """Everything published at one moment."""

    id: str
    created_utc: str
    parent: str | None
    catalog: dict[str, TableRecord]
    sessions: tuple[SessionRecord, ...]

    def session(self, key: SessionKey) -> SessionRecord | None:
        """Return the record of a session, or ``None`` if it is not published."""
        return next((record for record in self.sessions if record.key == key), None)

    def to_json(self) -> bytes:
        """Return the snapshot as UTF-8 JSON with sorted keys."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True).encode()


def read_current(store: ObjectStore) -> Snapshot | None:
    """Return the published snapshot, or ``None`` if nothing is published.

    Raises:
        StoreCorruptionError: The pointer or the snapshot it names cannot be read.
    """
    try:
        pointer = store.read_bytes(CURRENT_SNAPSHOT_KEY)
    except ObjectMissingError:
        return None
    try:
        name = str(json.loads(pointer)["snapshot"])
        return parse_snapshot(store.read_bytes(snapshot_key(name)))
    except (ValueError, KeyError, TypeError, ObjectMissingError) as error:
        raise StoreCorruptionError(
            f"{store.uri_of(CURRENT_SNAPSHOT_KEY)} does not name a readable snapshot ({error}).",
            "Delete that object and run a sync: the catalog is rebuilt from the lake.",
        ) from error


def parse_snapshot(content: bytes) -> Snapshot:
    """Parse a snapshot from its JSON.

    Raises:
        ValueError: It is not JSON, or has a later format.
        KeyError: An entry is missing.
    """
    document: dict[str, Any] = json.loads(content)
    if document.pop("format") > FORMAT:
        raise ValueError(f"the snapshot has a later format than {FORMAT}; update apex_pipeline")
    return Snapshot(
        id=document["id"],
        created_utc=document["created_utc"],
        parent=document["parent"],
        catalog={name: TableRecord(**record) for name, record in document["catalog"].items()},
        sessions=tuple(
            SessionRecord(
                track=record["track"],
                session=record["session"],
                inputs_version=record["inputs_version"],
                tables={name: TableRecord(**table) for name, table in record["tables"].items()},
                sources=tuple(record.get("sources", ())),
            )
            for record in document["sessions"]
        ),
    )


def publish(
    store: ObjectStore, sessions: pa.Table, now: datetime, sources: Mapping[SessionKey, Sequence[str]] | None = None
) -> Snapshot:
    """Publish the current content of the lake.

    Nothing is written if it is already published.

    Args:
        store: The lake.
        sessions: The table ``sessions``.
        now: The current time, aware.
        sources: Names of each session's sources; sessions not listed belong to the first source.

    Returns:
        The published snapshot.

    Raises:
        ConfigurationError: A source is not installed here.
    """
    previous = read_current(store)
    names = sources or {}
    # A sync without the package of a source cannot read its files, and must not unpublish its sessions.
    kept = [record for record in (previous.sessions if previous else ()) if not are_installed(record.sources)]
    keys = {SessionKey(row["track"], row["session"]) for row in sessions.to_pylist()} - {record.key for record in kept}
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        records = pool.map(lambda key: _session_record(store, key, sources_named(names.get(key, ())), previous), keys)
        kept = sorted([*kept, *(record for record in records if record)], key=lambda record: record.key)
    catalog = _catalog_records(store, previous)
    if previous and content_id(catalog, kept) == previous.id.rpartition("-")[2]:
        return previous
    stamp = now.astimezone(UTC)
    snapshot = Snapshot(
        id=f"{stamp:%Y%m%dT%H%M%SZ}-{content_id(catalog, kept)}",
        created_utc=stamp.isoformat(timespec="seconds").replace("+00:00", "Z"),
        parent=previous.id if previous else None,
        catalog=catalog,
        sessions=tuple(kept),
    )
    write_snapshot(store, snapshot)
    return snapshot


def write_snapshot(store: ObjectStore, snapshot: Snapshot) -> None:
    """Write a snapshot of tables that are at their stable keys, and publish it in the last step."""
    copies = {name: snapshot_table_key(snapshot.id, name) for name in snapshot.catalog}
    for name, record in snapshot.catalog.items():
        store.copy(record.key, copies[name])
    store.write_bytes(snapshot_key(snapshot.id), snapshot.to_json())
    store.write_bytes(CURRENT_SNAPSHOT_KEY, json.dumps({"snapshot": snapshot.id}).encode())


def content_id(catalog: dict[str, TableRecord], sessions: Iterable[SessionRecord]) -> str:
    """Return the part of a snapshot's id that identifies its content: a digest of all digests."""
    hashes = [record.sha256 for record in catalog.values()]
    hashes += [table.sha256 for record in sessions for table in record.tables.values()]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:8]


def _catalog_records(store: ObjectStore, previous: Snapshot | None) -> dict[str, TableRecord]:
    known = previous.catalog if previous else {}
    found = {
        table.name: _table_record(store, table_key(table.folder, table.name, None), known.get(table.name))
        for table in CATALOG_TABLES
    }
    return {name: record for name, record in found.items() if record is not None}


def _session_record(
    store: ObjectStore, key: SessionKey, sources: Sequence[Source], previous: Snapshot | None
) -> SessionRecord | None:
    """Return the session's record from the store, or the previous record if its tables have different inputs."""
    known = previous.session(key) if previous else None
    before = known.tables if known else {}
    keys = {table.name: table_key(table.folder, table.name, str(key)) for table in session_tables(sources)}
    found = {name: _table_record(store, at, before.get(name)) for name, at in keys.items()}
    required = [found[table.name] for source in sources for table in source.required_tables]
    versions = {record.inputs_version if record else None for record in required}
    version = versions.pop() if len(versions) == 1 else None
    if version is None:
        return known
    # An optional table with other inputs is left from an earlier derivation that had it.
    tables = {name: record for name, record in found.items() if record and record.inputs_version == version}
    if known and known.inputs_version == version and before.keys() - tables.keys():
        return known
    return SessionRecord(key.track, key.session, version, tables, tuple(source.name for source in sources))


def _table_record(store: ObjectStore, key: str, known: TableRecord | None) -> TableRecord | None:
    facts = store.head(key)
    if facts is None or facts.sha256 is None:
        return None
    if known and known.sha256 == facts.sha256:
        return known
    with store.open_seekable(key) as stream:
        footer = pq.read_metadata(stream)
    version = (footer.metadata or {}).get(INPUTS_VERSION.encode())
    return TableRecord(key, facts.sha256, facts.size, footer.num_rows, version.decode() if version else None)


_SUFFIX = ".json"


def list_snapshot_keys(keys: Iterable[str]) -> list[str]:
    """Return the keys that are snapshots, the oldest first."""
    names = ((key, key.removeprefix(SNAPSHOTS_PREFIX)) for key in keys)
    return sorted(key for key, name in names if key != name and "/" not in name and name.endswith(_SUFFIX))


def read_snapshot(store: ObjectStore, key: str) -> Snapshot:
    """Return a snapshot by its key.

    Raises:
        StoreCorruptionError: It is missing, damaged, or has a later format.
    """
    try:
        return parse_snapshot(store.read_bytes(key))
    except (ValueError, KeyError, TypeError, AttributeError, ObjectMissingError) as error:
        raise StoreCorruptionError(
            f"{store.uri_of(key)} is not a readable snapshot ({error}).",
            "If a later apex_pipeline wrote it, update this one; if that state is no longer needed, delete it.",
        ) from error


def snapshot_tables(snapshot: Snapshot) -> Iterator[TableRecord]:
    """Yield the record of every table file that a snapshot names, those of the catalog first."""
    yield from snapshot.catalog.values()
    for session in snapshot.sessions:
        yield from session.tables.values()


def snapshot_copies(snapshot: Snapshot) -> dict[str, TableRecord]:
    """Return the records of the snapshot's copies of the catalog tables, by key."""
    return {snapshot_table_key(snapshot.id, name): record for name, record in snapshot.catalog.items()}

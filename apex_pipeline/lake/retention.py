"""Finds and deletes what a lake no longer needs: expired snapshots, unreferenced objects, incomplete uploads.

Mark and sweep. A snapshot expires when it was replaced longer ago than the retention. Everything that a kept snapshot
or a list of derived tables names is kept; other documents and table files expire by age, and so do the content of files
that were taken out with ``apex forget`` and the report of a session that is no longer published. Raw files are never
removed otherwise. The published state is kept in full, as is every state that was published at any time within the
retention period.

A sync may run at the same time. A new snapshot names objects of the one it replaces, which are kept; and objects that
the sync has just written, which are too young to expire. An old object that nothing names may be needed again:
``write_table_file`` then rewrites it, so it is young; and each object is looked up again right before it is removed.
If it was written in between all the same, it is put back from its stable name. Commands that bring back something old
(rollback, the undoing of ``apex forget``) hold the same lease as the removal.

There is no table format whose vacuum could do this; see snapshot.py for the reason.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

from apex_pipeline.errors import ConfigurationError, StoreCorruptionError
from apex_pipeline.lake.derived import DerivedTables
from apex_pipeline.lake.documents import read_document
from apex_pipeline.lake.forgotten import read_forgotten
from apex_pipeline.lake.history import created
from apex_pipeline.lake.objects import MIN_AGE, restore_table_file
from apex_pipeline.lake.published_session import SHOWN_DIGITS, SessionEntry
from apex_pipeline.lake.snapshot import (
    FORMAT,
    LaterFormatError,
    Snapshot,
    list_snapshot_keys,
    read_current,
    read_snapshot,
    snapshot_copies,
    snapshot_tables,
)
from apex_pipeline.storage.base import IncompleteUpload, ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import (
    DERIVED_PREFIX,
    HISTORY_PREFIX,
    OBJECTS_PREFIX,
    PUBLISHED_PREFIX,
    REPORTS_PREFIX,
    SHARDS_PREFIX,
    SNAPSHOTS_PREFIX,
    history_key,
    object_key,
    published_session_key,
    raw_key,
    report_key,
    shard_key,
    snapshot_key,
)
from apex_pipeline.storage.leases import held
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import CATALOG_TABLES
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)

# Held while objects are removed, and while something old is brought back.
REMOVAL_LEASE = "gc"
# Removing 20,000 objects from a bucket takes minutes.
LONGEST_WAIT_S = 900.0
# A bucket's listing has fractions of a second, a lookup has not.
_TIME_STEP = timedelta(seconds=1)
_PREFIXES = (SNAPSHOTS_PREFIX, HISTORY_PREFIX, OBJECTS_PREFIX, REPORTS_PREFIX)
_OBJECT = re.compile(rf"{re.escape(OBJECTS_PREFIX)}([0-9a-f]{{64}})\.parquet")
_MANAGED = re.compile(
    rf"(?:{re.escape(OBJECTS_PREFIX)}|{re.escape(HISTORY_PREFIX)})[0-9a-f]{{64}}\.parquet"
    rf"|(?:{re.escape(SHARDS_PREFIX)}|{re.escape(PUBLISHED_PREFIX)})[0-9a-f]{{64}}\.json"
    rf"|{re.escape(REPORTS_PREFIX)}[^/]+/session=[^/]+/report\.html"
    rf"|{re.escape(SNAPSHOTS_PREFIX)}[^/]+/(?:{'|'.join(table.name for table in CATALOG_TABLES)})\.parquet"
)


@dataclass(frozen=True)
class Retention:
    """How long unused objects are kept.

    Attributes:
        snapshots: Retention of a snapshot, counted from when the next one replaced it; and of files taken out.
        unfinished: Retention of an incomplete upload, counted from its start.
    """

    snapshots: timedelta
    unfinished: timedelta

    def __post_init__(self) -> None:
        if self.snapshots < timedelta(0) or self.unfinished < MIN_AGE:
            raise ConfigurationError(
                f"Snapshots cannot be kept for {self.snapshots}, or incomplete uploads for {self.unfinished}.",
                "Keep snapshots for at least 0 days, and uploads, which may still be running, for at least 1 hour.",
            )

    @property
    def objects(self) -> timedelta:
        """Retention of an object that nothing names, counted from when it was written."""
        return max(self.snapshots, MIN_AGE)


@dataclass(frozen=True)
class ExpiredObjects:
    """Uploads and objects that may be deleted.

    Attributes:
        unfinished: Incomplete uploads.
        objects: Unreferenced objects in deletion order: each snapshot before the objects it refers to, raw files that
            were taken out last.
        kept_snapshots: Ids of the snapshots to keep, oldest first.
    """

    unfinished: tuple[IncompleteUpload, ...]
    objects: tuple[ObjectInfo, ...]
    kept_snapshots: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Total size of the objects whose size the store reports."""
        return sum(write.size or 0 for write in self.unfinished) + sum(item.size for item in self.objects)


def find_expired(store: ObjectStore, retention: Retention, now: datetime) -> ExpiredObjects:
    """Find the uploads and objects that may be deleted; nothing is deleted.

    If nothing is published in the lake, only incomplete uploads and raw files that were taken out are returned.

    Args:
        store: The lake.
        retention: Retention periods.
        now: The current time, timezone-aware.

    Raises:
        StoreCorruptionError: The published snapshot cannot be read, or a snapshot was written by a later version, so
            the objects it refers to are unknown.
    """
    writes = store.incomplete_uploads()
    unfinished = tuple(write for write in writes if now - write.started_utc > retention.unfinished)
    forgotten = tuple(_forgotten_files(store, now - retention.objects))
    # Listed before anything is marked: what is written from now on is not in the list.
    listed = _candidates(store)
    current = read_current(store)
    if current is None:
        return ExpiredObjects(unfinished, forgotten, ())
    snapshots, damaged = _snapshots(store, listed)
    # One that is too young to be removed keeps what it refers to.
    young = {item.key for item in listed if now - item.modified_utc <= MIN_AGE}
    kept = _kept_snapshots(snapshots, current, now - retention.snapshots, young)
    marks = _marks(store, kept, current)
    expired = {snapshot_key(snapshot.id) for snapshot in snapshots} - marks.keys

    def is_expired(item: ObjectInfo) -> bool:
        age = now - item.modified_utc
        if item.key in expired:  # by the time they were replaced
            return True
        return (item.key in damaged or bool(_MANAGED.fullmatch(item.key))) and age > retention.objects

    objects = [item for item in listed if not marks.has(item.key) and is_expired(item)]
    objects.sort(key=lambda item: (item.key not in expired, item.key))
    return ExpiredObjects(unfinished, (*objects, *forgotten), tuple(snapshot.id for snapshot in kept))


def _candidates(store: ObjectStore) -> list[ObjectInfo]:
    return [item for prefix in _PREFIXES for item in store.list(prefix)]


def _snapshots(store: ObjectStore, listed: Iterable[ObjectInfo]) -> tuple[list[Snapshot], set[str]]:
    """Return the readable snapshots, and the keys of those that are damaged and will never be readable.

    Raises:
        LaterFormatError: A snapshot was written by a later version.
    """
    keys = list_snapshot_keys(item.key for item in listed)
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        found = list(pool.map(partial(_read_or_none, store), keys))
    return [one for one in found if one], {key for key, one in zip(keys, found, strict=True) if one is None}


def _read_or_none(store: ObjectStore, key: str) -> Snapshot | None:
    try:
        return read_snapshot(store, key)
    except LaterFormatError:
        raise
    except StoreCorruptionError as error:
        _LOG.warning("%s", error.problem)
        return None


def _kept_snapshots(
    snapshots: list[Snapshot], current: Snapshot, cutoff: datetime, young: AbstractSet[str]
) -> list[Snapshot]:
    """Return the snapshots that are published now or were at any time after the cutoff, and those with a young key."""
    others = [snapshot for snapshot in snapshots if snapshot.id != current.id]
    ordered = sorted([*others, current], key=lambda snapshot: (snapshot.created_utc, snapshot.id))
    # By its successor, not by order: two snapshots of one second are in any order. The next one stands in for a
    # successor that was deleted.
    replaced = {before.id: created(after) for before, after in pairwise(ordered)}
    replaced |= {str(snapshot.parent): created(snapshot) for snapshot in ordered if snapshot.parent}
    return [
        snapshot
        for snapshot in ordered
        if snapshot.id == current.id
        or replaced.get(snapshot.id, created(snapshot)) >= cutoff
        or snapshot_key(snapshot.id) in young
    ]


@dataclass(frozen=True)
class _Marks:
    """What is in use.

    Attributes:
        keys: Keys of objects.
        digests: The first digits of the digests of table files.
    """

    keys: frozenset[str]
    digests: frozenset[str]

    def has(self, key: str) -> bool:
        """Return whether an object is in use."""
        table_file = _OBJECT.fullmatch(key)
        return key in self.keys or (table_file is not None and table_file[1][:SHOWN_DIGITS] in self.digests)


def _marks(store: ObjectStore, kept: Sequence[Snapshot], current: Snapshot) -> _Marks:
    """Mark what the kept snapshots and the lists of derived tables name; a shard that they share is read once."""
    keys: set[str] = {snapshot_key(snapshot.id) for snapshot in kept}
    digests = {sha256[:SHOWN_DIGITS] for sha256 in _derived_digests(store)}
    for snapshot in (one for one in kept if one.format < FORMAT):
        keys |= snapshot_copies(snapshot).keys()
        for record in snapshot_tables(snapshot):
            keys |= {history_key(record.sha256), object_key(record.sha256)}
    keys |= {report_key(str(key)) for key in (current.keys if current.format < FORMAT else ())}
    shards = {sha256: one for one in kept if one.format == FORMAT for sha256 in one.shards}
    keys |= set(map(shard_key, shards))
    required = set(current.shards)
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        read = pool.map(lambda item: _entries(*item, is_required=item[0] in required), shards.items())
        for sha256, entries in zip(shards, read, strict=True):
            keys |= {published_session_key(entry.record) for entry in entries.values()}
            digests |= {digits for entry in entries.values() for digits in entry.objects}
            # A report shows what was published when it was made, and no earlier snapshot needs it.
            keys |= {report_key(str(key)) for key in entries if sha256 in required}
    return _Marks(frozenset(keys), frozenset(digests))


def _entries(sha256: str, snapshot: Snapshot, *, is_required: bool) -> Mapping[SessionKey, SessionEntry]:
    """Return the entries of a shard; none if it is damaged, because what it names cannot be found either.

    Raises:
        StoreCorruptionError: It is damaged and belongs to the published snapshot.
    """
    try:
        return snapshot.entries_in([sha256])
    except StoreCorruptionError as error:
        if is_required:
            raise
        _LOG.warning("%s", error.problem)
        return {}


def _derived_digests(store: ObjectStore) -> Iterator[str]:
    """Yield the digests of tables that were derived and are not published yet."""
    for item in store.list(DERIVED_PREFIX):
        try:
            found = read_document(store, item.key, DerivedTables)
        except StoreCorruptionError:  # counts as empty, so the tables are derived again
            continue
        yield from (table.sha256 for table in found.tables.values()) if found else ()


def _forgotten_files(store: ObjectStore, cutoff: datetime) -> Iterator[ObjectInfo]:
    """Yield the objects of the files that were taken out before the cutoff, unless they have other content now."""
    for path, files in read_forgotten(store).files.items():
        expired = {file.sha256 for file in files if file.when_utc < cutoff}
        facts = store.head(raw_key(path)) if expired else None
        if facts is not None and not expired.isdisjoint({None, facts.sha256}):
            yield facts


def remove_expired(store: ObjectStore, expired: ExpiredObjects, retention: Retention, now: datetime) -> ExpiredObjects:
    """Delete expired uploads and objects, and return those that were deleted.

    What has been put into use or written again since it was found is kept.

    Args:
        store: The lake.
        expired: What was found.
        retention: Retention periods.
        now: The current time, timezone-aware.

    Raises:
        StoreLockedError: Another process removes objects, or brings back an earlier state, for a long time.
        StoreCorruptionError: As for :func:`find_expired`.
    """
    for write in expired.unfinished:
        store.abort(write)
    if not expired.objects:
        return expired
    with held(store, REMOVAL_LEASE, "removing expired objects", timeout_s=LONGEST_WAIT_S) as lease:
        found = {item.key: item for item in find_expired(store, retention, now).objects}
        still = [item for item in expired.objects if found.get(item.key) == item]
        removed: list[ObjectInfo] = []
        with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
            # Documents of snapshots first: a reader must not find one whose objects are gone.
            for part in _in_order(still):
                lease.require()
                done = pool.map(partial(_remove, store), part)
                removed += [item for item, is_removed in zip(part, done, strict=True) if is_removed]
        _put_back(store, removed)
    return ExpiredObjects(expired.unfinished, tuple(removed), expired.kept_snapshots)


# Objects removed at once, between two looks at the lease.
_BATCH = 500


def _in_order(items: Sequence[ObjectInfo]) -> Iterator[Sequence[ObjectInfo]]:
    documents = set(list_snapshot_keys(item.key for item in items))
    for is_document in (True, False):
        part = [item for item in items if (item.key in documents) is is_document]
        yield from (part[start : start + _BATCH] for start in range(0, len(part), _BATCH))


def _remove(store: ObjectStore, item: ObjectInfo) -> bool:
    """Remove an object unless it was written again since it was listed; in a bucket the same content has one tag."""
    found = store.head(item.key)
    if found is None or found.tag != item.tag or abs(found.modified_utc - item.modified_utc) >= _TIME_STEP:
        return False
    return store.delete_if(item.key, item.tag)


def _put_back(store: ObjectStore, removed: Iterable[ObjectInfo]) -> None:
    """Restore removed table files that were published at the last moment, from their stable names."""
    digests = {match[1] for item in removed if (match := _OBJECT.fullmatch(item.key))}
    current = read_current(store) if digests else None
    if current is None or current.format < FORMAT:
        return
    lost = {digest[:SHOWN_DIGITS] for digest in digests}
    for key, entry in current.entries.items():
        session = current.session(key) if not lost.isdisjoint(entry.objects) else None
        for record in session.tables.values() if session else ():
            if record.sha256 in digests:
                restore_table_file(store, record)

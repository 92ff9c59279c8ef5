"""Finds and deletes expired snapshots, unreferenced table files and incomplete uploads.

A snapshot expires when it was replaced longer ago than the retention; a replaced table file is unreferenced when no
kept snapshot refers to it. Nothing else is ever deleted, and raw files never are. The published state is kept in full,
as is every state that was published at any time within the retention period.

A sync may run at the same time. Its new snapshot refers only to objects in the published snapshot and to objects that
the sync has just written, so nothing it needs is both unreferenced and old.

There is no table format whose vacuum could do this; see snapshot.py for the reason.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.snapshot import (
    Snapshot,
    list_snapshot_keys,
    read_current,
    read_snapshot,
    snapshot_copies,
    snapshot_tables,
)
from apex_pipeline.storage.base import IncompleteUpload, ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import HISTORY_PREFIX, SNAPSHOTS_PREFIX, history_key, snapshot_key
from apex_pipeline.tables import CATALOG_TABLES

# Newer objects may belong to a publication in progress, and clocks of different machines may disagree.
MIN_AGE = timedelta(hours=1)

_HISTORY_FILE = re.compile(rf"{re.escape(HISTORY_PREFIX)}[0-9a-f]{{64}}\.parquet")
_CATALOG_COPY = re.compile(
    rf"{re.escape(SNAPSHOTS_PREFIX)}[^/]+/(?:{'|'.join(table.name for table in CATALOG_TABLES)})\.parquet"
)


@dataclass(frozen=True)
class Retention:
    """How long unused objects are kept.

    Attributes:
        snapshots: Retention of a snapshot, counted from when the next one replaced it.
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


@dataclass(frozen=True)
class ExpiredObjects:
    """Uploads and objects that may be deleted.

    Attributes:
        unfinished: Incomplete uploads.
        objects: Unreferenced objects in deletion order: each snapshot before the objects it refers to.
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

    If nothing is published in the lake, only incomplete uploads are returned.

    Args:
        store: The lake.
        retention: Retention periods.
        now: The current time, timezone-aware.

    Raises:
        StoreCorruptionError: A snapshot cannot be read, so the objects it refers to are unknown.
    """
    writes = store.incomplete_uploads()
    unfinished = tuple(write for write in writes if now - write.started_utc > retention.unfinished)
    current = read_current(store)
    if current is None:
        return ExpiredObjects(unfinished, (), ())
    listed = _candidates(store)
    snapshots = [read_snapshot(store, key) for key in list_snapshot_keys(item.key for item in listed)]
    kept = _kept_snapshots(snapshots, current, now - retention.snapshots)
    referenced = set(_referenced_keys(kept))
    expired = {snapshot_key(snapshot.id) for snapshot in snapshots} - referenced
    max_age = max(retention.snapshots, MIN_AGE)

    def is_expired(item: ObjectInfo) -> bool:
        age = now - item.modified_utc
        # Snapshots were already filtered above, by the time they were replaced.
        return age > MIN_AGE if item.key in expired else _is_managed_key(item.key) and age > max_age

    objects = [item for item in listed if item.key not in referenced and is_expired(item)]
    objects.sort(key=lambda item: (item.key not in expired, item.key))
    return ExpiredObjects(unfinished, tuple(objects), tuple(snapshot.id for snapshot in kept))


def _candidates(store: ObjectStore) -> list[ObjectInfo]:
    return [*store.list(SNAPSHOTS_PREFIX), *store.list(HISTORY_PREFIX)]


def _kept_snapshots(snapshots: list[Snapshot], current: Snapshot, cutoff: datetime) -> list[Snapshot]:
    """Return the snapshots that are published now or were at any time after the cutoff."""
    ordered = sorted(snapshots, key=lambda snapshot: (snapshot.created_utc, snapshot.id))
    # By its successor, not by order: two snapshots of one second are in any order. The next one stands in for a
    # successor that was deleted.
    replaced = {before.id: _created(after) for before, after in pairwise(ordered)}
    replaced |= {str(snapshot.parent): _created(snapshot) for snapshot in ordered if snapshot.parent}
    return [
        snapshot
        for snapshot in ordered
        if snapshot.id == current.id or replaced.get(snapshot.id, _created(snapshot)) >= cutoff
    ]


def _created(snapshot: Snapshot) -> datetime:
    return datetime.fromisoformat(snapshot.created_utc)


def _referenced_keys(kept: Iterable[Snapshot]) -> Iterator[str]:
    for snapshot in kept:
        yield snapshot_key(snapshot.id)
        yield from snapshot_copies(snapshot)
        yield from (history_key(record.sha256) for record in snapshot_tables(snapshot))


def _is_managed_key(key: str) -> bool:
    """Return whether the key follows this project's naming; other programs' objects are not deleted."""
    return bool(_HISTORY_FILE.fullmatch(key) or _CATALOG_COPY.fullmatch(key))


def remove_expired(store: ObjectStore, expired: ExpiredObjects) -> ExpiredObjects:
    """Delete expired uploads and objects, and return those that were deleted.

    An object that was rewritten since it was found is kept, because it is in use again.
    """
    for write in expired.unfinished:
        store.abort(write)
    # List again: if the same bytes were rewritten, only the modification time has changed.
    present = {(item.key, item.tag, item.modified_utc) for item in _candidates(store)}
    removed = tuple(item for item in expired.objects if (item.key, item.tag, item.modified_utc) in present)
    for item in removed:
        store.delete(item.key)
    return ExpiredObjects(expired.unfinished, removed, expired.kept_snapshots)

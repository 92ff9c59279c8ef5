"""What in a lake is nobody's any more, and taking it away.

Nobody's are: writes that were begun and never finished, snapshots that were replaced longer ago than the retention,
and replaced table files that no kept snapshot names. Nothing else is ever removed, raw files least of all. What is
published now stays, and so does everything that was published at any moment within the retention, whole.

A sync may run meanwhile. It makes a new snapshot of what the published one names and of what it has just written, so
nothing it needs is both unnamed and old.

Why not the vacuum of a table format: the lake uses none; see snapshot.py for the reason.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

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

# Younger objects may be part of a publication that is going on, and the clocks of two machines may differ.
YOUNGEST = timedelta(hours=1)

_HISTORY_FILE = re.compile(rf"{re.escape(HISTORY_PREFIX)}[0-9a-f]{{64}}\.parquet")
_FROZEN_TABLE = re.compile(
    rf"{re.escape(SNAPSHOTS_PREFIX)}[^/]+/(?:{'|'.join(table.name for table in CATALOG_TABLES)})\.parquet"
)


@dataclass(frozen=True)
class Retention:
    """How long what is not in use any more is kept.

    Attributes:
        snapshots: After a snapshot was replaced by the next one.
        unfinished: After a write was begun that has not finished.
    """

    snapshots: timedelta
    unfinished: timedelta

    def __post_init__(self) -> None:
        if self.snapshots < timedelta(0) or self.unfinished < YOUNGEST:
            raise ConfigurationError(
                f"Snapshots cannot be kept for {self.snapshots}, or unfinished writes for {self.unfinished}.",
                "Keep snapshots for 0 days or more, and writes for 1 hour or more: they may still be going on.",
            )


@dataclass(frozen=True)
class ExpiredObjects:
    """What may be removed.

    Attributes:
        unfinished: Writes that were begun and never finished.
        objects: Objects nobody needs, in the order in which they may go: a snapshot before what it names.
        kept_snapshots: Ids of the snapshots that stay, the oldest first.
    """

    unfinished: tuple[IncompleteUpload, ...]
    objects: tuple[ObjectInfo, ...]
    kept_snapshots: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What all of it takes, as far as the store tells."""
        return sum(write.size or 0 for write in self.unfinished) + sum(item.size for item in self.objects)


def find_expired(store: ObjectStore, retention: Retention, now: datetime) -> ExpiredObjects:
    """Look for what is nobody's; nothing is removed.

    In a lake where nothing is published only unfinished writes are looked at.

    Args:
        store: The lake.
        retention: How long to keep.
        now: The present time, aware.

    Raises:
        StoreCorruptionError: A snapshot cannot be read, so nobody knows what it needs.
    """
    writes = store.incomplete_uploads()
    unfinished = tuple(write for write in writes if now - write.started_utc > retention.unfinished)
    current = read_current(store)
    if current is None:
        return ExpiredObjects(unfinished, (), ())
    listed = _candidates(store)
    snapshots = [read_snapshot(store, key) for key in list_snapshot_keys(item.key for item in listed)]
    kept = _kept(snapshots, current, now - retention.snapshots)
    needed = set(_needed(kept))
    expired = {snapshot_key(snapshot.id) for snapshot in snapshots} - needed
    longest = max(retention.snapshots, YOUNGEST)

    def is_garbage(item: ObjectInfo) -> bool:
        age = now - item.modified_utc
        # A snapshot goes by the time it was replaced, which was looked at above.
        return age > YOUNGEST if item.key in expired else _is_managed_key(item.key) and age > longest

    objects = [item for item in listed if item.key not in needed and is_garbage(item)]
    objects.sort(key=lambda item: (item.key not in expired, item.key))
    return ExpiredObjects(unfinished, tuple(objects), tuple(snapshot.id for snapshot in kept))


def _candidates(store: ObjectStore) -> list[ObjectInfo]:
    return [*store.list(SNAPSHOTS_PREFIX), *store.list(HISTORY_PREFIX)]


def _kept(snapshots: list[Snapshot], current: Snapshot, cutoff: datetime) -> list[Snapshot]:
    """Return the snapshots that were published now, or at some moment after the cutoff."""
    ordered = sorted(snapshots, key=lambda snapshot: (snapshot.created_utc, snapshot.id))
    replaced = [*(_created(snapshot) for snapshot in ordered[1:]), None]
    return [
        snapshot
        for snapshot, end in zip(ordered, replaced, strict=True)
        if snapshot.id == current.id or (end or _created(snapshot)) >= cutoff
    ]


def _created(snapshot: Snapshot) -> datetime:
    return datetime.fromisoformat(snapshot.created_utc)


def _needed(kept: Iterable[Snapshot]) -> Iterator[str]:
    for snapshot in kept:
        yield snapshot_key(snapshot.id)
        yield from snapshot_copies(snapshot)
        yield from (history_key(record.sha256) for record in snapshot_tables(snapshot))


def _is_managed_key(key: str) -> bool:
    """Tell whether this project gives such names to what may go; what others put there is theirs."""
    return bool(_HISTORY_FILE.fullmatch(key) or _FROZEN_TABLE.fullmatch(key))


def remove_expired(store: ObjectStore, garbage: ExpiredObjects) -> ExpiredObjects:
    """Remove what was found, and return what was removed.

    An object that was written again since it was found stays: somebody needs it.
    """
    for write in garbage.unfinished:
        store.abort(write)
    # The present state once more: the same bytes may have been written again, which only their time tells.
    present = {(item.key, item.tag, item.modified_utc) for item in _candidates(store)}
    removed = tuple(item for item in garbage.objects if (item.key, item.tag, item.modified_utc) in present)
    for item in removed:
        store.delete(item.key)
    return ExpiredObjects(garbage.unfinished, removed, garbage.kept_snapshots)

"""The snapshots a lake still has, and what each of them names.

Here belongs finding and reading them. What is published now is ``snapshot.py``; which ones may go is ``garbage.py``.
"""

from collections.abc import Iterable, Iterator

from apex_pipeline.errors import ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.snapshot import Snapshot, TableRecord, parse_snapshot
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.layout import SNAPSHOTS_PREFIX, snapshot_table_key

_SUFFIX = ".json"


def list_snapshot_keys(keys: Iterable[str]) -> list[str]:
    """Return which of these keys are snapshots, the oldest first."""
    names = ((key, key.removeprefix(SNAPSHOTS_PREFIX)) for key in keys)
    return sorted(key for key, name in names if key != name and "/" not in name and name.endswith(_SUFFIX))


def read_snapshot(store: ObjectStore, key: str) -> Snapshot:
    """Return a snapshot by its key.

    Raises:
        StoreCorruptionError: It is gone, damaged, or of a later format.
    """
    try:
        return parse_snapshot(store.read_bytes(key))
    except (ValueError, KeyError, TypeError, AttributeError, ObjectMissingError) as error:
        raise StoreCorruptionError(
            f"{store.uri_of(key)} is no readable snapshot ({error}).",
            "If a later apex_pipeline wrote it, update this one; if nobody needs that state any more, delete it.",
        ) from error


def snapshot_tables(snapshot: Snapshot) -> Iterator[TableRecord]:
    """Yield every table file that a snapshot names, those of the catalog first."""
    yield from snapshot.catalog.values()
    for session in snapshot.sessions:
        yield from session.tables.values()


def snapshot_copies(snapshot: Snapshot) -> dict[str, TableRecord]:
    """Return the snapshot's own copies of the catalog tables, by key."""
    return {snapshot_table_key(snapshot.id, name): record for name, record in snapshot.catalog.items()}


__all__ = ["list_snapshot_keys", "read_snapshot", "snapshot_copies", "snapshot_tables"]

"""Finds unreferenced objects in a lake and describes each according to its prefix; see retention.py for removal.

An orphan is not an error, but worth reporting.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from apex_pipeline.lake.snapshot import Snapshot, snapshot_copies, snapshot_tables
from apex_pipeline.storage.layout import (
    CATALOG_PREFIX,
    CURRENT_SNAPSHOT_KEY,
    HISTORY_PREFIX,
    QUARANTINE_PREFIX,
    RAW_PREFIX,
    SNAPSHOTS_PREFIX,
    TABLES_PREFIX,
    history_key,
    quarantine_reason_key,
    raw_key,
    snapshot_key,
    table_key,
)
from apex_pipeline.tables import CATALOG_TABLES

# Note per prefix; more specific prefixes come first.
_NOTES = (
    (RAW_PREFIX, "is not in the catalog: the next sync adds it"),
    (TABLES_PREFIX, "does not belong to a published session"),
    (HISTORY_PREFIX, "is not referenced by any snapshot; `apex gc` removes it once it expires"),
    (SNAPSHOTS_PREFIX, "does not belong to a snapshot; `apex gc` removes it once it expires"),
    (CATALOG_PREFIX, "is not part of the catalog"),
    (QUARANTINE_PREFIX, "is the quarantine reason of a file that is not quarantined"),
)
PREFIXES = tuple(prefix for prefix, _ in _NOTES if prefix != SNAPSHOTS_PREFIX)


@dataclass(frozen=True)
class OrphanNote:
    """An observation about an object.

    Attributes:
        key: The object's key.
        note: The observation, phrased to follow the key.
    """

    key: str
    note: str


def find_orphans(
    keys: Iterable[str], current: Snapshot, snapshots: Iterable[Snapshot], raw_paths: Iterable[str]
) -> list[OrphanNote]:
    """Return a note for every unreferenced object, sorted by key.

    Args:
        keys: Keys of all objects below :data:`PREFIXES`.
        current: The published snapshot.
        snapshots: All readable snapshots.
        raw_paths: Paths of the raw files the catalog lists.
    """
    paths = list(raw_paths)
    known = {raw_key(path) for path in paths} | {quarantine_reason_key(path) for path in paths}
    known |= {CURRENT_SNAPSHOT_KEY} | {table_key(table.folder, table.name) for table in CATALOG_TABLES}
    known |= {record.key for record in snapshot_tables(current)}
    for snapshot in snapshots:
        known |= set(_named_by(snapshot))
    return [OrphanNote(key, _note(key)) for key in sorted(keys) if key not in known]


def _named_by(snapshot: Snapshot) -> Iterator[str]:
    yield snapshot_key(snapshot.id)
    yield from snapshot_copies(snapshot)
    yield from (history_key(record.sha256) for record in snapshot_tables(snapshot))


def _note(key: str) -> str:
    return next(note for prefix, note in _NOTES if key.startswith(prefix))

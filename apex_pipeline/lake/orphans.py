"""Objects of a lake that its published state does not name: no fault, and worth knowing.

Here belongs telling them apart by where they lie. What may be removed is ``retention.py``.
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

# By prefix, the longer ones first.
_MEANINGS = (
    (RAW_PREFIX, "is not in the catalog: the next sync takes it in"),
    (TABLES_PREFIX, "is of no published session"),
    (HISTORY_PREFIX, "no snapshot names it; `apex gc` removes it when it is old"),
    (SNAPSHOTS_PREFIX, "is of no snapshot; `apex gc` removes it when it is old"),
    (CATALOG_PREFIX, "is nothing a catalog has"),
    (QUARANTINE_PREFIX, "gives the reason of a file that is not in quarantine"),
)
PREFIXES = tuple(prefix for prefix, _ in _MEANINGS if prefix != SNAPSHOTS_PREFIX)


@dataclass(frozen=True)
class OrphanNote:
    """Something worth knowing about an object.

    Attributes:
        key: Its key.
        note: What there is to know.
    """

    key: str
    note: str


def find_orphans(
    keys: Iterable[str], current: Snapshot, snapshots: Iterable[Snapshot], raw_paths: Iterable[str]
) -> list[OrphanNote]:
    """Return a note for every object that nothing names, by key.

    Args:
        keys: Keys of all objects below :data:`PREFIXES`.
        current: What is published.
        snapshots: All snapshots that can be read.
        raw_paths: Paths of the raw files the catalog lists.
    """
    paths = list(raw_paths)
    known = {raw_key(path) for path in paths} | {quarantine_reason_key(path) for path in paths}
    known |= {CURRENT_SNAPSHOT_KEY} | {table_key(table.folder, table.name) for table in CATALOG_TABLES}
    known |= {record.key for record in snapshot_tables(current)}
    for snapshot in snapshots:
        known |= set(_named_by(snapshot))
    return [OrphanNote(key, _meaning(key)) for key in sorted(keys) if key not in known]


def _named_by(snapshot: Snapshot) -> Iterator[str]:
    yield snapshot_key(snapshot.id)
    yield from snapshot_copies(snapshot)
    yield from (history_key(record.sha256) for record in snapshot_tables(snapshot))


def _meaning(key: str) -> str:
    return next(meaning for prefix, meaning in _MEANINGS if key.startswith(prefix))

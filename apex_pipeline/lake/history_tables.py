"""Tables about the history of a lake: what was published when, and what two snapshots publish differently.

See ``history.py`` for how the snapshots and the sessions in which they differ are found.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from apex_pipeline.lake.history import PublishedSnapshot, SessionChanges, changes_between
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

_HISTORY_SCHEMA = pa.schema(
    [
        *(("snapshot", pa.string()), ("published_utc", pa.string())),
        *((name, pa.list_(pa.string())) for name in ("added", "changed", "removed")),
        *(("is_known", pa.bool_()), ("note", pa.string())),
    ]
)
_DIFFERENCES_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("session", "change", "table")),
        *((name, pa.int64()) for name in ("rows_before", "rows_after", "bytes_before", "bytes_after")),
    ]
)


def history_table(history: Iterable[PublishedSnapshot]) -> pa.Table:
    """Return a row for each snapshot: its sessions that were added, changed and removed, as ``track/session``.

    ``is_known`` is false where the snapshot before it is gone, so that its changes cannot be told.
    """
    names = ("added", "changed", "removed")
    rows = [
        {
            "snapshot": entry.snapshot.id,
            "published_utc": entry.snapshot.created_utc,
            **{name: [str(key) for key in getattr(entry.changes or SessionChanges(), name)] for name in names},
            "is_known": entry.changes is not None,
            "note": entry.snapshot.note,
        }
        for entry in history
    ]
    return pa.Table.from_pylist(rows, _HISTORY_SCHEMA)


def differences_table(old: Snapshot, new: Snapshot) -> pa.Table:
    """Return a row for each table of a session whose content differs between two snapshots, with rows and bytes.

    Raises:
        StoreCorruptionError: A part of one of the snapshots is damaged.
    """
    rows = [row for key, change in _sessions(old, new) for row in _tables(old, new, key, change)]
    return pa.Table.from_pylist(rows, _DIFFERENCES_SCHEMA)


def _sessions(old: Snapshot, new: Snapshot) -> Iterator[tuple[SessionKey, str]]:
    changes = changes_between(old, new)
    found = [(key, "added") for key in changes.added]
    found += [(key, "changed") for key in changes.changed]
    found += [(key, "removed") for key in changes.removed]
    yield from sorted(found)


def _tables(old: Snapshot, new: Snapshot, key: SessionKey, change: str) -> Iterator[Row]:
    earlier, later = (_records(snapshot, key) for snapshot in (old, new))
    for name in sorted(earlier.keys() | later.keys()):
        was, now = earlier.get(name), later.get(name)
        if was and now and was.sha256 == now.sha256:
            continue
        yield {
            "session": str(key),
            "change": change,
            "table": name,
            **{f"rows_{when}": one.rows if one else None for when, one in (("before", was), ("after", now))},
            **{f"bytes_{when}": one.bytes if one else None for when, one in (("before", was), ("after", now))},
        }


def _records(snapshot: Snapshot, key: SessionKey) -> dict[str, TableRecord]:
    session = snapshot.session(key)
    return session.tables if session else {}

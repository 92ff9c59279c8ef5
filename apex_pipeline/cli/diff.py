"""Implements ``apex diff``; see lake/history.py for how the sessions that two snapshots differ in are found."""

from collections.abc import Iterator
from typing import Annotated

import pyarrow as pa
import typer

from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.options import Lake, store_at
from apex_pipeline.lake.history import changes_between, snapshot_as_of
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("session", "change", "table")),
        *((name, pa.int64()) for name in ("rows_before", "rows_after", "bytes_before", "bytes_after")),
    ]
)


@lists
def diff_command(
    before: Annotated[
        str, typer.Argument(metavar="BEFORE", help="The earlier snapshot as `apex history` lists it, or a time.")
    ],
    after: Annotated[
        str | None,
        typer.Argument(metavar="[AFTER]", help="The later one; by default what is published now.", show_default=False),
    ] = None,
    lake: Lake = None,
) -> Listing:
    """List what two snapshots publish differently: sessions, and tables with their rows."""
    store = store_at(lake)
    current = require_snapshot(store)
    old = snapshot_as_of(store, before, current)
    new = current if after is None else snapshot_as_of(store, after, current)
    rows = [row for key, change in _sessions(old, new) for row in _tables(old, new, key, change)]
    columns = ("session", "table", "rows_before", "rows_after")
    return Listing(pa.Table.from_pylist(rows, _SCHEMA), f"From {old.id} to {new.id}", columns, keys=2)


def _sessions(old: Snapshot, new: Snapshot) -> Iterator[tuple[SessionKey, str]]:
    changes = changes_between(old, new)
    found = [(key, "added") for key in changes.added]
    found += [(key, "changed") for key in changes.changed]
    found += [(key, "removed") for key in changes.removed]
    yield from sorted(found)


def _tables(old: Snapshot, new: Snapshot, key: SessionKey, change: str) -> Iterator[Row]:
    """Yield the tables of a session whose content differs."""
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

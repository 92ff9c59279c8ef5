"""Implements ``apex history`` and ``apex rollback``; see lake/history.py and lake/rollback.py."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import pyarrow as pa
import typer

from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.format import count
from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.options import AsJson, Lake, Yes, require_yes, store_at, writable_store_at
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.history import PublishedSnapshot, created, published_history, snapshot_as_of
from apex_pipeline.lake.history_tables import history_table
from apex_pipeline.lake.names import find_sessions
from apex_pipeline.lake.rollback import Rollback, plan_rollback, roll_back
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.tables.session_key import SessionKey

# Sessions that a line names; more are only counted.
_NAMED = 2
_NAMED_IN_QUESTION = 8
_SHOWN_SCHEMA = pa.schema(
    [("snapshot", pa.string()), ("published_utc", pa.string()), ("what_changed", pa.list_(pa.string()))]
)


@lists
def history_command(
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="[SESSION]", help="Only snapshots that changed this TRACK/SESSION or track.", show_default=False
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of snapshots.", min=1)] = 20,
    lake: Lake = None,
) -> Listing:
    """List what was published when, the newest first.

    Each snapshot can be read with --as-of, and published again with `apex rollback`.
    """
    store = store_at(lake)
    current = require_snapshot(store)
    keys = _sessions(store, current, session) if session else ()
    found = (entry for entry in published_history(store, current) if not keys or _concerns(entry, keys))
    shown = list(islice(found, limit))
    is_cut = len(shown) == limit
    notes = (f"The newest {limit} are shown; --limit shows more.",) if is_cut else ()
    return Listing(
        history_table(shown),
        "Published snapshots",
        ("snapshot", "published_utc"),
        screen=_shown(shown),
        notes=notes,
        empty="No snapshot that is still there changed it.",
    )


def _concerns(entry: PublishedSnapshot, keys: Iterable[SessionKey]) -> bool:
    return entry.changes is not None and any(key in entry.changes for key in keys)


def _sessions(store: ObjectStore, current: Snapshot, name: str) -> tuple[SessionKey, ...]:
    """Return the sessions with this name, of the published snapshot or of an earlier one."""
    try:
        return tuple(find_sessions(name, current.keys, load_settings()))
    except ConfigurationError:
        earlier = {key for entry in published_history(store, current) for key in entry.snapshot.keys}
        return tuple(find_sessions(name, earlier | {*current.keys}, load_settings()))


def _shown(history: Iterable[PublishedSnapshot]) -> pa.Table:
    """Return what the screen shows: not every session, because the first sync of a lake may have added a thousand."""
    rows = [
        {
            "snapshot": entry.snapshot.id,
            "published_utc": f"{created(entry.snapshot):%Y-%m-%d %H:%M:%S}",
            "what_changed": _changes(entry),
        }
        for entry in history
    ]
    return pa.Table.from_pylist(rows, _SHOWN_SCHEMA)


def _changes(entry: PublishedSnapshot) -> list[str]:
    """Return what a snapshot changed, a short line each."""
    lines = [entry.snapshot.note] if entry.snapshot.note else []
    if entry.changes is None:
        return [*lines, "the one before it is gone"]
    for word in ("added", "changed", "removed"):
        keys: tuple[SessionKey, ...] = getattr(entry.changes, word)
        if 0 < len(keys) <= _NAMED:
            lines += [f"{word} {key}" for key in keys]
        elif keys:
            lines.append(f"{word} {count(len(keys), 'session')}")
    return lines or ["no table changed"]


def rollback_command(
    snapshot: Annotated[
        str, typer.Argument(metavar="SNAPSHOT", help="Snapshot as `apex history` lists it, or a time.")
    ],
    sessions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SESSION]...", help="Only these TRACK/SESSION or tracks; by default everything."),
    ] = None,
    yes: Yes = False,
    lake: Lake = None,
    as_json: AsJson = False,
) -> None:
    """Publish an earlier state again, as a new snapshot. Nothing is lost: rolling forward is another rollback.

    The next sync leaves the restored sessions alone until their files change. Sessions that were not published then
    are taken out, and it publishes these again: `apex forget` takes them out for good.
    """
    store = writable_store_at(lake)
    current = require_snapshot(store)
    target = snapshot_as_of(store, snapshot, current)
    known, settings = {*current.keys, *target.keys}, load_settings()
    keys = {key for name in sessions or () for key in find_sessions(name, known, settings)}
    rollback = plan_rollback(store, target, keys)
    published = current
    if not rollback.is_idle:
        if not require_yes(_question(rollback), yes=yes):
            print_line("Nothing was changed.")
            return
        published = roll_back(store, rollback, datetime.now(UTC))
    facts = {
        "target": target.id,
        "snapshot": published.id,
        "restored": [str(key) for key in rollback.restored],
        "removed": [str(key) for key in rollback.removed],
        "unchanged": rollback.unchanged,
    }
    emit(facts, as_json=as_json, render=lambda: _print_rollback(rollback, published))


def _question(rollback: Rollback) -> str:
    moment = f"{created(rollback.target):%Y-%m-%d %H:%M:%S} UTC"
    parts = []
    if rollback.restored:
        parts.append(f"publish {_named(rollback.restored)} as of {moment}")
    if rollback.removed:
        parts.append(f"take out {_named(rollback.removed)}, published since then")
    return f"{' and '.join(parts).capitalize()}?"


def _named(keys: tuple[SessionKey, ...]) -> str:
    rest = len(keys) - _NAMED_IN_QUESTION
    names = ", ".join(map(str, keys[:_NAMED_IN_QUESTION]))
    return f"{count(len(keys), 'session')} ({names}{f' and {rest} more' if rest > 0 else ''})"


def _print_rollback(rollback: Rollback, published: Snapshot) -> None:
    if rollback.is_idle:
        print_line(f"Nothing to do: these sessions are published as in {rollback.target.id}.")
        return
    print_line(
        f"Snapshot {published.id}: {count(len(rollback.restored), 'session')} as in {rollback.target.id}, "
        f"{len(rollback.removed)} taken out, {rollback.unchanged} unchanged."
    )
    if rollback.restored:
        print_line("The next sync keeps the restored sessions until their files change.")
    if rollback.removed:
        print_line("The next sync publishes the others again, because their files are still in the lake;")
        print_line("`apex forget` takes them out for good.")
    print_line(f"To go back: apex rollback {published.parent}")

"""``apex gc``: show what in the lake is nobody's any more, and remove it on request.

Here belongs the printing; what is nobody's is decided in ``lake/garbage.py``.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.markup import escape

from apex_pipeline.cli.console import console
from apex_pipeline.cli.read import AsJson, Lake, store_at
from apex_pipeline.lake.care.garbage import Garbage, Retention, find_garbage, remove_garbage
from apex_pipeline.storage.contract import ObjectStore, StoredObject, UnfinishedWrite

# Lines of each kind that a person is shown; --json has all.
_SHOWN = 20

# For uploads that no later gc sees. Two days: longer than gc itself waits.
_LIFECYCLE_RULE = {
    "ID": "apex-unfinished-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


def gc_command(
    keep_days: Annotated[
        int, typer.Option(help="Keep every state of the lake that was published within so many days.", min=0)
    ] = 30,
    older_than_hours: Annotated[
        int, typer.Option(help="Take back unfinished writes that were begun longer ago than this.", min=1)
    ] = 24,
    apply: Annotated[bool, typer.Option("--apply/--dry-run", help="Remove it; without this it is only shown.")] = False,  # noqa: FBT002  -- a command-line switch
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Find what is nobody's: unfinished writes, old snapshots, replaced tables no snapshot names. Raw files stay."""
    store, now = store_at(lake), datetime.now(UTC)
    retention = Retention(snapshots=timedelta(days=keep_days), unfinished=timedelta(hours=older_than_hours))
    garbage = find_garbage(store, retention, now)
    if apply:
        garbage = remove_garbage(store, garbage)
    if as_json:
        sys.stdout.write(json.dumps(_as_dict(store, garbage, is_removed=apply)) + "\n")
    else:
        _print(store, garbage, now, is_removed=apply)


def _print(store: ObjectStore, garbage: Garbage, now: datetime, *, is_removed: bool) -> None:
    out, verb = console(), "removed" if is_removed else "would remove"
    lines = [_of_write(write, now) for write in garbage.unfinished] + [_of_object(item) for item in garbage.objects]
    for line in lines[:_SHOWN]:
        out.print(f"{verb}  {escape(line)}", highlight=False, soft_wrap=True)
    if len(lines) > _SHOWN:
        out.print(f"… and {len(lines) - _SHOWN:,} more; --json prints them all.")
    out.print(
        f"{verb.capitalize()} {len(garbage.unfinished)} unfinished writes and {len(garbage.objects)} objects, "
        f"{garbage.bytes:,} bytes; {len(garbage.kept_snapshots)} snapshots stay readable.",
        highlight=False,
    )
    if lines and not is_removed:
        out.print("Nothing was removed. Run it again with --apply.")
    if rule := _lifecycle_rule(store):
        out.print("Let the bucket do the first part by itself; add this to its lifecycle rules:", highlight=False)
        out.print(json.dumps(rule), markup=False, highlight=False, soft_wrap=True)


def _of_write(write: UnfinishedWrite, now: datetime) -> str:
    hours = (now - write.started_utc) / timedelta(hours=1)
    size = "" if write.size is None else f", {write.size:,} bytes"
    return f"unfinished write of {write.key or write.mark}, begun {hours:,.0f} h ago{size}"


def _of_object(item: StoredObject) -> str:
    return f"{item.key}, {item.size:,} bytes"


def _lifecycle_rule(store: ObjectStore) -> dict[str, object] | None:
    """Return the rule for a lake in a bucket; a folder has none."""
    if not store.uri.startswith("s3://"):
        return None
    _, _, prefix = store.uri.removeprefix("s3://").partition("/")
    return {**_LIFECYCLE_RULE, "Filter": {"Prefix": f"{prefix.strip('/')}/" if prefix.strip("/") else ""}}


def _as_dict(store: ObjectStore, garbage: Garbage, *, is_removed: bool) -> dict[str, object]:
    return {
        "lake": store.uri,
        "is_removed": is_removed,
        "bytes": garbage.bytes,
        "unfinished_writes": [
            {
                "key": write.key,
                "mark": write.mark,
                "started_utc": write.started_utc.isoformat(),
                "bytes": write.size,
            }
            for write in garbage.unfinished
        ],
        "objects": [
            {"key": item.key, "bytes": item.size, "modified_utc": item.modified_utc.isoformat()}
            for item in garbage.objects
        ],
        "kept_snapshots": list(garbage.kept_snapshots),
        "lifecycle_rule": _lifecycle_rule(store),
    }


__all__ = ["gc_command"]

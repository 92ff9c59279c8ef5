"""Contains ``apex gc``; see lake/retention.py for what has expired."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from apex_pipeline.cli.emit import emit, print_line, print_rest
from apex_pipeline.cli.options import AsJson, Lake, store_at
from apex_pipeline.lake.retention import ExpiredObjects, Retention, find_expired, remove_expired
from apex_pipeline.storage.base import IncompleteUpload, ObjectInfo, ObjectStore

# Lines people see before the rest is only counted; --json has them all.
_SHOWN = 20

# For uploads that no later gc sees. Seven days: well past the 24 hours gc itself waits.
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
        int, typer.Option(help="Abort unfinished writes that were started longer ago than this.", min=1)
    ] = 24,
    apply: Annotated[bool, typer.Option("--apply/--dry-run", help="Remove it; without this it is only shown.")] = False,
    lake: Lake = None,
    as_json: AsJson = False,
) -> None:
    """Find unfinished writes, expired snapshots and tables no snapshot refers to. Raw files stay."""
    store, now = store_at(lake), datetime.now(UTC)
    retention = Retention(snapshots=timedelta(days=keep_days), unfinished=timedelta(hours=older_than_hours))
    garbage = find_expired(store, retention, now)
    if apply:
        garbage = remove_expired(store, garbage)
    rule = _lifecycle_rule(store)
    facts = {
        "lake": store.uri,
        "is_removed": apply,
        "bytes": garbage.bytes,
        "unfinished_writes": [
            {"key": write.key, "mark": write.mark, "started_utc": write.started_utc, "bytes": write.size}
            for write in garbage.unfinished
        ],
        "objects": [
            {"key": item.key, "bytes": item.size, "modified_utc": item.modified_utc} for item in garbage.objects
        ],
        "kept_snapshots": garbage.kept_snapshots,
        "lifecycle_rule": rule,
    }
    emit(facts, as_json=as_json, render=lambda: _print_garbage(garbage, now, rule, is_removed=apply))


def _print_garbage(garbage: ExpiredObjects, now: datetime, rule: dict[str, object] | None, *, is_removed: bool) -> None:
    verb = "removed" if is_removed else "would remove"
    lines = [_of_write(write, now) for write in garbage.unfinished] + [_of_object(item) for item in garbage.objects]
    for line in lines[:_SHOWN]:
        print_line(f"{verb}  {line}")
    print_rest(len(lines), _SHOWN)
    print_line(
        f"{verb.capitalize()} {len(garbage.unfinished)} unfinished writes and {len(garbage.objects)} objects, "
        f"{garbage.bytes:,} bytes; {len(garbage.kept_snapshots)} snapshots stay readable."
    )
    if lines and not is_removed:
        print_line("Nothing was removed. Run it again with --apply.")
    if rule:
        print_line("Let the bucket do the first part by itself; add this to its lifecycle rules:")
        print_line(json.dumps(rule))


def _of_write(write: IncompleteUpload, now: datetime) -> str:
    hours = (now - write.started_utc) / timedelta(hours=1)
    size = "" if write.size is None else f", {write.size:,} bytes"
    return f"unfinished write of {write.key or write.mark}, started {hours:,.0f} h ago{size}"


def _of_object(item: ObjectInfo) -> str:
    return f"{item.key}, {item.size:,} bytes"


def _lifecycle_rule(store: ObjectStore) -> dict[str, object] | None:
    """Return the rule for a lake in a bucket; a folder has none."""
    if not store.uri.startswith("s3://"):
        return None
    prefix = store.uri.removeprefix("s3://").partition("/")[2].strip("/")
    return {**_LIFECYCLE_RULE, "Filter": {"Prefix": f"{prefix}/" if prefix else ""}}

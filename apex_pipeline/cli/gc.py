"""Implements ``apex gc``; see lake/retention.py for what has expired."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from apex_pipeline.cli.emit import emit, print_line, print_rest
from apex_pipeline.cli.options import AsJson, Lake, store_at
from apex_pipeline.lake.retention import ExpiredObjects, Retention, find_expired, remove_expired
from apex_pipeline.storage.base import IncompleteUpload, ObjectInfo, ObjectStore

# Maximum lines shown; the rest are only counted. --json lists all.
_SHOWN = 20

# Aborts incomplete uploads even if gc never runs again. Seven days is well beyond the 24 hours that gc waits.
_LIFECYCLE_RULE = {
    "ID": "apex-unfinished-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


def gc_command(
    keep_days: Annotated[
        int, typer.Option(help="Keep snapshots that were replaced less than this many days ago.", min=0)
    ] = 30,
    older_than_hours: Annotated[
        int, typer.Option(help="Abort incomplete uploads that were started more than this many hours ago.", min=1)
    ] = 24,
    apply: Annotated[
        bool, typer.Option("--apply/--dry-run", help="Remove what was found; without --apply it is only listed.")
    ] = False,
    lake: Lake = None,
    as_json: AsJson = False,
) -> None:
    """Find incomplete uploads, expired snapshots and tables no snapshot refers to.

    Raw files are never removed, except those that were taken out with `apex forget` before that many days.
    """
    store, now = store_at(lake), datetime.now(UTC)
    retention = Retention(snapshots=timedelta(days=keep_days), unfinished=timedelta(hours=older_than_hours))
    expired = find_expired(store, retention, now)
    if apply:
        expired = remove_expired(store, expired, retention, now)
    rule = _lifecycle_rule(store)
    facts = {
        "lake": store.uri,
        "is_removed": apply,
        "bytes": expired.bytes,
        "unfinished_writes": [
            {"key": upload.key, "mark": upload.mark, "started_utc": upload.started_utc, "bytes": upload.size}
            for upload in expired.unfinished
        ],
        "objects": [
            {"key": item.key, "bytes": item.size, "modified_utc": item.modified_utc} for item in expired.objects
        ],
        "kept_snapshots": expired.kept_snapshots,
        "lifecycle_rule": rule,
    }
    emit(facts, as_json=as_json, render=lambda: _print_expired(expired, now, rule, is_removed=apply))


def _print_expired(expired: ExpiredObjects, now: datetime, rule: dict[str, object] | None, *, is_removed: bool) -> None:
    verb = "removed" if is_removed else "would remove"
    lines = [_describe_upload(upload, now) for upload in expired.unfinished]
    lines += [_describe_object(item) for item in expired.objects]
    for line in lines[:_SHOWN]:
        print_line(f"{verb}  {line}")
    print_rest(len(lines), _SHOWN)
    print_line(
        f"{verb.capitalize()} {len(expired.unfinished)} incomplete uploads and {len(expired.objects)} objects, "
        f"{expired.bytes:,} bytes; {len(expired.kept_snapshots)} snapshots stay readable."
    )
    if lines and not is_removed:
        print_line("Nothing was removed. Run it again with --apply.")
    if rule:
        print_line("To let the bucket abort incomplete uploads, add this to its lifecycle rules:")
        print_line(json.dumps(rule))


def _describe_upload(upload: IncompleteUpload, now: datetime) -> str:
    hours = (now - upload.started_utc) / timedelta(hours=1)
    size = "" if upload.size is None else f", {upload.size:,} bytes"
    return f"incomplete upload of {upload.key or upload.mark}, started {hours:,.0f} h ago{size}"


def _describe_object(item: ObjectInfo) -> str:
    return f"{item.key}, {item.size:,} bytes"


def _lifecycle_rule(store: ObjectStore) -> dict[str, object] | None:
    """Return the lifecycle rule for a lake in a bucket, or ``None`` for one in a folder."""
    if not store.uri.startswith("s3://"):
        return None
    prefix = store.uri.removeprefix("s3://").partition("/")[2].strip("/")
    return {**_LIFECYCLE_RULE, "Filter": {"Prefix": f"{prefix}/" if prefix else ""}}

"""Implements ``apex gc``; see lake/retention.py for what has expired."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from apex_pipeline.cli.emit import emit, print_line, print_rest
from apex_pipeline.cli.options import AsJson, Lake, store_at
from apex_pipeline.errors import ApexError
from apex_pipeline.lake.retention import ExpiredObjects, Retention, find_expired, remove_expired
from apex_pipeline.races.database_place import has_database
from apex_pipeline.settings import load_settings
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


@dataclass(frozen=True)
class _Races:
    """Objects of races whose upload was cut off, and why they could not be looked for."""

    objects: Sequence[ObjectInfo] = ()
    doubt: str = ""


@dataclass(frozen=True)
class _Found:
    """What was found, and whether it was removed."""

    expired: ExpiredObjects
    races: _Races
    rule: dict[str, object] | None
    is_removed: bool


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
    """Find incomplete uploads, expired snapshots, unused tables, and AMS2 races no database knows.

    Raw files are never removed, except those that were taken out with `apex forget` before that many days.
    """
    store, now = store_at(lake), datetime.now(UTC)
    retention = Retention(snapshots=timedelta(days=keep_days), unfinished=timedelta(hours=older_than_hours))
    expired = find_expired(store, retention, now)
    if apply:
        expired = remove_expired(store, expired, retention, now)
    races = _Races() if lake else _sweep_races(retention.unfinished, now, apply=apply)
    found = _Found(expired, races, _lifecycle_rule(store), is_removed=apply)
    emit(_facts(store, found), as_json=as_json, render=lambda: _print_all(found, now))


def _facts(store: ObjectStore, found: _Found) -> dict[str, object]:
    return {
        "lake": store.uri,
        "is_removed": found.is_removed,
        "bytes": found.expired.bytes,
        "unfinished_writes": [
            {"key": upload.key, "mark": upload.mark, "started_utc": upload.started_utc, "bytes": upload.size}
            for upload in found.expired.unfinished
        ],
        "objects": [_object_facts(item) for item in found.expired.objects],
        "race_objects": [_object_facts(item) for item in found.races.objects],
        "races_left_out": found.races.doubt or None,
        "kept_snapshots": found.expired.kept_snapshots,
        "lifecycle_rule": found.rule,
    }


def _object_facts(item: ObjectInfo) -> dict[str, object]:
    return {"key": item.key, "bytes": item.size, "modified_utc": item.modified_utc}


def _sweep_races(older_than: timedelta, now: datetime, *, apply: bool) -> _Races:
    """Look for the objects of AMS2 races that have no row, in the settings' store and database."""
    settings = load_settings()
    if not has_database(settings):
        return _Races()
    # Loading the database library takes 0.8 s, and most lakes have no races.
    from apex_pipeline.races.deletion import find_orphans, remove_orphans  # noqa: PLC0415
    from apex_pipeline.races.services import opened_services  # noqa: PLC0415

    try:
        with opened_services(settings) as services:
            found = find_orphans(services, older_than, now)
            if apply:
                remove_orphans(services, found)
    except ApexError as error:  # the lake's own part is done
        return _Races(doubt=str(error))
    return _Races(found)


def _print_all(found: _Found, now: datetime) -> None:
    verb = "removed" if found.is_removed else "would remove"
    lines = [_describe_upload(upload, now) for upload in found.expired.unfinished]
    lines += [_describe_object(item) for item in (*found.expired.objects, *found.races.objects)]
    for line in lines[:_SHOWN]:
        print_line(f"{verb}  {line}")
    print_rest(len(lines), _SHOWN)
    print_line(
        f"{verb.capitalize()} {len(found.expired.unfinished)} incomplete uploads and {len(found.expired.objects)} "
        f"objects, {found.expired.bytes:,} bytes; {len(found.expired.kept_snapshots)} snapshots stay readable."
    )
    if found.races.objects:
        print_line(f"{verb.capitalize()} {len(found.races.objects)} objects of races whose upload was cut off.")
    if found.races.doubt:
        print_line(f"Races were left out: {found.races.doubt}")
    if lines and not found.is_removed:
        print_line("Nothing was removed. Run it again with --apply.")
    if found.rule:
        print_line("To let the bucket abort incomplete uploads, add this to its lifecycle rules:")
        print_line(json.dumps(found.rule))


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

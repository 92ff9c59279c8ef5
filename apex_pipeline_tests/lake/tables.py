"""Publishes small tables for tests: all tables of a session, derived from a given version of its files."""

import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.lake.derived import add_derived
from apex_pipeline.lake.objects import write_table_file
from apex_pipeline.lake.publication import publish_session
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.records import RecordedFile, SessionRecord, require_record, write_record
from apex_pipeline.lake.rollups import list_records, load_roll_ups, write_roll_ups
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.tables import LAPS, RACE_TABLES
from apex_pipeline.tables.session_key import SessionKey

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def parquet_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def laps_of(key: SessionKey, *, laps: int) -> pa.Table:
    rows: list[dict[str, object]] = [
        {
            "track": key.track,
            "session": key.session,
            "vehicle_id": "GR86-001-1",
            "chassis": "001",
            "lap_number": number + 1,
            "is_valid": True,
            "flags": [],
            "source_file": "a.csv",
        }
        for number in range(laps)
    ]
    return LAPS.from_rows(rows)


@cache
def _empty_files() -> dict[str, bytes]:
    return {table.name: parquet_bytes(table.empty()) for table in RACE_TABLES}


def session_contents(key: SessionKey, *, laps: int = 1) -> dict[str, bytes]:
    """Return a file for every table of a session: the given number of laps, and empty tables."""
    return _empty_files() | {LAPS.name: parquet_bytes(laps_of(key, laps=laps))}


def put_objects(store: ObjectStore, key: SessionKey, contents: Mapping[str, bytes]) -> dict[str, TableRecord]:
    """Write table files as objects."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.parquet")
        records: dict[str, TableRecord] = {}
        for name, content in contents.items():
            path.write_bytes(content)
            records[name] = write_table_file(store, name, key, path)
        return records


def put_raw_file(store: ObjectStore, key: SessionKey, content: bytes = b"raw") -> RecordedFile:
    """Write a raw file of a session into the lake and return its entry."""
    path = f"{key.track}/{key.session}_lap_start.csv"
    stored = store.write_bytes(raw_key(path), content)
    return RecordedFile(
        path=path,
        bytes=stored.size,
        tag=stored.tag,
        sha256=stored.sha256,
        kind="lap_start",
        source="gr_cup",
        track=key.track,
        track_name=key.track.title(),
        session=key.session,
        season=None,
        event_code=None,
        version=None,
        rule="name",
        evidence=("its name",),
        confidence=1.0,
        status=FileStatus.READY,
        reason=None,
    )


def put_record(
    store: ObjectStore, key: SessionKey, version: str = "v1", files: Iterable[RecordedFile] = ()
) -> SessionRecord:
    """Write a session's record with this version of its files."""
    record = SessionRecord(str(key), tuple(files), ("gr_cup",), version)
    write_record(store, record)
    return record


def derive_tables(
    store: ObjectStore,
    key: SessionKey,
    version: str = "v1",
    *,
    laps: int = 1,
    only: Iterable[str] = (),
    contents: Mapping[str, bytes] | None = None,
) -> SessionRecord:
    """Write a session's raw file and record, and tables as a derivation does: all of them, or ``only`` some."""
    record = put_record(store, key, version, [put_raw_file(store, key, version.encode())])
    found = session_contents(key, laps=laps) | dict(contents or {})
    names = set(only) or found.keys()
    chosen = {name: content for name, content in found.items() if name in names}
    add_derived(store, key, version, put_objects(store, key, chosen))
    return record


def publish_tables(
    store: ObjectStore,
    key: SessionKey,
    version: str = "v1",
    *,
    now: datetime = NOON,
    laps: int = 1,
    contents: Mapping[str, bytes] | None = None,
) -> Snapshot:
    """Derive and publish a session as one sync does; the roll-ups are those of all records."""
    record = derive_tables(store, key, version, laps=laps, contents=contents)
    snapshot = publish_session(store, record, now)
    renew_roll_ups(store)
    return snapshot


def renew_roll_ups(store: ObjectStore, rules: str = "rules") -> None:
    """Write the roll-ups of all records in the lake, as the end of a sync does."""
    records = list_records(store)
    write_roll_ups(store, load_roll_ups(store, records), rules, records)


def finish_session(store: ObjectStore, key: SessionKey, *, laps: int = 1) -> Snapshot:
    """Derive and publish a session from its record, as its run does after the record is written."""
    record = require_record(store, key)
    add_derived(store, key, record.inputs_version, put_objects(store, key, session_contents(key, laps=laps)))
    return publish_session(store, record, NOON)

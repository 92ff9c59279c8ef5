"""Writes lakes of format 1, as the version before session records did.

Tables lie at their stable names, replaced ones in ``history/``; a snapshot is one document with all sessions and has
its own copies of the catalog tables.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from apex_pipeline.lake.records import RecordedFile, SessionRecord
from apex_pipeline.lake.rollups import session_row, tracks_table
from apex_pipeline.lake.snapshot import Snapshot, read_current
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, history_key, snapshot_key, snapshot_table_key, table_key
from apex_pipeline.tables import FILES, LAPS, SESSIONS, TRACKS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, parquet_bytes, put_raw_file, session_contents


def publish_format_1(store: ObjectStore, laps: Mapping[SessionKey, int], now: datetime = NOON) -> Snapshot:
    """Publish sessions with these numbers of laps, as one sync of the former version did."""
    version = {key: f"v{number}" for key, number in laps.items()}
    files = {key: put_raw_file(store, key, version[key].encode()) for key in laps}
    sessions = [
        {
            "track": key.track,
            "session": key.session,
            "inputs_version": version[key],
            "sources": ["gr_cup"],
            "tables": {
                name: _put(store, table_key("tables", name, str(key)), content, version[key])
                for name, content in session_contents(key, laps=number).items()
            },
        }
        for key, number in sorted(laps.items())
    ]
    catalog = {
        name: _put(store, f"catalog/{name}.parquet", parquet_bytes(table), None)
        for name, table in _catalog(files, version).items()
    }
    _write_snapshot(store, sessions, catalog, now)
    return require_snapshot(store)


def _catalog(files: Mapping[SessionKey, RecordedFile], version: Mapping[SessionKey, str]) -> dict[str, pa.Table]:
    listed = FILES.from_rows([files[key].row() for key in sorted(files)])
    rows = [session_row(SessionRecord(str(key), (files[key],), ("gr_cup",), version[key])) for key in sorted(files)]
    tables = {FILES: listed, TRACKS: tracks_table(listed), SESSIONS: SESSIONS.from_rows([row for row in rows if row])}
    return {table.name: content for table, content in tables.items()}


def _put(store: ObjectStore, key: str, content: bytes, version: str | None) -> dict[str, Any]:
    """Write a table at its stable name, keep the former one in the history, and return its entry."""
    sha256 = hashlib.sha256(content).hexdigest()
    former = store.head(key)
    if former is not None and former.sha256 != sha256:
        store.copy(key, history_key(str(former.sha256)))
    store.write_bytes(key, content)
    rows = pa.parquet.read_metadata(pa.BufferReader(content)).num_rows
    return {"key": key, "sha256": sha256, "bytes": len(content), "rows": rows, "inputs_version": version}


def _write_snapshot(
    store: ObjectStore, sessions: list[dict[str, Any]], catalog: dict[str, dict[str, Any]], now: datetime
) -> None:
    previous = read_current(store)
    digests = [table["sha256"] for table in catalog.values()]
    digests += [table["sha256"] for session in sessions for table in session["tables"].values()]
    id_ = f"{now:%Y%m%dT%H%M%SZ}-{hashlib.sha256(chr(10).join(digests).encode()).hexdigest()[:8]}"
    for name, table in catalog.items():
        store.copy(table["key"], snapshot_table_key(id_, name))
    document = {
        "format": 1,
        "id": id_,
        "created_utc": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "parent": previous.id if previous else None,
        "catalog": catalog,
        "sessions": sessions,
    }
    store.write_bytes(snapshot_key(id_), json.dumps(document, indent=1, sort_keys=True).encode())
    store.write_bytes(CURRENT_SNAPSHOT_KEY, json.dumps({"snapshot": id_}).encode())


def laps_in(snapshot: Snapshot) -> dict[SessionKey, int]:
    """Return the number of laps of each session of a snapshot, from its records."""
    return {session.key: session.tables[LAPS.name].rows for session in snapshot.sessions}

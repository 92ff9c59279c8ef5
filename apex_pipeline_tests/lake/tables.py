"""Writes small tables for tests: all tables of a session, with a given input version."""

import io
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.lake.snapshot import INPUTS_VERSION
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import table_key
from apex_pipeline.tables import CATALOG_TABLES, LAPS, RACE_TABLES, SESSIONS
from apex_pipeline.tables.session_key import SessionKey


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


def put_session(store: ObjectStore, key: SessionKey, version: str, *, laps: int = 1, only: Iterable[str] = ()) -> None:
    """Write the tables of a session (all of them, or ``only`` some), as derived from the input version ``version``."""
    names = set(only) or {table.name for table in RACE_TABLES}
    for table in RACE_TABLES:
        if table.name in names:
            content = laps_of(key, laps=laps) if table.name == "laps" else table.empty()
            versioned = content.replace_schema_metadata({INPUTS_VERSION: version})
            store.write_bytes(table_key(table.folder, table.name, str(key)), parquet_bytes(versioned))


def sessions_table(versions: dict[SessionKey, str]) -> pa.Table:
    rows: list[dict[str, object]] = [
        {
            "track": key.track,
            "session": key.session,
            "session_type": "race",
            "kinds": [],
            "missing_kinds": [],
            "files": 1,
            "quarantined_files": 0,
            "bytes": 1,
            "inputs_version": version,
        }
        for key, version in versions.items()
    ]
    return SESSIONS.from_rows(rows)


def put_catalog(store: ObjectStore, sessions: pa.Table) -> None:
    for table in CATALOG_TABLES:
        content = sessions if table.name == "sessions" else table.empty()
        store.write_bytes(table_key(table.folder, table.name, None), parquet_bytes(content))

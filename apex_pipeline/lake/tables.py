"""Reads a lake's tables: the current ones, and those in a published snapshot."""

import hashlib
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.snapshot import INPUTS_VERSION, SessionRecord, Snapshot, TableRecord, read_current
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import history_key, table_key
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

# Every table except telemetry is smaller than this.
_SINGLE_READ_BYTES = 8 * 1024**2


def require_snapshot(store: ObjectStore) -> Snapshot:
    """Return the published snapshot.

    Raises:
        ObjectMissingError: Nothing is published in this lake.
    """
    snapshot = read_current(store)
    if snapshot is None:
        raise ObjectMissingError(
            f"Nothing is published in the lake {store.uri}.", "Run `apex sync FOLDER` first, or specify another lake."
        )
    return snapshot


def require_session(snapshot: Snapshot, key: SessionKey) -> SessionRecord:
    """Return a session's record in a snapshot.

    Raises:
        ObjectMissingError: The session is not published.
    """
    session = snapshot.session(key)
    if session is None:
        known = ", ".join(str(record.key) for record in snapshot.sessions) or "none"
        raise ObjectMissingError(f"The session {key} is not published.", f"Published sessions: {known}.")
    return session


def session_table(store: ObjectStore, session: SessionRecord, table: Table) -> pa.Table:
    """Return a table of a published session.

    Raises:
        ObjectMissingError: The session was published without this table, or its content is missing.
    """
    if table.name not in session.tables:
        raise ObjectMissingError(
            f"The session {session.key} was published without the table {table.name}.",
            "Run a sync to derive the session again.",
        )
    return read_published(store, session.tables[table.name])


def read_published(store: ObjectStore, record: TableRecord) -> pa.Table:
    """Return a published table.

    Raises:
        ObjectMissingError: The published content is missing.
    """
    if record.bytes <= _SINGLE_READ_BYTES:
        # This takes one request instead of two: the digest shows whether the content is the published one.
        with suppress(ObjectMissingError, StoreCorruptionError):
            content = store.read_bytes(record.key)
            if hashlib.sha256(content).hexdigest() == record.sha256:
                return pq.ParquetFile(pa.BufferReader(content)).read()
    with store.open_as_file(published_key(store, record)) as path, pq.ParquetFile(path) as file:
        return file.read()


def published_key(store: ObjectStore, record: TableRecord) -> str:
    """Return the key of a published table's content: the stable key, or a history key if the table was replaced since.

    Raises:
        ObjectMissingError: The content is at neither key.
    """
    for key in (record.key, history_key(record.sha256)):
        facts = store.head(key)
        if facts and facts.sha256 == record.sha256:
            return key
    raise ObjectMissingError(
        f"{store.uri_of(record.key)} is not the published file, and the published file is not in the history.",
        "Run a sync to derive the table again.",
    )


def read_stored_table(store: ObjectStore, table: Table, key: SessionKey | None = None) -> pa.Table | None:
    """Return a small table, or ``None`` if it is not in the lake."""
    at = table_key(table.folder, table.name, str(key) if key else None)
    if store.head(at) is None:
        return None
    with store.open_as_file(at) as path:
        # ParquetFile instead of read_table, which would add the path's hive folders as columns.
        return pq.ParquetFile(path).read()


def input_version(sessions: pa.Table, key: SessionKey) -> str:
    """Return a session's input version from the table ``sessions``; empty if it is not listed there."""
    rows: list[dict[str, Any]] = sessions.to_pylist()
    return next((row["inputs_version"] for row in rows if (row["track"], row["session"]) == key), "")


def with_input_version(table: pa.Table, version: str) -> pa.Table:
    """Return the table with its input version added to the metadata."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), INPUTS_VERSION: version})

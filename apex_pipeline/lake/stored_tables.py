"""Reading a published table straight from the store, and marking one with the inputs it was made from."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.lake.snapshot import INPUTS_VERSION
from apex_pipeline.session_key import SessionKey
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.layout import table_key
from apex_pipeline.table_model import Table


def read_stored_table(store: ObjectStore, table: Table, key: SessionKey | None = None) -> pa.Table | None:
    """Return a small table whole, or ``None`` if it is not in the lake."""
    at = table_key(table.folder, table.name, str(key) if key else None)
    if store.head(at) is None:
        return None
    with store.open_as_file(at) as path:
        # ParquetFile and not read_table: the latter would add the hive folders of the path as columns.
        return pq.ParquetFile(path).read()


def input_version(sessions: pa.Table, key: SessionKey) -> str:
    """Return the fingerprint of a session's inputs from the table ``sessions``; empty for one it does not list."""
    rows: list[dict[str, Any]] = sessions.to_pylist()
    return next((row["inputs_version"] for row in rows if (row["track"], row["session"]) == key), "")


def with_input_version(table: pa.Table, version: str) -> pa.Table:
    """Return the table with the fingerprint of its inputs in its metadata."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), INPUTS_VERSION: version})


__all__ = ["input_version", "read_stored_table", "with_input_version"]

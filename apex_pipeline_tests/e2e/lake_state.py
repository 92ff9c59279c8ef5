"""Everything that two lakes with the same races must have in common, whatever happened while they were made."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import object_key

# Where the store and the time show, and nothing else.
_OWN = ("catalog/snapshots/", "catalog/current.json", ".apex/", ".incoming/", "objects/")


def lake_state(store: ObjectStore) -> dict[str, str]:
    """Return a digest of each object that does not depend on when and where the lake was made.

    Records are compared without the tags of the store; roll-ups without tags, the time up to which they are and the
    marks of the records; of the snapshot, its sessions with their tables and objects.
    """
    state = {item.key: _digest(_plain(store, item.key)) for item in store.list() if not item.key.startswith(_OWN)}
    snapshot = read_current(store)
    for session in snapshot.sessions if snapshot else ():
        files = [(file.path, file.sha256, file.kind, file.status.value) for file in session.files]
        published = {name: (table.sha256, table.rows) for name, table in session.tables.items()}
        state[f"published {session.key}"] = _digest(
            json.dumps([session.inputs_version, files, published], sort_keys=True).encode()
        )
        for table in session.tables.values():
            content = store.read_bytes(object_key(table.sha256))
            state[object_key(table.sha256)] = _digest(content)
    return state


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return a line for each object in which two lakes differ."""
    return [
        f"{key}: {'missing' if key not in found else 'additional' if key not in expected else 'other content'}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]


def _plain(store: ObjectStore, key: str) -> bytes:
    content = store.read_bytes(key)
    if key.startswith("catalog/") and key.endswith(".json"):
        return json.dumps(_without_tags(json.loads(content)), sort_keys=True).encode()
    if key.startswith("catalog/") and key.endswith(".parquet"):
        return _plain_roll_up(content)
    return content


def _without_tags(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_tags(part) for name, part in value.items() if name not in {"tag", "is_gone_from_source"}}
    return [_without_tags(part) for part in value] if isinstance(value, list) else value


def _plain_roll_up(content: bytes) -> bytes:
    table = pq.ParquetFile(pa.BufferReader(content)).read()
    rows = table.drop_columns([name for name in ("store_tag",) if name in table.column_names]).to_pylist()
    metadata = {
        name.decode(): value.decode()
        for name, value in (table.schema.metadata or {}).items()
        if not re.search(rb"until|record_marks|ARROW:schema", name)
    }
    return json.dumps([rows, metadata], sort_keys=True, default=str).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""Keeps ``quarantine/`` in sync with the table ``files``: one small object with the reason for each quarantined file.

A raw file is quarantined if it contradicts itself. Its bytes stay unchanged in ``data/``; the reason object points to
them.
"""

import hashlib
import json

import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.sources.base import FileStatus
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import QUARANTINE_PREFIX, quarantine_reason_key, raw_key


def sync_quarantine(store: ObjectStore, files: pa.Table) -> int:
    """Write the reason for each quarantined file, and delete the reasons of files that are no longer quarantined.

    Args:
        store: The lake.
        files: The table ``files``.

    Returns:
        Number of quarantined files.
    """
    wanted = {
        quarantine_reason_key(row["path"]): _reason(row)
        for row in files.filter(pc.equal(files["status"].cast(pa.string()), FileStatus.QUARANTINED.value)).to_pylist()
    }
    present = {item.key: item for item in store.list(QUARANTINE_PREFIX)}
    for key in present.keys() - wanted.keys():
        store.delete(key)
    for key, content in wanted.items():
        if key not in present or not _is(store, present[key], content):
            store.write_bytes(key, content)
    return len(wanted)


def _is(store: ObjectStore, found: ObjectInfo, content: bytes) -> bool:
    """Return whether an object has this content; most buckets say so in the listing, where the tag is its MD5."""
    if found.size != len(content):
        return False
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return found.tag == digest or store.read_bytes(found.key) == content


def _reason(row: dict[str, object]) -> bytes:
    facts = {name: row[name] for name in ("path", "sha256", "kind", "track", "session", "reason", "evidence", "rule")}
    return json.dumps({"object": raw_key(str(row["path"])), **facts}, indent=1, ensure_ascii=False).encode()

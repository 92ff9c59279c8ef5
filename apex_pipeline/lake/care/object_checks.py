"""Looks at single objects of a lake: there, of the recorded size and digest, readable as what it is said to be.

Here belongs what can be wrong with one object, in words. Which objects there should be is ``verify.py``.
"""

import hashlib
from typing import Any

import pyarrow as pa

from apex_pipeline.errors import (
    ApexError,
    StoreAuthError,
    StoreConfigError,
    StoreCorruptionError,
    StoreUnavailableError,
)
from apex_pipeline.lake.published import read_published
from apex_pipeline.lake.snapshot import TableRecord
from apex_pipeline.storage.contract import ObjectInfo, ObjectStore
from apex_pipeline.storage.disk_errors import translating_os_errors
from apex_pipeline.storage.hashing import BLOCK_BYTES
from apex_pipeline.storage.layout import history_key, raw_key
from apex_pipeline.table_model import Table

# Trouble with the store as a whole: looking at the next object would end the same way.
TROUBLE_OF_ALL = (StoreAuthError, StoreConfigError, StoreUnavailableError)

_SHOWN_DIGITS = 12


def raw_problem(store: ObjectStore, row: dict[str, Any], *, is_deep: bool) -> str | None:
    """Return what is wrong with a raw file.

    Args:
        store: The lake.
        row: Its row of the table ``files``.
        is_deep: Read every byte.
    """
    key, recorded = raw_key(row["path"]), row["sha256"]
    facts = store.head(key)
    if facts is None:
        return "is gone from the lake"
    if facts.size != row["bytes"]:
        return f"has {facts.size:,} bytes, the catalog says {row['bytes']:,}"
    if recorded and facts.sha256 and facts.sha256 != recorded:
        return _other_digest(facts.sha256, recorded, "the catalog")
    # Without a digest on both sides the store's own version mark is all that tells two contents apart.
    if not (recorded and facts.sha256) and facts.tag != row["store_tag"]:
        return (
            f"was written again since the catalog was made (version {facts.tag}, the catalog says {row['store_tag']})"
        )
    return _bytes_problem(store, key, recorded, "the catalog") if is_deep else None


def table_problem(store: ObjectStore, record: TableRecord, *, is_deep: bool) -> str | None:
    """Return what is wrong with the content a snapshot names, at its stable key or in the history.

    Args:
        store: The lake.
        record: What the snapshot says.
        is_deep: Read every byte.
    """
    at_key = store.head(record.key)
    if at_key is not None and at_key.sha256 == record.sha256:
        return content_problem(store, at_key, record, is_deep=is_deep)
    replaced = store.head(history_key(record.sha256))
    if replaced is not None and replaced.sha256 == record.sha256:
        return content_problem(store, replaced, record, is_deep=is_deep)
    if at_key is None:
        return "is gone from the lake, and from its history"
    told = f"SHA-256 {at_key.sha256[:_SHOWN_DIGITS]}…" if at_key.sha256 else "no SHA-256"
    return (
        f"is another file than the one published ({told}, the snapshot says {record.sha256[:_SHOWN_DIGITS]}…), "
        "and that one is not in the history"
    )


def content_problem(store: ObjectStore, facts: ObjectInfo | None, record: TableRecord, *, is_deep: bool) -> str | None:
    """Return what is wrong with one object that should hold a table's content.

    Args:
        store: The lake.
        facts: What the store tells about the object, ``None`` if it has none.
        record: What the snapshot says.
        is_deep: Read every byte.
    """
    if facts is None:
        return "is gone from the lake"
    if facts.sha256 != record.sha256:
        return _other_digest(facts.sha256 or "unknown", record.sha256, "the snapshot")
    if facts.size != record.bytes:
        return f"has {facts.size:,} bytes, the snapshot says {record.bytes:,}"
    return _bytes_problem(store, facts.key, record.sha256, "the snapshot") if is_deep else None


def schema_problem(store: ObjectStore, record: TableRecord, table: Table) -> str | None:
    """Return in what a small published table differs from its schema, or from its number of rows."""
    content = read_published(store, record)
    problems = table.violations(table.with_missing_columns(content))
    if content.num_rows != record.rows:
        problems.append(f"has {content.num_rows:,} rows, the snapshot says {record.rows:,}")
    return "; ".join(problems) or None


def in_words(error: Exception) -> str:
    """Return the problem that an error met in reading an object is.

    Raises:
        StoreError: It is trouble with the store as a whole, which is no finding about an object.
        StoreUnavailableError: Likewise.
    """
    if isinstance(error, TROUBLE_OF_ALL):
        raise error
    if isinstance(error, ApexError):
        return error.problem
    return f"cannot be read: {error}"


READ_ERRORS = (ApexError, pa.ArrowException, OSError)


def _bytes_problem(store: ObjectStore, key: str, recorded: str | None, by: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with store.open_stream(key) as stream, translating_os_errors(f"Reading {key}"):
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
    except StoreCorruptionError as error:
        return error.problem
    if recorded is None or digest.hexdigest() == recorded:
        return None
    return f"is damaged: {_other_digest(digest.hexdigest(), recorded, by)}"


def _other_digest(found: str, recorded: str, by: str) -> str:
    return f"has SHA-256 {found[:_SHOWN_DIGITS]}…, {by} says {recorded[:_SHOWN_DIGITS]}…"


__all__ = [
    "READ_ERRORS",
    "TROUBLE_OF_ALL",
    "content_problem",
    "in_words",
    "raw_problem",
    "schema_problem",
    "table_problem",
]

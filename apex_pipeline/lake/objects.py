"""Table files: immutable objects named by their digest.

An object is written before anything names it and is never changed, so nothing that happens to a stable name below
``tables/`` can change what a snapshot says. A reader checks the digest.
"""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ApexError, ObjectMissingError, StoreCorruptionError, UnreadableTableError
from apex_pipeline.lake.published_session import SHOWN_DIGITS, TableRecord
from apex_pipeline.lake.snapshot import read_current, stable_key
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader
from apex_pipeline.storage.layout import history_key, object_key
from apex_pipeline.tables.session_key import SessionKey

# ``apex gc`` removes no younger object: a publication in progress may need it, and clocks of machines may disagree.
MIN_AGE = timedelta(hours=1)

# Every table except telemetry is smaller than this.
_SINGLE_READ_BYTES = 8 * 1024**2


def write_table_file(store: ObjectStore, table: str, key: SessionKey, path: Path) -> TableRecord:
    """Write a local Parquet file as an object, unless it is large, intact in the lake and not about to be removed.

    Args:
        store: The lake.
        table: Name of the table.
        key: The session.
        path: The local file.

    Returns:
        The record of the table file.
    """
    with HashingReader(path) as reader:
        while reader.read(BLOCK_BYTES):
            pass
        digest = reader.sha256
    at = object_key(digest)
    # Writing a small file again takes one request; looking whether it is there and in use takes up to four.
    found = store.head(at) if path.stat().st_size > _SINGLE_READ_BYTES else None
    if found is None or found.sha256 != digest or _may_be_removed(store, found, key, digest):
        found = store.write_file(at, path, sha256=digest)
    return TableRecord(stable_key(table, key), digest, found.size, pq.read_metadata(path).num_rows)


def _may_be_removed(store: ObjectStore, found: ObjectInfo, key: SessionKey, sha256: str) -> bool:
    """Return whether ``apex gc`` may remove an object before the session is published: it is old and perhaps unused."""
    if datetime.now(UTC) - found.modified_utc < MIN_AGE / 2:
        return False
    snapshot = read_current(store)
    entry = snapshot.entry(key) if snapshot else None
    return entry is None or sha256[:SHOWN_DIGITS] not in entry.objects


def restore_table_file(store: ObjectStore, record: TableRecord) -> bool:
    """Make the object of a published table from its stable name, and return whether that has its content."""
    facts = store.head(record.key)
    if facts is None or facts.sha256 != record.sha256:
        return False
    store.copy(record.key, object_key(record.sha256))
    return True


def table_file_key(store: ObjectStore, record: TableRecord) -> str:
    """Return the key that holds the content of a published table: its object, or a place of format 1.

    Raises:
        ObjectMissingError: The content is at none of them, or each of them is damaged.
    """
    for key in (object_key(record.sha256), record.key, history_key(record.sha256)):
        facts = store.head(key)
        if facts and facts.sha256 == record.sha256:
            return key
    raise ObjectMissingError(
        f"{store.uri_of(object_key(record.sha256))}, the published file of {record.key}, is missing or damaged.",
        "Run `apex sync`, which makes it again.",
    )


def read_table_file(store: ObjectStore, record: TableRecord) -> pa.Table:
    """Return a published table, checked against its digest.

    Raises:
        ObjectMissingError: Its content is missing or damaged.
        StoreCorruptionError: It cannot be decoded, because it is damaged.
        UnreadableTableError: It cannot be decoded, although it is intact.
    """
    if record.bytes <= _SINGLE_READ_BYTES:
        # One request instead of two: the digest shows whether the content is the published one.
        with suppress(StoreCorruptionError):  # also if the object is larger than recorded
            found = store.read_with_tag(object_key(record.sha256), _SINGLE_READ_BYTES)
            if found is not None and hashlib.sha256(found[0]).hexdigest() == record.sha256:
                return _read_parquet(pa.BufferReader(found[0]), store, record, object_key(record.sha256))
    key = table_file_key(store, record)
    with store.open_as_file(key) as path:
        return _read_parquet(path, store, record, key)


def _read_parquet(source: Path | pa.BufferReader, store: ObjectStore, record: TableRecord, key: str) -> pa.Table:
    """Return the table of a Parquet file that was read from a key; errors as for :func:`reading_failed`."""
    try:
        # ParquetFile instead of read_table, which would add the path's hive folders as columns.
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            return file.read()
    except (pa.ArrowException, OSError) as error:
        raise reading_failed(store, record, key, error) from error


def reading_failed(store: ObjectStore, record: TableRecord, key: str, error: Exception) -> ApexError:
    """Return the error to raise where Arrow could not read a published file.

    An exception of Arrow alone does not show damage: old versions fail on files of newer ones, and on empty reads. The
    file is read once more to compare it with its digest.

    Args:
        store: The lake.
        record: The file as it was published.
        key: Key of the object that was read.
        error: What Arrow raised.

    Returns:
        A ``StoreCorruptionError`` if the content differs from the published one, else an ``UnreadableTableError``.
    """
    named = f"{store.uri_of(key)}, the published file of {record.key}, cannot be read ({error})"
    if _content_digest(store, key) != record.sha256:
        return StoreCorruptionError(
            f"{named}: it is damaged.",
            "Run `apex verify --deep` to see what is damaged, then `apex sync`, which makes it again.",
        )
    return UnreadableTableError(
        f"{named}, although its content is as it was published: pyarrow {pa.__version__} does not read it.",
        "Install a current version: pip install --upgrade pyarrow",
    )


def _content_digest(store: ObjectStore, key: str) -> str | None:
    """Return the SHA-256 of an object's bytes; ``None`` if they cannot be read as they were written."""
    digest = hashlib.sha256()
    with suppress(StoreCorruptionError, ObjectMissingError), store.open_stream(key) as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest()
    return None


@contextmanager
def open_table_file(store: ObjectStore, record: TableRecord) -> Generator[Path]:
    """Provide a published table as a local file.

    Raises:
        ObjectMissingError: Its content is missing or damaged.
    """
    with store.open_as_file(table_file_key(store, record)) as path:
        yield path

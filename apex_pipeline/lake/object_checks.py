"""Checks single objects of a lake: raw files, table files, documents and roll-ups; see integrity.py for whole lakes.

Each check returns a sentence that follows the object's key and, where it helps, names the next step; ``None`` if the
object is intact. Only reads.
"""

import hashlib
import json
from collections.abc import Callable

import pyarrow as pa

from apex_pipeline.errors import (
    ApexError,
    ObjectMissingError,
    StoreAuthError,
    StoreConfigError,
    StoreCorruptionError,
    StoreUnavailableError,
)
from apex_pipeline.lake.derived import DerivedTables
from apex_pipeline.lake.documents import read_document
from apex_pipeline.lake.objects import read_table_file
from apex_pipeline.lake.published_session import PublishedSession, TableRecord
from apex_pipeline.lake.records import RecordedFile, SessionRecord
from apex_pipeline.lake.rollups import parse_roll_up
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.file_hashing import BLOCK_BYTES
from apex_pipeline.storage.layout import derived_key, history_key, object_key, raw_key, record_key, table_key
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.tables import TELEMETRY
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

# Errors of the store itself: checking the next object would fail the same way.
_STORE_ERRORS = (StoreAuthError, StoreConfigError, StoreUnavailableError)
READ_ERRORS = (ApexError, pa.ArrowException, OSError, ValueError)

_SHOWN_DIGITS = 12
# A reason has a few hundred bytes.
_MAX_REASON_BYTES = 1_000_000
GONE = "is gone from the lake"
_SYNC_MAKES_IT = "`apex sync` makes it again"


def checked(check: Callable[[], str | None]) -> str | None:
    """Return the result of a check; an error in reading the object is its problem.

    Raises:
        StoreError: The error concerns the store itself, so it is not a finding about an object.
        StoreUnavailableError: Likewise.
    """
    try:
        return check()
    except READ_ERRORS as error:
        if isinstance(error, _STORE_ERRORS):
            raise
        return error.problem if isinstance(error, ApexError) else f"cannot be read: {error}"


def raw_problem(store: ObjectStore, file: RecordedFile, *, is_deep: bool) -> str | None:
    """Return the problem of a raw file, or ``None``.

    Args:
        store: The lake.
        file: Its entry in a record.
        is_deep: Read and hash every byte.
    """
    facts = store.head(raw_key(file.path))
    if facts is None:
        return f"{GONE}: put it back into the source folder and sync, or take it out with `apex forget`"
    if facts.size != file.bytes:
        return f"has {facts.size:,} bytes, its record says {file.bytes:,}"
    if file.sha256 and facts.sha256 and facts.sha256 != file.sha256:
        return _other_digest(facts.sha256, file.sha256, "its record")
    # Without a digest on both sides, only the store's version tag can reveal another content.
    if not (file.sha256 and facts.sha256) and facts.tag != file.tag:
        return f"was rewritten after it was recorded (version {facts.tag}, its record says {file.tag})"
    return _bytes_problem(store, facts.key, file.sha256, "its record") if is_deep else None


def object_problem(store: ObjectStore, record: TableRecord, *, is_deep: bool) -> str | None:
    """Return the problem of the object with the content of a published table, or ``None``."""
    return content_problem(store, store.head(object_key(record.sha256)), record, is_deep=is_deep)


def old_table_problem(store: ObjectStore, record: TableRecord, *, is_deep: bool) -> str | None:
    """Return the problem of a table of a snapshot of format 1: as an object, at its stable name or in the history."""
    found: list[ObjectInfo] = []
    for key in (object_key(record.sha256), record.key, history_key(record.sha256)):
        facts = store.head(key)
        if facts is not None and facts.sha256 == record.sha256:
            return content_problem(store, facts, record, is_deep=is_deep)
        found += [facts] if facts else []
    if not found:
        return f"{GONE}, and from its history; {_SYNC_MAKES_IT}"
    digest = f"SHA-256 {found[0].sha256[:_SHOWN_DIGITS]}…" if found[0].sha256 else "no SHA-256"
    return (
        f"differs from the published file ({digest}, the snapshot says {record.sha256[:_SHOWN_DIGITS]}…), "
        f"which is not in the history; {_SYNC_MAKES_IT}"
    )


def stable_name_problem(store: ObjectStore, record: TableRecord) -> str | None:
    """Return how a stable name deviates from the published table, or ``None``; readers of the lake do not use it."""
    facts = store.head(record.key)
    if facts is None:
        return f"{GONE}; `apex sync` copies the published table here"
    if facts.sha256 != record.sha256:
        found = _other_digest(facts.sha256, record.sha256, "the snapshot")
        return f"{found}; `apex sync` copies the published table here"
    return None


def content_problem(store: ObjectStore, facts: ObjectInfo | None, record: TableRecord, *, is_deep: bool) -> str | None:
    """Return the problem of one object that should contain a table, or ``None``.

    Args:
        store: The lake.
        facts: Metadata of the object, ``None`` if it does not exist.
        record: The table's entry in the snapshot.
        is_deep: Read and hash every byte.
    """
    if facts is None:
        return f"{GONE}; {_SYNC_MAKES_IT}"
    if facts.sha256 != record.sha256:
        return f"is damaged: {_other_digest(facts.sha256, record.sha256, 'the snapshot')}; {_SYNC_MAKES_IT}"
    if facts.size != record.bytes:
        return f"has {facts.size:,} bytes, the snapshot says {record.bytes:,}; {_SYNC_MAKES_IT}"
    problem = _bytes_problem(store, facts.key, record.sha256, "the snapshot") if is_deep else None
    return f"{problem}; {_SYNC_MAKES_IT}" if problem else None


def schema_problem(store: ObjectStore, record: TableRecord, table: Table) -> str | None:
    """Return how a published table deviates from its schema or its recorded number of rows, or ``None``.

    The schema of telemetry was checked when it was published; reading gigabytes again adds nothing to its digest.
    """
    if table is TELEMETRY:
        return None
    content = read_table_file(store, record)
    problems = table.violations(table.with_missing_columns(content))
    if content.num_rows != record.rows:
        problems.append(f"has {content.num_rows:,} rows, the snapshot says {record.rows:,}")
    return "; ".join(problems) or None


def record_problem(store: ObjectStore, key: SessionKey, published: PublishedSession | None) -> str | None:
    """Return the problem of a session's record, or ``None``.

    Args:
        store: The lake.
        key: The session.
        published: Its published record, if it is readable.
    """
    record = read_document(store, record_key(str(key)), SessionRecord)
    if record is None:
        return f"{GONE}, although the session is published; {_SYNC_MAKES_IT}"
    if record.session_key != key:
        return f"is the record of {record.key}; {_SYNC_MAKES_IT}"
    if published and published.files and record.inputs_version == published.inputs_version:
        recorded, derived_from = _inputs(record.files), _inputs(published.files)
        if recorded != derived_from:
            paths = sorted({path for path, *_ in recorded ^ derived_from})
            return f"has other files than the tables that it says were derived from them: {', '.join(paths[:3])}"
    return None


def _inputs(files: tuple[RecordedFile, ...]) -> set[tuple[str, str, str | None, str | None]]:
    return {(file.path, file.kind, file.version, file.content_version) for file in files if file.is_in_use}


def derived_problem(store: ObjectStore, key: SessionKey) -> str | None:
    """Return the problem of a list of derived and unpublished tables, or ``None``."""
    found = read_document(store, derived_key(str(key)), DerivedTables)
    if found is None:
        return None  # published in the meantime
    if found.key != str(key):
        return f"is the list of {found.key}; `apex sync` derives the tables again"
    missing = [name for name, table in found.tables.items() if store.head(object_key(table.sha256)) is None]
    if missing:
        return f"names tables whose files are gone: {', '.join(missing)}; `apex sync` derives them again"
    return None


def roll_up_problem(store: ObjectStore, table: Table) -> str | None:
    """Return the problem of a roll-up, or ``None``."""
    try:
        parse_roll_up(store.read_bytes(table_key(table.folder, table.name)), table)
    except ObjectMissingError:
        return f"{GONE}; {_SYNC_MAKES_IT} from the session records"
    except StoreCorruptionError as error:
        return f"{error.problem.removesuffix('.')}; {_SYNC_MAKES_IT} from the session records"
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"cannot be read ({error}); {_SYNC_MAKES_IT} from the session records"
    return None


def reason_problem(store: ObjectStore, key: str, path: str) -> str | None:
    """Return the problem of the file that says why a raw file is quarantined, or ``None``."""
    found = store.read_with_tag(key, _MAX_REASON_BYTES)
    if found is None:
        return f"{GONE}; {_SYNC_MAKES_IT}"
    try:
        content = json.loads(found[0])
    except (ValueError, RecursionError):
        content = None
    is_of_file = isinstance(content, dict) and content.get("object") == raw_key(path)
    return None if is_of_file else f"does not say why {path} is quarantined; {_SYNC_MAKES_IT}"


def _bytes_problem(store: ObjectStore, key: str, recorded: str | None, by: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with store.open_stream(key) as stream, translating_os_errors(f"Reading {key}"):
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
    except StoreCorruptionError as error:
        return error.problem.removesuffix(".")
    if recorded is None or digest.hexdigest() == recorded:
        return None
    return f"is damaged: {_other_digest(digest.hexdigest(), recorded, by)}"


def _other_digest(found: str | None, recorded: str, by: str) -> str:
    shown = f"SHA-256 {found[:_SHOWN_DIGITS]}…" if found else "no SHA-256"
    return f"has {shown}, {by} says {recorded[:_SHOWN_DIGITS]}…"

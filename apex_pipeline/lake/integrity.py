"""Verifies the objects of a lake against its catalog and snapshots; see orphans.py for objects that nothing names.

Only reads; nothing is repaired.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from apex_pipeline.errors import (
    ApexError,
    StoreAuthError,
    StoreConfigError,
    StoreCorruptionError,
    StoreUnavailableError,
)
from apex_pipeline.lake.orphans import PREFIXES, OrphanNote, find_orphans
from apex_pipeline.lake.snapshot import (
    SessionRecord,
    Snapshot,
    TableRecord,
    list_snapshot_keys,
    read_snapshot,
    snapshot_copies,
    snapshot_tables,
)
from apex_pipeline.lake.tables import read_published, require_snapshot
from apex_pipeline.sources import are_installed, session_tables, sources_named
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.file_hashing import BLOCK_BYTES
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, history_key, raw_key, table_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.tables import CATALOG_TABLES, FILES, TELEMETRY
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

# Errors of the store itself: checking the next object would fail the same way.
_STORE_ERRORS = (StoreAuthError, StoreConfigError, StoreUnavailableError)

_SHOWN_DIGITS = 12


def raw_problem(store: ObjectStore, row: dict[str, Any], *, is_deep: bool) -> str | None:
    """Return the problem of a raw file, or ``None``.

    Args:
        store: The lake.
        row: Its row of the table ``files``.
        is_deep: Read and hash every byte.
    """
    key, recorded = raw_key(row["path"]), row["sha256"]
    facts = store.head(key)
    if facts is None:
        return "is gone from the lake"
    if facts.size != row["bytes"]:
        return f"has {facts.size:,} bytes, the catalog says {row['bytes']:,}"
    if recorded and facts.sha256 and facts.sha256 != recorded:
        return _other_digest(facts.sha256, recorded, "the catalog")
    # Without a digest on both sides, only the store's version tag can reveal another content.
    if not (recorded and facts.sha256) and facts.tag != row["store_tag"]:
        return f"was rewritten after the catalog was built (version {facts.tag}, the catalog says {row['store_tag']})"
    return _bytes_problem(store, key, recorded, "the catalog") if is_deep else None


def table_problem(store: ObjectStore, record: TableRecord, *, is_deep: bool) -> str | None:
    """Return the problem of a table file that a snapshot names, at its stable key or in the history; or ``None``.

    Args:
        store: The lake.
        record: The table's entry in the snapshot.
        is_deep: Read and hash every byte.
    """
    at_key = store.head(record.key)
    if at_key is not None and at_key.sha256 == record.sha256:
        return content_problem(store, at_key, record, is_deep=is_deep)
    replaced = store.head(history_key(record.sha256))
    if replaced is not None and replaced.sha256 == record.sha256:
        return content_problem(store, replaced, record, is_deep=is_deep)
    if at_key is None:
        return "is gone from the lake, and from its history"
    found = f"SHA-256 {at_key.sha256[:_SHOWN_DIGITS]}…" if at_key.sha256 else "no SHA-256"
    return (
        f"differs from the published file ({found}, the snapshot says {record.sha256[:_SHOWN_DIGITS]}…), "
        "which is not in the history"
    )


def content_problem(store: ObjectStore, facts: ObjectInfo | None, record: TableRecord, *, is_deep: bool) -> str | None:
    """Return the problem of one object that should contain a table, or ``None``.

    Args:
        store: The lake.
        facts: Metadata of the object, ``None`` if it does not exist.
        record: The table's entry in the snapshot.
        is_deep: Read and hash every byte.
    """
    if facts is None:
        return "is gone from the lake"
    if facts.sha256 != record.sha256:
        return _other_digest(facts.sha256 or "unknown", record.sha256, "the snapshot")
    if facts.size != record.bytes:
        return f"has {facts.size:,} bytes, the snapshot says {record.bytes:,}"
    return _bytes_problem(store, facts.key, record.sha256, "the snapshot") if is_deep else None


def schema_problem(store: ObjectStore, record: TableRecord, table: Table) -> str | None:
    """Return how a small published table deviates from its schema or its recorded number of rows, or ``None``."""
    content = read_published(store, record)
    problems = table.violations(table.with_missing_columns(content))
    if content.num_rows != record.rows:
        problems.append(f"has {content.num_rows:,} rows, the snapshot says {record.rows:,}")
    return "; ".join(problems) or None


def _read_problem(error: Exception) -> str:
    """Return the problem of an object that could not be read because of ``error``.

    Raises:
        StoreError: The error concerns the store itself, so it is not a finding about an object.
        StoreUnavailableError: Likewise.
    """
    if isinstance(error, _STORE_ERRORS):
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


@dataclass(frozen=True)
class ObjectFinding:
    """The result of checking one object.

    Attributes:
        key: Its key in the lake.
        kind: ``raw file``, ``table``, ``catalog``, ``snapshot``, or ``earlier table`` if only an older snapshot names
            it.
        session: Its session as ``track/session``; ``None`` if it does not belong to one.
        problem: Description of the problem; ``None`` if the object is intact.
    """

    key: str
    kind: str
    session: str | None
    problem: str | None


@dataclass(frozen=True)
class LakeReport:
    """The result of verifying a lake.

    Attributes:
        snapshot: The published snapshot; ``None`` if it cannot be read.
        findings: One for every object checked.
        notes: Observations that are not problems: objects that nothing names, and objects without a digest.
    """

    snapshot: Snapshot | None
    findings: tuple[ObjectFinding, ...]
    notes: tuple[OrphanNote, ...]

    @property
    def wrong(self) -> tuple[ObjectFinding, ...]:
        """Findings with a problem."""
        return tuple(finding for finding in self.findings if finding.problem)


@dataclass(frozen=True)
class _ObjectCheck:
    """An object with the function that checks it."""

    key: str
    kind: str
    session: str | None
    check: Callable[[], str | None]

    def __call__(self) -> ObjectFinding:
        try:
            problem = self.check()
        except READ_ERRORS as error:
            problem = _read_problem(error)
        return ObjectFinding(self.key, self.kind, self.session, problem)


def verify_lake(store: ObjectStore, *, is_deep: bool = False) -> LakeReport:
    """Check every raw file, every table and every snapshot of a lake.

    Args:
        store: The lake.
        is_deep: Read every object and compare its digest with those in the catalog and the snapshot. Otherwise the
            sizes and digests that the store reports are compared.

    Raises:
        ObjectMissingError: Nothing has ever been published in this lake.
        StoreError: The lake cannot be reached.
    """
    keys = [item.key for prefix in PREFIXES for item in store.list(prefix)]
    current, pointer = _current(store, keys)
    snapshots, findings = _snapshots(store, keys)
    # A snapshot published in the meantime is not in the listing.
    snapshots += [current] if current and current not in snapshots else []
    checks = list(_earlier_tables(store, current, snapshots, is_deep=is_deep))
    notes: list[OrphanNote] = []
    if current:
        raw_files = _raw_files(store, current)
        checks += [*_published_tables(store, current, is_deep=is_deep), *_raw_checks(store, raw_files, is_deep=is_deep)]
        notes = _without_digest(raw_files) + find_orphans(keys, current, snapshots, [row["path"] for row in raw_files])
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        checked = list(pool.map(lambda check: check(), checks))
    return LakeReport(current, (pointer, *findings, *checked), tuple(notes))


def _current(store: ObjectStore, keys: list[str]) -> tuple[Snapshot | None, ObjectFinding]:
    """Return the published snapshot, and the finding for the pointer to it."""
    problem, current = None, None
    if CURRENT_SNAPSHOT_KEY not in keys and list_snapshot_keys(keys):
        problem = "is missing although there are snapshots, so the published one is unknown"
    else:
        try:
            current = require_snapshot(store)
        except StoreCorruptionError as error:
            problem = error.problem
    return current, ObjectFinding(CURRENT_SNAPSHOT_KEY, "snapshot", None, problem)


def _snapshots(store: ObjectStore, keys: list[str]) -> tuple[list[Snapshot], list[ObjectFinding]]:
    """Return the readable snapshots, and a finding for every snapshot."""
    found: list[Snapshot] = []
    findings: list[ObjectFinding] = []
    for key in list_snapshot_keys(keys):
        problem = None
        try:
            found.append(read_snapshot(store, key))
        except StoreCorruptionError as error:
            problem = error.problem
        findings.append(ObjectFinding(key, "snapshot", None, problem))
    return found, findings


def _raw_files(store: ObjectStore, current: Snapshot) -> list[dict[str, Any]]:
    """Return the rows of ``files`` that are in the store; none if it cannot be read, which is a separate finding."""
    try:
        rows = read_published(store, current.catalog[FILES.name]).to_pylist()
    except (*READ_ERRORS, KeyError):
        return []
    # Files without a store tag were found in a source folder but never copied.
    return [row for row in rows if row["store_tag"] is not None]


def _without_digest(raw_files: Iterable[dict[str, Any]]) -> list[OrphanNote]:
    note = "was stored without a SHA-256: only its size and the store's version tag can be compared"
    return [OrphanNote(raw_key(row["path"]), note) for row in raw_files if row["sha256"] is None]


def _raw_checks(store: ObjectStore, raw_files: Iterable[dict[str, Any]], *, is_deep: bool) -> Iterator[_ObjectCheck]:
    for row in raw_files:
        session = str(SessionKey(row["track"], row["session"])) if row["track"] and row["session"] else None
        yield _ObjectCheck(raw_key(row["path"]), "raw file", session, partial(raw_problem, store, row, is_deep=is_deep))


def _published_tables(store: ObjectStore, current: Snapshot, *, is_deep: bool) -> Iterator[_ObjectCheck]:
    """Yield a check for every expected table: those of the catalog, and those of each session."""
    for table in CATALOG_TABLES:
        at = table_key(table.folder, table.name)
        record = current.catalog.get(table.name)
        yield _ObjectCheck(at, "catalog", None, partial(_published_problem, store, record, table, is_deep=is_deep))
    # A lake such as a bundle may lack some tables, but then it lacks them for all of its sessions.
    published_names = {name for session in current.sessions for name in session.tables}
    for session in current.sessions:
        if not are_installed(session.sources):
            yield from _recorded_tables(store, session, is_deep=is_deep)
            continue
        sources = sources_named(session.sources)
        required = {table.name for source in sources for table in source.required_tables}
        for table in session_tables(sources):
            is_expected = table.name in required & published_names
            if not is_expected and table.name not in session.tables:
                continue
            at, record = table_key(table.folder, table.name, str(session.key)), session.tables.get(table.name)
            check = partial(_published_problem, store, record, table, is_deep=is_deep)
            yield _ObjectCheck(at, "table", str(session.key), check)


def _recorded_tables(store: ObjectStore, session: SessionRecord, *, is_deep: bool) -> Iterator[_ObjectCheck]:
    """Yield a check for every table of a session whose source is not installed: its schema is not known here."""
    for record in session.tables.values():
        check = partial(table_problem, store, record, is_deep=is_deep)
        yield _ObjectCheck(record.key, "table", str(session.key), check)


def _published_problem(store: ObjectStore, record: TableRecord | None, table: Table, *, is_deep: bool) -> str | None:
    if record is None:
        return "is missing from the published snapshot"
    problem = table_problem(store, record, is_deep=is_deep)
    # The schema of telemetry was checked when it was published; reading gigabytes again adds nothing to its digest.
    return problem if problem or table is TELEMETRY else schema_problem(store, record, table)


def _earlier_tables(
    store: ObjectStore, current: Snapshot | None, snapshots: Iterable[Snapshot], *, is_deep: bool
) -> Iterator[_ObjectCheck]:
    """Yield checks for tables named by older snapshots only, and for every snapshot's copies of the catalog."""
    seen = {(record.key, record.sha256) for record in (snapshot_tables(current) if current else ())}
    for snapshot in snapshots:
        for key, record in snapshot_copies(snapshot).items():
            yield _ObjectCheck(
                key, "snapshot", None, partial(_catalog_copy_problem, store, key, record, is_deep=is_deep)
            )
        for record in snapshot_tables(snapshot):
            if (record.key, record.sha256) not in seen:
                seen.add((record.key, record.sha256))
                check = partial(table_problem, store, record, is_deep=is_deep)
                yield _ObjectCheck(record.key, "earlier table", None, check)


def _catalog_copy_problem(store: ObjectStore, key: str, record: TableRecord, *, is_deep: bool) -> str | None:
    return content_problem(store, store.head(key), record, is_deep=is_deep)

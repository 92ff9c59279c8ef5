"""Contains the checks of a lake's objects against its snapshots; see orphans.py for objects no snapshot names.

Reads all it checks; repairs nothing.
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
    Snapshot,
    TableRecord,
    list_snapshot_keys,
    read_snapshot,
    snapshot_copies,
    snapshot_tables,
)
from apex_pipeline.lake.tables import read_published, require_snapshot
from apex_pipeline.sources import session_tables, sources_named
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.file_hashing import BLOCK_BYTES
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, history_key, raw_key, table_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.tables import CATALOG_TABLES, FILES, TELEMETRY
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

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


@dataclass(frozen=True)
class ObjectFinding:
    """One object that was looked at.

    Attributes:
        key: Its key in the lake.
        kind: ``raw file``, ``table``, ``catalog``, ``snapshot``, or ``earlier table`` where only an older snapshot
            names it.
        session: The session it belongs to, ``track/session``; ``None`` for what belongs to none.
        problem: What is wrong, ``None`` if it is as it should be.
    """

    key: str
    kind: str
    session: str | None
    problem: str | None


@dataclass(frozen=True)
class LakeReport:
    """What a look at a lake found.

    Attributes:
        snapshot: What is published; ``None`` if that cannot be read.
        findings: Every object looked at.
        notes: What is no fault and worth knowing: objects that nothing names, and objects without a digest.
    """

    snapshot: Snapshot | None
    findings: tuple[ObjectFinding, ...]
    notes: tuple[OrphanNote, ...]

    @property
    def wrong(self) -> tuple[ObjectFinding, ...]:
        """The findings with a problem."""
        return tuple(finding for finding in self.findings if finding.problem)


@dataclass(frozen=True)
class _ObjectCheck:
    """An object to look at, and how."""

    key: str
    kind: str
    session: str | None
    check: Callable[[], str | None]

    def __call__(self) -> ObjectFinding:
        try:
            problem = self.check()
        except READ_ERRORS as error:
            problem = in_words(error)
        return ObjectFinding(self.key, self.kind, self.session, problem)


def verify_lake(store: ObjectStore, *, is_deep: bool = False) -> LakeReport:
    """Look at every raw file, every table and every snapshot.

    Args:
        store: The lake.
        is_deep: Read every byte and compare its digest with the catalog's and the snapshot's. Otherwise sizes and
            digests are those the store tells.

    Raises:
        ObjectMissingError: Nothing is published in this lake, and nothing ever was.
        StoreError: The lake cannot be reached.
    """
    keys = [item.key for prefix in PREFIXES for item in store.list(prefix)]
    current, pointer = _current(store, keys)
    snapshots, findings = _snapshots(store, keys)
    # One that was published meanwhile is not in the listing.
    snapshots += [current] if current and current not in snapshots else []
    looks = list(_earlier_tables(store, current, snapshots, is_deep=is_deep))
    notes: list[OrphanNote] = []
    if current:
        raw_files = _raw_files(store, current)
        looks += [*_published_tables(store, current, is_deep=is_deep), *_raw_checks(store, raw_files, is_deep=is_deep)]
        notes = _without_digest(raw_files) + find_orphans(keys, current, snapshots, [row["path"] for row in raw_files])
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        looked_at = list(pool.map(lambda look: look(), looks))
    return LakeReport(current, (pointer, *findings, *looked_at), tuple(notes))


def _current(store: ObjectStore, keys: list[str]) -> tuple[Snapshot | None, ObjectFinding]:
    """Return what is published, and what is to be said of the pointer to it."""
    problem, current = None, None
    if CURRENT_SNAPSHOT_KEY not in keys and list_snapshot_keys(keys):
        problem = "is gone, though there are snapshots: nobody can tell which one is published"
    else:
        try:
            current = require_snapshot(store)
        except StoreCorruptionError as error:
            problem = error.problem
    return current, ObjectFinding(CURRENT_SNAPSHOT_KEY, "snapshot", None, problem)


def _snapshots(store: ObjectStore, keys: list[str]) -> tuple[list[Snapshot], list[ObjectFinding]]:
    """Return the snapshots that can be read, and a finding for each there is."""
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
    """Return the rows of ``files`` that lie in the store; none if it cannot be read, which is a finding of its own."""
    try:
        rows = read_published(store, current.catalog[FILES.name]).to_pylist()
    except (*READ_ERRORS, KeyError):
        return []
    # Files without a store tag were seen in a source folder and never copied.
    return [row for row in rows if row["store_tag"] is not None]


def _without_digest(raw_files: Iterable[dict[str, Any]]) -> list[OrphanNote]:
    told = "was put there without a SHA-256: only its size and the store's version mark can be compared"
    return [OrphanNote(raw_key(row["path"]), told) for row in raw_files if row["sha256"] is None]


def _raw_checks(store: ObjectStore, raw_files: Iterable[dict[str, Any]], *, is_deep: bool) -> Iterator[_ObjectCheck]:
    for row in raw_files:
        session = str(SessionKey(row["track"], row["session"])) if row["track"] and row["session"] else None
        yield _ObjectCheck(raw_key(row["path"]), "raw file", session, partial(raw_problem, store, row, is_deep=is_deep))


def _published_tables(store: ObjectStore, current: Snapshot, *, is_deep: bool) -> Iterator[_ObjectCheck]:
    """Yield a look at every table there should be: those of the catalog, and those of each session."""
    for table in CATALOG_TABLES:
        at = table_key(table.folder, table.name)
        record = current.catalog.get(table.name)
        yield _ObjectCheck(at, "catalog", None, partial(_published_problem, store, record, table, is_deep=is_deep))
    # A lake may have been made without some tables, as a bundle is: for all of its sessions, then.
    there = {name for session in current.sessions for name in session.tables}
    for session in current.sessions:
        sources = sources_named(session.sources)
        required = {table.name for source in sources for table in source.required_tables}
        for table in session_tables(sources):
            is_expected = table.name in required & there
            if not is_expected and table.name not in session.tables:
                continue
            at, record = table_key(table.folder, table.name, str(session.key)), session.tables.get(table.name)
            check = partial(_published_problem, store, record, table, is_deep=is_deep)
            yield _ObjectCheck(at, "table", str(session.key), check)


def _published_problem(store: ObjectStore, record: TableRecord | None, table: Table, *, is_deep: bool) -> str | None:
    if record is None:
        return "is missing in the published snapshot"
    problem = table_problem(store, record, is_deep=is_deep)
    # The schema of telemetry was checked when it was published; reading gigabytes back adds nothing to its digest.
    return problem if problem or table is TELEMETRY else schema_problem(store, record, table)


def _earlier_tables(
    store: ObjectStore, current: Snapshot | None, snapshots: Iterable[Snapshot], *, is_deep: bool
) -> Iterator[_ObjectCheck]:
    """Yield a look at what only older snapshots name, and at every snapshot's own copies of the catalog."""
    seen = {(record.key, record.sha256) for record in (snapshot_tables(current) if current else ())}
    for snapshot in snapshots:
        for key, record in snapshot_copies(snapshot).items():
            yield _ObjectCheck(key, "snapshot", None, partial(_frozen_problem, store, key, record, is_deep=is_deep))
        for record in snapshot_tables(snapshot):
            if (record.key, record.sha256) not in seen:
                seen.add((record.key, record.sha256))
                check = partial(table_problem, store, record, is_deep=is_deep)
                yield _ObjectCheck(record.key, "earlier table", None, check)


def _frozen_problem(store: ObjectStore, key: str, record: TableRecord, *, is_deep: bool) -> str | None:
    return content_problem(store, store.head(key), record, is_deep=is_deep)

"""Whether a lake holds what it says: every object that its catalog or a snapshot names, looked at.

Here belongs which objects there should be. What can be wrong with one is ``object_checks.py``, what nobody names
``unknown_objects.py``; whether consumers can load it ``cli/load_check.py``; how right the laps are
``ops/accuracy.py``.

Why not a tool of a table format: the lake uses none; see snapshot.py for the reason.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.lake.care.object_checks import (
    READ_ERRORS,
    content_problem,
    in_words,
    raw_problem,
    schema_problem,
    table_problem,
)
from apex_pipeline.lake.care.snapshot_history import list_snapshot_keys, read_snapshot, snapshot_copies, snapshot_tables
from apex_pipeline.lake.care.unknown_objects import PREFIXES, OrphanNote, find_orphans
from apex_pipeline.lake.published import read_published, require_snapshot
from apex_pipeline.lake.snapshot import Snapshot, TableRecord
from apex_pipeline.schemas import CATALOG_TABLES, FILES, TELEMETRY
from apex_pipeline.session_key import SessionKey
from apex_pipeline.sources import source_named
from apex_pipeline.sources.base import tables_of
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, raw_key, table_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.table_model import Table


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
        source = source_named(session.source)
        for table in tables_of(source):
            is_expected = table in source.required_tables and table.name in there
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


__all__ = ["LakeReport", "ObjectFinding", "verify_lake"]

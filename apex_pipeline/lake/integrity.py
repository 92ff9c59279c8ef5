"""Verifies a lake: the way from the pointer to the table files, and everything else that the lake keeps.

Only reads; see repair.py for mending, object_checks.py for the check of one object, orphans.py for objects that nothing
names. A damaged part hides only what it leads to: everything else is checked and reported.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.lake.catalog_tables import CatalogTables
from apex_pipeline.lake.documents import read_digested
from apex_pipeline.lake.forgotten import Forgotten, read_forgotten
from apex_pipeline.lake.object_checks import (
    READ_ERRORS,
    checked,
    content_problem,
    derived_problem,
    object_problem,
    old_table_problem,
    raw_problem,
    reason_problem,
    record_problem,
    roll_up_problem,
    schema_problem,
    stable_name_problem,
)
from apex_pipeline.lake.orphans import PREFIXES, OrphanNote, find_orphans
from apex_pipeline.lake.published_session import PublishedSession, TableRecord, read_published_session
from apex_pipeline.lake.records import RecordedFile, read_record, read_unassigned
from apex_pipeline.lake.rollups import is_session_record, session_of
from apex_pipeline.lake.session_reports import report_problem
from apex_pipeline.lake.snapshot import (
    FORMAT,
    Shard,
    Snapshot,
    list_snapshot_keys,
    read_snapshot,
    snapshot_copies,
    snapshot_tables,
)
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.progress import current_progress
from apex_pipeline.sources import are_installed, session_tables, sources_named
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    DERIVED_PREFIX,
    FORGOTTEN_KEY,
    RECORDS_PREFIX,
    UNASSIGNED_RECORD_KEY,
    history_key,
    object_key,
    published_session_key,
    quarantine_reason_key,
    raw_key,
    record_key,
    report_key,
    shard_key,
    table_key,
)
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import CATALOG_TABLES
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey, parse_session_key

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class ObjectFinding:
    """The result of checking one object.

    Attributes:
        key: Its key in the lake.
        kind: ``raw file``, ``table`` (the object), ``stable name``, ``earlier table`` if only an older snapshot names
            it, ``snapshot``, ``snapshot part``, ``record``, ``derived tables``, ``catalog``, ``report``, ``quarantine
            reason`` or ``forgotten files``.
        session: Its session as ``track/session``; ``None`` if it does not belong to exactly one.
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


# Verifying again shows whether a problem was only a sync's work in progress. A lake that changes all the time is
# reported as it was found last.
_REPETITIONS = 2


def verify_lake(store: ObjectStore, *, is_deep: bool = False) -> LakeReport:
    """Check every object of a lake that belongs to it.

    A problem that is found while a sync changes the lake is checked again, because what was listed may be outdated.

    Args:
        store: The lake.
        is_deep: Read every object and compare its digest with those in the records and the snapshot. Otherwise the
            sizes and digests that the store reports are compared.

    Raises:
        ObjectMissingError: Nothing has ever been published in this lake.
        StoreError: The lake cannot be reached.
    """
    listing = _listing(store)
    report = _Verification(store, listing, is_deep=is_deep).run()
    for _ in range(_REPETITIONS):
        before, listing = listing, _listing(store) if report.wrong else listing
        if listing == before:
            break
        report = _Verification(store, listing, is_deep=is_deep).run()
    return report


def lake_bytes(store: ObjectStore) -> int:
    """Return the size of all objects that :func:`verify_lake` checks, which it reports as progress one by one."""
    return sum(size for _, size in _listing(store).values())


def _listing(store: ObjectStore) -> dict[str, tuple[str, int]]:
    """Return tag and size of every object of the lake by key; those of other programs are left out."""
    return {item.key: (item.tag, item.size) for prefix in PREFIXES for item in store.list(prefix)}


class _Verification:
    """One pass over a lake."""

    def __init__(self, store: ObjectStore, listing: Mapping[str, tuple[str, int]], *, is_deep: bool) -> None:
        self._store = store
        self._listing = listing
        self._is_deep = is_deep
        self._findings: list[ObjectFinding] = []
        self._progress = current_progress()
        self._unreported = {key: size for key, (_, size) in listing.items()}
        # Keys that something names, although they need not be there.
        self._named: set[str] = set()

    def run(self) -> LakeReport:
        """Verify the lake: snapshots and their parts, tables, records, raw files, roll-ups."""
        current = self._current()
        snapshots = self._snapshots(current)
        shards = self._shards(snapshots)
        sessions = self._published_sessions(shards.values())
        published = _published_in(current, shards, sessions)
        is_old = current is not None and current.format < FORMAT
        self._run(self._old_tables(current, snapshots))
        self._run(self._missing_tables(published))
        self._run(self._old_current_tables(published) if is_old else self._tables(published, sessions.values()))
        self._run(self._stable_names({} if is_old else published))
        files = _files_of_format_1(current) if current and is_old else self._recorded_files(published)
        self._run(self._raw_files(files))
        self._run(self._derived_tables())
        self._run(self._reports(published))
        self._run(self._catalog(current))
        forgotten = self._forgotten()
        for finding in self._findings:
            if finding.problem is not None:
                self._store.distrust(finding.key)
        known = {finding.key for finding in self._findings} | self._named
        notes = _without_digest(files) + find_orphans(self._listing.keys() - known, forgotten)
        return LakeReport(current, tuple(self._findings), tuple(notes))

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def _current(self) -> Snapshot | None:
        """Return the published snapshot, and add the finding for the pointer to it."""
        problem, current = None, None
        if CURRENT_SNAPSHOT_KEY not in self._listing and list_snapshot_keys(self._listing):
            problem = (
                "is missing although there are snapshots, so the published one is unknown; `apex sync` publishes the "
                "newest one again"
            )
        else:
            try:
                current = require_snapshot(self._store)
            except StoreCorruptionError as error:
                problem = str(error)
        self._findings.append(ObjectFinding(CURRENT_SNAPSHOT_KEY, "snapshot", None, problem))
        return current

    def _snapshots(self, current: Snapshot | None) -> list[Snapshot]:
        """Return the readable snapshots, and add a finding for every one."""
        keys = list_snapshot_keys(self._listing)
        found = self._read_all(keys, lambda key: read_snapshot(self._store, key))
        self._findings += [
            ObjectFinding(key, "snapshot", None, problem) for key, (_, problem) in zip(keys, found, strict=True)
        ]
        snapshots = [snapshot for snapshot, _ in found if snapshot]
        # A snapshot published in the meantime is not in the listing.
        return snapshots + ([current] if current and current not in snapshots else [])

    def _shards(self, snapshots: Iterable[Snapshot]) -> dict[str, Shard]:
        """Return the readable shards of the snapshots by digest, and add a finding for every one."""
        digests = list(dict.fromkeys(shard for one in snapshots if one.format == FORMAT for shard in one.shards))
        found = self._read_all(digests, lambda sha256: read_digested(self._store, shard_key(sha256), sha256, Shard))
        for sha256, (_, problem) in zip(digests, found, strict=True):
            self._findings.append(ObjectFinding(shard_key(sha256), "snapshot part", None, problem))
        return {sha256: shard for sha256, (shard, _) in zip(digests, found, strict=True) if shard}

    def _published_sessions(self, shards: Iterable[Shard]) -> dict[str, PublishedSession]:
        """Return the readable published records by digest, and add a finding for every one."""
        entries = {(entry.record, text) for shard in shards for text, entry in shard.sessions.items()}
        ordered = sorted(entries, key=lambda entry: (entry[1], entry[0]))
        found = self._read_all(ordered, lambda entry: read_published_session(self._store, *entry))
        for (sha256, text), (_, problem) in zip(ordered, found, strict=True):
            self._findings.append(ObjectFinding(published_session_key(sha256), "snapshot part", text, problem))
        return {sha256: session for (sha256, _), (session, _) in zip(ordered, found, strict=True) if session}

    # -- tables --------------------------------------------------------------------------------------------------------

    def _tables(
        self, published: Mapping[SessionKey, PublishedSession], sessions: Iterable[PublishedSession]
    ) -> "Iterator[_ObjectCheck]":
        """Yield a check for each table file, once however many sessions and snapshots share it."""
        now = _by_digest(published.values())
        for sha256, users in now.items():
            text = str(users[0].session.key) if len({user.session.key for user in users}) == 1 else None
            yield _ObjectCheck(object_key(sha256), "table", text, partial(self._table_problem, users))
        for sha256, users in _by_digest(sessions).items():
            if sha256 not in now:
                check = partial(object_problem, self._store, users[0].record, is_deep=self._is_deep)
                yield _ObjectCheck(object_key(sha256), "earlier table", None, check)

    def _table_problem(self, users: Sequence["_TableUse"]) -> str | None:
        problem = object_problem(self._store, users[0].record, is_deep=self._is_deep)
        for user in {user.name: user for user in users}.values():
            problem = problem or (schema_problem(self._store, user.record, user.table) if user.table else None)
        return problem

    def _missing_tables(self, published: Mapping[SessionKey, PublishedSession]) -> "Iterator[_ObjectCheck]":
        """Yield a finding for each table that a session lacks and others have."""
        # A lake such as a bundle may lack some tables, but then it lacks them for all of its sessions.
        present = {name for session in published.values() for name in session.tables}
        for session in published.values():
            if are_installed(session.sources):
                required = {table.name for source in sources_named(session.sources) for table in source.required_tables}
                for name in sorted((required & present) - session.tables.keys()):
                    at = table_key("tables", name, str(session.key))
                    problem = "is missing from the published snapshot; a sync derives the session again"
                    yield _ObjectCheck(at, "table", str(session.key), partial(str, problem))

    def _stable_names(self, published: Mapping[SessionKey, PublishedSession]) -> "Iterator[_ObjectCheck]":
        for use in _uses(published.values()):
            at = use.record.key
            yield _ObjectCheck(at, "stable name", use.text, partial(stable_name_problem, self._store, use.record))

    # -- snapshots of format 1 -----------------------------------------------------------------------------------------

    def _old_current_tables(self, published: Mapping[SessionKey, PublishedSession]) -> "Iterator[_ObjectCheck]":
        for use in _uses(published.values()):
            yield _ObjectCheck(use.record.key, "table", use.text, partial(self._old_table_problem, use))

    def _old_table_problem(self, use: "_TableUse") -> str | None:
        problem = old_table_problem(self._store, use.record, is_deep=self._is_deep)
        return problem or (schema_problem(self._store, use.record, use.table) if use.table else None)

    def _old_tables(self, current: Snapshot | None, snapshots: Iterable[Snapshot]) -> "Iterator[_ObjectCheck]":
        """Yield checks for the tables and the copies of the catalog of snapshots of format 1."""
        old = [snapshot for snapshot in snapshots if snapshot.format < FORMAT]
        seen = {use.record for use in _uses(current.sessions)} if current and current.format < FORMAT else set()
        for snapshot in old:
            self._named |= {history_key(record.sha256) for record in snapshot_tables(snapshot)}
            for key, record in snapshot_copies(snapshot).items():
                yield _ObjectCheck(key, "snapshot", None, partial(self._copy_problem, key, record))
            for use in _uses(snapshot.sessions):
                self._named.add(object_key(use.record.sha256))
                if use.record not in seen:
                    seen.add(use.record)
                    check = partial(old_table_problem, self._store, use.record, is_deep=self._is_deep)
                    yield _ObjectCheck(use.record.key, "earlier table", None, check)

    def _copy_problem(self, key: str, record: TableRecord) -> str | None:
        return content_problem(self._store, self._store.head(key), record, is_deep=self._is_deep)

    # -- records, raw files, roll-ups ----------------------------------------------------------------------------------

    def _recorded_files(self, published: Mapping[SessionKey, PublishedSession]) -> list[RecordedFile]:
        """Return the files of all records, and add a finding for every record.

        The files of a record that cannot be read are those of the published one.
        """
        listed = {session_of(key) for key in self._listing if key.startswith(RECORDS_PREFIX) and is_session_record(key)}
        self._run(
            _ObjectCheck(
                record_key(str(key)), "record", str(key), partial(record_problem, self._store, key, published.get(key))
            )
            for key in sorted(listed | published.keys())
        )
        found = self._read_all(sorted(listed), lambda key: read_record(self._store, key))
        records = {record.session_key: record.files for record, _ in found if record}
        files = [file for _, own in sorted({**_files_by_session(published), **records}.items()) for file in own]
        if UNASSIGNED_RECORD_KEY in self._listing:
            free, problem = self._read(lambda: read_unassigned(self._store))
            self._findings.append(ObjectFinding(UNASSIGNED_RECORD_KEY, "record", None, problem))
            files += free.files if free else ()
        # Files without a tag were found in a source folder but never copied.
        return [file for file in files if file.tag is not None]

    def _raw_files(self, files: Iterable[RecordedFile]) -> "Iterator[_ObjectCheck]":
        for file in files:
            session = f"{file.track}/{file.session}" if file.track and file.session else None
            check = partial(raw_problem, self._store, file, is_deep=self._is_deep)
            yield _ObjectCheck(raw_key(file.path), "raw file", session, check)
            if file.status is FileStatus.QUARANTINED:
                at = quarantine_reason_key(file.path)
                yield _ObjectCheck(
                    at, "quarantine reason", session, partial(reason_problem, self._store, at, file.path)
                )

    def _derived_tables(self) -> "Iterator[_ObjectCheck]":
        for key in self._listing:
            name = key.removeprefix(DERIVED_PREFIX).removesuffix(".json")
            if key.startswith(DERIVED_PREFIX) and is_session_record(record_key(name)):
                check = partial(derived_problem, self._store, parse_session_key(name))
                yield _ObjectCheck(key, "derived tables", name, check)

    def _reports(self, published: Iterable[SessionKey]) -> "Iterator[_ObjectCheck]":
        """Yield a check for the report of each published session that has one; any other is an orphan."""
        for session in published:
            key = report_key(str(session))
            if key in self._listing:
                check = partial(report_problem, self._store, key, is_deep=self._is_deep)
                yield _ObjectCheck(key, "report", str(session), check)

    def _catalog(self, current: Snapshot | None) -> "Iterator[_ObjectCheck]":
        """Yield a check for each roll-up; in format 1 they belong to the snapshot."""
        for table in CATALOG_TABLES:
            at = table_key(table.folder, table.name)
            if current is not None and current.format < FORMAT:
                check = partial(self._old_catalog_problem, current, table)
            else:
                check = partial(roll_up_problem, self._store, table)
            yield _ObjectCheck(at, "catalog", None, check)

    def _old_catalog_problem(self, current: Snapshot, table: Table) -> str | None:
        record = current.catalog.get(table.name)
        if record is None:
            return "is missing from the published snapshot"
        problem = old_table_problem(self._store, record, is_deep=self._is_deep)
        return problem or schema_problem(self._store, record, table)

    def _forgotten(self) -> Forgotten:
        """Return the list of the files taken out, and add its finding."""
        forgotten, problem = self._read(lambda: read_forgotten(self._store))
        if FORGOTTEN_KEY in self._listing:
            self._findings.append(ObjectFinding(FORGOTTEN_KEY, "forgotten files", None, problem))
        return forgotten or Forgotten()

    # -- execution -----------------------------------------------------------------------------------------------------

    def _run(self, checks: "Iterable[_ObjectCheck]") -> None:
        with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
            for finding in pool.map(lambda check: check(), checks):
                self._findings.append(finding)
                if self._progress:
                    self._progress(self._unreported.pop(finding.key, 0))

    def _read_all(self, items: Sequence[_In], read: Callable[[_In], _Out]) -> list[tuple[_Out | None, str | None]]:
        with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
            return list(pool.map(lambda item: self._read(lambda: read(item)), items))

    @staticmethod
    def _read(read: Callable[[], _Out]) -> tuple[_Out | None, str | None]:
        """Return what was read, or the problem of the object."""
        found: list[_Out] = []
        problem = checked(lambda: found.append(read()))
        return (found[0] if found else None), problem


@dataclass(frozen=True)
class _ObjectCheck:
    """An object with the function that checks it."""

    key: str
    kind: str
    session: str | None
    check: Callable[[], str | None]

    def __call__(self) -> ObjectFinding:
        return ObjectFinding(self.key, self.kind, self.session, checked(self.check))


@dataclass(frozen=True)
class _TableUse:
    """A table file as one session uses it."""

    name: str
    session: PublishedSession
    record: TableRecord

    @property
    def text(self) -> str:
        return str(self.session.key)

    @property
    def table(self) -> Table | None:
        """Its definition, unless the session's source is not installed here."""
        if not are_installed(self.session.sources):
            return None
        tables = session_tables(sources_named(self.session.sources))
        return next((table for table in tables if table.name == self.name), None)


def _uses(sessions: Iterable[PublishedSession]) -> Iterator[_TableUse]:
    for session in sessions:
        for name, record in session.tables.items():
            yield _TableUse(name, session, record)


def _by_digest(sessions: Iterable[PublishedSession]) -> dict[str, list[_TableUse]]:
    users: defaultdict[str, list[_TableUse]] = defaultdict(list)
    for use in _uses(sessions):
        users[use.record.sha256].append(use)
    return users


def _published_in(
    current: Snapshot | None, shards: Mapping[str, Shard], sessions: Mapping[str, PublishedSession]
) -> dict[SessionKey, PublishedSession]:
    """Return the readable published records of the published snapshot."""
    if current is None:
        return {}
    if current.format < FORMAT:
        return {session.key: session for session in current.sessions}
    found = [shards[sha256] for sha256 in current.shards if sha256 in shards]
    entries = {text: entry for shard in found for text, entry in shard.sessions.items()}
    return {
        parse_session_key(text): sessions[entry.record]
        for text, entry in sorted(entries.items())
        if entry.record in sessions
    }


def _files_by_session(published: Mapping[SessionKey, PublishedSession]) -> dict[SessionKey, tuple[RecordedFile, ...]]:
    return {key: session.files for key, session in published.items()}


def _files_of_format_1(current: Snapshot) -> list[RecordedFile]:
    """Return the files that the table ``files`` of a snapshot of format 1 lists; none if it cannot be read."""
    try:
        rows = CatalogTables(current).files.to_pylist()
    except READ_ERRORS:
        return []
    return [RecordedFile.from_row(row) for row in rows if row["store_tag"] is not None]


def _without_digest(files: Iterable[RecordedFile]) -> list[OrphanNote]:
    note = "was stored without a SHA-256: only its size and the store's version tag can be compared"
    return [OrphanNote(raw_key(file.path), note) for file in files if file.sha256 is None]

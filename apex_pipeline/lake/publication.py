"""Publishes sessions: writes their records, the changed parts of the snapshot, and swaps the pointer.

The pointer is swapped only if it is still the one that was read, so two syncs that publish at once do not lose each
other's sessions: the second reads the new snapshot and puts its own sessions into that. Stable names below ``tables/``
are renewed after the swap. See ``snapshot.py`` for the parts.

Only the holder of a session's lease publishes it. A process that was stopped for so long that it lost the lease may not
know; it finds out here, because the session is no longer published as it was when the work began.
"""

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from apex_pipeline.errors import LeaseLostError, ObjectMissingError, StoreCorruptionError, StoreUnavailableError
from apex_pipeline.lake.derived import clear_derived, derived_list, require_no_failed
from apex_pipeline.lake.documents import digest_of, dump_document
from apex_pipeline.lake.published_session import PublishedSession, SessionEntry, TableRecord, session_entry
from apex_pipeline.lake.records import SessionRecord
from apex_pipeline.lake.snapshot import (
    FORMAT,
    Pointer,
    Shard,
    Snapshot,
    read_pointer,
    read_snapshot,
    shard_count,
    shard_number,
    snapshot_document,
    snapshot_id,
)
from apex_pipeline.lake.takeover import take_over
from apex_pipeline.sources import sources_named
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    object_key,
    published_session_key,
    shard_key,
    snapshot_key,
)
from apex_pipeline.storage.leases import replace_alone
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)

# Each attempt fails only because another sync has published meanwhile, so some sync always makes progress. 100 attempts
# at up to 0.5 s outlast a hundred syncs that finish at the same moment.
_MOST_ATTEMPTS = 100
_LONGEST_PAUSE_S = 0.5
# A session whose names have to be renewed again has been published by another process meanwhile, which takes seconds.
_MOST_RENEWALS = 20


@dataclass(frozen=True)
class Change:
    """What becomes of one session.

    Attributes:
        record: Its new published record; ``None`` takes the session out.
        rolled_back_from: Version of the files whose tables the record replaces, if this is a rollback.
    """

    record: PublishedSession | None
    rolled_back_from: str | None = None


def publishable_session(
    record: SessionRecord, derived: Mapping[str, TableRecord], previous: PublishedSession | None
) -> PublishedSession:
    """Return the published record of a session.

    Args:
        record: The session's record.
        derived: The tables that were derived from its present files.
        previous: Its published record; tables not derived this time are carried over if they have the same files.

    Raises:
        ObjectMissingError: A required table has not been derived from the session's present files.
    """
    key = record.session_key
    tables = dict(derived)
    if previous is not None and previous.inputs_version == record.inputs_version:
        tables = {**previous.tables, **tables}
    required = [table.name for source in sources_named(record.sources) for table in source.required_tables]
    missing = [name for name in required if name not in tables]
    if missing:
        raise ObjectMissingError(
            f"The session {key} is not published: {', '.join(missing)} has not been derived from its present files.",
            f"Materialize {', '.join(f'tables/{name}' for name in missing)} of the partition {key} first.",
        )
    return PublishedSession(
        key.track, key.session, record.inputs_version, record.sources, dict(sorted(tables.items())), record.files
    )


def _nothing_required() -> None:
    """Do nothing: no other process works on this lake."""


def publish_session(
    store: ObjectStore,
    record: SessionRecord,
    now: datetime,
    require_lease: Callable[[], None] = _nothing_required,
    *,
    intact: PublishedSession | None = None,
) -> Snapshot:
    """Publish the derived tables of a session, renew its stable names and remove the list of its derived tables.

    Args:
        store: The lake.
        record: The session's record.
        now: The current time, aware.
        require_lease: Raises an error if this process no longer holds the session's lease.
        intact: A published record of the session whose stable names are known to be as recorded.

    Returns:
        The published snapshot.

    Raises:
        LeaseLostError: This process lost the session's lease; what another one has published stays.
        ObjectMissingError: A required table has not been derived from the session's present files.
        PermanentError: A table failed a blocking check when it was last derived.
    """
    key = record.session_key
    pointer = read_pointer(store)
    before = read_snapshot(store, snapshot_key(pointer[0])) if pointer else None
    entry = before.entry(key) if before else None
    # Not earlier: what the next holder of the lease publishes is then certain to come after the entry was read.
    require_lease()
    previous = _published_in(before, key)
    found = derived_list(store, key, record.inputs_version)
    require_no_failed(found)
    derived = found.tables
    published = publishable_session(record, derived, previous)
    snapshot = publish(store, {key: Change(published)}, now, expected={key: entry}, pointer=pointer)
    # After a run that ended here, the tables are published already and their names may be of the tables before.
    known = {} if previous is None else dict(previous.tables)
    if previous != intact:
        known = {name: table for name, table in known.items() if name not in derived}
    require_lease()
    _renew_stable_names(store, snapshot.id, published, known)
    require_lease()
    clear_derived(store, key)
    return snapshot


def _published_in(before: Snapshot | None, key: SessionKey) -> PublishedSession | None:
    """Return the published record of a session; ``None`` if it is damaged, because publication makes it again."""
    try:
        return before.session(key) if before else None
    except StoreCorruptionError as error:
        _LOG.warning("%s", error.problem)
        return None


def publish(
    store: ObjectStore,
    changes: Mapping[SessionKey, Change],
    now: datetime,
    note: str = "",
    *,
    expected: Mapping[SessionKey, SessionEntry | None] | None = None,
    pointer: tuple[str, str] | None = None,
) -> Snapshot:
    """Put sessions into the published snapshot; nothing is written if they are published like this already.

    Args:
        store: The lake.
        changes: What becomes of each session; the others stay as they are.
        now: The current time, aware.
        note: Why, if this is not a sync.
        expected: Entries of sessions (``None``: not published) that must not have changed until now.
        pointer: The pointer and its tag, if the caller has read it; if it was replaced since, it is read again.

    Returns:
        The published snapshot.

    Raises:
        LeaseLostError: Another process has published one of the sessions in ``expected``.
        StoreCorruptionError: The published snapshot is damaged.
        StoreUnavailableError: Others publish without a pause.
    """
    written = _write_records(store, changes)
    for attempt in range(_MOST_ATTEMPTS):
        pointer = pointer or read_pointer(store)
        previous = read_snapshot(store, snapshot_key(pointer[0])) if pointer else None
        if previous and previous.format < FORMAT:
            changes = {session.key: Change(session) for session in take_over(store, previous)} | dict(changes)
            written = _write_records(store, changes)
        merged = _merged(previous, changes, written)
        _require_unchanged(previous, expected or {}, merged)
        if previous and previous.format == FORMAT and merged == previous.entries:
            return previous
        known = previous.shards if previous else ()
        snapshot = write_snapshot(store, merged, previous.id if previous else None, now, note, known)
        if swap_pointer(store, snapshot.id, pointer[1] if pointer else None):
            return snapshot
        pointer = None
        _LOG.info("Another sync has published; its sessions are kept, attempt %d", attempt + 2)
        pause_s = min(_LONGEST_PAUSE_S, 0.01 * 2**attempt)
        time.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  -- keeps the attempts apart, not a secret
    raise StoreUnavailableError(
        f"{store.uri_of(CURRENT_SNAPSHOT_KEY)} was replaced {_MOST_ATTEMPTS} times while publishing.",
        "Run the sync again when fewer syncs run.",
    )


def _write_records(store: ObjectStore, changes: Mapping[SessionKey, Change]) -> dict[SessionKey, str]:
    """Write the published records and return their digests."""
    contents = {key: dump_document(change.record) for key, change in changes.items() if change.record is not None}
    digests = {key: digest_of(content) for key, content in contents.items()}
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        list(pool.map(lambda key: store.write_bytes(published_session_key(digests[key]), contents[key]), contents))
    return digests


def _merged(
    previous: Snapshot | None, changes: Mapping[SessionKey, Change], digests: Mapping[SessionKey, str]
) -> dict[SessionKey, SessionEntry]:
    entries = dict(previous.entries) if previous and previous.format == FORMAT else {}
    for key, change in changes.items():
        if change.record is None:
            entries.pop(key, None)
        else:
            entries[key] = session_entry(change.record, digests[key], change.rolled_back_from)
    return dict(sorted(entries.items()))


def _require_unchanged(
    previous: Snapshot | None,
    expected: Mapping[SessionKey, SessionEntry | None],
    merged: Mapping[SessionKey, SessionEntry],
) -> None:
    """Raise an error if a session is published neither as expected nor as it is about to be.

    Raises:
        LeaseLostError: One is, so another process has published it.
    """
    entries = previous.entries if previous else {}
    for key, entry in expected.items():
        if _content(entries.get(key)) not in {_content(entry), _content(merged.get(key))}:
            raise LeaseLostError(
                f"{key} has been published by another process while this one worked on it.",
                "That stays published. Run the sync again.",
            )


def _content(entry: SessionEntry | None) -> object:
    """Return what an entry publishes; the digest of its record also changes with the wording of its evidence."""
    return None if entry is None else (entry.inputs_version, entry.objects, entry.rolled_back_from)


def swap_pointer(store: ObjectStore, snapshot: str, tag: str | None) -> bool:
    """Publish a snapshot if the pointer still has this tag (``None``: if there is none), and return whether it had.

    Raises:
        StoreLockedError: The store cannot compare and write in one step, and others publish without a pause.
    """
    return replace_alone(store, CURRENT_SNAPSHOT_KEY, dump_document(Pointer(snapshot)), tag)


def write_snapshot(
    store: ObjectStore,
    entries: Mapping[SessionKey, SessionEntry],
    parent: str | None,
    now: datetime,
    note: str = "",
    known: Collection[str] = (),
) -> Snapshot:
    """Write a snapshot and its shards; it is not published before the pointer names it.

    Args:
        store: The lake.
        entries: The entries of its sessions.
        parent: Id of the snapshot it replaces, if any.
        now: The current time, aware.
        note: Why, if this is not a sync.
        known: Digests of shards that the lake has and keeps.
    """
    count = shard_count(len(entries))
    by_shard: defaultdict[int, dict[str, SessionEntry]] = defaultdict(dict)
    for key, entry in entries.items():
        by_shard[shard_number(key, count)][str(key)] = entry
    contents = [dump_document(Shard(by_shard[number])) for number in range(count)]
    shards = tuple(map(digest_of, contents))
    for sha256, content in zip(shards, contents, strict=True):
        if sha256 not in known:
            store.write_bytes(shard_key(sha256), content)
    created_utc = now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    snapshot = Snapshot(
        store,
        id=snapshot_id(created_utc, parent, shards, note),
        created_utc=created_utc,
        parent=parent,
        shards=shards,
        note=note,
    )
    store.write_bytes(snapshot_key(snapshot.id), dump_document(snapshot_document(snapshot)))
    return snapshot


def _renew_stable_names(
    store: ObjectStore, snapshot: str, published: PublishedSession, known: Mapping[str, TableRecord]
) -> None:
    """Write the stable names of a session that was published with a snapshot, or of what replaced it meanwhile.

    Args:
        store: The lake.
        snapshot: Id of the snapshot.
        published: The session's published record.
        known: The tables whose stable names are as recorded.
    """
    write_stable_names(store, published.tables, known)
    tables = published.tables
    for _ in range(_MOST_RENEWALS):
        pointer = read_pointer(store)
        if pointer is None or pointer[0] == snapshot:
            return
        snapshot = pointer[0]
        session = read_snapshot(store, snapshot_key(snapshot)).session(published.key)
        present = session.tables if session else {}
        if present == tables:
            return
        # This process was stopped for so long that it lost the lease, and has just written names of earlier tables.
        write_stable_names(store, present, {name: table for name, table in tables.items() if name not in present})
        tables = present


def write_stable_names(store: ObjectStore, tables: Mapping[str, TableRecord], known: Mapping[str, TableRecord]) -> None:
    """Copy a session's published tables to their stable names, and remove the names of tables it no longer has.

    Args:
        store: The lake.
        tables: Its published tables.
        known: The tables whose stable names are as recorded.
    """
    changed = [table for name, table in tables.items() if known.get(name) != table]
    gone = [table.key for name, table in known.items() if name not in tables]
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        list(pool.map(lambda table: store.copy(object_key(table.sha256), table.key), changed))
        list(pool.map(store.delete, gone))

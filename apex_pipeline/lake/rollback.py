"""Publishes an earlier state of a lake, or of some of its sessions, again.

A rollback is a new snapshot with old records: nothing of the history is lost, and rolling forward is another rollback.
Each restored session remembers the version of its files whose tables were replaced, so the next sync leaves it alone
until its files change. A session that was not published then is taken out, and as its files are still there, the next
sync publishes it again. See ``history.py`` for the earlier snapshots.
"""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from apex_pipeline.errors import ConfigurationError, StoreCorruptionError
from apex_pipeline.lake.derived import clear_derived
from apex_pipeline.lake.forgotten import Forgotten, read_forgotten
from apex_pipeline.lake.objects import table_file_key
from apex_pipeline.lake.publication import Change, publish, write_stable_names
from apex_pipeline.lake.published_session import PublishedSession, TableRecord
from apex_pipeline.lake.records import read_record
from apex_pipeline.lake.retention import LONGEST_WAIT_S, REMOVAL_LEASE
from apex_pipeline.lake.snapshot import FORMAT, Snapshot, read_current
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.lake.takeover import take_over
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import report_key
from apex_pipeline.storage.leases import held
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables.session_key import SessionKey

# Sessions that a message names.
_NAMED = 5


@dataclass(frozen=True)
class Rollback:
    """What a rollback does.

    Attributes:
        target: The earlier snapshot.
        restored: Sessions that get other tables than they have now, or are published again.
        removed: Sessions that were not published then, and are taken out.
        unchanged: Number of the other sessions that were asked for.
    """

    target: Snapshot
    restored: tuple[SessionKey, ...]
    removed: tuple[SessionKey, ...]
    unchanged: int

    @property
    def is_idle(self) -> bool:
        """Whether everything is published like this already."""
        return not (self.restored or self.removed)


def plan_rollback(store: ObjectStore, target: Snapshot, keys: Collection[SessionKey] = ()) -> Rollback:
    """Return what a rollback would do; nothing is written.

    Args:
        store: The lake.
        target: The earlier snapshot.
        keys: The sessions to roll back; all of them if empty.

    Raises:
        ObjectMissingError: Nothing is published in this lake.
        ConfigurationError: A session is neither published now nor was it then.
        StoreCorruptionError: A part of one of the snapshots is damaged.
    """
    now, then = require_snapshot(store).entries, target.entries
    unknown = sorted(set(keys) - now.keys() - then.keys())
    if unknown:
        known = ", ".join(map(str, [*then][:_NAMED])) or "none"
        raise ConfigurationError(
            f"{unknown[0]} is published neither now nor in {target.id}.", f"Sessions of that snapshot: {known}."
        )
    wanted = sorted(keys or now.keys() | then.keys())
    restored = [key for key in wanted if key in then and (key not in now or now[key].objects != then[key].objects)]
    removed = [key for key in wanted if key in now and key not in then]
    return Rollback(target, tuple(restored), tuple(removed), len(wanted) - len(restored) - len(removed))


def roll_back(store: ObjectStore, rollback: Rollback, now: datetime) -> Snapshot:
    """Publish the earlier tables of sessions as a new snapshot, and renew their stable names.

    Args:
        store: The lake, opened for writing.
        rollback: What to do.
        now: The current time, aware.

    Returns:
        The published snapshot.

    Raises:
        ConfigurationError: A file of a session was taken out of the lake since.
        ObjectMissingError: A table of the earlier snapshot has been removed.
        StoreCorruptionError: A part of the earlier snapshot is damaged.
        StoreLockedError: Expired objects are being removed for a long time.
    """
    # An object of the earlier snapshot must not expire between the look at it and its publication.
    with held(store, REMOVAL_LEASE, f"rolling back to {rollback.target.id}", timeout_s=LONGEST_WAIT_S) as lease:
        sessions = _sessions_of(store, rollback)
        _require_not_forgotten(sessions, read_forgotten(store))
        _require_tables(store, sessions)
        before = _published_tables(store, (*rollback.restored, *rollback.removed))
        changes = {session.key: _change(store, session) for session in sessions}
        changes |= {key: Change(None) for key in rollback.removed}
        lease.require()
        snapshot = publish(store, changes, now, f"rollback to {rollback.target.id}")
        restored = {session.key: session for session in sessions}
        for key in (*rollback.restored, *rollback.removed):
            with held(store, str(key), "rolling it back", timeout_s=LONGEST_WAIT_S) as own:
                # What an unfinished run has derived is of the state that is left behind.
                own.require()
                clear_derived(store, key)
                _renew_names(store, key, restored.get(key), before.get(key, {}))
    return snapshot


def _sessions_of(store: ObjectStore, rollback: Rollback) -> list[PublishedSession]:
    """Return the published records to restore, with objects for the tables of a snapshot of format 1."""
    target = rollback.target
    if target.format < FORMAT:
        wanted = set(rollback.restored)
        return [session for session in take_over(store, target) if session.key in wanted]
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        return [session for session in pool.map(target.session, rollback.restored) if session]


def _require_not_forgotten(sessions: Iterable[PublishedSession], forgotten: Forgotten) -> None:
    for session in sessions:
        out = [file.path for file in session.files if forgotten.has(file.path, file.sha256)]
        if out:
            raise ConfigurationError(
                f"{session.key} cannot be rolled back: its tables of that time were derived from {out[0]}, which was "
                "taken out with `apex forget`.",
                f"`apex forget --undo '{out[0]}'` brings the file back; or name the other sessions.",
            )


def _require_tables(store: ObjectStore, sessions: Iterable[PublishedSession]) -> None:
    """Require that every table of these sessions is still there and intact, as far as the store knows."""
    records = [record for session in sessions for record in session.tables.values()]
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        list(pool.map(partial(table_file_key, store), records))


def _published_tables(store: ObjectStore, keys: Iterable[SessionKey]) -> dict[SessionKey, Mapping[str, TableRecord]]:
    """Return the tables that are published now; those of a session whose record is damaged are not known."""
    current = require_snapshot(store)

    def tables_of(key: SessionKey) -> Mapping[str, TableRecord]:
        try:
            session = current.session(key)
        except StoreCorruptionError:
            session = None
        return session.tables if session else {}

    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        keys = list(keys)
        return dict(zip(keys, pool.map(tables_of, keys), strict=True))


def _change(store: ObjectStore, session: PublishedSession) -> Change:
    """Return the change that publishes a session as it was, marked with the version of the files it has now."""
    try:
        record = read_record(store, session.key)
    except StoreCorruptionError:
        record = None
    version = record.inputs_version if record else None
    return Change(session, None if version == session.inputs_version else version)


def _renew_names(
    store: ObjectStore, key: SessionKey, session: PublishedSession | None, before: Mapping[str, TableRecord]
) -> None:
    """Copy the tables of a session to its stable names, unless another sync has published it since.

    Of a session that was taken out, the names and the report are removed. A report of one that was restored stays: it
    says which snapshot it is from.

    Args:
        store: The lake.
        key: The session, whose lease this process holds.
        session: What is published of it now; ``None`` if it was taken out.
        before: The tables that were published before.
    """
    current = read_current(store)
    if current is None or current.session(key) != session:
        return
    if session is None:
        write_stable_names(store, {}, before)
        store.delete(report_key(str(key)))
        return
    gone = {name: table for name, table in before.items() if name not in session.tables}
    intact = {name: table for name, table in session.tables.items() if _is_at_its_name(store, table)}
    write_stable_names(store, session.tables, {**gone, **intact})


def _is_at_its_name(store: ObjectStore, table: TableRecord) -> bool:
    facts = store.head(table.key)
    return facts is not None and facts.sha256 == table.sha256

"""Takes raw files, sessions or tracks out of a lake, and brings them back.

What is taken out is listed by path and digest, so no sync copies or identifies it again. Its sessions are no longer
published, and their records are removed: the next sync derives what is left of them. Bytes and objects stay until
``apex gc`` removes them after the retention; until then, earlier snapshots still show them. See ``forgotten.py`` for
the list and ``retention.py`` for the removal.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from apex_pipeline.errors import ConfigurationError, StoreCorruptionError
from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.derived import clear_derived
from apex_pipeline.lake.forgotten import ForgottenFile, change_forgotten, read_forgotten
from apex_pipeline.lake.names import find_sessions
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.records import RecordedFile, change_unassigned, read_record, read_unassigned
from apex_pipeline.lake.retention import LONGEST_WAIT_S, REMOVAL_LEASE
from apex_pipeline.lake.rollups import (
    ROLL_UPS_LEASE,
    is_session_record,
    list_records,
    load_roll_ups,
    session_of,
    write_roll_ups,
)
from apex_pipeline.lake.snapshot import Snapshot, read_current, stable_key
from apex_pipeline.settings import Settings
from apex_pipeline.sources import session_tables
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import RAW_PREFIX, quarantine_reason_key, raw_key, record_key, report_key
from apex_pipeline.storage.leases import Holder, Lease, held
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables.session_key import SessionKey, parse_session_key

# Names that an error lists.
_LISTED = 5


@dataclass(frozen=True)
class Removal:
    """What is to be taken out.

    Attributes:
        name: What was asked for.
        files: The raw files, sorted by path; those of no session too.
        sessions: The sessions that are no longer published; the next sync derives what is left of them.
        is_partial: Whether the sessions keep other files.
    """

    name: str
    files: tuple[RecordedFile, ...]
    sessions: tuple[SessionKey, ...]
    is_partial: bool


@dataclass(frozen=True)
class Return:
    """Files that were brought back.

    Attributes:
        present: Paths of those whose bytes are still in the lake.
        gone: Paths of those that must be put back into the source folder.
    """

    present: tuple[str, ...]
    gone: tuple[str, ...]


def plan_removal(store: ObjectStore, name: str, settings: Settings) -> Removal:
    """Find what a name means; nothing is written.

    Args:
        store: The lake.
        name: Path of a raw file, in the lake or in the source folder; ``track/session``; or a track.
        settings: The source folder, and the user's own track names.

    Raises:
        ConfigurationError: The lake has no such file, session or track.
        StoreCorruptionError: A part of the published snapshot is damaged.
    """
    known = _Known(store)
    path = _known_path(name, known.paths, settings)
    if path is not None:
        keys = known.paths[path]
        files = [file for key in keys for file in known.files_of(key) if file.path == path]
        return Removal(name, _distinct(files), tuple(sorted(key for key in keys if key)), is_partial=True)
    if Path(name).suffix:
        raise _no_such_file(store, name, known.paths)
    keys = find_sessions(name, known.sessions, settings)
    files = [file for key in keys for file in known.files_of(key)]
    if "/" not in name.strip("/"):  # a track: also its files that belong to no session
        files += [file for file in known.files_of(None) if file.track == keys[0].track]
    return Removal(name, _distinct(files), tuple(keys), is_partial=False)


def remove(store: ObjectStore, removal: Removal, now: datetime, on_wait: Callable[[Holder], None]) -> None:
    """Take files out of the lake, and their sessions out of what is published. Safe to repeat after an interruption.

    Args:
        store: The lake, opened for writing.
        removal: What to take out.
        now: The current time, aware.
        on_wait: Called when a session is being worked on by another process.

    Raises:
        StoreLockedError: Another process works on a session for a long time.
        StoreCorruptionError: The published snapshot or the list of files taken out is damaged.
    """
    # First the list: a discovery that starts from now on leaves the files out.
    change_forgotten(store, [(file.path, _entry(file, now)) for file in removal.files])
    for key in removal.sessions:
        with held(store, str(key), "taking it out", on_wait, LONGEST_WAIT_S) as lease:
            _take_out(store, key, now, lease)
    paths = {file.path for file in removal.files}
    change_unassigned(store, lambda files: (file for file in files if file.path not in paths))
    with held(store, ROLL_UPS_LEASE, "taking files out", on_wait, LONGEST_WAIT_S) as lease:
        for path in sorted(paths):
            store.delete(quarantine_reason_key(path))
        records = list_records(store)
        roll_ups = load_roll_ups(store, records)
        lease.require()
        write_roll_ups(store, roll_ups, roll_ups.rules_version, records)


def plan_return(store: ObjectStore, name: str, settings: Settings) -> list[str]:
    """Return the paths of the files that were taken out under a name; arguments as for :func:`plan_removal`.

    Raises:
        ConfigurationError: No such file was taken out.
        StoreCorruptionError: The list of files taken out is damaged.
    """
    files = read_forgotten(store).files
    path = _known_path(name, files, settings)
    if path is not None:
        return [path]
    sessions = {path: parse_session_key(file.session) for path, own in files.items() for file in own if file.session}
    if not sessions:
        raise ConfigurationError(
            f"No file called {name!r} was taken out of the lake {store.uri}.",
            f"Taken out: {', '.join(list(files)[:_LISTED]) or 'nothing'}.",
        )
    keys = set(find_sessions(name, set(sessions.values()), settings))
    return sorted(path for path, key in sessions.items() if key in keys)


def bring_back(store: ObjectStore, paths: Collection[str]) -> Return:
    """Remove files from the list of those taken out, so that the next sync uses them again.

    Args:
        store: The lake, opened for writing.
        paths: Their paths.

    Raises:
        StoreLockedError: Expired objects are being removed for a long time.
        StoreCorruptionError: The list of files taken out is damaged.
    """
    with held(store, REMOVAL_LEASE, "bringing files back", timeout_s=LONGEST_WAIT_S) as lease:
        lease.require()
        change_forgotten(store, (), paths)
        with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
            found = dict(zip(paths, pool.map(lambda path: store.head(raw_key(path)), paths), strict=True))
    return Return(
        tuple(path for path, facts in found.items() if facts), tuple(path for path, facts in found.items() if not facts)
    )


class _Known:
    """The files and sessions of a lake, from its records and its published state."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._snapshot = read_current(store)
        records = list_records(store)
        keys = {session_of(key) for key in records if is_session_record(key)}
        self.sessions = keys | set(self._snapshot.keys if self._snapshot else ())
        self.paths: defaultdict[str, set[SessionKey | None]] = defaultdict(set)
        for row in load_roll_ups(store, records).files.select(["path", "track", "session"]).to_pylist():
            is_assigned = row["track"] and row["session"]
            self.paths[row["path"]].add(SessionKey(row["track"], row["session"]) if is_assigned else None)

    def files_of(self, key: SessionKey | None) -> list[RecordedFile]:
        """Return the files of a session as recorded now and as published; those without a session for ``None``."""
        if key is None:
            return list(read_unassigned(self._store).files)
        try:
            record = read_record(self._store, key)
        except StoreCorruptionError:
            record = None
        session = self._snapshot.session(key) if self._snapshot else None
        published = session_files(self._snapshot, session) if self._snapshot and session else ()
        return [*(record.files if record else ()), *published]


def _known_path(name: str, known: Collection[str], settings: Settings) -> str | None:
    """Return the path that a name means: as listed, as a key of the lake, or as a file of the source folder."""
    candidates = [name, name.removeprefix(RAW_PREFIX)]
    try:
        local = Path(name).expanduser().resolve().relative_to(settings.source_dir.expanduser().resolve())
        candidates.append(local.as_posix())
    except (ValueError, OSError, RuntimeError):  # elsewhere, or no path of this machine at all
        pass
    return next((path for path in candidates if path in known), None)


def _published_tables(snapshot: Snapshot | None, key: SessionKey) -> set[str]:
    try:
        session = snapshot.session(key) if snapshot else None
    except StoreCorruptionError:  # a sync would make its record again
        session = None
    return set(session.tables) if session else set()


def _no_such_file(store: ObjectStore, name: str, known: Iterable[str]) -> ConfigurationError:
    close = get_close_matches(name.removeprefix(RAW_PREFIX), list(known), 1)
    hint = f"Did you mean {close[0]}?" if close else "`apex files` lists the raw files."
    return ConfigurationError(f"The lake {store.uri} has no raw file {name!r}.", hint)


def _distinct(files: Iterable[RecordedFile]) -> tuple[RecordedFile, ...]:
    """Return each content of each path once, sorted by path."""
    found = {(file.path, file.sha256 or ""): file for file in files}
    return tuple(file for _, file in sorted(found.items()))


def _entry(file: RecordedFile, now: datetime) -> ForgottenFile:
    session = f"{file.track}/{file.session}" if file.track and file.session else None
    return ForgottenFile(file.sha256, now, session)


def _take_out(store: ObjectStore, key: SessionKey, now: datetime, lease: Lease) -> None:
    """Take a session out of what is published, and remove its stable names, its report and its record, in this order.

    Raises:
        LeaseLostError: This process no longer holds the session's lease; what another one writes stays.
    """
    recorded = store.head(record_key(str(key)))
    current = read_current(store)
    names = {table.name for table in session_tables()} | _published_tables(current, key)
    if current is not None:
        lease.require()
        # The note names no file: what was taken out may have a person's name.
        publish(store, {key: Change(None)}, now, "forget")
    lease.require()
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        list(pool.map(lambda name: store.delete(stable_key(name, key)), sorted(names)))
    store.delete(report_key(str(key)))
    lease.require()
    clear_derived(store, key)
    # Last, because the record is what finds the session again after an interruption.
    if recorded is not None:
        store.delete_if(record_key(str(key)), recorded.tag)

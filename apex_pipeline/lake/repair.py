"""Repairs the published state: the pointer, the snapshot and its shards; see healing.py for tables.

Each repair publishes what is still readable, with the same compare-and-swap as every publication, so it is safe while
syncs and other repairs run. What could not be restored is derived again by the sync that follows.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from apex_pipeline.errors import StoreCorruptionError, StoreUnavailableError
from apex_pipeline.lake.forgotten import Forgotten, read_forgotten
from apex_pipeline.lake.publication import swap_pointer, write_snapshot
from apex_pipeline.lake.published_session import SessionEntry, read_published_session
from apex_pipeline.lake.records import read_record
from apex_pipeline.lake.rollups import is_session_record, session_of
from apex_pipeline.lake.snapshot import (
    FORMAT,
    LaterFormatError,
    Snapshot,
    list_snapshot_keys,
    read_pointer,
    read_snapshot,
    shard_number,
)
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, RECORDS_PREFIX, SNAPSHOT_IDS_PREFIX, snapshot_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)

# Each repair makes the next part readable: the pointer, then the snapshot, then its shards. More attempts are needed
# only if others publish at the same moment.
_MOST_ATTEMPTS = 20
# Earlier snapshots in which the sessions of a damaged shard are looked for.
_SEARCHED = 64
_NAMED = 5
_NOTE = "repair"


def repair_publication(store: ObjectStore) -> list[str]:
    """Make the published state readable again, and return a sentence for everything that was done; usually none.

    Reads the pointer, the snapshot and its shards.

    Args:
        store: The lake, opened for writing.

    Raises:
        StoreCorruptionError: A snapshot was written by a later version, or the list of the files taken out is damaged.
        StoreUnavailableError: Others publish without a pause.
    """
    done: list[str] = []
    for _ in range(_MOST_ATTEMPTS):
        repair = _next_repair(store)
        if repair is None:
            return done
        if swap_pointer(store, repair.snapshot, repair.tag):
            done.append(repair.sentence)
            _remove(store, repair.damaged)
    raise StoreUnavailableError(
        f"{store.uri_of(CURRENT_SNAPSHOT_KEY)} was replaced {_MOST_ATTEMPTS} times while it was repaired.",
        "Run the sync again when fewer syncs run.",
    )


@dataclass(frozen=True)
class _Repair:
    """One repair.

    Attributes:
        sentence: What it does.
        snapshot: Id of the snapshot to publish.
        tag: Tag of the pointer that it replaces; ``None`` if there is none.
        damaged: Key of a damaged document that can no longer be used.
    """

    sentence: str
    snapshot: str
    tag: str | None
    damaged: str | None = None


def _remove(store: ObjectStore, key: str | None) -> None:
    """Remove a damaged document, which verification would report for as long as it is there."""
    facts = store.head(key) if key else None
    if facts is not None:
        store.delete_if(facts.key, facts.tag)


def _next_repair(store: ObjectStore) -> _Repair | None:
    """Return the next repair that is needed; its snapshot is written and not yet published."""
    try:
        pointer = read_pointer(store)
    except StoreCorruptionError:
        return _new_pointer(store, "was damaged")
    if pointer is None:
        return _new_pointer(store, "was missing")
    published, tag = pointer
    try:
        snapshot = read_snapshot(store, snapshot_key(published))
    except LaterFormatError:
        raise
    except StoreCorruptionError:
        return _earlier_snapshot(store, published, tag)
    damaged = _damaged_shards(snapshot)
    if not damaged:
        return None
    state = _state_of(snapshot, damaged)
    sentence = f"A part of the published snapshot {published} was damaged; {state.restored}"
    return _Repair(sentence, _write(store, state.entries, published), tag)


def _new_pointer(store: ObjectStore, problem: str) -> _Repair | None:
    newest, tag = next(_documents(store), None), _tag_of_pointer(store)
    if newest is None:
        # Nothing was ever published, or nothing is left: the sync publishes as into an empty lake.
        if tag is not None:
            store.delete_if(CURRENT_SNAPSHOT_KEY, tag)
        return None
    sentence = f"{CURRENT_SNAPSHOT_KEY} {problem}; the newest snapshot, {newest.id}, is published again."
    if newest.format < FORMAT:
        return _Repair(sentence, newest.id, tag)
    damaged = _damaged_shards(newest)
    state = _without_forgotten(_state_of(newest, damaged))
    if not damaged and state.entries == newest.entries:
        return _Repair(sentence, newest.id, tag)
    return _Repair(f"{sentence} {state.restored}".strip(), _write(store, state.entries, newest.id), tag)


def _earlier_snapshot(store: ObjectStore, damaged: str, tag: str) -> _Repair:
    """Publish the newest readable snapshot in place of a damaged one."""
    earlier = next(_documents(store), None)
    sentence = f"The published snapshot {damaged} was missing or damaged;"
    if earlier is None:
        sentence += " no earlier one is readable, and all sessions must be derived again."
        return _Repair(sentence, _write(store, {}, damaged), tag, snapshot_key(damaged))
    sentence += f" the state of {earlier.id} is published again."
    if earlier.format < FORMAT:
        return _Repair(sentence, earlier.id, tag, snapshot_key(damaged))
    state = _without_forgotten(_state_of(earlier, _damaged_shards(earlier)))
    # The damaged one stays the parent: what was published at its time is not known any more.
    return _Repair(sentence, _write(store, state.entries, damaged), tag, snapshot_key(damaged))


def _write(store: ObjectStore, entries: Mapping[SessionKey, SessionEntry], parent: str) -> str:
    return write_snapshot(store, entries, parent, datetime.now(UTC), _NOTE).id


@dataclass(frozen=True)
class _State:
    """What can be published again of a snapshot.

    Attributes:
        snapshot: The snapshot.
        entries: The entries of its readable shards, and those restored.
        restored: A sentence about the sessions of its damaged shards.
    """

    snapshot: Snapshot
    entries: Mapping[SessionKey, SessionEntry]
    restored: str = ""


def _state_of(snapshot: Snapshot, damaged: set[int]) -> _State:
    """Return the sessions of the readable shards, and those of the damaged ones that earlier snapshots have."""
    store = snapshot.store
    readable = snapshot.entries_in(shard for number, shard in enumerate(snapshot.shards) if number not in damaged)
    if not damaged:
        return _State(snapshot, readable)
    lost = [key for key in _recorded_sessions(store) if shard_number(key, len(snapshot.shards)) in damaged]
    found = _entries_of_records(store, lost)
    missing = [key for key in lost if key not in found]
    rest = ", ".join(map(str, missing[:_NAMED])) + (" …" if len(missing) > _NAMED else "")
    restored = f"{len(found)} of its sessions are restored from earlier snapshots, "
    restored += f"{len(missing)} must be derived again: {rest}." if missing else "and none is lost."
    return _State(snapshot, dict(sorted({**readable, **found}.items())), restored)


def _without_forgotten(state: _State) -> _State:
    """Return the state without the sessions from which files were taken out since."""
    forgotten = read_forgotten(state.snapshot.store)
    if not forgotten.files:
        return state
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        is_out = pool.map(partial(_has_forgotten, state.snapshot.store, forgotten), state.entries.items())
        entries = {key: entry for (key, entry), out in zip(state.entries.items(), is_out, strict=True) if not out}
    return replace(state, entries=entries)


def _has_forgotten(store: ObjectStore, forgotten: Forgotten, item: tuple[SessionKey, SessionEntry]) -> bool:
    key, entry = item
    try:
        session = read_published_session(store, entry.record, str(key))
    except StoreCorruptionError:
        return True  # it cannot be read, so it must be derived again in any case
    return any(forgotten.has(file.path, file.sha256) for file in session.files)


def _entries_of_records(store: ObjectStore, keys: Sequence[SessionKey]) -> dict[SessionKey, SessionEntry]:
    """Return entries of earlier snapshots for sessions, as far as they are of the files that the sessions have now."""
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        versions = dict(zip(keys, pool.map(partial(_version_of, store), keys), strict=True))
    found: dict[SessionKey, SessionEntry] = {}
    for snapshot in islice((one for one in _documents(store) if one.format == FORMAT), _SEARCHED):
        left = {key for key, version in versions.items() if version and key not in found}
        if not left:
            break
        numbers = {shard_number(key, len(snapshot.shards)) for key in left}
        shards = (shard for number, shard in enumerate(snapshot.shards) if number in numbers)
        entries = {key: entry for shard in shards for key, entry in (_entries_in(snapshot, shard) or {}).items()}
        found |= {key: entries[key] for key in left & entries.keys() if entries[key].inputs_version == versions[key]}
    return found


def _version_of(store: ObjectStore, key: SessionKey) -> str:
    try:
        record = read_record(store, key)
    except StoreCorruptionError:
        return ""
    return record.inputs_version if record else ""


def _damaged_shards(snapshot: Snapshot) -> set[int]:
    """Return the numbers of a snapshot's shards that are missing or damaged."""
    if snapshot.format < FORMAT:
        return set()
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        found = list(pool.map(partial(_entries_in, snapshot), snapshot.shards))
    return {number for number, entries in enumerate(found) if entries is None}


def _entries_in(snapshot: Snapshot, shard: str) -> Mapping[SessionKey, SessionEntry] | None:
    """Return the entries of a shard, or ``None`` if it is missing or damaged."""
    try:
        return snapshot.entries_in([shard])
    except StoreCorruptionError:
        return None


def _documents(store: ObjectStore) -> Iterator[Snapshot]:
    """Yield the snapshots whose documents are readable, the newest first.

    Raises:
        LaterFormatError: A snapshot was written by a later version.
    """
    for key in reversed(list_snapshot_keys(item.key for item in store.list(SNAPSHOT_IDS_PREFIX))):
        try:
            yield read_snapshot(store, key)
        except LaterFormatError:
            raise
        except StoreCorruptionError as error:
            _LOG.warning("%s", error.problem)


def _tag_of_pointer(store: ObjectStore) -> str | None:
    facts = store.head(CURRENT_SNAPSHOT_KEY)
    return facts.tag if facts else None


def _recorded_sessions(store: ObjectStore) -> list[SessionKey]:
    return sorted(session_of(item.key) for item in store.list(RECORDS_PREFIX) if is_session_record(item.key))

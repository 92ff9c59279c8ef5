"""Finds the snapshots that were published earlier: the one of a given time, and what each of them changed.

A snapshot's document is written before the pointer is swapped, so it does not show that the snapshot was ever
published: another sync may have been faster, or the process may have ended. A snapshot was published if it is the
current one or another document names it as its parent, because a parent is always read from the pointer. See
``rollback.py`` for publishing an earlier state again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from apex_pipeline.errors import ConfigurationError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.published_session import SessionEntry
from apex_pipeline.lake.snapshot import FORMAT, Snapshot, list_snapshot_keys, read_snapshot
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.keys import UnsafeKeyError
from apex_pipeline.storage.layout import SNAPSHOT_IDS_PREFIX, SNAPSHOTS_PREFIX, snapshot_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables.session_key import SessionKey

# An id starts with the UTC time of publication.
_STAMP = "%Y%m%dT%H%M%SZ"
# Sorts after every id of the same second.
_LAST = "~"

# Snapshots read at first on each side of a time, in parallel: enough unless many of them were never published.
_WINDOW = 16
# Snapshots that are followed one by one where the store lists nothing: a minute of requests of 20 ms.
_FOLLOWED = 3_000
# Snapshots that an error lists on each side of what was asked for.
_LISTED = 2


def snapshot_as_of(store: ObjectStore, as_of: date | str, current: Snapshot) -> Snapshot:
    """Return the snapshot that was published at some time.

    Args:
        store: The lake.
        as_of: A time with a time zone, a date, which means the end of that day in UTC, either of them as ISO text, the
            id of a snapshot or the start of one.
        current: The published snapshot.

    Raises:
        ConfigurationError: It is neither a time with a time zone, nor a date, nor the start of exactly one id.
        ObjectMissingError: Nothing was published at that time, or that snapshot has been removed.
        StoreCorruptionError: The snapshot is damaged.
    """
    timeline = _Timeline(store, current)
    if isinstance(as_of, date):
        return timeline.at(_moment_of(as_of))
    named = timeline.starting_with(as_of)
    if len(named) == 1:
        return timeline.read(named[0])
    moment = _parsed(as_of)
    if moment is None or (named and not _has_zone(moment)):
        raise _no_such_snapshot(as_of, named, timeline)
    return timeline.at(_moment_of(moment))


def _parsed(text: str) -> date | None:
    for kind in (date, datetime):
        try:
            return kind.fromisoformat(text)
        except ValueError:
            continue
    return None


def _has_zone(moment: date) -> bool:
    return isinstance(moment, datetime) and moment.tzinfo is not None


def _moment_of(when: date) -> datetime:
    """Return a time in UTC; of a date, its last moment."""
    return _aware(when) if isinstance(when, datetime) else datetime.combine(when, time.max, UTC)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"The time {moment.isoformat()} has no time zone.", "Give it in UTC, for example 2025-09-06T18:40:00Z."
        )
    return moment.astimezone(UTC)


def _no_such_snapshot(text: str, named: Sequence[str], timeline: "_Timeline") -> ConfigurationError:
    if named:
        return ConfigurationError(
            f"{len(named)} snapshots start with {text!r}.", f"Give more of the id: {', '.join(named[: 2 * _LISTED])} …"
        )
    return ConfigurationError(
        f"{text!r} is neither a time nor a snapshot of this lake.",
        f"Write a time as 2025-09-06T18:40:00Z, or a date as 2025-09-06. {timeline.near(text)}",
    )


class _Timeline:
    """The snapshots of a lake in the order of their ids, which are read when they are needed."""

    def __init__(self, store: ObjectStore, current: Snapshot) -> None:
        self._store = store
        self._current = current
        self._read: dict[str, Snapshot | None] = {current.id: current}
        self._ids = sorted(self._listed() if store.can_list else self._followed())

    def _listed(self) -> set[str]:
        keys = list_snapshot_keys(item.key for item in self._store.list(SNAPSHOT_IDS_PREFIX))
        return {self._current.id} | {key.removeprefix(SNAPSHOTS_PREFIX).removesuffix(".json") for key in keys}

    def _followed(self) -> set[str]:
        """Return the ids from the published snapshot back to the first one, where nothing can be listed."""
        found: set[str] = set()
        snapshot: Snapshot | None = self._current
        while snapshot is not None and snapshot.id not in found and len(found) < _FOLLOWED:
            found.add(snapshot.id)
            snapshot = next(iter(self._load([snapshot.parent] if snapshot.parent else [])), None)
        return found

    def starting_with(self, text: str) -> list[str]:
        """Return the ids that start with a text."""
        found = self._ids[bisect_left(self._ids, text) : bisect_right(self._ids, text + _LAST)] if text else []
        if len(found) > 1:
            # A document that was never published does not match if another one does.
            published = self._published(self._load(found))
            found = [id_ for id_ in found if id_ in published] or found
        return found

    def read(self, id_: str) -> Snapshot:
        """Return a snapshot by its id.

        Raises:
            StoreCorruptionError: It is damaged.
        """
        return self._read.get(id_) or read_snapshot(self._store, snapshot_key(id_))

    def at(self, moment: datetime) -> Snapshot:
        """Return the snapshot that was published at a time.

        Raises:
            ObjectMissingError: Nothing was published at that time, or the snapshot has been removed or is damaged.
        """
        if created(self._current) <= moment:
            return self._current
        place = bisect_right(self._ids, moment.strftime(_STAMP) + _LAST)
        width = _WINDOW
        while True:
            first, end = max(0, place - width), min(len(self._ids), place + width)
            found = self._at(moment, self._load(self._ids[first:end]))
            if found is not None:
                return found
            if (first, end) == (0, len(self._ids)):
                raise ObjectMissingError(
                    f"No snapshot of {moment.isoformat()} is in the lake {self._store.uri}: nothing was published yet, "
                    "or it has been removed.",
                    self.near(moment.strftime(_STAMP)),
                )
            width *= 4

    def near(self, text: str) -> str:
        """Return a sentence with the ids nearest to a text."""
        place = bisect_right(self._ids, text)
        nearest = self._ids[max(0, place - _LISTED) : place + _LISTED]
        return f"The nearest snapshots are {', '.join(nearest)}; `apex history` lists all."

    def walk(self) -> Iterator[tuple[Snapshot, Snapshot | None]]:
        """Yield each published snapshot, the newest first, and the one it replaced if that is still there."""
        snapshot: Snapshot | None = self._current
        seen: set[str] = set()
        while snapshot is not None and snapshot.id not in seen:
            seen.add(snapshot.id)
            parent = snapshot.parent
            if parent is not None and parent not in self._read:
                place = bisect_right(self._ids, parent)
                self._load([*self._ids[max(0, place - _WINDOW) : place], parent])
            before = self._read.get(parent) if parent else None
            yield snapshot, before
            snapshot = before

    def _at(self, moment: datetime, snapshots: Sequence[Snapshot]) -> Snapshot | None:
        """Return the snapshot that was published at a time, if these snapshots prove it."""
        published = self._published(snapshots)
        successors = {one.parent: one for one in snapshots if one.parent and one.id in published}
        earlier = [one for one in snapshots if one.id in published and created(one) <= moment]
        if not earlier:
            return None
        found, seen = max(earlier, key=lambda one: (created(one), one.id)), set[str]()
        # Within a second, or if the clocks of two machines differ, the ids are not in the order of publication.
        while (later := successors.get(found.id)) and created(later) <= moment and later.id not in seen:
            seen.add(later.id)
            found = later
        # Without its successor it cannot be known how long it was published.
        return found if found.id in successors else None

    def _published(self, snapshots: Iterable[Snapshot]) -> set[str]:
        return {self._current.id} | {one.parent for one in snapshots if one.parent}

    def _load(self, ids: Iterable[str]) -> list[Snapshot]:
        """Return the readable snapshots among these."""
        ids = list(ids)
        missing = [id_ for id_ in ids if id_ not in self._read]
        with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
            self._read |= dict(zip(missing, pool.map(self._read_or_none, missing), strict=True))
        return [snapshot for id_ in ids if (snapshot := self._read[id_])]

    def _read_or_none(self, id_: str) -> Snapshot | None:
        try:
            return read_snapshot(self._store, snapshot_key(id_))
        except (StoreCorruptionError, UnsafeKeyError):
            return None


def created(snapshot: Snapshot) -> datetime:
    """Return when a snapshot was published.

    Raises:
        StoreCorruptionError: Its document has no valid time.
    """
    try:
        return datetime.fromisoformat(snapshot.created_utc).astimezone(UTC)
    except ValueError:
        raise StoreCorruptionError(
            f"The snapshot {snapshot.id} has no valid time of publication.", "Run `apex verify` to see what is damaged."
        ) from None


@dataclass(frozen=True)
class SessionChanges:
    """The sessions in which one snapshot differs from another.

    Attributes:
        added: Sessions that only the later one has.
        changed: Sessions with other tables.
        removed: Sessions that only the earlier one has.
    """

    added: tuple[SessionKey, ...] = ()
    changed: tuple[SessionKey, ...] = ()
    removed: tuple[SessionKey, ...] = ()

    def __contains__(self, key: object) -> bool:
        return key in {*self.added, *self.changed, *self.removed}


@dataclass(frozen=True)
class PublishedSnapshot:
    """One line of the history.

    Attributes:
        snapshot: The snapshot.
        changes: What it changed; ``None`` if the snapshot before it has been removed or a part of one is damaged.
    """

    snapshot: Snapshot
    changes: SessionChanges | None


def published_history(store: ObjectStore, current: Snapshot) -> Iterator[PublishedSnapshot]:
    """Yield every snapshot that was published, the newest first, until the first one that has been removed.

    Args:
        store: The lake.
        current: The published snapshot.
    """
    for snapshot, before in _Timeline(store, current).walk():
        try:
            is_first = snapshot.parent is None
            changes = changes_between(before, snapshot) if before or is_first else None
        except StoreCorruptionError:
            changes = None
        yield PublishedSnapshot(snapshot, changes)


def changes_between(before: Snapshot | None, after: Snapshot) -> SessionChanges:
    """Return the sessions in which two snapshots differ; only the shards that differ are read.

    Args:
        before: The earlier one; ``None`` for an empty lake.
        after: The later one.

    Raises:
        StoreCorruptionError: A shard is damaged.
    """
    old, new = _differing_entries(before, after)
    both = old.keys() & new.keys()
    return SessionChanges(
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(key for key in both if _content(old[key]) != _content(new[key]))),
        tuple(sorted(old.keys() - new.keys())),
    )


def _differing_entries(
    before: Snapshot | None, after: Snapshot
) -> tuple[Mapping[SessionKey, SessionEntry], Mapping[SessionKey, SessionEntry]]:
    if before is None:
        return {}, after.entries
    is_comparable = before.format == after.format == FORMAT and len(before.shards) == len(after.shards)
    if not is_comparable:
        return before.entries, after.entries
    pairs = [pair for pair in zip(before.shards, after.shards, strict=True) if pair[0] != pair[1]]
    return before.entries_in(old for old, _ in pairs), after.entries_in(new for _, new in pairs)


def _content(entry: SessionEntry) -> tuple[str, tuple[str, ...]]:
    # The digest of the record also changes with the wording of a file's evidence, and when format 1 is taken over.
    return entry.inputs_version, entry.objects

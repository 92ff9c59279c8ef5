"""Finds damaged and missing table files in a listing of the lake, and mends them from their copies.

Every published table is there twice: as an object, which readers use, and at its stable name. A listing shows which are
intact without a request for any of them, so a sync can afford to look each time. What is damaged in both places is
derived again. See repair.py for the snapshot itself, integrity.py for a verification of every byte.

In a folder, a listing has the digest of each file that has not changed since it was hashed; the others are hashed. In a
bucket it has ETags, which are equal for an object and its copy. Where they differ, the digests that were stored with
both decide, and where these do not, the bytes.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from apex_pipeline.errors import FileChangedError, NameClashError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.history import created
from apex_pipeline.lake.published_session import (
    SHOWN_DIGITS,
    PublishedSession,
    SessionEntry,
    TableRecord,
    read_published_session,
)
from apex_pipeline.lake.snapshot import FORMAT, Snapshot, read_current
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.file_hashing import BLOCK_BYTES
from apex_pipeline.storage.layout import OBJECTS_PREFIX, TABLES_PREFIX, object_key, published_session_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)

_Listing = Mapping[str, ObjectInfo]

# An encrypted bucket may give each copy an ETag of its own. If this many pairs differ and none is equal, they all do.
_FEW_PAIRS = 4
# The ETag of a multipart upload depends on its parts.
_MULTIPART = "-"


def damaged_tables(store: ObjectStore, snapshot: Snapshot | None, listing: _Listing) -> dict[SessionKey, list[str]]:
    """Return the keys of the damaged and missing files of each published session that has any.

    These are objects, stable names and published records. A snapshot of format 1 has none: the next sync takes it over.

    Args:
        store: The lake.
        snapshot: The published snapshot.
        listing: The lake's objects by key.

    Raises:
        StoreCorruptionError: A shard is damaged; see ``repair_publication``.
    """
    if snapshot is None or snapshot.format < FORMAT:
        return {}
    suspects = _suspects(store, snapshot, listing)
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        found = pool.map(lambda item: _damage_of(store, listing, *item), suspects.items())
        return {key: damage for key, damage in zip(suspects, found, strict=True) if damage}


def lost_sessions(
    store: ObjectStore, snapshot: Snapshot | None, damage: Mapping[SessionKey, list[str]]
) -> list[SessionKey]:
    """Return the published sessions that must be derived again, because a table of theirs has no intact copy.

    Args:
        store: The lake.
        snapshot: The published snapshot.
        damage: What :func:`damaged_tables` returned for it.
    """
    return list(_Damage(store, snapshot, damage).lost_sessions()) if snapshot and damage else []


@dataclass(frozen=True)
class Healing:
    """What was mended.

    Attributes:
        done: A sentence for each session that was mended.
        lost: The sessions to derive again, with the names of the tables that have no intact copy.
    """

    done: list[str] = field(default_factory=list[str])
    lost: dict[SessionKey, list[str]] = field(default_factory=dict[SessionKey, list[str]])


def heal_from_copies(store: ObjectStore, snapshot: Snapshot, damage: Mapping[SessionKey, list[str]]) -> Healing:
    """Restore objects from their stable names, and stable names from their objects.

    An object without an intact copy is removed, so that the derivation writes it again.

    Args:
        store: The lake, opened for writing.
        snapshot: The snapshot for which the damage was found.
        damage: What :func:`damaged_tables` returned.
    """
    found = _Damage(store, snapshot, damage)
    for sha256, records in list(found.objects.items()):
        if any(_restore(store, record.key, object_key(sha256), sha256) for record in records):
            found.restored.add(sha256)
        elif _remove_unless_intact(store, object_key(sha256), sha256):
            records.clear()
        else:
            del found.objects[sha256]
    lost = found.lost_objects()
    healing = Healing(lost={key: sorted(names) for key, names in found.lost_sessions().items()})
    for key, session in found.sessions.items():
        names = found.mended_objects(key)
        for name, record in session.tables.items() if session else ():
            is_wanted = record.key in found.keys and record.sha256 not in lost
            if is_wanted and _restore_name(store, key, record):
                names.add(name)
        if names:
            healing.done.append(
                f"{key}: {', '.join(sorted(names))} was damaged or missing and is restored from its copy."
            )
    return healing


class _Damage:
    """The damaged files of some sessions, with what can be restored.

    Attributes:
        keys: Keys of all damaged and missing files.
        sessions: The published records; ``None`` for one that is damaged.
        objects: Digests of the damaged objects, with the tables whose stable names are intact copies of them.
        restored: Digests of the objects that were restored.
    """

    def __init__(self, store: ObjectStore, snapshot: Snapshot, damage: Mapping[SessionKey, list[str]]) -> None:
        self.keys = {key for keys in damage.values() for key in keys}
        self.sessions = {key: _session_or_none(store, snapshot, key) for key in damage}
        self.objects: defaultdict[str, list[TableRecord]] = defaultdict(list)
        self.restored: set[str] = set()
        for session in self.sessions.values():
            for record in session.tables.values() if session else ():
                if object_key(record.sha256) in self.keys:
                    self.objects[record.sha256] += [record] if record.key not in self.keys else []

    def lost_objects(self) -> set[str]:
        """Return the digests of the damaged objects without an intact copy."""
        return {sha256 for sha256, records in self.objects.items() if not records}

    def lost_sessions(self) -> dict[SessionKey, set[str]]:
        """Return the sessions that must be derived again, with the names of their lost tables."""
        lost = self.lost_objects()
        found: dict[SessionKey, set[str]] = {}
        for key, session in self.sessions.items():
            tables = {name for name, record in session.tables.items() if record.sha256 in lost} if session else set()
            if tables or session is None:
                found[key] = tables or {"its published record"}
        return found

    def mended_objects(self, key: SessionKey) -> set[str]:
        """Return the names of a session's tables whose objects were restored."""
        session = self.sessions[key]
        return {name for name, record in session.tables.items() if record.sha256 in self.restored} if session else set()


def _session_or_none(store: ObjectStore, snapshot: Snapshot, key: SessionKey) -> PublishedSession | None:
    entry = snapshot.entry(key)
    try:
        return read_published_session(store, entry.record, str(key)) if entry else None
    except StoreCorruptionError as error:
        _LOG.warning("%s", error.problem)
        return None


def _restore(store: ObjectStore, source: str, target: str, sha256: str) -> bool:
    """Copy an object over a damaged one if it has the right content, and return whether that succeeded."""
    if not _has_content(store, source, sha256):
        return False
    try:
        store.copy(source, target)
    except NameClashError as error:
        # A folder has the name of the file: of no concern to the other sessions, and not a sync's to remove.
        _LOG.warning("%s", error)
        return False
    return True


def _restore_name(store: ObjectStore, key: SessionKey, record: TableRecord) -> bool:
    """Copy an object to its stable name if it is published at this moment."""
    current = read_current(store)
    entry = current.entry(key) if current else None
    if entry is None or record.sha256[:SHOWN_DIGITS] not in entry.objects:
        return False  # another sync has published the session since, and writes the name itself
    return _restore(store, object_key(record.sha256), record.key, record.sha256)


def _remove_unless_intact(store: ObjectStore, key: str, sha256: str) -> bool:
    """Remove a damaged object, and return whether it is damaged; another sync may have rewritten it meanwhile."""
    # Looked up first: what is written from now on has another tag and is not removed.
    found = store.head(key)
    if _has_content(store, key, sha256):
        return False
    if found is not None:
        store.delete_if(key, found.tag)
    return True


def _has_content(store: ObjectStore, key: str, sha256: str) -> bool:
    """Return whether an object has the content with this digest, to the last byte."""
    digest = hashlib.sha256()
    try:
        with store.open_stream(key) as stream, translating_os_errors(f"Reading {key}"):
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
    except (ObjectMissingError, StoreCorruptionError, FileChangedError):
        return False
    return digest.hexdigest() == sha256


# -- what is suspicious in a listing -----------------------------------------------------------------------------------


def _suspects(store: ObjectStore, snapshot: Snapshot, listing: _Listing) -> dict[SessionKey, SessionEntry]:
    """Return the entries of the sessions that the listing does not show to be intact."""
    seen = _Seen(listing, created(snapshot) if store.uri.startswith("s3://") else None)
    entries = snapshot.entries
    unequal = {key: entry for key, entry in entries.items() if not seen.has_equal_copies(key, entry)}
    if len(unequal) >= _FEW_PAIRS and not seen.are_tags_comparable:
        unequal = {key: entry for key, entry in unequal.items() if not seen.has_later_copies(key, entry)}
    return unequal | {key: entry for key, entry in entries.items() if not seen.has_record(entry)}


class _Seen:
    """What a listing shows of the published sessions.

    Args:
        listing: The lake's objects by key.
        published_utc: Time of publication if the lake is in a bucket, else ``None``.
    """

    def __init__(self, listing: _Listing, published_utc: datetime | None) -> None:
        self._listing = listing
        self._published_utc = published_utc
        shown = slice(len(OBJECTS_PREFIX), len(OBJECTS_PREFIX) + SHOWN_DIGITS)
        self._objects = {key[shown]: item for key, item in listing.items() if key.startswith(OBJECTS_PREFIX)}
        self._names: defaultdict[tuple[str, str], list[ObjectInfo]] = defaultdict(list)
        for key in sorted(key for key in listing if key.startswith(TABLES_PREFIX)):
            parts = key.split("/")
            if len(parts) == len(("tables", "name", "track=…", "session=…", "name.parquet")):
                session = parts[2].removeprefix("track="), parts[3].removeprefix("session=")
                self._names[session].append(listing[key])
        self.are_tags_comparable = published_utc is None

    def has_equal_copies(self, key: SessionKey, entry: SessionEntry) -> bool:
        """Return whether each table of a session is there, with an equal copy at its stable name."""
        pairs = self._pairs(key, entry)
        if self._published_utc is None:
            return pairs is not None and all(
                item.sha256 is not None and item.sha256 == copy.sha256 and item.key == object_key(item.sha256)
                for item, copy in pairs
            )
        equal = [self._is_equal(*pair) for pair in pairs or ()]
        self.are_tags_comparable = self.are_tags_comparable or any(item.tag == copy.tag for item, copy in pairs or ())
        return pairs is not None and all(equal)

    def has_later_copies(self, key: SessionKey, entry: SessionEntry) -> bool:
        """Return whether each table has a copy that was written after it."""
        pairs = self._pairs(key, entry)
        return pairs is not None and all(copy.modified_utc >= item.modified_utc for item, copy in pairs)

    def has_record(self, entry: SessionEntry) -> bool:
        """Return whether a session's published record is there and, as far as a listing shows it, intact."""
        found = self._listing.get(published_session_key(entry.record))
        if found is None or self._published_utc is None:
            return found is not None and found.sha256 == entry.record
        # It was written before the pointer. What was written later is read.
        return found.modified_utc <= self._published_utc

    @staticmethod
    def _is_equal(item: ObjectInfo, copy: ObjectInfo) -> bool:
        is_multipart = _MULTIPART in item.tag + copy.tag
        return copy.modified_utc >= item.modified_utc if is_multipart else item.tag == copy.tag

    def _pairs(self, key: SessionKey, entry: SessionEntry) -> list[tuple[ObjectInfo, ObjectInfo]] | None:
        """Return the objects of a session's tables and their copies; ``None`` if one is missing or has another size."""
        copies = self._names.get((key.track, key.session), ())
        items = [item for digits in entry.objects if (item := self._objects.get(digits))]
        if not len(items) == len(copies) == len(entry.objects):
            return None
        pairs = list(zip(items, copies, strict=True))
        return pairs if all(item.size == copy.size for item, copy in pairs) else None


# -- what is damaged ---------------------------------------------------------------------------------------------------


def _damage_of(store: ObjectStore, listing: _Listing, key: SessionKey, entry: SessionEntry) -> list[str]:
    """Return the keys of the damaged and missing files of a session."""
    document = published_session_key(entry.record)
    try:
        session = read_published_session(store, entry.record, str(key))
    except StoreCorruptionError:
        return [document]
    damaged: list[str] = []
    for record in session.tables.values():
        damaged += _damage_of_table(store, listing, record)
    return list(dict.fromkeys(damaged))


def _damage_of_table(store: ObjectStore, listing: _Listing, record: TableRecord) -> list[str]:
    keys = [object_key(record.sha256), record.key]
    item, copy = map(listing.get, keys)
    intact = [_may_be_intact(store, key, listing.get(key), record) for key in keys]
    if all(intact) and item and copy and _differ(store, item, copy):  # and both say that they have this content
        intact = [_has_content(store, key, record.sha256) for key in keys]
    return [key for key, is_intact in zip(keys, intact, strict=True) if not is_intact]


def _differ(store: ObjectStore, item: ObjectInfo, copy: ObjectInfo) -> bool:
    """Return whether the ETags of an object and its copy show that they differ."""
    return store.uri.startswith("s3://") and _MULTIPART not in item.tag + copy.tag and item.tag != copy.tag


def _may_be_intact(store: ObjectStore, key: str, listed: ObjectInfo | None, record: TableRecord) -> bool:
    """Return whether size and digest of an object are those of a table.

    The store is asked before anything counts as damaged: another sync may have published since the lake was listed.
    """

    def is_right(facts: ObjectInfo | None) -> bool:
        return facts is not None and (facts.size, facts.sha256) == (record.bytes, record.sha256)

    return is_right(listed) or is_right(store.head(key))

"""Discovers sessions: one function over the lake's listing, overlaid with the source folder.

It is the same for a sync, a run in Dagster's UI and a bucket that another program filled. It is incremental: a file
whose size and tag are known is not opened again, and only the files whose identity may depend on a changed one are
identified again. These are the files of the same scope (the folder in which they show each other's track), of the same
session, and copies of the same bytes. What is decided lies in the session records. See ``lake/records.py`` for the
records and ``session_work.py`` for what a session's run does with the result.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from apex_pipeline.errors import ApexError, StoreCorruptionError
from apex_pipeline.ingest.candidates import UNREADABLE, Candidate, Overlay, known_files
from apex_pipeline.ingest.plan import CopyPlan
from apex_pipeline.ingest.source_files import SourceFile, SourceListing
from apex_pipeline.lake.forgotten import read_forgotten
from apex_pipeline.lake.records import (
    RecordedFile,
    SessionRecord,
    UnassignedRecord,
    read_record,
    read_unassigned,
)
from apex_pipeline.lake.rollups import RollUps, load_roll_ups, read_roll_up
from apex_pipeline.settings import Settings
from apex_pipeline.sources import all_sources, exclusive_kinds, identify_files, rules_version, scopes_of
from apex_pipeline.sources.base import IGNORED_KIND, FileIdentity, FileStatus, FoundFile, was_ready
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import RAW_PREFIX, RECORDS_PREFIX, raw_path
from apex_pipeline.tables import FILES
from apex_pipeline.tables.session_key import SessionKey, session_key


@dataclass(frozen=True)
class Discovery:
    """What a discovery found.

    Attributes:
        lake: URI of the lake.
        roll_ups: The roll-ups before this discovery.
        rules: Version of the rules by which files were identified.
        changed: The files of every session whose record changes, in their new state; those still to be copied have no
            tag. Sessions that no longer have a file have none here.
        unassigned: The files that belong to no session, if they changed.
        copies: The files to copy.
        vanished: Paths of files in the lake that are no longer in the source folder and lose to one that is.
        missing: Raw files that are recorded and gone from the lake, by session; the records of these sessions stay.
        unreadable: Errors of files in the source folder that cannot be read, by path.
        foreign: Sessions with files of a source that is not installed here; they stay as they are.
    """

    lake: str
    roll_ups: RollUps
    rules: str
    changed: Mapping[SessionKey, tuple[RecordedFile, ...]]
    unassigned: tuple[RecordedFile, ...] | None
    copies: CopyPlan
    vanished: tuple[str, ...] = ()
    missing: Mapping[SessionKey, tuple[str, ...]] = field(default_factory=dict[SessionKey, tuple[str, ...]])
    unreadable: Mapping[str, ApexError] = field(default_factory=dict[str, ApexError])
    foreign: frozenset[SessionKey] = frozenset()
    _store: ObjectStore | None = field(default=None, repr=False)

    @property
    def sessions(self) -> list[SessionKey]:
        """Every session with a file in use, sorted."""
        rows = self.roll_ups.sessions.select(["track", "session"]).to_pylist()
        known = {SessionKey(row["track"], row["session"]) for row in rows} - self.changed.keys()
        return sorted(known | {key for key, files in self.changed.items() if any(file.is_in_use for file in files)})

    @property
    def paths(self) -> set[str]:
        """The paths of all files that it knew or found."""
        found = (file.path for files in self.changed.values() for file in files)
        return {*self.roll_ups.files["path"].to_pylist(), *found, *(file.path for file in self.unassigned or ())}

    def files_of(self, key: SessionKey) -> tuple[RecordedFile, ...]:
        """Return the files of a session, from its record if they did not change; none if it has none."""
        if key in self.changed or self._store is None:
            return self.changed.get(key, ())
        record = read_record(self._store, key)
        return record.files if record else ()

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing is to be copied and no record changes."""
        return not (self.changed or self.copies.file_count) and self.unassigned is None


def discover(
    store: ObjectStore,
    settings: Settings,
    folder: SourceListing | None,
    digest_cache: DigestCache,
    listing: Mapping[str, ObjectInfo] | None = None,
) -> Discovery:
    """Find what is to be copied, and the files of every session that changed.

    Args:
        store: The lake.
        settings: The user's own rules.
        folder: The source; ``None`` if only the lake is looked at.
        digest_cache: Digests of local files.
        listing: The lake's objects by key, if the caller has listed them.

    Raises:
        ConfigurationError: The user's own rules cannot be read.
        FileChangedError: A file was deleted after the folder was scanned.
        SourceError: A file of the folder cannot be read.
    """
    if listing is None:
        listing = {item.key: item for prefix in (RAW_PREFIX, RECORDS_PREFIX) for item in store.list(prefix)}
    return _Discoverer(store, settings, folder, digest_cache, listing).run()


class _Discoverer:
    """One discovery."""

    def __init__(
        self,
        store: ObjectStore,
        settings: Settings,
        folder: SourceListing | None,
        digest_cache: DigestCache,
        listing: Mapping[str, ObjectInfo],
    ) -> None:
        self._store = store
        self._settings = settings
        self._folder = folder
        self._read: dict[SessionKey | None, tuple[RecordedFile, ...]] = {}
        records = {key: item for key, item in listing.items() if key.startswith(RECORDS_PREFIX)}
        objects = {raw_path(key): item for key, item in listing.items() if key.startswith(RAW_PREFIX)}
        self._objects = objects
        self._roll_ups = load_roll_ups(store, records)
        self._known = known_files(self._roll_ups.files)
        digests = self._known if records else known_files(read_roll_up(store, FILES) or FILES.empty())
        self._rules = rules_version(settings)
        forgotten = read_forgotten(store)
        self._overlay = Overlay(store, objects, self._known, digests, forgotten, folder, digest_cache)

    def run(self) -> Discovery:
        candidates = self._overlay.candidates()
        changed = {path for path, candidate in candidates.items() if not candidate.is_unchanged}
        changed |= self._known.keys() - candidates.keys()
        affected = set(candidates) if self._are_rules_new else self._affected_by(changed, candidates)
        affected |= self._contradicting(candidates)
        affected -= {path for path, known in self._known.items() if known.session in self._foreign}
        identities, affected = self._identify(affected, candidates)
        self._set_unreadable_aside(identities, candidates)
        vanished = self._lose_to_present(identities, candidates)
        return self._result(identities, affected | changed, candidates, vanished)

    @cached_property
    def _foreign(self) -> frozenset[SessionKey]:
        installed = {source.name for source in all_sources()}
        named = (known for known in self._known.values() if known.source and known.source not in installed)
        return frozenset(known.session for known in named if known.session)

    @property
    def _are_rules_new(self) -> bool:
        return self._roll_ups.rules_version != self._rules

    # -- what is identified again --------------------------------------------------------------------------------------

    def _affected_by(self, changed: Iterable[str], candidates: Mapping[str, Candidate]) -> set[str]:
        """Return the files whose identity may depend on one of these."""
        scopes = self._scopes_of(changed)
        affected = {path for path in candidates if path in changed} | self._copies_of(changed)
        sessions = {known.session for path in changed if (known := self._known.get(path))} - {None}
        affected |= {path for path, known in self._known.items() if known.session in sessions and path in candidates}
        if scopes:
            affected |= {path for path in candidates if not scopes.isdisjoint(_folders_of(path)) or "" in scopes}
        return self._with_sessions(affected, candidates)

    def _scopes_of(self, paths: Iterable[str]) -> set[str]:
        return scopes_of({path.rpartition("/")[0] for path in paths}, self._settings)

    def _with_sessions(self, affected: set[str], candidates: Mapping[str, Candidate]) -> set[str]:
        """Add the files of every session that one of the files belonged to, and the scopes of these."""
        while True:
            sessions = {self._known[path].session for path in affected if path in self._known} - {None}
            more = {path for path, known in self._known.items() if known.session in sessions and path in candidates}
            scopes = self._scopes_of(more - affected)
            more |= {path for path in candidates if scopes and not scopes.isdisjoint(_folders_of(path))}
            if more <= affected:
                return affected
            affected |= more

    def _copies_of(self, changed: Iterable[str]) -> set[str]:
        """Return the files that name one of these as the file whose copy they are: the next one of the same bytes."""
        found: set[str] = set()
        for path in changed:
            known = self._known.get(path)
            if known is not None:
                found |= self._next_copy(known.sha256, _order(path, known.status, known.kind))
        return found & self._objects.keys()

    def _next_copy(self, sha256: str | None, order: tuple[bool, str]) -> set[str]:
        """Return the file of these bytes that comes next in order, if any."""
        later = [entry for entry in self._copies_by_digest.get(sha256 or "", ()) if entry > order]
        return {min(later)[1]} if later else set()

    def _copies_that_name(self, found: Iterable[FoundFile], identities: Mapping[str, FileIdentity]) -> set[str]:
        """Return the files that name one of these as the file whose copy they are, if its place among them changed."""
        copies: set[str] = set()
        for file in found:
            identity, known = identities[file.path], self._known.get(file.path)
            place = _order(identity.path, identity.status, identity.kind)
            if known is None or (known.sha256, known.session) != (
                file.sha256 or known.sha256,
                assigned_session(identity),
            ):
                copies |= self._next_copy(file.sha256, place)
            elif (before := _order(file.path, known.status, known.kind)) != place:
                copies |= self._next_copy(file.sha256, place) | self._next_copy(file.sha256, before)
        return copies

    @cached_property
    def _copies_by_digest(self) -> Mapping[str, list[tuple[bool, str]]]:
        """The recorded files of the same bytes, by digest, as their sort keys."""
        found: defaultdict[str, list[tuple[bool, str]]] = defaultdict(list)
        for path, known in self._known.items():
            if known.sha256 and known.bytes and known.kind != IGNORED_KIND:
                found[known.sha256].append(_order(path, known.status, known.kind))
        return found

    def _contradicting(self, candidates: Mapping[str, Candidate]) -> set[str]:
        """Return the files of sessions in which a file that left or came back contradicts another one."""
        if self._folder is None:
            return set()
        slots: defaultdict[tuple[SessionKey, str], list[str]] = defaultdict(list)
        for path, known in self._known.items():
            if known.session and known.kind in exclusive_kinds() and path in candidates:
                slots[known.session, known.kind].append(path)
        affected: set[str] = set()
        for paths in slots.values():
            gone = [path for path in paths if candidates[path].source is None]
            if len(paths) > len(gone) > 0 and any(self._known[path].status is FileStatus.READY for path in gone):
                affected |= set(paths)
            came_back = (path for path in paths if candidates[path].source is not None)
            if any((self._known[path].reason or "").startswith(_GONE) for path in came_back):
                affected |= set(paths)
        return self._with_sessions(affected, candidates)

    # -- identification ------------------------------------------------------------------------------------------------

    def _identify(
        self, affected: set[str], candidates: Mapping[str, Candidate]
    ) -> tuple[dict[str, FileIdentity], set[str]]:
        """Identify the affected files, and those of every session that one of them turns out to belong to."""
        notes = {} if self._are_rules_new else self._observations(affected, candidates)
        while True:
            digests = self._overlay.digests_of_equal_size(affected & candidates.keys(), candidates)
            found = [
                self._found(candidates[path], digests, notes.get(path, ""), affected)
                for path in sorted(affected & candidates.keys())
            ]
            identities = {identity.path: identity for identity in identify_files(found, self._settings)}
            sessions = {key for identity in identities.values() if (key := session_key_of(identity))}
            joined = {path for path, known in self._known.items() if known.session in sessions and path in candidates}
            joined |= self._copies_that_name(found, identities) & candidates.keys()
            grown = self._with_sessions(affected | joined, candidates)
            if grown <= affected:
                return identities, affected
            notes |= self._observations(grown - affected, candidates)
            affected = grown

    def _observations(self, paths: Iterable[str], candidates: Mapping[str, Candidate]) -> dict[str, str]:
        """Return what was noted of the unchanged files among these, from their records."""
        unchanged = {path for path in paths if path in self._known and candidates[path].is_unchanged}
        sessions = {self._known[path].session for path in unchanged}
        notes: dict[str, str] = {}
        for key in sessions:
            files = self._recorded(key)
            notes |= {file.path: file.observation for file in files if file.path in unchanged}
        return notes

    def _recorded(self, key: SessionKey | None) -> tuple[RecordedFile, ...]:
        """Return the files of a record, which is read once; none if it is missing or damaged."""
        if key not in self._read:
            self._read[key] = self._read_record(key)
        return self._read[key]

    def _read_record(self, key: SessionKey | None) -> tuple[RecordedFile, ...]:
        try:
            record: SessionRecord | UnassignedRecord | None = (
                read_unassigned(self._store) if key is None else read_record(self._store, key)
            )
        except StoreCorruptionError:
            return ()
        return record.files if record else ()

    def _found(self, candidate: Candidate, digests: Mapping[str, str], note: str, affected: set[str]) -> FoundFile:
        sha256 = candidate.sha256 or digests.get(candidate.path)
        twins = self._twins_of(candidate.path, sha256, affected)
        return FoundFile(candidate.path, candidate.size, candidate.read_head, note, sha256, twins)

    def _twins_of(self, path: str, sha256: str | None, affected: set[str]) -> tuple[FileIdentity, ...]:
        """Return the files elsewhere with the same content that come next before this one, usable or not."""
        outside = [entry for entry in self._copies_by_digest.get(sha256 or "", ()) if entry[1] not in affected]
        before = [
            max(entries)
            for entries in (
                [entry for entry in outside if entry < (False, path)],
                [entry for entry in outside if not entry[0]],
                [entry for entry in outside if (True, "") < entry < (True, path)],
            )
            if entries
        ]
        return tuple(filter(None, map(self._identity_of, sorted({path for _, path in before}))))

    def _identity_of(self, path: str) -> FileIdentity | None:
        files = {file.path: file for file in self._recorded(self._known[path].session)}
        return files[path].identity if path in files else None

    def _set_unreadable_aside(self, identities: dict[str, FileIdentity], candidates: Mapping[str, Candidate]) -> None:
        """Set aside the objects of the lake that cannot be read, with what to do."""
        for path, error in self._overlay.unreadable.items():
            if path in identities and candidates[path].tag is not None:
                reason = f"{UNREADABLE}: {error}"
                identities[path] = replace(identities[path], status=FileStatus.QUARANTINED, reason=reason)

    # -- files that left the source folder -----------------------------------------------------------------------------

    def _lose_to_present(
        self, identities: dict[str, FileIdentity], candidates: Mapping[str, Candidate]
    ) -> tuple[str, ...]:
        """Set aside files that left the source folder where another file of their kind is there; return their paths."""
        slots: defaultdict[tuple[SessionKey, str, str | None], list[str]] = defaultdict(list)
        for path, identity in identities.items():
            key = session_key_of(identity)
            if key and identity.status is FileStatus.READY and identity.kind in exclusive_kinds():
                slots[key, identity.kind, identity.version].append(path)
        vanished: list[str] = []
        for paths in slots.values():
            present = [path for path in paths if not self._is_gone(path, candidates)]
            for path in set(paths) - set(present) if present else ():
                reason = f"{_GONE}, where {present[0]} is the same kind of file of the same session"
                identities[path] = replace(identities[path], status=FileStatus.IGNORED, reason=reason)
                vanished.append(path)
        return tuple(sorted(vanished))

    def _is_gone(self, path: str, candidates: Mapping[str, Candidate]) -> bool:
        """Return whether a file left the source folder; without one here, as its record says."""
        if self._folder is not None:
            return candidates[path].source is None
        known = self._known.get(path)
        recorded = self._recorded(known.session) if known else ()
        return any(file.is_gone_from_source for file in recorded if file.path == path)

    # -- result --------------------------------------------------------------------------------------------------------

    def _result(
        self,
        identities: Mapping[str, FileIdentity],
        affected: set[str],
        candidates: Mapping[str, Candidate],
        vanished: tuple[str, ...],
    ) -> Discovery:
        by_session: defaultdict[SessionKey, list[RecordedFile]] = defaultdict(list)
        free: list[RecordedFile] = []
        for path, identity in sorted(identities.items()):
            candidate = candidates[path]
            is_gone = self._is_gone(path, candidates)
            version = self._source_version(candidate)
            file = RecordedFile.of(identity, candidate.tag, candidate.sha256, is_gone=is_gone, source_version=version)
            key = assigned_session(identity)
            (free if key is None else by_session[key]).append(file)
        before = {self._known[path].session for path in affected if path in self._known}
        changed = {key: tuple(by_session.get(key, ())) for key in {*by_session, *before} if key is not None}
        unassigned = self._changed_unassigned(free, affected, candidates)
        missing: defaultdict[SessionKey, list[str]] = defaultdict(list)
        for path in self._overlay.missing_from_lake(candidates):
            if (key := self._known[path].session) is not None:
                missing[key].append(path)
        return Discovery(
            self._store.uri,
            self._roll_ups,
            self._rules,
            {
                key: files
                for key, files in sorted(changed.items())
                if key not in missing and key not in self._foreign and self._has_changed(key, files)
            },
            unassigned,
            self._copies(identities, candidates),
            vanished,
            {key: tuple(paths) for key, paths in sorted(missing.items())},
            {path: error for path, error in self._overlay.unreadable.items() if candidates[path].tag is None},
            self._foreign,
            self._store,
        )

    def _source_version(self, candidate: Candidate) -> str | None:
        """Return which version of an object in the source bucket has a file's content; without a source, the known."""
        if candidate.source is not None:
            return candidate.source.version
        known = self._known.get(candidate.path)
        return known.source_version if known and candidate.is_unchanged else None

    def _has_changed(self, key: SessionKey, files: tuple[RecordedFile, ...]) -> bool:
        recorded = self._recorded(key)
        return _without_gone(recorded) != _without_gone(files) or not recorded

    def _changed_unassigned(
        self, free: list[RecordedFile], affected: set[str], candidates: Mapping[str, Candidate]
    ) -> tuple[RecordedFile, ...] | None:
        """Return the files that belong to no session; ``None`` if they did not change."""
        recorded = self._recorded(None)
        kept = [file for file in recorded if file.path not in affected and file.path in candidates]
        files = tuple(sorted([*kept, *free], key=lambda file: file.path))
        return None if _without_gone(files) == _without_gone(recorded) else files

    def _copies(self, identities: Mapping[str, FileIdentity], candidates: Mapping[str, Candidate]) -> CopyPlan:
        by_session: defaultdict[SessionKey, list[SourceFile]] = defaultdict(list)
        without_session: list[SourceFile] = []
        replaced: list[str] = []
        for path, identity in sorted(identities.items()):
            candidate = candidates[path]
            if candidate.source is None or candidate.tag is not None or identity.status is FileStatus.IGNORED:
                continue
            if path in self._objects:
                replaced.append(path)
            key = assigned_session(identity)
            (without_session if key is None else by_session[key]).append(candidate.source)
        unchanged = sum(item.source is not None and item.tag is not None for item in candidates.values())
        return CopyPlan(
            {key: tuple(files) for key, files in by_session.items()}, tuple(without_session), unchanged, tuple(replaced)
        )


# Start of the reason of a file that was set aside because it left the source folder.
_GONE = "it is no longer in the source folder"


def session_key_of(identity: FileIdentity) -> SessionKey | None:
    """Return the session a file belongs to, if any; a quarantined file belongs to the session in its path."""
    return None if identity.status is FileStatus.IGNORED else assigned_session(identity)


def assigned_session(identity: FileIdentity) -> SessionKey | None:
    """Return the session in whose record a file is listed, if any."""
    return session_key(identity.track, identity.session) if identity.track and identity.session else None


def _order(path: str, status: FileStatus, kind: str) -> tuple[bool, str]:
    return not was_ready(status, kind), path


def _folders_of(path: str) -> Iterable[str]:
    """Yield the folders of a path: ``a`` and ``a/b`` of ``a/b/c.csv``."""
    end = path.find("/")
    while end > 0:
        yield path[:end]
        end = path.find("/", end + 1)


def _without_gone(files: Iterable[RecordedFile]) -> list[RecordedFile]:
    """Return the files without the one attribute that changes when nothing about them does."""
    return [replace(file, is_gone_from_source=False) for file in files]

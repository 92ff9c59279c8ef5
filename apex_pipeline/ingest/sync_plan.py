"""Decides what a sync has to do; ``apex sync``, ``apex plan`` and sensors share this decision.

It is level-triggered: it depends only on what is there now, and not on the interrupted runs or manual changes that led
to it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from apex_pipeline.errors import SourceError, StoreConfigError, StoreCorruptionError
from apex_pipeline.ingest.discover import Discovery, discover
from apex_pipeline.ingest.session_work import SessionWork, record_of
from apex_pipeline.ingest.source_files import SourceListing
from apex_pipeline.lake.derived import unfinished_sessions
from apex_pipeline.lake.healing import damaged_tables, lost_sessions
from apex_pipeline.lake.published_session import PublishedSession, SessionEntry
from apex_pipeline.lake.records import RecordedFile, SessionRecord
from apex_pipeline.lake.snapshot import FORMAT, Snapshot, read_current
from apex_pipeline.settings import Settings
from apex_pipeline.sources.base import IGNORED_KIND, UNKNOWN_KIND, FileStatus
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import SNAPSHOT_IDS_PREFIX, derived_key, record_key, table_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CATALOG_TABLES
from apex_pipeline.tables.session_key import SessionKey

# Most files listed by name in a message; the rest are only counted.
_NAMED_FILES = 5


@dataclass(frozen=True)
class SyncPlan:
    """What a sync has to do.

    Attributes:
        listing: The lake's objects by key.
        found: The discovery.
        snapshot: The published snapshot; ``None`` before the first publication.
        due: The sessions to work on, with the reason.
        records: Records to write without deriving anything, because no table depends on what changed.
        blocked: Sessions that are not worked on, with the reason and the next step; what is published stays.
        has_stale_roll_ups: Whether the roll-ups have to be made again although no record changes.
        damage: Damaged and missing files of published sessions; most can be restored from their copies.
        statuses: Number of files by status, as they are after the sync.
        versions: Version of the files of each session; ``None`` if some are to be copied, empty if none can be used.
        refused: Path and reason of each entry of the source that cannot be used.
    """

    listing: Mapping[str, ObjectInfo]
    found: Discovery
    snapshot: Snapshot | None
    due: Mapping[SessionKey, str]
    records: tuple[SessionRecord, ...]
    blocked: Mapping[SessionKey, str]
    has_stale_roll_ups: bool
    damage: Mapping[SessionKey, list[str]] = field(default_factory=dict[SessionKey, list[str]])
    statuses: Mapping[str, int] = field(default_factory=dict[str, int])
    versions: Mapping[SessionKey, str | None] = field(default_factory=dict[SessionKey, str | None])
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return self.found.is_unchanged and not (self.due or self.records or self.has_stale_roll_ups or self.damage)

    @property
    def has_lost_pointer(self) -> bool:
        """Whether nothing is published although there are snapshots."""
        return self.snapshot is None and any(key.startswith(SNAPSHOT_IDS_PREFIX) for key in self.listing)

    def work(self, key: SessionKey) -> SessionWork:
        """Return the work on a session."""
        return SessionWork(key, self.found.files_of(key), self.found.copies.by_session.get(key, ()))

    def intact(self, key: SessionKey) -> PublishedSession | None:
        """Return what is published of a session, if all of it is intact and no run of it was left unfinished."""
        if self.snapshot is None or self.snapshot.format < FORMAT:
            return None
        if key in self.damage or derived_key(str(key)) in self.listing:
            return None
        try:
            return self.snapshot.session(key)
        except StoreCorruptionError:
            return None  # a listing does not show every damage; publication makes the record again

    def still_holds(self, store: ObjectStore, key: SessionKey) -> bool:
        """Return whether a session's record and what is published of it are as they were when the plan was made."""
        known, found = self.listing.get(record_key(str(key))), store.head(record_key(str(key)))
        if (found.tag if found else None) != (known.tag if known else None):
            return False
        present, before = read_current(store), self.snapshot
        return (present.entry(key) if present else None) == (before.entry(key) if before else None)


def list_lake(store: ObjectStore) -> dict[str, ObjectInfo]:
    """Return the lake's objects by key.

    Raises:
        StoreError: The lake cannot be reached with the current configuration.
    """
    return {item.key: item for item in store.list()}


def list_lake_if_exists(store: ObjectStore) -> dict[str, ObjectInfo] | None:
    """Return the lake's objects by key, or ``None`` if its bucket does not exist yet.

    Raises:
        StoreError: The lake cannot be reached, for any reason other than a missing bucket.
    """
    try:
        return list_lake(store)
    except StoreConfigError as error:
        from apex_pipeline.storage.s3.errors import error_code  # noqa: PLC0415  -- imports boto3 only if S3 is used

        if error_code(error) != "NoSuchBucket":
            raise
        return None


def empty_lake(settings: Settings) -> ObjectStore:
    """Return a store to read from in place of a lake that does not exist yet."""
    return LocalStore(settings.state_dir / "no-lake", DigestCache())


def plan_sync(
    store: ObjectStore,
    settings: Settings,
    folder: SourceListing | None,
    digest_cache: DigestCache,
    listing: Mapping[str, ObjectInfo],
) -> SyncPlan:
    """Decide what a sync has to do now; nothing is written.

    Args:
        store: The lake.
        settings: The user's own rules.
        folder: The source folder; ``None`` if only the lake is looked at.
        digest_cache: Digests of local files.
        listing: The lake's objects by key.

    Raises:
        SourceError: The source folder contains no race files.
        StoreCorruptionError: The published snapshot is damaged.
    """
    snapshot = read_current(store)
    entries = snapshot.entries if snapshot else {}
    found = discover(store, settings, folder, digest_cache, listing)
    if folder is not None and not has_race_files(folder, found):
        raise _no_race_files(folder, found)
    blocked = _blocked(found)
    unfinished = set(unfinished_sessions(listing))
    damage = damaged_tables(store, snapshot, listing)
    broken = lost_sessions(store, snapshot, damage)
    due: dict[SessionKey, str] = {}
    versions = _versions(found)
    for key, version in versions.items():
        if key in blocked or key in found.foreign or version == "":
            continue
        reason = "new or changed files" if version is None or key in found.copies.by_session else ""
        reason = reason or _outdated(version, entries.get(key))
        # A run that a rollback has put aside stays so: what it derived is of the version that was rolled back.
        is_unfinished = key in unfinished and not _is_rolled_back(version, entries.get(key))
        reason = reason or ("damaged tables" if key in broken else "an unfinished run" if is_unfinished else "")
        if reason:
            due[key] = reason
    records = [
        record_of(SessionWork(key, files))
        for key, files in found.changed.items()
        if key not in due and key not in blocked
    ]
    is_stale, refused = _are_roll_ups_stale(found, listing), folder.refused if folder else ()
    return SyncPlan(
        listing, found, snapshot, due, tuple(records), blocked, is_stale, damage, _statuses(found), versions, refused
    )


def _versions(found: Discovery) -> dict[SessionKey, str | None]:
    """Return the version of each session's files: ``None`` if some are to be copied, empty if none can be used."""
    rows = found.roll_ups.sessions.select(["track", "session", "inputs_version"]).to_pylist()
    versions: dict[SessionKey, str | None] = {
        SessionKey(row["track"], row["session"]): row["inputs_version"] for row in rows
    }
    for key, files in found.changed.items():
        is_complete = all(file.tag is not None for file in files if file.is_in_use)
        versions[key] = record_of(SessionWork(key, files)).inputs_version if is_complete else None
    return dict(sorted(versions.items()))


def _outdated(version: str | None, entry: SessionEntry | None) -> str:
    """Return why the published tables are not those of a session's files; empty if they are."""
    if not version:
        return ""
    if entry is None:
        return "not published yet"
    return "" if version in {entry.inputs_version, entry.rolled_back_from} else "derived from other files"


def _is_rolled_back(version: str | None, entry: SessionEntry | None) -> bool:
    """Return whether a rollback has replaced the tables of exactly these files."""
    return entry is not None and version is not None and version == entry.rolled_back_from


def _blocked(found: Discovery) -> dict[SessionKey, str]:
    blocked = {
        key: f"{', '.join(paths)} is recorded and gone from the lake. Put it back into the source folder, restore it, "
        f"or take it out with `apex forget`."
        for key, paths in found.missing.items()
    }
    for key, files in found.changed.items():
        errors = [str(found.unreadable[file.path]) for file in files if file.path in found.unreadable]
        if errors:
            blocked[key] = " ".join(errors)
    return blocked


def _are_roll_ups_stale(found: Discovery, listing: Mapping[str, ObjectInfo]) -> bool:
    """Return whether a roll-up is missing, or its file does not say what the records do."""
    keys = (table_key(table.folder, table.name) for table in CATALOG_TABLES)
    return (
        any(key not in listing for key in keys)
        or found.roll_ups.is_stale
        or found.roll_ups.rules_version != found.rules
    )


def _statuses(found: Discovery) -> dict[str, int]:
    """Return the number of files by status, as they are after the sync."""
    changed = {file.path: file.status for files in found.changed.values() for file in files}
    changed |= {file.path: file.status for file in found.unassigned or ()}
    counts: dict[str, int] = {}
    known = zip(found.roll_ups.files["path"].to_pylist(), found.roll_ups.files["status"].to_pylist(), strict=True)
    for status in ({path: FileStatus(status) for path, status in known} | changed).values():
        counts[status.value] = counts.get(status.value, 0) + 1
    return dict(sorted(counts.items()))


def has_race_files(folder: SourceListing, found: Discovery) -> bool:
    """Return whether a folder contains race data; otherwise nothing must be copied from it.

    Args:
        folder: The source folder.
        found: What a discovery found in it.
    """
    return any(kind not in {IGNORED_KIND, UNKNOWN_KIND} for _, kind, _ in _judgements(folder, found))


def _no_race_files(folder: SourceListing, found: Discovery) -> SourceError:
    named = [f"{path} ({reason})" for path, reason in folder.refused]
    named += [f"{path} ({reason})" for path, _, reason in _judgements(folder, found)]
    rest = len(named) - _NAMED_FILES
    more = f" and {rest} more" if rest > 0 else ""
    return SourceError(
        f"No race files in {folder.root}: {'; '.join(named[:_NAMED_FILES])}{more}.",
        "Name the folder with lap, telemetry or timing CSV files; `apex explain FILE` shows why a file is not used.",
    )


def _judgements(folder: SourceListing, found: Discovery) -> Iterator[tuple[str, str, str | None]]:
    """Yield path, kind and reason of each file of a folder."""
    changed = {file.path: file for files in found.changed.values() for file in files}
    changed |= {file.path: file for file in found.unassigned or ()}
    names = ("path", "kind", "reason")
    known = {
        path: (kind, why) for path, kind, why in zip(*(found.roll_ups.files[n].to_pylist() for n in names), strict=True)
    }
    for file in folder.files:
        kind, reason = _judgement(changed.get(file.path), known.get(file.path))
        yield file.path, kind, reason


def _judgement(file: RecordedFile | None, known: tuple[str, str | None] | None) -> tuple[str, str | None]:
    if file is not None:
        return file.kind, file.reason
    return known or (IGNORED_KIND, "it was taken out with `apex forget`")

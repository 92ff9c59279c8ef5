"""Migrates a lake to another place: a folder to a bucket, a bucket to a folder, or one of the same kind.

The raw files, tables, snapshots and records arrive first and the pointer last, so a reader of the target sees the whole
lake or none. Nothing of the source is changed. A migration that was killed is continued by the next one: an object that
the target has, with the same digest, is not sent again. Earlier snapshots come along.

Two kinds of objects are written again. A record names the version tag of each raw file, and tags differ between stores:
with the former ones the next sync would take every file for a changed one. The roll-ups are made from the records.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from apex_pipeline.errors import (
    ConfigurationError,
    FileChangedError,
    StoreCorruptionError,
    StoreLockedError,
)
from apex_pipeline.lake.documents import digest_of, dump_document
from apex_pipeline.lake.forgotten import Forgotten, read_forgotten
from apex_pipeline.lake.publication import swap_pointer
from apex_pipeline.lake.records import RecordedFile, UnassignedRecord, read_record, read_unassigned
from apex_pipeline.lake.rollups import is_session_record, list_records, load_roll_ups, session_of, write_roll_ups
from apex_pipeline.lake.snapshot import FORMAT, read_current, read_pointer, snapshot_parts
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.copy import CopiedFile, CopyFailure, CopyItem, iter_copies
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    DERIVED_PREFIX,
    HISTORY_PREFIX,
    INTERNAL_PREFIX,
    OBJECTS_PREFIX,
    PUBLISHED_PREFIX,
    QUARANTINE_PREFIX,
    RAW_PREFIX,
    RECORDS_PREFIX,
    REPORTS_PREFIX,
    SHARDS_PREFIX,
    TABLES_PREFIX,
    UNASSIGNED_RECORD_KEY,
    raw_key,
    raw_path,
    record_key,
    snapshot_key,
    table_key,
)
from apex_pipeline.storage.leases import Lease, held
from apex_pipeline.tables import CATALOG_TABLES

# Each further pass is needed only because a sync has changed the source during the one before.
_MOST_PASSES = 5
_LEASE = "migration"
# Objects that are named after the digest of their content.
_NAMED_BY_DIGEST = (OBJECTS_PREFIX, HISTORY_PREFIX, SHARDS_PREFIX, PUBLISHED_PREFIX)
# Objects that are named after a session or a file, and are removed when it is forgotten.
_OF_SESSIONS = (TABLES_PREFIX, DERIVED_PREFIX, QUARANTINE_PREFIX, REPORTS_PREFIX, RECORDS_PREFIX)
_ROLL_UP_KEYS = frozenset(table_key(table.folder, table.name) for table in CATALOG_TABLES)
# Keys listed in a message; the others are counted.
_NAMED_KEYS = 5


@dataclass(frozen=True)
class Migration:
    """What a migration has to copy.

    Attributes:
        objects: Every object of the source that is copied as it is, by key.
        versions: Tag of every object of the source, by key, from the same listing.
        pointer_tag: Tag of the target's pointer; ``None`` if the target has none.
    """

    objects: Mapping[str, ObjectInfo]
    versions: Mapping[str, str]
    pointer_tag: str | None

    @property
    def bytes(self) -> int:
        """Total size in bytes."""
        return sum(item.size for item in self.objects.values())


@dataclass(frozen=True)
class MigrationReport:
    """The outcome of a migration.

    Attributes:
        copied: Number of objects that the last pass sent.
        copied_bytes: Their total size.
        present: Number of objects that the target had already.
        failures: Key and problem of each object that could not be copied; the pointer is written only without any.
        snapshot: Id of the snapshot that the target publishes now; ``None`` if nothing is published.
    """

    copied: int
    copied_bytes: int
    present: int
    failures: tuple[tuple[str, str], ...]
    snapshot: str | None


def plan_migration(source: ObjectStore, target: ObjectStore) -> Migration:
    """Return what has to be copied, once it is certain that the target holds no other lake.

    Raises:
        ConfigurationError: Both are the same lake, the source is empty, or the target holds another lake.
        StoreError: One of them cannot be reached.
    """
    if source.uri.rstrip("/") == target.uri.rstrip("/"):
        raise ConfigurationError(f"{source.uri} is both source and target.", "Name another place to migrate to.")
    found = _objects_of(source)
    if not found:
        raise ConfigurationError(f"The lake {source.uri} is empty.", "Name the lake to migrate with --lake.")
    pointer_tag = _require_free(target, found, read_forgotten(source))
    copied = {key: item for key, item in found.items() if not _is_made_anew(key)}
    return Migration(copied, _versions(found), pointer_tag)


def migrate(source: ObjectStore, target: ObjectStore, progress: Progress | None = None) -> MigrationReport:
    """Copy a lake, and publish the copy once all of it has arrived.

    Args:
        source: The lake; it is only read.
        target: Where it goes, empty or left by an earlier migration of the same lake.
        progress: Called with the size of each copied block and each present object, from several threads.

    Raises:
        ConfigurationError: As for :func:`plan_migration`.
        StoreLockedError: Another process migrates to the same target, or syncs change the source without a pause.
    """
    with held(target, _LEASE, f"migrating from {source.uri}") as lease:
        for _ in range(_MOST_PASSES):
            migration = plan_migration(source, target)
            run = _Pass(source, target, migration)
            failures = [*run.copy_objects(progress), *run.write_records(lease)]
            # With the listing that was copied: what is published after a later one would count as copied.
            if _versions(_objects_of(source)) != migration.versions:
                continue
            failures = failures or run.missing_parts()
            if not failures:
                run.publish(lease)
            published = read_current(target)
            sent = run.sent.values()
            return MigrationReport(
                len(sent), sum(sent), run.present, tuple(sorted(failures)), published.id if published else None
            )
    raise StoreLockedError(
        f"The lake {source.uri} was changed during each of {_MOST_PASSES} passes.",
        "Stop the syncs of it and migrate again; what has arrived is not sent again.",
    )


class _Pass:
    """One pass over a lake.

    Attributes:
        sent: Size in bytes of each object that was sent, by key.
        present: Number of objects that the target had already.
    """

    def __init__(self, source: ObjectStore, target: ObjectStore, migration: Migration) -> None:
        self._source = source
        self._target = target
        self._migration = migration
        # Read once. If it is not the one that was listed, the versions differ at the end of the pass.
        self._published = read_current(source)
        self._roll_ups = load_roll_ups(source, list_records(source))
        self._digests = self._recorded_digests()
        self._before = {item.key: item for item in target.list()}
        self.sent: dict[str, int] = {}
        self.present = 0

    def copy_objects(self, progress: Progress | None) -> list[tuple[str, str]]:
        """Copy every object that the target does not have, and return key and problem of each that failed."""
        items = [CopyItem(Path(key), key, self._digests.get(key)) for key in self._migration.objects]
        # A stable name that is older than its object would look as if it was not renewed with it.
        stable_names = [item for item in items if item.key.startswith(TABLES_PREFIX)]
        others = [item for item in items if not item.key.startswith(TABLES_PREFIX)]
        return self._copy_all(others, progress) or self._copy_all(stable_names, progress)

    def _copy_all(self, items: list[CopyItem], progress: Progress | None) -> list[tuple[str, str]]:
        failures: list[tuple[str, str]] = []
        for result in iter_copies(items, self._copy, progress):
            if isinstance(result, CopyFailure):
                failures.append((result.item.key, str(result.error)))
            elif isinstance(result, CopyItem):
                failures.append((result.key, "It was not tried, because an error stopped the copy."))
            elif result.is_new:
                self.sent[result.item.key] = result.size
            else:
                self.present += 1
        return failures

    def write_records(self, lease: Lease) -> list[tuple[str, str]]:
        """Write the records with the tags of the target's raw files; return key and problem of each damaged one."""
        tags = {item.key: item.tag for item in self._target.list(RAW_PREFIX)}
        failures: list[tuple[str, str]] = []
        for key in sorted(list_records(self._source)):
            lease.require()
            try:
                document = self._record(key, tags)
            except StoreCorruptionError as error:
                failures.append((key, str(error)))
                continue
            if document is not None:
                self._write_document(key, document)
        return failures

    def missing_parts(self) -> list[tuple[str, str]]:
        """Return key and problem of each part that the published snapshot names and the source does not have."""
        published = self._published
        if published is None or published.format < FORMAT:  # its tables are not named by digest
            return []
        try:
            parts = set(snapshot_parts(published))
        except StoreCorruptionError as error:
            return [(snapshot_key(published.id), str(error))]
        problem = "It is missing, although the published snapshot names it. Run `apex sync` on that lake."
        return [(key, problem) for key in sorted(parts - self._migration.objects.keys())]

    def publish(self, lease: Lease) -> None:
        """Write the roll-ups and then the pointer, to the snapshot that was copied; the source may have gone on since.

        Raises:
            StoreLockedError: Another process published in the target in the meantime.
        """
        lease.require()
        records = {key: item for key, item in list_records(self._target).items() if key in self._migration.versions}
        write_roll_ups(self._target, load_roll_ups(self._target, records), self._roll_ups.rules_version, records)
        self._point(lease)
        self._remove_forgotten(lease)

    def _point(self, lease: Lease) -> None:
        published, present = self._published, read_pointer(self._target)
        if published is None or (present is not None and present[0] == published.id):
            return
        lease.require()
        if not swap_pointer(self._target, published.id, self._migration.pointer_tag):
            raise StoreLockedError(
                f"Another process has published in {self._target.uri} during the migration.",
                "Let nothing else write there until the migration has ended.",
            )

    def _remove_forgotten(self, lease: Lease) -> None:
        """Remove what an earlier migration copied of sessions that were forgotten since, as forgetting them does.

        Their raw files stay: they are in the list of forgotten files, by which ``apex gc`` removes them.
        """
        gone = [key for key in self._before if key.startswith(_OF_SESSIONS) and key not in self._migration.versions]
        # Last the records, by which an interruption is noticed.
        for key in sorted(gone, key=lambda key: (key.startswith(RECORDS_PREFIX), key)):
            lease.require()
            self._target.delete(key)

    def _recorded_digests(self) -> dict[str, str]:
        """Return the digest that an object must have, by key, where its name or a record says it."""
        files = self._roll_ups.files
        paths, digests = files["path"].to_pylist(), files["sha256"].to_pylist()
        recorded = {raw_key(path): digest for path, digest in zip(paths, digests, strict=True) if digest}
        named = [key for key in self._migration.objects if key.startswith(_NAMED_BY_DIGEST)]
        return recorded | {key: PurePosixPath(key).stem for key in named}

    def _copy(self, item: CopyItem, progress: Progress) -> CopiedFile:
        """Copy one object unless the target has it."""
        info = self._migration.objects[item.key]
        digest = item.known_sha256
        before = self._before.get(item.key)
        if before is not None and before.size == info.size:
            digest = digest or _digest_of(self._source, item.key)
            if digest and _digest_of(self._target, item.key) == digest:
                progress(info.size)
                return CopiedFile(item, info.size, digest, is_new=False)
        try:
            with self._source.open_as_file(item.key) as path:
                stored = self._target.write_file(item.key, path, sha256=digest, progress=progress)
        except FileChangedError as error:
            raise StoreCorruptionError(
                f"{self._source.uri_of(item.key)} is not what the lake has recorded.",
                "Run `apex sync` on that lake, or `apex verify --deep` to see what is damaged; then migrate again.",
            ) from error
        return CopiedFile(item, stored.size, stored.sha256 or "", stored.tag)

    def _record(self, key: str, tags: Mapping[str, str]) -> bytes | None:
        """Return a record as the target needs it; ``None`` if it is gone.

        Raises:
            StoreCorruptionError: It is damaged.
        """
        if key == UNASSIGNED_RECORD_KEY:
            return dump_document(UnassignedRecord(_with_tags(read_unassigned(self._source).files, tags)))
        if not is_session_record(key):
            found = self._source.read_with_tag(key)
            return None if found is None else found[0]
        record = read_record(self._source, session_of(key))
        return None if record is None else dump_document(replace(record, files=_with_tags(record.files, tags)))

    def _write_document(self, key: str, content: bytes) -> None:
        if key in self._before and _digest_of(self._target, key) == digest_of(content):
            self.present += 1
            return
        self._target.write_bytes(key, content)
        self.sent[key] = len(content)


def _is_made_anew(key: str) -> bool:
    return key == CURRENT_SNAPSHOT_KEY or key in _ROLL_UP_KEYS or key.startswith(RECORDS_PREFIX)


def _require_free(target: ObjectStore, source: Mapping[str, ObjectInfo], forgotten: Forgotten) -> str | None:
    """Return the tag of the target's pointer, ``None`` if it has none.

    What nothing can be lost with does not matter: tables and parts of snapshots that nothing names, and what the source
    has forgotten since an earlier migration.

    Raises:
        ConfigurationError: The target publishes a snapshot, or has a raw file or a record, that the source has not.
    """
    out_of_use = {record_key(file.session) for files in forgotten.files.values() for file in files if file.session}
    raw = [item.key for item in target.list(RAW_PREFIX) if item.key not in source]
    foreign = [key for key in raw if not forgotten.knows(raw_path(key))]
    foreign += [key for key in list_records(target) if key not in source and key not in out_of_use]
    try:
        # Not the snapshot, which a migration copies: it may be missing or damaged. The tag is that of the id.
        pointer = read_pointer(target)
    except StoreCorruptionError:
        pointer = None
        foreign.append(CURRENT_SNAPSHOT_KEY)
    if pointer is not None and snapshot_key(pointer[0]) not in source:
        foreign.append(snapshot_key(pointer[0]))
    if foreign:
        rest = len(foreign) - _NAMED_KEYS
        named = ", ".join(foreign[:_NAMED_KEYS]) + (f" and {rest} more" if rest > 0 else "")
        raise ConfigurationError(
            f"{target.uri} holds something other than an earlier migration of this lake: {named}.",
            "Migrate to an empty folder, bucket or prefix, or go on with the lake there: it may have changed since.",
        )
    return pointer[1] if pointer else None


def _objects_of(store: ObjectStore) -> dict[str, ObjectInfo]:
    return {item.key: item for item in store.list() if not item.key.startswith(INTERNAL_PREFIX)}


def _versions(objects: Mapping[str, ObjectInfo]) -> dict[str, str]:
    return {key: item.tag for key, item in objects.items()}


def _digest_of(store: ObjectStore, key: str) -> str | None:
    found = store.head(key)
    return found.sha256 if found else None


def _with_tags(files: tuple[RecordedFile, ...], tags: Mapping[str, str]) -> tuple[RecordedFile, ...]:
    """Return the files with the tags that their objects have in another store."""
    return tuple(
        file if file.tag is None else replace(file, tag=tags.get(raw_key(file.path), file.tag)) for file in files
    )

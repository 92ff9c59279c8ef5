"""Estimates a sync: what it would copy and derive now, and how many requests that takes.

It only lists the lake and reads its catalog. See ingest/diff.py for the comparison of source and lake, which a sync
uses too, ingest/catalog.py for the rows of the catalog, and cost.py for dollars.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from apex_pipeline.ingest.catalog import RULES_VERSION, file_row, file_rows, session_sources
from apex_pipeline.ingest.diff import Diff, IdentifiedFolder, LakeState, compare
from apex_pipeline.ingest.plan import sessions_to_derive
from apex_pipeline.settings import Settings
from apex_pipeline.sources import rules_version, session_tables, sources_named
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import RAW_PREFIX, quarantine_reason_key, raw_path
from apex_pipeline.storage.s3.upload.limits import PART_BYTES, part_bytes_of
from apex_pipeline.tables import CATALOG_TABLES, FILES
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

# In addition to its parts, a multipart upload takes one request to create it and one to complete it.
_CREATE_AND_COMPLETE = 2

# Measured on a real server, first sync of the synthetic weekend (44 files, 4 sessions): 877 GET and HEAD, 33 LIST.
# Round figures suffice: 1,000 GETs cost less than a twentieth of a cent.
_GETS_PER_FILE = 6
_GETS_PER_SESSION = 150
_LISTS_PER_SESSION = 8
# Telemetry is read in ranges of this size, and read twice if no official timing lists the crossings.
_READ_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class FileGroup:
    """Files that a sync would treat the same way.

    Attributes:
        paths: Their paths, sorted.
        bytes: Their total size in bytes.
    """

    paths: tuple[str, ...]
    bytes: int

    @property
    def count(self) -> int:
        """Number of files."""
        return len(self.paths)


@dataclass(frozen=True)
class RequestEstimate:
    """Requests to a bucket.

    Attributes:
        puts: PUT, COPY and POST, including the parts of large objects; an upper bound.
        lists: LIST, which cost as much as PUT; an estimate.
        gets: GET and HEAD; an estimate.
    """

    puts: int
    lists: int
    gets: int


# A sync with nothing to do: the listing, the catalog, the pointer and the snapshot.
_IDLE = RequestEstimate(puts=0, lists=1, gets=4)


@dataclass(frozen=True)
class SyncEstimate:
    """The work of a sync if it ran now.

    Attributes:
        new: Files that are not in the lake.
        changed: Files whose content in the lake differs, or is not recorded.
        unchanged: Files that are in the lake already.
        missing_from_source: Raw files of the lake that are missing from the source folder; a sync never deletes them.
        ignored: Files that are never copied.
        refused: Path and reason of files that cannot be read.
        sessions: Sessions that would be derived.
        is_catalog_stale: Whether the catalog would be rebuilt.
        lake_bytes: Size of the lake before the sync.
        growth_bytes: Growth of its raw files; tables add about one per cent of telemetry's size.
        requests: Requests to the bucket.
    """

    new: FileGroup
    changed: FileGroup
    unchanged: FileGroup
    missing_from_source: FileGroup
    ignored: FileGroup
    refused: tuple[tuple[str, str], ...]
    sessions: tuple[SessionKey, ...]
    is_catalog_stale: bool
    lake_bytes: int
    growth_bytes: int
    requests: RequestEstimate

    @property
    def bytes_to_copy(self) -> int:
        """Bytes of raw files that a sync would copy."""
        return self.new.bytes + self.changed.bytes


def estimate_sync(
    source: IdentifiedFolder, lake: LakeState, store: ObjectStore, settings: Settings, digests: DigestCache
) -> SyncEstimate:
    """Estimate what a sync of this source folder into this lake would do now.

    Args:
        source: The source folder.
        lake: State of the lake.
        store: The lake; raw files written by other tools are read, because the catalog does not list them.
        settings: Names the file with the user's own tracks.
        digests: Digest cache of local files.
    """
    comparison = compare(source, lake, settings, digests)
    sizes = {file.path: file.size for file in source.folder.files}
    ignored = {item.path for item in source.identities if item.status is FileStatus.IGNORED}
    to_copy = {file.path: file.size for file in comparison.copies.files}
    changed = set(comparison.copies.replaced)
    refused = {path for path, _ in source.folder.refused}
    raw = {path: item.size for path, item in _raw_objects(lake).items()}
    files = _expected_files(comparison, source, lake, store, settings, digests)
    sessions = tuple(sessions_to_derive(FILES.from_rows(files), lake.snapshot, lake.listing))
    return SyncEstimate(
        new=_file_group(sizes, to_copy.keys() - changed),
        changed=_file_group(sizes, changed),
        unchanged=_file_group(sizes, sizes.keys() - to_copy.keys() - ignored),
        missing_from_source=_file_group(raw, raw.keys() - sizes.keys() - refused),
        ignored=_file_group(sizes, ignored),
        refused=source.folder.refused,
        sessions=sessions,
        is_catalog_stale=comparison.is_catalog_stale,
        lake_bytes=sum(item.size for item in lake.listing.values()),
        growth_bytes=sum(to_copy.values()) - sum(raw[path] for path in changed),
        requests=_requests(to_copy.values(), sessions, files, lake, is_catalog_stale=comparison.is_catalog_stale),
    )


def put_requests_for(size: int) -> int:
    """Return the number of requests that write an object of this size."""
    return 1 if size <= PART_BYTES else -(-size // part_bytes_of(size)) + _CREATE_AND_COMPLETE


def _file_group(sizes: Mapping[str, int], paths: AbstractSet[str]) -> FileGroup:
    return FileGroup(tuple(sorted(paths)), sum(sizes[path] for path in paths))


def _expected_files(
    comparison: Diff,
    source: IdentifiedFolder,
    lake: LakeState,
    store: ObjectStore,
    settings: Settings,
    digests: DigestCache,
) -> list[Row]:
    """Predict the rows of the table ``files`` after a sync, as far as possible."""
    known: dict[str, Row] = {row["path"]: row for row in lake.files.to_pylist()} if lake.files is not None else {}
    if not comparison.is_catalog_stale:
        return list(known.values())
    on_disk = {file.path: file.local_path for file in source.folder.files}
    to_copy = {file.path for file in comparison.copies.files}
    rows: list[Row] = []
    for identity in source.identities:
        if identity.status is FileStatus.IGNORED:
            continue
        path = identity.path
        if path not in to_copy:
            rows.append(file_row(identity, known[path]["store_tag"], known[path]["sha256"]))
        elif path in known:
            # An earlier sync may have read the same content, and its tables may still be current.
            rows.append(file_row(identity, None, digests.sha256_of(on_disk[path])))
        else:
            # A new path always changes the inputs of its session, so hashing gigabytes would not change the estimate.
            rows.append(file_row(identity, "new", None))
    return rows + _lake_only_rows(source, lake, known, store, settings)


def _raw_objects(lake: LakeState) -> dict[str, ObjectInfo]:
    return {raw_path(key): item for key, item in lake.listing.items() if key.startswith(RAW_PREFIX)}


def _lake_only_rows(
    source: IdentifiedFolder, lake: LakeState, known: Mapping[str, Row], store: ObjectStore, settings: Settings
) -> list[Row]:
    """Return the catalog rows of raw files that exist only in the lake.

    Rows are reused if the object and the rules have not changed; only the other files are read.
    """
    on_disk = {file.path for file in source.folder.files}
    others = {path: item for path, item in _raw_objects(lake).items() if path not in on_disk}
    is_current = _has_current_rules(lake, settings)
    kept = {path for path, item in others.items() if is_current and known.get(path, {}).get("store_tag") == item.tag}
    to_read = {path: item for path, item in others.items() if path not in kept}
    return [
        *file_rows(store, to_read, known, settings),
        *(known[path] for path in sorted(kept)),
    ]


def _has_current_rules(lake: LakeState, settings: Settings) -> bool:
    stamp = (lake.files.schema.metadata or {}).get(RULES_VERSION.encode()) if lake.files is not None else None
    return stamp == rules_version(settings).encode()


def _tables_per_session(files: list[Row]) -> dict[SessionKey, int]:
    sources = session_sources(FILES.from_rows(files))
    return {key: len(session_tables(sources_named(names))) for key, names in sources.items()}


def _requests(
    copied: Collection[int],
    sessions: Collection[SessionKey],
    files: list[Row],
    lake: LakeState,
    *,
    is_catalog_stale: bool,
) -> RequestEstimate:
    if not is_catalog_stale and not sessions:
        return _IDLE
    replaced = [key for key in sessions if lake.snapshot is not None and lake.snapshot.session(key)]
    read = sum(row["bytes"] for row in files if (row["track"], row["session"]) in sessions)
    reasons = {quarantine_reason_key(row["path"]) for row in files if row["status"] == FileStatus.QUARANTINED}
    tables_of_session = _tables_per_session(files)
    # A table that replaces another is first copied to the history, within the store.
    tables = sum(tables_of_session[key] for key in (*sessions, *replaced))
    # Each catalog table is written and copied into the snapshot; then the snapshot and the pointer to it are written.
    catalog = 2 * len(CATALOG_TABLES) + 2
    return RequestEstimate(
        puts=sum(map(put_requests_for, copied)) + len(reasons - lake.listing.keys()) + tables + catalog,
        lists=_IDLE.lists + _LISTS_PER_SESSION * max(len(sessions), 1),
        gets=_IDLE.gets + _GETS_PER_FILE * len(copied) + _GETS_PER_SESSION * len(sessions) + -(-read // _READ_BYTES),
    )

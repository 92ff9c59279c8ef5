"""Estimates a sync: what it would copy and derive now, and how many requests that takes.

See ingest/sync_plan.py for the decision, which a sync uses too, and cost.py for dollars.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from apex_pipeline.ingest.source_files import SourceListing
from apex_pipeline.ingest.sync_plan import SyncPlan
from apex_pipeline.lake.records import RecordedFile
from apex_pipeline.sources import session_tables, sources_named
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.storage.layout import RAW_PREFIX, quarantine_reason_key, raw_path
from apex_pipeline.storage.s3.upload.limits import PART_BYTES, part_bytes_of
from apex_pipeline.tables import CATALOG_TABLES
from apex_pipeline.tables.session_key import SessionKey

# In addition to its parts, a multipart upload takes one request to create it and one to complete it.
_CREATE_AND_COMPLETE = 2

# Beside its tables, which are written once as objects and once under their stable names, a session takes one request
# for its record, four for the lists of its derived tables, four to publish it (its published record, a shard, the
# snapshot and the pointer), and two for its lease.
_PUTS_PER_SESSION = 11
_PUTS_OF_ROLL_UP_LEASE = 2
# They show whether a store compares and writes in one step; AWS is known to.
_PUTS_OF_PROBE = 3
# Measured on a real server, first sync of the synthetic weekend's smaller track (22 files, 2 sessions); round figures
# suffice: 1,000 GETs cost less than a twentieth of a cent.
_GETS_PER_FILE = 1
_GETS_PER_SESSION = 10
_LISTS_PER_SESSION = 1
# The access check, the records, the reasons of quarantined files, and the files that belong to no session.
_LISTS_PER_SYNC = 4
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


# A sync with nothing to do: the listing, two roll-ups, the pointer, the snapshot, a shard, and the files taken out.
_IDLE = RequestEstimate(puts=0, lists=1, gets=6)


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


def estimate_sync(plan: SyncPlan, folder: SourceListing) -> SyncEstimate:
    """Estimate what a sync would do now.

    Args:
        plan: The decision what is due.
        folder: The source folder.
    """
    sizes = {file.path: file.size for file in folder.files}
    to_copy = {file.path: file.size for file in plan.found.copies.files}
    changed = set(plan.found.copies.replaced)
    ignored = _ignored_paths(plan) & sizes.keys()
    refused = {path for path, _ in folder.refused}
    raw = {raw_path(key): item.size for key, item in plan.listing.items() if key.startswith(RAW_PREFIX)}
    is_stale = plan.has_stale_roll_ups or not plan.found.is_unchanged
    return SyncEstimate(
        new=_file_group(sizes, to_copy.keys() - changed),
        changed=_file_group(sizes, changed),
        unchanged=_file_group(sizes, sizes.keys() - to_copy.keys() - ignored),
        missing_from_source=_file_group(raw, raw.keys() - sizes.keys() - refused),
        ignored=_file_group(sizes, ignored),
        refused=folder.refused,
        sessions=tuple(plan.due),
        is_catalog_stale=is_stale,
        lake_bytes=sum(item.size for item in plan.listing.values()),
        growth_bytes=sum(to_copy.values()) - sum(raw[path] for path in changed),
        requests=_IDLE if plan.is_idle else _requests(plan),
    )


def put_requests_for(size: int) -> int:
    """Return the number of requests that write an object of this size."""
    return 1 if size <= PART_BYTES else -(-size // part_bytes_of(size)) + _CREATE_AND_COMPLETE


def _file_group(sizes: Mapping[str, int], paths: AbstractSet[str]) -> FileGroup:
    return FileGroup(tuple(sorted(paths)), sum(sizes[path] for path in paths))


def _ignored_paths(plan: SyncPlan) -> set[str]:
    files = plan.found.roll_ups.files.select(["path", "status"]).to_pylist()
    statuses: dict[str, str] = {row["path"]: row["status"] for row in files}
    statuses |= {file.path: file.status.value for file in _changed_files(plan)}
    return {path for path, status in statuses.items() if status == FileStatus.IGNORED}


def _changed_files(plan: SyncPlan) -> list[RecordedFile]:
    found = [file for files in plan.found.changed.values() for file in files]
    return found + list(plan.found.unassigned or ())


def _requests(plan: SyncPlan) -> RequestEstimate:
    copied = [file.size for file in plan.found.copies.files]
    used = {key: [file for file in plan.found.files_of(key) if file.is_in_use] for key in plan.due}
    quarantined = (file for file in _changed_files(plan) if file.status is FileStatus.QUARANTINED)
    reasons = {quarantine_reason_key(file.path) for file in quarantined}
    return RequestEstimate(
        puts=sum(map(put_requests_for, copied))
        + len(reasons - plan.listing.keys())
        + sum(_PUTS_PER_SESSION + 2 * _tables_of(files) for files in used.values())
        + len(plan.records)
        + len(CATALOG_TABLES)
        + _PUTS_OF_ROLL_UP_LEASE
        + _PUTS_OF_PROBE
        + (plan.found.unassigned is not None),
        lists=_IDLE.lists + _LISTS_PER_SYNC + _LISTS_PER_SESSION * len(used),
        gets=_IDLE.gets
        + _GETS_PER_FILE * len(copied)
        + _GETS_PER_SESSION * len(used)
        + sum(-(-file.bytes // _READ_BYTES) for files in used.values() for file in files),
    )


def _tables_of(files: list[RecordedFile]) -> int:
    return len(session_tables(sources_named(sorted({file.identity.source for file in files}))))

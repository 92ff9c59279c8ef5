"""What a sync would do now, and how many requests that takes; nothing is sent but listings and reads of the catalog.

Here belongs the forecast. The comparison it starts from is the sync's own (``comparison.py``); dollars are ``cost.py``.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from apex_pipeline.lake.catalog_tables import RULES_VERSION, Row, file_row, rules_version
from apex_pipeline.lake.comparison import Comparison, LakeState, Source, compare
from apex_pipeline.lake.plan import sessions_to_derive
from apex_pipeline.schemas import CATALOG_TABLES, FILES, SESSION_TABLES
from apex_pipeline.session_key import SessionKey
from apex_pipeline.settings import Settings
from apex_pipeline.sources.gr_cup.files import FileStatus, FoundFile
from apex_pipeline.sources.gr_cup.naming import identify_tree, load_rules
from apex_pipeline.storage.contract import ObjectStore, StoredObject
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.layout import RAW_PREFIX, quarantine_reason_key, raw_path
from apex_pipeline.storage.s3.transfer.part_sizes import PART_BYTES, part_bytes_of

# An object larger than one part is begun, sent in parts and completed.
_BEGIN_AND_COMPLETE = 2

# Counted at a real server, a first sync of the synthetic weekend (44 files, 4 sessions): 877 GET and HEAD and 33 LIST.
# They cost so little that the round figures do: 1,000 GETs are less than a twentieth of a cent.
_GETS_PER_FILE = 6
_GETS_PER_SESSION = 150
_LISTS_PER_SESSION = 8
# Telemetry is read in pieces of this size, and once more where no official timing lists the crossings.
_READ_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Files:
    """Some files and their size together."""

    paths: tuple[str, ...]
    bytes: int

    @property
    def count(self) -> int:
        """Number of files."""
        return len(self.paths)


@dataclass(frozen=True)
class Requests:
    """Requests to a bucket.

    Attributes:
        puts: PUT, COPY and POST, the parts of large objects included. The most there can be.
        lists: LIST, which are paid for like PUT; an estimate.
        gets: GET and HEAD; an estimate.
    """

    puts: int
    lists: int
    gets: int


# A look at a lake that is as it should be: the listing, the catalog, and what is published.
_LOOK = Requests(puts=0, lists=1, gets=4)


@dataclass(frozen=True)
class Forecast:
    """What a sync would do now.

    Attributes:
        new: Files the lake does not have.
        changed: Files the lake has with another content, or without a record of their content.
        unchanged: Files that are in the lake already.
        gone: Raw files of the lake that the source folder does not have; a sync never deletes them.
        ignored: Files that are never copied.
        refused: Path and reason of files that cannot be read.
        sessions: Sessions whose tables would be made.
        is_catalog_stale: Whether the catalog would be made again.
        lake_bytes: Size of the lake before.
        growth_bytes: How much larger its raw files would be; tables add about one per cent of telemetry's size.
        requests: What would be sent to a bucket.
    """

    new: Files
    changed: Files
    unchanged: Files
    gone: Files
    ignored: Files
    refused: tuple[tuple[str, str], ...]
    sessions: tuple[SessionKey, ...]
    is_catalog_stale: bool
    lake_bytes: int
    growth_bytes: int
    requests: Requests

    @property
    def bytes_to_copy(self) -> int:
        """Bytes of raw files a sync would send."""
        return self.new.bytes + self.changed.bytes


def foresee(
    source: Source, lake: LakeState, store: ObjectStore, settings: Settings, fingerprints: Fingerprints
) -> Forecast:
    """Return what a sync of this source folder into this lake would do now.

    Args:
        source: The source folder.
        lake: What the lake holds.
        store: The lake, to look into raw files that no catalog knows (somebody else put them there).
        settings: For the user's own tracks.
        fingerprints: Digests of local files.
    """
    comparison = compare(source, lake, settings, fingerprints)
    sizes = {file.path: file.size for file in source.folder.files}
    ignored = {item.path for item in source.identities if item.status is FileStatus.IGNORED}
    to_copy = {file.path: file.size for file in comparison.copies.chosen}
    changed = set(comparison.copies.replaced)
    refused = {path for path, _ in source.folder.refused}
    raw = {path: item.size for path, item in _raw_objects(lake).items()}
    files = _expected_files(comparison, source, lake, store, settings, fingerprints)
    sessions = tuple(sessions_to_derive(FILES.from_rows(files), lake.snapshot, lake.listing))
    return Forecast(
        new=_part(sizes, to_copy.keys() - changed),
        changed=_part(sizes, changed),
        unchanged=_part(sizes, sizes.keys() - to_copy.keys() - ignored),
        gone=_part(raw, raw.keys() - sizes.keys() - refused),
        ignored=_part(sizes, ignored),
        refused=source.folder.refused,
        sessions=sessions,
        is_catalog_stale=comparison.is_catalog_stale,
        lake_bytes=sum(item.size for item in lake.listing.values()),
        growth_bytes=sum(to_copy.values()) - sum(raw[path] for path in changed),
        requests=_requests(to_copy.values(), sessions, files, lake, is_catalog_stale=comparison.is_catalog_stale),
    )


def puts_for(size: int) -> int:
    """Return how many requests it takes to write an object of this size."""
    return 1 if size <= PART_BYTES else -(-size // part_bytes_of(size)) + _BEGIN_AND_COMPLETE


def _part(sizes: Mapping[str, int], paths: AbstractSet[str]) -> Files:
    return Files(tuple(sorted(paths)), sum(sizes[path] for path in paths))


def _expected_files(
    comparison: Comparison,
    source: Source,
    lake: LakeState,
    store: ObjectStore,
    settings: Settings,
    fingerprints: Fingerprints,
) -> list[Row]:
    """Return the rows of the table ``files`` as a sync would leave them, as far as that shows before it."""
    known: dict[str, Row] = {row["path"]: row for row in lake.files.to_pylist()} if lake.files is not None else {}
    if not comparison.is_catalog_stale:
        return list(known.values())
    on_disk = {file.path: file.on_disk for file in source.folder.files}
    to_copy = {file.path for file in comparison.copies.chosen}
    rows: list[Row] = []
    for identity in source.identities:
        if identity.status is FileStatus.IGNORED:
            continue
        path = identity.path
        if path not in to_copy:
            rows.append(file_row(identity, known[path]["store_tag"], known[path]["sha256"]))
        elif path in known:
            # It may have lain here before with this very content, and the tables may still be made of that.
            rows.append(file_row(identity, None, fingerprints.sha256_of(on_disk[path])))
        else:
            # A path never seen makes its session new whatever it holds: hashing gigabytes would tell no more.
            rows.append(file_row(identity, "new", None))
    others = {path: item for path, item in _raw_objects(lake).items() if path not in on_disk}
    return rows + _rows_of_others(others, _current_rows(known, lake, settings), store, settings)


def _raw_objects(lake: LakeState) -> dict[str, StoredObject]:
    return {raw_path(key): item for key, item in lake.listing.items() if key.startswith(RAW_PREFIX)}


def _current_rows(known: dict[str, Row], lake: LakeState, settings: Settings) -> dict[str, Row]:
    """Return the catalog's rows, none if they were made by other rules than today's."""
    if lake.files is None:
        return {}
    stamp = (lake.files.schema.metadata or {}).get(RULES_VERSION.encode())
    return known if stamp == rules_version(settings.tracks_file).encode() else {}


def _rows_of_others(
    others: Mapping[str, StoredObject], known: Mapping[str, Row], store: ObjectStore, settings: Settings
) -> list[Row]:
    """Return the rows of raw files of the lake that are not in the source folder; those not known are looked into."""
    told = {path for path, item in others.items() if path in known and known[path]["store_tag"] == item.tag}
    found = [
        FoundFile(path, item.size, partial(store.read_start, item.key))
        for path, item in others.items()
        if path not in told
    ]
    identities = identify_tree(found, load_rules(settings.tracks_file))
    rows = [file_row(item, others[item.path].tag, _digest(store, others[item.path])) for item in identities]
    return [*rows, *(known[path] for path in sorted(told))]


def _digest(store: ObjectStore, item: StoredObject) -> str | None:
    facts = store.head(item.key)
    return facts.sha256 if facts else None


def _requests(
    copied: Collection[int],
    sessions: Collection[SessionKey],
    files: list[Row],
    lake: LakeState,
    *,
    is_catalog_stale: bool,
) -> Requests:
    if not is_catalog_stale and not sessions:
        return _LOOK
    replaced = [key for key in sessions if lake.snapshot is not None and lake.snapshot.session(key)]
    read = sum(row["bytes"] for row in files if (row["track"], row["session"]) in sessions)
    reasons = {quarantine_reason_key(row["path"]) for row in files if row["status"] == FileStatus.QUARANTINED}
    # A table that replaces another keeps that one in the history: a copy inside the store.
    tables = len(SESSION_TABLES) * (len(sessions) + len(replaced))
    # Each catalog table is written and copied into the snapshot, which is written itself and then pointed to.
    catalog = 2 * len(CATALOG_TABLES) + 2
    return Requests(
        puts=sum(map(puts_for, copied)) + len(reasons - lake.listing.keys()) + tables + catalog,
        lists=_LOOK.lists + _LISTS_PER_SESSION * max(len(sessions), 1),
        gets=_LOOK.gets + _GETS_PER_FILE * len(copied) + _GETS_PER_SESSION * len(sessions) + -(-read // _READ_BYTES),
    )


__all__ = ["Files", "Forecast", "Requests", "foresee", "puts_for"]

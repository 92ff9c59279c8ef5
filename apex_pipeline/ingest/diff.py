"""Scans the source folder and the lake, once each, and compares them; used by both ``apex sync`` and ``apex plan``.

Reads the state of both sides (listing, catalog, snapshot) and computes their difference. See ``plan.py`` for the rules
of the comparison and ``ops/estimate.py`` for the work and cost that follow from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from apex_pipeline.errors import SourceError, StoreConfigError
from apex_pipeline.ingest.plan import CopyPlan, is_catalog_stale, plan_copies, sessions_to_derive
from apex_pipeline.ingest.source_folder import SourceFolder, identify, scan_folder
from apex_pipeline.lake.snapshot import Snapshot, read_current
from apex_pipeline.lake.tables import read_stored_table
from apex_pipeline.settings import Settings
from apex_pipeline.sources import rules_version
from apex_pipeline.sources.base import IGNORED_KIND, UNKNOWN_KIND, FileIdentity
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import table_key
from apex_pipeline.tables import FILES
from apex_pipeline.tables.session_key import SessionKey

# Maximum files listed by name in a message; the rest are only counted.
_NAMED_FILES = 5


@dataclass(frozen=True)
class IdentifiedFolder:
    """A source folder and the identities of its files."""

    folder: SourceFolder
    identities: tuple[FileIdentity, ...]


@dataclass(frozen=True)
class LakeState:
    """The contents of a lake.

    Attributes:
        listing: Its objects by key.
        files: The table ``files``; ``None`` before the first sync.
        snapshot: The published snapshot; ``None`` before the first sync.
    """

    listing: Mapping[str, ObjectInfo]
    files: pa.Table | None
    snapshot: Snapshot | None

    @classmethod
    def empty(cls) -> "LakeState":
        """Return the state of a lake that does not exist yet."""
        return cls({}, None, None)

    def sessions_to_derive(self) -> list[SessionKey]:
        """Return the sessions whose tables do not match the catalog."""
        return [] if self.files is None else sessions_to_derive(self.files, self.snapshot, self.listing)

    @classmethod
    def load(cls, store: ObjectStore) -> "LakeState":
        """Return the contents of the lake, which may be empty, from one listing and the catalog.

        Raises:
            StoreError: The lake cannot be reached with the current configuration.
        """
        listing = {item.key: item for item in store.list()}
        files_key = table_key(FILES.folder, FILES.name)
        files = read_stored_table(store, FILES) if files_key in listing else None
        return cls(listing, files, read_current(store))

    @classmethod
    def load_if_exists(cls, store: ObjectStore) -> "LakeState | None":
        """Return the contents of the lake, or ``None`` if its bucket does not exist yet.

        Raises:
            StoreError: The lake cannot be reached, for any reason other than a missing bucket.
        """
        try:
            return cls.load(store)
        except StoreConfigError as error:
            from apex_pipeline.storage.s3.errors import error_code  # noqa: PLC0415  -- imports boto3 only if S3 is used

            if error_code(error) != "NoSuchBucket":
                raise
            return None


@dataclass(frozen=True)
class Diff:
    """The difference between a source folder and a lake.

    Attributes:
        copies: Files to copy.
        is_catalog_stale: The catalog must be rebuilt; always true if a file is copied.
    """

    copies: CopyPlan
    is_catalog_stale: bool


def scan_source(settings: Settings) -> IdentifiedFolder:
    """Scan the configured source folder and identify its files.

    Raises:
        SourceError: The folder is missing or empty, or contains no race data.
        ConfigurationError: The user's file of tracks cannot be read.
    """
    folder = scan_folder(settings.source_dir)
    identities = identify(folder, settings)
    _require_race_files(folder, identities)
    return IdentifiedFolder(folder, tuple(identities))


def compare(source: IdentifiedFolder, lake: LakeState, settings: Settings, digest_cache: DigestCache) -> Diff:
    """Compare the source folder with the lake by content, without uploading anything."""
    copies = plan_copies(source.folder, source.identities, lake.listing, lake.files, digest_cache)
    rules = rules_version(settings)
    # A catalog that an earlier version wrote has fewer columns; it stays readable, and the next sync rebuilds it.
    is_stale = (
        copies.file_count > 0
        or is_catalog_stale(lake.listing, lake.files, source.identities, rules)
        or (lake.files is not None and lake.files.schema.names != FILES.schema.names)
    )
    return Diff(copies, is_stale)


def _require_race_files(folder: SourceFolder, identities: Iterable[FileIdentity]) -> None:
    """Raise if the folder contains no race data, before anything is uploaded."""
    identities = list(identities)
    if any(item.kind not in {IGNORED_KIND, UNKNOWN_KIND} for item in identities):
        return
    named = [f"{path} ({reason})" for path, reason in folder.refused]
    named += [f"{item.path} ({item.reason})" for item in identities]
    rest = len(named) - _NAMED_FILES
    more = f" and {rest} more" if rest > 0 else ""
    raise SourceError(
        f"No race files in {folder.root}: {'; '.join(named[:_NAMED_FILES])}{more}.",
        "Name the folder with lap, telemetry or timing CSV files; `apex explain FILE` shows why a file is not used.",
    )

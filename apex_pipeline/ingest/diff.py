"""The source folder and the lake side by side: looked at once, in the same way by a sync and by ``apex plan``.

Here belong the looks (listing, catalog, what is published) and the comparison of what they found. The rules of the
comparison are ``plan.py``; what would be done about it, and what that costs, is ``ops/estimate.py``.
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

# How many files a message names before it says how many more there are.
_NAMED_FILES = 5


@dataclass(frozen=True)
class IdentifiedFolder:
    """A source folder and what its files are."""

    folder: SourceFolder
    identities: tuple[FileIdentity, ...]


@dataclass(frozen=True)
class LakeState:
    """What a lake holds.

    Attributes:
        listing: Its objects by key.
        files: The table ``files``, ``None`` before the first sync.
        snapshot: What is published, ``None`` before the first sync.
    """

    listing: Mapping[str, ObjectInfo]
    files: pa.Table | None
    snapshot: Snapshot | None

    @classmethod
    def empty(cls) -> "LakeState":
        """Return the state of a lake that does not exist yet."""
        return cls({}, None, None)

    def sessions_to_derive(self) -> list[SessionKey]:
        """Return the sessions whose tables do not fit the catalog as it is."""
        return [] if self.files is None else sessions_to_derive(self.files, self.snapshot, self.listing)

    @classmethod
    def load(cls, store: ObjectStore) -> "LakeState":
        """Return what the lake holds: one listing and the catalog; an empty lake is one too.

        Raises:
            StoreError: The lake cannot be reached with the present configuration.
        """
        listing = {item.key: item for item in store.list()}
        at = table_key(FILES.folder, FILES.name)
        files = read_stored_table(store, FILES) if at in listing else None
        return cls(listing, files, read_current(store))

    @classmethod
    def load_if_exists(cls, store: ObjectStore) -> "LakeState | None":
        """Return what the lake holds, ``None`` where there is no such bucket yet.

        Raises:
            StoreError: The lake cannot be reached for any other reason.
        """
        try:
            return cls.load(store)
        except StoreConfigError as error:
            from apex_pipeline.storage.s3.errors import error_code  # noqa: PLC0415  -- boto3 only where it is used

            if error_code(error) != "NoSuchBucket":
                raise
            return None


@dataclass(frozen=True)
class Diff:
    """How a source folder and a lake differ.

    Attributes:
        copies: What has to be copied.
        is_catalog_stale: The catalog has to be made again; always so when something is copied.
    """

    copies: CopyPlan
    is_catalog_stale: bool


def scan_source(settings: Settings) -> IdentifiedFolder:
    """Return the source folder the settings name, with what each file is.

    Raises:
        SourceError: The folder is missing or empty, or nothing in it is race data.
        ConfigurationError: The user's file of tracks cannot be read.
    """
    folder = scan_folder(settings.source_dir)
    identities = identify(folder, settings)
    _require_race_files(folder, identities)
    return IdentifiedFolder(folder, tuple(identities))


def compare(source: IdentifiedFolder, lake: LakeState, settings: Settings, fingerprints: DigestCache) -> Diff:
    """Compare the source folder with the lake, by content; nothing is sent."""
    copies = plan_copies(source.folder, source.identities, lake.listing, lake.files, fingerprints)
    rules = rules_version(settings)
    return Diff(copies, copies.file_count > 0 or is_catalog_stale(lake.listing, lake.files, source.identities, rules))


def _require_race_files(folder: SourceFolder, identities: Iterable[FileIdentity]) -> None:
    """Refuse a folder in which nothing is race data, before anything is sent."""
    identities = list(identities)
    if any(item.kind not in {IGNORED_KIND, UNKNOWN_KIND} for item in identities):
        return
    named = [f"{path} ({reason})" for path, reason in folder.refused]
    named += [f"{item.path} ({item.reason})" for item in identities]
    rest = len(named) - _NAMED_FILES
    more = f" and {rest} more" if rest > 0 else ""
    raise SourceError(
        f"No race files in {folder.root}: {'; '.join(named[:_NAMED_FILES])}{more}.",
        "Name the folder that holds lap, telemetry or timing CSV files; `apex explain FILE` says why one is not taken.",
    )

"""Lists a source in a bucket, and reads and fetches its objects.

An object counts as unchanged while its tag, size and time of writing are the same: whoever writes it cannot set the
time. It is hashed while it is copied, and a version other than the listed one is never copied. See ``source_folder.py``
for a source in a folder.
"""

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore

from apex_pipeline.errors import (
    ConfigurationError,
    FileChangedError,
    ObjectMissingError,
    SourceError,
    StoreAuthError,
    StoreConfigError,
    StorePermissionError,
)
from apex_pipeline.ingest.source_files import SourceFile, SourceListing, printable
from apex_pipeline.progress import Progress
from apex_pipeline.settings import Settings
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.copy import CopyItem, FetchedFile
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_source, parse_bucket_uri
from apex_pipeline.storage.keys import UnsafeKeyError
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, raw_key
from apex_pipeline.storage.os_errors import translating_state_errors
from apex_pipeline.storage.temp_dirs import process_temp_dir

_BLOCK_BYTES = 1024 * 1024
# Fetched files lie on the disk until they are sent on: with files of 4 GB, 8 GB of it.
_FETCHES = BoundedSemaphore(2)
# One takes 350 bytes of memory until the sync ends, this many 350 MB.
_MOST_OBJECTS = 1_000_000


@dataclass(frozen=True, slots=True)
class SourceObject(SourceFile):
    """An object of the source bucket.

    Attributes:
        tag: The bucket's version tag.
        store: The bucket.
        scratch: Folder for files on their way.
    """

    tag: str
    store: ObjectStore = field(repr=False, compare=False)
    scratch: Path = field(repr=False, compare=False)

    @property
    def is_remote(self) -> bool:
        """It is."""
        return True

    @property
    def version(self) -> str:
        """Tag, size and time of writing."""
        written = datetime.fromtimestamp(self.mtime_ns / 1e9, UTC)
        return f"{self.tag} {self.size} {written:%Y-%m-%dT%H:%M:%S.%fZ}"

    @property
    def uri(self) -> str:
        """Its URI."""
        return self.store.uri_of(self.path)

    def read_head(self, length: int) -> bytes:
        """Return the first bytes, verified where the object has checksums."""
        with self._present():
            return self.store.read_head(self.path, length)

    def sha256(self, digests: DigestCache, progress: Progress | None = None) -> str:
        """Return the digest that is known of this version, else read the object."""
        known = self.known_sha256(digests)
        return known or digests.object_digest(self.uri, self.version, self.size, partial(self._read, progress))

    def known_sha256(self, digests: DigestCache) -> str | None:
        """Return the digest that this machine has cached, or that the uploading program recorded with the object."""
        cached = digests.known_object_digest(self.uri, self.version, self.size)
        if cached is not None:
            return cached
        found = self.store.head(self.path)
        return found.sha256 if found is not None and (found.tag, found.size) == (self.tag, self.size) else None

    def copy_item(self, key: str, digests: DigestCache) -> CopyItem:
        """Return a copy that fetches the object first."""
        return CopyItem(Path(self.path), key, fetch=partial(self._fetched, digests))

    @contextmanager
    def _fetched(self, digests: DigestCache, progress: Progress) -> Generator[FetchedFile]:
        """Provide the object as a local file, hashed on its way; removed afterwards."""
        with _FETCHES:
            parent = process_temp_dir(self.scratch)
            with translating_state_errors(f"Fetching {self.uri} to {parent}"):
                folder = TemporaryDirectory(prefix="fetched-", dir=parent)
            with folder:
                # Not the object's own name, which may be longer than the 255 bytes that a file's may have.
                path = Path(folder.name, "object")
                with translating_state_errors(f"Fetching {self.uri} to {parent}"), path.open("wb") as file:
                    sha256 = self._read(lambda _: progress(0), file.write)
                digests.put_object_digest(self.uri, self.version, self.size, sha256)
                yield FetchedFile(path, sha256, self.size)

    def _read(self, progress: Progress | None, write: Callable[[bytes], object] | None = None) -> str:
        """Read the listed version once, and return its digest."""
        digest, size = hashlib.sha256(), 0
        with self._present(), self.store.open_stream(self.path, self._require_listed) as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
                size += len(block)
                if write is not None:
                    write(block)
                if progress is not None:
                    progress(len(block))
        if size != self.size:
            raise self._changed("changed while it was read")
        return digest.hexdigest()

    def _require_listed(self, found: ObjectInfo) -> None:
        if (found.tag, found.size) != (self.tag, self.size):
            raise self._changed("was replaced after the source was listed")

    @contextmanager
    def _present(self) -> Generator[None]:
        try:
            yield
        except ObjectMissingError:
            raise self._changed("was deleted after the source was listed") from None

    def _changed(self, what: str) -> FileChangedError:
        return FileChangedError(f"{printable(self.path)} {what}.", "The next sync finds its new state.")


def scan_source_bucket(settings: Settings) -> SourceListing:
    """List the source bucket of the settings.

    Raises:
        ConfigurationError: ``APEX_SOURCE_URI`` is not a bucket and prefix, or one of source and lake lies in the other.
        SourceError: It is empty, too large, does not exist, or may not be listed.
        StoreUnavailableError: It cannot be reached now.
    """
    uri = settings.source_uri or ""
    _require_apart(settings, *parse_bucket_uri(uri, "APEX_SOURCE_URI"))
    store = open_source(uri, settings)
    try:
        return list_bucket(store, settings.state_dir / "fetched")
    except (StoreAuthError, StoreConfigError, StorePermissionError) as error:
        raise SourceError(
            f"The source {uri} cannot be listed: {error.problem}",
            "Check APEX_SOURCE_URI, and that the key may list and read this bucket.",
        ) from error


def _require_apart(settings: Settings, bucket: str, prefix: str) -> None:
    """Refuse a source in the lake, and a lake in the source: what a sync writes would come back as race files."""
    if not settings.use_s3_data or bucket != settings.bucket:
        return
    source, lake = _folder(prefix), _folder(settings.lake_prefix)
    lake_uri = f"s3://{bucket}/{settings.lake_prefix}"
    if source.startswith(lake):
        raise ConfigurationError(
            f"The source {settings.source_uri} is the lake {lake_uri}, or lies in it.",
            "Use another bucket for the race files as they came, or give the lake a prefix with APEX_LAKE_PREFIX.",
        )
    if lake.startswith(source):
        raise ConfigurationError(
            f"The lake {lake_uri} lies in the source {settings.source_uri}.",
            f"Give the race files a prefix of their own with APEX_SOURCE_URI, such as s3://{bucket}/incoming; or name "
            "another bucket for the lake with S3_BUCKET_NAME, or another prefix with APEX_LAKE_PREFIX.",
        )


def _folder(prefix: str) -> str:
    return f"{prefix}/" if prefix else ""


def list_bucket(store: ObjectStore, scratch: Path) -> SourceListing:
    """List a source bucket.

    Args:
        store: The bucket.
        scratch: Folder for files on their way.

    Raises:
        SourceError: It is empty, or has more objects than a sync compares.
        StoreError: It cannot be listed.
    """
    scan = _BucketScan(store, scratch)
    for item in store.list_unchecked():
        scan.look_at(item)
    if scan.is_empty:
        raise SourceError(f"The source {store.uri} is empty.", "Upload the race files, or correct APEX_SOURCE_URI.")
    return scan.result()


class _BucketScan:
    """One listing of a bucket, object by object: every one is a file of the source, or refused by name.

    Args:
        store: The bucket.
        scratch: Folder for files on their way.
    """

    def __init__(self, store: ObjectStore, scratch: Path) -> None:
        self._store = store
        self._scratch = scratch
        self._files: list[SourceObject] = []
        self._refused: list[tuple[str, str]] = []
        # Number of objects of each lake, by its prefix; they are not race files as they came.
        self._lakes: dict[str, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no object was seen."""
        return not (self._files or self._refused or self._lakes)

    def look_at(self, item: ObjectInfo) -> None:
        """Note one object."""
        if not item.size and (not item.key or item.key.endswith("/")):
            return  # a folder as web consoles mark them
        if _marks_lake(item.key):
            self._leave_out_lake(item.key.removesuffix(CURRENT_SNAPSHOT_KEY))
        lake = next(filter(item.key.startswith, self._lakes), None)
        if lake is not None:
            self._lakes[lake] += 1
            return
        if len(self._files) + len(self._refused) == _MOST_OBJECTS:
            raise SourceError(
                f"The source {self._store.uri} has more than {_MOST_OBJECTS:,} objects.",
                "Name a longer prefix with APEX_SOURCE_URI, and sync one season or series at a time.",
            )
        self._sort_in(item)

    def result(self) -> SourceListing:
        """Return what was listed."""
        lakes = [
            (
                printable(prefix.rstrip("/")),
                f"it is a lake ({count} objects); set APEX_SOURCE_URI to a prefix beside it",
            )
            for prefix, count in self._lakes.items()
        ]
        files = sorted(self._files, key=lambda file: file.path)
        return SourceListing(self._store.uri, files, tuple(sorted(self._refused + lakes)))

    def _leave_out_lake(self, prefix: str) -> None:
        """Leave out a lake, also what was listed before its pointer: not every server lists in the order of keys."""
        if any(map(prefix.startswith, self._lakes)):
            return
        before = len(self._files) + len(self._refused)
        inner = [self._lakes.pop(other) for other in list(self._lakes) if other.startswith(prefix)]
        self._files = [file for file in self._files if not file.path.startswith(prefix)]
        self._refused = [entry for entry in self._refused if not entry[0].startswith(prefix)]
        self._lakes[prefix] = sum(inner) + before - len(self._files) - len(self._refused)

    def _sort_in(self, item: ObjectInfo) -> None:
        # S3 allows names that no folder and no other program can have; each is counted, and none blocks the others.
        try:
            raw_key(item.key)
        except UnsafeKeyError as error:
            self._refused.append((printable(item.key), error.problem))
            return
        written_ns = int(item.modified_utc.timestamp() * 1e9)
        self._files.append(SourceObject(item.key, item.size, written_ns, item.tag, self._store, self._scratch))


def _marks_lake(key: str) -> bool:
    """Return whether an object is the pointer of a lake below the source; the source itself may have been one."""
    return key.endswith(f"/{CURRENT_SNAPSHOT_KEY}")

"""Lists a source in a bucket, and reads and fetches its objects.

An object counts as unchanged while its tag, size and time of writing are the same: whoever writes it cannot set the
time. It is hashed while it is copied, and a version other than the listed one is never copied. See ``source_folder.py``
for a source in a folder.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable
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


@dataclass(frozen=True)
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
    """List the source bucket of the settings, without the lake that may lie in it.

    Raises:
        ConfigurationError: ``APEX_SOURCE_URI`` is not a bucket and prefix, or lies in the lake.
        SourceError: It is empty, does not exist, or may not be listed.
        StoreUnavailableError: It cannot be reached now.
    """
    uri = settings.source_uri or ""
    bucket, prefix = parse_bucket_uri(uri, "APEX_SOURCE_URI")
    own = lake_below(settings, bucket, prefix)
    store = open_source(uri, settings)
    try:
        return list_bucket(store, settings.state_dir / "fetched", own)
    except (StoreAuthError, StoreConfigError, StorePermissionError) as error:
        raise SourceError(
            f"The source {uri} cannot be listed: {error.problem}",
            "Check APEX_SOURCE_URI, and that the key may list and read this bucket.",
        ) from error


def lake_below(settings: Settings, bucket: str, prefix: str) -> str | None:
    """Return the lake's prefix within the source, ``None`` if it lies elsewhere.

    Raises:
        ConfigurationError: The source lies in the lake.
    """
    if not settings.use_s3_data or bucket != settings.bucket:
        return None
    source, lake = _folder(prefix), _folder(settings.lake_prefix)
    if source.startswith(lake):
        raise ConfigurationError(
            f"The source {settings.source_uri} is the lake s3://{bucket}/{settings.lake_prefix}, or lies in it.",
            "Use another bucket for the race files as they came, or give the lake a prefix with APEX_LAKE_PREFIX.",
        )
    return lake.removeprefix(source) if lake.startswith(source) else None


def _folder(prefix: str) -> str:
    return f"{prefix}/" if prefix else ""


def list_bucket(store: ObjectStore, scratch: Path, own_prefix: str | None = None) -> SourceListing:
    """List a source bucket.

    Args:
        store: The bucket.
        scratch: Folder for files on their way.
        own_prefix: Prefix of the lake within it, which is left out.

    Raises:
        SourceError: It is empty.
        StoreError: It cannot be listed.
    """
    listed = list(store.list())
    lakes = {item.key.removesuffix(CURRENT_SNAPSHOT_KEY) for item in listed if _marks_lake(item.key)}
    skipped = dict.fromkeys(lakes, "it is a lake")
    if own_prefix is not None:
        skipped[own_prefix] = "it belongs to the lake or to the state of this program"
    files, refused = _usable(store, scratch, (item for item in listed if not item.key.startswith(tuple(skipped))))
    if not files and not refused:
        raise SourceError(f"The source {store.uri} is empty.", "Upload the race files, or correct APEX_SOURCE_URI.")
    named = sorted((printable(prefix.rstrip("/")), reason) for prefix, reason in skipped.items())
    return SourceListing(store.uri, files, tuple(refused), tuple(named))


def _marks_lake(key: str) -> bool:
    """Return whether an object is the pointer of a lake below the source; the source itself may have been one."""
    return key.endswith(f"/{CURRENT_SNAPSHOT_KEY}")


def _usable(
    store: ObjectStore, scratch: Path, listed: Iterable[ObjectInfo]
) -> tuple[list[SourceObject], list[tuple[str, str]]]:
    files: list[SourceObject] = []
    refused: list[tuple[str, str]] = []
    for item in listed:
        try:
            raw_key(item.key)
        except UnsafeKeyError as error:
            refused.append((printable(item.key), error.problem))
            continue
        written_ns = int(item.modified_utc.timestamp() * 1e9)
        files.append(SourceObject(item.key, item.size, written_ns, item.tag, store, scratch))
    return files, refused

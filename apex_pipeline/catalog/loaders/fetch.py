"""Fetches objects for the loaders, each one once however many calls need it; see frames.py for the frames."""

import hashlib
import sys
import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, ClassVar

from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.caching import CachedStore
from apex_pipeline.storage.disk_cache import DiskCache
from apex_pipeline.storage.local import LocalStore

# Real lap and timing files are below 150 kB: if only their start is needed, the entire file is fetched anyway, once.
SMALL_BYTES = 1_000_000


class ObjectReader:
    """Reads objects of a store and counts the downloads."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._downloads = 0

    @property
    def downloads(self) -> int:
        """Number of objects read completely so far."""
        return self._downloads

    def read(self, key: str) -> bytes:
        """Return the content of an object; errors as for :meth:`ObjectStore.read_bytes`."""
        content = self.store.read_bytes(key)
        self.count_download()
        return content

    def count_download(self) -> None:
        """Count an object that was read completely."""
        with self._lock:
            self._downloads += 1


class StagedStore(CachedStore):
    """A bucket whose listed objects are downloaded on first read and kept as long as they are in use.

    Args:
        reader: Reads the bucket.
        folder: Folder for the downloaded objects; the caller removes it.
    """

    # As in S3Store.open_as_file: up to this size one GET, instead of a HEAD and one GET per 16 MB, in the same memory.
    _whole_bytes: ClassVar[int] = 32 * 1024**2

    def __init__(self, reader: ObjectReader, folder: "TemporaryDirectory[str]") -> None:
        path = Path(folder.name)
        super().__init__(reader.store, DiskCache(path, sys.maxsize, in_use=path))
        self.folder = folder
        self.users = 0
        self._reader = reader
        self._listed: dict[str, ObjectInfo] = {}
        self._contents: dict[str, bytes] = {}

    def add(self, listed: Iterable[ObjectInfo], contents: Mapping[str, bytes]) -> None:
        """Add objects as listed, and by key the contents of those that were already read completely."""
        self._listed |= {item.key: item for item in listed}
        self._contents |= {key: contents[key] for key in self._listed.keys() & contents.keys()}

    def head(self, key: str) -> ObjectInfo | None:
        """Return an object as listed, which saves a request."""
        return self._listed.get(key) or super().head(key)

    def _fetch(self, stored: ObjectInfo, file: BinaryIO) -> str | None:
        content = self._contents.get(stored.key)
        if content is None:
            digest = self._download(stored, file)
            self._reader.count_download()
        else:
            file.write(content)
            digest = hashlib.sha256(content).hexdigest()
        return digest if file.tell() == stored.size else None


class StagingArea:
    """Stages the objects of a session as local files while in use; a local lake is read in place.

    Args:
        reader: Reads the lake.
        temp_dir: Returns the folder for temporary files.
    """

    def __init__(self, reader: ObjectReader, temp_dir: Callable[[], Path]) -> None:
        self._reader = reader
        self._temp_dir = temp_dir
        self._lock = threading.Lock()
        self._staged: dict[Hashable, StagedStore] = {}

    @contextmanager
    def open(
        self, version: Hashable, listed: Iterable[ObjectInfo], contents: Mapping[str, bytes]
    ) -> Generator[ObjectStore]:
        """Open a store that holds the objects; concurrent calls with the same version share it.

        Args:
            version: Identifies the session and the versions of its objects.
            listed: The objects.
            contents: Contents of the objects that were already read completely, by key.
        """
        if isinstance(self._reader.store, LocalStore):
            yield self._reader.store
            return
        with self._lock:
            if version not in self._staged:
                folder = TemporaryDirectory(prefix="staging-", dir=self._temp_dir())
                self._staged[version] = StagedStore(self._reader, folder)
            staged = self._staged[version]
            staged.add(listed, contents)
            staged.users += 1
        try:
            yield staged
        finally:
            with self._lock:
                staged.users -= 1
                if not staged.users:
                    del self._staged[version]
                    staged.folder.cleanup()

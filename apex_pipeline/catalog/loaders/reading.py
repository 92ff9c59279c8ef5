"""Reading the objects of a lake for loaders: each one once, however many ask for it at the same time.

Here belongs fetching and counting. What the bytes mean is ``files.py`` and ``frames.py``.
"""

import shutil
import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.local import LocalStore

# Real lap and timing files are below 150 kB: what is looked at is fetched whole, and once.
SMALL_BYTES = 1_000_000


class ObjectReader:
    """Reads objects of a store and counts them."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._downloads = 0

    @property
    def downloads(self) -> int:
        """Objects read whole so far."""
        return self._downloads

    def whole(self, key: str) -> bytes:
        """Return an object whole; errors as of :meth:`ObjectStore.read_bytes`."""
        content = self.store.read_bytes(key)
        self._count()
        return content

    def start(self, key: str, length: int) -> bytes:
        """Return the first bytes of an object; errors as of :meth:`ObjectStore.read_start`."""
        return self.store.read_start(key, length)

    @contextmanager
    def local(self, key: str) -> Generator[Path]:
        """Give an object as a file; errors as of :meth:`ObjectStore.open_local`."""
        with self.store.open_local(key) as path:
            self._count()
            yield path

    def _count(self) -> None:
        with self._lock:
            self._downloads += 1


@dataclass
class _Bench:
    """A folder that holds some objects of a bucket, laid out like the lake."""

    store: LocalStore
    folder: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    discard: Callable[[], None] = lambda: None


class Benches:
    """Objects of a bucket as files, for as long as somebody works with them; those of a local lake as they are.

    Args:
        reader: Reads the lake.
        scratch: Returns the folder for temporary files.
    """

    def __init__(self, reader: ObjectReader, scratch: Callable[[], Path]) -> None:
        self._reader = reader
        self._scratch = scratch
        self._lock = threading.Lock()
        self._benches: dict[Hashable, _Bench] = {}

    @contextmanager
    def open(self, name: Hashable) -> Generator["Bench"]:
        """Give the bench of this name, shared by all who have it open at the same time.

        Args:
            name: The session and the versions of its objects.
        """
        if isinstance(self._reader.store, LocalStore):
            yield Bench(self._reader, None)
            return
        with self._lock:
            bench = self._benches.get(name) or self._new(name)
            bench.users += 1
        try:
            yield Bench(self._reader, bench)
        finally:
            with self._lock:
                bench.users -= 1
                if not bench.users:
                    del self._benches[name]
                    bench.discard()

    def _new(self, name: Hashable) -> _Bench:
        folder = TemporaryDirectory(prefix="bench-", dir=self._scratch())
        bench = _Bench(LocalStore(Path(folder.name), Fingerprints()), Path(folder.name), discard=folder.cleanup)
        self._benches[name] = bench
        return bench


class Bench:
    """Where the objects of one session can be read."""

    def __init__(self, reader: ObjectReader, bench: _Bench | None) -> None:
        self._reader = reader
        self._bench = bench

    def with_objects(self, keys: Iterable[str], known: Mapping[str, bytes]) -> ObjectStore:
        """Return a store that holds these objects; those not there yet are fetched.

        Args:
            keys: The objects.
            known: Content of those that were read whole already, by key.
        """
        if self._bench is None:
            return self._reader.store
        with self._bench.lock:
            for key in keys:
                self._fetch(key, self._bench.folder / key, known.get(key))
        return self._bench.store

    def _fetch(self, key: str, target: Path, content: bytes | None) -> None:
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            target.write_bytes(content)
            return
        with self._reader.local(key) as path:
            try:
                target.hardlink_to(path)
            except OSError:  # another disk, or one without links
                shutil.copyfile(path, target)


__all__ = ["SMALL_BYTES", "Bench", "Benches", "ObjectReader"]

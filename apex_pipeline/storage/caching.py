"""Contains a store that reads through a disk cache, and the rules for what is cached; see disk_cache.py for the files.

Off by default: see ``APEX_CACHE_DIR``.

Every read sends one HEAD for the current version of the object, so the cache never returns stale content; only the
bytes come from the disk. An object named by its digest has one version: the HEAD is sent once. The rules:

* Objects read completely (``read_bytes``, ``open_as_file``, ``open_stream``) are cached.
* Objects read by ``open_seekable`` are cached if they are at most 4 MiB: fetching them completely takes no longer than
  fetching the ranges a Parquet reader requests. A larger object is read in ranges; once these add up to its size, it
  is fetched completely. Reading one lap of a 50 MB race therefore fetches only its ranges, and reading many laps
  fetches at most twice the file.
* Objects larger than the cache are not cached.
* What is computed from objects that never change is kept by its name (``derived``), without a request.

If several threads or processes request the same object at once, one fetches it and the others wait.
"""

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar, Protocol, cast, runtime_checkable

from apex_pipeline.storage.base import Inspect, ObjectInfo, ObjectStore
from apex_pipeline.storage.disk_cache import CacheUnavailableError, DiskCache
from apex_pipeline.storage.file_hashing import BLOCK_BYTES
from apex_pipeline.storage.forwarding import ForwardingStore
from apex_pipeline.storage.layout import digest_in_key
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.storage.single_flight import SingleFlight
from apex_pipeline.storage.streams import ObjectStream

_LOG = logging.getLogger(__name__)

# The first byte of a reply takes 20 to 50 ms; an ordinary connection transfers 1 to 3 MB in that time.
_SMALL_BYTES = 4 * 1024 * 1024


@runtime_checkable
class CacheStats(Protocol):
    """A store that counts cache hits and misses."""

    @property
    def hits(self) -> int:
        """Reads served from the disk, including those that waited for another thread's fetch."""
        ...

    @property
    def misses(self) -> int:
        """Reads for which bytes were requested from the store."""
        ...


class CachedStore(ForwardingStore):
    """A store that reads through a cache and writes directly.

    The first bytes of an object (``read_head``) always come from the store: validating a copy costs as many requests.

    Args:
        inner: The store to cache.
        cache: Disk cache for its objects.
    """

    # Objects up to this size are fetched in one reply, larger ones as a stream of blocks.
    _whole_bytes: ClassVar[int] = _SMALL_BYTES

    def __init__(self, inner: ObjectStore, cache: DiskCache) -> None:
        super().__init__(inner)
        self._cache = cache
        self._lock = threading.Lock()
        self._flights = SingleFlight()
        self._hits = 0
        self._misses = 0
        self._fetched_in_ranges: Counter[str] = Counter()
        self._is_warned = False
        # Descriptions of objects named by their digest, 300 bytes each: they have no later version.
        self._immutable: dict[str, ObjectInfo] = {}

    @property
    def hits(self) -> int:
        """Reads served from the disk, including those that waited for another thread's fetch."""
        return self._hits

    @property
    def misses(self) -> int:
        """Reads for which bytes were requested from the store."""
        return self._misses

    @property
    def hit_rate(self) -> float:
        """Fraction of the reads served from the disk, 0 to 1."""
        return self._hits / max(self._hits + self._misses, 1)

    def read_bytes(self, key: str) -> bytes:
        """Return the object's content, from the disk if it is cached."""
        with self._cached_copy(key) as path:
            if path is None:
                return self._inner.read_bytes(key)
            with translating_os_errors(f"Reading the cached copy of {key}"):
                return path.read_bytes()

    @contextmanager
    def open_as_file(self, key: str) -> Generator[Path]:
        """Provide the cached copy."""
        with self._cached_copy(key, PurePosixPath(key).name) as path:
            if path is not None:
                yield path
            else:
                with self._inner.open_as_file(key) as downloaded:
                    yield downloaded

    @contextmanager
    def open_stream(self, key: str, inspect: Inspect | None = None) -> Generator[BinaryIO]:
        """Open the cached copy, fetching and verifying the object first if it is not cached yet."""
        found = self.head(key) if inspect is not None else None
        if inspect is not None and found is not None:
            inspect(found)
        with ExitStack() as stack:
            path = stack.enter_context(self._cached_copy(key))
            yield stack.enter_context(path.open("rb") if path is not None else self._inner.open_stream(key))

    @contextmanager
    def open_seekable(self, key: str) -> Generator[BinaryIO]:
        """Open the cached copy, or the object in the store if it is read in ranges (see the rules of this module)."""
        with ExitStack() as stack:
            path, name = self._open_copy(stack, key, "object", self._is_worth_fetching)
            if path is not None:
                yield stack.enter_context(path.open("rb"))
            else:
                counted = ObjectStream(self._inner.open_seekable(key), partial(self._count_range, name))
                yield cast("BinaryIO", stack.enter_context(counted))

    @property
    def keeps_derived(self) -> bool:
        """It does."""
        return True

    def derived(self, name: str, compute: Callable[[], bytes]) -> bytes:
        """Return the content from the disk, or compute it and keep it there."""
        try:
            with self._cache.open(name, None) as path:
                if path is not None:
                    self._count(is_hit=True)
                    return path.read_bytes()
        except (CacheUnavailableError, OSError) as error:
            self._warn(error)
        self._count(is_hit=False)
        content = compute()
        try:
            self._cache.put(name, len(content), partial(_write_hashed, content))
        except CacheUnavailableError as error:
            self._warn(error)
        return content

    @contextmanager
    def _cached_copy(self, key: str, file_name: str = "object") -> Generator[Path | None]:
        """Provide the cached copy, fetching it if necessary; ``None`` if the store must be read instead."""
        with ExitStack() as stack:
            yield self._open_copy(stack, key, file_name, lambda _: True)[0]

    def _open_copy(
        self, stack: ExitStack, key: str, file_name: str, is_worth_fetching: Callable[[ObjectInfo], bool]
    ) -> tuple[Path | None, str]:
        """Return the cached copy, held until ``stack`` is closed, and the cache name of this version."""
        stored = self._immutable.get(key) or self.head(key)
        if stored is None:  # let the store raise its own error
            return None, ""
        if stored.sha256 is not None and digest_in_key(key) == stored.sha256:
            self._immutable[key] = stored
        name = self._name_of(stored)
        try:
            path = stack.enter_context(self._cache.open(name, stored.size, file_name))
            if path is not None:
                self._count(is_hit=True)
            elif is_worth_fetching(stored):
                path = self._fetch_once(stack, stored, name, file_name)
            else:
                self._count(is_hit=False)
        except CacheUnavailableError as error:
            self._count(is_hit=False)
            self._warn(error)
            path = None
        return path, name

    def _fetch_once(self, stack: ExitStack, stored: ObjectInfo, name: str, file_name: str) -> Path | None:
        is_fetched = False

        def fetch() -> None:
            nonlocal is_fetched
            # Other threads wait in SingleFlight, other processes wait for the lock.
            with self._cache.lock(name), self._cache.open(name, stored.size) as path:
                if path is None:
                    is_fetched = True
                    self._count(is_hit=False)
                    self._cache.put(name, stored.size, partial(self._fetch, stored))

        self._flights.do(name, fetch)
        path = stack.enter_context(self._cache.open(name, stored.size, file_name))
        if not is_fetched:
            self._count(is_hit=path is not None)
        return path

    def _fetch(self, stored: ObjectInfo, file: BinaryIO) -> str | None:
        """Write the object to a file; return its digest, or ``None`` if it was replaced in the meantime."""
        digest = self._download(stored, file)
        is_same = digest == stored.sha256 if stored.sha256 else self._inner.head(stored.key) == stored
        return digest if is_same else None

    def _download(self, stored: ObjectInfo, file: BinaryIO) -> str:
        digest = hashlib.sha256()
        if stored.size <= self._whole_bytes:
            content = self._inner.read_bytes(stored.key)
            digest.update(content)
            file.write(content)
        else:
            with self._inner.open_stream(stored.key) as stream:
                while block := stream.read(BLOCK_BYTES):
                    digest.update(block)
                    file.write(block)
        return digest.hexdigest()

    def _name_of(self, stored: ObjectInfo) -> str:
        """Return the cache name of this version: its digest if the store has it, else its URI and tag."""
        return stored.sha256 or f"{self._inner.uri_of(stored.key)}\n{stored.tag}"

    def _is_worth_fetching(self, stored: ObjectInfo) -> bool:
        return stored.size <= max(_SMALL_BYTES, self._fetched_in_ranges[self._name_of(stored)])

    def _count_range(self, name: str, length: int) -> None:
        with self._lock:
            self._fetched_in_ranges[name] += length

    def _count(self, *, is_hit: bool) -> None:
        with self._lock:
            self._hits += is_hit
            self._misses += not is_hit

    def _warn(self, error: Exception) -> None:
        level = logging.DEBUG if self._is_warned else logging.WARNING
        self._is_warned = True
        _LOG.log(level, "The cache cannot be used (%s); reading everything from the store.", error)


def _write_hashed(content: bytes, file: BinaryIO) -> str:
    """Write to a file and return the SHA-256."""
    file.write(content)
    return hashlib.sha256(content).hexdigest()

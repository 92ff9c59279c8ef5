"""Contains a store that remembers small objects this process has read or written, so that it asks for none twice.

A sync needs the same documents at several stations: the parts of the published snapshot for its plan, for each
publication and for the manifest; a session's record and its derived tables in every step. In a bucket each is a
request. What may be remembered is the caller's decision: objects that never change, and those that only the holder of a
lease writes, for as long as it holds that.

Nothing is looked up again, so damage done meanwhile is not noticed here; the next sync and ``apex verify`` find it.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from apex_pipeline.errors import FileChangedError
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.forwarding import ForwardingStore

# Every table of a race except telemetry is smaller, and so is a shard of 2,000 sessions.
_MOST_BYTES_EACH = 4 * 1024**2
# The eight shards of 2,000 sessions take 5 MB, the tables of a race without telemetry 1 MB.
_MOST_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class _Remembered:
    content: bytes
    tag: str
    info: ObjectInfo | None = None


class RememberingStore(ForwardingStore):
    """A store that asks another one only for what it has not seen yet. Safe to share between threads.

    Args:
        inner: The other store.
        remembers: Whether the object with a key may be remembered.
        is_intact: Whether it has this content; what is damaged is not remembered.
        kept: Objects that the other store has intact, with their digests, and keeps: writing one of them sends nothing.
    """

    def __init__(
        self,
        inner: ObjectStore,
        remembers: Callable[[str], bool],
        is_intact: Callable[[str, bytes], bool],
        kept: Mapping[str, ObjectInfo] | None = None,
    ) -> None:
        super().__init__(inner)
        self._remembers = remembers
        self._is_intact = is_intact
        self._kept = dict(kept or {})
        self._objects: dict[str, _Remembered] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def head(self, key: str) -> ObjectInfo | None:
        """Return the metadata of an object that is kept or was written here, else the store's."""
        return self._info_of(key) or super().head(key)

    def read_bytes(self, key: str) -> bytes:
        """Return the object's content."""
        known = self._objects.get(key)
        return known.content if known else super().read_bytes(key)

    def read_with_tag(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Return content and tag as they were when this process read or wrote the object."""
        known = self._objects.get(key)
        if known is not None and (limit is None or len(known.content) <= limit):
            return known.content, known.tag
        found = super().read_with_tag(key, limit)
        if found is not None:
            self._remember(key, _Remembered(*found))
        return found

    def write_bytes(self, key: str, content: bytes) -> ObjectInfo:
        """Write to the store."""
        self._forget(key)
        info = super().write_bytes(key, content)
        self._remember(key, _Remembered(content, info.tag, info))
        return info

    def write_if(self, key: str, content: bytes, expected_tag: str | None) -> ObjectInfo | None:
        """Write to the store if the object has this tag."""
        self._forget(key)
        info = super().write_if(key, content, expected_tag)
        if info is not None:
            self._remember(key, _Remembered(content, info.tag, info))
        return info

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        """Write to the store, unless it keeps this object."""
        kept = self._kept.get(key)
        if kept is not None and kept.sha256 == sha256:
            info = kept
        else:
            self._forget(key)
            info = super().write_file(key, path, sha256=sha256, progress=progress)
        if info.size <= _MOST_BYTES_EACH and self._remembers(key):
            with suppress(OSError):  # the file may be gone by now, or changed
                content = path.read_bytes()
                if hashlib.sha256(content).hexdigest() == info.sha256:
                    self._remember(key, _Remembered(content, info.tag, info))
        return info

    def copy(self, source: str, target: str, *, source_info: ObjectInfo | None = None) -> ObjectInfo:
        """Copy within the store."""
        self._forget(target)
        known = source_info or self._info_of(source)
        try:
            return super().copy(source, target, source_info=known)
        except FileChangedError:
            if source_info is not None or known is None:
                raise
            # Another process has written the same content again, as all sessions do with an empty table.
            return super().copy(source, target)

    def delete(self, key: str) -> None:
        """Remove the object from the store."""
        self._forget(key)
        super().delete(key)

    def delete_if(self, key: str, expected_tag: str) -> bool:
        """Remove the object from the store if it has this tag."""
        self._forget(key)
        return super().delete_if(key, expected_tag)

    def _info_of(self, key: str) -> ObjectInfo | None:
        known = self._objects.get(key)
        return known.info if known and known.info else self._kept.get(key)

    def _remember(self, key: str, found: _Remembered) -> None:
        size = len(found.content)
        if size > _MOST_BYTES_EACH or not self._remembers(key) or not self._is_intact(key, found.content):
            return
        self._forget(key)
        with self._lock:
            if self._bytes + size > _MOST_BYTES:
                self._objects.clear()
                self._bytes = 0
            self._objects[key] = found
            self._bytes += size

    def _forget(self, key: str) -> None:
        with self._lock:
            known = self._objects.pop(key, None)
            self._kept.pop(key, None)
            self._bytes -= len(known.content) if known else 0

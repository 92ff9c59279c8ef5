"""The files as they will be in the lake: its listing, overlaid with the source folder or bucket.

Compares by content: an object whose tag and size are known has its recorded digest, and digests are cached. What
the files are is decided in ``discover.py``.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from apex_pipeline.errors import (
    ApexError,
    ObjectMissingError,
    StoreAuthError,
    StoreConfigError,
    StoreUnavailableError,
)
from apex_pipeline.ingest.source_files import SourceFile, SourceListing
from apex_pipeline.lake.forgotten import Forgotten
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables.session_key import SessionKey

# Errors of the store itself: reading the next object would fail the same way.
_STORE_ERRORS = (StoreAuthError, StoreConfigError, StoreUnavailableError)

# Start of the reason of a file whose object cannot be read. It is tried again by every discovery, because restoring an
# archived object changes neither its tag nor its size.
UNREADABLE = "it cannot be read"


class KnownFile(NamedTuple):
    """What the roll-up ``files`` says of a file."""

    bytes: int
    tag: str | None
    sha256: str | None
    kind: str
    source: str | None
    session: SessionKey | None
    status: FileStatus
    reason: str | None
    source_version: str | None


def known_files(files: pa.Table) -> dict[str, KnownFile]:
    """Return what the roll-up ``files`` says of each file, by path."""
    names = ("path", "bytes", "store_tag", "sha256", "kind", "source", "track", "session", "status", "reason")
    columns = [files[name].to_pylist() for name in (*names, "source_version")]
    return {
        path: KnownFile(
            size,
            tag,
            sha256,
            kind,
            source,
            SessionKey(track, session) if track and session else None,
            FileStatus(status),
            reason,
            version,
        )
        for path, size, tag, sha256, kind, source, track, session, status, reason, version in zip(*columns, strict=True)
    }


@dataclass(frozen=True)
class Candidate:
    """A file as it will be in the lake.

    Attributes:
        path: Path relative to the source folder.
        size: Bytes.
        tag: Tag of its object; ``None`` if the content is still to be copied, or never will be.
        sha256: Digest, where known.
        read_head: Returns the first n bytes.
        source: The file of the source, if it is there.
        is_unchanged: Whether the roll-up describes this content.
    """

    path: str
    size: int
    tag: str | None
    sha256: str | None
    read_head: Callable[[int], bytes]
    source: SourceFile | None
    is_unchanged: bool


class Overlay:
    """The lake's raw files, overlaid with the source folder.

    Args:
        store: The lake.
        objects: Its raw objects by path.
        known: What the roll-up says of each file.
        digests: What an earlier roll-up says of them, for their digests only.
        forgotten: Files taken out of the lake.
        folder: The source folder; ``None`` if only the lake is looked at.
        digest_cache: Digests of local files.
    """

    def __init__(
        self,
        store: ObjectStore,
        objects: Mapping[str, ObjectInfo],
        known: Mapping[str, KnownFile],
        digests: Mapping[str, KnownFile],
        forgotten: Forgotten,
        folder: SourceListing | None,
        digest_cache: DigestCache,
    ) -> None:
        self._store = store
        self._objects = objects
        self._known = known
        self._digests = digests
        self._forgotten = forgotten
        self._folder = folder
        self._digest_cache = digest_cache
        self.unreadable: dict[str, ApexError] = {}

    def candidates(self) -> dict[str, Candidate]:
        """Return every file, by path."""
        digests = self._looked_up_digests()
        stored = {path: self._stored(path, digests) for path in self._objects}
        found = {path: candidate for path, candidate in stored.items() if candidate is not None}
        if self._folder is None:
            return found | {path: item for path in self._known if (item := self._never_copied(path, found))}
        for file in self._folder.files:
            candidate = self._overlaid(file, found.get(file.path))
            if candidate is not None:
                found[file.path] = candidate
        return found

    def missing_from_lake(self, candidates: Mapping[str, Candidate]) -> list[str]:
        """Return the recorded raw files that are gone: neither taken out, nor in the source, nor moved elsewhere."""
        gone = [path for path, known in self._known.items() if known.tag is not None and path not in candidates]
        if not gone:
            return []
        sizes = {self._known[path].bytes for path in gone}
        present = {
            item.sha256 or (self._digest(item.source) if item.source else None)
            for item in candidates.values()
            if item.size in sizes
        }
        return [
            path
            for path in gone
            if not self._forgotten.has(path, self._known[path].sha256) and self._known[path].sha256 not in present
        ]

    def digests_of_equal_size(self, paths: Iterable[str], candidates: Mapping[str, Candidate]) -> dict[str, str]:
        """Return the digests of files of the source folder that have the size of another; only these can be copies."""
        sizes: dict[int, int] = {}
        for candidate in candidates.values():
            sizes[candidate.size] = sizes.get(candidate.size, 0) + 1
        chosen = [candidates[path] for path in paths if candidates[path].size and sizes[candidates[path].size] > 1]
        return {
            candidate.path: candidate.source.sha256(self._digest_cache)
            for candidate in chosen
            if candidate.source is not None and candidate.sha256 is None and candidate.path not in self.unreadable
        }

    def _is_recorded(self, path: str) -> bool:
        """Return whether the roll-up describes this object: its size and tag are the recorded ones."""
        item, known = self._objects[path], self._known.get(path)
        return known is not None and (known.bytes, known.tag) == (item.size, item.tag)

    def _looked_up_digests(self) -> dict[str, str | None]:
        """Return the digests of the objects that neither the listing nor the roll-up gives one for."""
        unknown = [path for path, item in self._objects.items() if item.sha256 is None and not self._is_recorded(path)]
        with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
            return dict(zip(unknown, pool.map(self._digest_of, unknown), strict=True))

    def _stored(self, path: str, digests: Mapping[str, str | None]) -> Candidate | None:
        """Return a file of the lake; ``None`` if it was taken out."""
        item, known = self._objects[path], self._known.get(path)
        is_unchanged = self._is_recorded(path)
        sha256 = known.sha256 if known is not None and is_unchanged else item.sha256 or digests.get(path)
        if self._forgotten.has(path, sha256):
            return None
        was_unreadable = known is not None and (known.reason or "").startswith(UNREADABLE)
        read_head = self._guarded(path, partial(self._store.read_head, raw_key(path)))
        return Candidate(path, item.size, item.tag, sha256, read_head, None, is_unchanged and not was_unreadable)

    def _digest_of(self, path: str) -> str | None:
        item, known = self._objects[path], self._digests.get(path)
        if known and known.sha256 and (known.tag, known.bytes) == (item.tag, item.size):
            return known.sha256
        try:
            facts = self._store.head(item.key)
        except _STORE_ERRORS:
            raise
        except ApexError as error:
            self.unreadable[path] = error
            return None
        return facts.sha256 if facts else None

    def _never_copied(self, path: str, found: Mapping[str, Candidate]) -> Candidate | None:
        """Return a file that an earlier sync saw in its source folder and did not copy."""
        known = self._known[path]
        if path in found or known.tag is not None:
            return None
        return Candidate(path, known.bytes, None, known.sha256, lambda _: b"", None, is_unchanged=True)

    def _overlaid(self, file: SourceFile, stored: Candidate | None) -> Candidate | None:
        """Return a file of the source, which is copied unless the lake has its content."""
        known = self._known.get(file.path)
        read_head = self._guarded(file.path, file.read_head)
        if stored is None and known and known.tag is None and known.status is FileStatus.IGNORED:
            is_same = self._is_same_ignored(file, known)
            return Candidate(file.path, file.size, None, known.sha256 if is_same else None, read_head, file, is_same)
        if stored is not None and stored.is_unchanged and known is not None and file.has_version(known.source_version):
            return replace(stored, source=file)
        sha256 = None
        if self._forgotten.knows(file.path):
            sha256 = self._digest(file)
        elif stored is not None and stored.size == file.size:
            sha256 = self._digest_unless_copied_anyway(file)
        if stored is not None and sha256 is not None and sha256 == stored.sha256:
            # The record notes the new version, or the next discovery would compare contents again.
            return replace(stored, source=file, is_unchanged=stored.is_unchanged and not file.is_remote)
        if self._forgotten.knows(file.path) and self._forgotten.has(file.path, sha256):
            return None
        return Candidate(file.path, file.size, None, sha256, read_head, file, is_unchanged=False)

    def _is_same_ignored(self, file: SourceFile, known: KnownFile) -> bool:
        """Return whether a file that is not race data is the recorded one."""
        if file.is_remote:
            return file.has_version(known.source_version)
        return known.bytes == file.size and (known.sha256 is None or known.sha256 == self._digest(file))

    def _digest_unless_copied_anyway(self, file: SourceFile) -> str | None:
        """Return the digest of a local file; of one in a bucket only if it need not be read for it.

        Copying reads it in any case, and writes nothing if the lake has the content.
        """
        return file.known_sha256(self._digest_cache) if file.is_remote else self._digest(file)

    def _digest(self, file: SourceFile) -> str | None:
        """Return the digest of a file of the source; ``None`` if it cannot be read."""
        try:
            return file.sha256(self._digest_cache)
        except ApexError as error:
            self.unreadable[file.path] = error
            return None

    def _guarded(self, path: str, read_head: Callable[[int], bytes]) -> Callable[[int], bytes]:
        """Return the reader; a file that cannot be read is noted and counts as empty."""

        def read(length: int) -> bytes:
            try:
                return read_head(length)
            except ObjectMissingError as error:
                self.unreadable[path] = error
            except _STORE_ERRORS:
                raise
            except ApexError as error:
                self.unreadable[path] = error
            return b""

        return read

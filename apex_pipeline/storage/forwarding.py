"""Contains a store that passes everything on to another one, as the base of stores that change some operations."""

import builtins
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import IncompleteUpload, Inspect, ObjectInfo, ObjectStore
from apex_pipeline.storage.request_stats import RequestStats


class ForwardingStore(ObjectStore):
    """A store that passes every operation on to another one.

    Args:
        inner: The other one.
    """

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner

    @property
    def uri(self) -> str:
        """URI of the lake."""
        return self._inner.uri

    def uri_of(self, key: str) -> str:
        """Return the full URI of an object."""
        return self._inner.uri_of(key)

    @property
    def can_list(self) -> bool:
        """Whether the store can be listed."""
        return self._inner.can_list

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects as the store lists them."""
        return self._inner.list(prefix)

    def head(self, key: str) -> ObjectInfo | None:
        """Return the object's metadata from the store."""
        return self._inner.head(key)

    def distrust(self, key: str) -> None:
        """Drop the store's cached digest of an object."""
        self._inner.distrust(key)

    def read_bytes(self, key: str) -> bytes:
        """Return the object's content."""
        return self._inner.read_bytes(key)

    def read_head(self, key: str, length: int) -> bytes:
        """Return the object's first bytes."""
        return self._inner.read_head(key, length)

    def open_as_file(self, key: str) -> AbstractContextManager[Path]:
        """Provide the object as a local file."""
        return self._inner.open_as_file(key)

    def open_stream(self, key: str, inspect: Inspect | None = None) -> AbstractContextManager[BinaryIO]:
        """Open the object for one sequential read."""
        return self._inner.open_stream(key, inspect)

    def open_seekable(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open the object as a seekable stream."""
        return self._inner.open_seekable(key)

    def write_bytes(self, key: str, content: bytes) -> ObjectInfo:
        """Write to the store."""
        return self._inner.write_bytes(key, content)

    def read_with_tag(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Return content and tag."""
        return self._inner.read_with_tag(key, limit)

    def write_if(self, key: str, content: bytes, expected_tag: str | None) -> ObjectInfo | None:
        """Write to the store if the object has this tag."""
        return self._inner.write_if(key, content, expected_tag)

    def delete_if(self, key: str, expected_tag: str) -> bool:
        """Remove the object from the store if it has this tag."""
        return self._inner.delete_if(key, expected_tag)

    def version_age_s(self, key: str, tag: str) -> float | None:
        """Return the age of the object by the clock of the store."""
        return self._inner.version_age_s(key, tag)

    @property
    def has_conditional_writes(self) -> bool:
        """Whether conditional writes of the store are atomic."""
        return self._inner.has_conditional_writes

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        """Write to the store."""
        return self._inner.write_file(key, path, sha256=sha256, progress=progress)

    def copy(self, source: str, target: str, *, source_info: ObjectInfo | None = None) -> ObjectInfo:
        """Copy within the store."""
        return self._inner.copy(source, target, source_info=source_info)

    def delete(self, key: str) -> None:
        """Remove the object from the store."""
        self._inner.delete(key)

    def incomplete_uploads(self) -> "builtins.list[IncompleteUpload]":
        """Return the incomplete uploads of the store."""
        return self._inner.incomplete_uploads()

    def abort(self, upload: IncompleteUpload) -> None:
        """Abort an incomplete upload of the store."""
        self._inner.abort(upload)

    def presigned_url(self, key: str, expires_s: int) -> str:
        """Return a presigned URL of the object in the store."""
        return self._inner.presigned_url(key, expires_s)

    @property
    def request_stats(self) -> RequestStats:
        """Requests sent to the store."""
        return self._inner.request_stats

    def check_access(self) -> None:
        """Check that the store can be reached."""
        self._inner.check_access()

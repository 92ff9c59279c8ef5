"""Contains the base of stores that can only be read: a published folder on a web server, and a zip file.

A subclass finds an object and fetches bytes of it; everything else follows from these two. What is written into the
name of an object, its digest, is checked whenever the object is read as a whole.
"""

# ruff: noqa: ARG002  -- operations that are refused look at nothing

import builtins
import hashlib
from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO, NoReturn, cast

from apex_pipeline.errors import (
    ConfigurationError,
    FileChangedError,
    ObjectMissingError,
    StoreCorruptionError,
    StorePermissionError,
)
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import IncompleteUpload, Inspect, ObjectInfo, ObjectStore
from apex_pipeline.storage.limits import too_large
from apex_pipeline.storage.os_errors import translating_state_errors
from apex_pipeline.storage.request_stats import RequestStats
from apex_pipeline.storage.streams import RangedReader
from apex_pipeline.storage.temp_dirs import process_temp_dir

# Objects up to this size are fetched as a whole: a Parquet reader would ask for the end, the footer and the columns.
WHOLE_BYTES = 4 * 1024**2
# What is fetched at a time into a file.
_BLOCK_BYTES = 8 * 1024**2


class ReadOnlyStore(ObjectStore):
    """A lake that nothing can be written to.

    Args:
        state: Local folder for objects that are opened as files; created when needed.
    """

    def __init__(self, state: Path) -> None:
        self._downloads = state.absolute() / "downloads"

    @abstractmethod
    def fetch(self, found: ObjectInfo, start: int, length: int) -> bytes:
        """Return exactly these bytes of an object.

        Raises:
            FileChangedError: The object is not the one that was found any more.
        """

    def download(self, found: ObjectInfo, file: BinaryIO) -> str:
        """Write an object to a file, and return its digest."""
        digest = hashlib.sha256()
        for start in range(0, found.size, _BLOCK_BYTES):
            block = self.fetch(found, start, min(_BLOCK_BYTES, found.size - start))
            digest.update(block)
            file.write(block)
        return digest.hexdigest()

    def read_with_tag(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Return content and tag; the content is checked against the digest in the name of the object."""
        found = self.head(key)
        if found is None:
            return None
        if limit is not None and found.size > limit:
            raise too_large(self.uri_of(key), found.size, limit)
        content = self.fetch(found, 0, found.size)
        self.require_digest(found, hashlib.sha256(content).hexdigest())
        return content, found.tag

    def require_digest(self, found: ObjectInfo, sha256: str) -> None:
        """Raise unless the content of an object has the digest in its name.

        Raises:
            StoreCorruptionError: It has another one.
        """
        if found.sha256 not in {None, sha256}:
            raise StoreCorruptionError(
                f"{self.uri_of(found.key)} is damaged: its content differs from the digest in its name.",
                "Publish the lake again from where it was copied, or make the bundle again.",
            )

    def read_bytes(self, key: str) -> bytes:
        """Return the content of a small object."""
        read = self.read_with_tag(key)
        if read is None:
            raise self._missing(key)
        return read[0]

    def read_head(self, key: str, length: int) -> bytes:
        """Return at most the first ``length`` bytes."""
        found = self._require(key)
        return self.fetch(found, 0, min(length, found.size))

    @contextmanager
    def open_as_file(self, key: str) -> Generator[Path]:
        """Provide a local copy, which is checked and removed afterwards."""
        found = self._require(key)
        with translating_state_errors(f"Creating a temporary folder in {self._downloads}"):
            folder = TemporaryDirectory(dir=process_temp_dir(self._downloads))
        with folder as name:
            path = Path(name) / PurePosixPath(key).name
            with translating_state_errors(f"Writing {path}"), path.open("wb") as file:
                sha256 = self.download(found, file)
            self.require_digest(found, sha256)
            yield path

    @contextmanager
    def open_stream(self, key: str, inspect: Inspect | None = None) -> Generator[BinaryIO]:
        """Provide a checked copy as a stream."""
        if inspect is not None:
            inspect(self._require(key))
        with self.open_as_file(key) as path, path.open("rb") as stream:
            yield stream

    @contextmanager
    def open_seekable(self, key: str) -> Generator[BinaryIO]:
        """Yield a stream that fetches ranges; a small object is fetched as a whole and checked."""
        found = self._require(key)
        if found.size <= WHOLE_BYTES:
            content = self.fetch(found, 0, found.size)
            self.require_digest(found, hashlib.sha256(content).hexdigest())
            yield BytesIO(content)
        else:
            with RangedReader(lambda start, length: self.fetch(found, start, length), found.size) as stream:
                yield cast("BinaryIO", stream)

    def _require(self, key: str) -> ObjectInfo:
        found = self.head(key)
        if found is None:
            raise self._missing(key)
        return found

    def _missing(self, key: str) -> ObjectMissingError:
        return ObjectMissingError(f"{self.uri_of(key)} does not exist.", "Check the address of the lake.")

    def changed(self, key: str) -> FileChangedError:
        """Return the error for an object that was replaced while it was read."""
        return FileChangedError(f"{self.uri_of(key)} was replaced while it was read.", "Open the lake again.")

    def _refuse(self) -> NoReturn:
        raise StorePermissionError(f"The lake {self.uri} can only be read.", "Write to the lake it was published from.")

    def write_bytes(self, key: str, content: bytes) -> ObjectInfo:
        """Refuse; so do all operations that write."""
        self._refuse()

    def write_if(self, key: str, content: bytes, expected_tag: str | None) -> ObjectInfo | None:
        """Refuse."""
        self._refuse()

    def delete_if(self, key: str, expected_tag: str) -> bool:
        """Refuse."""
        self._refuse()

    def version_age_s(self, key: str, tag: str) -> float | None:
        """Return ``None``: only writers need it."""
        return None

    @property
    def has_conditional_writes(self) -> bool:
        """Return ``False``: nothing is written."""
        return False

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        """Refuse."""
        self._refuse()

    def copy(self, source: str, target: str, *, source_info: ObjectInfo | None = None) -> ObjectInfo:
        """Refuse."""
        self._refuse()

    def delete(self, key: str) -> None:
        """Refuse."""
        self._refuse()

    def incomplete_uploads(self) -> "builtins.list[IncompleteUpload]":
        """Return nothing: nothing is written."""
        return []

    def abort(self, upload: IncompleteUpload) -> None:
        """Refuse."""
        self._refuse()

    def presigned_url(self, key: str, expires_s: int) -> str:
        """Refuse: there is nothing to sign with."""
        raise ConfigurationError(f"The lake {self.uri} signs no URLs.", "Only a lake in S3 does.")

    @property
    def request_stats(self) -> RequestStats:
        """Requests sent so far; all zero where none are sent."""
        return RequestStats()

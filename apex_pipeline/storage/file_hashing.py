"""Contains readers that hash a file while it is copied, so the stored bytes are exactly the hashed bytes.

Both backends copy through them; see ``digest_cache.py`` for the cache of digests.
"""

import hashlib
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from apex_pipeline.errors import ApexError, FileChangedError, SourceError

# Large enough that Python's overhead per block is negligible (hashing 1 MiB takes about 1 ms), small enough for memory.
BLOCK_BYTES = 1024 * 1024


class FileState(NamedTuple):
    """Size, times and inode of a file, to detect a change without reading it.

    Attributes:
        size: Size in bytes.
        mtime_ns: Time of the last edit; programs can set it back.
        inode: Inode number; a file that replaces another one has a different inode.
        ctime_ns: Time of the last edit or change of name, permissions or times; programs cannot set it. ``None`` if
            unknown.
    """

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int | None = None


def file_state_of(status: os.stat_result) -> FileState:
    """Return the state of a file from its ``stat`` result."""
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


class StableReader:
    """Reads a file once from start to end and raises if it changes while being read.

    Args:
        path: The file to read.

    Raises:
        FileChangedError: The file is gone.
        SourceError: It is not a regular file, or this user may not read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes_read = 0
        try:
            # Opening a pipe would block until another process opens its other end.
            if not stat.S_ISREG(path.stat().st_mode):
                raise SourceError(f"{path} is not a regular file.", "Remove it from the source folder.")
            self._file = path.open("rb")
        except OSError as error:
            raise _translate(error, path) from error
        self.state = file_state_of(os.fstat(self._file.fileno()))

    def read(self, size: int | None = -1) -> bytes:
        """Return the next ``size`` bytes (without a size, all that remain); empty at the end.

        Raises:
            FileChangedError: The file grew; or, at the end, it changed while it was read.
            SourceError: The disk failed to read it.
        """
        requested = -1 if size is None else size
        try:
            content = self._file.read(requested)
        except OSError as error:
            raise _translate(error, self._path) from error
        self._bytes_read += len(content)
        if self._bytes_read > self.state.size:  # checked here: a log that grows as fast as it is read has no end
            raise self.changed()
        if requested < 0 or (requested > 0 and not content):
            self._check_end()
        return content

    def _check_end(self) -> None:
        # Ignore the ctime: it also changes when another file replaces this one, and the open file is still valid then.
        if file_state_of(os.fstat(self._file.fileno()))._replace(ctime_ns=self.state.ctime_ns) != self.state:
            raise self.changed()

    def changed(self) -> FileChangedError:
        """Return the error for a file that changed."""
        return FileChangedError(f"{self._path} changed while it was read.", "The next run will copy the new content.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class HashingReader(StableReader):
    """Reads a file once while hashing it, and raises at the end if the digest is not the expected one.

    The error is raised by the :meth:`read` that reaches the end of the file. A writer that makes its object visible
    only after reading the end can therefore never publish bytes under a wrong digest, whatever happens to the file in
    the meantime.

    Args:
        path: The file to read.
        expected: Required digest, or ``None`` to accept any content that does not change while it is read.

    Raises:
        FileChangedError: The file is gone.
        SourceError: It is not a regular file, or this user may not read it.
    """

    def __init__(self, path: Path, expected: str | None = None) -> None:
        super().__init__(path)
        self._expected = expected
        self._hash = hashlib.sha256()

    def read(self, size: int | None = -1) -> bytes:
        """Return the next ``size`` bytes (without a size, all that remain); empty at the end.

        Raises:
            FileChangedError: The file grew; or, at the end, it changed while it was read or differs from ``expected``.
            SourceError: The disk failed to read it.
        """
        content = super().read(size)
        self._hash.update(content)
        is_end = size is None or size < 0 or (size > 0 and not content)
        if is_end and self._expected is not None and self.sha256 != self._expected:
            raise FileChangedError(
                f"{self._path} changed: its SHA-256 was {self._expected[:12]}… and is {self.sha256[:12]}….",
                "The next run will copy the new content.",
            )
        return content

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes read so far."""
        return self._hash.hexdigest()


def _translate(error: OSError, path: Path) -> ApexError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return FileChangedError(f"{path} is gone.", "If it was moved on purpose, the next run will find it.")
    return SourceError(f"{path} cannot be read: {error.strerror}.", "Grant this user read permission.")

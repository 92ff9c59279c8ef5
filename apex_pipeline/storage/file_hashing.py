"""Reading a file once while hashing it, so that what is stored is what was hashed.

Here belongs the reader both backends copy from. Not here: remembering digests (``digest_cache.py``).
"""

import hashlib
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from apex_pipeline.errors import ApexError, FileChangedError, SourceError

# Large enough that Python's cost per block does not show (hashing 1 MiB takes about 1 ms), small enough for memory.
BLOCK_BYTES = 1024 * 1024


class FileState(NamedTuple):
    """What tells one state of a file from another without reading it.

    Attributes:
        size: Bytes.
        mtime_ns: Time of the last edit, which programs may set back.
        inode: Which file has the name.
        ctime_ns: Time of the last edit or change of name, rights or times, which nobody can set; ``None``: not known.
    """

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int | None = None


def file_state_of(status: os.stat_result) -> FileState:
    """Return the mark of a file from its ``stat``."""
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


class StableReader:
    """A file, read once from start to end, which is refused if it is touched meanwhile.

    Args:
        path: The file; it is only read.

    Raises:
        VanishedFileError: The file is gone.
        SourceError: It is no regular file, or this user may not read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes_read = 0
        try:
            # Opening a pipe would wait for its other end for ever.
            if not stat.S_ISREG(path.stat().st_mode):
                raise SourceError(f"{path} is not a regular file.", "Take it out of the source folder.")
            self._file = path.open("rb")
        except OSError as error:
            raise _translate(error, path) from error
        self.state = file_state_of(os.fstat(self._file.fileno()))

    def read(self, size: int | None = -1) -> bytes:
        """Return the next ``size`` bytes (all that are left without a size), empty at the end.

        Raises:
            VanishedFileError: The file grew; or at the end: it changed while it was read.
            SourceError: The disk cannot read it.
        """
        wanted = -1 if size is None else size
        try:
            content = self._file.read(wanted)
        except OSError as error:
            raise _translate(error, self._path) from error
        self._bytes_read += len(content)
        if self._bytes_read > self.state.size:  # not at the end: a log that grows as fast as it is read has none
            raise self.changed()
        if wanted < 0 or (wanted > 0 and not content):
            self._check_end()
        return content

    def _check_end(self) -> None:
        # Save the ctime: another file put in the place of this one changes it too, and the opened one is read on.
        if file_state_of(os.fstat(self._file.fileno()))._replace(ctime_ns=self.state.ctime_ns) != self.state:
            raise self.changed()

    def changed(self) -> FileChangedError:
        """Return the error for a file that is not what it was."""
        return FileChangedError(f"{self._path} changed while it was read.", "The next run takes the new content.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class HashingReader(StableReader):
    """A file, read once and hashed; its end is refused if the content is not what was announced.

    The refusal comes from :meth:`read` when it meets the end of the file. A writer that makes its object visible only
    after it has read the end can therefore never publish bytes under a digest that is not theirs, whatever happens to
    the file in between.

    Args:
        path: The file; it is only read.
        expected: The digest the content must have, or ``None`` to accept any content that holds still.

    Raises:
        VanishedFileError: The file is gone.
        SourceError: It is no regular file, or this user may not read it.
    """

    def __init__(self, path: Path, expected: str | None = None) -> None:
        super().__init__(path)
        self._expected = expected
        self._hash = hashlib.sha256()

    def read(self, size: int | None = -1) -> bytes:
        """Return the next ``size`` bytes (all that are left without a size), empty at the end.

        Raises:
            VanishedFileError: The file grew; or at the end: it changed while it was read, or is not what was expected.
            SourceError: The disk cannot read it.
        """
        content = super().read(size)
        self._hash.update(content)
        is_end = size is None or size < 0 or (size > 0 and not content)
        if is_end and self._expected is not None and self.sha256 != self._expected:
            raise FileChangedError(
                f"{self._path} changed: its SHA-256 was {self._expected[:12]}… and is {self.sha256[:12]}….",
                "The next run takes the new content.",
            )
        return content

    @property
    def sha256(self) -> str:
        """Hex digest of what has been read so far."""
        return self._hash.hexdigest()


def _translate(error: OSError, path: Path) -> ApexError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return FileChangedError(f"{path} is gone.", "If it was moved on purpose, the next run finds it there.")
    return SourceError(f"{path} cannot be read: {error.strerror}.", "Give this user the right to read it.")

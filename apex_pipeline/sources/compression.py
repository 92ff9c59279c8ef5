"""Decompresses raw files (``.csv.gz`` and ``.csv.zst``), chosen by file extension, within the limits on their size.

A file is decompressed as it is read, so memory does not depend on its size. See ``limits.py`` for the limits,
``upload/compression.py`` for compression, and ``gr_cup/discovery/sniff.py`` for decompressing only the first bytes of a
file.
"""

import errno
import io
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO, Literal, cast

import pyarrow as pa

from apex_pipeline.errors import MalformedFileError, StoreError, StoreUnavailableError
from apex_pipeline.sources.encodings import Utf8Stream
from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits

_BUFFER_BYTES = 1_000_000
# Compressed bytes read at a time; with more, zlib copies its unused input too often.
_PACKED_BYTES = 65_536
_GZIP_WITH_HEADER = 31
_GZIP_MAGIC = b"\x1f\x8b"
# Errors of a network share that may be gone at the next attempt.
_PASSING = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN})
_ZSTD_WINDOW_TOO_LARGE = "too much memory"


def compression_of(path: str) -> Literal["gzip", "zstd"] | None:
    """Return the compression that a file name implies, or ``None`` if there is none."""
    suffix = PurePosixPath(path.lower()).suffix
    return "gzip" if suffix == ".gz" else "zstd" if suffix == ".zst" else None


@contextmanager
def open_decompressed(raw: BinaryIO, path: str, limits: Limits = DEFAULT_LIMITS) -> Generator[BinaryIO]:
    """Open a file as a sequential stream of uncompressed bytes.

    Args:
        raw: The file as stored.
        path: Its path; the extension determines the compression.
        limits: Limits on its size.

    Raises:
        MalformedFileError: While reading: the bytes are damaged, cut off or not in the format that the extension
            implies.
        LimitExceededError: While reading: the file is too large, or grows too much.
        StoreError: While reading: this machine cannot read the file.
        StoreUnavailableError: While reading: the same, but it may work at the next attempt.
    """
    with (
        _TextStream(raw, path, limits) as text,
        # A reader that asks for more than the buffer holds gets the bytes directly, without a copy.
        io.BufferedReader(Utf8Stream(cast("BinaryIO", text)), _BUFFER_BYTES) as stream,
    ):
        yield stream


class _PackedStream(io.RawIOBase):
    """The stored bytes, which are counted."""

    def __init__(self, raw: BinaryIO, path: str) -> None:
        super().__init__()
        self._raw = raw
        self._path = path
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  -- the stub's Buffer type is 3.12's
        try:
            length = self._raw.readinto(buffer)  # type: ignore[attr-defined]  # every binary stream here has it
        except OSError as error:
            raise _store_error(self._path, error) from error
        self.bytes_read += length
        return length


class _TextStream(io.RawIOBase):
    """The uncompressed bytes, which are counted and checked against the limits."""

    def __init__(self, raw: BinaryIO, path: str, limits: Limits) -> None:
        super().__init__()
        self._path = path
        self._limits = limits
        self._packed = _PackedStream(raw, path)
        self._compression = compression_of(path)
        self._source = _source_of(self._packed, self._compression)
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  -- as above
        try:
            length = self._source.readinto(buffer)
        except (EOFError, OSError, zlib.error, pa.ArrowException) as error:
            raise _damaged(self._path, error) from error
        self._unpacked += length
        packed = self._packed.bytes_read if self._compression else None
        self._limits.check_size(self._path, self._unpacked, packed)
        return length

    def close(self) -> None:
        """Release the decompressor; the stored file stays open."""
        if not self.closed and self._source is not self._packed:
            self._source.close()
        super().close()


def _source_of(packed: _PackedStream, compression: Literal["gzip", "zstd"] | None) -> "_PackedStream | _GzipStream":
    if compression == "gzip":
        return _GzipStream(packed)
    if compression == "zstd":
        return cast("_GzipStream", pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd"))
    return packed


class _GzipStream(io.RawIOBase):
    """Decompresses gzip: one member after the other, each with its checksum, and zeros after the last one.

    Why not ``gzip.GzipFile``: before Python 3.12 it decompresses 8 kB at a time, which takes a tenth longer, and it
    reads a header byte by byte, however long that is.
    """

    def __init__(self, packed: _PackedStream) -> None:
        super().__init__()
        self._packed = packed
        self._member = zlib.decompressobj(_GZIP_WITH_HEADER)
        self._rest = b""
        self._is_in_member = False
        self._is_first = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  -- as above
        """Fill the start of a buffer; return 0 only at the end of the file.

        Raises:
            zlib.error: A member is damaged, or bytes after the last one are not a member.
            EOFError: The end of the last member is missing.
        """
        while self._fill_rest():
            if not self._is_in_member and not self._rest.startswith(_GZIP_MAGIC[: len(self._rest)]):
                raise zlib.error("it is not gzip" if self._is_first else "bytes after its end are not gzip")
            content = self._member.decompress(self._rest, len(buffer))
            self._is_in_member, self._is_first = not self._member.eof, False
            self._rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP_WITH_HEADER)
            if content:
                buffer[: len(content)] = content
                return len(content)
        if self._is_in_member:
            raise EOFError("its end is missing")
        return 0

    def _fill_rest(self) -> bool:
        """Read stored bytes if none are left, skipping zeros between members; return whether there are any."""
        while True:
            if not self._is_in_member:
                self._rest = self._rest.lstrip(b"\0")
            if self._rest:
                return True
            self._rest = self._packed.read(_PACKED_BYTES) or b""
            if not self._rest:
                return False


def _damaged(path: str, error: Exception) -> MalformedFileError:
    hint = "Copy or compress it again, or rename it."
    if _ZSTD_WINDOW_TOO_LARGE in str(error):
        hint = "Compress it again without --long, or with gzip."
    return MalformedFileError(f"{path} cannot be decompressed: {error}.", hint)


def _store_error(path: str, error: OSError) -> StoreError | StoreUnavailableError:
    problem = f"Reading {path} failed: {error.strerror or error}."
    if error.errno in _PASSING:
        return StoreUnavailableError(problem, "Check that the disk or network share is connected, then run it again.")
    return StoreError(problem, "Check the disk with your operating system's tools.")


def decompress(content: bytes, path: str, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the uncompressed bytes of a file that fits in memory.

    Args:
        content: The file as stored.
        path: Its path; the extension determines the compression.
        limits: Limits on its size.

    Raises:
        MalformedFileError: The bytes are damaged or not in the format that the extension implies.
        LimitExceededError: They are too many.
    """
    with open_decompressed(io.BytesIO(content), path, limits) as stream:
        return stream.read()

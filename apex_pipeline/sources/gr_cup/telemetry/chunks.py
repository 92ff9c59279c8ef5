"""A raw telemetry file as bytes: where it lies, how it is packed, and its lines in pieces that fit the memory.

Here belongs everything before the meaning of a line: opening, unpacking, cutting. Not here: columns (``layout``) and
cells (``reading``).
"""

import io
import threading
import zlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from apex_pipeline.errors import FileChangedError, MalformedFileError
from apex_pipeline.progress import Progress
from apex_pipeline.sources.base import FileIdentity
from apex_pipeline.sources.compression import open_decompressed

# A line of telemetry has 135 characters, one with a list of readings a few kilobytes; anything longer is no line.
LONGEST_LINE_BYTES = 1_000_000
# Large enough that the calls cost nothing (750 for 3 GB), small enough for two of them to stay in a processor's cache:
# 4 MB are parsed 6 % quicker than 8, and 1 MB needs more than twice the time.
CHUNK_BYTES = 4_000_000
_LINE_FEED = 10


@dataclass(frozen=True)
class TelemetryFile:
    """A telemetry file, on this machine or in a store.

    Attributes:
        identity: What it is; ``identity.path`` tells by its ending whether it is compressed.
        open_raw: Gives its bytes, front to back; every call from the beginning.
    """

    identity: FileIdentity
    open_raw: Callable[[], AbstractContextManager[BinaryIO]]

    @classmethod
    def from_path(cls, path: Path, identity: FileIdentity) -> "TelemetryFile":
        """Return a file of this machine, which may have any name."""
        return cls(identity, lambda: path.open("rb", buffering=0))

    @contextmanager
    def open_text(self, progress: Progress | None = None) -> Generator[BinaryIO]:
        """Give the file's uncompressed bytes.

        Args:
            progress: Told about the file's own bytes as they are read, compressed or not.

        Raises:
            VanishedFileError: The file is gone.
            MalformedFileError: It cannot be unpacked.
        """
        try:
            with self.open_raw() as raw:
                counted = cast("BinaryIO", ProgressStream(raw, progress)) if progress else raw
                with open_decompressed(counted, self.identity.path) as stream:
                    yield stream
        except FileNotFoundError:
            raise FileChangedError(
                f"{self.identity.path} was there a moment ago and is gone.", "Run the sync again."
            ) from None
        except (EOFError, OSError, zlib.error) as error:
            if getattr(error, "errno", None) is not None:
                raise  # the machine's trouble, not the file's
            raise MalformedFileError(f"{self.identity.path} cannot be read: {error}.", "Export it again.") from error


class ProgressStream(io.RawIOBase):
    """A stream that reports how many bytes were read from it; not in ``storage``, which sources do not import."""

    def __init__(self, raw: BinaryIO, progress: Progress) -> None:
        super().__init__()
        self._raw = raw
        self._progress = progress

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  -- the stub's Buffer type is 3.12's
        """Read into ``buffer`` and return the number of bytes."""
        length = self._raw.readinto(buffer)  # type: ignore[attr-defined]  # every binary stream here has it
        self._progress(length)
        return length


class Chunk(NamedTuple):
    """Whole lines at the beginning of a buffer.

    Attributes:
        size: Bytes, the last one a line feed.
        first_line: Number of the first line in the file; the header is line 1.
        lines: Number of lines, counted by their line feeds.
    """

    size: int
    first_line: int
    lines: int


class ChunkReader:
    """Cuts a stream into pieces of whole lines, for several threads that take them in turn.

    A line that is too long is cut off, just enough of it kept to tell that it is.

    Args:
        stream: Uncompressed bytes.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._rest = b""
        self._next_line = 1
        self._is_in_long_line = False
        self._is_stopped = False

    def next_into(self, buffer: bytearray) -> Chunk | None:
        """Fill a buffer of :data:`CHUNK_BYTES` and one byte with the next lines; ``None`` at the end."""
        with self._lock:
            size = 0 if self._is_stopped else self._fill(buffer)
            if not size:
                return None
            text = np.frombuffer(buffer, np.uint8, size)
            piece = Chunk(size, self._next_line, int(np.count_nonzero(text == _LINE_FEED)))
            self._next_line += piece.lines
            return piece

    def stop(self) -> None:
        """Give no more pieces: something went wrong."""
        self._is_stopped = True

    def _fill(self, buffer: bytearray) -> int:
        end, is_last = self._read_after_rest(buffer)
        while self._is_in_long_line and end:
            self._is_in_long_line = (cut := buffer.find(b"\n", 0, end)) < 0
            self._rest = b"" if self._is_in_long_line else bytes(memoryview(buffer)[cut + 1 : end])
            end, is_last = self._read_after_rest(buffer)
        whole = buffer.rfind(b"\n", 0, end) + 1
        tail = end - whole
        self._rest = b""
        if is_last or tail > LONGEST_LINE_BYTES:
            self._is_in_long_line = not is_last
            kept = min(tail, LONGEST_LINE_BYTES + 1)
            if kept:
                buffer[whole + kept] = _LINE_FEED
            return whole + kept + bool(kept)
        self._rest = bytes(memoryview(buffer)[whole:end])
        return whole

    def _read_after_rest(self, buffer: bytearray) -> tuple[int, bool]:
        """Read until the buffer is full but for one byte; return its end and whether the stream ended."""
        view = memoryview(buffer)
        end = len(self._rest)
        view[:end] = self._rest
        while end < CHUNK_BYTES:
            got = self._stream.readinto(view[end:CHUNK_BYTES])  # type: ignore[attr-defined]  # binary streams have it
            if not got:
                return end, True
            end += got
        return end, False

"""Opens and decompresses raw telemetry files, and cuts their text into chunks of complete lines that fit in memory.

See ``header`` for the columns and ``parse`` for the lines.
"""

import io
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from apex_pipeline.errors import FileChangedError
from apex_pipeline.progress import Progress
from apex_pipeline.sources.base import FileIdentity
from apex_pipeline.sources.compression import open_decompressed
from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits

# Large enough that the calls are cheap (750 for 3 GB), small enough that two chunks stay in the CPU cache: parsing
# with 4 MB is 6 % faster than with 8 MB, and with 1 MB it takes more than twice as long.
CHUNK_BYTES = 4_000_000
_LINE_FEED = 10


@dataclass(frozen=True)
class TelemetryFile:
    """A telemetry file, on this machine or in a store.

    Attributes:
        identity: Identity of the file; the suffix of ``identity.path`` shows whether it is compressed.
        open_raw: Opens its bytes as a sequential stream; every call starts at the first byte.
        limits: Limits on its size, lines, cells, columns and nesting.
    """

    identity: FileIdentity
    open_raw: Callable[[], AbstractContextManager[BinaryIO]]
    limits: Limits = DEFAULT_LIMITS

    @property
    def path(self) -> str:
        """Path relative to the source folder."""
        return self.identity.path

    @classmethod
    def from_path(cls, path: Path, identity: FileIdentity) -> "TelemetryFile":
        """Return a local file; its name may contain any characters."""
        return cls(identity, lambda: path.open("rb", buffering=0))

    @contextmanager
    def open_text(self, progress: Progress | None = None) -> Generator[BinaryIO]:
        """Open the file's uncompressed bytes as a stream.

        Args:
            progress: Called with the number of bytes read from the file itself, compressed or not.

        Raises:
            FileChangedError: The file no longer exists.
            MalformedFileError: It cannot be decompressed.
            LimitExceededError: It is too large, or grows too much when it is decompressed.
        """
        try:
            with self.open_raw() as raw:
                counted = cast("BinaryIO", ProgressStream(raw, progress)) if progress else raw
                with open_decompressed(counted, self.identity.path, self.limits) as stream:
                    yield stream
        except FileNotFoundError:
            raise FileChangedError(
                f"{self.identity.path} was deleted during the sync.", "Run the sync again."
            ) from None


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
    """Complete lines at the start of a buffer.

    Attributes:
        size: Number of bytes; the last one is a line feed.
        first_line: Number of the first line in the file; the header is line 1.
        lines: Number of lines, counted by their line feeds.
    """

    size: int
    first_line: int
    lines: int


class ChunkReader:
    """Cuts a stream into chunks of complete lines, for several threads that take turns.

    A line that is too long is truncated to one byte more than the limit, so that the parser rejects it.

    Args:
        stream: Uncompressed bytes.
        longest_line: Maximum length of a line in bytes, at most half of :data:`CHUNK_BYTES`.
    """

    def __init__(self, stream: BinaryIO, longest_line: int = DEFAULT_LIMITS.line_bytes) -> None:
        from apex_pipeline.sources.gr_cup.telemetry.kernels.line_feeds import (  # noqa: PLC0415 -- see ``kernels``
            count_line_feeds,
        )

        self._count_line_feeds = count_line_feeds
        self._stream = stream
        self._longest_line = longest_line
        self._lock = threading.Lock()
        self._rest = b""
        self._next_line = 1
        self._is_in_long_line = False
        self._is_stopped = False

    def next_into(self, buffer: bytearray) -> Chunk | None:
        """Fill a buffer of at least :data:`CHUNK_BYTES` + 1 bytes with the next lines; return ``None`` at the end."""
        with self._lock:
            size = 0 if self._is_stopped else self._fill(buffer)
            if not size:
                return None
            lines = self._count_line_feeds(np.frombuffer(buffer, np.uint8, size))
            chunk = Chunk(size, self._next_line, lines)
            self._next_line += chunk.lines
            return chunk

    def stop(self) -> None:
        """Stop returning chunks, because a thread failed."""
        self._is_stopped = True

    def _fill(self, buffer: bytearray) -> int:
        end, is_last = self._read_after_rest(buffer)
        while self._is_in_long_line and end:
            self._is_in_long_line = (cut := buffer.find(b"\n", 0, end)) < 0
            self._rest = b"" if self._is_in_long_line else bytes(memoryview(buffer)[cut + 1 : end])
            end, is_last = self._read_after_rest(buffer)
        complete = buffer.rfind(b"\n", 0, end) + 1
        tail = end - complete
        self._rest = b""
        if is_last or tail > self._longest_line:
            self._is_in_long_line = not is_last
            kept = min(tail, self._longest_line + 1)
            if kept:
                buffer[complete + kept] = _LINE_FEED
            return complete + kept + bool(kept)
        self._rest = bytes(memoryview(buffer)[complete:end])
        return complete

    def _read_after_rest(self, buffer: bytearray) -> tuple[int, bool]:
        """Fill the buffer except for its last byte; return the end of the text and whether the stream ended."""
        view = memoryview(buffer)
        end = len(self._rest)
        view[:end] = self._rest
        while end < CHUNK_BYTES:
            count = self._stream.readinto(view[end:CHUNK_BYTES])  # type: ignore[attr-defined]  # binary streams have it
            if not count:
                return end, True
            end += count
        return end, False

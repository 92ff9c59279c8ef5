"""Contains the read-only streams of the stores: ranges, verified sequential reads and opened objects.

``s3/reader.py`` uses them. See ``sources/gr_cup/telemetry/chunks.py`` for counting the bytes of a telemetry file, which
is separate because sources must not import ``storage``.
"""

import hashlib
import io
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO, Protocol, runtime_checkable

from apex_pipeline.progress import Progress

# On an ordinary connection, fetching 256 KiB takes about as long as fetching 1 byte. Sequential reads fetch this much
# ahead, which saves many small requests; a reader that seeks (Parquet: the end of the file, then a few columns) gets
# exactly the ranges it requests.
READ_AHEAD_BYTES = 256 * 1024
# Ranges that are needed at once are fetched together if no more than this, or one unit, lies between them: that costs
# less than another request, and one lap of four channels still takes less than a twentieth of its file.
_GAP_BYTES = 16 * 1024
# Requests for the ranges of one reader at a time, and the bytes of them that are held in memory; a reader that needs
# more gets the rest as it reads.
_PARALLEL_RANGES = 4
_MOST_PREFETCHED_BYTES = 8 * 1024**2
# One block is processed while the next one is fetched. At 100 MB/s a latency of 50 ms is a third of the transfer time
# of 16 MB, and fetching ahead hides it; the cost is two blocks in memory.
STREAM_BLOCK_BYTES = 16 * 1024**2


class ReadOnlyStream(io.RawIOBase):
    """A binary stream for reading; subclasses implement ``read``, and ``seekable``, ``seek`` and ``tell`` as needed."""

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most ``size`` bytes, or everything up to the end; empty only at the end."""
        raise NotImplementedError

    def readall(self) -> bytes:
        """Return everything up to the end."""
        return self.read()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  -- the stub's Buffer type is 3.12's
        """Read into ``buffer`` and return the number of bytes."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


@runtime_checkable
class Prefetching(Protocol):
    """A stream that can fetch several ranges before they are read."""

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch ranges, given as start and length."""
        ...


class RangedReader(ReadOnlyStream):
    """A seekable stream over an object of known size, with as few range requests as possible.

    Args:
        fetch: Returns exactly ``length`` bytes from ``start``.
        size: Object size in bytes.
        unit: Alignment in bytes: every fetch starts and ends at a multiple (or at the end), so it can be verified.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, unit: int = 1) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._unit = unit
        self._position = 0
        self._block = b""
        self._block_start = 0
        self._prefetched: list[tuple[int, bytes]] = []

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch ranges at once, so that reading them sends no request; too many bytes are left to be read one by one.

        Args:
            ranges: Start and length of each.
        """
        spans = self._joined(ranges)
        if sum(end - start for start, end in spans) > _MOST_PREFETCHED_BYTES:
            return
        if len(spans) == 1:
            contents = [self._fetch(spans[0][0], spans[0][1] - spans[0][0])]
        else:
            with ThreadPoolExecutor(_PARALLEL_RANGES) as pool:
                contents = list(pool.map(lambda span: self._fetch(span[0], span[1] - span[0]), spans))
        self._prefetched = [(start, content) for (start, _), content in zip(spans, contents, strict=True)]

    def _joined(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return start and end of what has to be fetched, aligned, and joined where little lies between two ranges."""
        spans: list[tuple[int, int]] = []
        for start, length in sorted(ranges):
            first, end = self._aligned(start, length)
            if spans and first <= spans[-1][1] + max(_GAP_BYTES, self._unit):
                spans[-1] = spans[-1][0], max(spans[-1][1], end)
            elif length:
                spans.append((first, end))
        return spans

    def _aligned(self, start: int, length: int) -> tuple[int, int]:
        return start // self._unit * self._unit, min(-(-(start + length) // self._unit) * self._unit, self._size)

    def seekable(self) -> bool:
        """Return ``True``."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move without fetching anything.

        Raises:
            ValueError: The position would be negative.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} is before the start")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end of the object."""
        left = max(0, self._size - self._position)
        length = left if size is None or size < 0 else min(size, left)
        for first, content in self._prefetched:
            if first <= self._position and self._position + length <= first + len(content):
                start = self._position - first
                self._position += length
                return content[start : start + length]
        start = self._position - self._block_start
        if start < 0 or start + length > len(self._block):
            continues = 0 <= start <= len(self._block)
            self._fill(min(max(length, READ_AHEAD_BYTES), left) if continues else length)
            start = self._position - self._block_start
        self._position += length
        return self._block[start : start + length]

    def _fill(self, length: int) -> None:
        start, end = self._aligned(self._position, length)
        self._block = self._fetch(start, end - start) if length else b""
        self._block_start = start if length else self._position


class VerifiedStream(ReadOnlyStream):
    """A sequential stream over a large object that fetches one block ahead and verifies the digest at the end.

    Args:
        fetch: Returns exactly ``length`` bytes from ``start``; called in another thread.
        size: Object size in bytes.
        unit: Alignment in bytes: every fetch starts and ends at a multiple (or at the end), so it can be verified.
        verify: Called at the end with the SHA-256 of all bytes; raises if it differs from the recorded one.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, unit: int, verify: Callable[[str], None]) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._verify = verify
        self._block_bytes = max(1, STREAM_BLOCK_BYTES // unit) * unit
        self._digest = hashlib.sha256()
        self._block = memoryview(b"")
        self._requested = 0
        self._ahead: Future[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most ``size`` bytes of the current block, or everything; empty only once all bytes are verified.

        Raises:
            StoreCorruptionError: The bytes differ from the recorded digest.
            FileChangedError: The object was replaced or deleted in the meantime.
            StoreUnavailableError: The store can no longer be reached.
        """
        if size is None or size < 0:
            return b"".join(iter(partial(self.read, self._block_bytes), b""))
        if not self._block and not self._next_block():
            return b""
        content, self._block = self._block[:size], self._block[size:]
        return bytes(content)

    def close(self) -> None:
        """Stop fetching."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        super().close()

    def _next_block(self) -> bool:
        if self._ahead is None:
            self._request()
        content = self._ahead.result() if self._ahead else b""
        self._block = memoryview(content)
        self._request()
        self._digest.update(content)
        if not content:
            self._verify(self._digest.hexdigest())
        return bool(content)

    def _request(self) -> None:
        length = min(self._block_bytes, self._size - self._requested)
        self._ahead = self._thread.submit(self._fetch, self._requested, length) if length else None
        self._requested += length


class ObjectStream(ReadOnlyStream):
    """An opened object as a seekable stream that reports its reads and releases the object when it is closed.

    Args:
        opened: Context manager of the underlying stream.
        progress: Called with the length of every read.
    """

    def __init__(self, opened: AbstractContextManager[BinaryIO], progress: Progress = lambda _: None) -> None:
        super().__init__()
        self._opened = opened
        self._stream = opened.__enter__()
        self._progress = progress

    def seekable(self) -> bool:
        """Return ``True``."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        return self._stream.seek(offset, whence)

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch ranges before they are read, if the stream under it can."""
        if isinstance(self._stream, Prefetching):
            self._stream.prefetch(ranges)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next ``size`` bytes, or everything up to the end."""
        content = self._stream.read(-1 if size is None else size)
        self._progress(len(content))
        return content

    def close(self) -> None:
        """Release the object."""
        if not self.closed:
            self._opened.__exit__(None, None, None)
        super().close()

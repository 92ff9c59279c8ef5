"""An S3 object as a seekable stream that fetches only what is read.

Here belongs turning ``seek`` and ``read`` into as few ranged requests as possible. The requests themselves are made by
``reading.py``.
"""

import io
from collections.abc import Callable

# 256 KiB take about as long to fetch as 1 byte on an ordinary connection. They are fetched ahead for a reader that goes
# on where it stopped, and makes one request of many small pieces; one that jumps about (Parquet: the end of the file,
# then a few columns) gets what it asks for and no more.
READ_AHEAD_BYTES = 256 * 1024


class RangedReader(io.RawIOBase):
    """A read-only stream over an object of known size.

    Args:
        fetch: Returns exactly ``length`` bytes from ``start``.
        size: Bytes of the object.
        unit: Every fetch begins and ends at a multiple of this (or at the end): what ``fetch`` can check by itself.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, unit: int = 1) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._unit = unit
        self._position = 0
        self._block = b""
        self._block_start = 0

    def readable(self) -> bool:
        """Say that the stream can be read."""
        return True

    def seekable(self) -> bool:
        """Say that the stream can be moved in."""
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
        start = self._position - self._block_start
        if start < 0 or start + length > len(self._block):
            goes_on = 0 <= start <= len(self._block)
            self._fill(min(max(length, READ_AHEAD_BYTES), left) if goes_on else length)
            start = self._position - self._block_start
        self._position += length
        return self._block[start : start + length]

    def readall(self) -> bytes:
        """Return everything up to the end."""
        return self.read()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  -- the stub's Buffer type is 3.12's
        """Read into ``buffer`` and return the number of bytes."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _fill(self, length: int) -> None:
        start = self._position // self._unit * self._unit
        end = min(-(-(self._position + length) // self._unit) * self._unit, self._size)
        self._block = self._fetch(start, end - start) if length else b""
        self._block_start = start if length else self._position


__all__ = ["READ_AHEAD_BYTES", "RangedReader"]

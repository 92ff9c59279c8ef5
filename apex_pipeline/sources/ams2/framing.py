"""Cuts a decompressed recording into datagrams, by the length in front of each.

Two framings: the plain one (length u32) and that of ``.ams2rec`` files (magic, then milliseconds u32 and length u16).
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.ams2.limits import DEFAULT_LIMITS, RecordingLimits

MAGIC = b"AMS2REC1"

# Bytes handled at a time: 5,000 datagrams, so the cost per batch is small against the cost per datagram.
_BATCH_BYTES = 4_000_000


@dataclass(frozen=True)
class Frames:
    """Datagrams in the order of the recording.

    Attributes:
        data: The bytes that hold them.
        starts: Where each begins in ``data``; shape (datagrams,).
        sizes: Bytes of each; shape (datagrams,).
    """

    data: bytes
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


class Framer:
    """Finds the datagrams of a recording.

    Args:
        limits: Which lengths a datagram can have.

    Attributes:
        notes: Why it ended before the end of the bytes, one clause each; complete after :meth:`frames` has ended.
        unread_bytes: Bytes after that end.
    """

    def __init__(self, limits: RecordingLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._prefix = struct.Struct("<I")
        self._offset = 0
        self._is_broken = False
        self.notes: list[str] = []
        self.unread_bytes = 0

    def frames(self, chunks: Iterable[bytes]) -> Iterator[Frames]:
        """Yield the datagrams, some 4 MB at a time.

        After a length that cannot be, nothing can be found any more; the rest is still read, because its size is
        limited and may be the point.
        """
        pending: list[bytes] = []
        size = 0
        for chunk in chunks:
            pending.append(chunk)
            size += len(chunk)
            if self._is_broken:
                self.unread_bytes += len(chunk)
                pending.clear()
            elif size >= _BATCH_BYTES:
                frames, rest = self._cut(b"".join(pending))
                pending, size = [rest], len(rest)
                yield frames
        if not self._is_broken:
            frames, rest = self._cut(b"".join(pending))
            yield frames
            if rest and not self._is_broken:
                self.notes.append(f"truncated at byte {self._offset}")
                self.unread_bytes = len(rest)

    def _cut(self, data: bytes) -> tuple[Frames, bytes]:
        """Return the whole datagrams at the front of some bytes, and the bytes after them."""
        position = 0
        if not self._offset and data.startswith(MAGIC):
            self._prefix = struct.Struct("<4xH")
            position = len(MAGIC)
        starts, sizes, position = self._walk(data, position)
        self._offset += position
        if self._is_broken:
            self.unread_bytes = len(data) - position
        return Frames(data, np.array(starts, np.int64), np.array(sizes, np.int64)), data[position:]

    def _walk(self, data: bytes, position: int) -> tuple[list[int], list[int], int]:
        starts: list[int] = []
        sizes: list[int] = []
        unpack, width = self._prefix.unpack_from, self._prefix.size
        shortest, longest = self._limits.shortest_datagram, self._limits.longest_datagram
        end = len(data)
        while position + width <= end:
            (size,) = unpack(data, position)
            start = position + width
            if not shortest <= size <= longest:
                if data.startswith(MAGIC, position):  # the next of several recordings in one file
                    position += len(MAGIC)
                    continue
                self._is_broken = True
                self.notes.append(f"truncated at byte {self._offset + position}, where a length of {size} cannot be")
                break
            if start + size > end:
                break
            starts.append(start)
            sizes.append(size)
            position = start + size
        return starts, sizes, position

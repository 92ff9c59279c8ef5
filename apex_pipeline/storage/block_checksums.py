"""Contains per-block checksums, stored in an object's metadata so that any range of it can be verified.

A store verifies what it receives, and a reader of a complete object can compare its digest. Neither verifies the bytes
of a *range*: a flipped bit in such a reply would go unnoticed.

Why not a library: S3 keeps checksums of complete objects and of parts only, and zlib in Python 3.11 cannot combine two
CRC32 values, which takes 40 lines here.
"""

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache

# S3 allows 2 KB of metadata per object; 258 checksums of 4 bytes are 1,376 characters in base64.
_MAX_BLOCKS = 256
# Transferring 16 KiB takes about as long as 1 byte; smaller blocks would not make reading faster.
SMALLEST_BLOCK_BYTES = 16 * 1024
# The page size of memory and of most disks; block sizes are multiples of it.
_PAGE_BYTES = 4096
# The head has a separate checksum, because files are identified by their first bytes alone.
START_BYTES = 64 * 1024
# The polynomial of CRC32 (ISO 3309), lowest power in the most significant bit.
_POLYNOMIAL = 0xEDB88320


@dataclass(frozen=True)
class BlockChecksums:
    """CRC32 checksums (``zlib.crc32``, the one S3 calls CRC32) of an object.

    Attributes:
        block_bytes: Size of the blocks; the last may be shorter.
        whole: Checksum of the complete object.
        start: Checksum of the first :data:`START_BYTES`, or of all bytes if there are fewer.
        blocks: Checksums of the blocks, in order; empty for an empty object.
    """

    block_bytes: int
    whole: int
    start: int
    blocks: tuple[int, ...]

    def to_text(self) -> str:
        """Return the checksums as ASCII text, short enough for an object's metadata."""
        encoded = struct.pack(f">{2 + len(self.blocks)}I", self.whole, self.start, *self.blocks)
        return f"{self.block_bytes}:{base64.b64encode(encoded).decode()}"

    def damaged_block(self, start: int, content: bytes, size: int) -> int | None:
        """Return the offset of the first block whose checksum differs, or ``None`` if all match.

        Args:
            start: Offset of ``content`` in the object; a multiple of the block size.
            content: Bytes from there; an incomplete block at the end is not checked.
            size: Object size in bytes; the last block may be shorter.
        """
        view = memoryview(content)
        for offset in range(0, len(content), self.block_bytes):
            block = view[offset : offset + self.block_bytes]
            is_complete = len(block) == self.block_bytes or start + len(content) == size
            if is_complete and zlib.crc32(block) != self.blocks[(start + offset) // self.block_bytes]:
                return start + offset
        return None


def block_bytes_of(size: int) -> int:
    """Return the block size for an object of this size: as small as possible, since ranges are read in whole blocks."""
    return max(SMALLEST_BLOCK_BYTES, -(-size // (_MAX_BLOCKS * _PAGE_BYTES)) * _PAGE_BYTES)


class BlockChecksumBuilder:
    """Computes the checksums of an object from its bytes in order, in pieces of any size.

    Args:
        size: Object size in bytes.
    """

    def __init__(self, size: int) -> None:
        self._block_bytes = block_bytes_of(size)
        self._start = self._block = 0
        self._position = 0
        self._blocks: list[int] = []

    def update(self, content: bytes) -> None:
        """Add the next bytes."""
        view = memoryview(content)
        self._start = zlib.crc32(view[: max(0, START_BYTES - self._position)], self._start)
        while view:
            piece = view[: self._block_bytes - self._position % self._block_bytes]
            self._block = zlib.crc32(piece, self._block)
            self._position += len(piece)
            view = view[len(piece) :]
            if self._position % self._block_bytes == 0:
                self._blocks.append(self._block)
                self._block = 0

    @property
    def sums(self) -> BlockChecksums:
        """Checksums of the bytes so far."""
        incomplete = self._position % self._block_bytes
        whole = 0
        if len(self._blocks) > 1:
            tables = _tables(self._block_bytes)
            for block in self._blocks:
                whole = _append_bytes(tables, whole) ^ block
        else:
            whole = sum(self._blocks)
        whole = combine_crc32(whole, self._block, incomplete)
        return BlockChecksums(
            self._block_bytes, whole, self._start, (*self._blocks, *([self._block] if incomplete else []))
        )


def sums_of(content: bytes) -> BlockChecksums:
    """Return the checksums of an object in memory."""
    builder = BlockChecksumBuilder(len(content))
    builder.update(content)
    return builder.sums


def combine_crc32(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC32 of two concatenated pieces from the CRC32 of each, without their bytes.

    A CRC32 is the remainder of a polynomial over GF(2); appending n bytes multiplies it by x to the power of 8n.

    Args:
        first: CRC32 of the first piece.
        second: CRC32 of the second piece.
        second_bytes: Length of the second piece.
    """
    return _times(_power(8 * second_bytes), first) ^ second if first else second


def _append_bytes(tables: tuple[list[int], ...], crc: int) -> int:
    """Return the CRC32 after appending the number of bytes that the tables were computed for."""
    low, second, third, high = tables
    return low[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ high[crc >> 24]


# Most objects are below 4 MiB and share one block size; computing the tables takes 1 ms, each use of them 1 µs.
@lru_cache(maxsize=32)
def _tables(appended_bytes: int) -> tuple[list[int], ...]:
    """Return lookup tables, one per byte of a CRC32, for appending bytes; the operation is linear in its bits."""
    power = _power(8 * appended_bytes)
    return tuple([_times(power, byte << shift) for byte in range(256)] for shift in (0, 8, 16, 24))


def _times(a: int, b: int) -> int:
    """Multiply two polynomials modulo that of CRC32; bit 31 is the coefficient of x to the power of 0."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


@cache
def _power(exponent: int) -> int:
    """Return x to the power of ``exponent`` modulo the polynomial of CRC32."""
    result, square = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            result = _times(square, result)
        square = _times(square, square)
        exponent >>= 1
    return result


def parse_sums(text: str | None, size: int) -> BlockChecksums | None:
    """Parse the checksums in an object's metadata.

    Args:
        text: Output of :meth:`BlockChecksums.to_text`; ``None`` if the metadata has none.
        size: Object size in bytes.

    Returns:
        The checksums; ``None`` if there are none, or if they do not fit an object of this size.
    """
    if not text:
        return None
    try:
        head, _, encoded = text.partition(":")
        numbers = [number for (number,) in struct.iter_unpack(">I", base64.b64decode(encoded, validate=True))]
        block_bytes, whole, start, blocks = int(head), numbers[0], numbers[1], tuple(numbers[2:])
    except (ValueError, IndexError, binascii.Error, struct.error):
        return None
    expected = block_bytes_of(size)
    if block_bytes != expected or len(blocks) != -(-size // expected):
        return None
    return BlockChecksums(block_bytes, whole, start, blocks)

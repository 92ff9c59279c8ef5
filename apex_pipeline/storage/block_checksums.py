"""Checksums of an object's blocks, carried in its metadata, so that any part of it can be checked.

A store checks what it receives, and a reader of a whole object can compare its digest. Nobody checks the bytes of a
*range*: a bit that flips in such a reply goes unnoticed. Here belong the sums, their text form and the check.

Why not a library: S3 keeps checksums of whole objects and of parts only, and zlib in Python 3.11 cannot combine two
CRC32 values, which takes 40 lines here.
"""

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache

# S3 allows 2 KB of metadata per object; 258 sums of 4 bytes are 1,376 characters.
_MOST_BLOCKS = 256
# About as long on the way as 1 byte is; smaller blocks would not make reading quicker.
SMALLEST_BLOCK_BYTES = 16 * 1024
# A page of memory and of most disks: blocks are whole pages.
_PAGE_BYTES = 4096
# The first bytes have a sum of their own: what a file is, is told by its start.
START_BYTES = 64 * 1024
# The polynomial of CRC32 (ISO 3309), lowest power in the highest bit.
_POLYNOMIAL = 0xEDB88320


@dataclass(frozen=True)
class BlockChecksums:
    """CRC32s (``zlib.crc32``, the one S3 calls CRC32) of an object.

    Attributes:
        block_bytes: Size of the blocks; the last may be shorter.
        whole: Sum of the whole object.
        start: Sum of the first :data:`START_BYTES`, or of all if there are fewer.
        blocks: Sums of the blocks, in order; none of an empty object.
    """

    block_bytes: int
    whole: int
    start: int
    blocks: tuple[int, ...]

    def to_text(self) -> str:
        """Return the sums as ASCII, short enough for an object's metadata."""
        packed = struct.pack(f">{2 + len(self.blocks)}I", self.whole, self.start, *self.blocks)
        return f"{self.block_bytes}:{base64.b64encode(packed).decode()}"

    def damaged_block(self, start: int, content: bytes, size: int) -> int | None:
        """Return the position of the first block that differs, ``None`` if none does.

        Args:
            start: Where ``content`` begins in the object; the beginning of a block.
            content: Bytes from there; a block that is not whole at their end is not looked at.
            size: Bytes of the object, whose last block may be shorter.
        """
        view = memoryview(content)
        for offset in range(0, len(content), self.block_bytes):
            block = view[offset : offset + self.block_bytes]
            is_whole = len(block) == self.block_bytes or start + len(content) == size
            if is_whole and zlib.crc32(block) != self.blocks[(start + offset) // self.block_bytes]:
                return start + offset
        return None


def block_bytes_of(size: int) -> int:
    """Return how large the blocks of an object of this size are: the less is read beside what is wanted, the better."""
    return max(SMALLEST_BLOCK_BYTES, -(-size // (_MOST_BLOCKS * _PAGE_BYTES)) * _PAGE_BYTES)


class BlockChecksumBuilder:
    """Takes an object's bytes in order, in pieces of any size, and gives its sums.

    Args:
        size: Bytes of the object.
    """

    def __init__(self, size: int) -> None:
        self._block_bytes = block_bytes_of(size)
        self._start = self._block = 0
        self._position = 0
        self._blocks: list[int] = []

    def update(self, content: bytes) -> None:
        """Take the next bytes."""
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
        """The sums of what was taken."""
        unfinished = self._position % self._block_bytes
        whole = 0
        if len(self._blocks) > 1:
            tables = _tables(self._block_bytes)
            for block in self._blocks:
                whole = _looked_up(tables, whole) ^ block
        else:
            whole = sum(self._blocks)
        whole = combine_crc32(whole, self._block, unfinished)
        return BlockChecksums(
            self._block_bytes, whole, self._start, (*self._blocks, *([self._block] if unfinished else []))
        )


def sums_of(content: bytes) -> BlockChecksums:
    """Return the sums of an object in memory."""
    summer = BlockChecksumBuilder(len(content))
    summer.update(content)
    return summer.sums


def combine_crc32(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC32 of two pieces one after the other from the CRC32 of each, without their bytes.

    A CRC32 is the remainder of a polynomial over GF(2); appending n bytes multiplies it by x to the power of 8n.

    Args:
        first: CRC32 of the first piece.
        second: CRC32 of the second piece.
        second_bytes: Length of the second piece.
    """
    return _times(_power(8 * second_bytes), first) ^ second if first else second


def _looked_up(tables: tuple[list[int], ...], crc: int) -> int:
    """Return what a CRC32 becomes by as many bytes as the tables are for, appended behind it."""
    low, second, third, high = tables
    return low[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ high[crc >> 24]


# Most objects are below 4 MiB and have blocks of one size; making the tables takes 1 ms, each use of them 1 µs.
@lru_cache(maxsize=32)
def _tables(appended_bytes: int) -> tuple[list[int], ...]:
    """Return what each byte of a CRC32 becomes by so many bytes appended: the operation is linear in its bits."""
    power = _power(8 * appended_bytes)
    return tuple([_times(power, byte << shift) for byte in range(256)] for shift in (0, 8, 16, 24))


def _times(a: int, b: int) -> int:
    """Multiply two polynomials modulo the CRC32's, bit 31 standing for x to the power of 0."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


@cache
def _power(exponent: int) -> int:
    """Return x to the power of ``exponent`` modulo the CRC32's polynomial."""
    result, square = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            result = _times(square, result)
        square = _times(square, square)
        exponent >>= 1
    return result


def parse_sums(text: str | None, size: int) -> BlockChecksums | None:
    """Read sums from an object's metadata.

    Args:
        text: What :meth:`BlockChecksums.to_text` made; ``None`` where the object carries none.
        size: Bytes of the object.

    Returns:
        The sums; ``None`` where there are none, or none that belong to an object of this size.
    """
    if not text:
        return None
    try:
        head, _, packed = text.partition(":")
        numbers = [number for (number,) in struct.iter_unpack(">I", base64.b64decode(packed, validate=True))]
        block_bytes, whole, start, blocks = int(head), numbers[0], numbers[1], tuple(numbers[2:])
    except (ValueError, IndexError, binascii.Error, struct.error):
        return None
    expected = block_bytes_of(size)
    if block_bytes != expected or len(blocks) != -(-size // expected):
        return None
    return BlockChecksums(block_bytes, whole, start, blocks)

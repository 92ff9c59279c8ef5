"""Makes hostile files for the tests: bombs, endless lines and archives that need too much memory."""

import gzip
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

_ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_SMALLEST_WINDOW_LOG = 10


def gzip_bomb(chunk: bytes, size: int, start: bytes = b"") -> Iterator[bytes]:
    """Yield the parts of a gzip file that unpacks to a start and at least ``size`` bytes, in concatenated members."""
    yield gzip.compress(start, mtime=0)
    member = gzip.compress(chunk, 6, mtime=0)
    yield from itertools.repeat(member, -(-size // len(chunk)))


def one_gzip_member(chunk: bytes, size: int, start: bytes = b"") -> Iterator[bytes]:
    """Yield the parts of a gzip file with the same content in a single member."""
    yield bytes.fromhex("1f8b08000000000000ff") + _deflate_block(start)
    block, checksum, length = _deflate_block(chunk), zlib.crc32(start), len(start)
    for _ in range(-(-size // len(chunk))):
        yield block
        checksum, length = zlib.crc32(chunk, checksum), length + len(chunk)
    yield zlib.compressobj(wbits=-15).flush() + struct.pack("<LL", checksum, length % 2**32)


def _deflate_block(content: bytes) -> bytes:
    """Compress a content so that it may follow any other: it refers to nothing before it."""
    packer = zlib.compressobj(6, wbits=-15)
    return packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)


def zstd_bomb(chunk: bytes, size: int, start: bytes = b"") -> Iterator[bytes]:
    """Yield the parts of a zstd file that unpacks to a start and at least ``size`` bytes, in concatenated frames."""
    yield pa.compress(start, codec="zstd", asbytes=True)
    frame = pa.compress(chunk, codec="zstd", asbytes=True)
    yield from itertools.repeat(frame, -(-size // len(chunk)))


def zstd_frame_with_window(log: int, content: bytes) -> bytes:
    """Return a zstd frame of one uncompressed block that declares a window of 2 ** ``log`` bytes (``zstd --long``)."""
    window = bytes([(log - _SMALLEST_WINDOW_LOG) << 3])
    block = (1 | len(content) << 3).to_bytes(3, "little")
    return _ZSTD_MAGIC + b"\0" + window + block + content


def write_parts(path: Path, parts: Iterable[bytes]) -> Path:
    """Write the parts of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(parts)
    return path

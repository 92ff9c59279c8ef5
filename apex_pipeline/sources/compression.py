"""Compressed raw files: ``.csv.gz`` and ``.csv.zst`` are read as the CSV file inside.

Here belongs unpacking, by the ending of the name. Compressing is ``upload/compression.py``; the first bytes alone,
whose end is missing, are unpacked in ``gr_cup/discovery/sniff.py``.
"""

import gzip
import io
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO, Literal, cast

import pyarrow as pa

from apex_pipeline.errors import MalformedFileError

_UNPACKED_BYTES = 1_000_000


def compression_of(path: str) -> Literal["gzip", "zstd"] | None:
    """Return how a file of this name is compressed, or ``None`` if it is not."""
    ending = PurePosixPath(path.lower()).suffix
    return "gzip" if ending == ".gz" else "zstd" if ending == ".zst" else None


@contextmanager
def open_decompressed(raw: BinaryIO, path: str) -> Generator[BinaryIO]:
    """Give the uncompressed bytes of a file, front to back.

    Args:
        raw: The file's own bytes.
        path: Its path; the ending says how it is compressed.

    Raises:
        OSError: In reading: the bytes are not compressed as the name says.
        EOFError: In reading: the end of a gzip file is missing.
        zlib.error: In reading: a gzip file is damaged.
    """
    compression = compression_of(path)
    if compression == "gzip":
        with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
            yield cast("BinaryIO", stream)
    elif compression == "zstd":
        with io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"), _UNPACKED_BYTES) as stream:
            yield stream
    else:
        yield raw


def decompress(content: bytes, path: str) -> bytes:
    """Return the uncompressed bytes of a small file.

    Args:
        content: The file's own bytes.
        path: Its path; the ending says how it is compressed.

    Raises:
        MalformedFileError: The bytes are not compressed as the name says, or damaged.
    """
    try:
        with open_decompressed(io.BytesIO(content), path) as stream:
            return stream.read()
    except (EOFError, OSError, zlib.error) as error:
        raise MalformedFileError(f"{path} cannot be unpacked: {error}.", "Compress it again, or rename it.") from error

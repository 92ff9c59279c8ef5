"""Decompresses raw files (``.csv.gz`` and ``.csv.zst``), chosen by file extension.

See ``upload/compression.py`` for compression, and ``gr_cup/discovery/sniff.py`` for decompressing only the first bytes
of a file.
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

_BUFFER_BYTES = 1_000_000


def compression_of(path: str) -> Literal["gzip", "zstd"] | None:
    """Return the compression that a file name implies, or ``None`` if there is none."""
    suffix = PurePosixPath(path.lower()).suffix
    return "gzip" if suffix == ".gz" else "zstd" if suffix == ".zst" else None


@contextmanager
def open_decompressed(raw: BinaryIO, path: str) -> Generator[BinaryIO]:
    """Open a file as a sequential stream of uncompressed bytes.

    Args:
        raw: The file as stored.
        path: Its path; the extension determines the compression.

    Raises:
        OSError: While reading: the bytes are not in the format that the extension implies.
        EOFError: While reading: the end of a gzip file is missing.
        zlib.error: While reading: a gzip file is damaged.
    """
    compression = compression_of(path)
    if compression == "gzip":
        with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
            yield cast("BinaryIO", stream)
    elif compression == "zstd":
        with io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"), _BUFFER_BYTES) as stream:
            yield stream
    else:
        yield raw


def decompress(content: bytes, path: str) -> bytes:
    """Return the uncompressed bytes of a small file.

    Args:
        content: The file as stored.
        path: Its path; the extension determines the compression.

    Raises:
        MalformedFileError: The bytes are damaged or not in the format that the extension implies.
    """
    try:
        with open_decompressed(io.BytesIO(content), path) as stream:
            return stream.read()
    except (EOFError, OSError, zlib.error) as error:
        raise MalformedFileError(
            f"{path} cannot be decompressed: {error}.", "Compress it again, or rename it."
        ) from error

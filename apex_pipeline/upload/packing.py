"""Compressing text files on their way into the bucket.

Here belongs what is compressed, how, and what its digest would be. Unpacking is ``sources/gr_cup/packed.py``.

The same file always gives the same bytes: gzip's header, which can hold a name and a time, holds neither. What a file
would be compressed is remembered by the digest of its content, so an unchanged file is compressed once and never again.
"""

import gzip
import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO, cast

import pyarrow as pa

from apex_pipeline.storage.disk_errors import disk_errors
from apex_pipeline.storage.fingerprints import Fingerprint, Fingerprints
from apex_pipeline.storage.hashing import BLOCK_BYTES, FileMark, HashingReader
from apex_pipeline.storage.scratch import own_scratch

# What is text and large; pictures, archives and Parquet files are compressed already.
_TEXT_ENDINGS = {".csv", ".json", ".xml"}
# Of 5.7 MB of telemetry level 6 leaves 1/21 at 160 MB/s, level 9 leaves 1/24 at 43 MB/s; zstd leaves 1/21 at 210 MB/s.
_GZIP_LEVEL = 6


class Compression(StrEnum):
    """How text files are compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def ending(self) -> str:
        """What is put behind the name of a compressed file."""
        return {Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}[self]


def is_packable(path: str) -> bool:
    """Tell whether a file of this name is compressed."""
    return PurePosixPath(path).suffix.lower() in _TEXT_ENDINGS


class Packer:
    """Compresses files; may be used by several threads.

    Args:
        compression: How.
        fingerprints: Remembers what compressing gave.
        scratch: Folder in which temporary files are made.
    """

    def __init__(self, compression: Compression, fingerprints: Fingerprints, scratch: Path) -> None:
        self._compression = compression
        self._fingerprints = fingerprints
        self._scratch = scratch

    @property
    def ending(self) -> str:
        """What is put behind the name of a compressed file."""
        return self._compression.ending

    def known_digest(self, source: Fingerprint) -> str | None:
        """Return the digest a file's compressed form has, if a file of this content was compressed before.

        Args:
            source: Digest and size of the uncompressed content.
        """
        return self._fingerprints.known(self._remembered_as(source), _mark_of(source))

    @contextmanager
    def packed(self, path: Path, source: Fingerprint) -> Generator[Path]:
        """Give the compressed file, removed afterwards.

        Args:
            path: The file to compress.
            source: Its digest and size.

        Raises:
            VanishedFileError: The file is gone, or is not what ``source`` says any more.
            SourceError: It cannot be read.
            StoreError: The temporary file cannot be written.
        """
        with TemporaryDirectory(prefix="pack-", dir=own_scratch(self._scratch)) as folder:
            target = Path(folder, f"packed{self.ending}")
            with disk_errors(f"Compressing {path} into {folder}"):
                digest = self._pack(path, source.sha256, target)
            self._fingerprints.remember(self._remembered_as(source), _mark_of(source), digest)
            yield target

    def _pack(self, path: Path, sha256: str, target: Path) -> str:
        with HashingReader(path, sha256) as reader, target.open("xb") as file, self._compressor(file) as stream:
            while block := reader.read(BLOCK_BYTES):
                stream.write(block)
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextmanager
    def _compressor(self, file: BinaryIO) -> Generator[BinaryIO]:
        if self._compression is Compression.ZSTD:
            with pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd") as stream:
                yield stream
        else:
            with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as stream:
                yield cast("BinaryIO", stream)

    def _remembered_as(self, source: Fingerprint) -> Path:
        """Return the name under which the digest is kept: of a file that need not exist, named after its content."""
        return self._scratch / "packed" / f"{source.sha256}{self.ending}"


def _mark_of(source: Fingerprint) -> FileMark:
    return FileMark(source.size, 0, 0)


__all__ = ["Compression", "Packer", "is_packable"]

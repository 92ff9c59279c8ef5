"""Compresses text files on their way into the bucket; see ``sources/compression.py`` for decompression.

The same file always compresses to the same bytes: the gzip header contains neither a name nor a time. The
digest of the compressed file is cached under the digest of its content, so an unchanged file is compressed only once.
"""

import gzip
import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO, cast

from apex_pipeline.storage.digest_cache import DigestCache, FileDigest
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, FileState, HashingReader
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.storage.temp_dirs import process_temp_dir

# Formats of large text files; images, archives and Parquet files are compressed already.
_TEXT_ENDINGS = {".csv", ".json", ".xml"}
# 5.7 MB of telemetry shrink to 1/21 at 160 MB/s with level 6 and to 1/24 at 43 MB/s with level 9; zstd gives 1/21 at
# 210 MB/s.
_GZIP_LEVEL = 6


class Compression(StrEnum):
    """Compression formats for text files."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def ending(self) -> str:
        """Suffix added to the name of a compressed file."""
        return {Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}[self]


def is_compressible(path: str) -> bool:
    """Return whether a file with this name gets compressed."""
    return PurePosixPath(path).suffix.lower() in _TEXT_ENDINGS


class Compressor:
    """Compresses files. Safe to use from several threads.

    Args:
        compression: The format.
        digests: Caches the digests of compressed files.
        scratch: Folder for temporary files.
    """

    def __init__(self, compression: Compression, digests: DigestCache, scratch: Path) -> None:
        self._compression = compression
        self._digests = digests
        self._scratch = scratch
        self.ending = compression.ending

    def known_digest(self, source: FileDigest) -> str | None:
        """Return the digest of the compressed file, if a file with this content was compressed before.

        Args:
            source: Digest and size of the uncompressed content.
        """
        return self._digests.get(self._cache_name(source), FileState(source.size, 0, 0))

    @contextmanager
    def compressed(self, path: Path, source: FileDigest) -> Generator[Path]:
        """Yield the path of the compressed file, which is removed afterwards.

        Args:
            path: The file to compress.
            source: Its digest and size.

        Raises:
            FileChangedError: The file is gone, or its content does not match ``source``.
            SourceError: It cannot be read.
            StoreError: The temporary file cannot be written.
        """
        with TemporaryDirectory(prefix="pack-", dir=process_temp_dir(self._scratch)) as folder:
            target = Path(folder, f"packed{self.ending}")
            with translating_os_errors(f"Compressing {path} into {folder}"):
                digest = self._compress(path, source.sha256, target)
            self._digests.put_trusted(self._cache_name(source), FileState(source.size, 0, 0), digest)
            yield target

    def _compress(self, path: Path, sha256: str, target: Path) -> str:
        with HashingReader(path, sha256) as reader, target.open("xb") as file, self._open_stream(file) as stream:
            while block := reader.read(BLOCK_BYTES):
                stream.write(block)
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextmanager
    def _open_stream(self, file: BinaryIO) -> Generator[BinaryIO]:
        if self._compression is Compression.ZSTD:
            import pyarrow as pa  # noqa: PLC0415  -- takes 0.1 s, and only this needs it

            with pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd") as stream:
                yield stream
        else:
            with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as stream:
                yield cast("BinaryIO", stream)

    def _cache_name(self, source: FileDigest) -> Path:
        """Return the path under which the digest is cached: named after the content; no such file exists."""
        return self._scratch / "packed" / f"{source.sha256}{self.ending}"

"""Reads one event file as it will be sent: its bytes, compressed if wanted, its digest, and whether it is well-formed.

Small files are read once and kept in memory; a file over 8 MiB is only hashed, and sent from the disk in parts.
"""

import gzip
import hashlib
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from apex_pipeline.events.syntax import LARGEST_CHECKED_BYTES, Syntax, check_syntax
from apex_pipeline.sources.events.rotation import raw_name
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader
from apex_pipeline.storage.os_errors import translating_state_errors
from apex_pipeline.storage.s3.upload.limits import PART_BYTES
from apex_pipeline.storage.temp_dirs import process_temp_dir

# zlib's own default. Level 9 costs three times the CPU for 1 % of the size.
_GZIP_LEVEL = 6


@dataclass(frozen=True)
class Content:
    """What is sent for a file.

    Attributes:
        name: The name it is stored under if that is free.
        original_name: The producer's name of it.
        sha256: Digest of the file's own bytes.
        size: Their number.
        body: What is sent: bytes, or a file.
        body_sha256: Digest of what is sent; differs from ``sha256`` if it is compressed.
        body_size: Bytes sent.
        is_wellformed: Whether the file is well-formed; ``None`` if that was not checked.
    """

    name: str
    original_name: str
    sha256: str
    size: int
    body: bytes | Path
    body_sha256: str
    body_size: int
    is_wellformed: bool | None

    @property
    def is_compressed(self) -> bool:
        """Whether the bytes sent are not the file's own."""
        return self.body_sha256 != self.sha256


@contextmanager
def read_content(path: Path, name: str, scratch: Path, *, compresses: bool) -> Generator[Content]:
    """Read a file once, and yield what is to be sent for it.

    Args:
        path: The file.
        name: The producer's name of it.
        scratch: Folder for a large file while it is compressed; created when needed.
        compresses: Whether to compress it with gzip; its name then ends in ``.gz``.

    Raises:
        FileChangedError: The file is gone, or changed while it was read.
        SourceError: It is no regular file, or this user may not read it.
    """
    with HashingReader(path) as reader:
        size = reader.state.size
        is_small = size <= max(PART_BYTES, LARGEST_CHECKED_BYTES)
        content = reader.read() if is_small else b""
        while not is_small and reader.read(BLOCK_BYTES):
            pass
    syntax = check_syntax(name, content) if is_small else Syntax.UNKNOWN
    stored = raw_name(name) if syntax is Syntax.ILL_FORMED else name
    wellformed = None if syntax is Syntax.UNKNOWN else syntax is not Syntax.ILL_FORMED
    body = content if size <= PART_BYTES else path
    plain = Content(stored, name, reader.sha256, size, body, reader.sha256, size, wellformed)
    if compresses and not name.lower().endswith(".gz"):
        with _compressed(plain, path, scratch) as compressed:
            yield compressed
    else:
        yield plain


@contextmanager
def _compressed(plain: Content, path: Path, scratch: Path) -> Generator[Content]:
    """Yield the content compressed; the same bytes give the same result, so that a retry is recognized."""
    if isinstance(plain.body, bytes):
        packed = gzip.compress(plain.body, _GZIP_LEVEL, mtime=0)
        yield _with_body(plain, packed, hashlib.sha256(packed).hexdigest(), len(packed))
        return
    parent = process_temp_dir(scratch)
    with translating_state_errors(f"Creating a folder for a compressed file in {parent}"):
        folder = TemporaryDirectory(prefix="events-", dir=parent)
    with folder:
        target = Path(folder.name, "body.gz")
        with (
            translating_state_errors(f"Compressing {path}"),
            # What is sent must be what was hashed: a producer may still have the file open.
            HashingReader(path, plain.sha256) as reader,
            target.open("wb") as raw,
            gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as writer,
        ):
            shutil.copyfileobj(reader, writer, BLOCK_BYTES)
        with HashingReader(target) as packed_reader:
            while packed_reader.read(BLOCK_BYTES):
                pass
        yield _with_body(plain, target, packed_reader.sha256, packed_reader.state.size)


def _with_body(plain: Content, body: bytes | Path, sha256: str, size: int) -> Content:
    return replace(plain, name=f"{plain.name}.gz", body=body, body_sha256=sha256, body_size=size)

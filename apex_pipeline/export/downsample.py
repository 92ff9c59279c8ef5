"""Writes downsampled copies of race folders: fewer telemetry samples, every other race file unchanged.

Lap triggers are copied completely, so the copy gives the same laps as the original. Each source selects the telemetry
lines to keep; see ``gr_cup/telemetry/downsample.py``.
"""

import gzip
import io
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from apex_pipeline.errors import FileChangedError, MalformedFileError
from apex_pipeline.ingest.source_folder import LocalFile, SourceFolder
from apex_pipeline.sources import sources_named
from apex_pipeline.sources.base import IGNORED_KIND, UNKNOWN_KIND, DownsampleStats, FileIdentity
from apex_pipeline.sources.compression import compression_of
from apex_pipeline.storage.atomic import new_folder, require_apart
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader
from apex_pipeline.storage.os_errors import translating_os_errors

_NOT_RACE_DATA = (IGNORED_KIND, UNKNOWN_KIND)


@dataclass(frozen=True)
class DownsampledFile:
    """A file of a downsampled folder.

    Attributes:
        path: POSIX path relative to the folder, the same in both.
        bytes_in: Size in the source.
        bytes_out: Size in the copy.
        thinned: Rows and samples before and after downsampling; ``None`` for a file that was copied unchanged.
        note: Why telemetry was copied unchanged, else ``None``.
    """

    path: str
    bytes_in: int
    bytes_out: int
    thinned: DownsampleStats | None
    note: str | None


@dataclass(frozen=True)
class DownsampleReport:
    """Contents of a downsampled folder.

    Attributes:
        files: Its files, sorted by path.
        left_out: Path and reason of every source file that was left out, sorted by path.
    """

    files: tuple[DownsampledFile, ...]
    left_out: tuple[tuple[str, str], ...]


def downsample_folder(
    folder: SourceFolder, identities: Iterable[FileIdentity], target: Path, every: int
) -> DownsampleReport:
    """Write a downsampled copy of a race folder.

    Args:
        folder: The race files.
        identities: Identity of each file.
        target: The new folder; it appears only when it is complete.
        every: Keep every Nth sample of each car.

    Raises:
        ConfigurationError: The target exists, or one folder contains the other.
        FileChangedError: A source file was changed or removed during the copy.
        SourceError: A file of the source cannot be read.
        StoreError: The disk refused the target.
    """
    require_apart(target, folder.root)
    known = {item.path: item for item in identities}
    left_out = [*folder.refused]
    files: list[DownsampledFile] = []
    with new_folder(target) as unfinished:
        for file in folder.files:
            identity = known[file.path]
            if identity.kind in _NOT_RACE_DATA:
                left_out.append((file.path, identity.reason or "not race data"))
                continue
            files.append(_write(file, identity, unfinished / file.path, every))
    return DownsampleReport(tuple(files), tuple(sorted(left_out)))


def _write(file: LocalFile, identity: FileIdentity, target: Path, every: int) -> DownsampledFile:
    with translating_os_errors(f"Writing {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
    stats, note = None, None
    try:
        stats = _downsample(file, identity, target, every)
    except MalformedFileError as error:
        note = f"copied unchanged: {error.problem}"
    if stats is None:
        _copy(file, target)
    return DownsampledFile(file.path, file.size, target.stat().st_size, stats, note)


def _downsample(file: LocalFile, identity: FileIdentity, target: Path, every: int) -> DownsampleStats | None:
    source = sources_named([identity.source] if identity.source else [])[0]
    with translating_os_errors(f"Writing {target}"), _compressed(target, compression_of(file.path)) as sink:
        stats = source.downsample(
            identity, lambda: file.local_path.open("rb", buffering=BLOCK_BYTES), every, sink.write
        )
    status = file.local_path.stat()
    if stats and (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
        raise FileChangedError(
            f"{file.path} changed while it was read.", "Run it again once no other program writes to the folder."
        )
    return stats


@contextmanager
def _compressed(target: Path, compression: str | None) -> Generator[BinaryIO]:
    """Open a file for writing, compressed according to its name; equal content gives equal bytes."""
    with target.open("wb") as raw:
        if compression == "gzip":
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as compressed:
                yield cast("BinaryIO", compressed)
        elif compression == "zstd":
            sink = pa.CompressedOutputStream(pa.PythonFile(raw, "w"), "zstd")
            with io.BufferedWriter(sink, BLOCK_BYTES) as compressed:
                yield cast("BinaryIO", compressed)
        else:
            yield raw


def _copy(file: LocalFile, target: Path) -> None:
    with (
        HashingReader(file.local_path) as source,
        translating_os_errors(f"Writing {target}"),
        target.open("wb") as sink,
    ):
        while block := source.read(BLOCK_BYTES):
            sink.write(block)

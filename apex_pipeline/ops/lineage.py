"""Traces a published lap back to its raw rows: file, digest, line and text.

The session's source finds the evidence, using the records of the derivation. See cli/trace.py for the output.
"""

import hashlib
import io
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from apex_pipeline.errors import ConfigurationError, MalformedFileError, StoreCorruptionError
from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.names import find_car
from apex_pipeline.lake.records import RecordedFile, identities_of
from apex_pipeline.lake.tables import require_session, require_snapshot, session_table
from apex_pipeline.sources import sources_named
from apex_pipeline.sources.base import tables_of
from apex_pipeline.sources.cells import masked_line
from apex_pipeline.sources.compression import open_decompressed
from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits
from apex_pipeline.sources.lineage import Evidence, RawRow
from apex_pipeline.sources.text_lines import blocks_of_lines, split_byte_lines
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

# Every real lap and timing file is smaller; such files are read once, larger ones as a stream whenever they are needed.
_KEPT_BYTES = 4_000_000


class RawFiles:
    """The raw files of a session, as recorded when its tables were derived.

    Only lap triggers and official timing are read. Small files stay in memory for the lifetime of this object.

    Args:
        store: The lake.
        files: The session's files.
        limits: Limits within which the files are read.
    """

    def __init__(self, store: ObjectStore, files: Iterable[RecordedFile], limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._store = store
        self._files = {file.path: file for file in files}
        # Files whose digest was checked; the content is None for one that is too large to keep.
        self._contents: dict[str, bytes | None] = {}

    def kind_of(self, path: str) -> str | None:
        """Return the kind of a file; ``None`` for one that is not recorded."""
        return self._files[path].kind if path in self._files else None

    def whole(self, path: str) -> RawRow:
        """Return a reference to an entire file, without line and text."""
        return RawRow(path, self._sha256_of(path), None, None)

    def row(self, path: str, line: int) -> RawRow:
        """Return a row of a file.

        Raises:
            ObjectMissingError: The file is not in the lake.
            StoreCorruptionError: Its content is not the recorded one.
            MalformedFileError: It cannot be decompressed, exceeds a limit or has no such line.
        """
        first = 1
        limits = self.limits.for_lap_file()
        with self.open(path) as stored, open_decompressed(stored, path, limits) as text:
            for block in blocks_of_lines(text, limits.line_bytes):
                lines = split_byte_lines(block)
                if line < first + len(lines):
                    return RawRow(path, self._sha256_of(path), line, masked_line(_text(lines[line - first])))
                first += len(lines)
        raise MalformedFileError(f"{path} has no line {line}.", "Run a sync to derive the session again.")

    def rows(self, places: Iterable[tuple[str, int]]) -> tuple[RawRow, ...]:
        """Return the rows at these paths and lines; errors as for :meth:`row`."""
        return tuple(self.row(path, line) for path, line in places)

    @contextmanager
    def open(self, path: str) -> Generator[BinaryIO]:
        """Open a file as stored, for one sequential read.

        Raises:
            ObjectMissingError: The file is not in the lake.
            StoreCorruptionError: Its content is not the recorded one.
        """
        if path not in self._contents:
            self._contents[path] = self._check(path)
        content = self._contents[path]
        if content is not None:
            yield io.BytesIO(content)
        else:
            with self._store.open_stream(raw_key(path)) as stream:
                yield stream

    def _check(self, path: str) -> bytes | None:
        """Compare a file with its digest in the catalog; return its content if it is small."""
        content = None
        if self._size_of(path) <= _KEPT_BYTES:
            content = self._store.read_bytes(raw_key(path))
            digest = hashlib.sha256(content).hexdigest()
        else:
            with self._store.open_stream(raw_key(path)) as stream:
                digest = _digest_of(stream)
        if self._sha256_of(path) not in {None, digest}:
            raise StoreCorruptionError(
                f"{self._store.uri_of(raw_key(path))} has changed since the published tables were derived.",
                "Run a sync to derive the tables again from the current file.",
            )
        return content

    def _size_of(self, path: str) -> int:
        return self._files[path].bytes if path in self._files else 0

    def _sha256_of(self, path: str) -> str | None:
        return self._files[path].sha256 if path in self._files else None


def _digest_of(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := stream.read(_KEPT_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return line.decode("latin-1")


@dataclass(frozen=True)
class LapTrace:
    """A lap and the raw rows behind it.

    Attributes:
        lap: Its row of ``laps``, with start and end also as ``start_ms`` and ``end_ms``.
        evidence: Start, crossings in between, end, official timing.
    """

    lap: Row
    evidence: tuple[Evidence, ...]


def trace_lap(
    store: ObjectStore, key: SessionKey, car: str, lap_number: int, limits: Limits = DEFAULT_LIMITS
) -> LapTrace:
    """Find the raw rows that a published lap was derived from.

    Args:
        store: The lake.
        key: The session.
        car: Complete vehicle_id, or car number with or without ``#``.
        lap_number: The lap, as numbered in ``laps``.
        limits: Limits within which the raw files are read.

    Raises:
        ConfigurationError: No car or more than one matches, or the car has no such lap.
        ObjectMissingError: The session is not published, or a raw file is missing from the lake.
        StoreCorruptionError: A raw file was replaced after the tables were derived.
    """
    snapshot = require_snapshot(store)
    session = require_session(snapshot, key)
    cars = session_table(store, session, CARS).to_pylist()
    vehicle_id = find_car(cars, car)
    laps = [lap for lap in _with_milliseconds(session_table(store, session, LAPS)) if lap["vehicle_id"] == vehicle_id]
    lap = _require_lap(laps, vehicle_id, lap_number)
    files = session_files(snapshot, session)
    official_laps = session_table(store, session, OFFICIAL_LAPS).to_pylist()
    source = next(source for source in sources_named(session.sources) if LAPS in tables_of(source))
    evidence = source.find_lap_evidence(
        lap, laps, cars, official_laps, identities_of(files, source.name), RawFiles(store, files, limits)
    )
    return LapTrace(lap, tuple(evidence))


def _require_lap(laps: Sequence[Row], vehicle_id: str, number: int) -> Row:
    for lap in laps:
        if lap["lap_number"] == number:
            return lap
    known = f"It has {laps[0]['lap_number']} to {laps[-1]['lap_number']}" if laps else "It has none"
    raise ConfigurationError(f"{vehicle_id} has no lap {number}.", f"{known}; `apex laps` lists them.")


def _with_milliseconds(laps: pa.Table) -> list[Row]:
    """Return the rows with start and end as milliseconds since 1970."""
    starts, ends = (laps[name].cast(pa.int64()).to_pylist() for name in ("lap_start_utc", "lap_end_utc"))
    rows = zip(laps.to_pylist(), starts, ends, strict=True)
    return [{**row, "start_ms": start, "end_ms": end} for row, start, end in rows]

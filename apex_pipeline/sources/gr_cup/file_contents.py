"""What the beginning of a file says about it: the kind its header has, and the session its rows name.

The content is the judge over names and folders. Only the first 64 KiB are looked at, which is every row of most lap
files and 500 rows of telemetry.
"""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.gr_cup.csv_files import Dialect, detect_dialect
from apex_pipeline.sources.gr_cup.files import FileKind

LOOKED_AT_BYTES = 65_536

# Columns that only a file of this kind has. A lap trigger's three kinds share one header.
_TRIGGER_KINDS = frozenset({FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME})
_TRIGGER_COLUMNS = frozenset({"vehicle_id", "lap", "timestamp"})
_MARKS: tuple[tuple[frozenset[FileKind], frozenset[str]], ...] = (
    (frozenset({FileKind.TELEMETRY}), frozenset({"vehicle_id", "timestamp", "telemetry_name", "telemetry_value"})),
    (frozenset({FileKind.SECTIONS}), frozenset({"NUMBER", "LAP_NUMBER", "LAP_TIME"})),
    (frozenset({FileKind.WEATHER}), frozenset({"TIME_UTC_SECONDS", "AIR_TEMP"})),
    (frozenset({FileKind.BEST_LAPS}), frozenset({"NUMBER", "BESTLAP_1"})),
    (frozenset({FileKind.RESULTS_BY_CLASS}), frozenset({"NUMBER", "POS", "PIC"})),
    (frozenset({FileKind.RESULTS}), frozenset({"POSITION", "NUMBER", "STATUS"})),
)


@dataclass(frozen=True)
class FileContents:
    """What the beginning of a file says.

    Attributes:
        kinds: Kinds that have such a header; empty when no known kind has.
        columns: Names in the header.
        sessions: ``meta_session`` and how many of the rows looked at carry it.
        events: The same for ``meta_event``.
        first_day: Day of the first receive time, for messages.
        rows: Rows looked at.
        problem: Why the file cannot be read as CSV; the other fields are empty then.
    """

    kinds: frozenset[FileKind] = frozenset()
    columns: tuple[str, ...] = ()
    sessions: Counter[str] = field(default_factory=Counter[str])
    events: Counter[str] = field(default_factory=Counter[str])
    first_day: str | None = None
    rows: int = 0
    problem: str | None = None


def look_into(start: bytes, path: str) -> FileContents:
    """Return what the first bytes of a file say about it.

    Args:
        start: The first :data:`LOOKED_AT_BYTES` bytes, as stored.
        path: Path of the file; its ending says whether it is compressed.
    """
    try:
        text = _decompress(start, path)
        dialect = detect_dialect(text, path)
    except MalformedFileError as error:
        return FileContents(problem=error.problem)
    lines = text.decode(dialect.encoding, errors="replace").splitlines()[1:]
    if len(start) >= LOOKED_AT_BYTES and len(lines) > 1:
        lines.pop()  # cut off by the end of what was looked at
    rows = [_cells(line, dialect) for line in lines if line.strip()]
    days = sorted(value[:10] for value in _column(rows, dialect, "meta_time"))
    return FileContents(
        kinds=_kinds_with(dialect),
        columns=dialect.columns,
        sessions=Counter(_column(rows, dialect, "meta_session")),
        events=Counter(_column(rows, dialect, "meta_event")),
        first_day=days[0] if days else None,
        rows=len(rows),
    )


def _decompress(start: bytes, path: str) -> bytes:
    """Give the beginning of a compressed file as text; its end is missing, which the decoders are told to bear.

    Raises:
        MalformedFileError: The bytes are not compressed as the name says.
    """
    try:
        if path.lower().endswith(".gz"):
            return zlib.decompressobj(wbits=31).decompress(start, LOOKED_AT_BYTES)
        if path.lower().endswith(".zst"):
            return pa.CompressedInputStream(pa.BufferReader(start), "zstd").read(LOOKED_AT_BYTES)
    except (zlib.error, gzip.BadGzipFile, OSError) as error:
        raise MalformedFileError(
            f"{path} is not compressed as its name says ({error}).", "Compress it again, or rename it."
        ) from error
    return start


def _kinds_with(dialect: Dialect) -> frozenset[FileKind]:
    columns = frozenset(dialect.columns)
    for kinds, mark in _MARKS:
        if mark <= columns:
            return kinds
    if columns >= _TRIGGER_COLUMNS:
        # Telemetry of ten columns looks the same: its ``value`` holds a list of readings.
        return _TRIGGER_KINDS | {FileKind.TELEMETRY} if "value" in columns else _TRIGGER_KINDS
    return frozenset()


def _cells(line: str, dialect: Dialect) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(dialect.delimiter)]


def _column(rows: Iterable[list[str]], dialect: Dialect, name: str) -> list[str]:
    """Return a column's values; text before the names asked for never holds the delimiter in these files."""
    if name not in dialect.columns:
        return []
    index = dialect.columns.index(name)
    return [cells[index] for cells in rows if len(cells) > index and cells[index] and cells[index] != name]


__all__ = ["LOOKED_AT_BYTES", "FileContents", "look_into"]

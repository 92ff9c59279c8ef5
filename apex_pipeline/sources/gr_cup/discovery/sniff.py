"""What the beginning of a file says about it: the kind its header has, and the session its rows name.

The content is the judge over names and folders. Only the first 64 KiB are looked at, which is every row of most lap
files and 500 rows of telemetry.
"""

import csv
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.csv_reader import CsvDialect, detect_dialect, require_text
from apex_pipeline.sources.gr_cup.kinds import FileKind

SNIFFED_BYTES = 65_536

# Columns by which a header is known, the most telling kinds first. A lap trigger's three kinds share one header, and
# telemetry of ten columns, whose ``value`` holds a list of readings, has it too.
_TRIGGER_COLUMNS = frozenset({"vehicle_id", "lap", "timestamp"})
_MARKS: tuple[tuple[FileKind, frozenset[str]], ...] = (
    (FileKind.TELEMETRY, frozenset({"vehicle_id", "timestamp", "telemetry_name", "telemetry_value"})),
    (FileKind.SECTIONS, frozenset({"NUMBER", "LAP_NUMBER", "LAP_TIME"})),
    (FileKind.WEATHER, frozenset({"TIME_UTC_SECONDS", "AIR_TEMP"})),
    (FileKind.BEST_LAPS, frozenset({"NUMBER", "BESTLAP_1"})),
    (FileKind.RESULTS_BY_CLASS, frozenset({"NUMBER", "POS", "PIC"})),
    (FileKind.RESULTS, frozenset({"POSITION", "NUMBER", "STATUS"})),
)
_TRIGGER_KINDS = frozenset({FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME})


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
        is_text: It is text at all; an empty or binary file is not.
    """

    kinds: frozenset[FileKind] = frozenset()
    columns: tuple[str, ...] = ()
    sessions: Counter[str] = field(default_factory=Counter[str])
    events: Counter[str] = field(default_factory=Counter[str])
    first_day: str | None = None
    rows: int = 0
    problem: str | None = None
    is_text: bool = True


def sniff(start: bytes, path: str) -> FileContents:
    """Return what the first bytes of a file say about it.

    Args:
        start: The first :data:`SNIFFED_BYTES` bytes, as stored.
        path: Path of the file; its ending says whether it is compressed.
    """
    try:
        text = _decompress(start, path)
        require_text(text, path)
    except MalformedFileError as error:
        return FileContents(problem=error.problem, is_text=False)
    try:
        dialect = detect_dialect(text, path)
    except MalformedFileError as error:
        return FileContents(problem=error.problem)
    is_cut = max(len(start), len(text)) >= SNIFFED_BYTES
    rows = _rows_of(text, dialect, is_cut=is_cut)
    return FileContents(
        kinds=kinds_for_header(dialect.columns),
        columns=dialect.columns,
        sessions=Counter(_column(rows, dialect, "meta_session")),
        events=Counter(_column(rows, dialect, "meta_event")),
        first_day=min((value[:10] for value in _column(rows, dialect, "meta_time")), default=None),
        rows=len(rows),
    )


def _decompress(start: bytes, path: str) -> bytes:
    """Give the beginning of a compressed file as text; its end is missing, which the decoders are told to bear.

    Raises:
        MalformedFileError: The bytes are not compressed as the name says.
    """
    try:
        if path.lower().endswith(".gz"):
            return zlib.decompressobj(wbits=31).decompress(start, SNIFFED_BYTES)
        if path.lower().endswith(".zst") and start:
            return pa.CompressedInputStream(pa.BufferReader(start), "zstd").read(SNIFFED_BYTES)
    except (zlib.error, OSError) as error:
        raise MalformedFileError(
            f"{path} is not compressed as its name says ({error}).", "Compress it again, or rename it."
        ) from error
    return start


def _rows_of(text: bytes, dialect: CsvDialect, *, is_cut: bool) -> list[list[str]]:
    lines = re.split(r"\r\n|\n|\r", text.decode(dialect.encoding, errors="replace"))[1:]
    if is_cut:
        lines = lines[:-1]
    cells = csv.reader((line for line in lines if line.strip()), delimiter=dialect.delimiter, skipinitialspace=True)
    return [row for row in cells if any(row)]


def _column(rows: list[list[str]], dialect: CsvDialect, name: str) -> list[str]:
    """Return a column's values without empty ones and without headers left inside by concatenating files."""
    if name not in dialect.columns:
        return []
    index = dialect.columns.index(name)
    values = (row[index].strip() for row in rows if len(row) > index)
    return [value for value in values if value not in {"", name}]


def kinds_for_header(columns: tuple[str, ...]) -> frozenset[FileKind]:
    """Return the kinds that have such a header."""
    names = frozenset(columns)
    for kind, mark in _MARKS:
        if mark <= names:
            return frozenset({kind})
    if names >= _TRIGGER_COLUMNS:
        return _TRIGGER_KINDS | {FileKind.TELEMETRY} if "value" in names else _TRIGGER_KINDS
    return frozenset()


def missing_columns(kind: FileKind, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns by which a kind is known and that a header lacks, sorted."""
    mark = _TRIGGER_COLUMNS if kind in _TRIGGER_KINDS else dict(_MARKS)[kind]
    return tuple(sorted(mark - set(columns)))

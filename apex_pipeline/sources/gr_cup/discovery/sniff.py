"""Checks the first bytes of a file: which kinds the header fits, and which sessions the rows name.

Content overrides names and folders. Only the first 64 KiB are read: all rows of most lap files, and 500 rows of
telemetry.
"""

import csv
import json
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.csv_reader import CsvDialect, detect_dialect, require_text
from apex_pipeline.sources.encodings import head_as_utf8, is_utf16
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.known_columns import is_known_column
from apex_pipeline.sources.normalize import normalize_name
from apex_pipeline.sources.session_names import find_session
from apex_pipeline.sources.text_lines import split_lines

SNIFFED_BYTES = 65_536

# Columns that identify a kind, the most specific kinds first. The three kinds of lap file share one header with
# ten-column telemetry, whose ``value`` holds a list of readings.
_TRIGGER_COLUMNS = frozenset({"vehicle_id", "lap", "timestamp", "meta_time"})
_KEY_COLUMNS: tuple[tuple[FileKind, frozenset[str]], ...] = (
    (
        FileKind.TELEMETRY,
        frozenset({"vehicle_id", "lap", "timestamp", "meta_time", "telemetry_name", "telemetry_value"}),
    ),
    (FileKind.SECTIONS, frozenset({"NUMBER", "LAPNUMBER", "LAPTIME"})),  # up to 2019
    (FileKind.SECTIONS, frozenset({"NUMBER", "LAP_NUMBER", "LAP_TIME"})),
    (FileKind.WEATHER, frozenset({"TIME_UTC_SECONDS", "AIR_TEMP"})),
    (FileKind.BEST_LAPS, frozenset({"NUMBER", "BESTLAP_1"})),
    (FileKind.RESULTS_BY_CLASS, frozenset({"NUMBER", "POS", "PIC"})),
    (FileKind.RESULTS, frozenset({"POS", "NUMBER", "LAP", "TIME"})),  # practice and qualifying
    (FileKind.RESULTS, frozenset({"POSITION", "NUMBER", "STATUS"})),
)
# Codes of sessions and events are one word with a digit; anything else may be a name in the wrong column.
_CODE = re.compile(r"(?=.*\d)[\w-]{1,40}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TRIGGER_KINDS = frozenset({FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME})


@dataclass(frozen=True)
class FileContents:
    """Header and first rows of a file.

    Attributes:
        kinds: Kinds that the header fits; empty if it fits none.
        columns: Column names of race files in the header.
        other_columns: Number of other columns; their names are not kept, because they may be data.
        sessions: Number of rows per ``meta_session``.
        events: Number of rows per ``meta_event``.
        first_day: Day of the earliest receive time, for messages.
        rows: Number of rows read.
        problem: Why the file cannot be read as CSV; if set, the fields above are empty.
        is_text: Whether it is text; an empty or binary file is not.
    """

    kinds: frozenset[FileKind] = frozenset()
    columns: tuple[str, ...] = ()
    other_columns: int = 0
    sessions: Counter[str] = field(default_factory=Counter[str])
    events: Counter[str] = field(default_factory=Counter[str])
    first_day: str | None = None
    rows: int = 0
    problem: str | None = None
    is_text: bool = True

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(
            {
                "kinds": sorted(self.kinds),
                "columns": self.columns,
                "other_columns": self.other_columns,
                "sessions": self.sessions,
                "events": self.events,
                "first_day": self.first_day,
                "rows": self.rows,
                "problem": self.problem,
                "is_text": self.is_text,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "FileContents | None":
        """Return the contents from their JSON, or ``None`` if it is not theirs."""
        try:
            values = json.loads(text)
            return cls(
                kinds=frozenset(FileKind(kind) for kind in values["kinds"]),
                columns=tuple(map(str, values["columns"])),
                other_columns=int(values["other_columns"]),
                sessions=Counter(values["sessions"]),
                events=Counter(values["events"]),
                first_day=values["first_day"],
                rows=int(values["rows"]),
                problem=values["problem"],
                is_text=bool(values["is_text"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def sniff(head: bytes, path: str) -> FileContents:
    """Return the kinds, sessions and events found in the first bytes of a file.

    Args:
        head: The first :data:`SNIFFED_BYTES` bytes, as stored.
        path: Path of the file; the extension determines the compression.
    """
    try:
        text = head_as_utf8(_decompress(head, path))
        require_text(text, path)
    except MalformedFileError as error:
        return FileContents(problem=error.problem, is_text=False)
    # UTF-16 takes two bytes per character.
    limit = SNIFFED_BYTES // 2 - 1 if is_utf16(head) else SNIFFED_BYTES
    if len(text) >= limit and not re.search(rb"[\r\n]", text):
        return FileContents(problem=f"{path} has a first line of more than {SNIFFED_BYTES:,} bytes: not a header.")
    try:
        dialect = detect_dialect(text, path)
    except MalformedFileError as error:
        return FileContents(problem=error.problem)
    is_cut = max(len(head), len(text)) >= limit
    rows = _rows_of(text, dialect, is_cut=is_cut)
    days = (value[:10] for value in _column(rows, dialect, "meta_time"))
    return FileContents(
        kinds=kinds_for_header(dialect.columns),
        columns=tuple(name for name in dialect.columns if is_known_column(name)),
        other_columns=sum(not is_known_column(name) for name in dialect.columns if name),
        sessions=Counter(filter(_is_session, _column(rows, dialect, "meta_session"))),
        events=Counter(filter(_CODE.fullmatch, _column(rows, dialect, "meta_event"))),
        first_day=min(filter(_DAY.fullmatch, days), default=None),
        rows=len(rows),
    )


def all_columns(head: bytes, path: str) -> tuple[str, ...]:
    """Return every column name of a file that :func:`sniff` has read.

    Not for messages: without a header, the first line is data, and may name persons.
    """
    return detect_dialect(head_as_utf8(_decompress(head, path)), path).columns


def _decompress(head: bytes, path: str) -> bytes:
    """Decompress the first bytes of a file, at most :data:`SNIFFED_BYTES`; truncated data is not an error.

    Raises:
        MalformedFileError: The bytes are not in the compression format of the file extension.
    """
    try:
        if path.lower().endswith(".gz"):
            return _decompress_gzip(head)
        if path.lower().endswith(".zst") and head:
            return pa.CompressedInputStream(pa.BufferReader(head), "zstd").read(SNIFFED_BYTES)
    except (zlib.error, OSError) as error:
        if "too much memory" in str(error):
            problem = f"{path} needs too much memory to decompress; it was compressed with zstd --long."
            raise MalformedFileError(problem, "Compress it again without --long, or with gzip.") from error
        raise MalformedFileError(
            f"{path} is not compressed as its name says ({error}).", "Compress it again, or rename it."
        ) from error
    return head


def _decompress_gzip(head: bytes) -> bytes:
    """Decompress one gzip member after the other: some tools write small ones, the first with only the header."""
    text, rest = b"", head
    while rest and len(text) < SNIFFED_BYTES:
        member = zlib.decompressobj(wbits=31)
        text += member.decompress(rest, SNIFFED_BYTES - len(text))
        rest = member.unused_data.lstrip(b"\0") if member.eof else b""
    return text


def _rows_of(text: bytes, dialect: CsvDialect, *, is_cut: bool) -> list[list[str]]:
    lines = split_lines(text.decode(dialect.encoding, errors="replace"))[dialect.header_line :]
    if is_cut:
        lines = lines[:-1]
    cells = csv.reader((line for line in lines if line.strip()), delimiter=dialect.delimiter, skipinitialspace=True)
    return [row for row in cells if any(row)]


def _column(rows: list[list[str]], dialect: CsvDialect, name: str) -> list[str]:
    """Return the values of a column, except empty ones and headers repeated by concatenating files."""
    if name not in dialect.columns:
        return []
    index = dialect.columns.index(name)
    values = (row[index].strip() for row in rows if len(row) > index)
    return [value for value in values if value not in {"", name}]


def _is_session(text: str) -> bool:
    found = find_session(normalize_name(text))
    return _CODE.fullmatch(text) is not None or (found is not None and not found.rest)


def kinds_for_header(columns: tuple[str, ...]) -> frozenset[FileKind]:
    """Return the kinds that a header fits."""
    names = frozenset(columns)
    for kind, required in _KEY_COLUMNS:
        if required <= names:
            return frozenset({kind})
    if names >= _TRIGGER_COLUMNS:
        return _TRIGGER_KINDS | {FileKind.TELEMETRY} if "value" in names else _TRIGGER_KINDS
    return frozenset()


def missing_columns(kind: FileKind, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that identify a kind and are missing from a header, sorted."""
    required = _TRIGGER_COLUMNS if kind in _TRIGGER_KINDS else dict(_KEY_COLUMNS)[kind]
    return tuple(sorted(required - set(columns)))

"""CSV files as they really arrive: comma or semicolon, quoted or bare, with or without a byte order mark.

Everything is decided by content and never by the file's name. Here belongs reading text into rows with their line
numbers; what the values mean is said in the modules that ask. Only small files are read whole here (lap triggers,
official timing: tens of kilobytes); telemetry has a reader of its own.
"""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.gr_cup.files import FileKind, Reject

_DELIMITERS = (",", ";", "\t")

# Beginnings of files that are not text, whatever their name says.
_BINARY_STARTS = {
    b"PK\x03\x04": "a zip archive or office document",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x1f\x8b": "gzip-compressed",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"PAR1": "a Parquet file",
}

# A reject shows the row's beginning; a whole line could be megabytes.
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        delimiter: Character between values.
        encoding: ``utf-8`` or, where that fails, ``latin-1``.
        has_bom: The file begins with a UTF-8 byte order mark.
        columns: Header names without blanks around them; unnamed columns at the end are left out.
    """

    delimiter: str
    encoding: str
    has_bom: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class CsvRow:
    """One data row.

    Attributes:
        line: Line of the file where the row begins; the header is line 1.
        values: Text by column name, empty text for an empty cell.
    """

    line: int
    values: dict[str, str]


def detect_dialect(start: bytes, file: str) -> Dialect:
    """Tell how a CSV file is written from its beginning.

    Args:
        start: The first bytes; at least the whole header line.
        file: Path for messages.

    Raises:
        MalformedFileError: The file is empty, binary, or its first line is no header.
    """
    if not start:
        raise MalformedFileError(f"{file} is empty (0 bytes).", "Export it again, or take it away.")
    _require_text(start, file)
    has_bom = start.startswith(codecs.BOM_UTF8)
    body = start.removeprefix(codecs.BOM_UTF8)
    header, _, _ = body.partition(b"\n")
    encoding = _encoding_of(body)
    text = header.rstrip(b"\r").decode(encoding)
    delimiter = max(_DELIMITERS, key=text.count)
    columns = _header_names(text, delimiter)
    _require_header(columns, file)
    return Dialect(delimiter, encoding, has_bom, columns)


def _require_text(start: bytes, file: str) -> None:
    for magic, meaning in _BINARY_STARTS.items():
        if start.startswith(magic):
            raise MalformedFileError(f"{file} is {meaning}, not a CSV file.", "Unpack or export it as CSV.")
    header, _, _ = start.partition(b"\n")
    if b"\0" in header:
        raise MalformedFileError(f"{file} is binary, not a CSV file.", "Export it as CSV.")


def _encoding_of(body: bytes) -> str:
    """Choose UTF-8 unless a byte says otherwise; the last character may be cut by the end of what was read."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _header_names(text: str, delimiter: str) -> tuple[str, ...]:
    names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter), [])]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _require_header(columns: tuple[str, ...], file: str) -> None:
    # One word is no table; a first line of numbers is data whose header is missing.
    if len(columns) < 2 or not all(any(c.isalpha() for c in name) for name in columns):  # noqa: PLR2004  -- two columns
        raise MalformedFileError(
            f"{file} has no header: its first line is {','.join(columns)[:_SHOWN_CHARACTERS]!r}.",
            "The first line must name the columns.",
        )
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise MalformedFileError(
            f"{file} names the column {repeated[0]!r} twice.", "Export it again with one column of each name."
        )


def read_rows(
    stream: BinaryIO, file: str, kind: FileKind, required: Sequence[str]
) -> tuple[list[CsvRow], list[Reject]]:
    """Read a small CSV file whole.

    Every line that is not blank becomes a row or a reject. A row is never padded: a line with too few cells is cut off
    somewhere, and nobody can say where.

    Args:
        stream: The file, open for reading bytes.
        file: Path for messages and rejects.
        kind: Kind of the file, for rejects.
        required: Columns that must be there.

    Returns:
        The rows in file order, and the rejects.

    Raises:
        MalformedFileError: The file is empty, binary, has no header, or lacks a required column.
    """
    content = stream.read()
    dialect = detect_dialect(content, file)
    missing = [name for name in required if name not in dialect.columns]
    if missing:
        raise MalformedFileError(
            f"{file} lacks the column {', '.join(missing)}; it has {', '.join(dialect.columns)}.",
            "Check that it is the kind of file its name says.",
        )
    rows: list[CsvRow] = []
    rejects: list[Reject] = []
    for line, cells in _cells_by_line(content, dialect):
        reason = _reason_to_reject(cells, dialect)
        if reason:
            detail = dialect.delimiter.join(cells)[:_SHOWN_CHARACTERS]
            rejects.append(Reject(file, line, kind, reason, detail))
        else:
            values = (cell.strip() for cell in cells)
            rows.append(CsvRow(line, dict(zip(dialect.columns, values, strict=False))))
    return rows, rejects


def _cells_by_line(content: bytes, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every data row that is not blank."""
    text = content.removeprefix(codecs.BOM_UTF8).decode(dialect.encoding, errors="replace")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter)
    begins = 1
    for cells in reader:
        line, begins = begins, reader.line_num + 1
        if line > 1 and any(cells):
            yield line, cells


def _reason_to_reject(cells: list[str], dialect: Dialect) -> str | None:
    width = len(dialect.columns)
    if any("\0" in cell for cell in cells):
        return "nul_byte"
    if tuple(cell.strip() for cell in cells[:width]) == dialect.columns:
        return "repeated_header"
    if len(cells) < width:
        return "too_few_columns"
    if any(cell.strip() for cell in cells[width:]):
        return "too_many_columns"
    return None


__all__ = ["CsvRow", "Dialect", "detect_dialect", "read_rows"]

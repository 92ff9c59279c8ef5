"""CSV files as they really arrive: comma or semicolon, quoted or bare, with or without a byte order mark.

Everything is decided by content and never by the file's name. Here belongs reading text into rows with their line
numbers; what the values mean is said in the modules that ask. Only small files are read whole here (lap triggers,
official timing: tens of kilobytes); telemetry has a reader of its own.

Why not pandas or clevercsv: every row that cannot be used is reported with its line number. The csv module of the
standard library splits the cells.
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.compression import decompress

_DELIMITERS = (",", ";", "\t")
_LINE_END = re.compile(r"\r\n|\n|\r")

# Beginnings of files that are no CSV text, whatever their name says.
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or office document",
    b"\xd0\xcf\x11\xe0": "an old office document",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x1f\x8b": "gzip-compressed",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"PAR1": "a Parquet file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"version https://git-lfs": "a git-lfs pointer whose data was not fetched",
    b"<": "a web page or XML",
}
_CONTROL_CHARACTERS = re.compile(rb"[\0-\x08\x0e-\x1f]")

# A reject shows the start of a row; a whole line could be megabytes.
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class CsvDialect:
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
        line: Line of the file; the header is line 1.
        values: Text by column name, without blanks around it, empty text for an empty cell.
    """

    line: int
    values: dict[str, str]


def require_text(start: bytes, file: str) -> None:
    """Make sure a file can be CSV text.

    Args:
        start: Its first bytes.
        file: Path for messages.

    Raises:
        MalformedFileError: The file is empty, binary, or of another known format.
    """
    if not start:
        raise MalformedFileError(f"{file} is empty (0 bytes).", "Export it again, or take it away.")
    for magic, meaning in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise MalformedFileError(f"{file} is {meaning}, not a CSV file.", "Unpack, fetch or export it as CSV.")
    # Only the header: a damaged row further down is rejected alone.
    if _CONTROL_CHARACTERS.search(re.split(rb"[\r\n]", start, maxsplit=1)[0]):
        raise MalformedFileError(f"{file} is binary, not a CSV file.", "Export it as CSV.")


def detect_dialect(start: bytes, file: str) -> CsvDialect:
    """Tell how a CSV file is written from its beginning.

    Args:
        start: The first bytes; at least the whole header line.
        file: Path for messages.

    Raises:
        MalformedFileError: The file is empty, binary, or its first line is no header.
    """
    require_text(start, file)
    has_bom = start.startswith(codecs.BOM_UTF8)
    body = start.removeprefix(codecs.BOM_UTF8)
    encoding = _encoding_of(body)
    header = _LINE_END.split(body.decode(encoding, errors="replace"), maxsplit=1)[0]
    delimiter = max(_DELIMITERS, key=header.count)
    columns = _names_in(_cells_of(header, delimiter))
    _require_header(columns, header, file)
    return CsvDialect(delimiter, encoding, has_bom, columns)


def _encoding_of(body: bytes) -> str:
    """Choose UTF-8 unless a byte says otherwise; the last character may be cut by the end of what was read."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _names_in(cells: Iterable[str]) -> tuple[str, ...]:
    """Return the names in a header; concatenating files leaves byte order marks inside."""
    names = [cell.strip("\ufeff \t") for cell in cells]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _require_header(columns: tuple[str, ...], header: str, file: str) -> None:
    # One word is no table; a first line of numbers is data whose header is missing.
    if len(columns) < 2 or not all(re.search(r"[^\W\d_]", name) for name in columns if name):  # noqa: PLR2004  -- two columns
        raise MalformedFileError(
            f"{file} has no header: its first line is {header[:SHOWN_CHARACTERS]!r}.",
            "The first line must name the columns.",
        )
    if not all(columns):
        raise MalformedFileError(
            f"{file} has no name for column {columns.index('') + 1}; it has {', '.join(columns)}.",
            "Name the column, or export the file without it.",
        )
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise MalformedFileError(
            f"{file} names the column {repeated[0]!r} twice.", "Export it again with one column of each name."
        )


def read_rows(stream: BinaryIO, file: str, kind: str, required: Sequence[str]) -> tuple[list[CsvRow], list[Reject]]:
    """Read a small CSV file whole.

    Every line that is not blank becomes a row or a reject, and each line stands for itself: a quote left open damages
    one row and not the rest of the file. A row is never padded: a line with too few cells is cut off somewhere, and
    nobody can say where. A line of delimiters only is blank.

    Args:
        stream: The file, open for reading bytes.
        file: Path for messages and rejects; its ending tells whether the file is compressed.
        kind: Kind of the file, for rejects.
        required: Columns that must be there.

    Returns:
        The rows and the rejects, both in file order.

    Raises:
        MalformedFileError: The file is empty, binary, has no header, lacks a required column or cannot be unpacked.
    """
    content = decompress(stream.read(), file)
    dialect = detect_dialect(content, file)
    columns = dialect.columns
    _require_columns(required, columns, file)
    rows: list[CsvRow] = []
    rejects: list[Reject] = []
    for line, text in _lines_after_header(content, dialect):
        cells = _cells_of(text, dialect.delimiter)
        reason = _reason_to_reject(cells, columns) if cells else "malformed_line"
        if reason:
            detail = text.replace("\0", r"\0")[:SHOWN_CHARACTERS]
            rejects.append(Reject(file, line, kind, reason, detail))
        elif any(cells):
            rows.append(CsvRow(line, dict(zip(columns, cells, strict=False))))
        if reason == "repeated_header":
            columns = _names_in(cells)  # the second file may have its columns in another order
    return rows, rejects


def _require_columns(required: Sequence[str], columns: tuple[str, ...], file: str) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        raise MalformedFileError(
            f"{file} lacks the column {', '.join(missing)}; it has {', '.join(columns)}.",
            "Check that it is the kind of file its name says.",
        )


def _lines_after_header(content: bytes, dialect: CsvDialect) -> Iterator[tuple[int, str]]:
    text = content.removeprefix(codecs.BOM_UTF8).decode(dialect.encoding, errors="replace")
    for index, line in enumerate(_LINE_END.split(text)):
        if index > 0 and line.strip():
            yield index + 1, line


def _cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line; none if its quotes do not close or one cell is larger than any real one."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]


def _reason_to_reject(cells: list[str], columns: tuple[str, ...]) -> str | None:
    if any("\0" in cell for cell in cells):
        return "nul_byte"
    if sorted(_names_in(cells)) == sorted(columns):
        return "repeated_header"
    if not any(cells):
        return None
    if len(cells) < len(columns):
        return "too_few_columns"
    if any(cells[len(columns) :]):
        return "too_many_columns"
    return None

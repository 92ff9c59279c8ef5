"""Reads small CSV files: any delimiter, quoted or not, with or without a byte order mark.

The dialect is detected from the content, never from the file name. Rows are returned as text with their line numbers;
the callers interpret the values. Files are read into memory at once, so this reader is only for lap triggers and
official timing (tens of kilobytes); telemetry has its own parser, see ``gr_cup/telemetry/parse.py``.

Why not pandas or clevercsv: every unusable row must be reported with its line number. The standard library's ``csv``
splits the cells.
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

# Magic bytes of files that are not CSV text, whatever their name says.
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

# A reject shows only the start of a row: a complete line could be megabytes.
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class CsvDialect:
    """Format of a CSV file.

    Attributes:
        delimiter: Character that separates values.
        encoding: ``utf-8``, or ``latin-1`` if that fails.
        has_bom: Whether the file starts with a UTF-8 byte order mark.
        columns: Header names, stripped; trailing unnamed columns are left out.
    """

    delimiter: str
    encoding: str
    has_bom: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class CsvRow:
    """One data row.

    Attributes:
        line: Line number in the file; the header is line 1.
        values: Stripped text by column name; an empty string for an empty cell.
    """

    line: int
    values: dict[str, str]


def require_text(head: bytes, file: str) -> None:
    """Check that a file may be CSV text.

    Args:
        head: Its first bytes.
        file: Path, for messages.

    Raises:
        MalformedFileError: The file is empty, binary or in another known format.
    """
    if not head:
        raise MalformedFileError(f"{file} is empty (0 bytes).", "Export it again, or remove it.")
    for magic, format_name in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise MalformedFileError(f"{file} is {format_name}, not a CSV file.", "Unpack, fetch or export it as CSV.")
    # Only the header is checked: a damaged row further down is rejected individually.
    if _CONTROL_CHARACTERS.search(re.split(rb"[\r\n]", head, maxsplit=1)[0]):
        raise MalformedFileError(f"{file} is binary, not a CSV file.", "Export it as CSV.")


def detect_dialect(head: bytes, file: str) -> CsvDialect:
    """Detect the dialect of a CSV file from its first bytes.

    Args:
        head: The first bytes, including the complete header line.
        file: Path, for messages.

    Raises:
        MalformedFileError: The file is empty or binary, or its first line is not a header.
    """
    require_text(head, file)
    has_bom = head.startswith(codecs.BOM_UTF8)
    body = head.removeprefix(codecs.BOM_UTF8)
    encoding = _encoding_of(body)
    header = _LINE_END.split(body.decode(encoding, errors="replace"), maxsplit=1)[0]
    delimiter = max(_DELIMITERS, key=header.count)
    columns = _names_in(_cells_of(header, delimiter))
    _require_header(columns, header, file)
    return CsvDialect(delimiter, encoding, has_bom, columns)


def _encoding_of(body: bytes) -> str:
    """Return UTF-8 if the bytes are valid UTF-8, else Latin-1; the last character may be cut off."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _names_in(cells: Iterable[str]) -> tuple[str, ...]:
    """Return the column names of a header, without byte order marks left in by concatenating files."""
    names = [cell.strip("\ufeff \t") for cell in cells]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _require_header(columns: tuple[str, ...], header: str, file: str) -> None:
    # A single word is not a table; a first line of numbers is data without a header.
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
            f"{file} has two columns named {repeated[0]!r}.", "Export it again with unique column names."
        )


def read_rows(stream: BinaryIO, file: str, kind: str, required: Sequence[str]) -> tuple[list[CsvRow], list[Reject]]:
    """Read a small CSV file into rows.

    Every line that is not blank becomes a row or a reject, and each line is parsed on its own: an unclosed quote
    damages one row and not the rest of the file. Rows are never padded: a line with too few cells was truncated at
    an unknown place. A line that holds only delimiters counts as blank.

    Args:
        stream: The file, open for reading bytes.
        file: Path, for messages and rejects; its extension determines the compression.
        kind: Kind of the file, for rejects.
        required: Columns that the header must contain.

    Returns:
        The rows and the rejects, both in file order.

    Raises:
        MalformedFileError: The file is empty or binary, has no header, lacks a required column or cannot be
            decompressed.
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
            columns = _names_in(cells)  # an appended file may have its columns in a different order
    return rows, rejects


def _require_columns(required: Sequence[str], columns: tuple[str, ...], file: str) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        raise MalformedFileError(
            f"{file} lacks the column {', '.join(missing)}; it has {', '.join(columns)}.",
            "Check that the content matches the file name.",
        )


def _lines_after_header(content: bytes, dialect: CsvDialect) -> Iterator[tuple[int, str]]:
    text = content.removeprefix(codecs.BOM_UTF8).decode(dialect.encoding, errors="replace")
    for index, line in enumerate(_LINE_END.split(text)):
        if index > 0 and line.strip():
            yield index + 1, line


def _cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line; an empty list if a quote is unclosed or a cell exceeds the limit of ``csv``."""
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

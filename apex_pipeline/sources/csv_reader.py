"""Reads small CSV files: any delimiter, quoted or not, with or without a byte order mark.

The dialect is detected from the content, never from the file name. Rows are returned as text with their line numbers;
the callers interpret the values. Files are read in blocks of lines, and the rows that the callers keep are limited by a
:class:`~apex_pipeline.sources.limits.RowBudget`; lap triggers and official timing are tens of kilobytes. Telemetry has
its own parser, see ``gr_cup/telemetry/parse.py``.

Why not pandas or clevercsv: every unusable row must be reported with its line number. The standard library's ``csv``
splits the cells.
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.compression import open_decompressed
from apex_pipeline.sources.limits import Limits, RowBudget, format_bytes, limit_exceeded

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
# Maximum number of column names in a message, and of characters of each.
_SHOWN_COLUMNS, _SHOWN_NAME = 20, 40

# Text read at a time. Every real lap and timing file is one block.
_BLOCK_BYTES = 1_000_000


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
    header = re.split(rb"[\r\n]", body, maxsplit=1)[0].decode(encoding, errors="replace")
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
            f"{file} has no name for column {columns.index('') + 1}; it has {list_columns(columns)}.",
            "Name the column, or export the file without it.",
        )
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise MalformedFileError(
            f"{file} has two columns named {repeated[0][:SHOWN_CHARACTERS]!r}.",
            "Export it again with unique column names.",
        )


def list_columns(columns: Sequence[str]) -> str:
    """Return the names of columns for a message: the first twenty, shortened, and the number of the rest."""
    shown = ", ".join(name[:_SHOWN_NAME] for name in columns[:_SHOWN_COLUMNS])
    more = len(columns) - _SHOWN_COLUMNS
    return f"{shown} and {more:,} more" if more > 0 else shown


def read_rows(
    stream: BinaryIO, file: str, kind: str, required: Sequence[str], budget: RowBudget | None = None
) -> tuple[list[CsvRow], list[Reject]]:
    """Read a small CSV file into lists of rows and rejects, both in file order; see :func:`iter_rows`."""
    rows: list[CsvRow] = []
    rejects: list[Reject] = []
    for item in iter_rows(stream, file, kind, required, budget):
        if isinstance(item, CsvRow):
            rows.append(item)
        else:
            rejects.append(item)
    return rows, rejects


def iter_rows(
    stream: BinaryIO,
    file: str,
    kind: str,
    required: Sequence[str | Sequence[str]],
    budget: RowBudget | None = None,
    may_lack: re.Pattern[str] | None = None,
) -> Iterator[CsvRow | Reject]:
    """Yield the rows and rejects of a small CSV file as it is read.

    Every line that is not blank becomes a row or a reject, and each line is parsed on its own: an unclosed quote
    damages one row and not the rest of the file. Rows are never padded: a line with too few cells was truncated at
    an unknown place. A line that holds only delimiters counts as blank.

    A file that cannot be read to its end raises after some of its rows were yielded; the caller drops those, because
    how much is missing is not known.

    Args:
        stream: The file, open for reading bytes.
        file: Path, for messages and rejects; its extension determines the compression.
        kind: Kind of the file, for rejects.
        required: Columns that the header must contain; of several names of one column, one is enough.
        budget: Limits on the file, and memory for the rows that are kept.
        may_lack: Names of optional columns. Rows may end anywhere after the first of these: some exports have cells
            only for the drivers a car has.

    Yields:
        Each row or reject, in file order.

    Raises:
        MalformedFileError: The file is empty or binary, has no header, lacks a required column or cannot be
            decompressed.
        LimitExceededError: The file, a line or the header is too large, or there are too many rows.
    """
    budget = budget or RowBudget()
    limits = budget.limits
    with open_decompressed(stream, file, limits.for_lap_file()) as text:
        blocks = blocks_of_lines(text, limits.line_bytes)
        first = next(blocks, b"")
        _check_length(_first_line(first), 1, file, limits)
        dialect = detect_dialect(first, file)
        limits.check_columns(file, len(dialect.columns))
        _require_columns(required, dialect.columns, file)
        optional = (at for at, name in enumerate(dialect.columns) if may_lack and may_lack.match(name))
        fewest = next(optional, len(dialect.columns))
        parser = _RowParser(file, kind, dialect, limits.cell_characters, fewest)
        blocks = chain([first.removeprefix(codecs.BOM_UTF8)], blocks)
        for number, line in _numbered_lines(blocks, dialect.encoding, file, budget):
            item = parser.parse(number, line)
            if item is not None:
                yield item


def _require_columns(required: Sequence[str | Sequence[str]], columns: tuple[str, ...], file: str) -> None:
    choices = [(name,) if isinstance(name, str) else tuple(name) for name in required]
    missing = [names[0] for names in choices if not set(names) & set(columns)]
    if missing:
        raise MalformedFileError(
            f"{file} lacks the column {', '.join(missing)}; it has {list_columns(columns)}.",
            "Check that the content matches the file name.",
        )


def blocks_of_lines(text: BinaryIO, longest: int) -> Iterator[bytes]:
    """Yield a text in blocks of complete lines; the last block may end within a line.

    Args:
        text: Uncompressed bytes.
        longest: Maximum length of a line in bytes. A longer one ends the text; it is in the last block as far as it was
            read.
    """
    rest = b""
    while len(rest) <= longest:
        content = text.read(_BLOCK_BYTES)
        block = rest + content
        if len(content) < _BLOCK_BYTES:  # the end of the text
            rest = block
            break
        # A CR at the very end is not a line end yet, because an LF may follow.
        end = max(block.rfind(b"\n"), block.rfind(b"\r", 0, len(block) - 1)) + 1
        rest = block[end:]
        if end:
            yield block[:end]
    if rest:
        yield rest


def _first_line(block: bytes) -> bytes:
    return re.split(rb"[\r\n]", block, maxsplit=1)[0]


def _check_length(line: bytes, number: int, file: str, limits: Limits) -> None:
    if len(line) > limits.line_bytes:
        problem = f"has more than {format_bytes(limits.line_bytes)} in line {number:,}"
        raise limit_exceeded(file, problem, "APEX_MAX_LINE_LENGTH")


def _numbered_lines(blocks: Iterable[bytes], encoding: str, file: str, budget: RowBudget) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of every line after the header that is not blank."""
    number = 1
    for block in blocks:
        decoded, encoding = _decode(block, encoding)
        if len(block) <= budget.limits.line_bytes and not decoded.strip():
            number += decoded.count("\n") + decoded.count("\r") - decoded.count("\r\n")
            continue
        lines = _LINE_END.split(decoded)
        if block.endswith((b"\r", b"\n")):
            lines.pop()  # what follows the last line end is in the next block
        # No character takes more than four bytes, so lines are rarely encoded to measure them.
        if 4 * max(map(len, lines), default=0) > budget.limits.line_bytes:
            for position, line in enumerate(lines, number):
                _check_length(line.encode(errors="replace"), position, file, budget.limits)
        used = [(position, line) for position, line in enumerate(lines, number) if position > 1 and line.strip()]
        budget.take(file, len(used), sum(len(line) for _, line in used))
        yield from used
        number += len(lines)


def _decode(block: bytes, encoding: str) -> tuple[str, str]:
    """Return the text of a block, and the encoding from there on: Latin-1 as soon as a block is not UTF-8."""
    try:
        return block.decode(encoding), encoding
    except UnicodeDecodeError:
        encoding = _encoding_of(block)
        return block.decode(encoding, errors="replace"), encoding


class _RowParser:
    """Parses the lines of a file.

    Args:
        file: Path, for rejects.
        kind: Kind of the file, for rejects.
        dialect: Format of the file.
        longest_cell: Maximum number of characters of a cell.
        fewest_cells: Minimum number of cells of a row.
    """

    def __init__(self, file: str, kind: str, dialect: CsvDialect, longest_cell: int, fewest_cells: int) -> None:
        self._file = file
        self._kind = kind
        self._delimiter = dialect.delimiter
        self._columns = dialect.columns
        self._longest_cell = longest_cell
        self._fewest_cells = fewest_cells

    def parse(self, number: int, line: str) -> CsvRow | Reject | None:
        """Return the row or reject of a line that is not blank; ``None`` if it holds only delimiters."""
        cells = _cells_of(line, self._delimiter)
        columns = self._columns
        reason = self._reason_to_reject(line, cells)
        if reason == "repeated_header":
            self._columns = _names_in(cells)  # an appended file may have its columns in a different order
        if reason:
            detail = line[:SHOWN_CHARACTERS].replace("\0", r"\0")[:SHOWN_CHARACTERS]
            return Reject(self._file, number, self._kind, reason, detail)
        return CsvRow(number, dict(zip(columns, cells, strict=False))) if any(cells) else None

    def _reason_to_reject(self, line: str, cells: list[str]) -> str | None:
        columns = self._columns
        reason: str | None = None
        if not cells:
            longest = max(map(len, line.split(self._delimiter)))
            reason = "cell_too_long" if longest > self._longest_cell else "malformed_line"
        elif "\0" in line:
            reason = "nul_byte"
        elif len(line) > self._longest_cell and max(map(len, cells)) > self._longest_cell:
            reason = "cell_too_long"
        elif cells[0].strip("\ufeff \t") in columns and sorted(_names_in(cells)) == sorted(columns):
            reason = "repeated_header"
        elif len(cells) < self._fewest_cells and any(cells):
            reason = "too_few_columns"
        elif len(cells) > len(columns) and any(cells[len(columns) :]):
            reason = "too_many_columns"
        return reason


def _cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line; an empty list if a quote is unclosed or a cell exceeds the limit of ``csv``."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]

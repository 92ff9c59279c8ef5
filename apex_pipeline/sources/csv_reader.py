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
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.compression import open_decompressed
from apex_pipeline.sources.known_columns import canonical_columns, is_known_column, list_columns
from apex_pipeline.sources.limits import Limits, RowBudget, format_bytes, limit_exceeded
from apex_pipeline.sources.text_lines import blocks_of_lines, count_line_ends, first_line, split_lines

_DELIMITERS = (",", ";", "\t")
# The line that names the delimiter for spreadsheets: sep=;
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
# A blank after the closing quote of a cell, which ``csv`` does not accept; nor is it part of the cell.
_BLANK_AFTER_QUOTE = re.compile(r'"[ \t]+(?=[,;\t]|$)')
# Lines of a quoted cell with line breaks. A longer one is more likely a quote that was never closed.
_MAX_LINES_OF_ROW = 20

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
        columns: Header names, stripped, known ones in their usual case; trailing unnamed columns are left out. The
            first one may be empty: an index, which data frames write without a name.
        header_line: Line number of the header; blank lines and a line ``sep=;`` may precede it.
    """

    delimiter: str
    encoding: str
    has_bom: bool
    columns: tuple[str, ...]
    header_line: int = 1


@dataclass(frozen=True)
class CsvRow:
    """One data row.

    Attributes:
        line: Line number in the file, the first line being 1.
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
    if _CONTROL_CHARACTERS.search(first_line(head)):
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
    number, header, separator = _find_header(body.decode(encoding, errors="replace"))
    delimiter = separator or max(_DELIMITERS, key=header.count)
    columns = canonical_columns(_names_in(_cells_of(header, delimiter)))
    _require_header(columns, file)
    return CsvDialect(delimiter, encoding, has_bom, columns, number)


def _find_header(text: str) -> tuple[int, str, str | None]:
    """Return number and text of the first line that is not blank, and the delimiter if the line before states it."""
    separator = None
    for number, line in enumerate(split_lines(text), 1):
        stated = _SEPARATOR_LINE.fullmatch(line.strip())
        if stated and separator is None:
            separator = stated[1] if stated[1] in _DELIMITERS else None
        elif line.strip(" \t;,\ufeff"):
            return number, line, separator
    return 1, "", separator


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


def _require_header(columns: tuple[str, ...], file: str) -> None:
    # A single word is not a table; a first line with numbers is data without a header, and may name persons.
    if len(columns) < 2 or not all(re.search(r"[^\W\d_]", name) for name in columns if name):  # noqa: PLR2004  -- two columns
        raise MalformedFileError(
            f"{file} has no header: its first line is not a list of column names.",
            "The first line must name the columns.",
        )
    if not all(columns[1:]):
        raise MalformedFileError(
            f"{file} has no name for column {columns.index('', 1) + 1}; it has {list_columns(columns)}.",
            "Name the column, or export the file without it.",
        )
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        name = repr(repeated[0]) if is_known_column(repeated[0]) else f"like column {columns.index(repeated[0]) + 1}"
        raise MalformedFileError(
            f"{file} has two columns named {name}.",
            "Export it again with unique column names.",
        )


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

    Every line that is not blank becomes a row or a reject, and each line is parsed on its own unless it ends within
    quotes: the row then goes on in the next lines if they close the quote and have the cells that are missing. An
    unclosed quote damages one row and not the rest of the file. Rows are never padded: a line with too few cells was
    truncated at an unknown place. A line that holds only delimiters counts as blank.

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
        _check_length(first_line(first), 1, file, limits)
        dialect = detect_dialect(first, file)
        limits.check_columns(file, len(dialect.columns))
        _require_columns(required, dialect.columns, file)
        optional = (at for at, name in enumerate(dialect.columns) if may_lack and may_lack.match(name))
        fewest = next(optional, len(dialect.columns))
        parser = _RowParser(file, kind, dialect, limits.cell_characters, fewest)
        blocks = chain([first.removeprefix(codecs.BOM_UTF8)], blocks)
        lines = _numbered_lines(blocks, dialect, file, budget)
        yield from parser.parse_all(lines)


def _require_columns(required: Sequence[str | Sequence[str]], columns: tuple[str, ...], file: str) -> None:
    choices = [(name,) if isinstance(name, str) else tuple(name) for name in required]
    missing = [names[0] for names in choices if not set(names) & set(columns)]
    if missing:
        raise MalformedFileError(
            f"{file} lacks the column {', '.join(missing)}; it has {list_columns(columns)}.",
            "Check that the content matches the file name.",
        )


def _check_length(line: bytes, number: int, file: str, limits: Limits) -> None:
    if len(line) > limits.line_bytes:
        problem = f"has more than {format_bytes(limits.line_bytes)} in line {number:,}"
        raise limit_exceeded(file, problem, "APEX_MAX_LINE_LENGTH")


def _numbered_lines(
    blocks: Iterable[bytes], dialect: CsvDialect, file: str, budget: RowBudget
) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of every line after the header that is not blank."""
    number, encoding, header = 1, dialect.encoding, dialect.header_line
    for block in blocks:
        decoded, encoding = _decode(block, encoding)
        if len(block) <= budget.limits.line_bytes and not decoded.strip():
            number += count_line_ends(decoded)
            continue
        lines = split_lines(decoded)
        # No character takes more than four bytes, so lines are rarely encoded to measure them.
        if 4 * max(map(len, lines), default=0) > budget.limits.line_bytes:
            for position, line in enumerate(lines, number):
                _check_length(line.encode(errors="replace"), position, file, budget.limits)
        used = [(position, line) for position, line in enumerate(lines, number) if position > header and line.strip()]
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
        self._use_columns(dialect.columns)
        self._longest_cell = longest_cell
        self._fewest_cells = fewest_cells

    def parse_all(self, lines: Iterable[tuple[int, str]]) -> Iterator[CsvRow | Reject]:
        """Yield the row or reject of each line that is not blank; a row with quoted line breaks is several lines."""
        source, ahead = iter(lines), deque[tuple[int, str]]()
        while following := ahead.popleft() if ahead else next(source, None):
            number, line = following
            cells = _cells_of(line, self._delimiter)
            if not cells and '"' in line:
                ahead.extend(islice(source, max(_MAX_LINES_OF_ROW - len(ahead), 0)))
                line, cells = self._with_next_lines(line, ahead)
            item = self._parse(number, line, cells)
            if item is not None:
                yield item

    def _with_next_lines(self, line: str, ahead: "deque[tuple[int, str]]") -> tuple[str, list[str]]:
        """Return a row that ends within quotes together with the lines that complete it, which are taken."""
        text = line
        for count, (_, further) in enumerate(ahead, 1):
            text = f"{text}\n{further}"
            cells = _cells_of(text, self._delimiter)
            if len(cells) >= len(self._columns) and not any(cells[len(self._columns) :]):
                for _ in range(count):
                    ahead.popleft()
                return text, cells
        return line, []

    def _parse(self, number: int, line: str, cells: list[str]) -> CsvRow | Reject | None:
        """Return the row or reject of a line; ``None`` if it holds only delimiters."""
        columns = self._columns
        reason = self._reason_to_reject(line, cells)
        if reason == "repeated_header":
            # An appended file may have its columns in a different order.
            self._use_columns(canonical_columns(_names_in(cells)))
        if reason:
            detail = f"{len(line):,} characters, not shown as the line may name persons"
            return Reject(self._file, number, self._kind, reason, detail)
        if not any(cells):
            return None
        values = dict(zip(columns, cells, strict=False))
        values.pop("", None)  # the index
        return CsvRow(number, values)

    def _use_columns(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        self._folded_columns = frozenset(name.casefold() for name in columns)

    def _is_header(self, cells: list[str]) -> bool:
        # The cell of nearly every row is no column's name, whichever its case: the names of a whole row cost as much
        # as the rest of its parsing.
        if cells[0].strip("\ufeff \t").casefold() not in self._folded_columns:
            return False
        names = canonical_columns(_names_in(cells))
        return names[:1] != () and names[0] in self._columns and sorted(names) == sorted(self._columns)

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
        elif self._is_header(cells):
            reason = "repeated_header"
        elif len(cells) < self._fewest_cells and any(cells):
            reason = "too_few_columns"
        elif len(cells) > len(columns) and any(cells[len(columns) :]):
            reason = "too_many_columns"
        return reason


def _cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line; an empty list if a quote is unclosed or a cell exceeds the limit of ``csv``."""
    for text in (line, _BLANK_AFTER_QUOTE.sub('"', line)):
        try:
            # Lines are split already, so that a quoted line break is an ordinary character here.
            cells = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True), [])
        except csv.Error:
            continue
        return [" ".join(cell.split()) if "\n" in cell else cell.strip() for cell in cells]
    return []

"""Reads the header of a telemetry file; columns are found by name, never by position.

See ``line_parser`` and ``kernels.plain_rows`` for the meaning of the cells.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from apex_pipeline.errors import LimitExceededError, MalformedFileError
from apex_pipeline.sources.csv_reader import CsvDialect, detect_dialect
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.notation import Notation
from apex_pipeline.sources.known_columns import list_columns
from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits

# Also the longest header that discovery accepts, see ``discovery/sniff.py``. Real ones have 200 bytes.
_HEADER_BYTES = 65_536

_COMMON = ("vehicle_id", "timestamp", "meta_time", "lap")
_LONG = ("telemetry_name", "telemetry_value")
_LISTED = ("value",)


@dataclass(frozen=True)
class Header:
    """Format of the lines of a telemetry file.

    Attributes:
        dialect: Delimiter, encoding and columns.
        is_listed: Each line holds a list of readings instead of one.
        is_quoted: Cells may be in quotes. If the start of the file has no quotes, a later one is damage; read as an
            opening quote, it would swallow the text after it.
        limits: Limits on the lines, cells and nesting.
        notation: How the file writes its numbers.
    """

    dialect: CsvDialect
    is_listed: bool
    is_quoted: bool
    limits: Limits = DEFAULT_LIMITS
    notation: Notation = Notation.PLAIN

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in header order."""
        return self.dialect.columns

    def next_header(self, cells: Sequence[str]) -> "Header | None":
        """Parse the cells of a later line as a header; return ``None`` if they are not one.

        Concatenated files have headers in the middle, sometimes with the columns in a different order.
        """
        names = [cell.strip("\ufeff \t") for cell in cells]
        if not set(_required(self.is_listed)) <= set(names) or len(set(names)) < len(names):
            return None
        columns = tuple(names)
        dialect = CsvDialect(self.dialect.delimiter, self.dialect.encoding, self.dialect.has_bom, columns)
        return Header(dialect, self.is_listed, self.is_quoted, self.limits, self.notation)


def parse_header(file: TelemetryFile) -> Header:
    """Read and check the header of a telemetry file.

    Raises:
        FileChangedError: The file no longer exists.
        MalformedFileError: The file is empty, binary, has no header, or lacks a required column.
        LimitExceededError: The header is too long or has too many columns.
    """
    with file.open_text() as stream:
        start = stream.read(_HEADER_BYTES)
    if len(start) == _HEADER_BYTES and b"\n" not in start:
        raise LimitExceededError(
            f"{file.identity.path} has a first line of more than {_HEADER_BYTES:,} bytes.",
            "The first line must name the columns; export it again.",
        )
    dialect = _dialect_of(start, file.identity.path)
    file.limits.check_columns(file.identity.path, len(dialect.columns))
    columns = set(dialect.columns)
    is_listed = not set(_LONG) <= columns and set(_LISTED) <= columns
    missing = [name for name in _required(is_listed) if name not in columns]
    if missing:
        raise MalformedFileError(
            f"{file.identity.path} lacks the column {', '.join(missing)}; it has {list_columns(dialect.columns)}.",
            "Check that it is a telemetry file.",
        )
    return Header(dialect, is_listed, is_quoted=is_listed or b'"' in start, limits=file.limits)


def _required(is_listed: bool) -> tuple[str, ...]:  # noqa: FBT001  -- its only argument
    return (*_COMMON, *(_LISTED if is_listed else _LONG))


def _dialect_of(start: bytes, path: str) -> CsvDialect:
    if b"\r" in start.partition(b"\n")[0].rstrip(b"\r"):
        raise MalformedFileError(f"{path} has line endings of CR alone.", "Export it with LF or CRLF.")
    dialect = detect_dialect(start, path)
    # People and spreadsheets ignore case in names, so it is unclear which column is meant.
    spellings = Counter(name.casefold() for name in dialect.columns)
    repeated = [name for name in dialect.columns if spellings[name.casefold()] > 1]
    if repeated:
        raise MalformedFileError(
            f"{path} has columns that differ only in case: {list_columns(repeated)}.",
            "Export it with unique column names.",
        )
    return dialect

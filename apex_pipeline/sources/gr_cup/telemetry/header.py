"""Which column is which: the header of a telemetry file, bound by name and never by position.

Not here: what the cells under it mean (``careful`` and ``compiled.lines``).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.csv_reader import CsvDialect, detect_dialect
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile

_HEADER_BYTES = 65_536

_COMMON = ("vehicle_id", "timestamp", "meta_time", "lap")
_LONG = ("telemetry_name", "telemetry_value")
_LISTED = ("value",)


@dataclass(frozen=True)
class Header:
    """How the lines of a telemetry file are laid out.

    Attributes:
        dialect: Delimiter, encoding and columns.
        is_listed: A line holds a list of readings instead of one.
        is_quoted: Cells may be in quotes. Where none is at the beginning of the file, a quote further on is damage, and
            taken for one it would swallow what follows it.
    """

    dialect: CsvDialect
    is_listed: bool
    is_quoted: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in the header's order."""
        return self.dialect.columns

    def under(self, cells: Sequence[str]) -> "Header | None":
        """Return the layout of the lines under a further header; ``None`` if these cells are no header.

        Files put one after the other leave headers inside, and not always with the columns in the same order.
        """
        names = [cell.strip("\ufeff \t") for cell in cells]
        if not set(_needed(self.is_listed)) <= set(names) or len(set(names)) < len(names):
            return None
        columns = tuple(names)
        dialect = CsvDialect(self.dialect.delimiter, self.dialect.encoding, self.dialect.has_bom, columns)
        return Header(dialect, self.is_listed, self.is_quoted)


def parse_header(file: TelemetryFile) -> Header:
    """Read the header.

    Raises:
        VanishedFileError: The file is gone.
        MalformedFileError: The file is empty, binary, without header, or lacks a column it cannot do without.
    """
    with file.open_text() as stream:
        start = stream.read(_HEADER_BYTES)
    dialect = _dialect_of(start, file.identity.path)
    columns = set(dialect.columns)
    is_listed = not set(_LONG) <= columns and set(_LISTED) <= columns
    missing = [name for name in _needed(is_listed) if name not in columns]
    if missing:
        raise MalformedFileError(
            f"{file.identity.path} lacks the column {', '.join(missing)}; it has {', '.join(dialect.columns)}.",
            "Check that it is a telemetry file.",
        )
    return Header(dialect, is_listed, is_quoted=is_listed or b'"' in start)


def _needed(is_listed: bool) -> tuple[str, ...]:  # noqa: FBT001  -- the one thing it depends on
    return (*_COMMON, *(_LISTED if is_listed else _LONG))


def _dialect_of(start: bytes, path: str) -> CsvDialect:
    if b"\r" in start.partition(b"\n")[0].removesuffix(b"\r"):
        raise MalformedFileError(f"{path} has lines that end in CR alone.", "Export it with LF or CRLF.")
    dialect = detect_dialect(start, path)
    # People and spreadsheets do not tell names apart by case, so which one is meant cannot be known.
    alike = Counter(name.casefold() for name in dialect.columns)
    repeated = [name for name in dialect.columns if alike[name.casefold()] > 1]
    if repeated:
        raise MalformedFileError(
            f"{path} has columns that differ only in case: {', '.join(repeated)}.", "Export it with one of each name."
        )
    return dialect

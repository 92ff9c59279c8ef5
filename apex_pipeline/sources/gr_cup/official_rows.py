"""Reads the rows of a timing file into published columns.

A row is rejected if its key (car, lap or time) is missing or cannot be parsed, or if its cells are shifted. Any other
cell that cannot be parsed is null; such cells are counted by column (``unreadable_cells``). A number outside the bounds
of its column is a placeholder: it is published as null and reported as ``out_of_range``, and its row is kept. See
``official_columns.py`` for the notation of whole columns and ``official_timing.py`` for the columns of each kind.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from apex_pipeline.sources.base import FileIdentity, Reject
from apex_pipeline.sources.cells import is_nothing, may_name_person, quoted
from apex_pipeline.sources.csv_reader import CsvRow, iter_rows
from apex_pipeline.sources.gr_cup.free_text import blank_names
from apex_pipeline.sources.gr_cup.official_columns import (
    COLUMN_NOTATION,
    ColumnNotation,
    describe,
    notations_of,
)
from apex_pipeline.sources.gr_cup.official_points import point_columns, points_of
from apex_pipeline.sources.known_columns import is_known_column
from apex_pipeline.sources.limits import RowBudget
from apex_pipeline.sources.parsing import parse_clock, parse_duration_s, parse_integer, parse_number
from apex_pipeline.tables import OFFICIAL_LAPS
from apex_pipeline.tables.model import Column, Row, Table

# Results of other championships end with columns about each driver, and have cells only for a car's own drivers. All
# columns that are read come before these.
_PERSONS = re.compile(r"DRIVER\d+_")
# Reasons of rejects that stand for cells of rows that are kept.
CELL_REASONS = frozenset({"out_of_range", "unreadable_cells", COLUMN_NOTATION})
# Parsers of columns whose notation is recognised as a whole.
_NUMBERS, _TIMES = (parse_number, parse_integer), (parse_duration_s, parse_clock)
# Columns whose loss of precision is reported: the others only repeat them.
_MAIN_TIMES = frozenset({"lap_time_s", "elapsed_s", "crossing_local_time", "s1_s", "s2_s", "s3_s"})
# Free texts, which may name persons if the cells of a row are shifted.
_TEXT_COLUMNS = ("class_name", "group_name", "vehicle")
# One cell that cannot be read is a typing error; two are a row whose cells stand under the wrong names.
_SHIFTED_CELLS = 2


@dataclass(frozen=True)
class ParsedFile:
    """Rows and rejects of one file, or of all files of one kind.

    The number of rows read is ``rows`` + ``repeated_rows`` + rejects, not counting those of :data:`CELL_REASONS`.

    Attributes:
        rows: Rows by published column name.
        rejects: Unusable rows, and placeholder values in usable rows.
        dropped_columns: Columns left unpublished; columns of unknown name are only counted, as one more entry.
        repeated_rows: Rows identical to an earlier row.
        blanked_cells: Zeros published as null because the track has no such sensor.
        notations: How the cells of the number and time columns are written.
        points: Names of the intermediate points, in the order they are driven.
    """

    rows: list[Row]
    rejects: list[Reject]
    dropped_columns: tuple[str, ...] = ()
    repeated_rows: int = 0
    blanked_cells: int = 0
    notations: Mapping[str, ColumnNotation] = field(default_factory=dict[str, ColumnNotation])
    points: tuple[str, ...] = ()


@dataclass(frozen=True)
class Field:
    """One value of a row.

    Attributes:
        column: Its published column.
        names: The columns of the file that may hold it, best first.
        parse: Its parser.
        required: Whether a row without it is rejected.
        has_dash: Whether a dash is a value, and not a word for nothing.
    """

    column: str
    names: tuple[str, ...]
    parse: Callable[[str], object]
    required: bool = False
    has_dash: bool = False


def read_rows(
    stream: BinaryIO, identity: FileIdentity, budget: RowBudget | None, table: Table, fields: Sequence[Field]
) -> ParsedFile:
    """Read the known columns of a file, whose header must have the required ones under one of their names."""
    sources: list[CsvRow] = []
    rejects: list[Reject] = []
    required = [item.names for item in fields if item.required]
    for source in iter_rows(stream, identity.path, identity.kind, required, budget, may_lack=_PERSONS):
        if isinstance(source, Reject):
            rejects.append(source)
        else:
            sources.append(source)
    notations = _notations_of(sources, fields)
    header = tuple(max((source.values for source in sources), key=len, default={}))
    points = point_columns(header) if table is OFFICIAL_LAPS else {}
    parser = _RowParser(identity, table, fields)
    rows, repeated, seen = list[Row](), 0, set[tuple[str, ...]]()
    for source in sources:
        # Rows of which every cell is equal count as one: a file may have been appended to itself. Where the laps of two
        # cars with one number have no time of day, they may be equal; only the row before is compared then.
        cells = tuple(source.values.values())
        if cells in seen:
            repeated += 1
            continue
        seen = seen if table is not OFFICIAL_LAPS or source.values.get("HOUR") else set()
        seen.add(cells)
        row, rejected = parser.parse(_rewritten(source, notations))
        rejects += rejected
        if row is not None:
            rows.append(row | {"points": points_of(source.values, points)} if points else row)
    rejects += parser.unreadable_cells(blank_names(rows, [name for name in _TEXT_COLUMNS if name in _names_of(fields)]))
    rejects += _column_notes(identity, fields, notations)
    dropped = _dropped(header, fields, {name for names in points.values() for name in names})
    return ParsedFile(rows, rejects, dropped, repeated, notations=notations, points=tuple(points))


def _notations_of(sources: Sequence[CsvRow], fields: Sequence[Field]) -> Mapping[str, ColumnNotation]:
    """Return how the cells of each number and time column are written."""
    numeric = [item for item in fields if item.parse in _NUMBERS + _TIMES]
    timed = {name: item.parse in _TIMES for item in numeric for name in item.names}
    return notations_of([source.values for source in sources], timed)


def _rewritten(source: CsvRow, notations: Mapping[str, ColumnNotation]) -> CsvRow:
    """Return the row with its numbers and times in the notation of official timing."""
    changed = {
        name: notation.rewrite(source.values[name], is_clock=name == "HOUR")
        for name, notation in notations.items()
        if source.values.get(name)
    }
    return replace(source, values={**source.values, **changed})


def _column_notes(
    identity: FileIdentity, fields: Sequence[Field], notations: Mapping[str, ColumnNotation]
) -> list[Reject]:
    """Return one entry per column whose notation costs something; of columns for one value, only the one in use."""
    used = {item.names[0] for item in fields if item.column in _MAIN_TIMES}
    sentences = [(name, describe(name, notation)) for name, notation in notations.items() if name in used]
    return [Reject(identity.path, 1, identity.kind, COLUMN_NOTATION, sentence) for _, sentence in sentences if sentence]


def _names_of(fields: Sequence[Field]) -> set[str]:
    return {item.column for item in fields}


def _dropped(header: Sequence[str], fields: Sequence[Field], points: Collection[str]) -> tuple[str, ...]:
    """Return the columns that are not read; names that no race file has may be data of a file without a header."""
    known = {name for item in fields for name in item.names}.union(points)
    others = sum(name not in known and not is_known_column(name) for name in header)
    named = [name for name in header if name not in known and is_known_column(name)]
    return (*named, *([f"{others} of unknown name"] if others else []))


class _RowParser:
    """Parses the rows of a file and counts the cells that cannot be read, by column.

    Args:
        identity: The file.
        table: The table its rows are for, with the bounds of each column.
        fields: The values of a row.
    """

    def __init__(self, identity: FileIdentity, table: Table, fields: Sequence[Field]) -> None:
        self._identity = identity
        self._bounds = {column.name: column for column in table.columns}
        self._fields = fields
        self._cells: Counter[str] = Counter()
        self._unreadable: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def parse(self, source: CsvRow) -> tuple[Row | None, list[Reject]]:
        """Return the row and its rejects; the row is ``None`` if a required value is missing or cells are shifted."""
        row: Row = {"source_file": self._identity.path, "source_row": source.line}
        placeholders: list[Reject] = []
        unreadable: dict[str, str] = {}
        for item in self._fields:
            name = next((name for name in item.names if source.values.get(name)), item.names[0])
            text = _text_of(source.values.get(name, ""), item)
            value = item.parse(text) if text else None
            is_usable = _is_within(value, self._bounds.get(item.column))
            row[item.column] = value if is_usable else None
            if item.required and row[item.column] is None:
                return None, [reject_row(row, self._identity.kind, "bad_value", f"{name}={quoted(text)}")]
            if text:
                self._cells[name] += 1
            if value is None and text:
                unreadable[name] = text
            elif not is_usable:
                detail = f"{name}={quoted(text)}"
                placeholders.append(reject_row(row, self._identity.kind, "out_of_range", detail))
        return self._checked(row, placeholders, unreadable)

    def _checked(
        self, row: Row, placeholders: list[Reject], unreadable: dict[str, str]
    ) -> tuple[Row | None, list[Reject]]:
        """Reject a row whose cells are shifted; without texts, keep one with a word where a number should be."""
        words = [name for name, text in unreadable.items() if may_name_person(text)]
        if len(words) >= _SHIFTED_CELLS:
            detail = f"{', '.join(words)} hold text that is not shown, as it may name persons"
            return None, [reject_row(row, self._identity.kind, "shifted_cells", detail)]
        if words:
            row.update({name: None for name in _TEXT_COLUMNS if name in row})
        for name, text in unreadable.items():
            self._unreadable[name] += 1
            self._first.setdefault(name, f"first {quoted(text)} in line {row['source_row']}")
        return row, placeholders

    def unreadable_cells(self, blanked: dict[str, int]) -> list[Reject]:
        """Return one reject per column with cells that were set to null, and the first of them.

        Args:
            blanked: Number of texts by published column that may be names.
        """
        details = [
            f"{name}: {count:,} of {self._cells[name]:,} cells unreadable, {self._first[name]}"
            for name, count in self._unreadable.items()
        ]
        details += [
            f"{column}: {count:,} cells may be names and are not published" for column, count in blanked.items()
        ]
        identity = self._identity
        return [Reject(identity.path, None, identity.kind, "unreadable_cells", detail) for detail in details]


def _text_of(text: str, item: Field) -> str:
    """Return the text of a cell, empty if it holds a word for nothing."""
    return "" if is_nothing(text) and not (item.has_dash and text == "-") else text


def _is_within(value: object, column: Column | None) -> bool:
    if column is None or not isinstance(value, (int, float)):
        return True
    is_too_small = column.minimum is not None and value < column.minimum
    is_too_large = column.maximum is not None and value > column.maximum
    return not (is_too_small or is_too_large)


def reject_row(row: Row, kind: str, reason: str, detail: str) -> Reject:
    """Return the reject of a parsed row."""
    return Reject(row["source_file"], row["source_row"], kind, reason, detail)

"""Reads official timing (sectors, classification, weather); see ``csv_reader.py`` for the CSV format.

Only known columns are read, by name; all others, including personal names, are listed as dropped and never published. A
row is rejected if its key (car, lap or time) is missing or cannot be parsed, or if its cells are shifted. Another cell
that cannot be parsed is null; they are counted by column (``unreadable_cells``). A number outside the bounds of its
column is a placeholder: it is published as null and reported as ``out_of_range``, and its row is kept.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import pyarrow as pa

from apex_pipeline.sources.base import FileIdentity, Reject
from apex_pipeline.sources.cells import is_nothing, may_name_person, quoted
from apex_pipeline.sources.csv_reader import CsvRow, iter_rows
from apex_pipeline.sources.gr_cup.free_text import blank_names, parse_flag, parse_status
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_columns import (
    COLUMN_NOTATION,
    ColumnNotation,
    describe,
    notations_of,
    restore_lap_time,
)
from apex_pipeline.sources.gr_cup.official_points import point_columns, points_of
from apex_pipeline.sources.gr_cup.parsing import parse_car_number
from apex_pipeline.sources.known_columns import is_known_column
from apex_pipeline.sources.limits import RowBudget
from apex_pipeline.sources.parsing import (
    parse_clock,
    parse_duration_s,
    parse_epoch,
    parse_gap_laps,
    parse_gap_s,
    parse_integer,
    parse_number,
)
from apex_pipeline.tables import OFFICIAL_LAPS, RESULTS, WEATHER
from apex_pipeline.tables.model import Column, Row, Table

# Results of other championships end with columns about each driver, and have cells only for a car's own drivers. All
# columns that are read come before these.
_PERSONS = re.compile(r"DRIVER\d+_")
# Reasons of rejects that stand for cells of rows that are kept.
CELL_REASONS = frozenset({"out_of_range", "unreadable_cells", COLUMN_NOTATION})
# Free texts, which may name persons if the cells of a row are shifted.
_TEXT_COLUMNS = ("class_name", "group_name", "vehicle")
# One cell that cannot be read is a typing error; two are a row whose cells stand under the wrong names.
_SHIFTED_CELLS = 2

# Ignored when comparing rows: two files may hold the same row.
_PROVENANCE = frozenset({"source_file", "source_row"})


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
class _Field:
    """One value of a row: its published column, the file columns that may hold it (best first), and its parser."""

    column: str
    names: tuple[str, ...]
    parse: Callable[[str], object]
    required: bool = False


def _text(value: str) -> str:
    return value


def _is_b(value: str) -> bool:
    return value == "B"


def _gap(value: str) -> tuple[float | None, int | None] | None:
    """Return the gap in seconds or in laps."""
    seconds, laps = parse_gap_s(value), parse_gap_laps(value)
    return None if seconds is None and laps is None else (seconds, laps)


def _is_raining(value: str) -> bool | None:
    number = parse_number(value)
    return None if number is None else number != 0


# Each sector is in three columns; S*_SECONDS is always in seconds, the others mix ``ss.fff`` and ``m:ss.fff``.
_SECTIONS = (
    _Field("car_number", ("NUMBER",), parse_car_number, required=True),
    _Field("lap_number", ("LAP_NUMBER", "LAPNUMBER"), parse_integer, required=True),
    _Field("lap_time_s", ("LAP_TIME", "LAPTIME"), parse_duration_s, required=True),
    _Field("driver_number", ("DRIVER_NUMBER",), parse_integer),
    _Field("elapsed_s", ("ELAPSED",), parse_duration_s),
    _Field("crossing_local_time", ("HOUR",), parse_clock),
    _Field("s1_s", ("S1_SECONDS", "S1_LARGE", "S1"), parse_duration_s),
    _Field("s2_s", ("S2_SECONDS", "S2_LARGE", "S2"), parse_duration_s),
    _Field("s3_s", ("S3_SECONDS", "S3_LARGE", "S3"), parse_duration_s),
    _Field("average_kph", ("KPH",), parse_number),
    _Field("top_speed_kph", ("TOP_SPEED",), parse_number),
    _Field("pit_time_s", ("PIT_TIME",), parse_duration_s),
    _Field("is_finish_in_pit", ("CROSSING_FINISH_LINE_IN_PIT",), _is_b),
    _Field("flag_at_finish", ("FLAG_AT_FL",), parse_flag),
    _Field("class_name", ("CLASS",), _text),
    _Field("group_name", ("GROUP",), _text),
)
_RESULTS = (
    _Field("position", ("POSITION", "POS"), parse_integer),
    _Field("car_number", ("NUMBER",), parse_car_number, required=True),
    _Field("status", ("STATUS",), parse_status),
    _Field("laps_completed", ("LAPS",), parse_integer),
    _Field("total_time_s", ("TOTAL_TIME",), parse_duration_s),
    _Field("gap", ("GAP_FIRST",), _gap),
    # Practice and qualifying results rank by the best lap, and call it LAP, TIME and KPH.
    _Field("best_lap_number", ("FL_LAPNUM", "LAP"), parse_integer),
    _Field("best_lap_time_s", ("FL_TIME", "TIME"), parse_duration_s),
    _Field("best_lap_kph", ("FL_KPH", "KPH"), parse_number),
    _Field("class_name", ("CLASS",), _text),
    _Field("group_name", ("GROUP",), _text),
    _Field("vehicle", ("VEHICLE",), _text),
)
_WEATHER = (
    _Field("observed_utc", ("TIME_UTC_SECONDS",), parse_epoch, required=True),
    _Field("air_temp_c", ("AIR_TEMP",), parse_number),
    _Field("track_temp_c", ("TRACK_TEMP",), parse_number),
    _Field("humidity_pct", ("HUMIDITY",), parse_number),
    _Field("pressure_hpa", ("PRESSURE",), parse_number),
    _Field("wind_speed", ("WIND_SPEED",), parse_number),
    _Field("wind_direction_deg", ("WIND_DIRECTION",), parse_number),
    _Field("is_raining", ("RAIN",), _is_raining),
)


_TIMES = (parse_duration_s, parse_clock)
# Columns whose loss of precision is reported: the others only repeat them.
_MAIN_TIMES = frozenset({"lap_time_s", "elapsed_s", "crossing_local_time", "s1_s", "s2_s", "s3_s"})
_NOT_NUMBERS = (_text, parse_car_number, parse_flag, parse_status, _is_b, parse_epoch, _is_raining, _gap)


def read_sections(stream: BinaryIO, identity: FileIdentity, budget: RowBudget | None = None) -> ParsedFile:
    """Read the official laps of one ``23_`` file.

    Args:
        stream: The file, open for reading bytes.
        identity: Identity of the file.
        budget: Limits on the file, and memory for its rows.

    Raises:
        LimitExceededError: The file exceeds a limit.
        MalformedFileError: It is empty, binary, damaged, or lacks the columns for number, lap or lap time.
    """
    parsed = _read(stream, identity, budget, OFFICIAL_LAPS, _SECTIONS)
    for row in parsed.rows:
        row["is_finish_in_pit"] = bool(row["is_finish_in_pit"])
    _number_entries(parsed.rows)
    notations = parsed.notations
    resolution_s = max(
        (notations[name].resolution_s for name in ("LAP_TIME", "LAPTIME") if name in notations), default=0
    )
    for row in parsed.rows:
        restore_lap_time(row, resolution_s)
        row["classified_lap_time_s"] = None
    return _without_copies(parsed)


def add_classified_times(laps: Sequence[ParsedFile], results: Sequence[ParsedFile]) -> None:
    """Note FL_TIME of the classification at the laps that are a car's fastest there.

    Cars that share a printed number are left out: the classification does not tell them apart.

    Args:
        laps: The files of official laps; changed in place.
        results: The classifications.
    """
    order = {"official": 2, "unstated": 1, "provisional": 0}
    rows = sorted((row for part in results for row in part.rows), key=lambda row: order.get(row["version"], 0))
    of_version = Counter((row["source_file"], row["car_number"]) for row in rows)
    shared = {number for (_, number), count in of_version.items() if count > 1}
    best = {(row["car_number"], row["best_lap_number"]): row["best_lap_time_s"] for row in rows}
    numbers = {row["car_number"]: row["best_lap_number"] for row in rows}
    for row in (row for part in laps for row in part.rows):
        number, lap = row["car_number"], row["lap_number"]
        if number not in shared and row["entry"] == 1 and numbers.get(number) == lap:
            row["classified_lap_time_s"] = best[number, lap]


def _number_entries(rows: list[Row]) -> None:
    """Set ``entry`` to 1, 2 … for the cars that share a printed number (03 and 3 are anonymised to the same number).

    Their laps are in consecutive blocks: a new car starts where the lap number falls back to the first of the block. A
    row written twice under one number has the same ELAPSED, and is the same car's.
    """
    laps = Counter((row["car_number"], row["lap_number"]) for row in rows)
    shared = {number for (number, _), rows_of_lap in laps.items() if rows_of_lap > 1}
    first: dict[str, Row] = {}
    last_lap: dict[str, int] = {}
    entry: Counter[str] = Counter()
    for row in rows:
        number, lap = row["car_number"], row["lap_number"]
        block = first.get(number)
        is_restart = block is not None and lap <= min(block["lap_number"], last_lap[number]) and number in shared
        is_copy = block is not None and row["elapsed_s"] is not None and row["elapsed_s"] == block["elapsed_s"]
        if block is None or (is_restart and not is_copy):
            entry[number] += 1
            first[number] = row
        last_lap[number] = lap
        row["entry"] = entry[number]


def _without_copies(parsed: ParsedFile) -> ParsedFile:
    """Reject rows that repeat a crossing of their car under another lap number: ELAPSED and HOUR are the same."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in parsed.rows:
        if row["elapsed_s"] is not None and row["crossing_local_time"] is not None:
            key = (row["car_number"], row["entry"], row["elapsed_s"], row["crossing_local_time"])
            groups.setdefault(key, []).append(row)
    copies = {id(row) for group in groups.values() if len(group) > 1 for row in _copies(group, parsed.rows)}
    rejected = [
        _reject(row, FileKind.SECTIONS, "repeated_crossing", "ELAPSED and HOUR of another lap of this car")
        for row in parsed.rows
        if id(row) in copies
    ]
    rows = [row for row in parsed.rows if id(row) not in copies]
    return replace(parsed, rows=rows, rejects=[*parsed.rejects, *rejected])


def _copies(group: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Return all rows of a group but the one whose lap number fits the order of ELAPSED."""
    if len({row["lap_number"] for row in group}) == 1:
        return []  # the same lap twice, which merging handles
    of_car = [row for row in rows if (row["car_number"], row["entry"]) == (group[0]["car_number"], group[0]["entry"])]
    elapsed = sorted({row["elapsed_s"] for row in of_car if row["elapsed_s"] is not None})
    rank = min(row["lap_number"] for row in of_car) + elapsed.index(group[0]["elapsed_s"])
    original = min(group, key=lambda row: abs(row["lap_number"] - rank))
    return [row for row in group if row is not original]


def read_results(stream: BinaryIO, identity: FileIdentity, budget: RowBudget | None = None) -> ParsedFile:
    """Read one classification (``00_`` or ``03_`` file).

    Args:
        stream: The file, open for reading bytes.
        identity: Identity of the file.
        budget: Limits on the file, and memory for its rows.

    Raises:
        LimitExceededError: The file exceeds a limit.
        MalformedFileError: It is empty, binary, damaged, or lacks the column for the number.
    """
    parsed = _read(stream, identity, budget, RESULTS, _RESULTS)
    for row in parsed.rows:
        row["gap_to_first_s"], row["gap_to_first_laps"] = row.pop("gap") or (None, None)
        row["best_lap_number"] = row["best_lap_number"] or None  # 0 means that the car has no timed lap
        row["version"] = identity.version or "unstated"
    return parsed


def read_weather(stream: BinaryIO, identity: FileIdentity, budget: RowBudget | None = None) -> ParsedFile:
    """Read the weather readings of one ``26_`` file.

    Args:
        stream: The file, open for reading bytes.
        identity: Identity of the file.
        budget: Limits on the file, and memory for its rows.

    Raises:
        LimitExceededError: The file exceeds a limit.
        MalformedFileError: It is empty, binary, damaged, or lacks the column for the time.
    """
    parsed = _read(stream, identity, budget, WEATHER, _WEATHER)
    # A track without a sensor reports 0 throughout; real asphalt does not stay at exactly 0 °C for a race.
    if any(row["track_temp_c"] != 0 for row in parsed.rows):
        return parsed
    for row in parsed.rows:
        row["track_temp_c"] = None
    return replace(parsed, blanked_cells=len(parsed.rows))


def _read(
    stream: BinaryIO, identity: FileIdentity, budget: RowBudget | None, table: Table, fields: Sequence[_Field]
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


def _notations_of(sources: Sequence[CsvRow], fields: Sequence[_Field]) -> Mapping[str, ColumnNotation]:
    """Return how the cells of each number and time column are written."""
    numeric = [item for item in fields if item.parse not in _NOT_NUMBERS]
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
    identity: FileIdentity, fields: Sequence[_Field], notations: Mapping[str, ColumnNotation]
) -> list[Reject]:
    """Return one entry per column whose notation costs something; of columns for one value, only the one in use."""
    used = {item.names[0] for item in fields if item.column in _MAIN_TIMES}
    sentences = [(name, describe(name, notation)) for name, notation in notations.items() if name in used]
    return [Reject(identity.path, 1, identity.kind, COLUMN_NOTATION, sentence) for _, sentence in sentences if sentence]


def _names_of(fields: Sequence[_Field]) -> set[str]:
    return {item.column for item in fields}


def _dropped(header: Sequence[str], fields: Sequence[_Field], points: Collection[str]) -> tuple[str, ...]:
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

    def __init__(self, identity: FileIdentity, table: Table, fields: Sequence[_Field]) -> None:
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
                return None, [_reject(row, self._identity.kind, "bad_value", f"{name}={quoted(text)}")]
            if text:
                self._cells[name] += 1
            if value is None and text:
                unreadable[name] = text
            elif not is_usable:
                detail = f"{name}={quoted(text)}"
                placeholders.append(_reject(row, self._identity.kind, "out_of_range", detail))
        return self._checked(row, placeholders, unreadable)

    def _checked(
        self, row: Row, placeholders: list[Reject], unreadable: dict[str, str]
    ) -> tuple[Row | None, list[Reject]]:
        """Reject a row whose cells are shifted; without texts, keep one with a word where a number should be."""
        words = [name for name, text in unreadable.items() if may_name_person(text)]
        if len(words) >= _SHIFTED_CELLS:
            detail = f"{', '.join(words)} hold text that is not shown, as it may name persons"
            return None, [_reject(row, self._identity.kind, "shifted_cells", detail)]
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


def _text_of(text: str, item: _Field) -> str:
    """Return the text of a cell, empty if it holds a word for nothing; a dash is the gap of the leader."""
    return "" if is_nothing(text) and not (item.parse is _gap and text == "-") else text


def _is_within(value: object, column: Column | None) -> bool:
    if column is None or not isinstance(value, (int, float)):
        return True
    is_too_small = column.minimum is not None and value < column.minimum
    is_too_large = column.maximum is not None and value > column.maximum
    return not (is_too_small or is_too_large)


def _reject(row: Row, kind: str, reason: str, detail: str) -> Reject:
    return Reject(row["source_file"], row["source_row"], kind, reason, detail)


def official_laps_table(track: str, session: str, parsed: Sequence[ParsedFile]) -> tuple[pa.Table, ParsedFile]:
    """Return the table ``official_laps`` of a session, and its merged rows and rejects."""
    merged = _merge(parsed, OFFICIAL_LAPS.key, FileKind.SECTIONS)
    return _table(OFFICIAL_LAPS, track, session, merged), merged


def results_table(track: str, session: str, parsed: Sequence[ParsedFile]) -> tuple[pa.Table, ParsedFile]:
    """Return the table ``results`` of a session, best version marked final, and its merged rows and rejects."""
    # A car number may occur twice in a classification (03 and 3 are anonymised to the same), with different positions.
    merged = _merge(parsed, ("version", "car_number", "position"), FileKind.RESULTS)
    present = {row["version"] for row in merged.rows}
    final = next((version for version in ("official", "unstated", "provisional") if version in present), None)
    for row in merged.rows:
        row["is_final"] = row["version"] == final
    return _table(RESULTS, track, session, merged), merged


def weather_table(track: str, session: str, parsed: Sequence[ParsedFile]) -> tuple[pa.Table, ParsedFile]:
    """Return the table ``weather`` of a session, one row per time, and its merged rows and rejects."""
    merged = _merge(parsed, ("observed_utc",), FileKind.WEATHER)
    return _table(WEATHER, track, session, merged), merged


def _merge(parsed: Sequence[ParsedFile], key: Sequence[str], kind: FileKind) -> ParsedFile:
    """Merge the files of one kind.

    Identical rows of several files are kept once and counted as repeated. If two rows with the same key differ, the
    first is kept and the other is rejected, so no row disappears silently.
    """
    by_key: dict[tuple[object, ...], Row] = {}
    rejects = [reject for part in parsed for reject in part.rejects]
    repeated = sum(part.repeated_rows for part in parsed)
    for row in (row for part in parsed for row in part.rows):
        first = by_key.setdefault(tuple(row[name] for name in key), row)
        if first is row:
            continue
        differing = [name for name in row if name not in _PROVENANCE and row[name] != first.get(name)]
        if differing:
            rejects.append(_conflict(row, first, differing[0], kind))
        else:
            repeated += 1
    return ParsedFile(
        rows=list(by_key.values()),
        rejects=rejects,
        dropped_columns=tuple(sorted({name for part in parsed for name in part.dropped_columns})),
        repeated_rows=repeated,
        blanked_cells=sum(part.blanked_cells for part in parsed),
        points=tuple(dict.fromkeys(point for part in parsed for point in part.points)),
    )


def _conflict(row: Row, first: Row, differing: str, kind: FileKind) -> Reject:
    other = f"{first['source_file']} line {first['source_row']}"
    pair = (row[differing], first.get(differing))
    values = [quoted(value) if isinstance(value, str) else str(value) for value in pair]
    detail = f"{differing}={values[0]}, {other} says {values[1]}"
    return _reject(row, kind, "conflicting_duplicate", detail)


def _table(table: Table, track: str, session: str, merged: ParsedFile) -> pa.Table:
    rows = sorted(merged.rows, key=lambda row: [(row[name] is None, row[name]) for name in table.sort_by])
    return table.from_rows([{"track": track, "session": session, **row} for row in rows])

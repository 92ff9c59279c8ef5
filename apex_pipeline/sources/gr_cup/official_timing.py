"""Reads official timing (sectors, classification, weather); see ``csv_reader.py`` for the CSV format.

Only known columns are read, by name; all others, including personal names, are listed as dropped and never published. A
row is rejected if a cell cannot be parsed or its key (car, lap or time) is missing. A number outside the bounds of its
column is a placeholder: it is published as null and reported as ``out_of_range``, and its row is kept.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import pyarrow as pa

from apex_pipeline.sources.base import FileIdentity, Reject
from apex_pipeline.sources.csv_reader import SHOWN_CHARACTERS, CsvRow, iter_rows
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_points import point_columns, points_of
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

# Ignored when comparing rows: two files may hold the same row.
_PROVENANCE = frozenset({"source_file", "source_row"})


@dataclass(frozen=True)
class ParsedFile:
    """Rows and rejects of one file, or of all files of one kind.

    The number of rows read is ``rows`` + ``repeated_rows`` + rejects, not counting ``out_of_range`` rejects.

    Attributes:
        rows: Rows by published column name.
        rejects: Unusable rows, and placeholder values in usable rows.
        dropped_columns: Columns left unpublished.
        repeated_rows: Rows identical to an earlier row.
        blanked_cells: Zeros published as null because the track has no such sensor.
        points: Names of the intermediate points, in the order they are driven.
    """

    rows: list[Row]
    rejects: list[Reject]
    dropped_columns: tuple[str, ...] = ()
    repeated_rows: int = 0
    blanked_cells: int = 0
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
    _Field("car_number", ("NUMBER",), _text, required=True),
    _Field("lap_number", ("LAP_NUMBER",), parse_integer, required=True),
    _Field("lap_time_s", ("LAP_TIME",), parse_duration_s, required=True),
    _Field("elapsed_s", ("ELAPSED",), parse_duration_s),
    _Field("crossing_local_time", ("HOUR",), parse_clock),
    _Field("s1_s", ("S1_SECONDS", "S1_LARGE", "S1"), parse_duration_s),
    _Field("s2_s", ("S2_SECONDS", "S2_LARGE", "S2"), parse_duration_s),
    _Field("s3_s", ("S3_SECONDS", "S3_LARGE", "S3"), parse_duration_s),
    _Field("average_kph", ("KPH",), parse_number),
    _Field("top_speed_kph", ("TOP_SPEED",), parse_number),
    _Field("pit_time_s", ("PIT_TIME",), parse_duration_s),
    _Field("is_finish_in_pit", ("CROSSING_FINISH_LINE_IN_PIT",), _is_b),
    _Field("flag_at_finish", ("FLAG_AT_FL",), _text),
    _Field("class_name", ("CLASS",), _text),
    _Field("group_name", ("GROUP",), _text),
)
_RESULTS = (
    _Field("position", ("POSITION",), parse_integer),
    _Field("car_number", ("NUMBER",), _text, required=True),
    _Field("status", ("STATUS",), _text),
    _Field("laps_completed", ("LAPS",), parse_integer),
    _Field("total_time_s", ("TOTAL_TIME",), parse_duration_s),
    _Field("gap", ("GAP_FIRST",), _gap),
    _Field("best_lap_number", ("FL_LAPNUM",), parse_integer),
    _Field("best_lap_time_s", ("FL_TIME",), parse_duration_s),
    _Field("best_lap_kph", ("FL_KPH",), parse_number),
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
    return parsed


def _number_entries(rows: list[Row]) -> None:
    """Set ``entry`` to 1, 2 … for the cars that share a printed number (03 and 3 are anonymised to the same number).

    Their laps are in consecutive blocks: if lap numbers repeat under one car number, a new car starts wherever the lap
    number does not increase. A car number without repeated laps is one car, whatever the order of its rows.
    """
    laps = Counter((row["car_number"], row["lap_number"]) for row in rows)
    shared = {number for (number, _), rows_of_lap in laps.items() if rows_of_lap > 1}
    entry: Counter[str] = Counter()
    last_lap: dict[str, int] = {}
    for row in rows:
        number, lap = row["car_number"], row["lap_number"]
        if number not in last_lap or (number in shared and lap <= last_lap[number]):
            entry[number] += 1
        last_lap[number] = lap
        row["entry"] = entry[number]


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
    """Read the known columns of a file, whose header must have the required ones."""
    required = [item.names[0] for item in fields if item.required]
    bounds = {column.name: column for column in table.columns}
    rows: list[Row] = []
    rejects: list[Reject] = []
    repeated, header, previous = 0, (), None
    points: dict[str, tuple[str, str]] = {}
    for source in iter_rows(stream, identity.path, identity.kind, required, budget):
        if isinstance(source, Reject):
            rejects.append(_without_text(source))
            continue
        # Consecutive rows count as one if every cell is equal.
        if source.values == previous:
            repeated += 1
            continue
        if not header and table is OFFICIAL_LAPS:
            points = point_columns(tuple(source.values))
        header, previous = header or tuple(source.values), source.values
        row, rejected = _parse_row(source, fields, bounds, identity)
        rejects += rejected
        if row is not None:
            rows.append(row | {"points": points_of(source.values, points)} if points else row)
    known = {name for item in fields for name in item.names}.union(*points.values())
    dropped = tuple(name for name in header if name not in known)
    return ParsedFile(rows, rejects, dropped, repeated, points=tuple(points))


def _without_text(reject: Reject) -> Reject:
    """Return the reject without the line's text: rejects are published, and the line may hold personal names."""
    return replace(reject, detail=f"{len(reject.detail)} characters, not shown: the line may name persons")


def _parse_row(
    source: CsvRow, fields: Sequence[_Field], bounds: dict[str, Column], identity: FileIdentity
) -> tuple[Row | None, list[Reject]]:
    """Return the row and its rejects; the row is ``None`` if a value is invalid or a required one is missing."""
    row: Row = {"source_file": identity.path, "source_row": source.line}
    placeholders: list[Reject] = []
    for item in fields:
        name = next((name for name in item.names if source.values.get(name)), item.names[0])
        text = source.values.get(name, "")
        value = item.parse(text) if text else None
        is_usable = _is_within(value, bounds.get(item.column))
        row[item.column] = value if is_usable else None
        problem = f"{name}={text!r}"
        if (value is None and text) or (item.required and row[item.column] is None):
            return None, [_reject(row, identity.kind, "bad_value", problem)]
        if not is_usable:
            placeholders.append(_reject(row, identity.kind, "out_of_range", problem))
    return row, placeholders


def _is_within(value: object, column: Column | None) -> bool:
    if column is None or not isinstance(value, (int, float)):
        return True
    is_too_small = column.minimum is not None and value < column.minimum
    is_too_large = column.maximum is not None and value > column.maximum
    return not (is_too_small or is_too_large)


def _reject(row: Row, kind: str, reason: str, detail: str) -> Reject:
    return Reject(row["source_file"], row["source_row"], kind, reason, detail[:SHOWN_CHARACTERS])


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
    detail = f"{differing}={row[differing]!r}, {other} says {first.get(differing)!r}"
    return _reject(row, kind, "conflicting_duplicate", detail)


def _table(table: Table, track: str, session: str, merged: ParsedFile) -> pa.Table:
    rows = sorted(merged.rows, key=lambda row: [(row[name] is None, row[name]) for name in table.sort_by])
    return table.from_rows([{"track": track, "session": session, **row} for row in rows])

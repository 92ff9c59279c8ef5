"""Official timing: laps with sectors, classification and weather, as the timekeepers printed them.

Columns are taken by name and only the known ones: whatever else a file holds, names of persons among it, is not
published and is listed as dropped. Here belongs what each kind of file means; reading text into rows is
``csv_files.py``.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

import pyarrow as pa

from apex_pipeline.schemas import OFFICIAL_LAPS, RESULTS, WEATHER
from apex_pipeline.sources.gr_cup.csv_files import CsvRow, read_rows
from apex_pipeline.sources.gr_cup.files import FileIdentity, FileKind, Reject
from apex_pipeline.sources.gr_cup.values import (
    parse_clock,
    parse_duration_s,
    parse_gap_laps,
    parse_gap_s,
    parse_integer,
    parse_number,
)
from apex_pipeline.table_model import Table

_SHOWN_CHARACTERS = 200

Row = dict[str, object]


@dataclass(frozen=True)
class Parsed:
    """What one file, or all files of a kind together, gave.

    Attributes:
        rows: Rows by published column name.
        rejects: Rows that could not be used.
        dropped_columns: Columns of the files that are not published.
    """

    rows: list[Row]
    rejects: list[Reject]
    dropped_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Field:
    """One published value: its column, the columns of the file it may be in, and how the text is read."""

    column: str
    names: tuple[str, ...]
    parse: Callable[[str], object]
    is_required: bool = False


def _text(value: str) -> str:
    return value


def _is_in_pit(value: str) -> bool:
    return value == "B"


def _is_raining(value: str) -> bool:
    return bool(parse_number(value))


def _moment(value: str) -> datetime | None:
    seconds = parse_number(value)
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


# Each sector stands in three columns; S*_SECONDS is always seconds, the others mix ``ss.fff`` and ``m:ss.fff``.
_SECTIONS = (
    _Field("car_number", ("NUMBER",), _text, is_required=True),
    _Field("lap_number", ("LAP_NUMBER",), parse_integer, is_required=True),
    _Field("lap_time_s", ("LAP_TIME",), parse_duration_s, is_required=True),
    _Field("elapsed_s", ("ELAPSED",), parse_duration_s),
    _Field("crossing_local_time", ("HOUR",), parse_clock),
    _Field("s1_s", ("S1_SECONDS", "S1_LARGE", "S1"), parse_duration_s),
    _Field("s2_s", ("S2_SECONDS", "S2_LARGE", "S2"), parse_duration_s),
    _Field("s3_s", ("S3_SECONDS", "S3_LARGE", "S3"), parse_duration_s),
    _Field("average_kph", ("KPH",), parse_number),
    _Field("top_speed_kph", ("TOP_SPEED",), parse_number),
    _Field("pit_time_s", ("PIT_TIME",), parse_duration_s),
    _Field("flag_at_finish", ("FLAG_AT_FL",), _text),
    _Field("class_name", ("CLASS",), _text),
    _Field("group_name", ("GROUP",), _text),
)
_RESULTS = (
    _Field("position", ("POSITION",), parse_integer),
    _Field("car_number", ("NUMBER",), _text, is_required=True),
    _Field("status", ("STATUS",), _text),
    _Field("laps_completed", ("LAPS",), parse_integer),
    _Field("total_time_s", ("TOTAL_TIME",), parse_duration_s),
    _Field("best_lap_number", ("FL_LAPNUM",), parse_integer),
    _Field("best_lap_time_s", ("FL_TIME",), parse_duration_s),
    _Field("best_lap_kph", ("FL_KPH",), parse_number),
    _Field("class_name", ("CLASS",), _text),
    _Field("group_name", ("GROUP",), _text),
    _Field("vehicle", ("VEHICLE",), _text),
)
_WEATHER = (
    _Field("observed_utc", ("TIME_UTC_SECONDS",), _moment, is_required=True),
    _Field("air_temp_c", ("AIR_TEMP",), parse_number),
    _Field("track_temp_c", ("TRACK_TEMP",), parse_number),
    _Field("humidity_pct", ("HUMIDITY",), parse_number),
    _Field("pressure_hpa", ("PRESSURE",), parse_number),
    _Field("wind_speed", ("WIND_SPEED",), parse_number),
    _Field("wind_direction_deg", ("WIND_DIRECTION",), parse_number),
    _Field("is_raining", ("RAIN",), _is_raining),
)


def read_sections(stream: BinaryIO, identity: FileIdentity) -> Parsed:
    """Read the official laps of one ``23_`` file.

    A printed number that two cars share (03 and 3, anonymised alike) shows as two blocks one after the other: where the
    lap number falls back, the next ``entry`` begins.

    Raises:
        MalformedFileError: The file is empty, binary, or lacks number, lap or lap time.
    """
    pairs, parsed = _read(stream, identity, _SECTIONS, also_read=("CROSSING_FINISH_LINE_IN_PIT",))
    entry: Counter[str] = Counter()
    last_lap: dict[str, int] = {}
    for row, source in pairs:
        number, lap = str(row["car_number"]), int(str(row["lap_number"]))
        entry[number] += number not in last_lap or lap <= last_lap[number]
        last_lap[number] = lap
        row["entry"] = entry[number]
        row["is_finish_in_pit"] = _is_in_pit(source.values.get("CROSSING_FINISH_LINE_IN_PIT", ""))
    return parsed


def read_results(stream: BinaryIO, identity: FileIdentity) -> Parsed:
    """Read one classification (``00_`` or ``03_`` file).

    Raises:
        MalformedFileError: The file is empty, binary, or lacks the number.
    """
    pairs, parsed = _read(stream, identity, _RESULTS, also_read=("GAP_FIRST",))
    for row, source in pairs:
        gap = source.values.get("GAP_FIRST", "")
        row["gap_to_first_s"] = parse_gap_s(gap)
        row["gap_to_first_laps"] = parse_gap_laps(gap)
        row["version"] = identity.version or "unstated"
    return parsed


def read_weather(stream: BinaryIO, identity: FileIdentity) -> Parsed:
    """Read the weather readings of one ``26_`` file.

    Raises:
        MalformedFileError: The file is empty, binary, or lacks the time.
    """
    _, parsed = _read(stream, identity, _WEATHER)
    rows = parsed.rows
    # Where the track has no sensor every reading is 0; asphalt at exactly 0 °C for a whole race is not one.
    if rows and all(row["track_temp_c"] == 0 for row in rows):
        for row in rows:
            row["track_temp_c"] = None
    return parsed


def _read(
    stream: BinaryIO, identity: FileIdentity, fields: Sequence[_Field], also_read: tuple[str, ...] = ()
) -> tuple[list[tuple[Row, CsvRow]], Parsed]:
    """Read the known columns of a file; return every published row beside the row it comes from, and all together."""
    required = [field.names[0] for field in fields if field.is_required]
    source_rows, rejects = read_rows(stream, identity.path, identity.kind, required)
    pairs: list[tuple[Row, CsvRow]] = []
    for source in source_rows:
        row, problem = _published(source, fields)
        if problem:
            detail = f"{problem}={source.values.get(problem, '')!r}"[:_SHOWN_CHARACTERS]
            rejects.append(Reject(identity.path, source.line, identity.kind, "bad_value", detail))
            continue
        row |= {"source_file": identity.path, "source_row": source.line}
        pairs.append((row, source))
    known = {name for field in fields for name in field.names} | set(also_read)
    header = source_rows[0].values if source_rows else {}
    return pairs, Parsed([row for row, _ in pairs], rejects, tuple(name for name in header if name not in known))


def _published(source: CsvRow, fields: Sequence[_Field]) -> tuple[Row, str | None]:
    """Return the row's values and the first column whose text cannot be read, if there is one."""
    row: Row = {}
    for field in fields:
        name, text = next(((n, source.values[n]) for n in field.names if source.values.get(n)), (field.names[0], ""))
        value = field.parse(text) if text else None
        if value is None and (text or field.is_required):
            return row, name
        row[field.column] = value
    return row, None


def official_laps_table(track: str, session: str, parsed: Sequence[Parsed]) -> tuple[pa.Table, Parsed]:
    """Return the table ``official_laps`` of all files of a session, and what went into it."""
    merged = _merge(parsed, OFFICIAL_LAPS, OFFICIAL_LAPS.key)
    return _table(OFFICIAL_LAPS, track, session, merged), merged


def results_table(track: str, session: str, parsed: Sequence[Parsed]) -> tuple[pa.Table, Parsed]:
    """Return the table ``results``: every version, the best one of the session marked final; official wins."""
    # A car number may stand twice in one classification (03 and 3 anonymised alike); the place tells them apart.
    merged = _merge(parsed, RESULTS, ("version", "car_number", "position"))
    present = {row["version"] for row in merged.rows}
    final = next((version for version in ("official", "unstated", "provisional") if version in present), None)
    for row in merged.rows:
        row["is_final"] = row["version"] == final
    return _table(RESULTS, track, session, merged), merged


def weather_table(track: str, session: str, parsed: Sequence[Parsed]) -> tuple[pa.Table, Parsed]:
    """Return the table ``weather`` of all files of a session."""
    merged = _merge(parsed, WEATHER, ("observed_utc",))
    return _table(WEATHER, track, session, merged), merged


def _merge(parsed: Sequence[Parsed], table: Table, key: tuple[str, ...]) -> Parsed:
    """Put the files of a kind together.

    A row that two files agree on is kept once; where they differ the first file's row is kept and the other rejected,
    so that nothing disappears unseen.
    """
    by_key: dict[tuple[object, ...], Row] = {}
    rejects = [reject for part in parsed for reject in part.rejects]
    for row in (row for part in parsed for row in part.rows):
        first = by_key.setdefault(tuple(row[name] for name in key), row)
        if first is not row and _facts(first) != _facts(row):
            rejects.append(_conflict(row, first, table))
    dropped = {name for part in parsed for name in part.dropped_columns}
    return Parsed(list(by_key.values()), rejects, tuple(sorted(dropped)))


def _facts(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in {"source_file", "source_row"}}


def _conflict(row: Row, first: Row, table: Table) -> Reject:
    differing = next(name for name in row if name not in {"source_file", "source_row"} and row[name] != first[name])
    detail = (
        f"{differing}={row[differing]!r}, {first['source_file']} line {first['source_row']} says {first[differing]!r}"
    )
    kind = _KIND_OF_TABLE[table.name]
    return Reject(
        str(row["source_file"]), int(str(row["source_row"])), kind, "conflicting_duplicate", detail[:_SHOWN_CHARACTERS]
    )


def _table(table: Table, track: str, session: str, merged: Parsed) -> pa.Table:
    rows = sorted(merged.rows, key=lambda row: tuple((row[name] is None, row[name]) for name in table.order))
    return table.from_rows([{"track": track, "session": session, **row} for row in rows])


_KIND_OF_TABLE = {
    OFFICIAL_LAPS.name: FileKind.SECTIONS,
    RESULTS.name: FileKind.RESULTS,
    WEATHER.name: FileKind.WEATHER,
}

__all__ = [
    "Parsed",
    "official_laps_table",
    "read_results",
    "read_sections",
    "read_weather",
    "results_table",
    "weather_table",
]

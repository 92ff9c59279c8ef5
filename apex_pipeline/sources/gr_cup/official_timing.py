"""Reads official timing (sectors, classification, weather): the columns of each kind of file, and the tables.

Only known columns are read, by name; all others, including personal names, are listed as dropped and never published.
See ``official_rows.py`` for reading rows and cells, and ``official_entries.py`` for the cars they belong to.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

import pyarrow as pa

from apex_pipeline.sources.base import FileIdentity, Reject
from apex_pipeline.sources.cells import quoted
from apex_pipeline.sources.gr_cup.free_text import parse_flag, parse_status
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_columns import (
    restore_lap_time,
)
from apex_pipeline.sources.gr_cup.official_entries import number_entries, without_copies
from apex_pipeline.sources.gr_cup.official_rows import Field, ParsedFile, read_rows, reject_row
from apex_pipeline.sources.gr_cup.parsing import parse_car_number
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
from apex_pipeline.tables.model import Row, Table

# Ignored when comparing rows: two files may hold the same row.
_PROVENANCE = frozenset({"source_file", "source_row"})


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
    Field("car_number", ("NUMBER",), parse_car_number, required=True),
    Field("lap_number", ("LAP_NUMBER", "LAPNUMBER"), parse_integer, required=True),
    Field("lap_time_s", ("LAP_TIME", "LAPTIME"), parse_duration_s, required=True),
    Field("driver_number", ("DRIVER_NUMBER",), parse_integer),
    Field("elapsed_s", ("ELAPSED",), parse_duration_s),
    Field("crossing_local_time", ("HOUR",), parse_clock),
    Field("s1_s", ("S1_SECONDS", "S1_LARGE", "S1"), parse_duration_s),
    Field("s2_s", ("S2_SECONDS", "S2_LARGE", "S2"), parse_duration_s),
    Field("s3_s", ("S3_SECONDS", "S3_LARGE", "S3"), parse_duration_s),
    Field("average_kph", ("KPH",), parse_number),
    Field("top_speed_kph", ("TOP_SPEED",), parse_number),
    Field("pit_time_s", ("PIT_TIME",), parse_duration_s),
    Field("is_finish_in_pit", ("CROSSING_FINISH_LINE_IN_PIT",), _is_b),
    Field("flag_at_finish", ("FLAG_AT_FL",), parse_flag),
    Field("class_name", ("CLASS",), _text),
    Field("group_name", ("GROUP",), _text),
)
_RESULTS = (
    Field("position", ("POSITION", "POS"), parse_integer),
    Field("car_number", ("NUMBER",), parse_car_number, required=True),
    Field("status", ("STATUS",), parse_status),
    Field("laps_completed", ("LAPS",), parse_integer),
    Field("total_time_s", ("TOTAL_TIME",), parse_duration_s),
    Field("gap", ("GAP_FIRST",), _gap, has_dash=True),
    # Practice and qualifying results rank by the best lap, and call it LAP, TIME and KPH.
    Field("best_lap_number", ("FL_LAPNUM", "LAP"), parse_integer),
    Field("best_lap_time_s", ("FL_TIME", "TIME"), parse_duration_s),
    Field("best_lap_kph", ("FL_KPH", "KPH"), parse_number),
    Field("class_name", ("CLASS",), _text),
    Field("group_name", ("GROUP",), _text),
    Field("vehicle", ("VEHICLE",), _text),
)
_WEATHER = (
    Field("observed_utc", ("TIME_UTC_SECONDS",), parse_epoch, required=True),
    Field("air_temp_c", ("AIR_TEMP",), parse_number),
    Field("track_temp_c", ("TRACK_TEMP",), parse_number),
    Field("humidity_pct", ("HUMIDITY",), parse_number),
    Field("pressure_hpa", ("PRESSURE",), parse_number),
    Field("wind_speed", ("WIND_SPEED",), parse_number),
    Field("wind_direction_deg", ("WIND_DIRECTION",), parse_number),
    Field("is_raining", ("RAIN",), _is_raining),
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
    parsed = read_rows(stream, identity, budget, OFFICIAL_LAPS, _SECTIONS)
    for row in parsed.rows:
        row["is_finish_in_pit"] = bool(row["is_finish_in_pit"])
    number_entries(parsed.rows)
    notations = parsed.notations
    resolution_s = max(
        (notations[name].resolution_s for name in ("LAP_TIME", "LAPTIME") if name in notations), default=0
    )
    for row in parsed.rows:
        restore_lap_time(row, resolution_s)
        row["classified_lap_time_s"] = None
    return without_copies(parsed)


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
    parsed = read_rows(stream, identity, budget, RESULTS, _RESULTS)
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
    parsed = read_rows(stream, identity, budget, WEATHER, _WEATHER)
    # A track without a sensor reports 0 throughout; real asphalt does not stay at exactly 0 °C for a race.
    if any(row["track_temp_c"] != 0 for row in parsed.rows):
        return parsed
    for row in parsed.rows:
        row["track_temp_c"] = None
    return replace(parsed, blanked_cells=len(parsed.rows))


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
    return reject_row(row, kind, "conflicting_duplicate", detail)


def _table(table: Table, track: str, session: str, merged: ParsedFile) -> pa.Table:
    rows = sorted(merged.rows, key=lambda row: [(row[name] is None, row[name]) for name in table.sort_by])
    return table.from_rows([{"track": track, "session": session, **row} for row in rows])

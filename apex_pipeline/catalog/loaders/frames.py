"""Builds the frames that applications receive from published tables or from CSV text.

Units of the six telemetry columns: ``Time`` seconds since the session's first sample, ``Speed`` km/h, ``Throttle`` %,
``Brake`` bar (front), ``Latitude`` and ``Longitude`` degrees. ``LapTime`` is in seconds. The other columns keep the
names and units of ``docs/tables.md``.
"""

import codecs
import csv
import io
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from apex_pipeline.catalog.loaders.filenames import LoadKind
from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.csv_reader import require_text
from apex_pipeline.sources.parsing import parse_duration_s, parse_utc_ms
from apex_pipeline.tables import LAPS, TELEMETRY

LAP_COLUMNS: Mapping[str, str] = {"LapNumber": "int64", "LapTime": "float64", "Driver": "str", "CarNumber": "str"}
TELEMETRY_COLUMNS: Mapping[str, str] = dict.fromkeys(
    ["Time", "Speed", "Throttle", "Brake", "Latitude", "Longitude"], "float64"
)
COLUMNS: Mapping[LoadKind, Mapping[str, str]] = {
    LoadKind.LAP_START: LAP_COLUMNS,
    LoadKind.TELEMETRY: TELEMETRY_COLUMNS,
}

_SEPARATORS = (",", ";", "\t")
_LINE = re.compile(r"line (\d+)")
# The header is line 1.
_FIRST_DATA_LINE = 2


def laps_frame(laps: pa.Table, drivers: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the table ``laps`` with the column names of applications.

    Args:
        laps: The table.
        drivers: Names by ``vehicle_id`` or car number; ``Driver`` is the ``vehicle_id`` of a car that has none.
    """
    frame = _plain_frame(laps)
    known = drivers or {}
    driver = frame["vehicle_id"].map(known).fillna(frame["car_number"].map(known)) if known else None
    named = pd.DataFrame(
        {
            "LapNumber": frame.pop("lap_number"),
            "LapTime": frame.pop("lap_time_s"),
            "Driver": frame["vehicle_id"] if driver is None else driver.fillna(frame["vehicle_id"]),
            "CarNumber": frame.pop("car_number"),
        }
    )
    return pd.concat([named, frame], axis="columns").astype(LAP_COLUMNS)


def telemetry_frame(telemetry: pa.Table) -> pd.DataFrame:
    """Return the table ``telemetry`` with the column names of applications.

    ``Throttle`` is the position of the throttle blade, or of the pedal if the cars did not send the blade position.
    """
    frame = _plain_frame(telemetry)
    times = frame["sample_time_utc"]
    named = pd.DataFrame(
        {
            "Time": (times - times.min()).dt.total_seconds(),
            "Speed": frame.pop("speed_kph"),
            "Throttle": frame["throttle_blade_pct"].fillna(frame["accelerator_pedal_pct"]),
            "Brake": frame["brake_front_bar"],
            "Latitude": frame.pop("latitude_deg"),
            "Longitude": frame.pop("longitude_deg"),
        }
    )
    return pd.concat([named, frame], axis="columns").astype(TELEMETRY_COLUMNS)


def empty_frame(kind: LoadKind) -> pd.DataFrame:
    """Return the frame of a session without any rows."""
    return telemetry_frame(TELEMETRY.empty()) if kind is LoadKind.TELEMETRY else laps_frame(LAPS.empty())


def _plain_frame(table: pa.Table) -> pd.DataFrame:
    """Convert to pandas without categories; otherwise the types would depend on which labels occur."""
    fields = [
        pa.field(field.name, field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields)).to_pandas()


def has_known_columns(kind: LoadKind, columns: tuple[str, ...]) -> bool:
    """Return whether a header contains any column that applications use."""
    return not set(COLUMNS[kind]).isdisjoint(columns)


def csv_frame(content: bytes, name: str, types: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read CSV with pandas, after detecting encoding (UTF-8, else latin-1), byte order mark and separator.

    Args:
        content: Uncompressed bytes.
        name: Key of the file, for messages.
        types: Types of the columns that pandas must not infer.

    Returns:
        A frame with a RangeIndex; without columns for an empty file.

    Raises:
        MalformedFileError: The content is not a table; the message has the line number if pandas reports it.
    """
    text = _as_text(content, name)
    if not text.strip():
        return pd.DataFrame()
    separator = _separator_of(re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    _require_named_cells(text, separator, name)
    try:
        return pd.read_csv(io.StringIO(text), sep=separator, dtype=types, low_memory=False)  # pyright: ignore[reportArgumentType,reportCallIssue]  -- the stubs list no plain str
    except (pd.errors.ParserError, ValueError) as error:
        line = _LINE.search(str(error))
        place = f" in line {line[1]}" if line else ""
        raise MalformedFileError(
            f"{name} is not a table{place}: {error}.", "Correct that line, or export it again."
        ) from error


def _require_named_cells(text: str, separator: str, name: str) -> None:
    """Reject a first row with more cells than the header: pandas would use its first cell as index and shift the rest.

    In later rows pandas detects this itself.
    """
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    try:
        names, first = next(filter(None, rows)), next(filter(None, rows), [])
    except csv.Error as error:
        raise MalformedFileError(
            f"{name} is not a table in line {rows.line_num}: {error}.", "Export it again."
        ) from error
    if len(first) > len(names):
        raise MalformedFileError(
            f"{name} has more cells ({len(first)}) in line {rows.line_num} than names in its header ({len(names)}).",
            "Name every column, or export it again.",
        )


def _as_text(content: bytes, name: str) -> str:
    body = content.removeprefix(codecs.BOM_UTF8)
    if body.strip():
        require_text(body, name)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _separator_of(header: str) -> str:
    return max(_SEPARATORS, key=header.count)


def wide_frame(content: bytes, name: str, kind: LoadKind) -> tuple[pd.DataFrame, list[str]]:
    """Read a file that is already a table, and convert the columns that applications use to their types.

    Args:
        content: Uncompressed bytes.
        name: Key of the file, for messages.
        kind: ``LAP_START`` or ``TELEMETRY``.

    Returns:
        The frame, and the names of the columns missing from the file; in the frame these are empty.

    Raises:
        MalformedFileError: It is not a table, or a cell of one of these columns cannot be parsed.
    """
    types = COLUMNS[kind]
    frame = csv_frame(content, name, {column: "str" for column, type_ in types.items() if type_ == "str"})
    if frame.columns.empty:
        return empty_frame(kind), []
    missing = [column for column in types if column not in frame.columns]
    for column, type_ in types.items():
        values = frame[column] if column in frame.columns else pd.Series(index=frame.index, dtype="float64")
        frame[column] = _typed(values, type_, name)
    return frame, missing


def _typed(values: "pd.Series[Any]", type_: str, name: str) -> "pd.Series[Any]":
    if type_ == "str":
        return values.astype("str")
    numbers = values if pd.api.types.is_numeric_dtype(values) else _durations(values, name)
    if type_ == "float64":
        return numbers.astype("float64")
    _require(numbers.isna() | (numbers % 1 == 0), values, "no whole number", name)
    return numbers.astype("Int64" if numbers.hasnans else "int64")


def _durations(values: "pd.Series[Any]", name: str) -> "pd.Series[Any]":
    """Parse lap times such as 1:37.428 as seconds, and times such as 2025-09-06T18:40:00Z as seconds since 1970."""
    seconds = values.map(_seconds_in, na_action="ignore").astype("float64")
    _require(values.isna() | seconds.notna(), values, "no number", name)
    return seconds


def _seconds_in(cell: object) -> float | None:
    text = str(cell).strip()
    utc_ms = parse_utc_ms(text)
    return parse_duration_s(text) if utc_ms is None else utc_ms / 1000


def _require(is_valid: "pd.Series[Any]", values: "pd.Series[Any]", problem: str, name: str) -> None:
    if not is_valid.all():
        row = int(is_valid.to_numpy().argmin())
        raise MalformedFileError(
            f"{name} has {problem} in {values.name} of line {row + _FIRST_DATA_LINE}: '{values.iloc[row]}'.",
            "Correct that cell, or export the file again.",
        )

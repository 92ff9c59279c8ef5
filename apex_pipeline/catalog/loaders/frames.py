"""The frames that applications get: their column names, and CSV text made into them.

Here belongs the last step from a table, or from the bytes of a CSV file, to pandas. Units of the six telemetry columns:
``Time`` seconds since the session's first sample, ``Speed`` km/h, ``Throttle`` %, ``Brake`` bar (front),
``Latitude`` and ``Longitude`` degrees. ``LapTime`` is in seconds. The other columns keep the names and units of
``docs/tables.md``.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
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


def laps_frame(laps: pa.Table) -> pd.DataFrame:
    """Return the table ``laps`` under the names applications know; ``Driver`` is the car's ``vehicle_id``."""
    frame = _plain_frame(laps)
    named = pd.DataFrame(
        {
            "LapNumber": frame.pop("lap_number"),
            "LapTime": frame.pop("lap_time_s"),
            "Driver": frame["vehicle_id"],
            "CarNumber": frame.pop("car_number"),
        }
    )
    return pd.concat([named, frame], axis="columns").astype(LAP_COLUMNS)


def telemetry_frame(telemetry: pa.Table) -> pd.DataFrame:
    """Return the table ``telemetry`` under the names applications know.

    ``Throttle`` is the blade, and at tracks whose cars sent no blade position the pedal.
    """
    frame = _plain_frame(telemetry)
    moments = frame["sample_time_utc"]
    named = pd.DataFrame(
        {
            "Time": (moments - moments.min()).dt.total_seconds(),
            "Speed": frame.pop("speed_kph"),
            "Throttle": frame["throttle_blade_pct"].fillna(frame["accelerator_pedal_pct"]),
            "Brake": frame["brake_front_bar"],
            "Latitude": frame.pop("latitude_deg"),
            "Longitude": frame.pop("longitude_deg"),
        }
    )
    return pd.concat([named, frame], axis="columns").astype(TELEMETRY_COLUMNS)


def empty_frame(kind: LoadKind) -> pd.DataFrame:
    """Return the frame of a session in which nothing was recorded."""
    return telemetry_frame(TELEMETRY.empty()) if kind is LoadKind.TELEMETRY else laps_frame(LAPS.empty())


def _plain_frame(table: pa.Table) -> pd.DataFrame:
    """Decode repeated labels, so that the types do not depend on which labels occur."""
    fields = [
        pa.field(field.name, field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields)).to_pandas()


def has_known_columns(kind: LoadKind, columns: tuple[str, ...]) -> bool:
    """Return whether a header has columns that applications know."""
    return not set(COLUMNS[kind]).isdisjoint(columns)


def decompressed(content: bytes, name: str) -> bytes:
    """Return the text of a file whose name may end in ``.gz`` or ``.zst``.

    Raises:
        MalformedFileError: It is not compressed as its name says.
    """
    try:
        if name.lower().endswith(".gz"):
            return gzip.decompress(content)
        if name.lower().endswith(".zst"):
            return pa.CompressedInputStream(pa.BufferReader(content), "zstd").read() if content else b""
    except (EOFError, OSError, zlib.error) as error:
        raise MalformedFileError(
            f"{name} is not compressed as its name says ({error}).", "Compress it again, or rename it."
        ) from error
    return content


def csv_frame(content: bytes, name: str, types: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read CSV text as pandas does, after making it plain: UTF-8 (else latin-1), no byte order mark, one separator.

    Args:
        content: Uncompressed bytes.
        name: Key of the file, for messages.
        types: Types of columns that must not be guessed.

    Returns:
        A frame with a RangeIndex; without columns for a file that holds nothing.

    Raises:
        MalformedFileError: It is no table; with the line where pandas tells it.
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
            f"{name} is no table{place}: {error}.", "Correct that line, or export it again."
        ) from error


def _require_named_cells(text: str, separator: str, name: str) -> None:
    """Refuse a first row with more cells than names: pandas would take its first cell for an index and shift the rest.

    In the rows after it pandas finds that out by itself.
    """
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    try:
        names, first = next(filter(None, rows)), next(filter(None, rows), [])
    except csv.Error as error:
        raise MalformedFileError(f"{name} is no table in line {rows.line_num}: {error}.", "Export it again.") from error
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
    """Read a file that is a table already, and see to the types of the columns applications know.

    Args:
        content: Uncompressed bytes.
        name: Key of the file, for messages.
        kind: ``LAP_START`` or ``TELEMETRY``.

    Returns:
        The frame, and the names of the columns that the file lacks: those are there and hold nothing.

    Raises:
        MalformedFileError: It is no table, or a cell of one of these columns cannot be read.
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
    """Read lap times such as 1:37.428, and moments such as 2025-09-06T18:40:00Z (since 1970), as seconds."""
    seconds = values.map(_seconds_in, na_action="ignore").astype("float64")
    _require(values.isna() | seconds.notna(), values, "no number", name)
    return seconds


def _seconds_in(cell: object) -> float | None:
    text = str(cell).strip()
    utc_ms = parse_utc_ms(text)
    return parse_duration_s(text) if utc_ms is None else utc_ms / 1000


def _require(is_right: "pd.Series[Any]", values: "pd.Series[Any]", problem: str, name: str) -> None:
    if not is_right.all():
        row = int(is_right.to_numpy().argmin())
        raise MalformedFileError(
            f"{name} has {problem} in {values.name} of line {row + _FIRST_DATA_LINE}: '{values.iloc[row]}'.",
            "Correct that cell, or export the file again.",
        )

"""Which lines were rejected, and why: file, line and the beginning of the line.

Broken lines are told by ``surveying``. The few others that DuckDB refuses are recorded by it with their number.
Readings that cannot be meant are only marked; where there are any, the file is read once more to find them.
"""

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator

import duckdb

from apex_pipeline.sources.gr_cup.files import FileKind, Reject
from apex_pipeline.sources.gr_cup.telemetry.loading import INSTANT, Shape, TelemetryFile, rows_of
from apex_pipeline.sources.gr_cup.telemetry.report import TOLD_REJECTS
from apex_pipeline.sources.gr_cup.triggers import is_other_race
from apex_pipeline.sources.gr_cup.values import parse_utc_ms

_SHOWN_CHARACTERS = 200

# DuckDB's words for what is wrong with a line. Those of the wrong width are found before it sees them.
_REASONS = {"INVALID ENCODING": "bad_encoding"}


def count_rejects(connection: duckdb.DuckDBPyConnection, number: int) -> dict[str, int]:
    """Count one file's rejects by reason, all of them."""
    counts: Counter[str] = Counter()
    refused = f"SELECT error, count(*) FROM bad_line_{number} GROUP BY error"  # noqa: S608  -- our own number
    for error, lines in rows_of(connection, refused):
        counts[_reason(error)] += lines
    marked = "SELECT problem, count(*) FROM reading WHERE problem IS NOT NULL AND file_number = $n GROUP BY problem"
    counts.update(dict(rows_of(connection, marked, {"n": number})))
    return dict(counts)


def locate_rejects(
    connection: duckdb.DuckDBPyConnection, number: int, file: TelemetryFile, shape: Shape
) -> list[Reject]:
    """Return one file's first rejects with their lines, in file order."""
    refused = f"SELECT line, error, start FROM bad_line_{number} ORDER BY line LIMIT {TOLD_REJECTS}"  # noqa: S608  -- our own numbers
    found = [
        Reject(file.identity.path, line, FileKind.TELEMETRY, _reason(error), start or "")
        for line, error, start in rows_of(connection, refused)
    ]
    marked = "SELECT count(*) FROM reading WHERE problem IS NOT NULL AND file_number = $n"
    ((readings,),) = rows_of(connection, marked, {"n": number})
    if readings:
        found += _marked(file, shape, {reject.line for reject in found})
    return sorted(found, key=lambda reject: reject.line or 0)[:TOLD_REJECTS]


def _reason(error: str) -> str:
    return _REASONS.get(error, "malformed_line")


def _marked(file: TelemetryFile, shape: Shape, told: set[int | None]) -> list[Reject]:
    """Find the marked readings, on lines that were not told already."""
    rejects: list[Reject] = []
    for line, values in _rows(file, shape):
        if line in told:
            continue
        for problem, detail in _problems(values, file, shape):
            rejects.append(Reject(file.identity.path, line, FileKind.TELEMETRY, problem, detail[:_SHOWN_CHARACTERS]))
        if len(rejects) >= TOLD_REJECTS:
            break
    return rejects


def _rows(file: TelemetryFile, shape: Shape) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and values of every line that has the header's number of cells, and at most empty ones more."""
    width = len(shape.dialect.columns)
    with file.open_text() as stream:
        text = io.TextIOWrapper(stream, encoding=shape.dialect.encoding, errors="replace", newline="")
        lines = (line if len(line) < csv.field_size_limit() else "\n" for line in text)  # it raises at longer cells
        quoting = csv.QUOTE_MINIMAL if shape.is_quoted else csv.QUOTE_NONE
        reader = csv.reader(lines, delimiter=shape.dialect.delimiter, quoting=quoting)
        next(reader)
        for cells in reader:
            if len(cells) >= width and not any(cells[width:]):
                yield reader.line_num, dict(zip(shape.dialect.columns, cells, strict=False))


def _problems(values: dict[str, str], file: TelemetryFile, shape: Shape) -> Iterator[tuple[str, str]]:
    """Yield the problem of each reading of a line, by the rules the table was marked with."""
    for channel, value in _readings(values, shape):
        if (values["vehicle_id"], values["lap"]) == ("vehicle_id", "lap"):
            yield "repeated_header", ",".join(values)
        elif not values["vehicle_id"]:
            yield "no_vehicle", "vehicle_id=''"
        elif channel is None:
            yield "bad_list", f"value={values['value']!r}"
        elif not channel:
            yield "no_channel", "telemetry_name=''"
        elif value is None:
            yield "bad_number", f"{channel}={values.get('telemetry_value', values.get('value', ''))!r}"
        elif not math.isfinite(value):
            yield "not_a_number", f"{channel}={value}"
        elif bad := next((name for name in ("timestamp", "meta_time") if not _is_instant(values[name])), None):
            yield "bad_time", f"{bad}={values[bad]!r}"
        elif is_other_race(values.get("meta_session", ""), file.identity.session):
            yield "wrong_session", f"meta_session={values['meta_session']!r}"


def _readings(values: dict[str, str], shape: Shape) -> list[tuple[str | None, float | None]]:
    """Return channel and value of each reading of a line; no channel where it should hold a list and does not."""
    if not shape.is_listed:
        return [(values["telemetry_name"], _number(values["telemetry_value"]))]
    try:
        elements = json.loads(values["value"])
    except ValueError:
        elements = None
    if not isinstance(elements, list) or not elements:
        return [(None, None)]
    return [
        (str(item.get("name") or ""), _number(str(item.get("value")))) if isinstance(item, dict) else ("", None)
        for item in elements  # pyright: ignore[reportUnknownVariableType]  -- JSON; each part is checked
    ]


def _is_instant(text: str) -> bool:
    return re.fullmatch(INSTANT, text) is not None and parse_utc_ms(text) is not None


def _number(text: str) -> float | None:
    try:
        return float(text) if text.isascii() else None
    except ValueError:
        return None


__all__ = ["count_rejects", "locate_rejects"]

"""The reference parser: parses one line in plain Python and returns its readings or the reasons to reject it.

It defines the meaning of a line. The fast parser (``kernels.plain_rows``) handles lines in the usual format, nearly all
of them, and sets all others aside for this one; both give the same result for a line that both can parse. The reject
reasons and their order are defined here; see ``parse`` for storing the readings.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from apex_pipeline.sources.cells import quoted
from apex_pipeline.sources.gr_cup.laps.triggers import LOST_LAP, is_wrong_session
from apex_pipeline.sources.gr_cup.parsing import is_vehicle_id
from apex_pipeline.sources.gr_cup.telemetry.channels import is_known
from apex_pipeline.sources.gr_cup.telemetry.header import Header
from apex_pipeline.sources.gr_cup.telemetry.notation import Notation, joined_number, notation_of, plain_number
from apex_pipeline.sources.parsing import parse_integer, parse_utc_ms

# Codes for a lap that the device lost (null in the table) and for an unreadable one. Lower than any lap, so that the
# highest lap of a row's readings is the one to publish.
NO_LAP = -(2**31)
UNREADABLE_LAP = -1
_LARGEST_LAP = 2**31 - 1

# Times that define an instant: date, time, and Z or an offset. Python accepts more formats, such as a date alone.
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):\d\d(:\d\d(\.\d+)?)?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)|\d{10}[\d.]*",
    re.ASCII,
)
# Reasons of numbers that need another notation, which concerns the file; see ``notation.py``.
OTHER_NOTATION, SPLIT_NUMBER = "other_notation", "split_number"
_QUOTED = re.compile(rb'"[^"]*+"')
_BRACKETS = re.compile(r"[\[\]{}]")
# Columns whose cells are short in every usable line. The value is not one of them: it may be a list, and an unusable
# number is rejected anyway.
_SHORT_COLUMNS = ("vehicle_id", "timestamp", "meta_time", "lap", "meta_session")


@dataclass
class Line:
    """Content of one line.

    Attributes:
        vehicle_id: Vehicle id of the car.
        car_ms: Car time in milliseconds since 1970.
        received_ms: Receive time in milliseconds since 1970.
        unit_lap: Lap of the device, :data:`NO_LAP` or :data:`UNREADABLE_LAP`.
        readings: Channel and value of each usable reading.
        problems: Reason and detail of each unusable reading, or of an unusable line.
        header: Header of the following lines, if this line is another header.
    """

    vehicle_id: str = ""
    car_ms: int = 0
    received_ms: int = 0
    unit_lap: int = NO_LAP
    readings: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    problems: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    header: Header | None = None


def read_line(line: bytes, header: Header, session: str | None) -> Line:
    """Parse a line that is not blank.

    Args:
        line: The line without its line feed.
        header: The header that applies to the line.
        session: The file's session, to reject rows of another race.
    """
    text = line.rstrip(b"\r")
    problem = _format_problem(text, header)
    if problem:
        return _rejected(problem, _length_of(text))
    try:
        decoded = text.decode(header.dialect.encoding)
    except UnicodeDecodeError:
        return _rejected("bad_encoding", _length_of(text))
    cells = _cells_of(decoded, header)
    further_header = header.next_header(cells)
    if further_header:
        return Line(problems=[("repeated_header", _length_of(text))], header=further_header)
    values = dict(zip(header.columns, cells, strict=False))
    long = _long_column(values, header)
    if long:
        return _rejected("cell_too_long", f"{long} has {len(values[long]):,} characters")
    return _parse_values(values, header, session)


def _long_column(values: dict[str, str], header: Header) -> str | None:
    """Return the column of a cell that is too long, which must not get into caches and names; ``None`` if all fit."""
    columns = _SHORT_COLUMNS if header.is_listed else (*_SHORT_COLUMNS, "telemetry_name")
    longest = header.limits.cell_characters
    return next((name for name in columns if len(values.get(name, "")) > longest), None)


def _length_of(line: bytes) -> str:
    return f"{len(line):,} bytes, not shown as the line may name persons"


def _rejected(reason: str, detail: str) -> Line:
    return Line(problems=[(reason, detail)])


def _format_problem(line: bytes, header: Header) -> str | None:
    """Return the reason why a line cannot be split into cells, or ``None``."""
    if len(line) > header.limits.line_bytes:
        return "line_too_long"
    if b"\0" in line:
        return "nul_byte"
    if b"\r" in line:
        return "stray_carriage_return"
    if header.is_quoted and b'"' in line:
        if not _line_pattern(header.dialect.delimiter).fullmatch(line):
            return "broken_quotes"
        line = _QUOTED.sub(b"", line)
    return _width_problem(line, header)


def _width_problem(line: bytes, header: Header) -> str | None:
    """Return the reason why a line has the wrong number of cells, or ``None``."""
    width, delimiter = len(header.columns), header.dialect.delimiter.encode()
    cells = line.count(delimiter) + 1
    if cells < width:
        return "too_few_columns"
    # A delimiter at the end of every line adds one empty cell.
    if cells <= width + line.endswith(delimiter):
        return None
    at = header.columns.index("value" if header.is_listed else "telemetry_value")
    is_cut = delimiter == b"," and joined_number(line.decode("latin-1").split(","), at, cells - width)
    return SPLIT_NUMBER if is_cut else "too_many_columns"


@lru_cache
def _line_pattern(delimiter: str) -> re.Pattern[bytes]:
    """Return the pattern of a line in which each cell is either quoted or free of quotes."""
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{delimiter}]*+)'
    return re.compile(rf"{cell}(?:{delimiter}{cell})*+".encode())


@lru_cache
def _cell_pattern(delimiter: str) -> re.Pattern[str]:
    return re.compile(rf'(?:"([^"]*+(?:""[^"]*+)*+)"|([^{delimiter}]*+))(?:{delimiter}|$)')


def _cells_of(text: str, header: Header) -> list[str]:
    delimiter = header.dialect.delimiter
    if not (header.is_quoted and '"' in text):
        return [cell.strip() for cell in text.split(delimiter)]
    cells = _cell_pattern(delimiter).findall(text + delimiter)
    return [(quoted.replace('""', '"') or bare).strip() for quoted, bare in cells]


def _parse_values(values: dict[str, str], header: Header, session: str | None) -> Line:
    car_ms, received_ms = _instant_ms(values["timestamp"]), _instant_ms(values["meta_time"])
    line = Line(values["vehicle_id"], car_ms or 0, received_ms or 0, _unit_lap(values["lap"]))
    line_problem = _line_problem(values, session, car_ms, received_ms)
    for channel, value in _readings(values, header):
        problem = _problem(values, channel, value, line_problem)
        if channel is not None and len(channel) > header.limits.cell_characters:
            problem = "cell_too_long", f"the name of a channel has {len(channel):,} characters"
        if problem:
            line.problems.append(problem)
        else:
            # Adding 0.0 removes the sign of a zero, so that all zeros have equal bits.
            line.readings.append((str(channel), float(value or 0) + 0.0))
    return line


def _line_problem(
    values: dict[str, str], session: str | None, car_ms: int | None, received_ms: int | None
) -> tuple[str, str] | None:
    if car_ms is None:
        return "bad_time", f"timestamp={quoted(values['timestamp'])}"
    if received_ms is None:
        return "bad_time", f"meta_time={quoted(values['meta_time'])}"
    if is_wrong_session(values.get("meta_session", ""), session):
        return "wrong_session", f"meta_session={quoted(values['meta_session'])}"
    return None


def _problem(
    values: dict[str, str], channel: str | None, value: float | str | None, line_problem: tuple[str, str] | None
) -> tuple[str, str] | None:
    """Return the reject reason of a reading, the most informative one first."""
    if not is_vehicle_id(values["vehicle_id"]):
        return "no_vehicle", f"vehicle_id={quoted(values['vehicle_id'])}"
    if channel is None:
        return "bad_list", f"value has {len(values['value']):,} characters"
    if not channel:
        return "no_channel", "telemetry_name=''"
    if not isinstance(value, float):
        text = str(value or "")
        reason = OTHER_NOTATION if notation_of(text) else "bad_number"
        return reason, f"{_channel(channel)}={quoted(text)}"
    if not math.isfinite(value):
        return "not_a_number", f"{_channel(channel)}={value}"
    return line_problem


def _channel(name: str) -> str:
    """Return the name of a channel for a message; in a shifted line it may be another cell."""
    return name if is_known(name) else f"channel of {len(name)} characters"


def _readings(values: dict[str, str], header: Header) -> Iterator[tuple[str | None, float | str | None]]:
    """Yield channel and value of each reading: text if the value is not a number, ``None`` as channel of a bad list."""
    if not header.is_listed:
        yield values["telemetry_name"], _number(values["telemetry_value"], header.notation)
        return
    elements = _elements(values["value"], header.limits.nesting)
    if not elements:
        yield None, None
    for item in elements:
        if isinstance(item, dict):
            yield str(item.get("name") or "").strip(), _number(_text(item.get("value")), header.notation)
        else:
            yield "", None


def _elements(text: str, nesting: int) -> list[Any]:
    """Return the elements of a list in JSON; none if it is damaged, empty or nested too deeply."""
    if _is_nested_deeper(text, nesting):
        return []
    try:
        elements = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return elements if isinstance(elements, list) else []


def _is_nested_deeper(text: str, nesting: int) -> bool:
    """Return whether brackets are nested too deeply; brackets in strings count too, and no real name has any."""
    if text.count("[") + text.count("{") <= nesting:
        return False
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > nesting:
            return True
    return False


def _text(value: object) -> str:
    # json turns the number 1e400 into infinity; repr keeps every digit of a float. True is not a number.
    return value if isinstance(value, str) else repr(value)


def _number(text: str, notation: Notation) -> float | str:
    if notation is not Notation.PLAIN:
        text = plain_number(text, notation)
    try:
        # float() would accept 1_000 and digits of other scripts.
        return float(text) if text.isascii() and "_" not in text else text
    except ValueError:
        return text


@lru_cache(maxsize=1024)
def _instant_ms(text: str) -> int | None:
    return parse_utc_ms(text) if _INSTANT.fullmatch(text) else None


@lru_cache(maxsize=1024)
def _unit_lap(text: str) -> int:
    lap = parse_integer(text)
    if lap is None or not 0 <= lap <= _LARGEST_LAP:
        return UNREADABLE_LAP
    return NO_LAP if lap == LOST_LAP else lap

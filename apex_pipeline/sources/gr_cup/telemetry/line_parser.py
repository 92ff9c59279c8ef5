"""One line read carefully, in plain Python: what it says, or what is wrong with it.

This is the reference for what a line means. The quick reader (``compiled.lines``) takes lines written in the usual way,
about all of them, and hands over every other one; a line both can read they read alike. Here belong the rules of
rejection and their order; not here: what becomes of readings (``reading``).
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from apex_pipeline.sources.csv_reader import SHOWN_CHARACTERS
from apex_pipeline.sources.gr_cup.laps.triggers import LOST_LAP, is_wrong_session
from apex_pipeline.sources.gr_cup.telemetry.chunks import LONGEST_LINE_BYTES
from apex_pipeline.sources.gr_cup.telemetry.header import Header
from apex_pipeline.sources.parsing import parse_integer, parse_utc_ms

# What stands for a unit lap that is lost (null in the table) and for one that cannot be read. Lower than any lap, so
# that the highest lap of a row's readings is the one to publish.
NO_LAP = -(2**31)
UNREADABLE_LAP = -1
_LARGEST_LAP = 2**31 - 1

# The times that name an instant: date, time, and Z or an offset. Python takes more forms, among them a date alone.
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):\d\d(:\d\d(\.\d+)?)?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)", re.ASCII
)
_QUOTED = re.compile(rb'"[^"]*+"')


@dataclass
class Line:
    """What one line says.

    Attributes:
        vehicle_id: The car.
        car_ms: The car's time, milliseconds since 1970.
        received_ms: The receive time.
        unit_lap: The unit's lap, :data:`NO_LAP` or :data:`UNREADABLE_LAP`.
        readings: Channel and value of each usable reading.
        problems: Reason and detail of each reading that cannot be used, or of the whole line.
        header: The layout of the lines below, where this line is a further header.
    """

    vehicle_id: str = ""
    car_ms: int = 0
    received_ms: int = 0
    unit_lap: int = NO_LAP
    readings: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    problems: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    header: Header | None = None


def read_line(line: bytes, layout: Header, session: str | None) -> Line:
    """Read a line that is not blank.

    Args:
        line: Without its line feed.
        layout: Of the lines at this place of the file.
        session: The file's session, for rows of another race.
    """
    text = line.removesuffix(b"\r")
    broken = _broken(text, layout)
    if broken:
        return _rejected(broken, text[:SHOWN_CHARACTERS].decode(layout.dialect.encoding, errors="replace"))
    try:
        decoded = text.decode(layout.dialect.encoding)
    except UnicodeDecodeError:
        return _rejected("bad_encoding", text[:SHOWN_CHARACTERS].decode(errors="replace"))
    cells = _cells_of(decoded, layout)
    header = layout.under(cells)
    if header:
        return Line(problems=[("repeated_header", decoded[:SHOWN_CHARACTERS])], header=header)
    return _meaning(dict(zip(layout.columns, cells, strict=False)), layout, session)


def _rejected(reason: str, detail: str) -> Line:
    return Line(problems=[(reason, detail)])


def _broken(line: bytes, layout: Header) -> str | None:
    """Return why a line has no cells that could mean anything."""
    if len(line) > LONGEST_LINE_BYTES:
        return "line_too_long"
    if b"\0" in line:
        return "nul_byte"
    if b"\r" in line:
        return "stray_carriage_return"
    if layout.is_quoted and b'"' in line:
        if not _whole_cells(layout.dialect.delimiter).fullmatch(line):
            return "broken_quotes"
        line = _QUOTED.sub(b"", line)
    width, delimiter = len(layout.columns), layout.dialect.delimiter.encode()
    cells = line.count(delimiter) + 1
    if cells < width:
        return "too_few_columns"
    # One empty cell more is what a delimiter at the end of every line leaves.
    return "too_many_columns" if cells > width + line.endswith(delimiter) else None


@lru_cache
def _whole_cells(delimiter: str) -> re.Pattern[bytes]:
    """Return the pattern of a line whose cells are each either in quotes or without any."""
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{delimiter}]*+)'
    return re.compile(rf"{cell}(?:{delimiter}{cell})*+".encode())


@lru_cache
def _one_cell(delimiter: str) -> re.Pattern[str]:
    return re.compile(rf'(?:"([^"]*+(?:""[^"]*+)*+)"|([^{delimiter}]*+))(?:{delimiter}|$)')


def _cells_of(text: str, layout: Header) -> list[str]:
    delimiter = layout.dialect.delimiter
    if not (layout.is_quoted and '"' in text):
        return [cell.strip() for cell in text.split(delimiter)]
    cells = _one_cell(delimiter).findall(text + delimiter)
    return [(quoted.replace('""', '"') or bare).strip() for quoted, bare in cells]


def _meaning(values: dict[str, str], layout: Header, session: str | None) -> Line:
    car_ms, received_ms = _instant_ms(values["timestamp"]), _instant_ms(values["meta_time"])
    line = Line(values["vehicle_id"], car_ms or 0, received_ms or 0, _unit_lap(values["lap"]))
    of_line = _problem_of_line(values, session, car_ms, received_ms)
    for channel, value in _readings(values, layout):
        problem = _problem(values, channel, value, of_line)
        if problem:
            line.problems.append((problem[0], problem[1][:SHOWN_CHARACTERS]))
        else:
            # A zero without sign, so that two zeros are equal in every way.
            line.readings.append((str(channel), float(value or 0) + 0.0))
    return line


def _problem_of_line(
    values: dict[str, str], session: str | None, car_ms: int | None, received_ms: int | None
) -> tuple[str, str] | None:
    if car_ms is None:
        return "bad_time", f"timestamp={values['timestamp']!r}"
    if received_ms is None:
        return "bad_time", f"meta_time={values['meta_time']!r}"
    if is_wrong_session(values.get("meta_session", ""), session):
        return "wrong_session", f"meta_session={values['meta_session']!r}"
    return None


def _problem(
    values: dict[str, str], channel: str | None, value: float | str | None, of_line: tuple[str, str] | None
) -> tuple[str, str] | None:
    """Return what is wrong with a reading, the most telling first."""
    if not values["vehicle_id"]:
        return "no_vehicle", "vehicle_id=''"
    if channel is None:
        return "bad_list", f"value={values['value']!r}"
    if not channel:
        return "no_channel", "telemetry_name=''"
    if not isinstance(value, float):
        return "bad_number", f"{channel}={value!r}"
    if not math.isfinite(value):
        return "not_a_number", f"{channel}={value}"
    return of_line


def _readings(values: dict[str, str], layout: Header) -> Iterator[tuple[str | None, float | str | None]]:
    """Yield channel and value of each reading; the text of a value that is no number, no channel for a bad list."""
    if not layout.is_listed:
        yield values["telemetry_name"], _number(values["telemetry_value"])
        return
    elements = _elements(values["value"])
    if not elements:
        yield None, None
    for item in elements:
        if isinstance(item, dict):
            yield str(item.get("name") or "").strip(), _number(_text(item.get("value")))
        else:
            yield "", None


def _elements(text: str) -> list[Any]:
    try:
        elements = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return elements if isinstance(elements, list) else []


def _text(value: object) -> str:
    # json makes 1e400 of a number to infinity; repr keeps what a float holds. True is no number.
    return value if isinstance(value, str) else repr(value)


def _number(text: str) -> float | str:
    try:
        # float() would take 1_000 and digits of other scripts.
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

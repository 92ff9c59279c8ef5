"""Recognises the notation of the time columns of official timing: a spreadsheet rewrites a whole column at once.

The notation is decided per column from all of its cells, never per cell: 158824 alone may be anything, 401 such cells
are lap times in milliseconds. See ``official_timing.py`` for reading the rows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

# Reason of the entry about a whole column, which rejects no row.
COLUMN_NOTATION = "column_notation"

# A notation counts if nearly every cell is written in it; a single typing error must not change a column.
_SHARE = 0.9
# Whole numbers above these medians are milliseconds: as seconds, a lap would last 83 minutes, a sector 33 minutes, and
# half of the crossings would come after 55 hours.
_LAP_MS, _SECTOR_MS, _ELAPSED_MS = 5_000.0, 2_000.0, 200_000.0
# No lap or sector takes less than a second; a spreadsheet's fraction of a day is 0.0017 for 2:25.
_LEAST_S = 1.0
_DAY_S = 86_400.0
_DECIMAL_COMMA = re.compile(r"[\d:.' ]*\d,\d+\"?")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DAYS = re.compile(r"(\d+) days? (?:\+)?", re.IGNORECASE)
# 2'25.437, 2'25"437 and 2:25.437 are the same time.
_MARKS = "'\u2019\u2032", '"\u201d\u2033'
_APOSTROPHE = re.compile(rf"(\d+)[{_MARKS[0]}](\d{{1,2}})(?:[.{_MARKS[1]}](\d+))?[{_MARKS[1]}]?")
_DECIMALS = re.compile(rf"[.{_MARKS[1]}](\d+)[{_MARKS[1]}]?$")
# With this many cells it is not by chance that none has a third decimal: one in ten thousand million.
_ENOUGH_CELLS = 10
# A time of day with its hour lost: mm:ss.0, as a spreadsheet shows it.
_NO_HOUR = re.compile(r"\d{1,2}:\d{2}(?:\.\d+)?")
_MILLISECOND_DIGITS = 3
_BASE_60 = 60

_ELAPSED = frozenset({"ELAPSED", "TOTAL_TIME"})
_CLOCK = "HOUR"


@dataclass(frozen=True)
class ColumnNotation:
    """How the cells of one column are written.

    Attributes:
        unit_s: Seconds per unit if the cells are plain numbers in another unit than seconds; ``None`` otherwise.
        has_decimal_comma: Whether the decimal mark is a comma.
        resolution_s: Seconds to which the cells are rounded; 0 if to a millisecond or finer.
        is_unusable: Whether the column cannot be read as a whole.
    """

    unit_s: float | None = None
    has_decimal_comma: bool = False
    resolution_s: float = 0.0
    is_unusable: bool = False

    def rewrite(self, text: str, *, is_clock: bool = False) -> str:
        """Return a cell as official timing writes it: ``m:ss.fff``, or ``HH:MM:SS.fff`` for a time of day."""
        if self.is_unusable:
            return ""
        text = text.replace(",", ".") if self.has_decimal_comma else text
        if self.unit_s is not None and _NUMBER.fullmatch(text):
            seconds = float(text) * self.unit_s
            return _clock_text(seconds) if is_clock else f"{seconds:.3f}"
        text = _without_days(text)
        match = _APOSTROPHE.fullmatch(text)
        return f"{match[1]}:{match[2]}.{match[3] or 0}" if match else text


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 3) % _DAY_S, _BASE_60)
    return f"{int(minutes // _BASE_60):02}:{int(minutes % _BASE_60):02}:{rest:06.3f}"


def _without_days(text: str) -> str:
    """Return ``26:03:05.1`` for ``1 days 02:03:05.1``: hours may run past 24."""
    match = _DAYS.match(text)
    if match is None:
        return text
    hours, separator, rest = text[match.end() :].partition(":")
    return f"{int(match[1]) * 24 + int(hours)}{separator}{rest}" if hours.isdecimal() else text


def detect_notation(column: str, cells: Sequence[str], *, is_time: bool = True) -> ColumnNotation:
    """Return the notation of a column.

    Args:
        column: Its name in the file.
        cells: Its cells.
        is_time: Whether it holds durations or times of day; of other numbers only the decimal mark is looked at.
    """
    filled = [cell for cell in cells if cell]
    if not filled:
        return ColumnNotation()
    has_comma = _share(filled, _DECIMAL_COMMA) >= _SHARE
    texts = [cell.replace(",", ".") for cell in filled] if has_comma else filled
    if not is_time:
        return ColumnNotation(has_decimal_comma=has_comma)
    if column == _CLOCK and _share(texts, _NO_HOUR) >= _SHARE:
        return ColumnNotation(is_unusable=True)
    unit_s = _unit_s(column, texts)
    return ColumnNotation(unit_s, has_comma, _resolution_s(texts, unit_s))


def _share(cells: Sequence[str], pattern: re.Pattern[str]) -> float:
    return sum(pattern.fullmatch(cell) is not None for cell in cells) / len(cells)


def _unit_s(column: str, cells: Sequence[str]) -> float | None:
    """Return the seconds per unit of a column of plain numbers; ``None`` for seconds and for other notations."""
    if _share(cells, _NUMBER) < _SHARE:
        return None
    numbers = [cell for cell in cells if _NUMBER.fullmatch(cell)]
    middle = median(map(float, numbers))
    if column == _CLOCK:
        return _DAY_S if middle < _LEAST_S else 0.001 if middle > _DAY_S else 1.0
    # The first laps of a race have short elapsed times, so only the column's median reveals a fraction of a day.
    if 0 < middle < _LEAST_S:
        return _DAY_S
    limit = _ELAPSED_MS if column in _ELAPSED else _SECTOR_MS if column[:1] == "S" else _LAP_MS
    is_whole = all(float(number).is_integer() for number in numbers)
    return 0.001 if is_whole and middle >= limit else None


def _resolution_s(cells: Sequence[str], unit_s: float | None) -> float:
    """Return the seconds to which the cells are rounded, from the most decimals any of them has."""
    if unit_s is not None or len(cells) < _ENOUGH_CELLS:
        return 0.0
    digits = max(len(match[1]) if (match := _DECIMALS.search(cell)) else 0 for cell in cells)
    return 0.0 if digits >= _MILLISECOND_DIGITS else 10.0**-digits


def notations_of(rows: Sequence[Mapping[str, str]], columns: Mapping[str, bool]) -> dict[str, ColumnNotation]:
    """Return the notation of the columns that the rows have.

    Args:
        rows: Cells by column name.
        columns: Whether a column holds durations or times of day, by column name.
    """
    return {
        name: detect_notation(name, [row.get(name, "") for row in rows], is_time=is_time)
        for name, is_time in columns.items()
        if rows and name in rows[0]
    }


def describe(column: str, notation: ColumnNotation) -> str | None:
    """Return a sentence about a column whose notation costs something; ``None`` for one that is read whole."""
    if notation.is_unusable:
        return f"{column} has lost its hour (mm:ss), as in a spreadsheet: it is not used"
    if notation.resolution_s:
        return f"{column} is rounded to {notation.resolution_s:g} s: it is not used where other cells are whole"
    return None


# A sum of three cells, each to the millisecond.
_SUM_S = 0.002


def restore_lap_time(row: dict[str, Any], resolution_s: float) -> None:
    """Replace a rounded lap time by the sum of its sectors where those are whole and round to it.

    Sets ``lap_time_resolution_s``: the seconds to which the published lap time is rounded, ``None`` if it is whole.

    Args:
        row: Row of ``official_laps``; changed in place.
        resolution_s: Seconds to which LAP_TIME is rounded in the whole file; 0 if it is whole.
    """
    row["lap_time_resolution_s"] = resolution_s or None
    sectors = [row["s1_s"], row["s2_s"], row["s3_s"]]
    if not resolution_s or None in sectors:
        return
    total_s = round(sum(sectors), 3)
    if abs(total_s - row["lap_time_s"]) <= resolution_s / 2 + _SUM_S and total_s != round(total_s, 1):
        row["lap_time_s"], row["lap_time_resolution_s"] = total_s, None

"""Scans text for both line parsers: finds the ends of lines and cells, and parses single cells.

Only the usual format is accepted: two times like ``2025-05-17T18:24:42.672Z``, complete cells, ASCII. See ``decimals``
for numbers, ``plain_rows`` and ``rows`` for lines with one reading, and ``json_lists`` for lines with a list. Arrays
are passed as pointers, see ``intrinsics``.
"""

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline.sources.gr_cup.telemetry.kernels.buffers import (
    ASIDE,
    BLANK,
    CAR_TIME,
    CELL_END,
    END,
    FRAME_CAR_MS,
    FRAME_LAP,
    FRAME_LINE,
    FRAME_READINGS,
    FRAME_RECEIVED_MS,
    FRAME_SESSION,
    FRAME_VEHICLE,
    LAP,
    LINE_FEED,
    LOST_LAP,
    MAX_TEXTS,
    NO_LAP,
    ORDINARY,
    QUOTE,
    RECEIVED_TIME,
    RETURN,
    SESSION,
    SESSIONS,
    START,
    UNREADABLE_LAP,
    VEHICLE,
    VEHICLES,
    Bytes,
    Ints,
    part_of,
    text_slot,
)
from apex_pipeline.sources.gr_cup.telemetry.kernels.decimals import MINUS, ZERO
from apex_pipeline.sources.gr_cup.telemetry.kernels.vectors import BLOCK, differences, equal, trailing_zeros

_POINT = 46
_COLON, _T, _Z = 58, 84, 90
_TIME_LENGTH = 24
_LONGEST_LAP = 9  # digits, which fit a 32-bit integer


@compiled
def _line_feed(text: Bytes, at: int) -> int:
    """Return the position of the line feed that ends the line at ``at``."""
    found = equal(text, at, LINE_FEED)
    while found == 0:
        at += BLOCK
        found = equal(text, at, LINE_FEED)
    return at + trailing_zeros(found)


@compiled
def is_same(text: Bytes, one: int, other: int, length: int) -> bool:
    """Return whether two parts of a text are equal; both start before its padding."""
    if length < BLOCK:
        return differences(text, one, other) & ((1 << length) - 1) == 0
    # The last block may overlap the one before it.
    found = differences(text, one + length - BLOCK, other + length - BLOCK)
    at = 0
    while at < length - BLOCK:
        found |= differences(text, one + at, other + at)
        at += BLOCK
    return found == 0


@compiled
def end_if_same(text: Bytes, at: int, tail: int, length: int, most: int) -> int:
    """Return the position of the next line if this one ends as the line before and not after ``most``, else -1."""
    return at + length if at + length <= most and is_same(text, at, tail, length) else -1


@compiled
def _is_blank(text: Bytes, start: int, end: int) -> bool:
    """Return whether a line is empty; ``end`` is the start of the next one."""
    while text[start] == RETURN:
        start += 1
    return end == start + 1


@compiled
def set_aside(text: Bytes, line: int, start: int, aside: Ints, counts: Ints) -> int:
    """Set a line aside, or count it if it is blank; return the position of the next line."""
    end = _line_feed(text, start) + 1
    if _is_blank(text, start, end):
        counts[BLANK] += 1
        return end
    at = 3 * counts[ASIDE]
    aside[at], aside[at + 1], aside[at + 2] = line, start, end - 1
    counts[ASIDE] += 1
    return end


@compiled
def next_line(text: Bytes, at: int) -> int:
    """Return the start of the next line if a line ends here, else -1."""
    # CR CR LF is what a text becomes that was converted to Windows line endings twice.
    while text[at] == RETURN:
        at += 1
    return at + 1 if text[at] == LINE_FEED else -1


@compiled
def cut_cell(text: Bytes, start: int, classes: Bytes, delimiter: int, is_quoted: bool) -> tuple[int, int, int]:  # noqa: FBT001  -- numba takes no keywords
    """Return start and end of a cell's content and the position after the cell; -1 if it has an unexpected byte."""
    at = start
    if is_quoted and text[start] == QUOTE:
        at += 1
        # Within quotes a delimiter is an ordinary character.
        while classes[text[at]] == ORDINARY or text[at] == delimiter:
            at += 1
        content, content_end = start + 1, at
        if text[at] != QUOTE:
            return start, start, -1
        at += 1
    else:
        while classes[text[at]] == ORDINARY:
            at += 1
        content, content_end = start, at
    if classes[text[at]] == CELL_END or next_line(text, at) > 0:
        return content, content_end, at
    return start, start, -1


@compiled
def read_frame(
    text: Bytes,
    line: int,
    columns: int,
    roles: Bytes,
    rules: Ints,
    cells: Ints,
    fields: Ints,
    texts: Ints,
    counts: Ints,
) -> bool:
    """Parse car, times, lap and session of a line into a frame; return whether all are in the usual format."""
    fields[FRAME_LINE], fields[FRAME_READINGS], fields[FRAME_SESSION] = line, 0, -1
    for column in range(columns):
        role, start, end = roles[column], part_of(cells, column, START), part_of(cells, column, END)
        if role == VEHICLE:
            vehicle = intern_text(text, start, end, texts, counts, VEHICLES)
            fields[FRAME_VEHICLE] = vehicle
            if vehicle < 0:
                return False
        elif role in (CAR_TIME, RECEIVED_TIME):
            time_ms = _milliseconds(text, start, end)
            fields[FRAME_CAR_MS if role == CAR_TIME else FRAME_RECEIVED_MS] = time_ms
            if time_ms == _NO_TIME:
                return False
        elif role == SESSION and end > start:
            fields[FRAME_SESSION] = intern_text(text, start, end, texts, counts, SESSIONS)
        elif role == LAP:
            lap = _lap_of(text, start, end, rules)
            fields[FRAME_LAP] = lap
            if lap == _UNUSUAL_LAP:
                return False
    return True


_NO_TIME = np.iinfo(np.int64).min
_UNUSUAL_LAP = -2


@compiled
def _lap_of(text: Bytes, start: int, end: int, rules: Ints) -> int:
    if end == start:
        return rules[UNREADABLE_LAP]
    lap = _digits(text, start, end - start) if end - start <= _LONGEST_LAP else -1
    if lap < 0:
        return _UNUSUAL_LAP
    return rules[NO_LAP] if lap == rules[LOST_LAP] else lap


@compiled
def _digits(text: Bytes, start: int, length: int) -> int:
    """Return the integer value of these digits, -1 if a character is not a digit."""
    number = 0
    for index in range(length):
        digit = int(text[start + index]) - ZERO
        if digit < 0 or digit > 9:  # noqa: PLR2004  -- decimal digits
            return -1
        number = number * 10 + digit
    return number


@compiled
def _milliseconds(text: Bytes, start: int, end: int) -> int:
    """Return milliseconds since 1970 for ``YYYY-MM-DDTHH:MM:SS.mmmZ``."""
    if end - start != _TIME_LENGTH or not _has_separators(text, start):
        return _NO_TIME
    year, month, day = _digits(text, start, 4), _digits(text, start + 5, 2), _digits(text, start + 8, 2)
    hour, minute = _digits(text, start + 11, 2), _digits(text, start + 14, 2)
    second, thousandth = _digits(text, start + 17, 2), _digits(text, start + 20, 3)
    if min(hour, minute, second, thousandth) < 0 or hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004
        return _NO_TIME
    if year < 1 or month < 1 or month > 12 or day < 1 or day > _days_in_month(year, month):  # noqa: PLR2004
        return _NO_TIME
    return ((_days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + thousandth


@compiled
def _has_separators(text: Bytes, start: int) -> bool:
    return (
        text[start + 4] == MINUS
        and text[start + 7] == MINUS
        and text[start + 10] == _T
        and text[start + 13] == _COLON
        and text[start + 16] == _COLON
        and text[start + 19] == _POINT
        and text[start + 23] == _Z
    )


@compiled
def _days_in_month(year: int, month: int) -> int:
    if month == 2:  # noqa: PLR2004  -- February
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@compiled
def _days_since_1970(year: int, month: int, day: int) -> int:
    """Return the days since 1970 in the Gregorian calendar, with years from March so that leap days come last."""
    if month <= 2:  # noqa: PLR2004  -- January and February
        year, month = year - 1, month + 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719_469


@compiled
def intern_text(text: Bytes, start: int, end: int, texts: Ints, counts: Ints, kind: int) -> int:
    """Return the index of a text, adding it if it is new; -1 if it is empty or the array is full."""
    length = end - start
    if length == 0:
        return -1
    known = counts[kind]
    for code in range(known):
        slot = text_slot(kind, code)
        if texts[slot + 1] == length and is_same(text, texts[slot], start, length):
            return code
    if known == MAX_TEXTS:
        return -1
    slot = text_slot(kind, known)
    texts[slot], texts[slot + 1] = start, length
    counts[kind] = known + 1
    return known

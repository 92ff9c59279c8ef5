"""Scans text for both line parsers: finds the ends of lines and cells, and parses single cells.

Only the usual format is accepted: two times like ``2025-05-17T18:24:42.672Z``, a decimal number, complete cells, ASCII.
See ``rows`` for lines with one reading and ``json_lists`` for lines with a list.
"""

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline.sources.gr_cup.telemetry.kernels.buffers import (
    CAR_TIME,
    DELIMITER,
    FRAME_CAR_MS,
    FRAME_LAP,
    FRAME_LINE,
    FRAME_READINGS,
    FRAME_RECEIVED_MS,
    FRAME_SESSION,
    FRAME_VEHICLE,
    IS_QUOTED,
    LAP,
    LOST_LAP,
    NO_LAP,
    RECEIVED_TIME,
    SESSION,
    SESSIONS,
    UNREADABLE_LAP,
    VEHICLE,
    VEHICLES,
    Bytes,
    Ints,
)

_LINE_FEED, _RETURN, QUOTE, MINUS, _POINT, ZERO, _NINE = 10, 13, 34, 45, 46, 48, 57
_COLON, _T, _Z = 58, 84, 90
_FIRST_NON_ASCII = 128
ORDINARY, _END, UNEXPECTED = 0, 1, 2
_TIME_LENGTH = 24
# Nine digits fit a 32-bit integer, nineteen an unsigned 64-bit integer.
_LONGEST_LAP, _LONGEST_MANTISSA = 9, 19
# Integers up to 2**53 and powers of ten up to 22 are exact as doubles, so their quotient is rounded once.
_LARGEST_EXACT = np.uint64(2**53)
_POWERS_OF_TEN = 10.0 ** np.arange(23)
EXACT, TOO_LONG, NOT_DECIMAL = 0, 1, 2


@compiled
def classes_of(rules: Ints) -> Bytes:
    """Return the class of each of the 256 byte values."""
    classes = np.zeros(256, np.uint8)
    classes[_FIRST_NON_ASCII:] = UNEXPECTED
    classes[0] = classes[_RETURN] = UNEXPECTED
    classes[rules[DELIMITER]] = classes[_LINE_FEED] = _END
    if rules[IS_QUOTED]:
        classes[QUOTE] = UNEXPECTED
    return classes


@compiled
def line_feed(text: Bytes, at: int) -> int:
    """Return the position of the line feed that ends the line at ``at``."""
    while text[np.uint64(at)] != _LINE_FEED:
        at += 1
    return at


@compiled
def is_blank(text: Bytes, start: int, end: int) -> bool:
    """Return whether a line is empty; ``end`` is the start of the next one."""
    while text[np.uint64(start)] == _RETURN:
        start += 1
    return end == start + 1


@compiled
def next_line(text: Bytes, at: int) -> int:
    """Return the start of the next line if a line ends here, else -1."""
    # CR CR LF is what a text becomes that was converted to Windows line endings twice.
    while text[np.uint64(at)] == _RETURN:
        at += 1
    return at + 1 if text[np.uint64(at)] == _LINE_FEED else -1


@compiled
def cut_cell(text: Bytes, start: int, classes: Bytes, delimiter: int, is_quoted: bool) -> tuple[int, int, int]:  # noqa: FBT001  -- numba takes no keywords
    """Return start and end of a cell's content and the position after the cell; -1 if it has an unexpected byte."""
    at = start
    if is_quoted and text[np.uint64(start)] == QUOTE:
        at += 1
        # Within quotes a delimiter is an ordinary character.
        while classes[text[np.uint64(at)]] == ORDINARY or text[np.uint64(at)] == delimiter:
            at += 1
        content, content_end = start + 1, at
        if text[np.uint64(at)] != QUOTE:
            return start, start, -1
        at += 1
    else:
        while classes[text[np.uint64(at)]] == ORDINARY:
            at += 1
        content, content_end = start, at
    if classes[text[np.uint64(at)]] == _END or next_line(text, at) > 0:
        return content, content_end, at
    return start, start, -1


@compiled
def read_frame(
    text: Bytes,
    line: int,
    roles: Bytes,
    rules: Ints,
    cells: Ints,
    frames: Ints,
    frame: int,
    texts: Ints,
    counts: Ints,
) -> bool:
    """Parse car, times, lap and session of a line into a frame; return whether all are in the usual format."""
    frames[FRAME_LINE, frame], frames[FRAME_READINGS, frame], frames[FRAME_SESSION, frame] = line, 0, -1
    for column in range(len(roles)):
        role, start, end = roles[column], cells[column, 1], cells[column, 2]
        if role == VEHICLE:
            vehicle = intern_text(text, start, end, texts, counts, VEHICLES)
            frames[FRAME_VEHICLE, frame] = vehicle
            if vehicle < 0:
                return False
        elif role in (CAR_TIME, RECEIVED_TIME):
            time_ms = _milliseconds(text, start, end)
            frames[FRAME_CAR_MS if role == CAR_TIME else FRAME_RECEIVED_MS, frame] = time_ms
            if time_ms == _NO_TIME:
                return False
        elif role == SESSION and end > start:
            frames[FRAME_SESSION, frame] = intern_text(text, start, end, texts, counts, SESSIONS)
        elif role == LAP:
            lap = _lap_of(text, start, end, rules)
            frames[FRAME_LAP, frame] = lap
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
        digit = int(text[np.uint64(start + index)]) - ZERO
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
    at = np.uint64(start)
    return (
        text[at + np.uint64(4)] == MINUS
        and text[at + np.uint64(7)] == MINUS
        and text[at + np.uint64(10)] == _T
        and text[at + np.uint64(13)] == _COLON
        and text[at + np.uint64(16)] == _COLON
        and text[at + np.uint64(19)] == _POINT
        and text[at + np.uint64(23)] == _Z
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
        if texts[kind, code, 1] == length:
            first = texts[kind, code, 0]
            # Compared from the end, because vehicle ids differ in their last characters.
            remaining = length
            while remaining > 0 and text[np.uint64(first + remaining - 1)] == text[np.uint64(start + remaining - 1)]:
                remaining -= 1
            if remaining == 0:
                return code
    if known == texts.shape[1]:
        return -1
    texts[kind, known, 0], texts[kind, known, 1] = start, length
    counts[kind] = known + 1
    return known


@compiled
def decimal(text: Bytes, start: int, end: int) -> tuple[float, int]:
    """Return a number like ``-12.5`` and whether it is exact, too long to be exact, or not a plain decimal."""
    at = start
    is_negative = at < end and text[np.uint64(at)] == MINUS
    if is_negative:
        at += 1
    first, point = at, -1
    mantissa = np.uint64(0)
    while at < end:
        byte = text[np.uint64(at)]
        if byte == _POINT and point < 0 and at > first:
            point = at
        elif byte < ZERO or byte > _NINE:
            return 0.0, NOT_DECIMAL
        else:
            mantissa = mantissa * np.uint64(10) + np.uint64(byte - ZERO)
        at += 1
    digits = end - first - (point >= 0)
    if digits == 0 or point == end - 1:
        return 0.0, NOT_DECIMAL
    decimals = end - 1 - point if point >= 0 else 0
    if digits > _LONGEST_MANTISSA or mantissa > _LARGEST_EXACT:
        return 0.0, TOO_LONG
    value = np.float64(mantissa) / _POWERS_OF_TEN[decimals]
    # 0.0 - value instead of -value gives a zero without sign, so that all zeros have equal bits.
    return (0.0 - value if is_negative else value), EXACT


@compiled
def gather_bytes(text: Bytes, slices: Ints, out: Bytes) -> None:
    """Concatenate slices of a text; ``slices`` holds their first bytes and lengths in columns 1 and 2."""
    at = 0
    for row in range(len(slices)):
        start, length = slices[row, 1], slices[row, 2]
        for index in range(length):
            out[np.uint64(at + index)] = text[np.uint64(start + index)]
        at += length

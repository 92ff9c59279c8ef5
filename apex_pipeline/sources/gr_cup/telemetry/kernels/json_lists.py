"""Parses lines that hold a list of readings, the format reported for one race (DATA_DICTIONARY, Sebring race 2).

The cell ``value`` is JSON in quotes: ``"[{""name"": ""speed"", ""value"": 90.5}, …]"``. A line whose list holds
anything else is set aside.
"""

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline.sources.gr_cup.telemetry.kernels.buffers import (
    CELL,
    CHANNELS,
    DELIMITER,
    END,
    FRAME_READINGS,
    FRAME_ROWS,
    FRAMES,
    LINES,
    LONG_NUMBERS,
    LONGEST,
    OBJECT,
    ORDINARY,
    QUOTE,
    READINGS,
    START,
    VALUE_COLUMN,
    Bytes,
    Codes,
    Floats,
    Ints,
    add_long_number,
    has_room,
    part_of,
)
from apex_pipeline.sources.gr_cup.telemetry.kernels.decimals import MINUS, NOT_DECIMAL, TOO_LONG, ZERO, read_decimal
from apex_pipeline.sources.gr_cup.telemetry.kernels.intrinsics import pointer
from apex_pipeline.sources.gr_cup.telemetry.kernels.scan import (
    cut_cell,
    intern_text,
    next_line,
    read_frame,
    set_aside,
)
from apex_pipeline.sources.gr_cup.telemetry.kernels.vectors import PADDING

_SPACE, _COMMA, _COLON = 32, 44, 58
_LIST, _LIST_END, _OBJECT_END, _ESCAPE = 91, 93, 125, 92
_NAME = np.frombuffer(b"name", np.uint8)
_VALUE = np.frombuffer(b"value", np.uint8)
_NOWHERE = -1


@compiled
def parse_lists(
    text: Bytes,
    start: int,
    max_lines: int,
    roles: Bytes,
    rules: Ints,
    classes: Bytes,
    cells: Ints,
    frames: Ints,
    channel: Codes,
    value: Floats,
    aside: Ints,
    long_numbers: Ints,
    texts: Ints,
    counts: Ints,
    fields: Ints,
) -> int:
    """Parse complete lines until the end of the text, the maximum number of lines, or a full buffer.

    Args:
        text: Lines, each with its line feed, and ``vectors.PADDING`` further bytes.
        start: Position of the first line.
        max_lines: Maximum number of lines.
        roles: Role of each column. Shape (columns,).
        rules: Format of the lines, from ``buffers.rules_of``.
        classes: Class of each byte, from ``buffers.classes_of``. Shape (256,).
        cells: Space for the cells of a line. Shape (columns + 1, CELL).
        frames: See ``buffers.Buffers``, also for the following arrays; a frame is one line.
        channel: The same.
        value: The same.
        aside: The same.
        long_numbers: The same.
        texts: The same.
        counts: The same; overwritten.
        fields: The same.

    Returns:
        Position of the next line.
    """
    counts[:] = 0
    max_readings, max_aside = len(value), len(aside)
    at, size, columns = start, len(text) - PADDING, len(roles)
    text, roles, rules, classes, cells = pointer(text), pointer(roles), pointer(rules), pointer(classes), pointer(cells)
    texts, counts, fields = pointer(texts), pointer(counts), pointer(fields)
    channel, value, aside, long_numbers = pointer(channel), pointer(value), pointer(aside), pointer(long_numbers)
    while at < size and counts[LINES] < max_lines and has_room(counts[READINGS], max_readings, max_aside, counts):
        line, line_start = counts[LINES], at
        readings, long = counts[READINGS], counts[LONG_NUMBERS]
        counts[LINES] += 1
        end = _cut_cells(text, line_start, columns, rules, classes, cells)
        if end > 0:
            list_start = part_of(cells, rules[VALUE_COLUMN], START)
            list_end = part_of(cells, rules[VALUE_COLUMN], END)
            is_clean = read_frame(text, line, columns, roles, rules, cells, fields, texts, counts)
            if not is_clean or not _add_list(
                text, list_start, list_end, classes, channel, value, long_numbers, texts, counts
            ):
                end = _NOWHERE
        if end < 0:
            # Readings before the error in a list are dropped: the reference parser reads the complete line again.
            counts[READINGS], counts[LONG_NUMBERS] = readings, long
            end = set_aside(text, line, line_start, aside, counts)
        else:
            fields[FRAME_READINGS] = counts[READINGS] - readings
            for field in range(FRAME_ROWS):
                frames[field, counts[FRAMES]] = fields[field]
            counts[FRAMES] += 1
        at = end
    return at


@compiled
def _cut_cells(text: Bytes, start: int, columns: int, rules: Ints, classes: Bytes, cells: Ints) -> int:
    """Find the cells of a line; return the position of the next line, -1 if this one is in an unusual format."""
    at, delimiter, last = start, rules[DELIMITER], columns - 1
    for column in range(columns):
        cell = CELL * column
        if column == rules[VALUE_COLUMN]:
            cells[cell + START], cells[cell + END], at = _cut_list(text, at)
        else:
            cells[cell + START], cells[cell + END], at = cut_cell(text, at, classes, delimiter, is_quoted=True)
        if at < 0 or (column < last and text[at] != delimiter):
            return _NOWHERE
        at += 1
    at -= 1
    # A delimiter at the end of every line adds one empty cell.
    end = next_line(text, at + (text[at] == delimiter))
    return end if end - start <= rules[LONGEST] else _NOWHERE


@compiled
def _cut_list(text: Bytes, start: int) -> tuple[int, int, int]:
    """Return start and end of a quoted list and the position after its closing quote; -1 if it is not a list."""
    if text[start] != QUOTE or text[start + 1] != _LIST:
        return start, start, _NOWHERE
    at = start + 1
    # Quotes inside are doubled; a line feed ends the line, even within a list.
    while text[at] >= _SPACE and text[at] <= _OBJECT_END and (text[at] != QUOTE or text[at + 1] == QUOTE):
        at += 2 if text[at] == QUOTE else 1
    if text[at] != QUOTE:
        return start, start, _NOWHERE
    return start + 1, at, at + 1


@compiled
def _add_list(
    text: Bytes,
    start: int,
    end: int,
    classes: Bytes,
    channel: Codes,
    value: Floats,
    long_numbers: Ints,
    texts: Ints,
    counts: Ints,
) -> bool:
    """Append the readings of a list; return whether all of it was parsed and it has at least one reading."""
    at = _skip(text, start + 1)
    while text[at] == OBJECT:
        code, number, kind, first, first_end = -1, 0.0, NOT_DECIMAL, 0, 0
        at = _skip(text, at + 1)
        for position in range(2):
            is_name = _is_key(text, at, _NAME)
            if not is_name and not _is_key(text, at, _VALUE):
                return False
            at = _skip(text, at + 4 + (len(_NAME) if is_name else len(_VALUE)))
            if text[at] != _COLON:
                return False
            at = _skip(text, at + 1)
            content, content_end, following = _scalar(text, at, classes)
            if following < 0:
                return False
            if is_name:
                code = intern_text(text, content, content_end, texts, counts, CHANNELS) if content > at else -1
            else:
                number, kind, number_end = read_decimal(text, content)
                if number_end != content_end:
                    return False
                first, first_end = content, content_end
                # JSON has no number 007; only a text may have leading zeros.
                if content == at and _has_leading_zero(text, content, content_end):
                    return False
            at = _skip(text, following)
            if position == 0:
                if text[at] != _COMMA:
                    return False
                at = _skip(text, at + 1)
        if text[at] != _OBJECT_END or code < 0 or kind == NOT_DECIMAL:
            return False
        reading = counts[READINGS]
        channel[reading], value[reading] = code, number
        if kind == TOO_LONG:
            add_long_number(reading, first, first_end, long_numbers, counts)
        counts[READINGS] = reading + 1
        at = _skip(text, at + 1)
        if text[at] == _LIST_END:
            return _skip(text, at + 1) == end
        if text[at] != _COMMA:
            return False
        at = _skip(text, at + 1)
    return False


@compiled
def _skip(text: Bytes, at: int) -> int:
    """Return the position of the next byte that is not a space."""
    while text[at] == _SPACE:
        at += 1
    return at


@compiled
def _is_key(text: Bytes, at: int, key: Bytes) -> bool:
    """Return whether a key in doubled quotes starts here."""
    if text[at] != QUOTE or text[at + 1] != QUOTE:
        return False
    for index in range(len(key)):
        if text[at + 2 + index] != key[index]:
            return False
    following = at + 2 + len(key)
    return text[following] == QUOTE and text[following + 1] == QUOTE


@compiled
def _scalar(text: Bytes, start: int, classes: Bytes) -> tuple[int, int, int]:
    """Return start, end and following position of a text in doubled quotes or a bare word; -1 if it is neither."""
    is_text = text[start] == QUOTE and text[start + 1] == QUOTE
    content = start + 2 if is_text else start
    at = content
    while classes[text[at]] == ORDINARY or (is_text and text[at] == _COMMA):
        byte = text[at]
        if byte == _ESCAPE or (not is_text and byte in (_SPACE, _COMMA, _OBJECT_END)):
            break
        at += 1
    if not is_text:
        return content, at, at if at > content else _NOWHERE
    is_closed = text[at] == QUOTE and text[at + 1] == QUOTE
    return content, at, at + 2 if is_closed else _NOWHERE


@compiled
def _has_leading_zero(text: Bytes, start: int, end: int) -> bool:
    first = start + int(text[start] == MINUS)
    return first + 1 < end and text[first] == ZERO and ZERO <= text[first + 1] <= ZERO + 9

"""Parses lines that hold a list of readings, the format reported for one race (DATA_DICTIONARY, Sebring race 2).

The cell ``value`` is JSON in quotes: ``"[{""name"": ""speed"", ""value"": 90.5}, …]"``. A line whose list holds
anything else is set aside.
"""

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline.sources.gr_cup.telemetry.kernels.buffers import (
    ASIDE,
    BLANK,
    CHANNELS,
    DELIMITER,
    FRAME_READINGS,
    FRAMES,
    LINES,
    LONG_NUMBERS,
    LONGEST,
    READINGS,
    VALUE_COLUMN,
    Bytes,
    Codes,
    Floats,
    Ints,
    has_room,
)
from apex_pipeline.sources.gr_cup.telemetry.kernels.scan import (
    MINUS,
    NOT_DECIMAL,
    ORDINARY,
    QUOTE,
    TOO_LONG,
    UNEXPECTED,
    ZERO,
    classes_of,
    cut_cell,
    decimal,
    intern_text,
    is_blank,
    line_feed,
    next_line,
    read_frame,
)

_SPACE, _COMMA, _COLON = 32, 44, 58
_LIST, _LIST_END, _OBJECT, _OBJECT_END, _ESCAPE = 91, 93, 123, 125, 92
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
    frames: Ints,
    channel: Codes,
    value: Floats,
    aside: Ints,
    long_numbers: Ints,
    texts: Ints,
    counts: Ints,
) -> int:
    """Parse complete lines until the end of the text, the maximum number of lines, or a full buffer.

    Args:
        text: Lines, each with its line feed.
        start: Position of the first line.
        max_lines: Maximum number of lines.
        roles: Role of each column. Shape (columns,).
        rules: Format of the lines, from ``buffers.rules_of``.
        frames: See ``buffers.Buffers``, also for the following arrays; a frame is one line.
        channel: The same.
        value: The same.
        aside: The same.
        long_numbers: The same.
        texts: The same.
        counts: The same; overwritten.

    Returns:
        Position of the next line.
    """
    counts[:] = 0
    classes = classes_of(rules)
    # ``parse`` counts readings by these braces, so a line with a brace that does not open a reading is set aside.
    classes[_OBJECT] = UNEXPECTED
    cells = np.zeros((len(roles) + 1, 3), np.int64)
    at = start
    while (
        at < len(text)
        and counts[LINES] < max_lines
        and has_room(counts[READINGS], value, counts[ASIDE], aside, texts, counts)
    ):
        line, line_start = counts[LINES], at
        readings, long = counts[READINGS], counts[LONG_NUMBERS]
        counts[LINES] += 1
        end = _cut_cells(text, line_start, roles, rules, classes, cells)
        if end > 0:
            list_start, list_end = cells[rules[VALUE_COLUMN], 1], cells[rules[VALUE_COLUMN], 2]
            is_clean = read_frame(text, line, roles, rules, cells, frames, counts[FRAMES], texts, counts)
            if not is_clean or not _add_list(
                text, list_start, list_end, classes, channel, value, long_numbers, texts, counts
            ):
                end = _NOWHERE
        if end < 0:
            # Readings before the error in a list are dropped: the reference parser reads the complete line again.
            counts[READINGS], counts[LONG_NUMBERS] = readings, long
            end = line_feed(text, line_start) + 1
            if is_blank(text, line_start, end):
                counts[BLANK] += 1
            else:
                at = counts[ASIDE]
                aside[at, 0], aside[at, 1], aside[at, 2] = line, line_start, end - 1
                counts[ASIDE] += 1
        else:
            frames[FRAME_READINGS, counts[FRAMES]] = counts[READINGS] - readings
            counts[FRAMES] += 1
        at = end
    return at


@compiled
def _cut_cells(text: Bytes, start: int, roles: Bytes, rules: Ints, classes: Bytes, cells: Ints) -> int:
    """Find the cells of a line; return the position of the next line, -1 if this one is in an unusual format."""
    at, delimiter, last = start, rules[DELIMITER], len(roles) - 1
    for column in range(last + 1):
        cells[column, 0] = at
        if column == rules[VALUE_COLUMN]:
            cells[column, 1], cells[column, 2], at = _cut_list(text, at)
        else:
            cells[column, 1], cells[column, 2], at = cut_cell(text, at, classes, delimiter, is_quoted=True)
        if at < 0 or (column < last and text[np.uint64(at)] != delimiter):
            return _NOWHERE
        at += 1
    at -= 1
    # A delimiter at the end of every line adds one empty cell.
    end = next_line(text, at + (text[np.uint64(at)] == delimiter))
    return end if end - start <= rules[LONGEST] else _NOWHERE


@compiled
def _cut_list(text: Bytes, start: int) -> tuple[int, int, int]:
    """Return start and end of a quoted list and the position after its closing quote; -1 if it is not a list."""
    at = np.uint64(start)
    one, two = np.uint64(1), np.uint64(2)
    if text[at] != QUOTE or text[at + one] != _LIST:
        return start, start, _NOWHERE
    at += one
    # Quotes inside are doubled; a line feed ends the line, even within a list.
    while text[at] >= _SPACE and text[at] <= _OBJECT_END and (text[at] != QUOTE or text[at + one] == QUOTE):
        at += two if text[at] == QUOTE else one
    if text[at] != QUOTE:
        return start, start, _NOWHERE
    return start + 1, int(at), int(at) + 1


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
    while text[np.uint64(at)] == _OBJECT:
        code, number, kind, first, length = -1, 0.0, NOT_DECIMAL, 0, 0
        at = _skip(text, at + 1)
        for position in range(2):
            is_name = _is_key(text, at, _NAME)
            if not is_name and not _is_key(text, at, _VALUE):
                return False
            at = _skip(text, at + 4 + (len(_NAME) if is_name else len(_VALUE)))
            if text[np.uint64(at)] != _COLON:
                return False
            at = _skip(text, at + 1)
            content, content_end, following = _scalar(text, at, classes)
            if following < 0:
                return False
            if is_name:
                code = intern_text(text, content, content_end, texts, counts, CHANNELS) if content > at else -1
            else:
                number, kind = decimal(text, content, content_end)
                first, length = content, content_end - content
                # JSON has no number 007; only a text may have leading zeros.
                if content == at and _has_leading_zero(text, content, content_end):
                    return False
            at = _skip(text, following)
            if position == 0:
                if text[np.uint64(at)] != _COMMA:
                    return False
                at = _skip(text, at + 1)
        if text[np.uint64(at)] != _OBJECT_END or code < 0 or kind == NOT_DECIMAL:
            return False
        reading = counts[READINGS]
        channel[np.uint64(reading)], value[np.uint64(reading)] = code, number
        if kind == TOO_LONG:
            long = counts[LONG_NUMBERS]
            long_numbers[long, 0], long_numbers[long, 1], long_numbers[long, 2] = reading, first, length
            counts[LONG_NUMBERS] += 1
        counts[READINGS] = reading + 1
        at = _skip(text, at + 1)
        if text[np.uint64(at)] == _LIST_END:
            return _skip(text, at + 1) == end
        if text[np.uint64(at)] != _COMMA:
            return False
        at = _skip(text, at + 1)
    return False


@compiled
def _skip(text: Bytes, at: int) -> int:
    """Return the position of the next byte that is not a space."""
    while text[np.uint64(at)] == _SPACE:
        at += 1
    return at


@compiled
def _is_key(text: Bytes, at: int, key: Bytes) -> bool:
    """Return whether a key in doubled quotes starts here."""
    if text[np.uint64(at)] != QUOTE or text[np.uint64(at + 1)] != QUOTE:
        return False
    for index in range(len(key)):
        if text[np.uint64(at + 2 + index)] != key[index]:
            return False
    following = at + 2 + len(key)
    return text[np.uint64(following)] == QUOTE and text[np.uint64(following + 1)] == QUOTE


@compiled
def _scalar(text: Bytes, start: int, classes: Bytes) -> tuple[int, int, int]:
    """Return start, end and following position of a text in doubled quotes or a bare word; -1 if it is neither."""
    is_text = text[np.uint64(start)] == QUOTE and text[np.uint64(start + 1)] == QUOTE
    content = start + 2 if is_text else start
    at = content
    while classes[text[np.uint64(at)]] == ORDINARY or (is_text and text[np.uint64(at)] == _COMMA):
        byte = text[np.uint64(at)]
        if byte == _ESCAPE or (not is_text and byte in (_SPACE, _COMMA, _OBJECT_END)):
            break
        at += 1
    if not is_text:
        return content, at, at if at > content else _NOWHERE
    is_closed = text[np.uint64(at)] == QUOTE and text[np.uint64(at + 1)] == QUOTE
    return content, at, at + 2 if is_closed else _NOWHERE


@compiled
def _has_leading_zero(text: Bytes, start: int, end: int) -> bool:
    first = start + (text[np.uint64(start)] == MINUS)
    return first + 1 < end and text[np.uint64(first)] == ZERO and ZERO <= text[np.uint64(first + 1)] <= ZERO + 9

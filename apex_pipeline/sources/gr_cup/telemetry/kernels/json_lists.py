"""Lines that hold a list of readings, as one race is reported to be published (DATA_DICTIONARY, Sebring race 2).

The cell ``value`` is JSON in quotes: ``"[{""name"": ""speed"", ""value"": 90.5}, …]"``. A list with anything else in it
is set aside as a whole.
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
    Real,
    Whole,
    has_room,
)
from apex_pipeline.sources.gr_cup.telemetry.kernels.scan import (
    MINUS,
    NOT_PLAIN,
    ORDINARY,
    QUOTE,
    STRANGE,
    TOO_LONG,
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
    most_lines: int,
    roles: Bytes,
    rules: Whole,
    frames: Whole,
    channel: Codes,
    value: Real,
    aside: Whole,
    long_numbers: Whole,
    texts: Whole,
    counts: Whole,
) -> int:
    """Parse whole lines until the text, the lines asked for, or the space ends.

    Args:
        text: Lines, each with its line feed.
        start: Where to begin.
        most_lines: Stop after so many.
        roles: What each column holds. Shape (columns,).
        rules: How the lines are written, by ``space.rules_of``.
        frames: See ``space.Buffers``, as the arrays after it; a frame is a line.
        channel: The same.
        value: The same.
        aside: The same.
        long_numbers: The same.
        texts: The same.
        counts: The same; set anew.

    Returns:
        Where the next line begins.
    """
    counts[:] = 0
    classes = classes_of(rules)
    # Readings are counted by these braces elsewhere, so one that begins no reading is left to others.
    classes[_OBJECT] = STRANGE
    cells = np.zeros((len(roles) + 1, 3), np.int64)
    at = start
    while (
        at < len(text)
        and counts[LINES] < most_lines
        and has_room(counts[READINGS], value, counts[ASIDE], aside, texts, counts)
    ):
        line, begin = counts[LINES], at
        readings, long = counts[READINGS], counts[LONG_NUMBERS]
        counts[LINES] += 1
        end = _cut_cells(text, begin, roles, rules, classes, cells)
        if end > 0:
            begin_list, end_list = cells[rules[VALUE_COLUMN], 1], cells[rules[VALUE_COLUMN], 2]
            is_clean = read_frame(text, line, roles, rules, cells, frames, counts[FRAMES], texts, counts)
            if not is_clean or not _add_list(
                text, begin_list, end_list, classes, channel, value, long_numbers, texts, counts
            ):
                end = _NOWHERE
        if end < 0:
            # What was taken of the list before its fault is forgotten: it is read again, and told, as a whole.
            counts[READINGS], counts[LONG_NUMBERS] = readings, long
            end = line_feed(text, begin) + 1
            if is_blank(text, begin, end):
                counts[BLANK] += 1
            else:
                at = counts[ASIDE]
                aside[at, 0], aside[at, 1], aside[at, 2] = line, begin, end - 1
                counts[ASIDE] += 1
        else:
            frames[FRAME_READINGS, counts[FRAMES]] = counts[READINGS] - readings
            counts[FRAMES] += 1
        at = end
    return at


@compiled
def _cut_cells(text: Bytes, start: int, roles: Bytes, rules: Whole, classes: Bytes, cells: Whole) -> int:
    """Find the cells of a line; return where the next line begins, -1 where the line is not as it should be."""
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
    # A delimiter at the end of every line makes one empty cell more.
    end = next_line(text, at + (text[np.uint64(at)] == delimiter))
    return end if end - start <= rules[LONGEST] else _NOWHERE


@compiled
def _cut_list(text: Bytes, start: int) -> tuple[int, int, int]:
    """Return where a quoted list begins and ends, and what is behind its closing quote; -1 if it is none."""
    at = np.uint64(start)
    one, two = np.uint64(1), np.uint64(2)
    if text[at] != QUOTE or text[at + one] != _LIST:
        return start, start, _NOWHERE
    at += one
    # Quotes inside are doubled; a line feed ends the line, list or no list.
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
    value: Real,
    long_numbers: Whole,
    texts: Whole,
    counts: Whole,
) -> bool:
    """Append the readings of a list; say whether all of it was understood, and there is one."""
    at = _skip(text, start + 1)
    while text[np.uint64(at)] == _OBJECT:
        code, number, kind, first, length = -1, 0.0, NOT_PLAIN, 0, 0
        at = _skip(text, at + 1)
        for position in range(2):
            is_name = _is_key(text, at, _NAME)
            if not is_name and not _is_key(text, at, _VALUE):
                return False
            at = _skip(text, at + 4 + (len(_NAME) if is_name else len(_VALUE)))
            if text[np.uint64(at)] != _COLON:
                return False
            at = _skip(text, at + 1)
            content, content_end, behind = _scalar(text, at, classes)
            if behind < 0:
                return False
            if is_name:
                code = intern_text(text, content, content_end, texts, counts, CHANNELS) if content > at else -1
            else:
                number, kind = decimal(text, content, content_end)
                first, length = content, content_end - content
                # JSON knows no 007, unless as text.
                if content == at and _has_leading_zero(text, content, content_end):
                    return False
            at = _skip(text, behind)
            if position == 0:
                if text[np.uint64(at)] != _COMMA:
                    return False
                at = _skip(text, at + 1)
        if text[np.uint64(at)] != _OBJECT_END or code < 0 or kind == NOT_PLAIN:
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
    """Return the next byte that is no space."""
    while text[np.uint64(at)] == _SPACE:
        at += 1
    return at


@compiled
def _is_key(text: Bytes, at: int, key: Bytes) -> bool:
    """Say whether a key in doubled quotes begins here."""
    if text[np.uint64(at)] != QUOTE or text[np.uint64(at + 1)] != QUOTE:
        return False
    for index in range(len(key)):
        if text[np.uint64(at + 2 + index)] != key[index]:
            return False
    behind = at + 2 + len(key)
    return text[np.uint64(behind)] == QUOTE and text[np.uint64(behind + 1)] == QUOTE


@compiled
def _scalar(text: Bytes, start: int, classes: Bytes) -> tuple[int, int, int]:
    """Return content, end, and what is behind a text in doubled quotes or a bare word; -1 if it is neither."""
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

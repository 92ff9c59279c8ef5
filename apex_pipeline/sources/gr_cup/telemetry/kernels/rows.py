"""Lines that hold one reading each, as nearly all files have them.

A line is mostly equal to the one before (readings sent together differ in channel and value only), and what is equal is
not parsed again: 70 ns a line instead of 290. Whatever is out of the ordinary is set aside.
"""

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline.sources.gr_cup.telemetry.kernels.buffers import (
    ASIDE,
    BLANK,
    CHANNEL_COLUMN,
    CHANNELS,
    DELIMITER,
    FRAME_READINGS,
    FRAMES,
    IS_QUOTED,
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
    NOT_PLAIN,
    TOO_LONG,
    classes_of,
    cut_cell,
    decimal,
    intern_text,
    is_blank,
    line_feed,
    next_line,
    read_frame,
)


@compiled
def parse_lines(
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
        frames: See ``space.Buffers``, as the arrays after it.
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
    cells = np.zeros((len(roles) + 1, 3), np.int64)
    delimiter, is_quoted, size = rules[DELIMITER], rules[IS_QUOTED] != 0, len(text)
    first, second = min(rules[CHANNEL_COLUMN], rules[VALUE_COLUMN]), max(rules[CHANNEL_COLUMN], rules[VALUE_COLUMN])
    is_channel_first, are_neighbours = first == rules[CHANNEL_COLUMN], second == first + 1
    lines, blank, readings, set_aside, long, frame = 0, 0, 0, 0, 0, -1
    # The line before: its first byte (-1: none to compare with), the bytes before channel and value, the first byte
    # behind these, and the bytes from there to the next line. In variables: kept in an array, they cost 80 ns a line.
    before, length, behind, rest = -1, 0, 0, 0
    # Begin and end of the two cells.
    a, a_end, b, b_end = 0, 0, 0, 0
    at = start
    while at < size and lines < most_lines and has_room(readings, value, set_aside, aside, texts, counts):
        line, begin, end, is_new = lines, at, -1, True
        lines += 1
        if before >= 0 and begin + length < size and _is_same(text, begin, before, length):
            a, a_end, at = cut_cell(text, begin + length, classes, delimiter, is_quoted)
            if at >= 0 and text[np.uint64(at)] == delimiter:
                b, b_end, at = cut_cell(text, at + 1, classes, delimiter, is_quoted)
                if at >= 0 and at + rest <= size and _is_same(text, at, behind, rest):
                    end, is_new = at + rest, False
        if is_new:
            end = _cut_cells(text, begin, roles, rules, classes, cells)
            if end >= 0 and not read_frame(text, line, roles, rules, cells, frames, frame + 1, texts, counts):
                end = -1
            a, a_end, b, b_end = cells[first, 1], cells[first, 2], cells[second, 1], cells[second, 2]
        code, kind = -1, NOT_PLAIN
        if end >= 0:
            if not is_channel_first:
                a, a_end, b, b_end = b, b_end, a, a_end
            code = intern_text(text, a, a_end, texts, counts, CHANNELS)
            value[np.uint64(readings)], kind = decimal(text, b, b_end)
        if code < 0 or kind == NOT_PLAIN:
            # The next frame begins after it, so that the lines of a frame follow each other.
            before = -1
            at = line_feed(text, begin) + 1
            if is_blank(text, begin, at):
                blank += 1
            else:
                aside[set_aside, 0], aside[set_aside, 1], aside[set_aside, 2] = line, begin, at - 1
                set_aside += 1
            continue
        if kind == TOO_LONG:
            long_numbers[long, 0], long_numbers[long, 1], long_numbers[long, 2] = readings, b, b_end - b
            long += 1
        if is_new:
            frame += 1
            if are_neighbours:
                before, length, behind = begin, cells[first, 0] - begin, cells[second + 1, 0] - 1
                rest = end - behind
        channel[np.uint64(readings)] = code
        frames[FRAME_READINGS, frame] += 1
        readings += 1
        at = end
    counts[LINES], counts[BLANK], counts[FRAMES] = lines, blank, frame + 1
    counts[READINGS], counts[ASIDE], counts[LONG_NUMBERS] = readings, set_aside, long
    return at


@compiled
def _is_same(text: Bytes, one: int, other: int, length: int) -> bool:
    # All bytes are compared, without a way out at the first difference: so 32 of them are compared at once.
    a, b = text[one : one + length], text[other : other + length]
    differences = np.uint8(0)
    for index in range(length):
        differences |= a[index] ^ b[index]
    return differences == 0


@compiled
def _cut_cells(text: Bytes, start: int, roles: Bytes, rules: Whole, classes: Bytes, cells: Whole) -> int:
    """Find the cells of a line; return where the next line begins, -1 where the line is not as it should be.

    A row of ``cells`` is the cell's first byte (quotes included), its content, the end of that.
    """
    at, delimiter, is_quoted, last = start, rules[DELIMITER], rules[IS_QUOTED] != 0, len(roles) - 1
    for column in range(last + 1):
        cells[column, 0] = at
        cells[column, 1], cells[column, 2], at = cut_cell(text, at, classes, delimiter, is_quoted)
        if at < 0 or (column < last and text[np.uint64(at)] != delimiter):
            return -1
        at += 1
    cells[last + 1, 0] = at
    at -= 1
    # A delimiter at the end of every line makes one empty cell more.
    end = next_line(text, at + (text[np.uint64(at)] == delimiter))
    return end if end - start <= rules[LONGEST] else -1

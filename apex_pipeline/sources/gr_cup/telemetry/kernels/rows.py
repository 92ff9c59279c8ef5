"""Parses lines that hold one reading each, with quotes or with the value not right after its channel.

Parts that equal the line before are not parsed again, as in ``plain_rows``, which is for all other files. Lines in an
unusual format are set aside.
"""

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline.sources.gr_cup.telemetry.kernels.buffers import (
    CELL,
    CHANNEL_COLUMN,
    CHANNELS,
    DELIMITER,
    END,
    FIRST,
    FRAME_READINGS,
    FRAME_ROWS,
    FRAMES,
    IS_QUOTED,
    LINES,
    LONGEST,
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
from apex_pipeline.sources.gr_cup.telemetry.kernels.decimals import NOT_DECIMAL, TOO_LONG, read_decimal
from apex_pipeline.sources.gr_cup.telemetry.kernels.intrinsics import pointer
from apex_pipeline.sources.gr_cup.telemetry.kernels.scan import (
    cut_cell,
    end_if_same,
    intern_text,
    is_same,
    next_line,
    read_frame,
    set_aside,
)
from apex_pipeline.sources.gr_cup.telemetry.kernels.vectors import PADDING


@compiled
def parse_lines(
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
        frames: See ``buffers.Buffers``, also for the following arrays.
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
    size, columns, max_readings, max_aside = len(text) - PADDING, len(roles), len(value), len(aside)
    text, roles, rules, classes, cells = pointer(text), pointer(roles), pointer(rules), pointer(classes), pointer(cells)
    texts, counts, fields = pointer(texts), pointer(counts), pointer(fields)
    aside, long_numbers = pointer(aside), pointer(long_numbers)
    delimiter, is_quoted = rules[DELIMITER], rules[IS_QUOTED] != 0
    first, second = min(rules[CHANNEL_COLUMN], rules[VALUE_COLUMN]), max(rules[CHANNEL_COLUMN], rules[VALUE_COLUMN])
    is_channel_first, are_adjacent = first == rules[CHANNEL_COLUMN], second == first + 1
    lines, readings, frame = 0, 0, -1
    # The previous line: its first byte (-1: nothing to compare with), the number of bytes before channel and value, the
    # first byte after these, and the number of bytes from there to the next line.
    before, length, tail, tail_length = -1, 0, 0, 0
    at = start
    while at < size and lines < max_lines and has_room(readings, max_readings, max_aside, counts):
        line_start, end = at, -1
        # Start and end of the two cells.
        a, a_end, b, b_end = 0, 0, 0, 0
        lines += 1
        if before >= 0 and line_start + length < size and is_same(text, line_start, before, length):
            a, a_end, b, b_end, at = _cut_pair(text, line_start + length, classes, delimiter, is_quoted)
            if at >= 0:
                end = end_if_same(text, at, tail, tail_length, min(size, line_start + rules[LONGEST]))
        is_new = end < 0
        if is_new:
            end = cut_cells(text, line_start, columns, rules, classes, cells)
            if end >= 0 and not read_frame(text, lines - 1, columns, roles, rules, cells, fields, texts, counts):
                end = -1
            a, a_end = part_of(cells, first, START), part_of(cells, first, END)
            b, b_end = part_of(cells, second, START), part_of(cells, second, END)
        code, kind = -1, NOT_DECIMAL
        if end >= 0:
            if not is_channel_first:
                a, a_end, b, b_end = b, b_end, a, a_end
            code = intern_text(text, a, a_end, texts, counts, CHANNELS)
            value[np.uint64(readings)], kind, number_end = read_decimal(text, b)
            if number_end != b_end:
                kind = NOT_DECIMAL
        if code < 0 or kind == NOT_DECIMAL:
            # The next frame starts after this line, so that the lines of a frame are consecutive.
            before = -1
            at = set_aside(text, lines - 1, line_start, aside, counts)
            continue
        if kind == TOO_LONG:
            add_long_number(readings, b, b_end, long_numbers, counts)
        if is_new:
            frame += 1
            for field in range(FRAME_ROWS):
                frames[field, frame] = fields[field]
            if are_adjacent:
                before, length = line_start, part_of(cells, first, FIRST) - line_start
                tail = part_of(cells, second + 1, FIRST) - 1
                tail_length = end - tail
        channel[np.uint64(readings)] = code
        frames[FRAME_READINGS, frame] += 1
        readings += 1
        at = end
    counts[LINES], counts[FRAMES], counts[READINGS] = lines, frame + 1, readings
    return at


@compiled
def _cut_pair(
    text: Bytes,
    start: int,
    classes: Bytes,
    delimiter: int,
    is_quoted: bool,  # noqa: FBT001  -- numba takes no keywords
) -> tuple[int, int, int, int, int]:
    """Return start and end of two cells and the position after them, -1 if they are not usual ones."""
    a, a_end, at = cut_cell(text, start, classes, delimiter, is_quoted)
    if at < 0 or text[at] != delimiter:
        return a, a_end, a, a_end, -1
    b, b_end, at = cut_cell(text, at + 1, classes, delimiter, is_quoted)
    return a, a_end, b, b_end, at


@compiled
def cut_cells(text: Bytes, start: int, columns: int, rules: Ints, classes: Bytes, cells: Ints) -> int:
    """Find the cells of a line; return the position of the next line, -1 if this one is in an unusual format."""
    at, delimiter, is_quoted, last = start, rules[DELIMITER], rules[IS_QUOTED] != 0, columns - 1
    for column in range(columns):
        cell = CELL * column
        cells[cell + FIRST] = at
        cells[cell + START], cells[cell + END], at = cut_cell(text, at, classes, delimiter, is_quoted)
        if at < 0 or (column < last and text[at] != delimiter):
            return -1
        at += 1
    cells[CELL * columns + FIRST] = at
    at -= 1
    # A delimiter at the end of every line adds one empty cell.
    end = next_line(text, at + (text[at] == delimiter))
    return end if end - start <= rules[LONGEST] else -1

"""Parses lines that hold one reading each, without quotes and with the value right after its channel: nearly all files.

Most of a line equals the line before: readings sent together differ only in channel and value. The bytes before and
after these two are compared 32 at a time, the channel is guessed from the one that followed the last channel before,
and the number is read in one pass. The cells of any other line are found in masks of 32 bytes. See ``rows`` for quotes
and other orders of the columns; both set aside the same lines.
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
    LINES,
    LONGEST,
    MAX_TEXTS,
    READINGS,
    START,
    Bytes,
    Codes,
    Floats,
    Ints,
    add_long_number,
    has_room,
    part_of,
    text_slot,
)
from apex_pipeline.sources.gr_cup.telemetry.kernels.decimals import NOT_DECIMAL, TOO_LONG, read_decimal
from apex_pipeline.sources.gr_cup.telemetry.kernels.intrinsics import pointer
from apex_pipeline.sources.gr_cup.telemetry.kernels.rows import cut_cells
from apex_pipeline.sources.gr_cup.telemetry.kernels.scan import (
    cut_cell,
    end_if_same,
    intern_text,
    is_same,
    next_line,
    read_frame,
    set_aside,
)
from apex_pipeline.sources.gr_cup.telemetry.kernels.vectors import (
    BLOCK,
    PADDING,
    differences,
    equal,
    outside_ascii_from,
    trailing_zeros,
)

_SPACE = 32
_NOWHERE = -1
_NO_PAIR = -1, -1, 0.0, NOT_DECIMAL, -1


@compiled
def parse_plain_lines(
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

    Arguments and result are those of ``rows.parse_lines``.
    """
    counts[:] = 0
    size, columns, max_readings, max_aside = len(text) - PADDING, len(roles), len(value), len(aside)
    text, roles, rules, classes, cells = pointer(text), pointer(roles), pointer(rules), pointer(classes), pointer(cells)
    texts, counts, fields = pointer(texts), pointer(counts), pointer(fields)
    aside, long_numbers = pointer(aside), pointer(long_numbers)
    column = rules[CHANNEL_COLUMN]
    # The channel that followed each channel, and as the last one the first channel of the text.
    followed_by = np.full(MAX_TEXTS + 1, _NOWHERE)
    previous, lines, readings, frame = MAX_TEXTS, 0, 0, -1
    # The previous line: its first byte (-1: nothing to compare with), the number of bytes before the channel, the first
    # byte after the value, and the number of bytes from there to the next line.
    before, length, tail, tail_length = _NOWHERE, 0, 0, 0
    at = start
    while at < size and lines < max_lines and has_room(readings, max_readings, max_aside, counts):
        line_start, name, end, guess = at, at + length, _NOWHERE, followed_by[np.uint64(previous)]
        # Channel and value: code, end of the name, number and its kind and end.
        pair = _NO_PAIR
        if before >= 0 and name < size and is_same(text, line_start, before, length):
            pair = _read_pair(text, name, guess, rules, classes, texts, counts)
            if pair[3] != NOT_DECIMAL:
                end = end_if_same(text, pair[4], tail, tail_length, min(size, line_start + rules[LONGEST]))
        is_new = end < 0
        if is_new:
            end = _cut_plain_cells(text, line_start, columns, rules, classes, cells)
            if end >= 0 and not read_frame(text, lines, columns, roles, rules, cells, fields, texts, counts):
                end = _NOWHERE
            if end >= 0:
                name = part_of(cells, column, FIRST)
                pair = _read_pair(text, name, guess, rules, classes, texts, counts)
        code, name_end, number, kind, number_end = pair
        if end >= 0 and code < 0:
            code = intern_text(text, name, name_end, texts, counts, CHANNELS)
        is_number = kind != NOT_DECIMAL and (not is_new or number_end == part_of(cells, column + 1, END))
        lines += 1
        if end < 0 or code < 0 or not is_number:
            # The next frame starts after this line, so that the lines of a frame are consecutive.
            before = _NOWHERE
            at = set_aside(text, lines - 1, line_start, aside, counts)
            continue
        if kind == TOO_LONG:
            add_long_number(readings, name_end + 1, number_end, long_numbers, counts)
        if is_new:
            frame += 1
            for field in range(FRAME_ROWS):
                frames[field, frame] = fields[field]
            before, length, tail = line_start, name - line_start, number_end
            tail_length = end - tail
        if code != guess:
            followed_by[np.uint64(previous)] = code
        channel[np.uint64(readings)], value[np.uint64(readings)] = code, number
        frames[FRAME_READINGS, frame] += 1
        readings += 1
        previous, at = code, end
    counts[LINES], counts[FRAMES], counts[READINGS] = lines, frame + 1, readings
    return at


@compiled
def _read_pair(
    text: Bytes, at: int, guess: int, rules: Ints, classes: Bytes, texts: Ints, counts: Ints
) -> tuple[int, int, float, int, int]:
    """Return the channel at a position (-1: a new one), the end of its name, the number after it, its kind and end."""
    code, name_end = _find_channel(text, at, guess, rules[DELIMITER], classes, texts, counts[CHANNELS])
    if name_end < 0:
        return _NO_PAIR
    number, kind, number_end = read_decimal(text, name_end + 1)
    return code, name_end, number, kind, number_end


@compiled
def _find_channel(
    text: Bytes, at: int, guess: int, delimiter: int, classes: Bytes, texts: Ints, known: int
) -> tuple[int, int]:
    """Return the code of the channel at a position (-1: a new one) and its end, -1 if its cell is not a usual one."""
    if guess >= 0 and _is_channel(text, at, texts, guess, delimiter):
        return guess, at + texts[text_slot(CHANNELS, guess) + 1]
    for code in range(known):
        if _is_channel(text, at, texts, code, delimiter):
            return code, at + texts[text_slot(CHANNELS, code) + 1]
    _, end, following = cut_cell(text, at, classes, delimiter, False)
    is_usual = following >= 0 and text[following] == delimiter
    return _NOWHERE, end if is_usual else _NOWHERE


@compiled
def _is_channel(text: Bytes, at: int, texts: Ints, code: int, delimiter: int) -> bool:
    """Return whether a cell holds this channel; one of more than a block is looked up instead."""
    slot = text_slot(CHANNELS, code)
    length = texts[slot + 1]
    if length >= BLOCK:
        return False
    found = differences(text, at, texts[slot])
    return found & ((1 << length) - 1) == 0 and text[at + length] == delimiter


@compiled
def _cut_plain_cells(text: Bytes, start: int, columns: int, rules: Ints, classes: Bytes, cells: Ints) -> int:
    """Find the cells of a line as ``rows.cut_cells`` does, to which the lines with an unusual byte are left."""
    end = _cut_by_masks(text, start, columns - 1, rules[DELIMITER], cells)
    if end < 0:
        return cut_cells(text, start, columns, rules, classes, cells)
    return end if end - start <= rules[LONGEST] else _NOWHERE


@compiled
def _cut_by_masks(text: Bytes, start: int, last: int, delimiter: int, cells: Ints) -> int:
    """Find the cells up to ``last``; return the position of the next line, -1 at another number or an unusual byte."""
    cells[FIRST] = cells[START] = start
    block, cell, last_cell = start, 0, CELL * last
    while True:
        ends = equal(text, block, delimiter)
        # Line feeds, and bytes that do not occur in usual lines.
        stops = outside_ascii_from(text, block, _SPACE) & ~ends
        ends &= (stops & -stops) - 1
        while ends != 0:
            at = block + trailing_zeros(ends)
            ends &= ends - 1
            cells[cell + END] = at
            is_last = cell == last_cell
            cell += CELL
            cells[cell + FIRST] = cells[cell + START] = at + 1
            if is_last:
                # A delimiter at the end of every line adds one empty cell.
                return next_line(text, at + 1)
        if stops != 0:
            at = block + trailing_zeros(stops)
            cells[cell + END], cells[cell + CELL + FIRST] = at, at + 1
            return next_line(text, at) if cell == last_cell else _NOWHERE
        block += BLOCK

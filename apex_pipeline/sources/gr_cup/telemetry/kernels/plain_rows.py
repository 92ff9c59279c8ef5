"""Parses lines that hold one reading each, without quotes and with the value right after its channel: nearly all files.

Most of a line equals the line before: readings sent together differ only in channel and value. The bytes before and
after these two are compared 32 at a time, the channel is guessed from the one that followed the last channel before,
and the number is read in one pass. The cells of any other line are found in masks of 32 bytes. See ``rows`` for quotes
and other orders of the columns; both set aside the same lines.
"""

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline.sources.gr_cup.telemetry.kernels.buffers import (
    ASIDE,
    BLANK,
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
    LONG_NUMBERS,
    LONGEST,
    MAX_TEXTS,
    READINGS,
    START,
    Bytes,
    Codes,
    Floats,
    Ints,
    has_room,
    part_of,
    text_slot,
)
from apex_pipeline.sources.gr_cup.telemetry.kernels.decimals import NOT_DECIMAL, TOO_LONG, read_decimal
from apex_pipeline.sources.gr_cup.telemetry.kernels.intrinsics import pointer
from apex_pipeline.sources.gr_cup.telemetry.kernels.rows import cut_cells
from apex_pipeline.sources.gr_cup.telemetry.kernels.scan import (
    cut_cell,
    intern_text,
    is_blank,
    is_same,
    line_feed,
    next_line,
    read_frame,
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
    size, columns = len(text) - PADDING, len(roles)
    text, roles, rules, classes, cells = pointer(text), pointer(roles), pointer(rules), pointer(classes), pointer(cells)
    texts, counts, fields = pointer(texts), pointer(counts), pointer(fields)
    delimiter, column = rules[DELIMITER], rules[CHANNEL_COLUMN]
    # The channel that followed each channel, and as the last one the first channel of the text.
    followed_by = np.full(MAX_TEXTS + 1, _NOWHERE)
    code = MAX_TEXTS
    lines, blank, readings, set_aside, long, frame = 0, 0, 0, 0, 0, -1
    # The previous line: its first byte (-1: nothing to compare with), the number of bytes before the channel, the first
    # byte after the value, and the number of bytes from there to the next line.
    before, length, tail, tail_length = _NOWHERE, 0, 0, 0
    at = start
    while at < size and lines < max_lines and has_room(readings, len(value), set_aside, len(aside), counts):
        line, line_start, end, is_new = lines, at, _NOWHERE, True
        lines += 1
        previous, guess, number, kind = code, followed_by[np.uint64(code)], 0.0, NOT_DECIMAL
        name, name_end, number_end = 0, 0, 0
        if before >= 0 and line_start + length < size and is_same(text, line_start, before, length):
            name = line_start + length
            code, name_end = _find_channel(text, name, guess, texts, counts[CHANNELS], classes, delimiter)
            if name_end >= 0:
                number, kind, number_end = read_decimal(text, name_end + 1)
                is_new = (
                    kind == NOT_DECIMAL
                    or number_end + tail_length > size
                    or not is_same(text, number_end, tail, tail_length)
                )
                end = number_end + tail_length
        if is_new:
            kind = NOT_DECIMAL
            end = _cut_plain_cells(text, line_start, columns, rules, classes, cells)
            if end >= 0 and not read_frame(text, line, columns, roles, rules, cells, fields, texts, counts):
                end = _NOWHERE
            if end >= 0:
                name = part_of(cells, column, FIRST)
                code, name_end = _find_channel(text, name, guess, texts, counts[CHANNELS], classes, delimiter)
                number, kind, number_end = read_decimal(text, name_end + 1)
                if number_end != part_of(cells, column + 1, END):
                    kind = NOT_DECIMAL
        if end >= 0 and code < 0:
            code = intern_text(text, name, name_end, texts, counts, CHANNELS)
        if end < 0 or code < 0 or kind == NOT_DECIMAL:
            # The next frame starts after this line, so that the lines of a frame are consecutive.
            before, code = _NOWHERE, previous
            at = line_feed(text, line_start) + 1
            if is_blank(text, line_start, at):
                blank += 1
            else:
                aside[set_aside, 0], aside[set_aside, 1], aside[set_aside, 2] = line, line_start, at - 1
                set_aside += 1
            continue
        if kind == TOO_LONG:
            long_numbers[long, 0], long_numbers[long, 1] = readings, name_end + 1
            long_numbers[long, 2] = number_end - name_end - 1
            long += 1
        if is_new:
            frame += 1
            for field in range(FRAME_ROWS):
                frames[field, frame] = fields[field]
            before, length = line_start, part_of(cells, column, FIRST) - line_start
            tail = part_of(cells, column + 2, FIRST) - 1
            tail_length = end - tail
        if code != guess:
            followed_by[np.uint64(previous)] = code
        channel[np.uint64(readings)], value[np.uint64(readings)] = code, number
        frames[FRAME_READINGS, frame] += 1
        readings += 1
        at = end
    counts[LINES], counts[BLANK], counts[FRAMES] = lines, blank, frame + 1
    counts[READINGS], counts[ASIDE], counts[LONG_NUMBERS] = readings, set_aside, long
    return at


@compiled
def _find_channel(
    text: Bytes, at: int, guess: int, texts: Ints, known: int, classes: Bytes, delimiter: int
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

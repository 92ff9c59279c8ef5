"""Defines the inputs and outputs of both line parsers: plain arrays that are filled and reused.

Documents their shapes and the meaning of their positions; see ``scan`` for the parsing of text.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint16]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Roles of columns. Columns of role NOTHING are skipped.
NOTHING, VEHICLE, CAR_TIME, RECEIVED_TIME, LAP, SESSION, CHANNEL, VALUE = range(8)

# Rows of ``Buffers.frames``.
FRAME_VEHICLE, FRAME_SESSION, FRAME_CAR_MS, FRAME_RECEIVED_MS, FRAME_LAP, FRAME_LINE, FRAME_READINGS = range(7)
FRAME_ROWS = 7

# Kinds of interned text: their index in ``Buffers.texts`` and in ``Buffers.counts``. The other counts follow them.
VEHICLES, SESSIONS, CHANNELS = range(3)
LINES, BLANK, FRAMES, READINGS, ASIDE, LONG_NUMBERS = range(3, 9)
COUNTS = 9
# Maximum number of distinct texts of a kind per call; a chunk with more is parsed in several calls.
MAX_TEXTS = 1_000

# Classes of bytes: in a cell, at its end, and in no usual line.
ORDINARY, CELL_END, UNEXPECTED = 0, 1, 2
LINE_FEED, RETURN, QUOTE, OBJECT = 10, 13, 34, 123
_FIRST_NON_ASCII = 128

# The three numbers of a cell: its first byte, including a quote, and the start and end of its content.
FIRST, START, END = range(3)
CELL = 3

# Minimum bytes of a reading, on a separate line (two times of 24 characters and more) or in a list
# (``{""name"":""a"",""value"":1},``). A text of this length holds at most one reading.
SHORTEST_READING = 29


class LapCodes(NamedTuple):
    """Codes of missing laps.

    Attributes:
        lost: Sent by a device that lost count.
        none: Code of a lost lap in the result.
        unreadable: Code of an empty lap in the result.
    """

    lost: int
    none: int
    unreadable: int


class Buffers(NamedTuple):
    """Output arrays of a parser, larger than their content; ``counts`` holds how much of each is filled.

    Readings on consecutive lines with the same car, times, lap and session form a frame.

    Attributes:
        frames: Per frame the indices of vehicle and session in ``texts`` (session -1: none), car time and receive time
            in milliseconds, device lap, line of the first reading counted from 0, number of readings.
            Shape (FRAME_ROWS, frames).
        channel: Index of each reading's channel in ``texts``. Shape (readings,).
        value: Value of each reading. Shape (readings,).
        aside: Line from 0, first byte and end of each line set aside. Shape (lines set aside, 3).
        long_numbers: Reading, first byte and length of each number with too many digits for exact arithmetic; its
            value is filled in later. Shape (long numbers, 3).
        texts: First byte and length of each distinct vehicle, session and channel. Shape (3, MAX_TEXTS, 2).
        counts: Number of filled entries. Shape (COUNTS,).
        fields: Space for the column of ``frames`` that is being read. Shape (FRAME_ROWS,).
    """

    frames: Ints
    channel: Codes
    value: Floats
    aside: Ints
    long_numbers: Ints
    texts: Ints
    counts: Ints
    fields: Ints


# Positions in the array ``rules``: the format of the lines in numbers, and the columns of channel and value.
DELIMITER, IS_QUOTED, LONGEST, LOST_LAP, NO_LAP, UNREADABLE_LAP, CHANNEL_COLUMN, VALUE_COLUMN = range(8)


def rules_of(roles: Bytes, delimiter: str, *, is_quoted: bool, longest: int, laps: LapCodes) -> Ints:
    """Return the format of the lines as the array of numbers that the parsers take.

    Args:
        roles: Role of each column. Shape (columns,).
        delimiter: Character between cells.
        is_quoted: A cell may be in double quotes.
        longest: Maximum length of a line in bytes.
        laps: Codes of missing laps.
    """
    columns = [int(np.append(np.flatnonzero(roles == role), -1)[0]) for role in (CHANNEL, VALUE)]
    return np.array([ord(delimiter), is_quoted, longest, *laps, *columns], np.int64)


def classes_of(rules: Ints, *, is_listed: bool) -> Bytes:
    """Return the class of each byte value. Shape (256,)."""
    classes = np.full(256, ORDINARY, np.uint8)
    classes[_FIRST_NON_ASCII:] = classes[0] = classes[RETURN] = UNEXPECTED
    classes[rules[DELIMITER]] = classes[LINE_FEED] = CELL_END
    if rules[IS_QUOTED]:
        classes[QUOTE] = UNEXPECTED
    if is_listed:
        # ``parse`` counts readings by these braces, so a line with a brace that does not open a reading is set aside.
        classes[OBJECT] = UNEXPECTED
    return classes


@compiled
def has_room(readings: int, max_readings: int, max_aside: int, counts: Ints) -> bool:
    """Return whether the buffers have room for another line."""
    max_texts = max(counts[VEHICLES], counts[SESSIONS], counts[CHANNELS])
    return readings < max_readings and counts[ASIDE] < max_aside and max_texts < MAX_TEXTS


@compiled
def add_long_number(reading: int, start: int, end: int, long_numbers: Ints, counts: Ints) -> None:
    """Note a number that is filled in later."""
    at = 3 * counts[LONG_NUMBERS]
    long_numbers[at], long_numbers[at + 1], long_numbers[at + 2] = reading, start, end - start
    counts[LONG_NUMBERS] += 1


@compiled
def text_slot(kind: int, code: int) -> int:
    """Return where an interned text is in the elements of ``Buffers.texts``: its first byte, followed by its length."""
    return (kind * MAX_TEXTS + code) * 2


@compiled
def part_of(cells: Ints, column: int, part: int) -> int:
    """Return a part of the cell of a column: its first byte, the start or the end of its content."""
    return cells[CELL * column + part]

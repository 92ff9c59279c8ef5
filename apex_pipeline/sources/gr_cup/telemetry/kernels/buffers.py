"""What both readers of lines are given, and where they put readings: plain arrays, filled in and used again.

Here belong the shapes and what stands where in them; not here: the meaning of text (``text``).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint16]
Whole = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]

# What a column holds. Others are only passed over.
NOTHING, VEHICLE, CAR_TIME, RECEIVED_TIME, LAP, SESSION, CHANNEL, VALUE = range(8)

# Rows of ``Buffers.frames``.
FRAME_VEHICLE, FRAME_SESSION, FRAME_CAR_MS, FRAME_RECEIVED_MS, FRAME_LAP, FRAME_LINE, FRAME_READINGS = range(7)
FRAME_ROWS = 7

# The texts that are told apart, by their place in ``Buffers.texts`` and, after the others, in ``Buffers.counts``.
VEHICLES, SESSIONS, CHANNELS = range(3)
LINES, BLANK, FRAMES, READINGS, ASIDE, LONG_NUMBERS = range(3, 9)
COUNTS = 9

# Bytes a reading cannot do without, on a line of its own (two times of 24 characters and more) or in a list
# (``{""name"":""a"",""value"":1},``). Text of so many bytes holds at most one reading.
SHORTEST_READING = 29


class LapCodes(NamedTuple):
    """Laps that are none.

    Attributes:
        lost: What a unit sends when it lost count.
        none: What stands for that in the result.
        unreadable: What stands for an empty lap.
    """

    lost: int
    none: int
    unreadable: int


class Buffers(NamedTuple):
    """Where the readings go; arrays are larger than what they hold, ``counts`` says how much that is.

    Readings on lines that follow each other, with the same car, times, lap and session, are a frame.

    Attributes:
        frames: Per frame the index of vehicle and session in ``texts`` (session -1: none), car time and receive time
            in milliseconds, unit lap, line of the first reading counted from 0, number of readings.
            Shape (FRAME_ROWS, frames).
        channel: Index of each reading's channel in ``texts``. Shape (readings,).
        value: Shape (readings,).
        aside: Line from 0, first byte and end of each line set aside. Shape (lines set aside, 3).
        long_numbers: Reading, first byte and length of each number with more digits than are exact here; its value is
            to be filled in. Shape (long numbers, 3).
        texts: First byte and length of the vehicles, sessions and channels met. Shape (3, texts, 2).
        counts: What is filled in. Shape (COUNTS,).
    """

    frames: Whole
    channel: Codes
    value: Real
    aside: Whole
    long_numbers: Whole
    texts: Whole
    counts: Whole


# What a layout says in numbers, by its place in the array ``rules``, and the columns of channel and value.
DELIMITER, IS_QUOTED, LONGEST, LOST_LAP, NO_LAP, UNREADABLE_LAP, CHANNEL_COLUMN, VALUE_COLUMN = range(8)


def rules_of(roles: Bytes, delimiter: str, *, is_quoted: bool, longest: int, laps: LapCodes) -> Whole:
    """Return how lines are written, as the numbers that the readers of lines are given.

    Args:
        roles: What each column holds. Shape (columns,).
        delimiter: Character between cells.
        is_quoted: A cell may be in double quotes.
        longest: Bytes of the longest line that is one.
        laps: How laps are told that are none.
    """
    columns = [int(np.append(np.flatnonzero(roles == role), -1)[0]) for role in (CHANNEL, VALUE)]
    return np.array([ord(delimiter), is_quoted, longest, *laps, *columns], np.int64)


@compiled
def has_room(readings: int, value: Real, set_aside: int, aside: Whole, texts: Whole, counts: Whole) -> bool:
    """Say whether one more line fits."""
    most = max(counts[VEHICLES], counts[SESSIONS], counts[CHANNELS])
    return readings < len(value) and set_aside < len(aside) and most < texts.shape[1]

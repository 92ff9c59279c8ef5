"""One car's readings to the cells of its rows: which row, which column, and which reading where several claim a cell.

A row is a sample time; readings of one channel that share it are told apart by ``repeat``. Not here: which time a
sample has (``clocks``) and in which order clashing readings come (``widening``).
"""

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled

Small = npt.NDArray[np.int32]
Codes = npt.NDArray[np.uint16]
Flags = npt.NDArray[np.uint8]
Whole = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]

# What ``repeat`` holds for a reading that is equal in everything to one that is kept, and for one still to be placed.
DUPLICATE, CLASHING = -1, -2


@compiled
def assign_cells(
    row: Small,
    readings: Whole,
    car_ms: Whole,
    received_ms: Whole,
    unit_lap: Whole,
    column_of: Codes,
    channel: Codes,
    value: Real,
    grid: Small,
    frame_of: Small,
    repeat: Small,
) -> int:
    """Give each cell to the first reading that claims it.

    Args:
        row: Row of each frame. Shape (frames,).
        readings: Number of readings of each frame. Shape (frames,).
        car_ms: Shape (frames,).
        received_ms: Shape (frames,).
        unit_lap: Shape (frames,).
        column_of: Column of each channel. Shape (channels,).
        channel: Shape (readings,).
        value: Shape (readings,).
        grid: Zeros; becomes 1 + the reading a cell was given to. Shape (rows, columns).
        frame_of: Becomes the frame of each reading. Shape (readings,).
        repeat: Becomes 0, :data:`DUPLICATE` of the one before it, or :data:`CLASHING`; a reading whose cell is claimed
            by a different one is clashing, and so is that one. Shape (readings,).

    Returns:
        Number of clashing readings.
    """
    reading, clashing = 0, 0
    for frame in range(len(row)):
        for _ in range(readings[frame]):
            at = np.uint64(reading)
            frame_of[at] = frame
            line, column = np.uint64(row[frame]), np.uint64(column_of[np.uint64(channel[at])])
            holder = grid[line, column] - 1
            repeat[at] = 0
            if holder < 0:
                grid[line, column] = reading + 1
            else:
                first = np.uint64(holder)
                other = frame_of[first]
                is_equal = (
                    value[at] == value[first]
                    and car_ms[other] == car_ms[frame]
                    and received_ms[other] == received_ms[frame]
                    and unit_lap[other] == unit_lap[frame]
                )
                repeat[at] = DUPLICATE if is_equal else CLASHING
                clashing += not is_equal
                if not is_equal and repeat[first] != CLASHING:
                    repeat[first] = CLASHING
                    clashing += 1
            reading += 1
    return clashing


@compiled
def fill_cells(
    first_row: Small,
    row: Small,
    car_ms: Whole,
    received_ms: Whole,
    unit_lap: Whole,
    column_of: Codes,
    channel: Codes,
    value: Real,
    frame_of: Small,
    repeat: Small,
    cells: Real,
    is_filled: Flags,
    row_car_ms: Whole,
    row_received_ms: Whole,
    row_lap: Whole,
) -> None:
    """Put readings into their cells, and find earliest times and highest lap of each row.

    Args:
        first_row: Published row of each sample time's ``repeat`` 0. Shape (sample times,).
        row: Sample time of each frame. Shape (frames,).
        car_ms: Shape (frames,).
        received_ms: Shape (frames,).
        unit_lap: Shape (frames,).
        column_of: Column of each channel. Shape (channels,).
        channel: Shape (readings,).
        value: Shape (readings,).
        frame_of: Shape (readings,).
        repeat: Place among the readings of one cell; :data:`DUPLICATE` goes nowhere. Shape (readings,).
        cells: Becomes the values. Shape (columns, rows).
        is_filled: Zeros; becomes 1 where there is a value. Shape (columns, rows).
        row_car_ms: The latest possible time; becomes the earliest of the row's readings. Shape (rows,).
        row_received_ms: The same.
        row_lap: The lowest possible lap; becomes the highest. Shape (rows,).
    """
    for reading in range(len(value)):
        at = np.uint64(reading)
        if repeat[at] == DUPLICATE:
            continue
        frame = np.uint64(frame_of[at])
        line = np.uint64(first_row[np.uint64(row[frame])] + repeat[at])
        column = np.uint64(column_of[np.uint64(channel[at])])
        cells[column, line] = value[at]
        is_filled[column, line] = 1
        row_car_ms[line] = min(row_car_ms[line], car_ms[frame])
        row_received_ms[line] = min(row_received_ms[line], received_ms[frame])
        row_lap[line] = max(row_lap[line], unit_lap[frame])

"""Assigns one car's readings to cells: row, column, and which reading fills a cell if several fall into it.

A row is a sample time; readings of one channel that share it are numbered by ``repeat``. See ``clocks`` for the sample
times and the module ``pivot`` one level up for the order of conflicting readings.
"""

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled

SmallInts = npt.NDArray[np.int32]
Codes = npt.NDArray[np.uint16]
Flags = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Values of ``repeat`` for a reading equal in every field to a kept one, and for one not yet numbered.
DUPLICATE, CONFLICT = -1, -2


@compiled
def assign_cells(
    row: SmallInts,
    readings: Ints,
    car_ms: Ints,
    received_ms: Ints,
    unit_lap: Ints,
    column_of: Codes,
    channel: Codes,
    value: Floats,
    grid: SmallInts,
    frame_of: SmallInts,
    repeat: SmallInts,
) -> int:
    """Assign each cell to the first reading that falls into it.

    Args:
        row: Row of each frame. Shape (frames,).
        readings: Number of readings of each frame. Shape (frames,).
        car_ms: Car time of each frame. Shape (frames,).
        received_ms: Receive time of each frame. Shape (frames,).
        unit_lap: Device lap of each frame. Shape (frames,).
        column_of: Column of each channel. Shape (channels,).
        channel: Channel code of each reading. Shape (readings,).
        value: Value of each reading. Shape (readings,).
        grid: Zeros; set to 1 + the reading that each cell is assigned to. Shape (rows, columns).
        frame_of: Set to the frame of each reading. Shape (readings,).
        repeat: Set to 0, :data:`DUPLICATE` for a copy of the reading in the cell, or :data:`CONFLICT` for different
            readings of the same cell, including the first. Shape (readings,).

    Returns:
        Number of conflicting readings.
    """
    reading, conflicts = 0, 0
    for frame in range(len(row)):
        for _ in range(readings[frame]):
            at = np.uint64(reading)
            frame_of[at] = frame
            row_index, column = np.uint64(row[frame]), np.uint64(column_of[np.uint64(channel[at])])
            assigned = grid[row_index, column] - 1
            repeat[at] = 0
            if assigned < 0:
                grid[row_index, column] = reading + 1
            else:
                first = np.uint64(assigned)
                other = frame_of[first]
                is_equal = (
                    value[at] == value[first]
                    and car_ms[other] == car_ms[frame]
                    and received_ms[other] == received_ms[frame]
                    and unit_lap[other] == unit_lap[frame]
                )
                repeat[at] = DUPLICATE if is_equal else CONFLICT
                conflicts += not is_equal
                if not is_equal and repeat[first] != CONFLICT:
                    repeat[first] = CONFLICT
                    conflicts += 1
            reading += 1
    return conflicts


@compiled
def fill_cells(
    first_row: SmallInts,
    row: SmallInts,
    car_ms: Ints,
    received_ms: Ints,
    unit_lap: Ints,
    column_of: Codes,
    channel: Codes,
    value: Floats,
    frame_of: SmallInts,
    repeat: SmallInts,
    cells: Floats,
    is_filled: Flags,
    row_car_ms: Ints,
    row_received_ms: Ints,
    row_lap: Ints,
) -> None:
    """Write readings to their cells, and find the earliest times and the highest lap of each row.

    Args:
        first_row: Published row of each sample time's ``repeat`` 0. Shape (sample times,).
        row: Sample time of each frame. Shape (frames,).
        car_ms: Car time of each frame. Shape (frames,).
        received_ms: Receive time of each frame. Shape (frames,).
        unit_lap: Device lap of each frame. Shape (frames,).
        column_of: Column of each channel. Shape (channels,).
        channel: Channel code of each reading. Shape (readings,).
        value: Value of each reading. Shape (readings,).
        frame_of: Frame of each reading. Shape (readings,).
        repeat: Number of each reading among those of its cell; :data:`DUPLICATE` is skipped. Shape (readings,).
        cells: Set to the values. Shape (columns, rows).
        is_filled: Zeros; set to 1 where there is a value. Shape (columns, rows).
        row_car_ms: The latest possible time; set to the earliest of the row's readings. Shape (rows,).
        row_received_ms: The same for receive times.
        row_lap: The lowest possible lap; set to the highest of the row's readings. Shape (rows,).
    """
    for reading in range(len(value)):
        at = np.uint64(reading)
        if repeat[at] == DUPLICATE:
            continue
        frame = np.uint64(frame_of[at])
        row_index = np.uint64(first_row[np.uint64(row[frame])] + repeat[at])
        column = np.uint64(column_of[np.uint64(channel[at])])
        cells[column, row_index] = value[at]
        is_filled[column, row_index] = 1
        row_car_ms[row_index] = min(row_car_ms[row_index], car_ms[frame])
        row_received_ms[row_index] = min(row_received_ms[row_index], received_ms[frame])
        row_lap[row_index] = max(row_lap[row_index], unit_lap[frame])

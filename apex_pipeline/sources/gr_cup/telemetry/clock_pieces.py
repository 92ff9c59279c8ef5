"""Finds the pieces of a car's clock, and places readings on them.

A car's clock stops while the car is off and continues later, further behind; it may also be set. Between two such
moments, in one piece, UTC minus car time is constant. See ``clocks.py`` for the offset of each piece.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A row's time is explained if it was received no more than this before it was sampled, or after. Steps of the clock
# that are smaller cannot be distinguished from the delivery, whose shortest delay varies by 0.2 s within a real race.
EXPLAINED_MS = 2_000
# Messages are up to a minute late: 52 s at most in ten real files.
LATEST_DELIVERY_MS = 60_000
# Over this time the earliest of the messages shows the clock, as no message is later; in units of one cell.
_WINDOW_MS = 64_000
# A stray message with a wrong receive time is not a piece of the clock. One message holds a quarter of a second to a
# second of readings, at most 25 frames; in short files two in a hundred frames count.
_STRAY_FRAMES, _STRAY_SHARE = 30, 0.02
# Number of levels searched at once.
_SEARCHED = 1_024
# A message holds up to a second of readings.
_MESSAGE_MS = 1_000
# A clock that shows less than this share of the time that passes stands still.
_RUNNING_SHARE = 0.5
# A clock is set or stopped a few times a day. One that jumps more often has no order; its other pieces are not used.
_MAX_PIECES = 64


class Cells(NamedTuple):
    """A car's frames grouped by receive time, delay and lap, ascending by receive time. Shape (cells,) each.

    Attributes:
        received_ms: Start of the cell's receive time.
        delay_ms: Shortest delay (receive time minus car time) of its frames.
        unit_lap: Lap of the device.
        first_car_ms: Earliest car time.
        last_car_ms: Latest car time.
        frames: Number of frames.
    """

    received_ms: Ints
    delay_ms: Ints
    unit_lap: Ints
    first_car_ms: Ints
    last_car_ms: Ints
    frames: Ints

    def filter(self, wanted: Bools) -> "Cells":
        """Return the wanted cells."""
        return Cells(*(column[wanted] for column in self))


@dataclass(frozen=True)
class ClockPiece:
    """One piece of a car's clock.

    Attributes:
        first_car_ms: Car time of its first frame that arrived without delay.
        last_car_ms: Car time of its last one.
        edge_offset_ms: Lower edge of receive time minus car time.
        lap_offset_ms: Median of crossing time minus car time of the device's lap change; ``None`` without lap changes.
        lap_changes: Number of lap changes it rests on.
        lap_residual_ms: Median distance of these from their median.
        spread_ms: Width of the middle 90 % of receive time minus car time.
        latest_ms: Longest delay between its first and last frame, where those around it show that it is one.
    """

    first_car_ms: int
    last_car_ms: int
    edge_offset_ms: int
    lap_offset_ms: int | None = None
    lap_changes: int = 0
    lap_residual_ms: int | None = None
    spread_ms: int = 0
    latest_ms: int = 0

    @property
    def offset_ms(self) -> int:
        """Milliseconds to add to the car's time: by its lap changes, or else the lower edge."""
        return self.edge_offset_ms if self.lap_offset_ms is None else self.lap_offset_ms

    def shows(self, car_ms: Ints) -> Bools:
        """Return which car times are strictly inside the piece. Shape (frames,)."""
        return (car_ms > self.first_car_ms) & (car_ms < self.last_car_ms)


def place(pieces: Sequence[ClockPiece], car_ms: Ints, received_ms: Ints) -> Ints:
    """Return the piece of each frame, -1 for a frame that none explains. Shape (frames,).

    A frame belongs to the piece that shows its car time, however late it is; otherwise it was received up to a minute
    after a piece says it was sampled. Of several pieces, the one with the shortest delay is taken.
    """
    if not pieces:
        return np.full(len(car_ms), -1)
    delay_ms = received_ms - car_ms
    best = np.full(len(car_ms), -1)
    best_ms = np.full(len(car_ms), np.iinfo(np.int64).max)
    for number, piece in enumerate(pieces):
        late_ms = delay_ms - piece.offset_ms
        is_possible = late_ms >= -EXPLAINED_MS
        if (late_ms > LATEST_DELIVERY_MS).any():
            is_possible &= (late_ms <= LATEST_DELIVERY_MS) | piece.shows(car_ms)
        if len(pieces) > 1:
            # Outside of the piece a frame may as well belong to the next one, so one that shows it goes first.
            late_ms = late_ms + np.where(piece.shows(car_ms) | (late_ms <= EXPLAINED_MS), 0, 10 * LATEST_DELIVERY_MS)
        is_better = is_possible & (late_ms < best_ms)
        best[is_better], best_ms[is_better] = number, late_ms[is_better]
    return best


def unexplained_ms(pieces: Sequence[ClockPiece], index: Ints, car_ms: Ints, received_ms: Ints) -> Ints:
    """Return by how much receive and sample time of each frame are apart without an explanation. Shape (frames,).

    A frame that was received late is explained by those on time before and after it. Elsewhere the clock may have
    stopped instead; it has not within one message, and a delay that the car's messages have in between, too, is one. A
    frame without a piece has the largest number.
    """
    result = np.full(len(car_ms), np.iinfo(np.int64).max)
    for number, piece in enumerate(pieces):
        late_ms = received_ms - car_ms - piece.offset_ms
        # A stop makes later delays longer, so long ones at the very beginning are not a stop.
        is_begun = (car_ms > piece.first_car_ms - _MESSAGE_MS) | (number == 0)
        # A clock that stands still repeats its last time.
        is_shown = is_begun & (car_ms < piece.last_car_ms + _MESSAGE_MS) & (car_ms != piece.last_car_ms)
        is_known = (late_ms >= 0) & (late_ms <= np.where(is_shown, LATEST_DELIVERY_MS, piece.latest_ms))
        result = np.where(index == number, np.where(is_known, 0, np.abs(late_ms)), result)
    return result


def with_latest(pieces: Sequence[ClockPiece], cells: Cells) -> list[ClockPiece]:
    """Return the pieces with their longest delay."""
    index = place(pieces, cells.first_car_ms, cells.first_car_ms + cells.delay_ms)
    result: list[ClockPiece] = []
    for number, piece in enumerate(pieces):
        is_own = (index == number) & (cells.first_car_ms < piece.last_car_ms)
        is_own &= (cells.first_car_ms > piece.first_car_ms) | (number == 0)
        late_ms = (cells.delay_ms - piece.offset_ms)[is_own]
        result.append(replace(piece, latest_ms=int(late_ms[late_ms <= LATEST_DELIVERY_MS].max(initial=0))))
    return result


def find_pieces(cells: Cells, unit_ms: int) -> list[ClockPiece]:
    """Return the pieces of a running clock, in the order in which they were received; without their final offsets.

    Args:
        cells: The car's frames.
        unit_ms: Width of a cell in receive time.
    """
    stray = min(_STRAY_FRAMES, max(1, int(_STRAY_SHARE * cells.frames.sum())))
    pieces = list(_segments(cells, unit_ms))
    # Every round drops the stray frames below the clock, which hide it for as long as the window.
    for _ in range(_MAX_PIECES):
        few = [cells_of for _, cells_of in pieces if cells.frames[cells_of].sum() < stray]
        if not few or len(few) == len(pieces):
            break
        cells = cells.filter(~np.any(few, axis=0))
        pieces = list(_segments(cells, unit_ms))
    found = [(_piece(cells, offset, cells_of), int(cells.frames[cells_of].sum())) for offset, cells_of in pieces]
    running = [(piece, frames) for piece, frames in _merge_late(found) if piece is not None]
    if len(running) > _MAX_PIECES:
        least = sorted((frames for _, frames in running), reverse=True)[_MAX_PIECES - 1]
        running = [(piece, frames) for piece, frames in running if frames >= least][:_MAX_PIECES]
    return [piece for piece, _ in running]


def _segments(cells: Cells, unit_ms: int) -> Iterator[tuple[int, Bools]]:
    """Yield offset and on-time cells of each part of the receive time over which the shortest delay is steady."""
    start = np.flatnonzero(np.diff(cells.received_ms, prepend=cells.received_ms[:1] - 1) != 0)
    shortest_ms = np.minimum.reduceat(cells.delay_ms, start)
    level_ms = _without_peaks(cells.received_ms[start], shortest_ms, unit_ms)
    cuts = [*_steady(level_ms), len(level_ms)]
    of_cell = np.repeat(np.arange(len(start)), np.diff(np.append(start, len(cells.received_ms))))
    for first, last in pairwise(cuts):
        offset_ms = int(level_ms[first:last].min())
        is_inside = (of_cell >= first) & (of_cell < last)
        yield offset_ms, is_inside & (np.abs(cells.delay_ms - offset_ms) <= EXPLAINED_MS)


def _steady(level_ms: Ints) -> Iterator[int]:
    """Yield where a steady part starts: the level is further from that of the part before than is explained."""
    start = 0
    while start < len(level_ms):
        yield start
        # Searched in pieces, so that the time does not grow with the square of the number of parts.
        reference_ms, start = level_ms[start], start + 1
        while start < len(level_ms):
            is_away = np.abs(level_ms[start : start + _SEARCHED] - reference_ms) > EXPLAINED_MS
            if is_away.any():
                start += int(is_away.argmax())
                break
            start += len(is_away)


def _without_peaks(received_ms: Ints, shortest_ms: Ints, unit_ms: int) -> Ints:
    """Return the shortest delays without peaks shorter than the window: late messages, which on-time ones follow.

    This is the opening of mathematical morphology: the minimum over the time after, then the maximum over the time
    before. It keeps steps in both directions where they are.
    """
    window_ms = max(_WINDOW_MS, 2 * unit_ms)
    after = np.searchsorted(received_ms, received_ms + window_ms, side="right")
    lowest = _over_ranges(shortest_ms, np.arange(len(shortest_ms)), after, np.minimum)
    before = np.searchsorted(received_ms, received_ms - window_ms, side="left")
    return _over_ranges(lowest, before, np.arange(len(shortest_ms)) + 1, np.maximum)


def _over_ranges(values: Ints, start: Ints, end: Ints, pick: np.ufunc) -> Ints:
    """Return the minimum or maximum of each range of values; the ranges are short. Shape (ranges,)."""
    length = end - start
    result = np.empty_like(values)
    widths, width = values, 1
    while True:
        # ``widths`` has the result over ``width`` values from each position on; two of them cover a range.
        is_covered = (length >= width) & (length < 2 * width)
        at, until = start[is_covered], end[is_covered] - width
        result[is_covered] = pick(widths[at], widths[until])
        if not (length >= 2 * width).any():
            return result
        shifted = np.append(widths[width:], np.full(min(width, len(widths)), widths[-1]))
        widths, width = pick(widths, shifted), 2 * width


def _piece(cells: Cells, offset_ms: int, cells_of: Bools) -> ClockPiece | None:
    """Return the piece of these on-time cells, ``None`` if the clock stood still."""
    if not cells_of.any():
        return None
    own = cells.filter(cells_of)
    first, last = int(own.first_car_ms.min()), int(own.last_car_ms.max())
    passed_ms = int(own.received_ms.max() - own.received_ms.min())
    if passed_ms >= _MESSAGE_MS and last - first < _RUNNING_SHARE * passed_ms:
        return None
    return ClockPiece(first, last, offset_ms)


def _merge_late(found: Sequence[tuple[ClockPiece | None, int]]) -> list[tuple[ClockPiece | None, int]]:
    """Merge pieces of the same offset with nothing but late messages in between: a clock is not set back exactly.

    The last piece is late messages, too, if it is over within the window and no more than they can be late.
    """
    merged: list[tuple[ClockPiece | None, int]] = []
    for piece, frames in found:
        same = next((at for at in range(len(merged) - 1, -1, -1) if _is_same(merged[at][0], piece, merged[at:])), None)
        before = merged[same][0] if same is not None else None
        if same is None or before is None or piece is None:
            merged.append((piece, frames))
            continue
        joined = replace(before, last_car_ms=piece.last_car_ms, edge_offset_ms=min(before.offset_ms, piece.offset_ms))
        merged[same:] = [(joined, merged[same][1] + frames)]
    return merged[:-1] if len(merged) > 1 and _is_late(merged[-2][0], merged[-1][0]) else merged


def _is_same(one: ClockPiece | None, other: ClockPiece | None, since: Sequence[tuple[ClockPiece | None, int]]) -> bool:
    """Return whether two pieces have one offset, and those between only a delay; ``since`` begins with the first."""
    if one is None or other is None or abs(one.offset_ms - other.offset_ms) > EXPLAINED_MS // 2:
        return False
    later_ms = [piece.offset_ms - one.offset_ms for piece, _ in since[1:] if piece is not None]
    return other.first_car_ms >= one.last_car_ms and all(0 <= late <= LATEST_DELIVERY_MS for late in later_ms)


def _is_late(before: ClockPiece | None, last: ClockPiece | None) -> bool:
    if before is None or last is None:
        return False
    step_ms = last.offset_ms - before.offset_ms
    return 0 < step_ms <= LATEST_DELIVERY_MS and last.last_car_ms - last.first_car_ms < _WINDOW_MS

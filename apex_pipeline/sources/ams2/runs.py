"""Finds the runs of the lap clock: what a driver did between two resets of it. A lap is a run, not a lap number.

See ``lap_times.py`` for the time of a run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.ams2.clock import Timebase
from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.driving import CLOCK_JITTER_S, LAP_NUMBER_LAG, Driving, Flags
from apex_pipeline.sources.ams2.game import History
from apex_pipeline.sources.ams2.layouts import (
    DRIVING_IN,
    DRIVING_OUT,
    FINISHED,
    GARAGE,
    IN_BOX,
    LEAVING_GARAGE,
    LOW_3_BITS,
)
from apex_pipeline.sources.ams2.ordering import Integers

Floats = npt.NDArray[np.float64]

# A hole in the recording at the line up to which the crossing is still known.
_LONGEST_HOLE_S = 2.0
_WHOLE_LAP = 0.9  # share of the track after which a reset of distance is the line and not a restart
# Farthest from the line between the samples around it: no car is faster, and the line is a few metres wide.
_FASTEST_MPS = 130.0
_AT_LINE_M = 30.0
_UNEVEN = 2.5  # sampling intervals between two samples of a recorder that keeps no even rate
_MOVED_M = 20.0
_TELEPORTED_M = 150.0  # between two samples: the reset to the pits, not driving
_IN_PITS = (DRIVING_IN, IN_BOX, GARAGE)
_END = int(np.iinfo(np.int64).max)
_FROM_PITS = (DRIVING_IN, IN_BOX, DRIVING_OUT, LEAVING_GARAGE)


@dataclass(frozen=True)
class Run:
    """A run of the lap clock.

    Attributes:
        start: Its first driven row.
        stop: The row after its last.
        session: Its session.
        lap: The game's lap number, counted on after 255.
        kind: flying, out, in, partial or abandoned.
        is_whole: It goes from line to line.
        has_clock: The clock runs; it does not on an out-lap.
        flags: What is remarkable about it.
    """

    start: int
    stop: int
    session: int
    lap: int
    kind: str
    is_whole: bool
    has_clock: bool
    flags: tuple[str, ...]


def find_runs(driving: Driving, time: Timebase, last_laps: History[int, float]) -> Iterator[Run]:
    """Yield the runs in driven order; standing in the pits is not one.

    Args:
        driving: The driven rows.
        time: Time between rows.
        last_laps: The game's last lap times, by place of the car.
    """
    rows = driving.rows
    if not len(rows):
        return
    edges = np.append(np.flatnonzero(_edges(rows, driving.sessions)), len(rows))
    laps = _lap_numbers(rows, driving.sessions, edges)
    finder = _Finder(driving, time, edges, laps, last_laps)
    for place in range(len(laps)):
        run = finder.run(place)
        if run is not None:
            yield run


def _edges(rows: Rows, sessions: Integers) -> Flags:
    """Return which rows begin a run, or a standstill between runs."""
    clock, lap = rows["clock"], rows["lap"]
    edges = np.ones(len(rows), np.bool_)
    edges[1:] = (np.diff(clock) < -CLOCK_JITTER_S) | ((clock[1:] < 0) != (clock[:-1] < 0)) | (np.diff(sessions) != 0)
    # A lap number that changes while the clock goes on is a hole in the recording, or the finish.
    near = edges.copy()
    for lag in range(1, LAP_NUMBER_LAG + 1):
        near[lag:] |= edges[:-lag]
        near[:-lag] |= edges[lag:]
    edges[1:] |= (lap[1:] != lap[:-1]) & ~near[1:]
    return edges | _finishes(rows, near)


def _finishes(rows: Rows, near: Flags) -> Flags:
    """Return where a race ends without a reset of the clock: it stops at the line, or goes on after it.

    A session that runs out on the way also finishes a car, whose lap goes on.
    """
    is_finished = rows["race_state"] & LOW_3_BITS == FINISHED
    finishes = np.zeros(len(rows), np.bool_)
    finishes[1:] = is_finished[1:] & ~is_finished[:-1] & ~near[1:]
    places = np.flatnonzero(finishes)
    finishes[places] = False
    after = (places + LAP_NUMBER_LAG).clip(0, len(rows) - 1)
    is_stopped = rows["clock"][after] == rows["clock"][places]
    finishes[places[is_stopped]] = True
    # The flag may come a little before or after the line.
    distance = rows["distance"].astype(np.int64)
    around = places[~is_stopped, None] + np.arange(-LAP_NUMBER_LAG, LAP_NUMBER_LAG + 1)
    falls = np.append(0, distance[:-1] - distance[1:])[around.clip(0, len(rows) - 1)]
    lines = (places[~is_stopped] - LAP_NUMBER_LAG + falls.argmax(axis=1)).clip(0, len(rows) - 1)
    finishes[lines[falls.max(axis=1) > distance.max(initial=0) / 2]] = True
    return finishes


def _lap_numbers(rows: Rows, sessions: Integers, edges: Integers) -> list[int]:
    """Return the lap number of each run: that in its middle, counted on after 255 within a session."""
    numbers: list[int] = []
    wraps = last = 0
    session = -1
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        number = int(rows["lap"][(start + stop) // 2])
        if sessions[start] != session:
            session, wraps = int(sessions[start]), 0
        elif number < last and (number - last) % 256 == 1:
            wraps += 256
        last = number
        numbers.append(number + wraps)
    return numbers


class _Finder:
    """Judges the runs between edges."""

    def __init__(
        self, driving: Driving, time: Timebase, edges: Integers, laps: list[int], last_laps: History[int, float]
    ) -> None:
        self._driving = driving
        self._last_laps = last_laps
        self._rows = driving.rows
        self._time = time
        self._edges: list[int] = edges.tolist()
        self._laps = laps
        self._starts = [self._starts_at_line(place) for place in range(len(laps))]

    def run(self, place: int) -> Run | None:
        """Return the run at a place; ``None`` if nothing was driven or timed."""
        start, stop = self._edges[place], self._edges[place + 1]
        rows = self._rows[start:stop]
        has_clock = bool(rows["clock"][0] >= 0)
        if not has_clock:
            start += _standing(rows)
            rows = self._rows[start:stop]
        if not (_has_run(rows, self._time.interval_s) if has_clock else _has_moved(rows)):
            return None
        ends = has_clock and self._ends_at_line(place)
        kind = self._kind(place, rows, ends_at_line=ends) if has_clock else self._kind_without_clock(place)
        return Run(
            start=start,
            stop=stop,
            session=int(self._driving.sessions[start]),
            lap=self._laps[place],
            kind=kind,
            is_whole=ends and self._starts[place],
            has_clock=has_clock,
            flags=self._flags(rows, start),
        )

    def _follows(self, place: int) -> bool:
        """Return whether a run is in the session of the one before it."""
        sessions, edges = self._driving.sessions, self._edges
        return 0 < place < len(self._laps) and sessions[edges[place]] == sessions[edges[place - 1]]

    def _starts_at_line(self, place: int) -> bool:
        """Return whether the clock of a run starts at zero, up to what can have passed since the sample before."""
        start, interval = self._edges[place], self._time.interval_s
        passed = 0.0
        if self._follows(place):
            passed = self._time.elapsed_s[start] + self._time.slack_s[start]
            passed += max(interval / 2, self._time.uncertainty_s)
        longest = min(max(_UNEVEN * interval, passed), _LONGEST_HOLE_S + 2 * interval)
        return 0 <= float(self._rows["clock"][start]) <= longest

    def _ends_at_line(self, place: int) -> bool:
        return (self._starts[place] and self._is_timed_by_game(place)) or self._is_at_line(place)

    def _is_at_line(self, place: int) -> bool:
        """Return whether what follows a run begins at the line."""
        hole = self._time.elapsed_s[self._edges[place + 1]] if self._follows(place + 1) else np.inf
        if hole > _LONGEST_HOLE_S + 2 * self._time.interval_s:
            return False
        first = self._rows[self._edges[place + 1]]
        is_finish = self._is_finish(place)
        if self._laps[place + 1] == self._laps[place] + 1:
            return self._starts[place + 1] or is_finish or bool(first["clock"] < 0)
        if self._laps[place + 1] != self._laps[place]:
            return False
        return (is_finish and self._nears_line(place)) or (self._starts[place + 1] and self._wraps(place))

    def _is_timed_by_game(self, place: int) -> bool:
        """Return whether the game gives a new lap time after a run which is that of its clock."""
        stop = self._edges[place + 1]
        last, interval = self._rows[stop - 1], self._time.interval_s
        # It comes some seconds later, before or in the next run.
        is_standing = stop < len(self._rows) and self._rows["clock"][stop] < 0
        next_stop = self._edges[min(place + 2 + is_standing, len(self._edges) - 1)]
        until = int(self._driving.ordinals[next_stop - 1]) if next_stop < len(self._rows) else _END
        clock_s, ordinal = float(last["clock"]), int(last["ordinal"])
        times = self._last_laps.between(int(last["slot"]), ordinal, until)
        return any(abs(value - clock_s - interval / 2) <= interval for value in times)

    def _is_finish(self, place: int) -> bool:
        """Return whether the car finishes where a run ends, up to a lag of the lap number."""
        start, stop = self._edges[place], self._edges[place + 1]
        before = max(start, stop - 1 - LAP_NUMBER_LAG)
        after = min(stop + LAP_NUMBER_LAG, len(self._rows) - 1)
        states = self._rows["race_state"][[before, after]] & LOW_3_BITS
        return bool(states[0] != FINISHED and states[1] == FINISHED)

    def _length(self, place: int) -> float | None:
        return self._driving.tracks[int(self._driving.sessions[self._edges[place]])].length_m

    def _nears_line(self, place: int) -> bool:
        """Return whether a car that has finished can have been at the line since the sample before."""
        length, stop = self._length(place), self._edges[place + 1]
        reach = _AT_LINE_M + _FASTEST_MPS * (self._time.elapsed_s[stop] + self._time.interval_s)
        before = self._rows["distance"][max(self._edges[place], stop - 1 - LAP_NUMBER_LAG) : stop]
        return length is not None and bool(length - int(before.max()) <= reach)

    def _wraps(self, place: int) -> bool:
        """Return whether the distance goes from the end of the track to its beginning, and no car is put there."""
        length, stop = self._length(place), self._edges[place + 1]
        last, first = (int(self._rows["distance"][row]) for row in (stop - 1, stop))
        if length is None or not last > _WHOLE_LAP * length > (1 - _WHOLE_LAP) * length > first:
            return False
        reach = _AT_LINE_M + _FASTEST_MPS * (self._time.elapsed_s[stop] + self._time.interval_s)
        return length - last + first <= reach

    def _kind(self, place: int, rows: Rows, *, ends_at_line: bool) -> str:
        is_followed = self._follows(place + 1)
        is_in = bool((rows["pit_mode"] & LOW_3_BITS == DRIVING_IN).any()) and _pit_mode(rows[-1]) in _IN_PITS
        if not self._starts[place]:
            return "partial"
        if is_in and (ends_at_line or is_followed):
            return "in"
        if ends_at_line:
            return "out" if _pit_mode(rows[0]) in _FROM_PITS else "flying"
        return "partial" if self._is_cut_off(place) else "abandoned"

    def _kind_without_clock(self, place: int) -> str:
        if self._follows(place + 1) and self._starts[place + 1]:
            return "out"
        return "partial" if self._is_cut_off(place) else "abandoned"

    def _is_cut_off(self, place: int) -> bool:
        """Return whether the end of a run is missing from the recording."""
        stop = self._edges[place + 1]
        if stop == len(self._rows):
            return not self._driving.is_left_after[stop - 1]
        return self._follows(place + 1) and not self._starts[place + 1] and self._rows["clock"][stop] >= 0

    def _flags(self, rows: Rows, start: int) -> tuple[str, ...]:
        interval = self._time.interval_s
        steps = np.diff(rows["clock"])
        pits = rows["pit_mode"] & LOW_3_BITS
        flags = {
            "gap": bool((steps > max(5 * interval, 0.5)).any()),
            "gap_at_line": self._time.elapsed_s[start] > max(5 * interval, 0.5),
            "pit_stop": bool(np.isin(pits, (IN_BOX, DRIVING_OUT)).any()) and rows["clock"][0] >= 0,
        }
        return tuple(name for name, is_set in flags.items() if is_set)


def _pit_mode(row: np.void) -> int:
    return int(row["pit_mode"]) & LOW_3_BITS


def _has_run(rows: Rows, interval_s: float) -> bool:
    """Return whether the clock has run for longer than between two samples."""
    return len(rows) > 1 and float(rows["clock"][-1]) - float(rows["clock"][0]) > interval_s / 2


def _has_moved(rows: Rows) -> bool:
    """Return whether a car without a clock was driven: by its position, or by its distance where that counts."""
    return any(float(steps.sum()) > _MOVED_M for steps in _steps(rows))


def _standing(rows: Rows) -> int:
    """Return how many rows a car stands still for at first, except for the last of them."""
    moving = np.flatnonzero(sum(_steps(rows)))
    return int(moving[0]) if len(moving) else 0


def _steps(rows: Rows) -> tuple[Floats, Floats]:
    """Return how far the car has come between rows, by its position and by its distance, without teleporting."""
    paths = np.hypot(np.diff(rows["x"]), np.diff(rows["z"])), np.abs(np.diff(rows["distance"].astype(np.float64)))
    by_position, by_distance = (np.where(path < _TELEPORTED_M, path, 0.0).astype(np.float64) for path in paths)
    return by_position, by_distance

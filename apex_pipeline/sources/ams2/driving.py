"""Decides which of the driver's rows are driven, and to which session each belongs.

Replay, front end and pauses are not driven. What the game says about itself comes late, so a change is moved back to
the jump of the lap clock that goes with it, if there is one since the packet before.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.game import Change, GameState, Track
from apex_pipeline.sources.ams2.layouts import DRIVEN_STATES, FINISHED, FRONT_END_STATES, LOW_3_BITS, PAUSED
from apex_pipeline.sources.ams2.ordering import Integers

Flags = npt.NDArray[np.bool_]
Value = TypeVar("Value")

_LONGEST_CLOCK_S = 86_400.0  # a car may stand in its box for hours with the clock running
# Steps back of the lap clock up to this are its jitter, not a new lap.
CLOCK_JITTER_S = 0.05
# A lap clock up to this has just started, even in a recording at 1 Hz.
_JUST_STARTED_S = 3.0
# The lap number follows the clock, or goes ahead of it, by up to so many samples.
LAP_NUMBER_LAG = 2
# Rows within which a new participants' timestamp belongs to a jump of the clock.
_NEARBY = 10


@dataclass(frozen=True)
class Driving:
    """The driven rows and their sessions; arrays have shape (rows,).

    Attributes:
        rows: The driver's rows of timings packets.
        ordinals: Place of each in the recording.
        places: Index of each among all rows of the driver.
        sessions: 0, 1 … for the session of each.
        types: The game's number for the type of each session; shape (sessions,).
        tracks: Track of each session.
        is_left_after: Whether the game went to its front end after each row, before the next one.
        left_out: Index, among all rows of the driver, of the first and the last row that was not driven since the
            row before; shape (rows, 2). Both are the row's own index if there was none.
    """

    rows: Rows
    ordinals: Integers
    places: Integers
    sessions: Integers
    types: list[int]
    tracks: list[Track]
    is_left_after: Flags
    left_out: Integers


def driven(rows: Rows, states: list[Change[GameState]], tracks: list[Change[Track]], counts: Counter[str]) -> Driving:
    """Return the driven rows with their sessions.

    Args:
        rows: All rows of the driver, in order.
        states: Changes of the game's state; without any, every row counts as driven.
        tracks: Changes of the track.
        counts: Receives the number of rows left out, by reason.
    """
    places = np.flatnonzero(_is_usable(rows))
    counts["timings_with_bad_clock"] = len(rows) - len(places)
    places = places[_is_steady(rows["clock"][places])]
    counts["timings_with_clock_spike"] = len(rows) - len(places) - counts["timings_with_bad_clock"]
    usable = rows[places]
    usable["lap"] = _steady_laps(usable["lap"])
    jumps = _breaks(usable)
    state = _spread(usable, jumps, states, GameState(DRIVEN_STATES[0], 0))
    is_driven = np.isin([item.state for item in state.values], DRIVEN_STATES)[state.index]
    left: Integers = np.cumsum(np.isin([item.state for item in state.values], FRONT_END_STATES), dtype=np.int64)[
        state.index
    ]
    counts["timings_not_driven"] = int(len(usable) - is_driven.sum())
    kinds = _filled(np.array([item.session for item in state.values]))[state.index]
    track = _spread(usable, jumps, tracks, Track(None, None, None))
    kept = usable[is_driven]
    is_new = _session_starts(kept, clock_jumps(kept), kinds[is_driven], left[is_driven], track.index[is_driven])
    sessions = np.cumsum(is_new) - 1
    firsts = np.flatnonzero(is_new)
    return Driving(
        rows=kept,
        ordinals=np.ascontiguousarray(kept["ordinal"]),
        places=places[is_driven],
        sessions=sessions,
        types=kinds[is_driven][firsts].tolist(),
        tracks=[track.values[index] for index in track.index[is_driven][firsts].tolist()],
        is_left_after=np.append(left[is_driven][1:], _left_at_end(states)) > left[is_driven],
        left_out=_left_out(places, is_driven),
    )


def _left_out(places: Integers, is_driven: Flags) -> Integers:
    """Return the ends of what was not driven before each driven row."""
    here = np.flatnonzero(is_driven)
    before = np.append(here[:1] - 1, here[:-1])
    is_next = here - before == 1
    ends = np.stack([np.where(is_next, here, before + 1), np.where(is_next, here, here - 1)], axis=1)
    return places[ends] if len(places) else ends


def clock_jumps(rows: Rows) -> Flags:
    """Return where the lap clock or the lap number does not continue from the row before; shape (rows,)."""
    clock, lap = rows["clock"], rows["lap"]
    jumps = np.zeros(len(rows), np.bool_)
    jumps[1:] = (np.diff(clock) < -CLOCK_JITTER_S) | ((clock[1:] < 0) != (clock[:-1] < 0)) | (lap[1:] != lap[:-1])
    return jumps


def _breaks(rows: Rows) -> Flags:
    """Return the jumps that are not those of every lap: crossing the line, the finish, and the clock starting to run.

    At the finish the clock may vanish and the lap number stay, as it does when a driver leaves for the menus.
    """
    clock, lap = rows["clock"], rows["lap"].astype(np.int64)
    breaks = clock_jumps(rows)
    is_started = (clock[1:] >= 0) & (clock[1:] < _JUST_STARTED_S)
    # The lap number changes up to two samples before or after the clock.
    rows_after = np.minimum(np.arange(1, len(lap)) + LAP_NUMBER_LAG, len(lap) - 1)
    rows_before = np.maximum(np.arange(len(lap) - 1) - LAP_NUMBER_LAG, 0)
    is_crossing = is_started & ((lap[rows_after] - lap[rows_before]) % 256 == 1)
    is_crossing |= _is_finish(rows)
    is_start = is_started & (clock[:-1] < 0) & (np.diff(lap) == 0)
    # Nor is the change of the lap number that goes with it, before or after.
    is_near = _widened(is_crossing)
    goes_on = (np.diff(clock) >= -CLOCK_JITTER_S) & (clock[1:] >= 0) & (clock[:-1] >= 0)
    breaks[1:] &= ~(is_crossing | is_start | (is_near & goes_on))
    return breaks


def _is_finish(rows: Rows) -> Flags:
    """Return where the car may finish between a row and the next one; shape (rows - 1,).

    Its state follows the clock, or goes ahead of it, as the lap number does.
    """
    is_finished = rows["race_state"] & LOW_3_BITS == FINISHED
    return _widened(is_finished[1:] & ~is_finished[:-1])


def _widened(flags: Flags) -> Flags:
    """Return the flags with those up to the lag of the lap number before and after each."""
    wide = flags.copy()
    for lag in range(1, LAP_NUMBER_LAG + 1):
        wide[lag:] |= flags[:-lag]
        wide[:-lag] |= flags[lag:]
    return wide


def _is_usable(rows: Rows) -> Flags:
    with np.errstate(invalid="ignore"):
        return np.isfinite(rows["clock"]) & (rows["clock"] >= -1) & (rows["clock"] < _LONGEST_CLOCK_S)


def _is_steady(clock: npt.NDArray[np.float32]) -> Flags:
    """Return which rows are not a single damaged one, between two that continue each other."""
    is_steady = np.ones(len(clock), np.bool_)
    before, here, after = clock[:-2].astype(np.float64), clock[1:-1], clock[2:]
    step = np.median(np.abs(np.diff(clock))) if len(clock) > 1 else 0.0
    continues = (after >= before) & (after - before <= 4 * step) & (before >= 0)
    is_steady[1:-1] = ~(continues & ((here < before - CLOCK_JITTER_S) | (here > after + CLOCK_JITTER_S)))
    return is_steady


def _steady_laps(lap: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the lap numbers with single damaged ones set to that of their neighbours."""
    steady = lap.copy()
    is_damaged = (lap[:-2] == lap[2:]) & (lap[1:-1] != lap[:-2])
    steady[1:-1][is_damaged] = lap[:-2][is_damaged]
    return steady


@dataclass(frozen=True)
class _Spread(Generic[Value]):
    """A value for every row: ``values[index[row]]``."""

    values: list[Value]
    index: Integers


def _spread(rows: Rows, jumps: Flags, changes: list[Change[Value]], initial: Value) -> _Spread[Value]:
    """Return the value that holds at each row; before the first one known, that one holds."""
    if not changes:
        return _Spread([initial], np.zeros(len(rows), np.int64))
    is_running = np.zeros(len(rows) + 1, np.bool_)
    is_running[1:-1] = np.diff(rows["clock"]) > 0
    jumps = np.append(jumps, False)
    starts = [0]
    for old, change in pairwise(changes):
        first = int(np.searchsorted(rows["ordinal"], change.after, "right"))
        last = int(np.searchsorted(rows["ordinal"], change.seen))
        starts.append(max(starts[-1], _change_at(jumps, is_running, first, last, (old.value, change.value))))
    index = np.searchsorted(np.array(starts), np.arange(len(rows)), "right") - 1
    return _Spread([change.value for change in changes], index)


def _change_at(jumps: Flags, is_running: Flags, first: int, last: int, values: tuple[object, object]) -> int:
    """Return the row from which a new value holds, which is one of ``first`` to ``last``."""
    old, new = (value.state if isinstance(value, GameState) else None for value in values)
    if PAUSED in (old, new) and {old, new} <= {PAUSED, *DRIVEN_STATES}:
        # The clock stands still in a pause, and only in a pause.
        running = np.flatnonzero(is_running[first : last + 1])
        if old == PAUSED:
            return first + int(running[0]) if len(running) else last
        return first + int(running[-1]) + 1 if len(running) else first
    is_entered = old not in DRIVEN_STATES and new in DRIVEN_STATES
    found = np.flatnonzero(jumps[first : last + 1])
    if not len(found):
        # No clock runs in the front end and before a restart, so a lap that has begun since was driven.
        return first if is_entered and old in FRONT_END_STATES else last
    return first + int(found[-1 if is_entered else 0])


def _filled(kinds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return session types with 0, which the game sends in its front end, set to the one before."""
    places = np.maximum.accumulate(np.where(kinds > 0, np.arange(len(kinds)), 0))
    return kinds[places]


def _session_starts(rows: Rows, jumps: Flags, kinds: Integers, left: Integers, track: Integers) -> Flags:
    """Return which driven rows begin a session."""
    starts = np.ones(len(rows), np.bool_)
    if not len(rows):
        return starts
    lap, changed = rows["lap"].astype(np.int64), rows["changed"]
    is_step_back = (np.diff(lap) < 0) & (np.diff(lap) % 256 != 1)
    places = np.arange(1, len(rows))
    is_changed = changed[np.minimum(places + _NEARBY, len(rows) - 1)] != changed[np.maximum(places - 1 - _NEARBY, 0)]
    is_reset = jumps[1:] & (lap[1:] <= 1) & (lap[1:] <= lap[:-1]) & (rows["clock"][1:] < rows["clock"][:-1])
    is_reset &= lap[np.minimum(places + LAP_NUMBER_LAG, len(rows) - 1)] <= lap[:-1]  # it is not the line
    is_reset &= ~_is_finish(rows)
    starts[1:] = (
        is_step_back
        | (is_reset & is_changed)
        | (np.diff(kinds) != 0)
        | (np.diff(left) != 0)
        | (np.diff(track) != 0)
        | (np.diff(rows["stretch"]) != 0)
    )
    return starts


def _left_at_end(states: list[Change[GameState]]) -> int:
    """Return how often the game went to its front end in the whole recording."""
    return sum(change.value.state in FRONT_END_STATES for change in states)

"""Gives runs of the lap clock their times and validity: the rows of ``race_laps``. See ``sectors.py`` for sectors."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from apex_pipeline.sources.ams2.clock import Timebase, time_at_line
from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.driving import CLOCK_JITTER_S, LAP_NUMBER_LAG, Driving
from apex_pipeline.sources.ams2.game import GameLog, History
from apex_pipeline.sources.ams2.layouts import LAP_INVALID_BIT_3, LAP_INVALID_BIT_7
from apex_pipeline.sources.ams2.official import Expected, official_time
from apex_pipeline.sources.ams2.runs import Run
from apex_pipeline.sources.ams2.sectors import UNKNOWN, Sectors, sector_times

# The game's times are read as whole milliseconds.
_OFFICIAL_UNCERTAINTY_S = _RESOLUTION_S = 0.001


@dataclass(frozen=True)
class LapTime:
    """Time of a run from line to line.

    Attributes:
        lap_time_s: The time.
        method: ``official`` or ``clock``.
        uncertainty_s: How far off it can be.
    """

    lap_time_s: float
    method: str
    uncertainty_s: float


@dataclass(frozen=True)
class Lap:
    """A run with its time.

    Attributes:
        run: The run.
        time: Its time; ``None`` unless it goes from line to line.
        sectors_s: Its sector times, where known.
        is_valid: It is a flying lap that the game did not invalidate.
        race_position: Position at its end.
        is_published: It stands for its lap number.
    """

    run: Run
    time: LapTime | None
    sectors_s: Sectors
    is_valid: bool
    race_position: int | None
    is_published: bool = False


def measure_laps(
    driving: Driving, runs: Sequence[Run], time: Timebase, game: GameLog, counts: Counter[str]
) -> list[Lap]:
    """Return the laps of the runs.

    Args:
        driving: The driven rows.
        runs: The runs, in driven order.
        time: Time between rows.
        game: The game's own lap and sector times.
        counts: Receives how many laps each of the two bits for an invalid lap was set in.
    """
    # An official time comes after the line, and before the one of the next lap.
    ends = [int(driving.ordinals[run.stop - 1]) for run in runs[1:]] + [int(np.iinfo(np.int64).max)]
    laps: list[Lap] = []
    for run, until in zip(runs, ends, strict=True):
        rows = driving.rows[run.start : run.stop]
        lap_time = _lap_time(driving, run, time, game.last_laps, until) if run.is_whole else None
        invalid = _invalid_bits(rows, counts) if run.has_clock else False
        flags = (*run.flags, "invalidated") if invalid else run.flags
        position = int(rows["race_position"][-1])
        laps.append(
            Lap(
                run=replace(run, flags=flags),
                time=lap_time,
                sectors_s=sector_times(rows, until, lap_time.lap_time_s, time, game.last_sectors)
                if lap_time
                else UNKNOWN,
                is_valid=lap_time is not None and run.kind == "flying" and not invalid,
                race_position=position or None,
            )
        )
    return _with_published(laps, driving.types)


def _lap_time(driving: Driving, run: Run, time: Timebase, last_laps: History[int, float], until: int) -> LapTime:
    rows = driving.rows
    last = rows[run.stop - 1]
    is_followed = run.stop < len(rows) and int(driving.sessions[run.stop]) == run.session
    clock_s = float(last["clock"])
    by_clock, uncertainty = _clock_at_line(rows, run.stop, time, is_followed=is_followed)
    # The game's own time may also tell how many packets were lost at the line.
    slack = float(time.slack_s[run.stop]) if is_followed else 0.0
    tolerance = max(time.interval_s, uncertainty)
    expected = Expected(
        slot=int(last["slot"]),
        after=int(last["ordinal"]),
        until=until,
        lowest_s=max(by_clock - tolerance, clock_s - CLOCK_JITTER_S),
        highest_s=by_clock + tolerance + slack,
        clock_s=by_clock,
    )
    official = official_time(last_laps, expected)
    if official is not None:
        return LapTime(official, "official", _OFFICIAL_UNCERTAINTY_S)
    return LapTime(by_clock, "clock", uncertainty + slack)


def _clock_at_line(rows: Rows, stop: int, time: Timebase, *, is_followed: bool) -> tuple[float, float]:
    """Return the lap clock at the line before a row, and how far off it can be.

    Args:
        rows: The driven rows.
        stop: The row.
        time: Time between rows.
        is_followed: The row is of the same session; the time up to another one's first row says nothing.
    """
    clock_s = float(rows["clock"][stop - 1])
    if not is_followed:
        return clock_s + time.interval_s / 2, time.interval_s
    elapsed, first_s = float(time.elapsed_s[stop]), float(rows["clock"][stop])
    if 0 <= first_s <= elapsed + time.uncertainty_s:
        return time_at_line(clock_s, first_s, elapsed), time.uncertainty_s
    is_stopped = first_s >= clock_s and stop + 1 < len(rows) and first_s == float(rows["clock"][stop + 1])
    if is_stopped:
        return first_s, _RESOLUTION_S
    return clock_s + elapsed / 2, max(time.uncertainty_s, elapsed)


def _invalid_bits(rows: Rows, counts: Counter[str]) -> bool:
    """Return whether the game invalidated a lap, by either of the bits that readers know for it."""
    states = rows["race_state"][LAP_NUMBER_LAG:]
    found = False
    for name, bit in (("invalid_bit_3", LAP_INVALID_BIT_3), ("invalid_bit_7", LAP_INVALID_BIT_7)):
        if (states & bit).any():
            counts[name] += 1
            found = True
    return found


def _with_published(laps: list[Lap], types: list[int]) -> list[Lap]:
    """Return the laps with the one marked that stands for its lap number.

    A whole lap goes before a cut one, a lap of the race before one of practice, an earlier one before a later one.
    """

    def rank(item: tuple[int, Lap]) -> tuple[bool, bool, int, int]:
        index, lap = item
        return (lap.time is None, not lap.run.has_clock, -types[lap.run.session], index)

    best: dict[int, int] = {}
    for index, lap in sorted(enumerate(laps), key=rank):
        best.setdefault(lap.run.lap, index)
    return [replace(lap, is_published=best[lap.run.lap] == index) for index, lap in enumerate(laps)]

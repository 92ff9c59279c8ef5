"""Gives runs of the lap clock their times, sectors and validity: the rows of ``race_laps``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from apex_pipeline.sources.ams2.clock import Timebase, time_at_line
from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.driving import LAP_NUMBER_LAG, Driving
from apex_pipeline.sources.ams2.game import History
from apex_pipeline.sources.ams2.layouts import LAP_INVALID_BIT_3, LAP_INVALID_BIT_7, LOW_3_BITS
from apex_pipeline.sources.ams2.runs import Run

# The game's times are read as whole milliseconds.
_OFFICIAL_UNCERTAINTY_S = 0.001
_SECTORS = 3


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
    sectors_s: tuple[float | None, float | None, float | None]
    is_valid: bool
    race_position: int | None
    is_published: bool = False


def measure_laps(
    driving: Driving, runs: Sequence[Run], time: Timebase, last_laps: History[int, float], counts: Counter[str]
) -> list[Lap]:
    """Return the laps of the runs.

    Args:
        driving: The driven rows.
        runs: The runs, in driven order.
        time: Time between rows.
        last_laps: The game's last lap times, by place of the car.
        counts: Receives how many laps each of the two bits for an invalid lap was set in.
    """
    # An official time comes after the line, and before the one of the next lap.
    ends = [int(driving.ordinals[run.stop - 1]) for run in runs[1:]] + [int(np.iinfo(np.int64).max)]
    laps: list[Lap] = []
    for run, next_end in zip(runs, ends, strict=True):
        rows = driving.rows[run.start : run.stop]
        lap_time = _lap_time(driving.rows, run, time, last_laps, next_end) if run.is_whole else None
        invalid = _invalid_bits(rows, counts) if run.has_clock else False
        flags = (*run.flags, "invalidated") if invalid else run.flags
        position = int(rows["race_position"][-1])
        laps.append(
            Lap(
                run=replace(run, flags=flags),
                time=lap_time,
                sectors_s=_sectors(rows, time, lap_time) if run.has_clock else (None, None, None),
                is_valid=lap_time is not None and run.kind == "flying" and not invalid,
                race_position=position or None,
            )
        )
    return _with_published(laps, driving.types)


def official_time(
    last_laps: History[int, float], slot: int, after: int, until: int, clock_s: float, tolerance_s: float
) -> float | None:
    """Return the game's time of a lap: the first one after its end that agrees with the clock.

    Args:
        last_laps: The game's last lap times, by place of the car.
        slot: The car's place.
        after: Place of the last packet of the lap.
        until: Place of the last packet of the next lap.
        clock_s: The time by the clock.
        tolerance_s: How far the two may differ.
    """
    times = last_laps.between(slot, after, until)
    standing = last_laps.at(slot, after)
    # Two laps of the same time are one value in the packets, which does not change at the line.
    candidates = [*times, standing] if not times and standing is not None else times
    return next((value for value in candidates if value > 0 and abs(value - clock_s) <= tolerance_s), None)


def _lap_time(rows: Rows, run: Run, time: Timebase, last_laps: History[int, float], until: int) -> LapTime:
    last = rows[run.stop - 1]
    elapsed = float(time.elapsed_s[run.stop])
    first_s = float(rows["clock"][run.stop])
    clock_s = float(last["clock"])
    is_timed = 0 <= first_s <= elapsed + time.uncertainty_s
    by_clock = time_at_line(clock_s, first_s, elapsed) if is_timed else clock_s + elapsed / 2
    uncertainty = time.uncertainty_s if is_timed else max(time.uncertainty_s, elapsed)
    tolerance = max(time.interval_s, uncertainty)
    official = official_time(last_laps, int(last["slot"]), int(last["ordinal"]), until, by_clock, tolerance)
    if official is not None:
        return LapTime(official, "official", _OFFICIAL_UNCERTAINTY_S)
    return LapTime(by_clock, "clock", uncertainty)


def _invalid_bits(rows: Rows, counts: Counter[str]) -> bool:
    """Return whether the game invalidated a lap, by either of the bits that readers know for it."""
    states = rows["race_state"][LAP_NUMBER_LAG:]
    found = False
    for name, bit in (("invalid_bit_3", LAP_INVALID_BIT_3), ("invalid_bit_7", LAP_INVALID_BIT_7)):
        if (states & bit).any():
            counts[name] += 1
            found = True
    return found


def _sectors(rows: Rows, time: Timebase, lap_time: LapTime | None) -> tuple[float | None, float | None, float | None]:
    """Return the sector times: the lap clock minus the sector clock where the sector changes."""
    sector = rows["sector"] & LOW_3_BITS
    changes = np.flatnonzero(np.diff(sector[LAP_NUMBER_LAG:-LAP_NUMBER_LAG])) + 1 + LAP_NUMBER_LAG
    if lap_time is None or len(changes) != _SECTORS - 1:
        return (None, None, None)
    ends: list[float] = [0.0]
    for place in changes.tolist():
        before, after = float(rows["clock"][place - 1]), float(rows["clock"][place])
        end = after - float(rows["sector_clock"][place])
        slack = max(time.uncertainty_s, 0.001)
        if not before - slack <= end <= after + slack:
            return (None, None, None)
        ends.append(end)
    ends.append(lap_time.lap_time_s)
    s1, s2, s3 = np.diff(ends).tolist()
    return (s1, s2, s3) if min(s1, s2, s3) >= 0 else (None, None, None)


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

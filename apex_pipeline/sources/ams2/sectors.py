"""Gives laps their sector times: the game's own ones, or those of the sector clock."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from apex_pipeline.sources.ams2.clock import Timebase
from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.driving import LAP_NUMBER_LAG
from apex_pipeline.sources.ams2.game import History
from apex_pipeline.sources.ams2.layouts import LOW_3_BITS
from apex_pipeline.sources.ams2.official import Expected, official_time

Sectors = tuple[float | None, float | None, float | None]

UNKNOWN: Sectors = (None, None, None)
_SECTORS = 3
_RESOLUTION_S = 0.001


@dataclass(frozen=True)
class _End:
    """The end of a sector.

    Attributes:
        row: First row after it.
        lowest_s: Lap clock before it.
        highest_s: Lap clock after it.
        clock_s: Lap clock at it, by the sector clock; ``None`` where that does not run with the lap clock.
    """

    row: int
    lowest_s: float
    highest_s: float
    clock_s: float | None


def sector_times(
    rows: Rows, until: int, lap_time_s: float, time: Timebase, last_sectors: History[int, float]
) -> Sectors:
    """Return the three sector times of a lap.

    Args:
        rows: Its rows.
        until: Place of the last packet with which its last sector time can have been sent.
        lap_time_s: Its lap time.
        time: Time between rows.
        last_sectors: The game's last sector times, by place of the car.
    """
    sector = rows["sector"] & LOW_3_BITS
    changes = np.flatnonzero(np.diff(sector[LAP_NUMBER_LAG:-LAP_NUMBER_LAG])) + 1 + LAP_NUMBER_LAG
    if len(changes) != _SECTORS - 1:
        return UNKNOWN
    slack = max(time.uncertainty_s, _RESOLUTION_S)
    start = _End(0, 0.0, 0.0, 0.0)
    line = _End(len(rows), lap_time_s, lap_time_s, lap_time_s)
    ends = [start, *(_end(rows, place, slack) for place in changes.tolist()), line]
    official = _official(rows, ends, until, time.interval_s, last_sectors)
    if official is not None and abs(sum(official) - lap_time_s) <= _SECTORS * slack:
        return official
    return _by_clock(ends)


def _end(rows: Rows, row: int, slack_s: float) -> _End:
    before, after = float(rows["clock"][row - 1]), float(rows["clock"][row])
    clock_s = after - float(rows["sector_clock"][row])
    return _End(row, before, after, clock_s if before - slack_s <= clock_s <= after + slack_s else None)


def _official(
    rows: Rows, ends: list[_End], until: int, interval_s: float, last_sectors: History[int, float]
) -> tuple[float, float, float] | None:
    """Return the game's sector times; ``None`` unless it sent all three."""
    slot, ordinals = int(rows["slot"][-1]), rows["ordinal"]
    found: list[float] = []
    for start, end in pairwise(ends):
        is_last = end is ends[-1]
        by_clock = None if start.clock_s is None or end.clock_s is None else end.clock_s - start.clock_s
        expected = Expected(
            slot=slot,
            after=int(ordinals[end.row - 1]),
            until=until if is_last else int(ordinals[ends[ends.index(end) + 1].row - 1]),
            lowest_s=end.lowest_s - start.highest_s - interval_s if by_clock is None else by_clock - interval_s,
            highest_s=end.highest_s - start.lowest_s + interval_s if by_clock is None else by_clock + interval_s,
            clock_s=float("nan") if by_clock is None else by_clock,
        )
        value = official_time(last_sectors, expected)
        if value is None:
            return None
        found.append(value)
    s1, s2, s3 = found
    return (s1, s2, s3)


def _by_clock(ends: list[_End]) -> Sectors:
    times = [
        None if start.clock_s is None or end.clock_s is None else end.clock_s - start.clock_s
        for start, end in pairwise(ends)
    ]
    if any(time is None or time < 0 for time in times):
        return UNKNOWN
    s1, s2, s3 = times
    return (s1, s2, s3)

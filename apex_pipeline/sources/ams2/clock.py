"""Measures the time between two samples and the time of a crossing, from the lap clock and the game's tick count."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.ordering import Integers

# Samples further apart are a hole in the recording, whatever its rate; 1 Hz is the slowest seen.
LONGEST_INTERVAL_S = 5.0
# How well the tick count must follow the lap clock to be used: its unit is documented nowhere.
_TICK_TOLERANCE = 0.1
_TICK_SHARE = 0.8
_RESOLUTION_S = 0.001


@dataclass(frozen=True)
class Timebase:
    """Time between the driver's samples.

    Attributes:
        interval_s: Median time between two samples; 0 if the clock never ran.
        elapsed_s: Estimated time since the row before; shape (rows,). The first is 0.
        slack_s: How much longer it can have been, where packets were lost; shape (rows,).
        uncertainty_s: How far off an estimate can be otherwise.
    """

    interval_s: float
    elapsed_s: npt.NDArray[np.float64]
    slack_s: npt.NDArray[np.float64]
    uncertainty_s: float


def timebase(rows: Rows, physics: Integers) -> Timebase:
    """Return the time between rows.

    The tick count is used where it follows the lap clock, in whatever unit; else the packet numbers, which count
    sampling intervals. They count too many where a recorder leaves out other packets, so they are compared with the
    packets of physics that have arrived.

    Args:
        rows: The driver's driven rows.
        physics: Places of the physics packets in the recording, increasing.
    """
    steps = np.diff(rows["clock"].astype(np.float64))
    is_step = (steps > 0) & (steps < LONGEST_INTERVAL_S) & (rows["clock"][:-1] >= 0)
    if not is_step.any():
        return Timebase(0.0, np.zeros(len(rows)), np.zeros(len(rows)), 0.0)
    interval = float(np.median(steps[is_step]))
    by_ticks = _by_ticks(unwrapped_steps(rows["tick"]), steps, is_step & (steps <= 2 * interval), interval)
    slack = np.zeros(len(rows))
    if by_ticks is not None:
        elapsed, uncertainty = by_ticks
    else:
        longest = _intervals(np.diff(rows["counted"]), is_step)
        seen = _intervals(np.diff(np.searchsorted(physics, rows["ordinal"])), is_step)
        fewest = np.minimum(longest, seen) if len(physics) else longest
        elapsed, uncertainty = interval * fewest, interval
        slack[1:] = interval * (longest - fewest)
    return Timebase(interval, np.concatenate([[0.0], elapsed]), slack, uncertainty)


def unwrapped_steps(ticks: Integers) -> Integers:
    """Return the differences of tick counts across their wrap at 2^32; 0 where there is no tick count."""
    steps = np.diff(ticks.astype(np.uint32)).view(np.int32).astype(np.int64)
    steps[(ticks[1:] < 0) | (ticks[:-1] < 0)] = 0
    return steps


def _by_ticks(
    ticks: Integers, steps: npt.NDArray[np.float64], is_step: npt.NDArray[np.bool_], interval: float
) -> tuple[npt.NDArray[np.float64], float] | None:
    """Return time by the tick count and how far off it is; ``None`` if it does not follow the clock."""
    counted = is_step & (ticks > 0)
    if not is_step.any() or counted.sum() < _TICK_SHARE * is_step.sum():
        return None
    counted &= ticks <= 2 * np.median(ticks[counted])  # in a pause, the count goes on and the clock does not
    second = steps[counted].sum() / ticks[counted].sum()
    errors = np.abs(steps[counted] - ticks[counted] * second)
    if np.median(errors) > _TICK_TOLERANCE * interval:
        return None
    return np.maximum(ticks * second, 0.0), max(_RESOLUTION_S, float(np.quantile(errors, 0.95)))


def _intervals(numbers: Integers, is_step: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return how many sampling intervals lie between rows, by what is counted between them."""
    usual = float(np.median(numbers[is_step]))
    if usual <= 0:
        return np.ones(len(numbers))
    return np.maximum(1.0, np.rint(numbers / usual))


def time_at_line(last_s: float, first_s: float, elapsed_s: float) -> float:
    """Return the lap time, from the last clock before the line and the first one after it.

    Args:
        last_s: Last reading of the clock in the lap.
        first_s: First reading in the next lap: time since the line.
        elapsed_s: Time between the two readings.
    """
    return last_s + min(max(elapsed_s - max(first_s, 0.0), 0.0), elapsed_s)

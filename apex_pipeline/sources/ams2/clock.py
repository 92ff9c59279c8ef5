"""Measures the time between two samples and the time of a crossing, from the lap clock and the game's tick count."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.ams2.driver import Rows
from apex_pipeline.sources.ams2.driving import Driving
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


def timebase(driving: Driving, timings: Rows, physics: Integers) -> Timebase:
    """Return the time between rows.

    The tick count is used where it follows the lap clock, in whatever unit; else the packet numbers, which count
    sampling intervals. They count too many where a recorder leaves out other packets, so they are compared with the
    packets of physics that have arrived. In a pause they all go on and the lap clock does not, so it is left out.

    Args:
        driving: The driver's driven rows.
        timings: All of his rows.
        physics: Places of the physics packets in the recording, increasing.
    """
    rows = driving.rows
    steps = np.diff(rows["clock"].astype(np.float64))
    is_step = (steps > 0) & (steps < LONGEST_INTERVAL_S) & (rows["clock"][:-1] >= 0)
    if not is_step.any():
        return Timebase(0.0, np.zeros(len(rows)), np.zeros(len(rows)), 0.0)
    interval = float(np.median(steps[is_step]))
    first, last = timings[driving.left_out[1:, 0]], timings[driving.left_out[1:, 1]]
    ticks = tick_steps(rows["tick"][:-1], rows["tick"][1:]) - tick_steps(first["tick"], last["tick"])
    is_pause = first["ordinal"] != rows["ordinal"][1:]
    by_ticks = _by_ticks(ticks, steps, is_step & ~is_pause & (steps <= 2 * interval), interval)
    slack = np.zeros(len(rows))
    if by_ticks is not None:
        elapsed, uncertainty = by_ticks
    else:
        fewest, most = _counted(rows, (first, last), physics, is_step)
        elapsed, uncertainty = interval * fewest, interval
        slack[1:] = interval * (most - fewest)
    # A pause begins and ends somewhere between two samples, so of the two intervals around it one is known.
    slack[1:][is_pause] += elapsed[is_pause] / 2
    elapsed = np.where(is_pause, elapsed / 2, elapsed)
    return Timebase(interval, np.concatenate([[0.0], elapsed]), slack, uncertainty)


def unwrapped_steps(ticks: Integers) -> Integers:
    """Return the differences of tick counts across their wrap at 2^32; 0 where there is no tick count."""
    return tick_steps(ticks[:-1], ticks[1:])


def tick_steps(before: Integers, after: Integers) -> Integers:
    """Return the differences between tick counts across their wrap at 2^32; 0 where there is no tick count."""
    steps = (after.astype(np.uint32) - before.astype(np.uint32)).view(np.int32).astype(np.int64)
    steps[(before < 0) | (after < 0)] = 0
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


def _counted(
    rows: Rows, left_out: tuple[Rows, Rows], physics: Integers, is_step: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the fewest and the most sampling intervals between rows, without what was left out between them."""
    first, last = left_out
    most = _intervals(np.diff(rows["counted"]) - (last["counted"] - first["counted"]), is_step)
    if not len(physics):
        return most, most
    arrived = np.searchsorted(physics, last["ordinal"]) - np.searchsorted(physics, first["ordinal"])
    seen = _intervals(np.diff(np.searchsorted(physics, rows["ordinal"])) - arrived, is_step)
    return np.minimum(most, seen), most


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

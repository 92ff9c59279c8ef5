"""Small operations on time series that the other modules share: readings at equal times, runs, holes.

Times are seconds since the car crossed the line; a series is its sorted times and its values, without NaN.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Longer without a reading, nothing is said about the time between: 35 m at 250 km/h.
HOLE_S = 0.5
# Of data that were thinned out, single readings are further apart than that: there one missing reading is no hole yet.
_PERIODS = 2.2


def as_numbers(values: Sequence[float] | Numbers) -> Numbers:
    """Return values as an array of float64."""
    return np.asarray(values, dtype=np.float64)


def mean_at_equal_times(times_s: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """Return each time once, with the mean of its readings; a speed is never a distance divided by no time."""
    if len(times_s) == 0:
        return times_s, values
    is_first = np.append(True, np.diff(times_s) > 0)
    if is_first.all():
        return times_s, values
    starts = np.flatnonzero(is_first)
    counts = np.diff(np.append(starts, len(times_s)))
    return times_s[starts], np.add.reduceat(values, starts) / counts


def changes(times_s: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """Return the readings that differ from the one before: the fixes of a receiver whose last one is held.

    The first reading, and the first after a hole, are left out: they may have been held for a while.
    """
    is_new = (np.diff(values) != 0) & (np.diff(times_s) <= hole_limit_s(times_s))
    return times_s[1:][is_new], values[1:][is_new]


def hole_limit_s(times_s: Numbers) -> float:
    """Return the time without a reading beyond which nothing is said: 0.5 s, or twice the usual time between two."""
    gaps = np.diff(times_s)
    gaps = gaps[gaps > 0]
    return max(HOLE_S, _PERIODS * float(np.median(gaps))) if len(gaps) else HOLE_S


def in_hole(at_s: Numbers, times_s: Numbers) -> Flags:
    """Return which moments lie in a hole: between two readings too far apart, or too long before or after all."""
    if len(times_s) == 0:
        return np.ones(len(at_s), dtype=bool)
    limit_s = hole_limit_s(times_s)
    after = np.searchsorted(times_s, at_s, side="left")
    before = np.where(after > 0, times_s[np.maximum(after - 1, 0)], -np.inf)
    behind = np.where(after < len(times_s), times_s[np.minimum(after, len(times_s) - 1)], np.inf)
    # A moment of a reading is known, also at the edge of a hole; beyond the ends the reading is held for the limit.
    inner = (behind - before > limit_s) & (behind != at_s)
    outer = np.where(np.isinf(before), behind - at_s > limit_s, at_s - before > limit_s)
    return np.where(np.isinf(before) | np.isinf(behind), outer, inner)


def hole_lengths(times_s: Numbers, duration_s: float) -> Numbers:
    """Return the times of over 0.5 s without a reading in a lap, seconds, those at its ends included."""
    inside = times_s[(times_s >= 0) & (times_s <= duration_s)]
    gaps = np.diff(np.concatenate([[0.0], inside, [duration_s]]))
    return gaps[gaps > HOLE_S]

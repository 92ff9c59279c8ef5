"""Brings the readings of one channel onto a clock that ticks at a fixed rate, as every MoTeC channel has one.

Between two readings a value is interpolated, of gears and counters the last one is held; in a hole it is held as well,
and said to be.
"""

from dataclasses import dataclass

import numpy as np

from apex_pipeline.distance.arrays import Flags, Numbers, hole_limit_s, in_hole
from apex_pipeline.distance.lap import is_step

# The rates that loggers are set to, in hertz; sample times have whole milliseconds, so none is faster than the last.
USUAL_RATES_HZ = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
# A rate of 4.98 Hz is one of 5 Hz whose times are rounded to milliseconds.
_ROUNDING = 1.01


@dataclass(frozen=True)
class Readings:
    """The readings of one channel.

    Attributes:
        name: Name of the channel.
        times_s: Seconds since the log begins, each time once, sorted, shape (n,) with n ≥ 1.
        values: Shape (n,), without NaN.
    """

    name: str
    times_s: Numbers
    values: Numbers

    @property
    def rate_hz(self) -> int:
        """The nearest usual rate that is not below the channel's own; the lowest for a single reading.

        The own rate is that of all readings outside holes, not of the usual step: a clock that stood still leaves
        times of arrival, of which many are a millisecond apart.
        """
        steps = np.diff(self.times_s)
        steps = steps[steps <= hole_limit_s(self.times_s)]
        if len(steps) == 0:
            return USUAL_RATES_HZ[0]
        own_hz = 1 / float(np.mean(steps)) / _ROUNDING
        return next((rate for rate in USUAL_RATES_HZ if rate >= own_hz), USUAL_RATES_HZ[-1])

    def at(self, ticks_s: Numbers) -> Numbers:
        """Return the value at each tick: in a hole the last one before it, before all readings the first."""
        last = np.maximum(np.searchsorted(self.times_s, ticks_s, side="right") - 1, 0)
        held = self.values[last]
        if is_step(self.name):
            return held
        return np.where(self.holes(ticks_s), held, np.interp(ticks_s, self.times_s, self.values))

    def holes(self, ticks_s: Numbers) -> Flags:
        """Return which ticks lie in a hole: more than 0.5 s, or twice the usual time, between two readings."""
        return in_hole(ticks_s, self.times_s)


def readings_of(name: str, times_s: Numbers, values: Numbers) -> Readings | None:
    """Return the readings of a channel, of those at one time the last; ``None`` if there are none.

    Args:
        name: Name of the channel.
        times_s: Sorted times of all rows, shape (n,).
        values: Shape (n,); NaN where a row has no reading.
    """
    known = np.isfinite(values)
    times, found = times_s[known], values[known]
    if len(times) == 0:
        return None
    is_last = np.append(np.diff(times) > 0, True)
    return Readings(name, times[is_last], found[is_last])


def tick_count(duration_s: float, rate_hz: int) -> int:
    """Return the number of ticks from 0 to the last one that is not after the end."""
    # A duration of whole milliseconds times a rate is a whole number within this, whatever binary fractions make of it.
    return int(np.floor(duration_s * rate_hz + 1e-6)) + 1


def ticks(duration_s: float, rate_hz: int) -> Numbers:
    """Return the ticks of a clock from 0 to the last one that is not after the end, seconds."""
    return np.arange(tick_count(duration_s, rate_hz)) / rate_hz

"""The distance of a lap by its speed, integrated from reading to reading.

Where nothing was received, speed is not a straight line: a car brakes and accelerates in 2 s. Another lap of the track
knows how cars drive there.
"""

from dataclasses import dataclass, replace

import numpy as np

from apex_pipeline.distance.arrays import HOLE_S, Numbers, in_hole, mean_at_equal_times
from apex_pipeline.distance.samples import SPEED, LapSamples

# A hole is bridged by the other lap in steps of a metre; the pace at its end depends on where it ends, so three times.
_STEP_M = 1.0
_ROUNDS = 3
# A car that stands has no pace.
_SLOWEST_MS = 1.0
# Where the two laps differ more than this, the other is no model: one of them nearly stopped.
_MOST_UNLIKE = 2.0


@dataclass(frozen=True)
class Driven:
    """Metres driven by the speed of one lap, not scaled.

    Attributes:
        times_s: Times of its readings, strictly increasing.
        speed_ms: Speed at them.
        driven_m: Metres since the first of them.
        ends_m: Metres at the begin and the end of the lap.
        is_bridged: Whether all its holes were bridged by another lap; true if it has none.
    """

    times_s: Numbers
    speed_ms: Numbers
    driven_m: Numbers
    ends_m: Numbers
    is_bridged: bool

    @property
    def total_m(self) -> float:
        """Metres from line to line."""
        return float(self.ends_m[1] - self.ends_m[0])


def speed_readings(lap: LapSamples) -> tuple[Numbers, Numbers]:
    """Return the times and speeds of a lap, m/s, each time once."""
    times, speed = mean_at_equal_times(*lap.readings(SPEED))
    return times, speed / 3.6


def driven_by_speed(lap: LapSamples, times: Numbers, speed: Numbers) -> Driven:
    """Return the metres driven; speed goes straight from reading to reading, and stays beyond the first and last."""
    steps = np.diff(times) * (speed[1:] + speed[:-1]) / 2
    return _driven(lap, times, speed, steps, is_bridged=bool((np.diff(times) <= HOLE_S).all()))


def _driven(lap: LapSamples, times: Numbers, speed: Numbers, steps: Numbers, *, is_bridged: bool) -> Driven:
    metres = np.concatenate([[0.0], np.cumsum(steps)])
    edges = np.array([0.0, lap.duration_s])
    ends = np.interp(edges, times, metres)
    ends += np.minimum(edges - times[0], 0) * speed[0] + np.maximum(edges - times[-1], 0) * speed[-1]
    return Driven(times, speed, metres, ends, is_bridged)


def bridged(lap: LapSamples, own: Driven, other: Driven) -> Driven:
    """Return the metres driven with each hole bridged as another lap drove there, at the pace at its two edges.

    A hole where the other lap has one too stays as it is.
    """
    holes = np.flatnonzero(np.diff(own.times_s) > HOLE_S)
    if len(holes) == 0 or own.total_m <= 0 or other.total_m <= 0:
        return own
    steps = np.diff(own.driven_m)
    scale = lap.track_length_m / own.total_m
    there = (other.driven_m - other.ends_m[0]) * (lap.track_length_m / other.total_m)
    known = replace(
        other,
        driven_m=np.maximum.accumulate(there) + 1e-9 * np.arange(len(there)),
        speed_ms=np.maximum(other.speed_ms * (lap.track_length_m / other.total_m), _SLOWEST_MS),
    )
    is_bridged = True
    for hole in holes.tolist():
        begin = (own.driven_m[hole] - own.ends_m[0]) * scale
        length = _bridge(own, hole, begin, scale, known)
        is_bridged &= length is not None
        steps[hole] = steps[hole] if length is None else length / scale
    return _driven(lap, own.times_s, own.speed_ms, steps, is_bridged=is_bridged)


def _bridge(own: Driven, hole: int, begin_m: float, scale: float, other: Driven) -> float | None:
    """Return the length of a hole in scaled metres, or ``None`` if the other lap does not know."""
    duration = float(own.times_s[hole + 1] - own.times_s[hole])
    before, after = own.speed_ms[hole : hole + 2] * scale
    guess = duration * (before + after) / 2
    grid = begin_m + np.arange(0.0, 2 * guess + 20 * _STEP_M, _STEP_M)
    inside = (grid >= other.driven_m[0]) & (grid <= other.driven_m[-1])
    times = np.interp(grid, other.driven_m, other.times_s)
    if not inside.all() or in_hole(times, other.times_s)[grid <= begin_m + 1.2 * guess].any():
        return None
    speed = np.interp(grid, other.driven_m, other.speed_ms)
    for _ in range(_ROUNDS):
        last = int(np.clip(round(guess / _STEP_M), 1, len(speed) - 1))
        edges = np.array([before / speed[0], after / speed[last]])
        if not ((edges > 1 / _MOST_UNLIKE) & (edges < _MOST_UNLIKE)).all():
            return None
        slowness = 1 / (speed * np.interp(np.arange(len(speed)), [0, last], edges))
        elapsed = np.concatenate([[0.0], np.cumsum(_STEP_M * (slowness[1:] + slowness[:-1]) / 2)])
        guess = float(np.interp(duration, elapsed, grid - begin_m))
    return guess

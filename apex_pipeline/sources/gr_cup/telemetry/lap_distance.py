"""Finds finish-line crossings from a car's own lap distance, which grows to the lap length and falls back to zero.

Works on the samples of one car, all in one clock; see ``crossings`` for reading them.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

# No car of the cup is faster than 60 m/s (216 km/h); a step that needs a higher speed was not driven.
TOP_SPEED_M_PER_S = 70.0
# Cars of one race disagree on the lap length by 1 to 2 % (tyres, line); a fall from below this share is not a full lap.
_FULL_LAP = 0.95
# Samples come every 0.216 s. Over three of them the rounding to whole metres averages out, and speed changes little.
_SAMPLES = 3
# A crossing more than this before the next sample is not reported. For a car at 35 m/s that accelerates at 5 m/s2, the
# assumption of constant speed is 0.16 s off after this time; after a gap, or with samples 5 s apart, it is a guess.
_MAX_EXTRAPOLATION_S = 1.5
# The speed at the line is measured only from samples this close to it.
_AROUND_MS = 2_000.0
# Between samples this close, the midpoint is accurate enough (to half the distance) even if the speed is unknown.
_MAX_MIDPOINT_GAP_S = 1.0
_MIN_SPEED_M_PER_S = 5.0
# The distance is sent in whole metres and restarts up to one sample late.
_ROUNDING_M = 20.0


class Distance(NamedTuple):
    """Lap distance of one car.

    Attributes:
        time_ms: Time of each sample, ascending. Shape (samples,).
        metres: Distance from the line. Shape (samples,).
    """

    time_ms: Numbers
    metres: Numbers


def sort_as_driven(time_ms: Numbers, metres: Numbers) -> Distance:
    """Sort samples by time; sort samples with equal times (one message, a burst) in the order they were driven."""
    is_new_lap = metres < (_scale([metres]) or 0.0) / 2
    order = np.lexsort((metres, is_new_lap, time_ms))
    return Distance(time_ms[order], metres[order])


def lap_length(cars: Iterable[Distance]) -> float | None:
    """Return the distance at which the lap distance usually falls to zero, in metres; ``None`` if it never does.

    The median over all cars of a session is robust to resets in the pits, missed lines and outliers.
    """
    traces = list(cars)
    scale = _scale([car.metres for car in traces])
    if scale is None:
        return None
    tops = [car.metres[:-1][-np.diff(car.metres) > scale / 2] for car in traces]
    full = [top[(top > 0.9 * scale) & (top < 1.1 * scale)] for top in tops]
    pooled = np.concatenate(full)
    return float(np.median(pooled)) if len(pooled) else None


def _scale(metres: list[Numbers]) -> float | None:
    """Return the 99.5th percentile of the distances, a maximum robust to outliers."""
    pooled = np.concatenate(metres) if metres else np.empty(0)
    return float(np.percentile(pooled, 99.5)) if len(pooled) else None


def distance_crossings(car: Distance, length_m: float) -> Numbers:
    """Return the times at which a car crossed the line, according to its lap distance.

    A crossing is a fall from a full lap to a distance that the car can have driven since. A reset elsewhere, an
    outlier, and a fall that cannot be timed (a gap of several seconds) are not crossings.

    Args:
        car: Its samples.
        length_m: Lap length in metres.

    Returns:
        Times in milliseconds, ascending; fractional, because they are interpolated between samples. Shape (crossings,).
    """
    car = _without_outliers(car, length_m)
    gap_s = np.diff(car.time_ms) / 1000
    before_m, after_m = car.metres[:-1], car.metres[1:]
    reachable_m = gap_s * TOP_SPEED_M_PER_S + _ROUNDING_M
    is_lap = (
        (before_m - after_m > length_m / 2) & (before_m + reachable_m > _FULL_LAP * length_m) & (after_m < reachable_m)
    )
    times = (_time_of_zero(car, int(at)) for at in np.flatnonzero(is_lap))
    return _at_least_a_lap_apart([time for time in times if time is not None], length_m)


def _without_outliers(car: Distance, length_m: float) -> Distance:
    """Drop values far from the samples before and after them, and values at a fall that fit neither side."""
    if len(car.metres) < 3:  # noqa: PLR2004  -- a sample between two others
        return car
    before, current, after = car.metres[:-2], car.metres[1:-1], car.metres[2:]
    is_inside = np.abs(current - np.median(np.stack([before, current, after]), axis=0)) < length_m / 10
    nearest = np.minimum(_track_gap(current, before, length_m), _track_gap(current, after, length_m))
    is_plausible = np.concatenate([[True], is_inside & (nearest < length_m / 10), [True]])
    return Distance(car.time_ms[is_plausible], car.metres[is_plausible])


def _track_gap(one: Numbers, other: Numbers, length_m: float) -> Numbers:
    """Return the distance between two points on the track, the shorter way round."""
    gap_m = np.abs(one - other) % length_m
    return np.minimum(gap_m, length_m - gap_m)


def _time_of_zero(car: Distance, before: int) -> float | None:
    """Extrapolate from the samples after a fall back to distance zero, at the speed around the line."""
    after = before + 1
    earliest, latest = float(car.time_ms[before]), float(car.time_ms[after])
    speed = _speed_around(car, after)
    if speed is None:
        return (earliest + latest) / 2 if latest - earliest <= _MAX_MIDPOINT_GAP_S * 1000 else None
    if car.metres[after] > speed * _MAX_EXTRAPOLATION_S:
        return None
    near = _near_line(car, slice(after, after + _SAMPLES), latest)
    back_ms = car.time_ms[near] - car.metres[near] / speed * 1000
    return float(np.clip(back_ms.mean(), earliest, latest))


def _speed_around(car: Distance, after: int) -> float | None:
    """Return the mean speed before and after a fall in m/s; ``None`` if neither is plausible for a moving car."""
    before = _near_line(car, slice(max(after - _SAMPLES, 0), after), car.time_ms[after - 1])
    following = _near_line(car, slice(after, after + _SAMPLES), car.time_ms[after])
    speeds = [_speed(car.time_ms[near], car.metres[near]) for near in (before, following)]
    driving = [speed for speed in speeds if _MIN_SPEED_M_PER_S < speed < TOP_SPEED_M_PER_S]
    return sum(driving) / len(driving) if driving else None


def _near_line(car: Distance, samples: slice, edge_ms: float) -> npt.NDArray[np.int64]:
    """Return the indices of the samples close to the line, including the one at the edge."""
    indices = np.arange(len(car.time_ms))[samples]
    return indices[np.abs(car.time_ms[indices] - edge_ms) < _AROUND_MS]


def _speed(time_ms: Numbers, metres: Numbers) -> float:
    span_ms = time_ms[-1] - time_ms[0]
    return float((metres[-1] - metres[0]) / span_ms * 1000) if span_ms > 0 else 0.0


def _at_least_a_lap_apart(times: list[float], length_m: float) -> Numbers:
    """Keep only times that are at least a lap after the previously kept one."""
    shortest_ms = _FULL_LAP * length_m / TOP_SPEED_M_PER_S * 1000
    kept: list[float] = []
    for time in times:
        if not kept or time - kept[-1] >= shortest_ms:
            kept.append(time)
    return np.array(kept)

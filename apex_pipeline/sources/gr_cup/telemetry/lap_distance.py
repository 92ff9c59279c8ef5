"""Passings of the line as a car's own lap distance shows them: it grows to the length of the lap and falls to zero.

Here belongs arithmetic on one car's samples, all in one clock. Not here: where the samples come from and what else
shows a passing (``line_passings``).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

# No car of the cup is faster than 60 m/s (216 km/h); what would need more than this is no driving.
TOP_SPEED_M_PER_S = 70.0
# Cars of one race disagree on the length of the lap by 1 to 2 % (tyres, line), a fall below this share is no whole lap.
_WHOLE_LAP = 0.95
# Samples come every 0.216 s. Over three of them the rounding to whole metres averages out, and speed changes little.
_SAMPLES = 3
# A passing further back than this from the next sample is not told. A car at 35 m/s that pulls away at 5 m/s2 is 0.16 s
# off after this time if its speed is taken to be even; after a hole, or with samples 5 s apart, time would be a guess.
_LONGEST_WAY_S = 1.5
# Speed is that around the line only if its samples are.
_AROUND_MS = 2_000.0
# Between samples this close the passing is timed well enough (to half of it) even where the speed is not known.
_CLOSE_S = 1.0
_SLOWEST_M_PER_S = 5.0
# The distance is sent in whole metres and starts anew up to one sample late.
_ROUNDING_M = 20.0


class Distance(NamedTuple):
    """Lap distance of one car.

    Attributes:
        time_ms: Time of each sample, ascending. Shape (samples,).
        metres: Distance since the line. Shape (samples,).
    """

    time_ms: Numbers
    metres: Numbers


def in_driven_order(time_ms: Numbers, metres: Numbers) -> Distance:
    """Sort samples by time, and such of the same time (one message, a burst) as they were driven."""
    is_new_lap = metres < (_scale([metres]) or 0.0) / 2
    order = np.lexsort((metres, is_new_lap, time_ms))
    return Distance(time_ms[order], metres[order])


def lap_length(cars: Iterable[Distance]) -> float | None:
    """Return the distance at which it usually falls to zero, in metres; ``None`` where it never does.

    The median over all cars of a session: a reset in the pits, a missed line or a wild value do not move it.
    """
    traces = list(cars)
    scale = _scale([car.metres for car in traces])
    if scale is None:
        return None
    tops = [car.metres[:-1][-np.diff(car.metres) > scale / 2] for car in traces]
    whole = [top[(top > 0.9 * scale) & (top < 1.1 * scale)] for top in tops]
    pooled = np.concatenate(whole)
    return float(np.median(pooled)) if len(pooled) else None


def _scale(metres: list[Numbers]) -> float | None:
    """Return about the largest distance; the 99.5th percentile, for single values may be wild."""
    pooled = np.concatenate(metres) if metres else np.empty(0)
    return float(np.percentile(pooled, 99.5)) if len(pooled) else None


def distance_crossings(car: Distance, length_m: float) -> Numbers:
    """Return when a car passed the line, by its lap distance.

    A passing is a fall from a whole lap to what can have been driven since. A reset elsewhere, a wild single value, and
    a fall whose time cannot be told (a hole of several seconds) are none.

    Args:
        car: Its samples.
        length_m: Length of the lap in metres.

    Returns:
        Times in milliseconds, ascending; between samples, so with a fraction. Shape (passings,).
    """
    car = _without_wild_values(car, length_m)
    gap_s = np.diff(car.time_ms) / 1000
    before_m, after_m = car.metres[:-1], car.metres[1:]
    reach_m = gap_s * TOP_SPEED_M_PER_S + _ROUNDING_M
    is_lap = (before_m - after_m > length_m / 2) & (before_m + reach_m > _WHOLE_LAP * length_m) & (after_m < reach_m)
    times = (_time_of_zero(car, int(at)) for at in np.flatnonzero(is_lap))
    return _a_lap_apart([time for time in times if time is not None], length_m)


def _without_wild_values(car: Distance, length_m: float) -> Distance:
    """Drop values that stick out of their neighbours, or at a fall, that follow from neither."""
    if len(car.metres) < 3:  # noqa: PLR2004  -- a sample between two others
        return car
    before, here, after = car.metres[:-2], car.metres[1:-1], car.metres[2:]
    is_inside = np.abs(here - np.median(np.stack([before, here, after]), axis=0)) < length_m / 10
    nearest = np.minimum(_apart(here, before, length_m), _apart(here, after, length_m))
    is_tame = np.concatenate([[True], is_inside & (nearest < length_m / 10), [True]])
    return Distance(car.time_ms[is_tame], car.metres[is_tame])


def _apart(one: Numbers, other: Numbers, length_m: float) -> Numbers:
    """Return how far two distances lie apart on the track, the shorter way round."""
    way = np.abs(one - other) % length_m
    return np.minimum(way, length_m - way)


def _time_of_zero(car: Distance, before: int) -> float | None:
    """Go back from the samples after a fall to distance zero, at the speed around it."""
    after = before + 1
    earliest, latest = float(car.time_ms[before]), float(car.time_ms[after])
    speed = _speed_around(car, after)
    if speed is None:
        return (earliest + latest) / 2 if latest - earliest <= _CLOSE_S * 1000 else None
    if car.metres[after] > speed * _LONGEST_WAY_S:
        return None
    side = _side(car, slice(after, after + _SAMPLES), latest)
    back_ms = car.time_ms[side] - car.metres[side] / speed * 1000
    return float(np.clip(back_ms.mean(), earliest, latest))


def _speed_around(car: Distance, after: int) -> float | None:
    """Return the mean of the speeds before and after a fall in m/s; ``None`` if neither is that of a driving car."""
    before = _side(car, slice(max(after - _SAMPLES, 0), after), car.time_ms[after - 1])
    behind = _side(car, slice(after, after + _SAMPLES), car.time_ms[after])
    speeds = [_speed(car.time_ms[side], car.metres[side]) for side in (before, behind)]
    driving = [speed for speed in speeds if _SLOWEST_M_PER_S < speed < TOP_SPEED_M_PER_S]
    return sum(driving) / len(driving) if driving else None


def _side(car: Distance, samples: slice, edge_ms: float) -> npt.NDArray[np.int64]:
    """Return the indices of the samples that lie around the line, the one at the edge among them."""
    indices = np.arange(len(car.time_ms))[samples]
    return indices[np.abs(car.time_ms[indices] - edge_ms) < _AROUND_MS]


def _speed(time_ms: Numbers, metres: Numbers) -> float:
    span_ms = time_ms[-1] - time_ms[0]
    return float((metres[-1] - metres[0]) / span_ms * 1000) if span_ms > 0 else 0.0


def _a_lap_apart(times: list[float], length_m: float) -> Numbers:
    """Keep the times that lie a lap after the one kept before."""
    shortest_ms = _WHOLE_LAP * length_m / TOP_SPEED_M_PER_S * 1000
    kept: list[float] = []
    for time in times:
        if not kept or time - kept[-1] >= shortest_ms:
            kept.append(time)
    return np.array(kept)

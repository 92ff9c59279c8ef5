"""The finish line on the ground: where it lies, and when a car drove over it.

The place of the line is learnt from the cars: where they are when their lap distance begins. Here belongs geometry on
positions; not here: where the samples come from and what else shows a passing (``line_passings``).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.lap_distance import Distance, Numbers

_METRES_PER_DEGREE = 111_320.0
# The first metres of a lap, which at most tracks are straight.
_FIRST_METRES = 30.0
# Heading is taken over this time around a sample; a car that moves less than the speed below has none.
_AROUND_MS = 300.0
_SLOWEST_M_PER_S = 5.0
# Between samples no further apart a car drives straight on.
_CLOSE_MS = 600.0
# Half of the cars' beginnings lie this close to their middle, or they show no line. Metres.
_CLOSE_M = 30.0
# Track and pit lane beside it, on each side of the middle. Metres.
_HALF_WIDTH_M = 40.0
# Positions come every 0.1 s. Over a longer hole the way between two of them is not known.
_LONGEST_STEP_MS = 2_000.0
# A car that passes again has been away: GPS noise of a car that stands on the line is no lap. Metres.
_AWAY_M = 200.0


class Positions(NamedTuple):
    """Positions of one car.

    Attributes:
        time_ms: Time of each sample, ascending, each once. Shape (samples,).
        latitude_deg: Shape (samples,).
        longitude_deg: Shape (samples,).
    """

    time_ms: Numbers
    latitude_deg: Numbers
    longitude_deg: Numbers


def pair_up(latitude: tuple[Numbers, Numbers], longitude: tuple[Numbers, Numbers]) -> Positions:
    """Return the positions at the latitude's times, for the two coordinates are separate readings.

    Args:
        latitude: Times in milliseconds, ascending, each once, and degrees.
        longitude: The same.

    Returns:
        Positions where a longitude is close before and after; most have one of the very same time.
    """
    time_ms, degrees = latitude
    if not len(longitude[0]):
        return Positions(*np.empty((3, 0)))
    is_covered = _is_covered(time_ms, longitude[0])
    return Positions(
        time_ms[is_covered], degrees[is_covered], np.interp(time_ms[is_covered], longitude[0], longitude[1])
    )


@dataclass(frozen=True)
class FinishLine:
    """The line on the ground.

    Attributes:
        latitude_deg: Its middle.
        longitude_deg: Its middle.
        east: East part of the direction the cars drive in; with ``north`` a vector of length 1.
        north: North part of it.
    """

    latitude_deg: float
    longitude_deg: float
    east: float
    north: float

    def along_and_across(self, latitude_deg: Numbers, longitude_deg: Numbers) -> tuple[Numbers, Numbers]:
        """Return how far positions lie beyond the line and left of its middle, in metres."""
        x, y = _metres(latitude_deg, longitude_deg, (self.latitude_deg, self.longitude_deg))
        return x * self.east + y * self.north, y * self.east - x * self.north


def _metres(latitude_deg: Numbers, longitude_deg: Numbers, origin: tuple[float, float]) -> tuple[Numbers, Numbers]:
    """Return metres east and north of an origin; flat, which is right to a centimetre over a lap."""
    per_degree_east = _METRES_PER_DEGREE * math.cos(math.radians(origin[0]))
    return (longitude_deg - origin[1]) * per_degree_east, (latitude_deg - origin[0]) * _METRES_PER_DEGREE


def learn_line(cars: Iterable[tuple[Distance, Positions]]) -> FinishLine | None:
    """Return the line, learnt from where the cars are in the first metres of a lap.

    Returns:
        ``None`` where no car sends both, or their beginnings do not lie together.
    """
    both = [(distance, at) for distance, at in cars if len(distance.metres) and len(at.time_ms) > 1]
    if not both:
        return None
    origin = (float(np.median(both[0][1].latitude_deg)), float(np.median(both[0][1].longitude_deg)))
    points = np.concatenate([_beginnings(distance, at, origin) for distance, at in both])
    if not len(points):
        return None
    x, y, east, north = np.median(points, axis=0)
    spread = float(np.median(np.hypot(points[:, 0] - x, points[:, 1] - y)))
    length = math.hypot(east, north)
    if spread > _CLOSE_M or not length:
        return None
    per_degree_east = _METRES_PER_DEGREE * math.cos(math.radians(origin[0]))
    return FinishLine(
        latitude_deg=float(origin[0] + y / _METRES_PER_DEGREE),
        longitude_deg=float(origin[1] + x / per_degree_east),
        east=float(east / length),
        north=float(north / length),
    )


def _beginnings(distance: Distance, at: Positions, origin: tuple[float, float]) -> Numbers:
    """Return where a driving car's laps begin, one row per sample in the first metres: x, y, direction east, north."""
    is_first = (distance.metres >= 0) & (distance.metres < _FIRST_METRES)
    time_ms, metres = distance.time_ms[is_first], distance.metres[is_first]
    x, y = _metres(at.latitude_deg, at.longitude_deg, origin)
    here, behind, ahead = (
        np.stack([np.interp(time_ms + shift, at.time_ms, side) for side in (x, y)])
        for shift in (0.0, -_AROUND_MS, _AROUND_MS)
    )
    way = ahead - behind
    way_m = np.hypot(*way)
    is_driving = (way_m > _SLOWEST_M_PER_S * 2 * _AROUND_MS / 1000) & _is_covered(time_ms, at.time_ms)
    direction = way[:, is_driving] / way_m[is_driving]
    return np.vstack([here[:, is_driving] - direction * metres[is_driving], direction]).T


def _is_covered(time_ms: Numbers, sampled_ms: Numbers) -> np.ndarray:
    """Tell which times have a sample close before and after, or their very own."""
    before = np.searchsorted(sampled_ms, time_ms, side="right") - 1
    after = np.searchsorted(sampled_ms, time_ms, side="left")
    is_inside = (before >= 0) & (after < len(sampled_ms))
    last = len(sampled_ms) - 1
    return is_inside & (sampled_ms[np.minimum(after, last)] - sampled_ms[np.maximum(before, 0)] <= _CLOSE_MS)


def gps_crossings(at: Positions, line: FinishLine) -> Numbers:
    """Return when a car drove over the line, in milliseconds, ascending. Shape (passings,)."""
    # A receiver gives ten new positions a second and the car sends the last one again; only the first of it has a time.
    is_new = np.append(True, (np.diff(at.latitude_deg) != 0) | (np.diff(at.longitude_deg) != 0))[: len(at.time_ms)]
    time_ms = at.time_ms[is_new]
    along, across = line.along_and_across(at.latitude_deg[is_new], at.longitude_deg[is_new])
    step_ms, step_m = np.diff(time_ms), np.diff(along)
    is_over = (along[:-1] < 0) & (along[1:] >= 0) & (np.abs(across[1:]) < _HALF_WIDTH_M)
    is_over &= (step_ms <= _LONGEST_STEP_MS) & (step_m * 1000 > step_ms)  # faster than 1 m/s
    over = np.flatnonzero(is_over)
    times = time_ms[over] - along[over] / step_m[over] * step_ms[over]
    away = np.append(0, np.cumsum(np.hypot(along, across) > _AWAY_M))[over]
    return times[np.diff(away, prepend=-1) > 0]


def is_at_line(times: Sequence[float] | Numbers, at: Positions, line: FinishLine) -> np.ndarray:
    """Tell at which times a car is near the line, or may be: where its position is not known it may. Shape (times,)."""
    when = np.asarray(times, dtype=np.float64)
    if len(at.time_ms) < 2:  # noqa: PLR2004  -- a position between two others
        return np.ones(len(when), dtype=bool)
    place = (np.interp(when, at.time_ms, degrees) for degrees in (at.latitude_deg, at.longitude_deg))
    return (np.hypot(*line.along_and_across(*place)) < _AWAY_M) | ~_is_covered(when, at.time_ms)

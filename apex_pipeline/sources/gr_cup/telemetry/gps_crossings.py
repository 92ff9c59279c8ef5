"""Locates the finish line on the ground from GPS positions and finds when a car drove over it.

The cars themselves locate the line: it is where they are when their lap distance restarts from zero. This module does
the geometry; see ``crossings`` for reading the samples.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.lap_distance import Distance, Numbers

_METRES_PER_DEGREE = 111_320.0
# The first metres of a lap, which are straight on most tracks.
_FIRST_METRES = 30.0
# Heading is measured over this time before and after a sample; a car slower than the speed below has no heading.
_AROUND_MS = 300.0
_MIN_SPEED_M_PER_S = 5.0
# Between samples no further apart than this, the path of a car is taken as straight.
_MAX_SPACING_MS = 600.0
# Half of the lap starts must be this close to their median, or the line cannot be located. Metres.
_MAX_SCATTER_M = 30.0
# Covers the track and the pit lane next to it, on each side of the middle. Metres.
_HALF_WIDTH_M = 40.0
# Positions come every 0.1 s. Across a longer gap the path between two of them is unknown.
_MAX_STEP_MS = 2_000.0
# Between two crossings a car must have been this far away: GPS noise while it is parked on the line is not a lap.
# Metres.
_AWAY_M = 200.0


class Positions(NamedTuple):
    """Positions of one car.

    Attributes:
        time_ms: Time of each sample, ascending, without duplicates. Shape (samples,).
        latitude_deg: Latitude of each sample. Shape (samples,).
        longitude_deg: Longitude of each sample. Shape (samples,).
    """

    time_ms: Numbers
    latitude_deg: Numbers
    longitude_deg: Numbers


def pair_coordinates(latitude: tuple[Numbers, Numbers], longitude: tuple[Numbers, Numbers]) -> Positions:
    """Combine the two coordinates, which are separate readings, into positions at the times of the latitudes.

    Args:
        latitude: Times in milliseconds, ascending, without duplicates, and degrees.
        longitude: The same.

    Returns:
        Positions that have a longitude shortly before and after; most have one at exactly the same time.
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
    """The finish line on the ground.

    Attributes:
        latitude_deg: Latitude of its middle.
        longitude_deg: Longitude of its middle.
        east: East component of the driving direction; with ``north`` a unit vector.
        north: North component of the driving direction.
    """

    latitude_deg: float
    longitude_deg: float
    east: float
    north: float

    def along_and_across(self, latitude_deg: Numbers, longitude_deg: Numbers) -> tuple[Numbers, Numbers]:
        """Return how far positions are beyond the line and left of its middle, in metres."""
        x, y = _metres(latitude_deg, longitude_deg, (self.latitude_deg, self.longitude_deg))
        return x * self.east + y * self.north, y * self.east - x * self.north


def _metres(latitude_deg: Numbers, longitude_deg: Numbers, origin: tuple[float, float]) -> tuple[Numbers, Numbers]:
    """Return metres east and north of an origin, on a flat earth: accurate to a centimetre over a lap."""
    per_degree_east = _METRES_PER_DEGREE * math.cos(math.radians(origin[0]))
    return (longitude_deg - origin[1]) * per_degree_east, (latitude_deg - origin[0]) * _METRES_PER_DEGREE


def locate_line(cars: Iterable[tuple[Distance, Positions]]) -> FinishLine | None:
    """Locate the finish line from the positions of the cars in the first metres of a lap.

    Returns:
        The line; ``None`` if no car sends both distance and position, or if the lap starts are scattered.
    """
    usable = [
        (distance, positions) for distance, positions in cars if len(distance.metres) and len(positions.time_ms) > 1
    ]
    if not usable:
        return None
    origin = (float(np.median(usable[0][1].latitude_deg)), float(np.median(usable[0][1].longitude_deg)))
    points = np.concatenate([_lap_starts(distance, positions, origin) for distance, positions in usable])
    if not len(points):
        return None
    x, y, east, north = np.median(points, axis=0)
    spread = float(np.median(np.hypot(points[:, 0] - x, points[:, 1] - y)))
    length = math.hypot(east, north)
    if spread > _MAX_SCATTER_M or not length:
        return None
    per_degree_east = _METRES_PER_DEGREE * math.cos(math.radians(origin[0]))
    return FinishLine(
        latitude_deg=float(origin[0] + y / _METRES_PER_DEGREE),
        longitude_deg=float(origin[1] + x / per_degree_east),
        east=float(east / length),
        north=float(north / length),
    )


def _lap_starts(distance: Distance, positions: Positions, origin: tuple[float, float]) -> Numbers:
    """Return where a moving car's laps start, one row per sample in the first metres: x, y, direction east, north."""
    is_first = (distance.metres >= 0) & (distance.metres < _FIRST_METRES)
    time_ms, metres = distance.time_ms[is_first], distance.metres[is_first]
    x, y = _metres(positions.latitude_deg, positions.longitude_deg, origin)
    here, behind, ahead = (
        np.stack([np.interp(time_ms + shift, positions.time_ms, side) for side in (x, y)])
        for shift in (0.0, -_AROUND_MS, _AROUND_MS)
    )
    step = ahead - behind
    step_m = np.hypot(*step)
    is_driving = (step_m > _MIN_SPEED_M_PER_S * 2 * _AROUND_MS / 1000) & _is_covered(time_ms, positions.time_ms)
    direction = step[:, is_driving] / step_m[is_driving]
    return np.vstack([here[:, is_driving] - direction * metres[is_driving], direction]).T


def _is_covered(time_ms: Numbers, sampled_ms: Numbers) -> np.ndarray:
    """Return which times have a sample shortly before and after, or exactly at that time. Shape (times,)."""
    before = np.searchsorted(sampled_ms, time_ms, side="right") - 1
    after = np.searchsorted(sampled_ms, time_ms, side="left")
    is_inside = (before >= 0) & (after < len(sampled_ms))
    last = len(sampled_ms) - 1
    return is_inside & (sampled_ms[np.minimum(after, last)] - sampled_ms[np.maximum(before, 0)] <= _MAX_SPACING_MS)


def gps_crossings(positions: Positions, line: FinishLine) -> Numbers:
    """Return when a car drove over the line, in milliseconds, ascending. Shape (crossings,)."""
    # A receiver gives ten new positions a second, and the car resends the last one in between; only the first reading
    # of each has the right time.
    is_new = np.append(True, (np.diff(positions.latitude_deg) != 0) | (np.diff(positions.longitude_deg) != 0))[
        : len(positions.time_ms)
    ]
    time_ms = positions.time_ms[is_new]
    along, across = line.along_and_across(positions.latitude_deg[is_new], positions.longitude_deg[is_new])
    step_ms, step_m = np.diff(time_ms), np.diff(along)
    is_over = (along[:-1] < 0) & (along[1:] >= 0) & (np.abs(across[1:]) < _HALF_WIDTH_M)
    is_over &= (step_ms <= _MAX_STEP_MS) & (step_m * 1000 > step_ms)  # faster than 1 m/s
    over = np.flatnonzero(is_over)
    times = time_ms[over] - along[over] / step_m[over] * step_ms[over]
    away = np.append(0, np.cumsum(np.hypot(along, across) > _AWAY_M))[over]
    return times[np.diff(away, prepend=-1) > 0]


def is_at_line(times: Sequence[float] | Numbers, positions: Positions, line: FinishLine) -> np.ndarray:
    """Return at which times a car is, or with unknown position may be, near the line. Shape (times,)."""
    time_ms = np.asarray(times, dtype=np.float64)
    if len(positions.time_ms) < 2:  # noqa: PLR2004  -- a position between two others
        return np.ones(len(time_ms), dtype=bool)
    place = (
        np.interp(time_ms, positions.time_ms, degrees) for degrees in (positions.latitude_deg, positions.longitude_deg)
    )
    return (np.hypot(*line.along_and_across(*place)) < _AWAY_M) | ~_is_covered(time_ms, positions.time_ms)

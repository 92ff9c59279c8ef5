"""Simulates the lap distance and the GPS positions of a car that drives in a circle; contains no tests.

The finish line is at the circle's easternmost point and is crossed going north.
"""

import math

import numpy as np

from apex_pipeline.sources.gr_cup.telemetry.gps_crossings import Positions
from apex_pipeline.sources.gr_cup.telemetry.lap_distance import Distance, Numbers

LENGTH_M = 3_000.0
LAP_MS = 100_000.0
SAMPLE_MS = 216.0
FIX_MS = 100.0
CENTRE = (33.5, -86.6)

_METRES_PER_DEGREE = 111_320.0
_RADIUS_M = LENGTH_M / (2 * math.pi)


def times(seconds: float, step_ms: float = SAMPLE_MS, start_ms: float = 0.0) -> Numbers:
    """Return the sample times of a period, in milliseconds."""
    return np.arange(start_ms, start_ms + seconds * 1000, step_ms)


def driven_m(time_ms: Numbers, first_crossing_ms: float = 30_000.0) -> Numbers:
    """Return the distance driven since the first crossing at a constant 30 m/s, in metres; negative before it."""
    return (time_ms - first_crossing_ms) / LAP_MS * LENGTH_M


def distance_of(time_ms: Numbers, driven: Numbers) -> Distance:
    """Return the lap distance as the car sends it: integer metres since the line."""
    return Distance(time_ms, np.round(driven % LENGTH_M))


def positions_of(time_ms: Numbers, driven: Numbers) -> Positions:
    """Return the positions as the GPS receiver sends them."""
    angle = driven / _RADIUS_M
    per_degree_east = _METRES_PER_DEGREE * math.cos(math.radians(CENTRE[0]))
    return Positions(
        time_ms,
        CENTRE[0] + _RADIUS_M * np.sin(angle) / _METRES_PER_DEGREE,
        CENTRE[1] + _RADIUS_M * np.cos(angle) / per_degree_east,
    )

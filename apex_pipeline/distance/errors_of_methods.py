"""How far a time on distance may be off, by method: measured at official intermediate points, see docs/distance.md.

The figures are of single laps; a delta has the errors of two.
"""

import numpy as np

from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.positions import Method, Positions

# One standard deviation of the time of one lap at an official point, seconds: what points of laps showed that took no
# part. Half of it is the line: cars and timing agree on it within 0.03 s.
_SIGMA_S = {Method.SPEED: 0.027, Method.LAP_DISTANCE: 0.10, Method.GPS: 0.08}
# Standard deviation of the way driven in a hole, by its length squared: 2.0 m in 2 s where speed is taken as a straight
# line, 1.3 m where another lap knows the way. Measured by cutting holes of 1.4 to 3 s into whole real laps.
_HOLE_M_PER_S2 = 0.53
_BRIDGED_M_PER_S2 = 0.33
# Below this, a metre is not a time: the car stands.
_SLOWEST_MS = 5.0
# Nine of ten errors lie within this many standard deviations.
NINE_IN_TEN = 1.645


def hole_sigma_m(positions: Positions, hole_s: float) -> float:
    """Return one standard deviation of the way driven in a hole of the speed, metres."""
    return (_BRIDGED_M_PER_S2 if positions.is_bridged else _HOLE_M_PER_S2) * hole_s**2


def delta_sigma_s(of_a: Positions, of_b: Positions) -> float:
    """Return one standard deviation of a delta at an official point, without holes, seconds."""
    return float(np.hypot(_SIGMA_S[of_a.method], _SIGMA_S[of_b.method]))


def lap_variance(positions: Positions, grid: Numbers) -> Numbers:
    """Return the variance of the time of a lap at some distances, seconds squared."""
    hole_m = np.hypot.reduce([hole_sigma_m(positions, float(hole)) for hole in positions.hole_s], initial=0.0)
    times = positions.time_at(grid)
    speed = np.maximum(np.gradient(grid) / np.maximum(np.gradient(times), 1e-6), _SLOWEST_MS)
    return _SIGMA_S[positions.method] ** 2 + (hole_m / speed) ** 2


def lap_error_s(positions: Positions, grid: Numbers) -> Numbers:
    """Return how far the time of a lap may be off at some distances, nine times in ten, seconds."""
    return NINE_IN_TEN * np.sqrt(lap_variance(positions, grid))

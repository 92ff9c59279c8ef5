"""Corrects the way driven in holes of speed by the official points: there the true delta is known.

How far a car drove while nothing was received is a guess, and what it is wrong by shifts all of the lap after it.
Points before and after a hole say how much.
"""

from dataclasses import replace

import numpy as np

from apex_pipeline.distance.arrays import HOLE_S, Numbers
from apex_pipeline.distance.errors_of_methods import delta_sigma_s, hole_sigma_m
from apex_pipeline.distance.positions import Method, Positions

# A car slower than this at a point is about to stop: a metre is no time there.
_SLOWEST_MS = 5.0


def fitted(
    of_a: Positions, of_b: Positions, at_s: tuple[Numbers, Numbers], errors_s: Numbers
) -> tuple[Positions, Positions]:
    """Return two laps with their holes as long as suits the points best, weighed with how well holes are known.

    Args:
        of_a: The first lap.
        of_b: The second lap.
        at_s: When each of them was at the points, seconds.
        errors_s: Delta minus official difference there, shape (points,).
    """
    holes = [(lap, *hole) for lap, of in enumerate((of_a, of_b)) for hole in _holes(of)]
    if not holes or len(errors_s) == 0:
        return of_a, of_b
    length = float(of_b.distance_m[-1])
    share = of_b.at(at_s[1]) / length
    speed = np.maximum((of_b.at(at_s[1] + 0.2) - of_b.at(at_s[1] - 0.2)) / 0.4, _SLOWEST_MS)
    effect = np.array(
        [(1 if lap == 0 else -1) * (_ramp(at_s[lap], begin, end) - share) / speed for lap, begin, end in holes]
    ).T
    known = [hole_sigma_m((of_a, of_b)[lap], end - begin) ** 2 for lap, begin, end in holes]
    spread = effect * np.array(known)
    noise = delta_sigma_s(of_a, of_b) ** 2 * np.eye(len(errors_s))
    metres = spread.T @ np.linalg.solve(spread @ effect.T + noise, -errors_s)
    return _corrected(of_a, 0, holes, metres), _corrected(of_b, 1, holes, metres)


def _holes(positions: Positions) -> list[tuple[float, float]]:
    """Return the holes of a lap whose distance is integrated speed; other ways do not guess what is in them."""
    if positions.method != Method.SPEED:
        return []
    before = np.flatnonzero(np.diff(positions.times_s) > HOLE_S)
    return [(float(positions.times_s[at]), float(positions.times_s[at + 1])) for at in before]


def _ramp(times_s: Numbers, begin_s: float, end_s: float) -> Numbers:
    """Return 0 before a hole, 1 after it, and its share within it."""
    return np.clip((times_s - begin_s) / (end_s - begin_s), 0, 1)


def _corrected(positions: Positions, lap: int, holes: list[tuple[int, float, float]], metres: Numbers) -> Positions:
    distance, length = positions.distance_m, float(positions.distance_m[-1])
    longer = np.zeros(len(distance))
    for (of, begin, end), more in zip(holes, metres.tolist(), strict=True):
        if of == lap:
            longer += more * (_ramp(positions.times_s, begin, end) - distance / length)
    return replace(positions, distance_m=np.clip(np.maximum.accumulate(distance + longer), 0, length))

"""Picks the points of a curve that a screen can show: the lowest and highest of each stretch, with the holes kept.

First and last point stay, and so does every extreme, because each stretch gives both of its own. A hole splits the
curve before anything is picked, so no line is drawn across it. Libraries that pick from the curve as a whole put the
missing value itself among the points of a hole, or lose extremes.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.intp]

# A hole costs one point without a value, and the piece after it at least two points.
_POINTS_OF_A_HOLE = 3


@dataclass(frozen=True)
class Curve:
    """The points of a curve.

    Attributes:
        x: Where each point is.
        y: Its value; NaN between two pieces.
        holes: Holes of the curve; where there are too many for the points, only the widest are shown.
    """

    x: Floats
    y: Floats
    holes: int


def picked_points(x: Floats, y: Floats, most: int | None, hole: float) -> Curve:
    """Return at most so many points of a curve.

    Args:
        x: Where the samples are, sorted.
        y: Their values; NaN where there is none.
        most: Most points, at least two; ``None`` for all samples.
        hole: A distance between two samples beyond this is a hole.
    """
    is_value = np.isfinite(y)
    x, y = x[is_value], y[is_value]
    widths = np.diff(x)
    holes: _Ints = np.flatnonzero(widths > hole)
    total = holes.size
    if most is not None and x.size + total > most:
        shown = min(total, (most - 2) // _POINTS_OF_A_HOLE)
        widest = np.argsort(widths[holes], kind="stable")[::-1][:shown]
        holes = np.sort(holes[widest])
        pieces = _picked_pieces(y, holes, most - holes.size)
    else:
        bounds = [0, *(holes + 1), x.size]
        pieces = [np.arange(start, end) for start, end in pairwise(bounds)]
    return _joined(x, y, pieces, total)


def _picked_pieces(y: Floats, holes: _Ints, most: int) -> list[_Ints]:
    """Return the picked indices of each piece; a piece gets points by its share of the samples, at least two."""
    bounds = np.array([0, *(holes + 1), y.size])
    sizes = np.diff(bounds)
    least = np.minimum(sizes, 2)
    spare = most - int(least.sum())
    shares = least + (spare * (sizes - least) // max(1, int((sizes - least).sum())))
    return [
        start + _picked(y[start:end], int(share))
        for start, end, share in zip(bounds[:-1], bounds[1:], shares, strict=True)
    ]


def _picked(y: Floats, most: int) -> _Ints:
    """Return the indices of at most so many values of a piece without holes: ends, lowest and highest of stretches."""
    if y.size <= most:
        return np.arange(y.size)
    stretches = (most - 2) // 2
    ends = np.array([0, y.size - 1])
    if stretches == 0:
        return ends
    starts = (np.arange(stretches + 1) * (y.size - 2) // stretches) + 1
    # One row per stretch; a shorter one repeats its last value, which changes neither its lowest nor its highest.
    width = int(np.diff(starts).max())
    indices = np.minimum(starts[:-1, np.newaxis] + np.arange(width), starts[1:, np.newaxis] - 1)
    values, rows = y[indices], np.arange(stretches)
    return np.unique(np.concatenate([ends, indices[rows, values.argmin(1)], indices[rows, values.argmax(1)]]))


def _joined(x: Floats, y: Floats, pieces: list[_Ints], holes: int) -> Curve:
    """Return the pieces one after the other, with a point without a value in the middle of each hole."""
    places: list[Floats] = []
    values: list[Floats] = []
    for piece in pieces:
        if places and piece.size:
            places.append(np.array([(places[-1][-1] + x[piece[0]]) / 2]))
            values.append(np.array([np.nan]))
        places.append(x[piece])
        values.append(y[piece])
    return Curve(np.concatenate(places), np.concatenate(values), holes)

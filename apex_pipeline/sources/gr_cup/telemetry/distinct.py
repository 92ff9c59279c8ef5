"""Different values of an array and where each element lies among them.

``numpy.unique`` does the same, but with a sort that gains nothing from order; times in a telemetry file run in long
rising or falling stretches, in which a stable sort is five times as quick (1.9 against 9 ms for 130,000).
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]
_Number = TypeVar("_Number", np.int64, np.float64)


def unique(values: npt.NDArray[_Number]) -> tuple[npt.NDArray[_Number], Whole]:
    """Return the different values, ascending, and the place of each element among them. Shapes (different,), (n,)."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    is_new = np.ones(len(values), dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=is_new[1:])
    place = np.empty(len(values), np.int64)
    place[order] = np.cumsum(is_new) - 1
    return ascending[is_new], place


__all__ = ["unique"]

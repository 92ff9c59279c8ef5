"""Sets measurements to null that no car and no sensor of one reaches, and counts them.

The bounds are those of the columns in ``tables/telemetry.py``; unknown channels have none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.tables import TELEMETRY

_BOUNDS = {
    column.name: (column.minimum, column.maximum)
    for column in TELEMETRY.columns
    if column.kind == "float" and column.minimum is not None and column.maximum is not None
}


@dataclass(frozen=True)
class OutOfRange:
    """Readings of a channel beyond its bounds: their number and the first of them."""

    count: int
    first: float


def blank_outside(
    columns: Sequence[str], values: npt.NDArray[np.float64], is_filled: npt.NDArray[np.uint8]
) -> dict[str, OutOfRange]:
    """Clear the cells whose value is beyond the bounds of its column; return how many by column.

    Args:
        columns: Names of the columns.
        values: Their values; those of cells that are not filled are undefined. Shape (columns, rows).
        is_filled: Whether each cell is filled, changed in place. Shape (columns, rows).
    """
    found: dict[str, OutOfRange] = {}
    for index, name in enumerate(columns):
        if name not in _BOUNDS:
            continue
        low, high = _BOUNDS[name]
        outside = ((values[index] < low) | (values[index] > high)) & (is_filled[index] != 0)
        if outside.any():
            at = np.flatnonzero(outside)
            is_filled[index][at] = 0
            found[name] = OutOfRange(len(at), float(values[index][at[0]]))
    return found


def add_outside(total: dict[str, OutOfRange], part: Mapping[str, OutOfRange]) -> None:
    """Add the counts of another part."""
    for name, found in part.items():
        before = total.get(name)
        total[name] = OutOfRange(before.count + found.count, before.first) if before else found


def outside_rejects(found: Mapping[str, OutOfRange], files: Iterable[str]) -> list[Reject]:
    """Return one reject per channel with readings beyond its bounds."""
    paths = ", ".join(files)
    return [
        Reject(
            paths,
            None,
            FileKind.TELEMETRY,
            "out_of_range",
            f"{name}: {item.count:,} readings, the first {item.first:g}, are not within "
            f"{_BOUNDS[name][0]:,} to {_BOUNDS[name][1]:,} and are null",
        )
        for name, item in sorted(found.items())
    ]

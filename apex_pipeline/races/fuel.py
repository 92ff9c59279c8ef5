"""Tells how much fuel a lap took, and for how many more laps the rest is enough."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

# The level is sent as a share in single precision: a rise of less than a cup is rounding, not a pit stop.
_REFUELLED_L = 0.25


@dataclass(frozen=True)
class LapFuel:
    """Fuel of one lap.

    Attributes:
        start_l: Litres at the beginning of the lap.
        end_l: Litres at its end.
        used_l: Litres burnt in it.
        added_l: Litres taken in it.
        laps_left: Laps that the rest is enough for at this rate; null if none was burnt.
    """

    start_l: float | None
    end_l: float | None
    used_l: float | None
    added_l: float | None
    laps_left: float | None


def lap_fuel(samples: pa.Table) -> LapFuel:
    """Return the fuel of the lap with these samples; everything is null if the level is unknown."""
    level = samples.column("fuel_l").cast(pa.float64()).to_numpy(zero_copy_only=False)
    level = level[np.isfinite(level)]
    if len(level) < 2:  # noqa: PLR2004  -- a difference takes two
        return LapFuel(None, None, None, None, None)
    steps = np.diff(level)
    added = float(steps[steps > _REFUELLED_L].sum())
    start, end = float(level[0]), float(level[-1])
    used = max(0.0, start + added - end)
    return LapFuel(start, end, used, added, end / used if used > 0 else None)

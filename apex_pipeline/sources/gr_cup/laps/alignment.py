"""Which crossing of a car ends which of its official laps.

Both are lists in time, so pairs never cross: found as the best of all pairings (dynamic programming), which forgives
missing crossings, extra ones and late stamps on either side. Here belongs pairing; what it means is
``official_merge.py``.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialLap
from apex_pipeline.sources.gr_cup.laps.official_clock import OfficialClock

Worth = npt.NDArray[np.float64]

# A stamp can be a minute late (found: up to 50 s), and is never early by more than the official clock jumps (found:
# 9 s); but never so much that the next lap's crossing could be meant.
_EARLIEST_MS = -15_000.0
_LATEST_MS = 60_000.0
_WITHIN_A_LAP = 0.4
# A pair on time counts 1, one that is a second off half of that; any pair is better than none.
_HALF_WORTH_MS = 1_000.0
_ANY_PAIR = 0.05


def match_crossings(
    own: Sequence[Crossing], official: Sequence[OfficialLap], clock: OfficialClock
) -> list[Crossing | None]:
    """Return for every official lap the car's crossing that ends it, ``None`` if there is none.

    Args:
        own: Crossings of the car in time.
        official: Its official laps in order.
        clock: The official clock.
    """
    if not own or not official:
        return [None] * len(official)
    late_ms = _late_ms(own, official, clock)
    shortest_ms = min(lap.time_s for lap in official) * 1000 * _WITHIN_A_LAP
    possible = (late_ms >= max(_EARLIEST_MS, -shortest_ms)) & (late_ms <= min(_LATEST_MS, shortest_ms))
    worth = np.where(possible, 1 / (1 + (late_ms / _HALF_WORTH_MS) ** 2) + _ANY_PAIR, -np.inf)
    best = np.zeros((len(own) + 1, len(official) + 1))
    for row in range(1, len(own) + 1):
        for column in range(1, len(official) + 1):
            paired = best[row - 1, column - 1] + worth[row - 1, column - 1]
            best[row, column] = max(best[row - 1, column], best[row, column - 1], paired)
    return _fill_in_order(_walk_back(best, len(own), len(official)), own)


def _late_ms(own: Sequence[Crossing], official: Sequence[OfficialLap], clock: OfficialClock) -> Worth:
    local_ms = np.array([np.nan if lap.local_ms is None else lap.local_ms for lap in official], dtype=np.float64)
    stamps_ms = np.array([crossing.utc_ms for crossing in own], dtype=np.float64)
    # A lap without a time of day compares as not a number: it is never possible.
    return stamps_ms[:, None] - clock.utc_ms(local_ms)[None, :]


def _walk_back(best: Worth, crossings: int, laps: int) -> list[int | None]:
    """Return the pairs of the best pairing from its last cell: for every lap the place of its crossing."""
    pairs: list[int | None] = [None] * laps
    row, column = crossings, laps
    while row and column:
        if best[row, column] == best[row - 1, column]:
            row -= 1
        elif best[row, column] == best[row, column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            pairs[column] = row
    return pairs


def _fill_in_order(pairs: Sequence[int | None], own: Sequence[Crossing]) -> list[Crossing | None]:
    """Return the crossings of the pairs; between two pairs, as many crossings as laps belong together however late.

    A car that stands in its pit between the two lines of timing crosses the second one minutes late.
    """
    filled = list(pairs)
    known = [place for place, pair in enumerate(pairs) if pair is not None]
    for before, after in pairwise(known):
        first, last = pairs[before], pairs[after]
        if first is not None and last is not None and after - before == last - first:
            filled[before:after] = range(first, last)
    return [None if pair is None else own[pair] for pair in filled]

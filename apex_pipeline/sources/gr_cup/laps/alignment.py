"""Pairs the crossings of a car with its official laps.

Both are in chronological order, so pairs never cross. Dynamic programming finds the best of all pairings, which
tolerates missing crossings, extra crossings and late timestamps on either side. See ``official_merge.py`` for building
laps from the pairs.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialLap
from apex_pipeline.sources.gr_cup.laps.official_clock import OfficialClock

Scores = npt.NDArray[np.float64]

# A timestamp can be a minute late (up to 50 s in real files), and early only by as much as the official clock jumps
# (up to 9 s). Neither may exceed this share of the shortest lap, or the crossing could belong to the next lap.
_EARLIEST_MS = -15_000.0
_LATEST_MS = 60_000.0
_MAX_LAP_SHARE = 0.4
# An exact pair scores 1, a pair one second apart scores half of that; any pair is better than none.
_HALF_SCORE_MS = 1_000.0
_MIN_PAIR_SCORE = 0.05


def match_crossings(
    own: Sequence[Crossing], official: Sequence[OfficialLap], clock: OfficialClock
) -> list[Crossing | None]:
    """Return the crossing that ends each official lap, ``None`` for a lap without one.

    Args:
        own: Crossings of the car in chronological order.
        official: Its official laps in order.
        clock: The official clock.
    """
    if not own or not official:
        return [None] * len(official)
    late_ms = _late_ms(own, official, clock)
    shortest_ms = min(lap.time_s for lap in official) * 1000 * _MAX_LAP_SHARE
    possible = (late_ms >= max(_EARLIEST_MS, -shortest_ms)) & (late_ms <= min(_LATEST_MS, shortest_ms))
    score = np.where(possible, 1 / (1 + (late_ms / _HALF_SCORE_MS) ** 2) + _MIN_PAIR_SCORE, -np.inf)
    best = np.zeros((len(own) + 1, len(official) + 1))
    for row in range(1, len(own) + 1):
        for column in range(1, len(official) + 1):
            paired = best[row - 1, column - 1] + score[row - 1, column - 1]
            best[row, column] = max(best[row - 1, column], best[row, column - 1], paired)
    return _fill_in_order(_trace_back(best, len(own), len(official)), own)


def _late_ms(own: Sequence[Crossing], official: Sequence[OfficialLap], clock: OfficialClock) -> Scores:
    local_ms = np.array([np.nan if lap.local_ms is None else lap.local_ms for lap in official], dtype=np.float64)
    stamps_ms = np.array([crossing.utc_ms for crossing in own], dtype=np.float64)
    # A lap without a time of day gives NaN here, so it is never paired.
    return stamps_ms[:, None] - clock.utc_ms(local_ms)[None, :]


def _trace_back(best: Scores, crossings: int, laps: int) -> list[int | None]:
    """Trace the best pairing back from the last cell; return the index of each lap's crossing."""
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
    """Return the crossing of each lap, filling gaps between two pairs in order where possible.

    A gap with as many crossings as laps is filled, however late the crossings are: a car that stops in its pit between
    the two timing lines reaches the second one minutes later.
    """
    filled = list(pairs)
    known = [index for index, pair in enumerate(pairs) if pair is not None]
    for before, after in pairwise(known):
        first, last = pairs[before], pairs[after]
        if first is not None and last is not None and after - before == last - first:
            filled[before:after] = range(first, last)
    return [None if pair is None else own[pair] for pair in filled]

"""Crossings of one label that lie on several days, taken apart.

A file can mix the days of a weekend, or hold one stamp of another year. Between two crossings hours apart lies no lap.
Here belongs the splitting by time, for one car and for the session.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from apex_pipeline.sources.gr_cup.crossings import Crossing

# The longest gap between two crossings of one race in real files is 49 minutes (a car parked from formation to finish);
# the shortest between two days' sessions is 16 hours.
_APART_MS = 4 * 3_600_000


def split_outings(crossings: Sequence[Crossing]) -> list[list[Crossing]]:
    """Return a car's crossings in stretches without a gap of four hours or more."""
    stretches: list[list[Crossing]] = [[crossing] for crossing in crossings[:1]]
    for before, after in pairwise(crossings):
        if after.utc_ms - before.utc_ms >= _APART_MS:
            stretches.append([after])
        else:
            stretches[-1].append(after)
    return stretches


def main_stretch_ms(crossings: Mapping[str, Sequence[Crossing]]) -> tuple[int, int]:
    """Return begin and end of the stretch of time that holds most of the session's crossings.

    Args:
        crossings: By car, in time; at least one.
    """
    together = sorted((crossing for of_car in crossings.values() for crossing in of_car), key=lambda item: item.utc_ms)
    most = max(split_outings(together), key=len)
    return most[0].utc_ms, most[-1].utc_ms


__all__ = ["main_stretch_ms", "split_outings"]

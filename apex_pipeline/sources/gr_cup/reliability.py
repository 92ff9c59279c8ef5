"""Compares the confidence stated for blind laps with the share that is right; see ``accuracy.py`` for matching laps."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from apex_pipeline.sources.gr_cup.accuracy import comparable_pairs

# A lap time is right if it is within this of the official one, seconds.
_RIGHT_S = 0.5


@dataclass(frozen=True)
class Bin:
    """Laps for which the same confidence was stated.

    Attributes:
        confidence: The confidence stated.
        laps: Laps compared with official timing.
        right: Of these, laps within half a second of the official time.
    """

    confidence: float
    laps: int
    right: int

    @property
    def share(self) -> float:
        """Share of the laps that are right."""
        return self.right / self.laps


def reliability(tables: Iterable[tuple[pa.Table, pa.Table]]) -> list[Bin]:
    """Return the bins of several sessions, the lowest confidence first.

    Args:
        tables: For each session ``laps`` derived without official timing, and ``laps`` derived with it.
    """
    laps: defaultdict[float, list[bool]] = defaultdict(list)
    for blind, derived in tables:
        for lap, official in comparable_pairs(blind, derived):
            error_s = round(abs(lap["lap_time_s"] - official["official_lap_time_s"]), 3)
            laps[round(lap["confidence"], 2)].append(error_s <= _RIGHT_S)
    return [Bin(confidence, len(right), sum(right)) for confidence, right in sorted(laps.items())]

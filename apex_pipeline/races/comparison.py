"""Compares two laps metre by metre: where the second one loses time to the first, and where it gains some."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from apex_pipeline.races.errors import RaceNotReadyError

DEFAULT_POINTS: Final = 1_000
# Parts of the lap among which the largest gains and losses are looked for: about a corner each.
_SEGMENTS: Final = 25
_SHOWN: Final = 5
_CHANNELS: Final = ("speed_mps", "throttle", "brake", "steering", "gear", "pos_x_m", "pos_z_m")
# Two laps of one track end at the same place, but for the way between two samples: 4 % of a short track at 1 Hz.
_SAME_TRACK: Final = 0.9
# Samples without which no time can be told between two places.
_FEWEST: Final = 10

_Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Segment:
    """A part of the lap.

    Attributes:
        start_m: Where it begins.
        end_m: Where it ends.
        delta_s: Time that the second lap loses in it; negative where it gains.
    """

    start_m: float
    end_m: float
    delta_s: float


@dataclass(frozen=True)
class Comparison:
    """Two laps on one grid of distances.

    Attributes:
        distance_m: The grid, from line to line.
        delta_s: Time that the second lap is behind the first at each place.
        gains: Where the second lap gains most, the largest gain first.
        losses: Where it loses most, the largest loss first.
        channels: For each channel, its values in the first and in the second lap; null where unknown.
    """

    distance_m: list[float]
    delta_s: list[float]
    gains: list[Segment]
    losses: list[Segment]
    channels: dict[str, tuple[list[float | None], list[float | None]]]


def compare_laps(
    first: pa.Table, second: pa.Table, lap_times_s: tuple[float, float], points: int = DEFAULT_POINTS
) -> Comparison:
    """Compare two laps that were driven from line to line.

    Args:
        first: Samples of the first lap.
        second: Samples of the second lap.
        lap_times_s: Their lap times, which the clocks reach at the line.
        points: Places of the grid.

    Raises:
        RaceNotReadyError: A lap has too few samples, or they are laps of two tracks.
    """
    clocks = [_clock(samples) for samples in (first, second)]
    _require_one_track(*(float(distance[-1]) for distance, _ in clocks))
    # The place of the last sample before the line differs by up to an interval; the longer lap was closer to it.
    length = float(max(distance[-1] for distance, _ in clocks))
    grid = np.linspace(0.0, length, points)
    times = [_times_at(grid, clock, total, length) for clock, total in zip(clocks, lap_times_s, strict=True)]
    delta = times[1] - times[0]
    segments = _segments(grid, delta)
    by_delta = sorted(segments, key=lambda segment: segment.delta_s)
    return Comparison(
        distance_m=grid.tolist(),
        delta_s=delta.tolist(),
        gains=[segment for segment in by_delta[:_SHOWN] if segment.delta_s < 0],
        losses=[segment for segment in by_delta[::-1][:_SHOWN] if segment.delta_s > 0],
        channels={name: (_values_at(grid, first, name), _values_at(grid, second, name)) for name in _CHANNELS},
    )


def _require_one_track(first_m: float, second_m: float) -> None:
    if min(first_m, second_m) < _SAME_TRACK * max(first_m, second_m):
        raise RaceNotReadyError(
            f"The laps end after {first_m:,.0f} m and {second_m:,.0f} m, so they are not of one track.",
            "Compare laps of one session.",
        )


def _clock(samples: pa.Table) -> tuple[_Floats, _Floats]:
    """Return distance and lap clock where both are known and the car moves on."""
    distance, clock = _column(samples, "lap_distance_m"), _column(samples, "current_time_s")
    known = np.isfinite(distance) & np.isfinite(clock)
    distance, clock = distance[known], clock[known]
    ahead = distance > np.maximum.accumulate(np.concatenate([[-1.0], distance[:-1]])) if len(distance) else known
    if ahead.sum() < _FEWEST:
        raise RaceNotReadyError(
            f"A lap has {int(ahead.sum())} samples with a distance; a comparison needs {_FEWEST}.",
            "Compare laps that were recorded as a whole.",
        )
    return distance[ahead], clock[ahead]


def _times_at(grid: _Floats, clock: tuple[_Floats, _Floats], lap_time_s: float, length: float) -> _Floats:
    distance, time = clock
    inside = (distance > 0) & (distance < length) & (time > 0) & (time < lap_time_s)
    places = np.concatenate([[0.0], distance[inside], [length]])
    return np.interp(grid, places, np.concatenate([[0.0], time[inside], [lap_time_s]]))


def _segments(grid: _Floats, delta: _Floats) -> list[Segment]:
    edges = np.unique(np.linspace(0, len(grid) - 1, _SEGMENTS + 1).round().astype(int)).tolist()
    return [
        Segment(float(grid[start]), float(grid[end]), float(delta[end] - delta[start]))
        for start, end in pairwise(edges)
    ]


def _values_at(grid: _Floats, samples: pa.Table, name: str) -> list[float | None]:
    distance, values = _column(samples, "lap_distance_m"), _column(samples, name)
    known = np.isfinite(distance) & np.isfinite(values)
    if not known.any():
        return [None] * len(grid)
    order = np.argsort(distance[known], kind="stable")
    places, known_values = distance[known][order], values[known][order]
    if name == "gear":  # there is nothing between two gears
        nearest = np.clip(np.searchsorted(places, grid), 0, len(places) - 1)
        return _plain(known_values[nearest])
    return _plain(np.interp(grid, places, known_values))


def _plain(values: _Floats) -> list[float | None]:
    return values.tolist()


def _column(samples: pa.Table, name: str) -> _Floats:
    return samples.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)

"""The delta between two laps of a track: how far one is behind the other at each place.

Both laps are put on the same distances. Which way the distance is found is decided by the official intermediate points
that both laps have: there the true delta is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.errors_of_methods import NINE_IN_TEN, lap_variance
from apex_pipeline.distance.hole_fit import fitted
from apex_pipeline.distance.lap import NO_METHOD, DistanceLap, distance_grid, lap_on_distance, on_grid
from apex_pipeline.distance.positions import Line, Method, Positions, positions_of
from apex_pipeline.distance.samples import LapSamples
from apex_pipeline.errors import ConfigurationError

# Layouts of one track differ by more; what is left is how a length was measured.
_SAME_LENGTH = 0.01
# Simulators build their tracks from plans and scans; a layout that is another differs by more.
_SAME_SIMULATED_LENGTH = 0.05
# With fewer points, one that is off decides.
_FEWEST_POINTS = 3
# Integrated speed stays while its errors at the points are no more than usual, root mean square: what is better by
# chance at five points is worse between them.
_AS_USUAL_S = 0.06

# A way of finding the distance for each of two laps, and the errors of its delta at the official points, seconds.
_Way = tuple[Positions, Positions, Numbers]


@dataclass(frozen=True)
class Delta:
    """How far lap ``b`` is behind lap ``a`` along the track; every array has shape (n,).

    Attributes:
        distance_m: 0, ``step_m`` … and the length of the track.
        delta_s: Time of ``b`` minus time of ``a``: positive where ``b`` is behind. NaN in holes of either lap. The last
            one is the difference of the lap times.
        error_s: How far ``delta_s`` may be off, nine times in ten.
        a: The first lap on these distances.
        b: The second lap on these distances.
        holes: Stretches without delta, as (from, to) in metres.
        method: How the distance was found; both if the laps differ, ``none`` if there is no delta.
        residual_s: Root mean square of delta minus official difference at the official points; NaN without points.
        notes: What to know, in sentences.
    """

    distance_m: Numbers
    delta_s: Numbers
    error_s: Numbers
    a: DistanceLap
    b: DistanceLap
    holes: tuple[tuple[float, float], ...]
    method: str
    residual_s: float
    notes: tuple[str, ...]


def compare_laps(
    a: LapSamples, b: LapSamples, step_m: float = 2.0, line: Line = None, channels: Sequence[str] | None = None
) -> Delta:
    """Return how far lap ``b`` is behind lap ``a`` at equal steps of distance.

    Args:
        a: The lap to compare with.
        b: The lap that is compared.
        step_m: Distance between two points.
        line: The line of the track, if it is known; without it GPS is not used.
        channels: The channels to put on the grid; by default all of each lap.

    Raises:
        ConfigurationError: The laps are of different length, so of different layouts, or the step is not between 0.1
            and 1,000 m.
    """
    _require_same_length(a, b)
    b = replace(b, track_length_m=a.track_length_m) if b.track_length_m != a.track_length_m else b
    grid = distance_grid(a.track_length_m, step_m)
    choice = _choose(a, b, line)
    if choice is None:
        return _no_delta(a, b, step_m, line, channels)
    of_a, of_b, errors = choice
    lap_a, lap_b = on_grid(a, of_a, grid, channels), on_grid(b, of_b, grid, channels)
    delta = lap_b.time_s - lap_a.time_s
    method = str(of_a.method) if of_a.method == of_b.method else f"{of_a.method} / {of_b.method}"
    has_delta = a.has_clock and b.has_clock
    return Delta(
        grid,
        delta,
        np.where(np.isnan(delta), np.nan, _error_s(of_a, of_b, grid, errors)),
        lap_a,
        lap_b,
        _merged((*lap_a.holes, *lap_b.holes)),
        method if has_delta else NO_METHOD,
        float(np.sqrt(np.mean(errors**2))) if len(errors) else np.nan,
        _notes(lap_a, lap_b),
    )


def _require_same_length(a: LapSamples, b: LapSamples) -> None:
    limit = _SAME_SIMULATED_LENGTH if a.is_simulated or b.is_simulated else _SAME_LENGTH
    if abs(b.track_length_m / a.track_length_m - 1) > limit:
        raise ConfigurationError(
            f"{a.label} is of a track of {a.track_length_m:,.0f} m, {b.label} of one of {b.track_length_m:,.0f} m: "
            "they are not the same layout.",
            "Compare laps of one layout, or correct its length in the file that APEX_TRACK_LENGTHS_FILE names.",
        )


def _choose(a: LapSamples, b: LapSamples, line: Line) -> _Way | None:
    """Return the two ways of finding the distance whose delta is nearest to the official one, and its errors there.

    The other ways are looked at only where integrated speed is missing or its errors are unusual.
    """
    at_s = _point_times(a, b)
    usual = _fitted_ways(a, b, line, (Method.SPEED,), at_s)
    if usual:
        errors = usual[0][2]
        if len(errors) < _FEWEST_POINTS or np.mean(errors**2) <= _AS_USUAL_S**2:
            return usual[0]
    ways = _fitted_ways(a, b, line, tuple(Method), at_s)
    if not ways or len(at_s[0]) < _FEWEST_POINTS:
        return ways[0] if ways else None
    return ways[int(np.argmin([np.mean(errors**2) for _, _, errors in ways]))]


def _fitted_ways(
    a: LapSamples, b: LapSamples, line: Line, methods: tuple[Method, ...], at_s: tuple[Numbers, Numbers]
) -> list[_Way]:
    """Return each combination of ways, with holes fitted to the points, and its errors there."""
    of_a, of_b = positions_of(a, line, b, methods)[0], positions_of(b, line, a, methods)[0]
    pairs = list(product(of_a.values(), of_b.values()))
    fits = [fitted(*pair, at_s, _point_errors(b, *pair, at_s)) for pair in pairs]
    return [(*fit, _point_errors(b, *fit, at_s)) for fit in fits]


def _point_times(a: LapSamples, b: LapSamples) -> tuple[Numbers, Numbers]:
    """Return when each lap was at the official points that both have, seconds of its own clock, each (points,)."""
    points_a, points_b = a.usable_points(), b.usable_points()
    names = [name for name in points_a if name in points_b] if a.has_clock and b.has_clock else []
    at_a = np.array([points_a[name] for name in names], dtype=np.float64)
    at_b = np.array([points_b[name] for name in names], dtype=np.float64)
    return at_a * (a.duration_s / a.line_time_s), at_b * (b.duration_s / b.line_time_s)


def _point_errors(b: LapSamples, of_a: Positions, of_b: Positions, at_s: tuple[Numbers, Numbers]) -> Numbers:
    """Return delta minus official difference at the points, seconds, shape (points,)."""
    return (of_b.time_at(of_a.at(at_s[0])) - at_s[1]) * (b.line_time_s / b.duration_s)


def _error_s(of_a: Positions, of_b: Positions, grid: Numbers, errors: Numbers) -> Numbers:
    """Return how far the delta may be off: what the methods usually show, weighed with what these laps show."""
    usual = lap_variance(of_a, grid) + lap_variance(of_b, grid)
    if len(errors) == 0:
        return NINE_IN_TEN * np.sqrt(usual)
    # The usual size counts as much as five points: one lap's points are too few to believe alone.
    shown = (5 * float(np.median(usual)) + float(np.sum(errors**2))) / (5 + len(errors))
    return NINE_IN_TEN * np.sqrt(np.maximum(usual * (shown / float(np.median(usual))), 0))


def _no_delta(a: LapSamples, b: LapSamples, step_m: float, line: Line, channels: Sequence[str] | None) -> Delta:
    lap_a, lap_b = (lap_on_distance(lap, step_m, line=line, channels=channels) for lap in (a, b))
    nothing = np.full(len(lap_a.distance_m), np.nan)
    whole = ((0.0, float(lap_a.distance_m[-1])),)
    notes = _notes(lap_a, lap_b)
    return Delta(lap_a.distance_m, nothing, nothing, lap_a, lap_b, whole, NO_METHOD, np.nan, notes)


def _merged(holes: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return stretches in order, those that touch as one."""
    found: list[tuple[float, float]] = []
    for begin, end in sorted(holes):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return tuple(found)


def _notes(lap_a: DistanceLap, lap_b: DistanceLap) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*lap_a.notes, *lap_b.notes)))

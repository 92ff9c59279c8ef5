"""The delta between two laps of a track: how far one is behind the other at each place.

Both laps are put on the same distances. Which way the distance is found is decided by the official intermediate points
that both laps have: there the true delta is known.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.errors_of_methods import NINE_IN_TEN, lap_variance
from apex_pipeline.distance.lap import NO_METHOD, DistanceLap, distance_grid, lap_on_distance, on_grid, stretches
from apex_pipeline.distance.positions import Method, Positions, positions_of
from apex_pipeline.distance.samples import LapSamples
from apex_pipeline.distance.track_line import TrackLine
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


def compare_laps(a: LapSamples, b: LapSamples, step_m: float = 2.0, line: TrackLine | None = None) -> Delta:
    """Return how far lap ``b`` is behind lap ``a`` at equal steps of distance.

    Args:
        a: The lap to compare with.
        b: The lap that is compared.
        step_m: Distance between two points.
        line: The line of the track, if it is known; without it GPS is not used.

    Raises:
        ConfigurationError: The laps are of different length, so of different layouts, or the step is not between 0.1
            and 1,000 m.
    """
    _require_same_length(a, b)
    b = replace(b, track_length_m=a.track_length_m) if b.track_length_m != a.track_length_m else b
    grid = distance_grid(a.track_length_m, step_m)
    choice = _choose(a, b, line)
    if choice is None:
        return _no_delta(a, b, step_m, line)
    of_a, of_b, errors = choice
    lap_a, lap_b = on_grid(a, of_a, grid), on_grid(b, of_b, grid)
    delta = lap_b.time_s - lap_a.time_s
    method = of_a.method if of_a.method == of_b.method else f"{of_a.method} / {of_b.method}"
    has_delta = a.has_clock and b.has_clock
    return Delta(
        grid,
        delta,
        np.where(np.isnan(delta), np.nan, _error_s(of_a, of_b, grid, errors)),
        lap_a,
        lap_b,
        stretches(grid, np.isnan(delta)),
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


def _choose(a: LapSamples, b: LapSamples, line: TrackLine | None) -> tuple[Positions, Positions, Numbers] | None:
    """Return the two ways of finding the distance whose delta is nearest to the official one, and its errors there.

    The other ways are looked at only where integrated speed is missing or its errors are unusual.
    """
    by_speed = _ways(a, b, line, (Method.SPEED,))
    if by_speed:
        errors = delta_errors(a, b, *by_speed[0])
        if len(errors) < _FEWEST_POINTS or np.mean(errors**2) <= _AS_USUAL_S**2:
            return *by_speed[0], errors
    ways = _ways(a, b, line, tuple(Method))
    if not ways:
        return None
    all_errors = [delta_errors(a, b, *way) for way in ways]
    if len(all_errors[0]) < _FEWEST_POINTS:
        return *ways[0], all_errors[0]
    best = int(np.argmin([np.mean(errors**2) for errors in all_errors]))
    return *ways[best], all_errors[best]


def _ways(
    a: LapSamples, b: LapSamples, line: TrackLine | None, methods: tuple[Method, ...]
) -> list[tuple[Positions, Positions]]:
    of_a, of_b = positions_of(a, line, b, methods)[0], positions_of(b, line, a, methods)[0]
    return list(product(of_a.values(), of_b.values()))


def delta_errors(a: LapSamples, b: LapSamples, of_a: Positions, of_b: Positions) -> Numbers:
    """Return delta minus official difference at the official points that both laps have, seconds, shape (points,)."""
    points_a, points_b = a.usable_points(), b.usable_points()
    names = [name for name in points_a if name in points_b]
    if not names or not (a.has_clock and b.has_clock):
        return np.empty(0)
    at_a = np.array([points_a[name] for name in names])
    at_b = np.array([points_b[name] for name in names])
    place = of_a.at(at_a * (a.duration_s / a.line_time_s))
    return of_b.time_at(place) * (b.line_time_s / b.duration_s) - at_b


def _error_s(of_a: Positions, of_b: Positions, grid: Numbers, errors: Numbers) -> Numbers:
    """Return how far the delta may be off: what the methods usually show, weighed with what these laps show."""
    usual = lap_variance(of_a, grid) + lap_variance(of_b, grid)
    if len(errors) == 0:
        return NINE_IN_TEN * np.sqrt(usual)
    # The usual size counts as much as five points: one lap's points are too few to believe alone.
    shown = (5 * float(np.median(usual)) + float(np.sum(errors**2))) / (5 + len(errors))
    return NINE_IN_TEN * np.sqrt(np.maximum(usual * (shown / float(np.median(usual))), 0))


def _no_delta(a: LapSamples, b: LapSamples, step_m: float, line: TrackLine | None) -> Delta:
    lap_a, lap_b = lap_on_distance(a, step_m, line=line), lap_on_distance(b, step_m, line=line)
    nothing = np.full(len(lap_a.distance_m), np.nan)
    whole = ((0.0, float(lap_a.distance_m[-1])),)
    notes = _notes(lap_a, lap_b)
    return Delta(lap_a.distance_m, nothing, nothing, lap_a, lap_b, whole, NO_METHOD, np.nan, notes)


def _notes(lap_a: DistanceLap, lap_b: DistanceLap) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*lap_a.notes, *lap_b.notes)))

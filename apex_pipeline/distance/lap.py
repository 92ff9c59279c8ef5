"""A lap on the track's distance: the time and every channel at equal steps from line to line.

Each channel is interpolated by itself, from its own readings; what is in a hole is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apex_pipeline.distance.arrays import Flags, Numbers, changes, in_hole, mean_at_equal_times
from apex_pipeline.distance.errors_of_methods import lap_error_s
from apex_pipeline.distance.positions import Line, Method, Positions, positions_of
from apex_pipeline.distance.samples import LAP_DISTANCE, LATITUDE, LONGITUDE, MAX_RESIDUAL_S, LapSamples
from apex_pipeline.errors import ConfigurationError

NO_METHOD = "none"
# A finer grid than a tenth of a metre is finer than any reading; 20 km at that step are 200,000 points.
_FINEST_M = 0.1
_COARSEST_M = 1_000.0


@dataclass(frozen=True)
class DistanceLap:
    """A lap at equal steps of distance; every array has shape (n,).

    Attributes:
        distance_m: 0, ``step_m`` … and the length of the track: the last point lies on the line itself.
        time_s: Time since the line, scaled to the lap time; NaN in holes, and everywhere without a running clock.
        channels: Each channel at these points; NaN in its holes.
        error_s: How far ``time_s`` may be off, nine times in ten; NaN where the time is.
        method: How the distance was found; ``none`` if it cannot be.
        holes: Stretches without position, as (from, to) in metres.
        notes: What to know, in sentences.
    """

    distance_m: Numbers
    time_s: Numbers
    channels: dict[str, Numbers]
    error_s: Numbers
    method: str
    holes: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]


def distance_grid(length_m: float, step_m: float) -> Numbers:
    """Return 0, ``step_m``, 2 ``step_m`` … and ``length_m`` itself.

    Raises:
        ConfigurationError: The step is not between 0.1 and 1,000 m.
    """
    if not _FINEST_M <= step_m <= _COARSEST_M:
        raise ConfigurationError(
            f"step_m {step_m} is not between {_FINEST_M} and {_COARSEST_M:,.0f}.", "2 m suits most plots."
        )
    inner = np.arange(0.0, length_m, step_m)
    # A last step of less than a millimetre is rounding.
    return np.append(inner[inner < length_m - 1e-3] if len(inner) > 1 else inner, length_m)


def lap_on_distance(
    lap: LapSamples,
    step_m: float = 2.0,
    *,
    line: Line = None,
    like: LapSamples | None = None,
    method: Method | None = None,
    channels: Sequence[str] | None = None,
) -> DistanceLap:
    """Return a lap at equal steps of distance.

    Args:
        lap: The lap as sampled.
        step_m: Distance between two points.
        line: The line of the track, if it is known.
        like: Another lap of the track, by which holes are bridged.
        method: How to find the distance; by default the first of :class:`Method` that the lap has readings for.
        channels: The channels to put on the grid; by default all of the lap.

    Raises:
        ConfigurationError: The step is not between 0.1 and 1,000 m.
    """
    grid = distance_grid(lap.track_length_m, step_m)
    found, reasons = positions_of(lap, line, like, (method,) if method else tuple(Method))
    chosen = next(iter(found.values()), None)
    if chosen is None:
        return _without_distance(lap, grid, reasons, channels)
    return on_grid(lap, chosen, grid, channels)


def _without_distance(
    lap: LapSamples, grid: Numbers, reasons: Sequence[str], channels: Sequence[str] | None
) -> DistanceLap:
    nothing = np.full(len(grid), np.nan)
    note = f"{lap.label} has no distance ({'; '.join(reasons)})."
    values = dict.fromkeys(lap.channels if channels is None else channels, nothing)
    whole = ((0.0, float(grid[-1])),)
    return DistanceLap(grid, nothing, values, nothing, NO_METHOD, whole, (note, *notes_of(lap)))


def on_grid(lap: LapSamples, positions: Positions, grid: Numbers, channels: Sequence[str] | None = None) -> DistanceLap:
    """Return a lap on a grid of distances, by one way of finding the distance."""
    at_s = positions.time_at(grid)
    at_s[0], at_s[-1] = 0.0, lap.duration_s
    hidden = in_hole(at_s, positions.read_s)
    wanted = lap.channels if channels is None else channels
    values = {name: _channel(lap, name, at_s, hidden) for name in wanted}
    if lap.has_clock:
        time_s = np.where(hidden, np.nan, at_s * (lap.line_time_s / lap.duration_s))
        # When the car was on the line is known, whatever is not known before it.
        time_s[0], time_s[-1] = 0.0, lap.line_time_s
    else:
        time_s = np.full(len(grid), np.nan)
    error_s = np.where(np.isnan(time_s), np.nan, lap_error_s(positions, grid))
    return DistanceLap(grid, time_s, values, error_s, str(positions.method), positions.holes_m, notes_of(lap))


def _channel(lap: LapSamples, name: str, at_s: Numbers, hidden: Flags) -> Numbers:
    """Return one channel at some times, from its own readings: steps by the last value, others between two.

    The unit's distance starts again at the line: nothing lies between the last reading before and the first one after.
    """
    times, values = lap.readings(name)
    unknown = hidden | in_hole(at_s, times)
    if len(times) == 0:
        return np.full(len(at_s), np.nan)
    if is_step(name):
        last = np.maximum(np.searchsorted(times, at_s, side="right") - 1, 0)
        return np.where(unknown, np.nan, values[last])
    series = mean_at_equal_times(times, values)
    fixes = changes(*series) if name in {LATITUDE, LONGITUDE} else series
    series = fixes if len(fixes[0]) else series
    if name == LAP_DISTANCE:
        unknown |= _within_fall(at_s, *series)
    return np.where(unknown, np.nan, np.interp(at_s, *series))


def _within_fall(at_s: Numbers, times: Numbers, values: Numbers) -> Flags:
    """Return which times lie between two readings of which the later one is the smaller."""
    after = np.searchsorted(times, at_s)
    between = (after > 0) & (after < len(times))
    falls = np.append(np.diff(values) < 0, False)
    return between & falls[np.maximum(after - 1, 0)] & (times[np.minimum(after, len(times) - 1)] != at_s)


def is_step(channel: str) -> bool:
    """Return whether a channel has no values between two of its readings: gears, counters, flags."""
    return channel in {"gear", "unit_lap", "lap_number"} or channel.startswith(("is_", "has_", "flag"))


def notes_of(lap: LapSamples) -> tuple[str, ...]:
    """Return what to know about the times of a lap."""
    notes: list[str] = list(lap.remarks)
    if not lap.has_clock:
        notes.append(f"The clock of {lap.label} stood still: it has no times along the lap.")
    elif lap.from_green and not lap.is_scaled:
        notes.append(
            f"The official time of {lap.label} counts from the green flag; its times count from the line, "
            f"{lap.duration_s:.3f} s to the end."
        )
    elif not lap.is_scaled:
        known = np.isfinite(lap.residual_s)
        why = f"differs from its lap time by {lap.residual_s:+.3f} s (over {MAX_RESIDUAL_S} s)" if known else "is all"
        notes.append(f"{lap.label} is not scaled: what the car saw, {lap.duration_s:.3f} s, {why}.")
    if lap.is_simulated:
        notes.append(f"{lap.label} is simulated: its distance is the share of its own track's length.")
    return tuple(notes)

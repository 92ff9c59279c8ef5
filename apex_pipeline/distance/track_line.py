"""The line of a track as its cars drive it, learned from GPS fixes, and where on it a fix lies.

The line is closed, begins at start/finish and has a point a metre.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.gps import FIX_STEP_S, Fixes, fixes_of
from apex_pipeline.distance.samples import LapSamples

_Indices = npt.NDArray[np.intp]

# Averages out the noise of fixes (0.4 to 0.7 m) and lines of different cars; corners are cut by 1 to 2 %.
_SMOOTH_M = 20.0
# Beyond it the line is not the track's: a fix is in another unit, laps are cut, or the layout is another.
_MAX_LENGTH_ERROR = 0.03
# Begin and end of a lap are the same place, but for lines of a wide straight and 0.1 s of driving.
_MAX_OPEN_M = 60.0
# Every tenth fix is looked for on every tenth point; the others lie between, within 30 m of where time puts them.
_COARSE = 10
_AROUND = 30
# Fixes farther off are not on the track: pit lanes are 20 to 40 m beside it.
_MAX_BESIDE_M = 60.0
# Between laps of one car positions differ by 0.2 m, fixes are rounded to 0.7 m; going back farther is a wild fix.
_NOISE_M = 5.0
# Weights of the value of a parabola fitted to eleven points, 1 s of fixes: their rounding of 0.7 m becomes 0.3 m.
_PARABOLA = np.array([-36.0, 9.0, 44.0, 69.0, 84.0, 89.0, 84.0, 69.0, 44.0, 9.0, -36.0]) / 429
# Longer without a fix, the chord is no part of the track.
_LONGEST_HOLE_S = 3.0
# A car goes the line's way: opposite straights may lie closer than a fix is wide.
_MIN_SAME_WAY = 0.5


@dataclass(frozen=True)
class TrackLine:
    """A closed line in metres east and north of a place.

    Attributes:
        east_m: Shape (n,), at equal distances along the line; the first point is at start/finish.
        north_m: Shape (n,).
        length_m: Length of the track; the distance from one point to the next is ``length_m`` / n.
        measured_m: Length of the line itself.
        place: Latitude and longitude of the origin, degrees.
        unit: The unit the receivers sent.
        laps: Number of laps it was learned from.
    """

    east_m: Numbers
    north_m: Numbers
    length_m: float
    measured_m: float
    place: tuple[float, float]
    unit: str
    laps: int

    def project(self, fixes: Fixes) -> tuple[Numbers, Numbers]:
        """Return times and distances along the line of the fixes that lie on it; distances go on past the line.

        A fix belongs to the nearest point at which the track goes the way the car goes.
        """
        rows = np.arange(0, len(fixes.times_s), _COARSE)
        guess = np.unwrap(self._nearest_anywhere(fixes, rows), period=len(self.east_m))
        expected = np.rint(np.interp(np.arange(len(fixes.times_s)), rows, guess)).astype(np.intp)
        nearest, beside_m = self._nearest_around(fixes, expected)
        at = nearest % len(self.east_m)
        ahead_east, ahead_north = self.ahead
        along = (fixes.east_m - self.east_m[at]) * ahead_east[at] + (fixes.north_m - self.north_m[at]) * ahead_north[at]
        distance = nearest * (self.length_m / len(self.east_m)) + along * (self.length_m / self.measured_m)
        on_track = beside_m < _MAX_BESIDE_M
        times, distance = _forwards(fixes.times_s[on_track], distance[on_track])
        return times, _smoothed_series(times, distance)

    @cached_property
    def ahead(self) -> tuple[Numbers, Numbers]:
        """The direction of the line at its points, as unit vectors."""
        ahead_east = np.roll(self.east_m, -1) - np.roll(self.east_m, 1)
        ahead_north = np.roll(self.north_m, -1) - np.roll(self.north_m, 1)
        size = np.maximum(np.hypot(ahead_east, ahead_north), 1e-9)
        return ahead_east / size, ahead_north / size

    def _nearest_anywhere(self, fixes: Fixes, rows: _Indices) -> Numbers:
        """Return the nearest of every tenth point for some fixes."""
        points = np.arange(0, len(self.east_m), _COARSE)
        ahead_east, ahead_north = self.ahead
        way_east, way_north = np.gradient(fixes.east_m)[rows, None], np.gradient(fixes.north_m)[rows, None]
        same_way = way_east * ahead_east[points] + way_north * ahead_north[points]
        away = self._distance(fixes, rows, points[None, :])
        away[same_way < _MIN_SAME_WAY * np.hypot(way_east, way_north)] = np.inf
        return points[np.argmin(away, axis=1)].astype(np.float64)

    def _nearest_around(self, fixes: Fixes, expected: _Indices) -> tuple[_Indices, Numbers]:
        """Return the nearest point within 30 m of an expected one, counted on past the line, and its distance."""
        around = expected[:, None] + np.arange(-_AROUND, _AROUND + 1)
        away = self._distance(fixes, np.arange(len(expected)), around % len(self.east_m))
        best = np.argmin(away, axis=1)
        every = np.arange(len(expected))
        return around[every, best], away[every, best]

    def _distance(self, fixes: Fixes, rows: _Indices, points: _Indices) -> Numbers:
        return np.hypot(
            fixes.east_m[rows, None] - self.east_m[points], fixes.north_m[rows, None] - self.north_m[points]
        )


def learn_line(laps: Sequence[LapSamples], place: tuple[float, float] | None) -> TrackLine | str:
    """Return the line of a track from the GPS fixes of some laps, or why there is none.

    Args:
        laps: Laps of one track; those without whole, closed positions are left out.
        place: Latitude and longitude of a point of the track, degrees, by which units are proven.
    """
    lines: list[Numbers] = []
    reasons: dict[str, None] = {}
    unit, length = "", 0.0
    for lap in laps:
        fixes = fixes_of(lap, place)
        line = fixes if isinstance(fixes, str) else _line_of(fixes, lap)
        if isinstance(fixes, str) or isinstance(line, str):
            reasons[str(line)] = None
            continue
        lines.append(line)
        place, unit, length = fixes.place, fixes.unit, lap.track_length_m
    if not lines or place is None:
        return "; ".join(reasons) or "there are no laps"
    east, north = _smoothed(np.median(np.array(lines), axis=0), length)
    measured = _closed_length(east, north)
    if abs(measured / length - 1) > _MAX_LENGTH_ERROR:
        return f"the line of its GPS is {measured:,.0f} m long, the track {length:,.0f} m"
    return TrackLine(east, north, length, measured, place, unit, len(lines))


def _line_of(fixes: Fixes, lap: LapSamples) -> Numbers | str:
    """Return east and north of one lap at equal distances, a point a metre, shape (2, n); or why it has no line."""
    inside = (fixes.times_s > 0) & (fixes.times_s < lap.duration_s)
    times = np.concatenate([[0.0], fixes.times_s[inside], [lap.duration_s]])
    longest = float(np.diff(times).max())
    if longest > _LONGEST_HOLE_S:
        return f"no fix for {longest:.1f} s of the lap"
    both = np.empty((2, len(times)))
    for row, values in zip(both, (fixes.east_m, fixes.north_m), strict=True):
        row[1:-1] = values[inside]
        row[[0, -1]] = _extended(times[[0, -1]], fixes.times_s, values)
    open_m = float(np.hypot(*(both[:, -1] - both[:, 0])))
    if open_m > _MAX_OPEN_M:
        return f"its lap begins and ends {open_m:,.0f} m apart"
    both -= np.outer(both[:, -1] - both[:, 0], times / lap.duration_s)
    return _resampled(both, round(lap.track_length_m))


def _extended(at: Numbers, times: Numbers, values: Numbers) -> Numbers:
    """Interpolate, and go on beyond the ends as the last second went."""
    few = min(10, len(times) - 1)
    first = (values[few] - values[0]) / (times[few] - times[0])
    last = (values[-1] - values[-1 - few]) / (times[-1] - times[-1 - few])
    beyond = np.minimum(at - times[0], 0) * first + np.maximum(at - times[-1], 0) * last
    return np.interp(at, times, values) + beyond


def _resampled(both: Numbers, count: int) -> Numbers:
    """Return a closed curve, its end equal to its begin, at equal distances along itself, shape (2, count)."""
    driven = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(both, axis=1)))])
    at = np.linspace(0, driven[-1], count, endpoint=False)
    return np.array([np.interp(at, driven, row) for row in both])


def _smoothed(both: Numbers, length_m: float) -> Numbers:
    """Return the moving average of a closed curve over 20 m, again at equal distances."""
    count = both.shape[1]
    half = max(1, round(_SMOOTH_M / 2 * count / length_m))
    kernel = np.full(2 * half + 1, 1 / (2 * half + 1))
    around = np.concatenate([both[:, -half:], both, both[:, :half]], axis=1)
    mean = np.array([np.convolve(row, kernel, mode="valid") for row in around])
    return _resampled(np.concatenate([mean, mean[:, :1]], axis=1), count)


def _closed_length(east: Numbers, north: Numbers) -> float:
    return float(np.hypot(np.diff(east, append=east[0]), np.diff(north, append=north[0])).sum())


def _forwards(times: Numbers, distance: Numbers) -> tuple[Numbers, Numbers]:
    """Leave out fixes that lie behind an earlier one by more than noise, or ahead of a later one."""
    if len(times) == 0:
        return times, distance
    behind = np.maximum.accumulate(distance) - distance
    ahead = distance - np.minimum.accumulate(distance[::-1])[::-1]
    keep = (behind < _NOISE_M) & (ahead < _NOISE_M)
    return times[keep], distance[keep]


def _smoothed_series(times: Numbers, distance: Numbers) -> Numbers:
    """Take each distance from a parabola through the ten fixes around it, where these are 0.1 s apart."""
    width = len(_PARABOLA)
    if len(times) < width:
        return distance
    even = np.convolve(np.diff(times) < 1.5 * FIX_STEP_S, np.ones(width - 1), mode="valid") == width - 1
    smooth = distance.copy()
    inner = smooth[width // 2 : len(smooth) - width // 2]
    inner[even] = np.convolve(distance, _PARABOLA, mode="valid")[even]
    return np.maximum.accumulate(smooth)

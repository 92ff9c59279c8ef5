"""Where the car was: three ways from readings to a distance along the lap, each scaled to the length of the track.

Integrated speed, the distance the car's unit counted, and GPS fixes on a known line. Wheel sizes, slip and lost
readings make each of them wrong by metres, in different places.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from apex_pipeline.distance.arrays import HOLE_S, Numbers, hole_lengths, hole_limit_s, mean_at_equal_times
from apex_pipeline.distance.gps import fixes_of
from apex_pipeline.distance.samples import LAP_DISTANCE, LATITUDE, LapSamples
from apex_pipeline.distance.speed import Driven, bridged, driven_by_speed, speed_readings
from apex_pipeline.distance.track_line import TrackLine

# A lap has 400 readings of speed; with fewer than these, nothing can be said between them.
_FEWEST_READINGS = 10
# Longer than this without a reading, the way driven is anyone's guess: half a kilometre at full speed.
_LONGEST_HOLE_S = 8.0
# Wheel speed is off by up to 1 %, the unit's distance by 0.5 %; a lap beyond 10 % is of another length, or cut.
_MAX_SCALE_ERROR = 0.10

# The line of a track, or what finds it when it is needed.
Line = TrackLine | Callable[[], TrackLine | None] | None


class Method(StrEnum):
    """How a distance was found, best first where nothing else decides."""

    SPEED = "integrated_speed"
    LAP_DISTANCE = "lap_distance_m"
    GPS = "gps_on_line"


@dataclass(frozen=True)
class Positions:
    """Distance of one car along its lap, by one method.

    Attributes:
        method: How it was found.
        times_s: Seconds since the line, strictly increasing; the first is 0, the last the duration of the lap.
        distance_m: Distance at these times, never decreasing; 0 at the line, the track's length at its end.
        read_s: Times of the readings behind it, to tell holes by.
        hole_s: Lengths of its holes, seconds.
        is_bridged: Whether the way driven in its holes is known from elsewhere.
    """

    method: Method
    times_s: Numbers
    distance_m: Numbers
    read_s: Numbers
    hole_s: Numbers
    is_bridged: bool = False

    @property
    def holes_m(self) -> tuple[tuple[float, float], ...]:
        """The holes as (from, to) in metres: from the reading before to the reading after, or to the line."""
        last = self.times_s[-1]
        edges = np.concatenate([[min(0.0, self.read_s[0])], self.read_s, [max(last, self.read_s[-1])]])
        before = np.flatnonzero(np.diff(edges) > hole_limit_s(self.read_s))
        begin, end = np.clip(edges[before], 0, last), np.clip(edges[before + 1], 0, last)
        inside = begin < end
        spans = np.column_stack([self.at(begin[inside]), self.at(end[inside])])
        return tuple((float(begin_m), float(end_m)) for begin_m, end_m in spans)

    def at(self, times_s: Numbers) -> Numbers:
        """Return the distance at some times."""
        return np.interp(times_s, self.times_s, self.distance_m)

    def time_at(self, distance_m: Numbers) -> Numbers:
        """Return the time at some distances."""
        # Where the car stood, the distance does not grow: a nanometre a reading makes it invertible.
        return np.interp(distance_m, self.distance_m + 1e-9 * np.arange(len(self.distance_m)), self.times_s)


def positions_of(
    lap: LapSamples,
    line: Line = None,
    like: LapSamples | None = None,
    methods: Iterable[Method] = tuple(Method),
) -> tuple[dict[Method, Positions], tuple[str, ...]]:
    """Return the positions by every method the lap has readings for, and why not by the others.

    A simulator that knows where the car is needs no other way.

    Args:
        lap: The lap.
        line: The line of its track; without it GPS fixes are not used.
        like: Another lap of the track, by which holes in the speed are bridged.
        methods: The methods to try; by default all.
    """
    ways = {
        Method.SPEED: lambda: _by_speed(lap, like),
        Method.LAP_DISTANCE: lambda: _by_lap_distance(lap),
        Method.GPS: lambda: _by_gps(lap, line),
    }
    if lap.knows_distance:
        methods = (Method.LAP_DISTANCE,)
    found: dict[Method, Positions] = {}
    reasons: list[str] = []
    for method in methods:
        outcome = ways[method]()
        if isinstance(outcome, str):
            reasons.append(f"{method}: {outcome}")
        else:
            found[method] = outcome
    return found, tuple(reasons)


def _by_speed(lap: LapSamples, like: LapSamples | None) -> Positions | str:
    own = _speed_of(lap)
    if isinstance(own, str):
        return own
    other = _speed_of(like) if like is not None and not own.is_bridged else ""
    if like is not None and not isinstance(other, str):
        own = bridged(lap, own, bridged(like, other, own))
    found = _scaled(Method.SPEED, lap, own.times_s, own.driven_m, own.ends_m)
    return found if isinstance(found, str) else replace(found, is_bridged=own.is_bridged)


def driven_m(lap: LapSamples) -> float | None:
    """Return how far a lap drove by its speed, metres, not scaled; ``None`` without readings all along."""
    own = _speed_of(lap)
    return None if isinstance(own, str) else own.total_m


def _speed_of(lap: LapSamples) -> Driven | str:
    if not lap.has_clock:
        return "the clock stood still"
    times, speed = speed_readings(lap)
    return _gaps_problem(times, lap) or driven_by_speed(lap, times, speed)


def _by_lap_distance(lap: LapSamples) -> Positions | str:
    """Take the unit's distance since the line: its first value after the reset at the line is held, so not used."""
    times, metres = mean_at_equal_times(*lap.readings(LAP_DISTANCE))
    inside = (times >= -HOLE_S) & (times <= lap.duration_s + HOLE_S)
    times, metres = times[inside], metres[inside]
    resets = np.flatnonzero(np.diff(metres) < -lap.track_length_m / 2) + 1
    begin = int(resets[resets < len(times) / 2][-1]) if (resets < len(times) / 2).any() else 0
    end = int(resets[resets >= len(times) / 2][0]) if (resets >= len(times) / 2).any() else len(times)
    times, metres = times[begin + 1 : end], np.maximum.accumulate(metres[begin + 1 : end])
    problem = _gaps_problem(times, lap)
    if problem:
        return problem
    rest_s = lap.duration_s - times[-1]
    span_s = times[-1] - times[-6]  # five readings are about 1 s
    end_m = metres[-1] + (metres[-1] - metres[-6]) / span_s * rest_s
    return _scaled(Method.LAP_DISTANCE, lap, times, metres, np.array([0.0, end_m]))


def _by_gps(lap: LapSamples, line: Line) -> Positions | str:
    """Project the fixes on the line of the track, and count from where the car was when it crossed the line."""
    if LATITUDE not in lap.channels:
        return "no GPS"
    line = line() if callable(line) else line
    if line is None:
        return "the line of the track is not known"
    fixes = fixes_of(lap, line.place)
    if isinstance(fixes, str):
        return fixes
    times, along = line.project(fixes)
    problem = _gaps_problem(times, lap)
    if problem:
        return problem
    ends = np.interp([0.0, lap.duration_s], times, along)
    ends += np.array([min(0.0, -times[0]), max(0.0, lap.duration_s - times[-1])]) * _end_speeds(times, along)
    return _scaled(Method.GPS, lap, times, along, ends)


def _end_speeds(times: Numbers, along: Numbers) -> Numbers:
    """Return the speed over the first and the last few fixes, m/s."""
    few = min(5, len(times) - 1)
    first = (along[few] - along[0]) / (times[few] - times[0])
    last = (along[-1] - along[-1 - few]) / (times[-1] - times[-1 - few])
    return np.array([first, last])


def _gaps_problem(times: Numbers, lap: LapSamples) -> str:
    """Return why a distance cannot be had from readings at these times; empty if it can."""
    inside = times[(times >= 0) & (times <= lap.duration_s)]
    if len(inside) == 0:
        return "no readings"
    if len(inside) < _FEWEST_READINGS:
        return f"only {len(inside)} readings"
    longest = float(np.max(hole_lengths(inside, lap.duration_s), initial=0.0))
    return f"nothing for {longest:.1f} s of the lap" if longest > _LONGEST_HOLE_S else ""


def _scaled(method: Method, lap: LapSamples, times: Numbers, driven: Numbers, ends: Numbers) -> Positions | str:
    """Return the distance between the two crossings of the line, scaled to the length of the track."""
    total = float(ends[1] - ends[0])
    if not lap.is_simulated and not abs(total / lap.track_length_m - 1) <= _MAX_SCALE_ERROR:
        return f"{total:,.0f} m driven on a track of {lap.track_length_m:,.0f} m"
    if total <= 0:
        return "the car did not move"
    inside = (times > 0) & (times < lap.duration_s)
    along = np.concatenate([[ends[0]], driven[inside], [ends[1]]])
    scaled = (np.maximum.accumulate(along) - ends[0]) * (lap.track_length_m / total)
    at = np.concatenate([[0.0], times[inside], [lap.duration_s]])
    distance = np.minimum(scaled, lap.track_length_m)
    return Positions(method, at, distance, times, hole_lengths(times, lap.duration_s))

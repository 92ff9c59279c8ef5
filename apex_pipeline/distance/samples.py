"""One lap of one car as it was sampled: what all of this package takes.

Whoever makes it cuts the lap at the line; see ``catalog/lap_distance.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.late_readings import unbunched
from apex_pipeline.errors import ConfigurationError

# Beyond it the two times are not of the same lap, or one is wrong: COTA's official clock is 9 s off in some laps.
MAX_RESIDUAL_S = 0.5
# Lap 1 counts from the green flag. The leader starts at the line with it: then the two times agree as those of other
# laps do, of which nine in ten agree within 0.1 s.
_GREEN_AT_LINE_S = 0.1
# Channels of positions in metres and degrees, and of speed.
SPEED = "speed_kph"
LAP_DISTANCE = "lap_distance_m"
LATITUDE = "latitude_deg"
LONGITUDE = "longitude_deg"
_MAX_TRACK_M = 100_000.0


@dataclass(frozen=True)
class LapSamples:
    """One lap of one car, as sampled.

    Attributes:
        times_s: Seconds since the car crossed the line, sorted, shape (n,). Readings just before the line and just
            after the lap are welcome: they say where the line was between two readings.
        channels: Readings by channel, each of shape (n,), NaN where a row has none.
        lap_time_s: The lap time; NaN if it is not known.
        duration_s: From line to line as the car saw it.
        track_length_m: Length of the track.
        points: Official intermediate points of this lap: name, and seconds since the official start of the lap.
        from_green: The official time runs from the green flag, as that of lap 1 does, not from the line.
        has_clock: Whether the car's clock ran; else the times are those of arrival, and no delta can be had from them.
        is_simulated: The lap is from a simulator, whose track has a length of its own.
        knows_distance: Its ``lap_distance_m`` is where the simulator has the car, not what a unit counted.
        label: Names the lap in notes and errors.
        remarks: What else to know about it; passed on with every answer.

    Raises:
        ConfigurationError: Times are not sorted, a channel has another length, or a length or duration is not positive.
    """

    times_s: Numbers
    channels: Mapping[str, Numbers]
    lap_time_s: float
    duration_s: float
    track_length_m: float
    points: Sequence[tuple[str, float]] = ()
    from_green: bool = False
    has_clock: bool = True
    is_simulated: bool = False
    knows_distance: bool = False
    label: str = "the lap"
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise ConfigurationError(f"{self.label}: {problem}.", "Cut the lap again from its telemetry.")

    def _problem(self) -> str:
        if not 0 < self.duration_s < np.inf:
            return f"its duration of {self.duration_s} s is not positive"
        if not 0 < self.track_length_m <= _MAX_TRACK_M:
            return f"its track length of {self.track_length_m} m is not between 0 and {_MAX_TRACK_M:,.0f}"
        if not np.isfinite(self.times_s).all() or (np.diff(self.times_s) < 0).any():
            return "its times are not sorted"
        wrong = [name for name, values in self.channels.items() if values.shape != self.times_s.shape]
        return f"channel {wrong[0]} and its times differ in length" if wrong else ""

    @property
    def residual_s(self) -> float:
        """Duration as the car saw it minus the lap time, seconds; NaN without a lap time."""
        return self.duration_s - self.lap_time_s

    @property
    def is_scaled(self) -> bool:
        """Whether times of this lap are scaled to the lap time: the two differ by no more than 0.5 s.

        A lap timed from the green flag is not, unless the car was at the line with it, within 0.1 s.
        """
        return abs(self.residual_s) <= (_GREEN_AT_LINE_S if self.from_green else MAX_RESIDUAL_S)

    @property
    def line_time_s(self) -> float:
        """The time at the end of the lap that positions and deltas are given for."""
        return self.lap_time_s if self.is_scaled else self.duration_s

    def usable_points(self) -> dict[str, float]:
        """Return the official points in the time of this lap, seconds; none if official timing means another lap.

        The points of lap 1 count from the green flag: they are counted from the line, by the difference at its end.
        """
        if not self.is_scaled and not (self.from_green and np.isfinite(self.residual_s)):
            return {}
        late_s = 0.0 if self.is_scaled else -self.residual_s
        times = {name: time_s - late_s for name, time_s in self.points}
        return {name: time_s for name, time_s in times.items() if 0 < time_s < self.line_time_s}

    def readings(self, channel: str) -> tuple[Numbers, Numbers]:
        """Return the times and values of one channel, late ones put back; empty if the lap has none."""
        values = self.channels.get(channel)
        if values is None:
            return np.empty(0), np.empty(0)
        known = np.isfinite(values)
        return unbunched(self.times_s[known]), values[known]

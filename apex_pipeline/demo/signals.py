"""Simulates the sensor signals of a lap: the track as a closed curve, and every channel along it.

A track is a circle with a few waves. Corner speed follows from curvature, everything else from speed and curvature,
so distance, position, speed and accelerations are consistent. Every channel is a table over the elapsed share of the
lap time, and every value it can have is formatted once, which makes writing gigabytes fast.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from apex_pipeline.demo.tracks import TRACKS, DemoTrack

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_POINTS = 4096  # one point per metre or 24 ms
_GRAVITY = 9.81
_METRES_PER_DEGREE = 111_320.0
_CORNER_GRIP_G = 0.5  # before scaling to the lap time; determines how much slower corners are than straights
_TOP_SPEED_MS = 58.0
_SMOOTHING_POINTS = 161  # cars brake and accelerate over about 150 m
_NOISE_G = 0.02
_GEARS_UP_AT_KPH = (62.0, 95.0, 128.0, 162.0)
_REDLINE_AT_KPH = np.array([70.0, 106.0, 142.0, 178.0, 222.0])
_REDLINE_RPM = 7_150.0


@dataclass(frozen=True)
class Scale:
    """The values a channel can have, from ``lowest`` to ``highest`` in steps of 1 / ``per_unit``."""

    lowest: float
    highest: float
    per_unit: int

    @property
    def steps(self) -> int:
        """Number of values."""
        return round((self.highest - self.lowest) * self.per_unit) + 1

    def texts(self) -> list[str]:
        """Return every value as in the files: integers without a decimal point, others in their shortest form."""
        first = round(self.lowest * self.per_unit)
        values = [(first + step) / self.per_unit for step in range(self.steps)]
        return [str(int(value)) if value.is_integer() else repr(value) for value in values]

    def indices(self, values: Numbers) -> Indices:
        """Return the index of each value in :meth:`texts`; values out of range are clipped."""
        steps = np.rint((values - self.lowest) * self.per_unit)
        return steps.clip(0, self.steps - 1).astype(np.int64)


_SCALES = {
    "accx_can": Scale(-2, 2, 1000),
    "accy_can": Scale(-2.5, 2.5, 1000),
    "ath": Scale(0, 100, 100),
    "aps": Scale(0, 100, 100),
    "pbrake_f": Scale(0, 150, 100),
    "pbrake_r": Scale(0, 150, 100),
    "gear": Scale(0, 6, 1),
    "Steering_Angle": Scale(-250, 250, 10),
    "Laptrigger_lapdist_dls": Scale(0, 6_000, 1),
    "nmot": Scale(0, 7_400, 1),
    "speed": Scale(0, 250, 100),
}
_POSITIONS = ("VBOX_Lat_Min", "VBOX_Long_Minutes")


@dataclass(frozen=True)
class Outline:
    """A nominal lap at equal time steps; every array has shape (4096,).

    Attributes:
        distance_m: Distance from the finish line.
        speed_ms: Metres per second.
        along_g: Forward acceleration.
        across_g: Sideways acceleration, positive to the left.
        curvature: 1/m, positive to the left.
        latitude_deg: Position.
        longitude_deg: Position.
    """

    distance_m: Numbers
    speed_ms: Numbers
    along_g: Numbers
    across_g: Numbers
    curvature: Numbers
    latitude_deg: Numbers
    longitude_deg: Numbers


def outline(track: DemoTrack) -> Outline:
    """Return the nominal lap of a track, driven in its lap time."""
    x, y, curvature = _curve(track)
    step_m = track.length_m / _POINTS
    grip_ms = np.sqrt(_CORNER_GRIP_G * _GRAVITY / np.abs(curvature).clip(1e-4))
    speed = _smoothed(np.minimum(grip_ms, _TOP_SPEED_MS))
    spent_s = np.concatenate([[0.0], np.cumsum(step_m / speed)])
    speed *= spent_s[-1] / (track.lap_ms / 1000)
    along_g = speed * _slope(speed, step_m) / _GRAVITY
    across_g = speed**2 * curvature / _GRAVITY
    # Resample from equal distance steps to equal time steps.
    at_step = np.linspace(0, spent_s[-1], _POINTS, endpoint=False)
    distance = np.interp(at_step, spent_s, np.arange(_POINTS + 1) * step_m)

    def over_time(values: Numbers) -> Numbers:
        return np.interp(distance, np.arange(_POINTS + 1) * step_m, np.append(values, values[0]))

    longitude = track.longitude_deg + x / (_METRES_PER_DEGREE * np.cos(np.radians(track.latitude_deg)))
    return Outline(
        distance_m=distance,
        speed_ms=over_time(speed),
        along_g=over_time(along_g),
        across_g=over_time(across_g),
        curvature=over_time(curvature),
        latitude_deg=over_time(track.latitude_deg + y / _METRES_PER_DEGREE),
        longitude_deg=over_time(longitude),
    )


def _curve(track: DemoTrack) -> tuple[Numbers, Numbers, Numbers]:
    """Return x, y (metres) and curvature at equal steps of distance, starting at the straightest point."""
    angle = np.linspace(0, 2 * np.pi, _POINTS * 4 + 1)
    radius = 1 + sum(depth * np.cos(waves * angle + waves) for waves, depth in track.lobes)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    at_step = np.linspace(0, walked[-1], _POINTS, endpoint=False)
    metres = track.length_m / walked[-1]
    x, y = np.interp(at_step, walked, x) * metres, np.interp(at_step, walked, y) * metres
    step_m = track.length_m / _POINTS
    dx, dy = _slope(x, step_m), _slope(y, step_m)
    curvature = dx * _slope(dy, step_m) - dy * _slope(dx, step_m)
    line = int(np.argmin(np.abs(curvature)))
    return np.roll(x, -line), np.roll(y, -line), np.roll(curvature, -line)


def _slope(values: Numbers, step: float) -> Numbers:
    """Return the derivative of a closed curve's values."""
    return (np.roll(values, -1) - np.roll(values, 1)) / (2 * step)


def _smoothed(values: Numbers) -> Numbers:
    """Return the moving average along a closed curve."""
    half = _SMOOTHING_POINTS // 2
    around = np.concatenate([values[-half:], values, values[:half]])
    return np.convolve(around, np.full(_SMOOTHING_POINTS, 1 / _SMOOTHING_POINTS), mode="valid")


class Signals:
    """Every channel of a track as text, ready to write.

    Attributes:
        channels: In file order, fast ones first.
        texts: Every possible ``channel,value``, channel after channel.
        is_number: Whether a channel has a scale, so that the next index is the next value; shape (channels,).
        last_index: Index of each channel's last text; shape (channels,).
    """

    def __init__(self, track: DemoTrack) -> None:
        self._outline = outline(track)
        self._lap_ms = track.lap_ms
        self.channels = (*track.fast_channels, *track.slow_channels)
        self.texts: list[str] = []
        first: list[int] = []
        for channel in self.channels:
            first.append(len(self.texts))
            self.texts += [f"{channel},{value}" for value in self._values(channel)]
        self._first = np.array(first)
        self.is_number = np.array([channel in _SCALES for channel in self.channels])
        self.last_index = np.append(self._first[1:], len(self.texts)) - 1

    def _values(self, channel: str) -> list[str]:
        if channel in _SCALES:
            return _SCALES[channel].texts()
        position = self._outline.latitude_deg if channel == _POSITIONS[0] else self._outline.longitude_deg
        # Real receivers send single precision, printed as double: 33.532588958740234.
        return [repr(float(value)) for value in position.astype(np.float32)]

    def indices(self, share: Numbers, lap_ms: int, rng: np.random.Generator) -> Indices:
        """Return the index of each reading in :attr:`texts`.

        Args:
            share: Elapsed share of the lap time at each frame, 0 to 1; shape (frames,).
            lap_ms: The lap time; a slow lap is driven at lower speed everywhere.
            rng: Generator for sensor noise.

        Returns:
            Shape (frames, channels).
        """
        at = (share * _POINTS).astype(np.int64).clip(0, _POINTS - 1)
        pace = self._lap_ms / lap_ms
        readings = _readings(self._outline, at, pace, rng)
        columns = [
            _SCALES[channel].indices(readings[channel]) if channel in _SCALES else at for channel in self.channels
        ]
        return np.column_stack(columns) + self._first


def _readings(lap: Outline, at: Indices, pace: float, rng: np.random.Generator) -> dict[str, Numbers]:
    """Return every scaled channel at the given points of a lap."""
    kph = lap.speed_ms[at] * 3.6 * pace
    along_g = lap.along_g[at] * pace**2 + rng.normal(0, _NOISE_G, len(at))
    gear = 1 + np.searchsorted(_GEARS_UP_AT_KPH, kph)
    pedal = (35 + 160 * along_g + 0.2 * kph).clip(0, 100)
    brake = (-along_g - 0.08).clip(0) * 90
    return {
        "accx_can": along_g,
        "accy_can": lap.across_g[at] * pace**2 + rng.normal(0, _NOISE_G, len(at)),
        "aps": pedal,
        "ath": pedal.clip(2.5),  # the throttle blade never closes completely
        "pbrake_f": brake,
        "pbrake_r": brake * 0.62,
        "gear": gear.astype(np.float64),
        "Steering_Angle": -6_000 * lap.curvature[at],  # counterclockwise (left) is negative
        "Laptrigger_lapdist_dls": lap.distance_m[at],
        "nmot": (_REDLINE_RPM * kph / _REDLINE_AT_KPH[gear - 1]).clip(1_800),
        "speed": kph,
    }


@lru_cache(maxsize=len(TRACKS))
def signals_of(slug: str) -> Signals:
    """Return the channels of a track, built once per process (about 60,000 texts)."""
    return Signals(next(track for track in TRACKS if track.slug == slug))

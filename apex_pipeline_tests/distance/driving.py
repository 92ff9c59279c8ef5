"""Laps of known position: a car driven round a track of the demo and sampled as real cars are, faults on request."""

from dataclasses import dataclass

import numpy as np

from apex_pipeline.demo.signals import Outline, outline
from apex_pipeline.demo.tracks import HARBOR
from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.samples import LapSamples

LENGTH_M = HARBOR.length_m
PLACE = (HARBOR.latitude_deg, HARBOR.longitude_deg)
_FRAME_S = 0.0432  # as the real units: 23 frames a second, speed in every fifth
_SLOW_EVERY = 5
_FIX_S = 0.1
_BEFORE_S = 1.0
_OUTLINE: Outline = outline(HARBOR)


@dataclass(frozen=True)
class Faults:
    """What happens to the readings of a lap.

    Attributes:
        holes: Stretches in which nothing is received, as (begin, length) in seconds.
        bunches: Stretches whose readings are stamped one after the other at their end, as (begin, length).
        held_gps: The receiver repeats its last fix until the next.
        split_gps: Latitude and longitude come in different rows.
        repeats: One reading in so many comes twice at one time; 0 for none.
        wheel: Speed read per speed driven.
        jitter: Stamps are late by up to so many frames.
    """

    holes: tuple[tuple[float, float], ...] = ()
    bunches: tuple[tuple[float, float], ...] = ()
    held_gps: bool = True
    split_gps: bool = False
    repeats: int = 0
    wheel: float = 0.998
    jitter: int = 0


_NO_FAULTS = Faults()


@dataclass(frozen=True)
class Driven:
    """A lap as sampled, and as it was."""

    samples: LapSamples
    at_m: Numbers
    at_s: Numbers

    def time_at(self, distance_m: Numbers) -> Numbers:
        """Return when the car was at some distances."""
        return np.interp(distance_m, self.at_m, self.at_s)


def drive(
    lap_time_s: float = 97.0, pace: float = 0.0, phase: float = 0.0, faults: Faults = _NO_FAULTS, **changes: object
) -> Driven:
    """Drive one lap.

    Args:
        lap_time_s: Its lap time.
        pace: How unlike the nominal lap it is driven: share by which speed differs along the lap.
        phase: Where it is faster, radians.
        faults: What happens to its readings.
        changes: Other fields of its samples.
    """
    at_m, at_s = _time_of(lap_time_s, pace, phase)
    frames = np.arange(-_BEFORE_S, lap_time_s + _BEFORE_S, _FRAME_S)
    metres = _around(frames, lap_time_s, at_m, at_s)
    slope = np.gradient(metres, frames)
    is_slow = np.arange(len(frames)) % _SLOW_EVERY == 0
    fix_s = np.floor(frames / _FIX_S) * _FIX_S if faults.held_gps else frames
    fix_m = _around(fix_s, lap_time_s, at_m, at_s) % LENGTH_M
    row = np.arange(len(frames))
    is_latitude, is_longitude = (row % 2 == 0, row % 2 == 1) if faults.split_gps else (row >= 0, row >= 0)
    lap_m = np.where(metres % LENGTH_M < 10, 0.0, np.floor(metres % LENGTH_M))
    sent = {
        "speed_kph": np.where(is_slow, np.round(slope * 3.6 * faults.wheel, 2), np.nan),
        "lap_distance_m": np.where(is_slow, lap_m, np.nan),
        "brake_front_bar": np.round(np.maximum(-np.gradient(slope, frames), 0) * 10, 2),
        "gear": np.floor(slope / 12) + 1,
        "latitude_deg": np.where(is_latitude, _place(fix_m, _OUTLINE.latitude_deg), np.nan),
        "longitude_deg": np.where(is_longitude, _place(fix_m, _OUTLINE.longitude_deg), np.nan),
    }
    times, channels = _with_faults(
        frames, {name: np.array(values, dtype=np.float64) for name, values in sent.items()}, faults
    )
    values: dict[str, object] = {
        "lap_time_s": lap_time_s,
        "duration_s": lap_time_s,
        "track_length_m": LENGTH_M,
        "points": tuple((f"IM{n}", float(np.interp(LENGTH_M * n / 6, at_m, at_s))) for n in range(1, 6)),
        **changes,
    }
    return Driven(LapSamples(times, channels, **values), at_m, at_s)  # type: ignore[arg-type]


def _time_of(lap_time_s: float, pace: float, phase: float) -> tuple[Numbers, Numbers]:
    """Return distances and the times at them: the nominal lap, faster here and slower there."""
    at_m = np.append(_OUTLINE.distance_m, LENGTH_M)
    nominal = np.linspace(0, HARBOR.lap_ms / 1000, len(at_m))
    middle = (at_m[1:] + at_m[:-1]) / 2
    steps = np.diff(nominal) * (1 + pace * np.sin(2 * np.pi * 3 * middle / LENGTH_M + phase))
    at_s = np.concatenate([[0.0], np.cumsum(steps)])
    return at_m, at_s * (lap_time_s / at_s[-1])


def _around(times: Numbers, lap_time_s: float, at_m: Numbers, at_s: Numbers) -> Numbers:
    """Return the distance driven at some times, negative before the line and beyond the length after it."""
    return np.interp(times % lap_time_s, at_s, at_m) + np.floor(times / lap_time_s) * LENGTH_M


def _place(metres: Numbers, values: Numbers) -> Numbers:
    around = np.interp(metres, np.append(_OUTLINE.distance_m, LENGTH_M), np.append(values, values[0]))
    return around.astype(np.float32).astype(np.float64)


def _with_faults(frames: Numbers, channels: dict[str, Numbers], faults: Faults) -> tuple[Numbers, dict[str, Numbers]]:
    times = frames.copy()
    if faults.jitter:
        late = np.random.default_rng(7).integers(0, faults.jitter + 1, len(times))
        times = np.maximum.accumulate(times + late * _FRAME_S)
    for begin, length in faults.bunches:
        held = np.flatnonzero((frames >= begin) & (frames < begin + length))
        # The unit hands over what it kept as fast as it can: the last reading is on time.
        times[held] = times[held[-1]] - 0.005 * np.arange(len(held) - 1, -1, -1)
    kept = np.ones(len(times), dtype=bool)
    for begin, length in faults.holes:
        kept &= (frames < begin) | (frames >= begin + length)
    rows = np.flatnonzero(kept)
    if faults.repeats:
        rows = np.sort(np.concatenate([rows, rows[:: faults.repeats]]))
    return times[rows], {name: values[rows] for name, values in channels.items()}

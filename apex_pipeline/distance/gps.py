"""Fixes of a GPS receiver from the readings of a lap, in degrees and then in metres.

Receivers send a fix ten times a second and units repeat it until the next; latitude and longitude may come in different
rows. Their unit is proven by where the track lies, never by the name of a channel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from apex_pipeline.distance.arrays import Numbers, changes, in_hole, mean_at_equal_times
from apex_pipeline.distance.samples import LATITUDE, LONGITUDE, LapSamples

# Fixes farther from the track's point are of another place: the longest tracks lie within 8 km, most within 3 km.
_NEAR_M = 8_000.0
# The median fix is compared, so single wild ones do no harm; these are left out, farther from it than a track is wide.
_WILD_M = 10_000.0
_FEWEST_FIXES = 20
# A car that does not move at least this far in a lap has no receiver that works.
_STANDING_M = 100.0
FIX_STEP_S = 0.1


@dataclass(frozen=True)
class Fixes:
    """Positions of a car in metres east and north of an origin, at times where both coordinates are known.

    Attributes:
        times_s: Seconds since the line, strictly increasing, shape (n,).
        east_m: Shape (n,).
        north_m: Shape (n,).
        unit: The unit the receiver sent.
        place: Latitude and longitude of the origin, degrees.
    """

    times_s: Numbers
    east_m: Numbers
    north_m: Numbers
    unit: str
    place: tuple[float, float]


def _degrees(latitude: Numbers, longitude: Numbers) -> tuple[Numbers, Numbers]:
    return latitude, longitude


def _minutes(latitude: Numbers, longitude: Numbers) -> tuple[Numbers, Numbers]:
    return latitude / 60, longitude / 60


def _nmea(latitude: Numbers, longitude: Numbers) -> tuple[Numbers, Numbers]:
    """Read ddmm.mmmm: two digits of minutes before the point, degrees before them."""

    def degrees(values: Numbers) -> Numbers:
        size = np.abs(values)
        whole = np.floor(size / 100)
        return np.sign(values) * (whole + (size - 100 * whole) / 60)

    return degrees(latitude), degrees(longitude)


# Loggers count longitude to the east, or to the west as VBOX does.
_UNITS: dict[str, tuple[Callable[[Numbers, Numbers], tuple[Numbers, Numbers]], int]] = {
    "degrees": (_degrees, 1),
    "degrees, west positive": (_degrees, -1),
    "minutes": (_minutes, 1),
    "minutes, west positive": (_minutes, -1),
    "ddmm.mmmm": (_nmea, 1),
    "ddmm.mmmm, west positive": (_nmea, -1),
}


def metres_per_degree(latitude_deg: float) -> tuple[float, float]:
    """Return the length of a degree of longitude and of latitude at a latitude, WGS 84, metres."""
    angle = np.radians(latitude_deg)
    east = 111_412.84 * np.cos(angle) - 93.5 * np.cos(3 * angle) + 0.118 * np.cos(5 * angle)
    north = 111_132.92 - 559.82 * np.cos(2 * angle) + 1.175 * np.cos(4 * angle)
    return float(east), float(north)


def fixes_of(lap: LapSamples, place: tuple[float, float] | None) -> Fixes | str:
    """Return the fixes of a lap, or why it has none that can be used.

    Args:
        lap: The lap.
        place: Latitude and longitude of a point of the track in degrees, the origin of the metres; without it degrees
            are the only unit that is understood, and the origin is the middle of the lap.
    """
    latitude = _fixes(lap, LATITUDE)
    longitude = _fixes(lap, LONGITUDE)
    if min(len(latitude[0]), len(longitude[0])) < _FEWEST_FIXES:
        has_rows = bool(len(lap.readings(LATITUDE)[0]) and len(lap.readings(LONGITUDE)[0]))
        return "the GPS stood still, or sent too few fixes" if has_rows else "no GPS"
    first = max(latitude[0][0], longitude[0][0])
    last = min(latitude[0][-1], longitude[0][-1])
    if last - first < _FEWEST_FIXES * FIX_STEP_S:
        return "latitude and longitude were not sent at the same time"
    times = np.arange(first, last, FIX_STEP_S)
    times = times[~(in_hole(times, lap.readings(LATITUDE)[0]) | in_hole(times, lap.readings(LONGITUDE)[0]))]
    read = np.interp(times, *latitude), np.interp(times, *longitude)
    if place is None:
        if np.abs(read[0]).max() > 90 or np.abs(read[1]).max() > 180:  # noqa: PLR2004  -- degrees of a globe
            return "the unit of the GPS cannot be told: say where the track lies in APEX_TRACK_LENGTHS_FILE"
        place = float(np.median(read[0])), float(np.median(read[1]))
    found = _in_metres(*read, place)
    if isinstance(found, str):
        return found
    east, north, unit = found
    is_near = np.hypot(east - np.median(east), north - np.median(north)) < _WILD_M
    east, north, times = east[is_near], north[is_near], times[is_near]
    if np.hypot(np.ptp(east), np.ptp(north)) < _STANDING_M:
        return "the GPS stood still"
    return Fixes(times, east, north, unit, place)


def _fixes(lap: LapSamples, channel: str) -> tuple[Numbers, Numbers]:
    """Return the readings of a coordinate at which it changed; 0 is what receivers send before their first fix."""
    times, values = lap.readings(channel)
    return changes(*mean_at_equal_times(times[values != 0], values[values != 0]))


def _in_metres(latitude: Numbers, longitude: Numbers, place: tuple[float, float]) -> tuple[Numbers, Numbers, str] | str:
    """Return metres east and north by the unit that puts the lap on its track."""
    east_per_degree, north_per_degree = metres_per_degree(place[0])
    nearest = np.inf
    for unit, (read, sign) in _UNITS.items():
        north_deg, east_deg = read(latitude, sign * longitude)
        east, north = (east_deg - place[1]) * east_per_degree, (north_deg - place[0]) * north_per_degree
        distance = float(np.hypot(np.median(east), np.median(north)))
        if distance <= _NEAR_M:
            return east, north, unit
        nearest = min(nearest, distance)
    return f"its GPS is of another place, {nearest / 1000:,.0f} km away"

"""Aligns the official clock with UTC: official times have no date, and the clock may be wrong and drift.

The cars' crossings and the official ones are the same events, so the most common difference between them is the clock's
offset: 0.2 to 0.45 s in seven races. At one track it is 7.4 s, and 12 to 14 s while the field is slow: there the two
systems do not measure at the same line, and slow cars take longer from one line to the other.

Offset and drift are found without knowing which official car belongs to which device.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Milliseconds = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# A clock set by hand is off by seconds, rarely by minutes.
_NEAR_MS = 60_000
_FAR_MS = 900_000
# If the zone is unknown, all zones in use are tried: 12 h behind to 14 h ahead of UTC, in steps of a quarter hour.
_ZONE_STEP_MS = 900_000
_ZONES = range(-14 * 4, 12 * 4 + 1)
# Differences are counted in bins of a quarter of a second, adding two adjacent bins, as a difference may be on the edge
# of a bin. The difference of matching crossings is mostly within 0.1 s of the offset.
_STEP_MS = 250
# Share of crossings that must have the same difference for it to be accepted. The right offset reaches 60 to 100 %; a
# shift by one or more laps reaches 45 % in a race of equal laps, but is more than a minute off.
_NEEDED_NEAR = 0.2
_NEEDED_FAR = 0.5
_LEAST_COINCIDENCES = 5
# The drift is a running median over this many crossings before and after each: about one lap of the field.
_HALF_WINDOW = 12
# A timestamp more than a second off is not the moment of the crossing (scatter is 0.05 s). If the two systems measure
# at different lines, slow cars scatter by seconds, and a late timestamp must exceed a multiple of that scatter.
_LATE_MS = 1_000.0
_LATE_SCATTERS = 8.0


@dataclass(frozen=True)
class OfficialClock:
    """Converts official times of day to UTC.

    Attributes:
        midnight_utc_ms: Local midnight of the race day, UTC milliseconds since 1970.
        offset_s: Seconds the official clock is behind UTC: the median of the cars' crossings minus official ones.
        coincidences: Share of crossings that confirm the offset, 0 to 1.
        knots_ms: Official times at which the drift is known, milliseconds since midnight.
        drift_ms: Drift at these times, to be added to ``offset_s``, milliseconds.
        scatter_ms: Median deviation of the nearby crossings from offset and drift, milliseconds.
    """

    midnight_utc_ms: int
    offset_s: float
    coincidences: float
    knots_ms: tuple[float, ...] = ()
    drift_ms: tuple[float, ...] = ()
    scatter_ms: tuple[float, ...] = ()

    def utc_ms(self, local_ms: Milliseconds) -> Milliseconds:
        """Return UTC in milliseconds since 1970 for official times of day."""
        shifted = local_ms + self.midnight_utc_ms + self.offset_s * 1000
        if not self.knots_ms:
            return shifted
        return shifted + np.interp(local_ms, self.knots_ms, self.drift_ms)

    def is_late(self, utc_ms: float, local_ms: float) -> bool:
        """Return whether a crossing is too far from the official one for its timestamp to be right."""
        expected_ms = float(self.utc_ms(np.array([local_ms]))[0])
        scatter_ms = float(np.interp(local_ms, self.knots_ms, self.scatter_ms)) if self.knots_ms else 0.0
        return abs(utc_ms - expected_ms) > max(_LATE_MS, _LATE_SCATTERS * scatter_ms)

    def with_drift(self, local_ms: Milliseconds, utc_ms: Milliseconds) -> "OfficialClock":
        """Return the clock with its drift, measured on pairs of official and own crossings."""
        if not len(local_ms):
            return self
        order = np.argsort(local_ms, kind="stable")
        knots = local_ms[order]
        late = utc_ms[order] - knots - self.midnight_utc_ms
        offset_ms = float(np.median(late))
        drift = _running_median(late - offset_ms)
        scatter = _running_median(np.abs(late - offset_ms - drift))
        return replace(
            self,
            offset_s=offset_ms / 1000,
            knots_ms=tuple(knots),
            drift_ms=tuple(drift),
            scatter_ms=tuple(scatter),
        )


def _running_median(values: Milliseconds) -> Milliseconds:
    windows = [values[max(0, index - _HALF_WINDOW) : index + _HALF_WINDOW + 1] for index in range(len(values))]
    return np.array([np.median(window) for window in windows])


def find_official_clock(crossings_ms: Sequence[int], local_ms: Sequence[int], zone: str | None) -> OfficialClock | None:
    """Find the most common difference between own and official crossings.

    Args:
        crossings_ms: Crossings of all cars, UTC milliseconds since 1970.
        local_ms: Official crossings of all cars, milliseconds since local midnight.
        zone: IANA zone of the track, ``None`` if not known.

    Returns:
        The clock without drift; ``None`` if no difference stands out, for example if the two are from different
        sessions.
    """
    if not crossings_ms or not local_ms:
        return None
    days = _days(crossings_ms, zone)
    if zone:
        midnights = [_midnight_ms(day, ZoneInfo(zone)) for day in days]
    else:
        midnights = [_midnight_ms(day, UTC) + step * _ZONE_STEP_MS for day in days for step in _ZONES]
    for reach_ms, needed in ((_NEAR_MS, _NEEDED_NEAR), (_FAR_MS, _NEEDED_FAR)):
        found = [_align(crossings_ms, local_ms, midnight_ms, reach_ms) for midnight_ms in midnights]
        best = max(found, key=lambda clock: clock.coincidences)
        enough = _LEAST_COINCIDENCES / min(len(crossings_ms), len(local_ms))
        if best.coincidences >= max(needed, enough):
            return best
    return None


def _days(crossings_ms: Iterable[int], zone: str | None) -> list[date]:
    """Return the local days of the crossings; if the zone is unknown, also the days before and after."""
    utc = (datetime.fromtimestamp(utc_ms / 1000, UTC) for utc_ms in crossings_ms)
    if zone:
        return sorted({moment.astimezone(ZoneInfo(zone)).date() for moment in utc})
    return sorted({moment.date() + timedelta(days=step) for moment in utc for step in (-1, 0, 1)})


def _midnight_ms(day: date, zone: tzinfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def _align(crossings_ms: Sequence[int], local_ms: Sequence[int], midnight_ms: int, reach_ms: int) -> OfficialClock:
    late = _differences(
        np.array(crossings_ms, dtype=np.int64), np.array(local_ms, dtype=np.int64) + midnight_ms, reach_ms
    )
    counts = np.bincount((late + reach_ms) // _STEP_MS, minlength=2 * reach_ms // _STEP_MS + 2)
    pairs = counts[:-1] + counts[1:]
    highest = int(np.argmax(pairs))
    offset_ms = (highest + 1) * _STEP_MS - reach_ms
    near = late[np.abs(late - offset_ms) <= 2 * _STEP_MS]
    median_ms = float(np.median(near)) if len(near) else float(offset_ms)
    share = int(pairs[highest]) / min(len(crossings_ms), len(local_ms))
    return OfficialClock(midnight_ms, median_ms / 1000, min(share, 1.0))


def _differences(own_ms: Integers, official_ms: Integers, reach_ms: int) -> Integers:
    """Return own minus official crossing, in ms, for the pairs within reach; the others are never computed."""
    official = np.sort(official_ms)
    first = np.searchsorted(official, own_ms - reach_ms, side="left")
    pairs = np.searchsorted(official, own_ms + reach_ms, side="right") - first
    within = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    return np.repeat(own_ms, pairs) - official[np.repeat(first, pairs) + within]

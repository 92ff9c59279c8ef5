"""Aligns the official clock with UTC: official times have no date, and the clock may be wrong and drift.

The cars' crossings and the official ones are the same events, so the most common difference between them is the clock's
offset: 0.2 to 0.45 s in seven races. At one track it is 7.4 s, and 12 to 14 s while the field is slow: there the two
systems do not measure at the same line, and slow cars take longer from one line to the other.

Offset and drift are found without knowing which official car belongs to which device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Milliseconds = npt.NDArray[np.float64]

# Differences are counted in bins of a quarter of a second, adding two adjacent bins, as a difference may be on the edge
# of a bin. The difference of matching crossings is mostly within 0.1 s of the offset.
_STEP_MS = 250
# The highest counts, at least this far apart, are compared more finely: each official crossing scores 1 for an exact
# own crossing, 0 for one a quarter of a second off.
_CANDIDATES = 12
_APART_MS = 5_000
# The right offset must score this much more than any other. In nine real races it scores 2.4 to 4 times as much as the
# next, which is a shift by one lap (or another line, at one track); with laps equal to 0.1 % both score the same.
_CLEAR = 1.3
# If several offsets score alike, a clock that is right to two seconds is believed if it also scores as much as any: in
# eight of nine real races it is right to 0.45 s, and a field shifted by a lap and a place lacks a car's crossings.
_NEAR_ZONE_MS = 2_000
_AS_GOOD = 0.97
# Share of crossings that must have the same difference for it to be accepted: within a minute of the track's zone, and
# anywhere else. The right offset reaches 60 to 100 %, at a track with two lines 40 %.
_NEAR_MS = 60_000
_NEEDED_NEAR = 0.2
_NEEDED_FAR = 0.5
_LEAST_COINCIDENCES = 5
# Zones are multiples of a quarter hour from UTC.
_ZONE_STEP_MS = 900_000
# Crossings further than this from the median crossing are of another weekend; a race lasts up to 24 h, and its official
# clock may be that of any zone.
_SPAN_MS = 30 * 3_600_000
# Official crossings compared in the first search: with all 16,000 of a 24 h race it would take minutes.
_SAMPLED = 400
# The drift is a running median over this many crossings before and after each: about one lap of the field.
_HALF_WINDOW = 12
# A timestamp more than a second off is not the moment of the crossing (scatter is 0.05 s). If the two systems measure
# at different lines, slow cars scatter by seconds, and a late timestamp must exceed a multiple of that scatter.
_LATE_MS = 1_000.0
_LATE_SCATTERS = 8.0


def _none() -> Milliseconds:
    return np.empty(0)


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
    knots_ms: Milliseconds = field(default_factory=_none, compare=False)
    drift_ms: Milliseconds = field(default_factory=_none, compare=False)
    scatter_ms: Milliseconds = field(default_factory=_none, compare=False)

    def utc_ms(self, local_ms: Milliseconds) -> Milliseconds:
        """Return UTC in milliseconds since 1970 for official times of day."""
        shifted = local_ms + self.midnight_utc_ms + self.offset_s * 1000
        if not len(self.knots_ms):
            return shifted
        return shifted + np.interp(local_ms, self.knots_ms, self.drift_ms)

    def is_late(self, utc_ms: float, local_ms: float) -> bool:
        """Return whether a crossing is too far from the official one for its timestamp to be right."""
        expected_ms = float(self.utc_ms(np.array([local_ms]))[0])
        scatter_ms = float(np.interp(local_ms, self.knots_ms, self.scatter_ms)) if len(self.knots_ms) else 0.0
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
            knots_ms=knots,
            drift_ms=drift,
            scatter_ms=scatter,
        )


def _running_median(values: Milliseconds) -> Milliseconds:
    """Return the median around each value, of fewer values at both ends; one call takes a thirtieth of one for each."""
    medians = np.empty(len(values))
    ends = min(_HALF_WINDOW, len(values))
    if len(values) > 2 * _HALF_WINDOW:
        medians[ends : len(values) - ends] = np.median(sliding_window_view(values, 2 * _HALF_WINDOW + 1), axis=1)
    for index in {*range(ends), *range(len(values) - ends, len(values))}:
        medians[index] = np.median(values[max(0, index - _HALF_WINDOW) : index + _HALF_WINDOW + 1])
    return medians


@dataclass(frozen=True)
class ClockSearch:
    """The result of aligning the official clock.

    Attributes:
        clock: The clock without drift; ``None`` if no offset stands out.
        is_ambiguous: Whether several offsets fit alike, for example because all laps are equally long.
    """

    clock: OfficialClock | None
    is_ambiguous: bool = False


@dataclass(frozen=True)
class _Candidate:
    """An offset of official times from UTC, milliseconds, with its score and the share of crossings within reach."""

    offset_ms: float
    score: float
    share: float


def find_official_clock(crossings_ms: Sequence[int], local_ms: Sequence[int], zone: str | None) -> ClockSearch:
    """Find the offset at which the own and the official crossings fit best, clearly better than at any other.

    The zone only decides between offsets that fit alike, so a file in another zone is used, too.

    Args:
        crossings_ms: Crossings of all cars, UTC milliseconds since 1970.
        local_ms: Official crossings of all cars, milliseconds since local midnight.
        zone: IANA zone of the track, ``None`` if not known.
    """
    if not crossings_ms or not local_ms:
        return ClockSearch(None)
    own = _densest(np.sort(np.array(crossings_ms, dtype=np.float64)))
    official = np.sort(np.array(local_ms, dtype=np.float64))
    found = sorted(_candidates(own, official), key=lambda item: -item.score)
    zones = _midnights_ms(own, zone)
    needed = _LEAST_COINCIDENCES / min(len(own), len(official))
    usable = [
        item
        for item in found
        if item.share >= max(needed, _NEEDED_NEAR if _from_zone_ms(item, zones) <= _NEAR_MS else _NEEDED_FAR)
    ]
    if not usable:
        return ClockSearch(None)
    alike = [item for item in found if item.score * _CLEAR >= usable[0].score]
    near = [
        item
        for item in alike
        if item in usable and item.score >= _AS_GOOD * found[0].score and _from_zone_ms(item, zones) <= _NEAR_ZONE_MS
    ]
    if len(alike) > 1 and len(near) != 1:
        return ClockSearch(None, is_ambiguous=True)
    return ClockSearch(_clock(near[0] if near else usable[0], zones))


def _densest(own: Milliseconds) -> Milliseconds:
    """Return the crossings in the period that has most of them; the others are of another day."""
    inside = np.searchsorted(own, own + 2 * _SPAN_MS, side="right") - np.arange(len(own))
    first = int(np.argmax(inside))
    return own[first : first + int(inside[first])]


def _candidates(own: Milliseconds, official: Milliseconds) -> list[_Candidate]:
    """Return the offsets that most pairs of crossings share, each with its score."""
    sampled = official[:: max(1, len(official) // _SAMPLED)]
    late = (own[:, None] - sampled[None, :]).ravel()
    lowest = float(late.min())
    counts = np.bincount(((late - lowest) // _STEP_MS).astype(np.int64))
    pairs = np.append(counts, 0)[:-1] + np.append(counts[1:], 0)
    found: list[_Candidate] = []
    for _ in range(_CANDIDATES):
        highest = int(np.argmax(pairs))
        if not pairs[highest]:
            break
        found.append(_scored(own, official, lowest + (highest + 1) * _STEP_MS))
        width = _APART_MS // _STEP_MS
        pairs[max(0, highest - width) : highest + width + 1] = 0
    return found


def _scored(own: Milliseconds, official: Milliseconds, offset_ms: float) -> _Candidate:
    late = _nearest_ms(own, official + offset_ms)
    near = late[np.abs(late) <= 2 * _STEP_MS]
    offset_ms += float(np.median(near)) if len(near) else 0.0
    late = _nearest_ms(own, official + offset_ms)
    score = float(np.clip(1 - (late / _STEP_MS) ** 2, 0, None).sum())
    share = float((np.abs(late) <= _STEP_MS).sum()) / min(len(own), len(official))
    return _Candidate(offset_ms, score, min(share, 1.0))


def _nearest_ms(own: Milliseconds, official: Milliseconds) -> Milliseconds:
    """Return own minus official crossing, in ms, for the own crossing nearest to each official one."""
    after = np.clip(np.searchsorted(own, official), 1, max(len(own) - 1, 1))
    later = own[np.minimum(after, len(own) - 1)] - official
    earlier = own[after - 1] - official
    return np.where(np.abs(later) < np.abs(earlier), later, earlier)


def _midnights_ms(own: Milliseconds, zone: str | None) -> list[float]:
    """Return the local midnights of the crossings' days by the zone's offset then; empty if the zone is not known.

    On the day of a clock change midnight has another offset than the race, so each crossing's own offset counts.
    """
    if zone is None:
        return []
    moments = {datetime.fromtimestamp(utc_ms // 900_000 * 900, ZoneInfo(zone)) for utc_ms in own.tolist()}
    shifts = {(moment.date(), moment.utcoffset() or timedelta()) for moment in moments}
    return sorted(
        datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000 - shift.total_seconds() * 1000
        for day, shift in shifts
    )


def _from_zone_ms(candidate: _Candidate, zones: Sequence[float]) -> float:
    """Return how far an offset is from the track's zone, or from any zone if it is not known."""
    return abs(candidate.offset_ms - _midnight_near(candidate.offset_ms, zones))


def _midnight_near(offset_ms: float, zones: Sequence[float]) -> float:
    grid = round(offset_ms / _ZONE_STEP_MS) * _ZONE_STEP_MS
    return min(zones or [grid], key=lambda midnight: abs(midnight - offset_ms))


def _clock(candidate: _Candidate, zones: Sequence[float]) -> OfficialClock:
    midnight = _midnight_near(candidate.offset_ms, zones)
    if abs(candidate.offset_ms - midnight) > _ZONE_STEP_MS:
        midnight = _midnight_near(candidate.offset_ms, [])
    return OfficialClock(round(midnight), (candidate.offset_ms - midnight) / 1000, candidate.share)

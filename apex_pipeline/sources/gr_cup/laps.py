"""Laps: what lies between two crossings of the line, and what speaks against its time.

Here belong the rules by which a lap counts or does not. They use nothing but the session's own laps, so they hold on a
track nobody has seen: no length, no lap record, no fixed limits. Nothing is dropped: a doubtful lap is kept and marked.
The rules in words: docs/laps.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median, quantiles

import pyarrow as pa

from apex_pipeline.schemas import LAPS
from apex_pipeline.sources.gr_cup.crossings import Crossing, find_crossings
from apex_pipeline.sources.gr_cup.triggers import Trigger

# The faster quarter of a session's laps is the measure of a brisk lap. A lap below 80 % of it was not driven; one below
# 95 % was not either unless at least two other laps come within 3 % of it (in a practice few laps are fast, but a fast
# lap is never alone: the false ones found in real files are).
_NEVER_SHARE = 0.8
_SHORT_SHARE = 0.95
_NEAR_SHARE = 1.03
_LAPS_NEARBY = 2
# A late stamp makes one lap too long and the next too short by the same amount. Found pairs are 15 to 35 s; below 5 s
# or 5 % a driver's mistake followed by a good lap looks the same.
_PAIR_LEAST_S = 5.0
_PAIR_LEAST_SHARE = 0.05
_PAIR_AGREES_S = 2.0
# The unit's own time and the trigger difference agree within 50 ms in most laps; half a second apart, one is wrong.
_UNIT_AGREES_S = 0.5
# A lap of about two of the car's laps holds a crossing that was never sent, unless the whole field was slow then.
_DOUBLE = (1.8, 2.2)
_SLOW_SHARE = 1.3

# Confidence of a lap time; the least of what applies counts.
_UNIT_AGREES = 0.95
_NO_UNIT_TIME = 0.9
_UNIT_DISAGREES = 0.5
_SPOKEN_AGAINST = 0.1

# The suffix of vehicle_id names another car for 14 of the 213 cars of nine real sessions, and no number at all for two.
_SUFFIX_CONFIDENCE = 0.3

# Flags that speak against the lap time.
_INVALIDATING = frozenset({"late_trigger_pair", "implausibly_short", "missing_crossing"})


@dataclass(frozen=True)
class LapReport:
    """Counts behind the laps of a session."""

    triggers: int
    crossings: int
    bounced_triggers: int
    laps: int
    valid_laps: int
    cars: int
    cars_without_laps: int


@dataclass
class _Lap:
    start: Crossing
    end: Crossing
    number: int
    flags: list[str] = field(default_factory=list[str])

    @property
    def time_s(self) -> float:
        return (self.end.utc_ms - self.start.utc_ms) / 1000

    @property
    def unit_time_s(self) -> float | None:
        value = self.end.unit_lap_time_ms
        return value / 1000 if value is not None and value > 0 else None

    @property
    def is_valid(self) -> bool:
        return not _INVALIDATING & set(self.flags)


def derive_laps(track: str, session: str, triggers: Sequence[Trigger]) -> tuple[pa.Table, LapReport]:
    """Derive the laps of a session.

    Args:
        track: Track slug.
        session: Session.
        triggers: The triggers of all its lap files, in any order.

    Returns:
        The table ``laps`` and the counts behind it.
    """
    crossings = find_crossings(triggers)
    by_car = {car: _laps_between(passings) for car, passings in crossings.items()}
    laps = [lap for car in by_car.values() for lap in car]
    _flag(by_car)
    rows = [_row(track, session, lap) for lap in laps]
    report = LapReport(
        triggers=len(triggers),
        crossings=sum(map(len, crossings.values())),
        bounced_triggers=sum(crossing.bounces for passings in crossings.values() for crossing in passings),
        laps=len(laps),
        valid_laps=sum(lap.is_valid for lap in laps),
        cars=len(crossings),
        cars_without_laps=sum(not car for car in by_car.values()),
    )
    return LAPS.from_rows(rows), report


def _laps_between(crossings: list[Crossing]) -> list[_Lap]:
    return [_Lap(start, end, number + 1) for number, (start, end) in enumerate(pairwise(crossings))]


def _flag(by_car: dict[str, list[_Lap]]) -> None:
    """Mark every lap with what there is to say about it."""
    all_laps = [lap for laps in by_car.values() for lap in laps]
    if not all_laps:
        return
    times = sorted(lap.time_s for lap in all_laps)
    typical = {car: median(lap.time_s for lap in laps) for car, laps in by_car.items() if laps}
    for car, laps in by_car.items():
        for lap in laps:
            lap.flags += _own_flags(lap, times)
        _flag_late_pairs(laps, typical.get(car, 0.0))
    for car, laps in by_car.items():
        for lap in laps:
            lap.flags += _length_flags(lap, typical[car], _is_field_slow(lap, by_car, typical))


def _is_implausibly_short(time_s: float, times: list[float]) -> bool:
    """Tell whether nobody can have driven this lap, judged by all lap times of the session, sorted."""
    brisk = quantiles(times, n=4)[0] if len(times) > 1 else times[0]
    if time_s >= _SHORT_SHARE * brisk:
        return False
    others_near = bisect_right(times, _NEAR_SHARE * time_s) - bisect_left(times, time_s / _NEAR_SHARE) - 1
    return time_s < _NEVER_SHARE * brisk or others_near < _LAPS_NEARBY


def _own_flags(lap: _Lap, times: list[float]) -> list[str]:
    """Return what the lap's own messages and its place among all lap times say."""
    unit = lap.unit_time_s
    said = {
        "bounced_trigger": lap.start.bounces > 0 or lap.end.bounces > 0,
        "unit_lap_lost": lap.end.lost_count,
        "unit_value_disagrees": unit is not None and abs(unit - lap.time_s) > _UNIT_AGREES_S,
        "implausibly_short": _is_implausibly_short(lap.time_s, times),
    }
    return [flag for flag, applies in said.items() if applies]


def _flag_late_pairs(laps: list[_Lap], typical: float) -> None:
    least = max(_PAIR_LEAST_S, _PAIR_LEAST_SHARE * typical)
    for long, short in pairwise(laps):
        is_split_wrong = long.time_s - typical > least and typical - short.time_s > least
        if is_split_wrong and abs(long.time_s + short.time_s - 2 * typical) < max(_PAIR_AGREES_S, least):
            for lap in (long, short):
                lap.flags.append("late_trigger_pair")


def _is_field_slow(lap: _Lap, by_car: dict[str, list[_Lap]], typical: dict[str, float]) -> bool:
    """Tell whether most other cars were slow too when this lap was driven (full-course yellow, red flag, formation)."""
    middle = (lap.start.utc_ms + lap.end.utc_ms) // 2
    around = [
        other.time_s > _SLOW_SHARE * typical[car]
        for car, laps in by_car.items()
        if car != lap.end.vehicle_id
        for other in laps
        if other.start.utc_ms <= middle < other.end.utc_ms
    ]
    return bool(around) and 2 * sum(around) > len(around)


def _length_flags(lap: _Lap, typical: float, is_field_slow: bool) -> list[str]:  # noqa: FBT001  -- a fact, not a switch
    if lap.time_s <= _SLOW_SHARE * typical:
        return []
    if is_field_slow:
        return ["slow_field"]
    if _DOUBLE[0] * typical <= lap.time_s <= _DOUBLE[1] * typical and "late_trigger_pair" not in lap.flags:
        return ["missing_crossing"]
    return ["long_lap"]


def _confidence(lap: _Lap) -> float:
    if not lap.is_valid:
        return _SPOKEN_AGAINST
    if "unit_value_disagrees" in lap.flags:
        return _UNIT_DISAGREES
    return _UNIT_AGREES if lap.unit_time_s is not None else _NO_UNIT_TIME


def _row(track: str, session: str, lap: _Lap) -> dict[str, object]:
    chassis, number = split_vehicle_id(lap.end.vehicle_id)
    evidence = lap.end.evidence
    return {
        "track": track,
        "session": session,
        "vehicle_id": lap.end.vehicle_id,
        "chassis": chassis,
        "car_number": number,
        "car_number_method": "suffix" if number else None,
        "car_number_confidence": _SUFFIX_CONFIDENCE if number else None,
        "lap_number": lap.number,
        "unit_lap": lap.end.ended_unit_lap,
        "lap_start_utc": _moment(lap.start.utc_ms),
        "lap_end_utc": _moment(lap.end.utc_ms),
        "lap_time_s": lap.time_s,
        "lap_time_method": "trigger",
        "trigger_lap_time_s": lap.time_s,
        "unit_lap_time_s": lap.unit_time_s,
        "confidence": _confidence(lap),
        "is_valid": lap.is_valid,
        "flags": lap.flags,
        "source_file": evidence.file,
        "source_row": evidence.line,
    }


def split_vehicle_id(vehicle_id: str) -> tuple[str, str | None]:
    """Return chassis and car number as written; ``000`` means that no number was assigned yet.

    An id that is not ``GR86-<chassis>-<car>`` is its own chassis.
    """
    parts = vehicle_id.split("-")
    if len(parts) < 3:  # noqa: PLR2004  -- make, chassis, number
        return vehicle_id, None
    number = parts[-1]
    return "-".join(parts[1:-1]), number if number.strip("0") else None


def _moment(utc_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms)


__all__ = ["LapReport", "derive_laps", "split_vehicle_id"]

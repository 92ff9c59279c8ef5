"""Laps: what lies between two crossings of the line, and what speaks against its time.

Here belong the rules by which a lap counts or does not. They use nothing but the session's own laps, so they hold on a
track nobody has seen: no length, no lap record, no fixed limits. Nothing is dropped: a doubtful lap is kept and marked.
Not here: which triggers are one crossing (``crossings.py``). The rules in words: docs/laps.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median_low, quantiles

import pyarrow as pa

from apex_pipeline.schemas import LAPS
from apex_pipeline.sources.gr_cup.crossings import Crossing, find_crossings
from apex_pipeline.sources.gr_cup.triggers import Trigger
from apex_pipeline.sources.gr_cup.vehicle_id import split_vehicle_id

# The faster quarter of a session's laps is the measure of a brisk lap. A lap below 80 % of it was not driven; one below
# 95 % was not either unless at least two other laps come within 3 % of it (in a practice few laps are fast, but a fast
# lap is never alone: the false ones found in real files are).
_NEVER_SHARE = 0.8
_SHORT_SHARE = 0.95
_NEAR_SHARE = 1.03
_LAPS_NEARBY = 2
# A late stamp moves the same time from one lap to the next: found cases are 15 to 50 s. Less than 5 % of a lap is also
# a driver's mistake before a good lap; and the two laps together miss two usual ones by less than 3 % of one.
_PAIR_LEAST_SHARE = 0.05
_PAIR_AGREES_SHARE = 0.03
# The unit's own time and the trigger difference agree within 50 ms in most laps; half a second apart, one is wrong.
_UNIT_AGREES_S = 0.5
# A lap of about two of the car's laps holds a crossing that was never sent, unless the whole field was slow then.
_DOUBLE = (1.8, 2.2)
_SLOW_SHARE = 1.3
# The middle one of three laps was driven at the car's pace; of two, one may be the way out of the pits.
_LAPS_FOR_OWN_PACE = 3

# Confidence of a lap time: confirmed by the unit's own watch, alone, contradicted by it, spoken against by a flag.
_UNIT_AGREES = 0.95
_NO_UNIT_TIME = 0.9
_UNIT_DISAGREES = 0.5
_SPOKEN_AGAINST = 0.1

# The suffix is what somebody typed into the unit, and nothing here confirms it: in nine real sessions it names another
# car for 14 of 213 (3 of 20 at Barber), no number at all for two, and the wrong ones look like the right ones.
_SUFFIX_CONFIDENCE = 0.3

# Flags that speak against the lap time.
_INVALIDATING = frozenset({"late_trigger_pair", "implausibly_short", "missing_crossing"})


@dataclass(frozen=True)
class LapReport:
    """Counts behind the laps of a session.

    Attributes:
        triggers: Triggers handed in.
        repeated_triggers: Of these, messages that were written twice.
        bounced_triggers: Of these, reports of a crossing beyond the first of each kind.
        crossings: Crossings the triggers are taken together to.
        laps: Laps between them: one less than crossings, for each car.
        valid_laps: Of these, laps nothing speaks against.
        cars: Cars with at least one trigger.
        cars_without_laps: Of these, cars that crossed the line once only.
    """

    triggers: int
    repeated_triggers: int
    bounced_triggers: int
    crossings: int
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
    def vehicle_id(self) -> str:
        return self.end.vehicle_id

    @property
    def time_s(self) -> float:
        return (self.end.utc_ms - self.start.utc_ms) / 1000

    @property
    def unit_time_s(self) -> float | None:
        value = self.end.unit_lap_time_ms
        return None if value is None else value / 1000

    @property
    def is_valid(self) -> bool:
        return _INVALIDATING.isdisjoint(self.flags)


class _Pace:
    """What is usual in a session, for all cars together and for each."""

    def __init__(self, by_car: dict[str, list[_Lap]]) -> None:
        self.laps = [lap for laps in by_car.values() for lap in laps]
        self.times = sorted(lap.time_s for lap in self.laps)
        self.brisk = quantiles(self.times, n=4)[0] if len(self.times) > 1 else self.times[0]
        usual = median_low(self.times)
        self.typical = {
            car: median_low(lap.time_s for lap in laps) if len(laps) >= _LAPS_FOR_OWN_PACE else usual
            for car, laps in by_car.items()
        }

    def is_implausibly_short(self, time_s: float) -> bool:
        """Tell whether nobody can have driven this lap."""
        if time_s >= _SHORT_SHARE * self.brisk:
            return False
        first, last = bisect_left(self.times, time_s / _NEAR_SHARE), bisect_right(self.times, time_s * _NEAR_SHARE)
        others_near = last - first - 1
        return time_s < _NEVER_SHARE * self.brisk or others_near < _LAPS_NEARBY

    def is_slow(self, lap: _Lap) -> bool:
        """Tell whether the lap is long for its car."""
        return lap.time_s > _SLOW_SHARE * self.typical[lap.vehicle_id]

    def was_field_slow(self, lap: _Lap) -> bool:
        """Tell whether most other cars were slow too when this lap was driven (yellow flag, red flag, formation)."""
        middle_ms = (lap.start.utc_ms + lap.end.utc_ms) // 2
        around = [
            self.is_slow(other)
            for other in self.laps
            if other.vehicle_id != lap.vehicle_id and other.start.utc_ms <= middle_ms < other.end.utc_ms
        ]
        return 2 * sum(around) > len(around)


def derive_laps(track: str, session: str, triggers: Sequence[Trigger]) -> tuple[pa.Table, LapReport]:
    """Derive the laps of a session: what lies between successive crossings of each car.

    Args:
        track: Track slug.
        session: Session.
        triggers: The triggers of all its lap files, in any order.

    Returns:
        The table ``laps`` and the counts behind it.
    """
    crossings = find_crossings(triggers)
    by_car = {car: _laps_between(passings) for car, passings in crossings.items()}
    _flag(by_car)
    laps = [lap for car in by_car.values() for lap in car]
    passings = [crossing for car in crossings.values() for crossing in car]
    report = LapReport(
        triggers=len(triggers),
        repeated_triggers=len(triggers) - sum(len(crossing.triggers) for crossing in passings),
        bounced_triggers=sum(crossing.bounces for crossing in passings),
        crossings=len(passings),
        laps=len(laps),
        valid_laps=sum(lap.is_valid for lap in laps),
        cars=len(by_car),
        cars_without_laps=sum(not car for car in by_car.values()),
    )
    return LAPS.from_rows([_row(track, session, lap) for lap in laps]), report


def _laps_between(crossings: list[Crossing]) -> list[_Lap]:
    return [_Lap(start, end, number) for number, (start, end) in enumerate(pairwise(crossings), start=1)]


def _flag(by_car: dict[str, list[_Lap]]) -> None:
    """Mark every lap with what there is to say about it."""
    if not any(by_car.values()):
        return
    pace = _Pace(by_car)
    for laps in by_car.values():
        for lap in laps:
            lap.flags += _own_flags(lap, pace)
        for long, short in pairwise(laps):
            if _is_late_pair(long, short, pace):
                long.flags.append("late_trigger_pair")
                short.flags.append("late_trigger_pair")
        for lap in laps:
            if pace.is_slow(lap) and "late_trigger_pair" not in lap.flags:
                lap.flags.append(_reason_for_length(lap, pace))


def _own_flags(lap: _Lap, pace: _Pace) -> list[str]:
    """Return what the lap's own messages and its place among all lap times say."""
    unit = lap.unit_time_s
    said = {
        "bounced_trigger": lap.start.bounces > 0 or lap.end.bounces > 0,
        "unit_lap_lost": lap.end.lost_count,
        "unit_value_disagrees": unit is not None and abs(unit - lap.time_s) > _UNIT_AGREES_S,
        "implausibly_short": pace.is_implausibly_short(lap.time_s),
    }
    return [flag for flag, applies in said.items() if applies]


def _is_late_pair(long: _Lap, short: _Lap, pace: _Pace) -> bool:
    """Tell whether the crossing between two laps was stamped late."""
    typical = pace.typical[long.vehicle_id]
    least = _PAIR_LEAST_SHARE * typical
    is_long = long.time_s - typical > least and not pace.was_field_slow(long)
    # Short for the field too: where a car gets faster from lap to lap, its middle lap lies between any two.
    is_short = typical - short.time_s > least and short.time_s < _SHORT_SHARE * pace.brisk
    return is_long and is_short and abs(long.time_s + short.time_s - 2 * typical) < _PAIR_AGREES_SHARE * typical


def _reason_for_length(lap: _Lap, pace: _Pace) -> str:
    if pace.was_field_slow(lap):
        return "slow_field"
    ratio = lap.time_s / pace.typical[lap.vehicle_id]
    return "missing_crossing" if _DOUBLE[0] <= ratio <= _DOUBLE[1] else "long_lap"


def _confidence(lap: _Lap) -> float:
    if not lap.is_valid:
        return _SPOKEN_AGAINST
    if "unit_value_disagrees" in lap.flags:
        return _UNIT_DISAGREES
    return _NO_UNIT_TIME if lap.unit_time_s is None else _UNIT_AGREES


def _row(track: str, session: str, lap: _Lap) -> dict[str, object]:
    chassis, number = split_vehicle_id(lap.vehicle_id)
    evidence = lap.end.evidence
    return {
        "track": track,
        "session": session,
        "vehicle_id": lap.vehicle_id,
        "chassis": chassis,
        "car_number": number,
        "car_number_method": "suffix" if number else None,
        "car_number_confidence": _SUFFIX_CONFIDENCE if number else None,
        "lap_number": lap.number,
        "unit_lap": lap.end.ended_unit_lap,
        "lap_start_utc": lap.start.utc_ms,
        "lap_end_utc": lap.end.utc_ms,
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


__all__ = ["LapReport", "derive_laps"]

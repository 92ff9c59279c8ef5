"""Derives laps from the cars' own data: finds, flags, repairs and times them.

Runs these steps in order and chooses the source of each lap time. Official timing is not used here, so it can serve as
an independent reference; see docs/laps.md for the comparison.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing, TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap, lap_between
from apex_pipeline.sources.gr_cup.laps.lap_flags import (
    flag_adjacent_laps,
    flag_lap,
    flag_long_lap,
    main_day_ms,
    merge_split_laps,
    split_days,
)
from apex_pipeline.sources.gr_cup.laps.late_crossings import repair_late_crossings
from apex_pipeline.sources.gr_cup.laps.non_racing_laps import flag_non_racing_laps
from apex_pipeline.sources.gr_cup.laps.pace import Pace
from apex_pipeline.sources.gr_cup.laps.telemetry_evidence import apply_telemetry

# The device's lap timer is used if it differs from the timestamps by less than this (88 % of such laps are within 0.1 s
# of official timing, against 40 % by the timestamps). If they differ by more, the timer missed or invented a crossing.
_TIMER_TOLERANCE_S = 1.0
# Racing laps are within this of a typical one. Of laps by the lap timer next to a slower one, 1 % are off by more than
# half a second (at COTA 52 %); of all others none.
_EVEN_SHARE = 1.06
# A driver's laps scatter by 0.3 %: one that is 2 % slower did not end as fast as it began.
_AT_PACE_SHARE = 1.02


def laps_by_car(
    crossings: Mapping[str, Sequence[Crossing]], telemetry_crossings: Sequence[TelemetryCrossing]
) -> dict[str, list[Lap]]:
    """Return each car's laps in chronological order, flagged, repaired and timed.

    Args:
        crossings: Crossings by car, in chronological order.
        telemetry_crossings: Crossings detected in telemetry; empty if telemetry was not read.
    """
    by_car = {car: _laps_between(telemetry_crossings) for car, telemetry_crossings in crossings.items()}
    pace = Pace(by_car)
    by_car = {car: merge_split_laps(laps, pace) for car, laps in by_car.items()}
    repair_late_crossings(by_car, Pace(by_car))
    pace = Pace(by_car)
    for laps in by_car.values():
        _flag_car(laps, pace)
    apply_telemetry(by_car, telemetry_crossings)
    flag_non_racing_laps(by_car, pace)
    for laps in by_car.values():
        _mark_uneven_pace(laps, pace)
    _flag_other_days(by_car, crossings)
    return by_car


def _laps_between(crossings: Sequence[Crossing]) -> list[Lap]:
    return [lap_between(start, end) for day in split_days(crossings) for start, end in pairwise(day)]


def _flag_car(laps: list[Lap], pace: Pace) -> None:
    for lap in laps:
        flag_lap(lap, pace)
    if laps and laps[0].start and laps[0].start.has_lost_counter:
        # No lap ends at this crossing, so the first lap gets the flag.
        laps[0].flags.add(Flag.UNIT_LAP_LOST)
    flag_adjacent_laps(laps, pace)
    for number, lap in enumerate(laps, start=1):
        lap.number = number
        _choose_time(lap)
        if Flag.LATE_TRIGGER_PAIR not in lap.flags:
            flag_long_lap(lap, pace)


def _mark_uneven_pace(laps: Sequence[Lap], pace: Pace) -> None:
    for before, lap in pairwise(laps):
        if max(pace.ratio(before), pace.ratio(lap)) > _EVEN_SHARE:
            before.is_pace_even = lap.is_pace_even = False
    for lap in laps:
        lap.is_at_pace = pace.ratio(lap) <= _AT_PACE_SHARE


def _flag_other_days(by_car: Mapping[str, Sequence[Lap]], crossings: Mapping[str, Sequence[Crossing]]) -> None:
    if not any(by_car.values()):
        return
    start_ms, end_ms = main_day_ms(crossings)
    for lap in (lap for laps in by_car.values() for lap in laps):
        if lap.end_ms is not None and not start_ms <= lap.end_ms <= end_ms:
            lap.flags.add(Flag.OTHER_DAY)


def _choose_time(lap: Lap) -> None:
    """Use the device's lap timer, which is immune to late timestamps, if the timestamps confirm it."""
    if lap.method == "trigger" and lap.unit_s is not None and abs(lap.unit_s - lap.duration_s) < _TIMER_TOLERANCE_S:
        lap.time_s, lap.method = lap.unit_s, "unit_value"

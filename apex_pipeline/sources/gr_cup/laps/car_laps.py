"""The laps as the cars tell them: from crossings to judged laps with the best time the car's own data gives.

Here belong the order of the steps and the choice between sources. Official timing is not known here, which is what
makes it a referee: docs/laps.md compares.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing, TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap, lap_between
from apex_pipeline.sources.gr_cup.laps.lap_flags import (
    flag_adjacent_laps,
    flag_lap,
    flag_long_lap,
    flag_non_racing_laps,
    main_stretch_ms,
    merge_split_laps,
    split_outings,
)
from apex_pipeline.sources.gr_cup.laps.late_crossings import repair_late_crossings
from apex_pipeline.sources.gr_cup.laps.pace import Pace
from apex_pipeline.sources.gr_cup.laps.telemetry_evidence import apply_telemetry

# Where the unit's watch and the stamps differ by less, the watch is right (88 % of such laps within 0.1 s of official
# timing, against 40 % by the stamps); where by more, the watch has missed or invented a crossing.
_WATCH_TRUSTED_S = 1.0


def laps_by_car(
    crossings: Mapping[str, Sequence[Crossing]], passings: Sequence[TelemetryCrossing]
) -> dict[str, list[Lap]]:
    """Return every car's laps in order: found, judged, repaired, timed.

    Args:
        crossings: Crossings by car, in time.
        passings: Passings of the line that telemetry shows; none if it was not asked.
    """
    by_car = {car: _between(passings) for car, passings in crossings.items()}
    pace = Pace(by_car)
    by_car = {car: merge_split_laps(laps, pace) for car, laps in by_car.items()}
    pace = Pace(by_car)
    for laps in by_car.values():
        _flag_car(laps, pace)
    apply_telemetry(by_car, passings)
    flag_non_racing_laps(by_car, pace)
    _mark_other_days(by_car, crossings)
    return by_car


def _between(crossings: Sequence[Crossing]) -> list[Lap]:
    return [lap_between(start, end) for outing in split_outings(crossings) for start, end in pairwise(outing)]


def _flag_car(laps: list[Lap], pace: Pace) -> None:
    for lap in laps:
        flag_lap(lap, pace)
    if laps and laps[0].start and laps[0].start.has_lost_counter:
        # There is no lap before to say it of.
        laps[0].flags.add(Flag.UNIT_LAP_LOST)
    repair_late_crossings(laps, pace)
    flag_adjacent_laps(laps, pace)
    for number, lap in enumerate(laps, start=1):
        lap.number = number
        _choose_time(lap)
        if Flag.LATE_TRIGGER_PAIR not in lap.flags:
            flag_long_lap(lap, pace)


def _mark_other_days(by_car: Mapping[str, Sequence[Lap]], crossings: Mapping[str, Sequence[Crossing]]) -> None:
    if not any(by_car.values()):
        return
    begin_ms, end_ms = main_stretch_ms(crossings)
    for lap in (lap for laps in by_car.values() for lap in laps):
        if lap.end_ms is not None and not begin_ms <= lap.end_ms <= end_ms:
            lap.flags.add(Flag.OTHER_DAY)


def _choose_time(lap: Lap) -> None:
    """Take the unit's own watch where the stamps confirm it: it does not depend on when the message was stamped."""
    if lap.method == "trigger" and lap.unit_s is not None and abs(lap.unit_s - lap.duration_s) < _WATCH_TRUSTED_S:
        lap.time_s, lap.method = lap.unit_s, "unit_value"

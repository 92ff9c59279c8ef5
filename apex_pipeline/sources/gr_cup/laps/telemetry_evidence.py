"""Adds telemetry to the laps: crossings missing from the lap files, and lap times by the car's own clock.

A telemetry crossing alone does not start a new lap. It is used to split a lap that is twice as long as it should be, or
to time laps if it confirms a crossing in the lap files. See ``telemetry/crossings.py`` for the detection of these
crossings.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

from apex_pipeline.sources.gr_cup.laps.crossings import TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap

# Telemetry times are receive times minus the car's usual delay: about a second late, constant over a session.
_SAME_CROSSING_MS = 3_000
# Middle part of a double lap, with a wide margin: a lap under a yellow flag takes 1.5 times as long.
_MIDDLE = (0.3, 0.7)
# A timestamp can be a second late; the car's clock is not.
_MAX_DIFFERENCE_S = 1.5
# If the car's clock agrees with the timestamps within this, they were not late after all.
_CONFIRMED_S = 0.2


def apply_telemetry(by_car: Mapping[str, list[Lap]], crossings: Iterable[TelemetryCrossing]) -> None:
    """Split double laps at the telemetry crossing in the middle, and time laps by the car's own clock.

    Args:
        by_car: Flagged laps by car, in chronological order; changed in place.
        crossings: Telemetry crossings of all cars, in any order.
    """
    of_car: defaultdict[str, list[TelemetryCrossing]] = defaultdict(list)
    for crossing in sorted(crossings, key=lambda item: item.utc_ms):
        of_car[crossing.vehicle_id].append(crossing)
    for car, found in of_car.items():
        laps = by_car.get(car, [])
        late_ms = _median_lateness_ms(laps, found)
        laps[:] = [part for lap in laps for part in _split(lap, found, late_ms)]
        for number, lap in enumerate(laps, start=1):
            lap.number = number
            _time(lap, found, late_ms)


def _median_lateness_ms(laps: Iterable[Lap], crossings: Iterable[TelemetryCrossing]) -> float:
    """Return the median delay of a car's telemetry crossings relative to its triggers, in ms."""
    ends_ms = [moment for lap in laps for moment in (lap.start_ms, lap.end_ms) if moment is not None]
    nearest = [min((crossing.utc_ms - end for end in ends_ms), key=abs) for crossing in crossings if ends_ms]
    near = [late for late in nearest if abs(late) < _SAME_CROSSING_MS]
    return median(near) if near else 0.0


def _split(lap: Lap, crossings: Iterable[TelemetryCrossing], late_ms: float) -> list[Lap]:
    """Return the two halves of a double lap if exactly one telemetry crossing is in its middle, else the lap."""
    if Flag.MISSING_CROSSING not in lap.flags or lap.start_ms is None or lap.end_ms is None:
        return [lap]
    first_ms, last_ms = (lap.start_ms + share * (lap.end_ms - lap.start_ms) for share in _MIDDLE)
    between = [item for item in crossings if first_ms <= item.utc_ms - late_ms <= last_ms]
    if len(between) != 1:
        return [lap]
    middle_ms = round(between[0].utc_ms - late_ms)
    first = Lap(lap.vehicle_id, lap.start, None, lap.start_ms, middle_ms, set(lap.flags), telemetry_crossing=between[0])
    second = Lap(lap.vehicle_id, None, lap.end, middle_ms, lap.end_ms, set(lap.flags), telemetry_crossing=between[0])
    for part in (first, second):
        part.time_s, part.method = part.duration_s, "telemetry"
    return [first, second]


def _time(lap: Lap, crossings: list[TelemetryCrossing], late_ms: float) -> None:
    """Set the lap's telemetry time, and use it as the lap time unless the device's lap timer gave one."""
    start, end = (_crossing_at(moment, crossings, late_ms) for moment in (lap.start_ms, lap.end_ms))
    if start is None or end is None or start.car_ms is None or end.car_ms is None:
        return
    lap.telemetry_s = (end.car_ms - start.car_ms) / 1000
    if lap.method != "unit_value" and abs(lap.telemetry_s - lap.duration_s) < _MAX_DIFFERENCE_S:
        lap.time_s, lap.method = lap.telemetry_s, "telemetry"
        if lap.trigger_s is not None and abs(lap.telemetry_s - lap.trigger_s) < _CONFIRMED_S:
            lap.flags.discard(Flag.LATE_TRIGGER_PAIR)


def _crossing_at(moment_ms: int | None, crossings: list[TelemetryCrossing], late_ms: float) -> TelemetryCrossing | None:
    if moment_ms is None:
        return None
    nearest = min(crossings, key=lambda item: abs(item.utc_ms - late_ms - moment_ms))
    return nearest if abs(nearest.utc_ms - late_ms - moment_ms) < _SAME_CROSSING_MS else None

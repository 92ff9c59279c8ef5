"""Telemetry as a second witness: passings of the line that the lap files miss, and lap times by the car's own clock.

Here belongs bringing passings and laps together. A passing alone proves no crossing: it counts where a lap is twice as
long as it should be and the line was passed in its middle, or where it confirms a crossing the lap files have too.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

from apex_pipeline.sources.gr_cup.laps.crossings import TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap

# Telemetry's times are receive times less the car's usual delay, about a second late, the same for a whole session.
_SAME_CROSSING_MS = 3_000
# The middle of a double lap, generously: a lap under yellow is half as long again.
_MIDDLE = (0.3, 0.7)
# A stamp may be a second late, the car's clock is not.
_TRUSTED_S = 1.5
# Where it agrees with the stamps within this, they were not late after all.
_CONFIRMED_S = 0.2


def apply_telemetry(by_car: Mapping[str, list[Lap]], passings: Iterable[TelemetryCrossing]) -> None:
    """Split double laps where telemetry shows the crossing between, and time laps by the car's own clock.

    Args:
        by_car: Judged laps by car, in order; changed in place.
        passings: Passings of all cars.
    """
    of_car: defaultdict[str, list[TelemetryCrossing]] = defaultdict(list)
    for passing in sorted(passings, key=lambda item: item.utc_ms):
        of_car[passing.vehicle_id].append(passing)
    for car, found in of_car.items():
        laps = by_car.get(car, [])
        late_ms = _usual_lateness_ms(laps, found)
        laps[:] = [part for lap in laps for part in _split(lap, found, late_ms)]
        for number, lap in enumerate(laps, start=1):
            lap.number = number
            _time(lap, found, late_ms)


def _usual_lateness_ms(laps: Iterable[Lap], passings: Iterable[TelemetryCrossing]) -> float:
    """Return how much later than the stamp the car's passings are: the middle one of those near a crossing."""
    ends_ms = [moment for lap in laps for moment in (lap.start_ms, lap.end_ms) if moment is not None]
    nearest = [min((passing.utc_ms - end for end in ends_ms), key=abs) for passing in passings if ends_ms]
    near = [late for late in nearest if abs(late) < _SAME_CROSSING_MS]
    return median(near) if near else 0.0


def _split(lap: Lap, passings: Iterable[TelemetryCrossing], late_ms: float) -> list[Lap]:
    """Return the two laps a double one is made of, if telemetry shows one passing in its middle."""
    if Flag.MISSING_CROSSING not in lap.flags or lap.start_ms is None or lap.end_ms is None:
        return [lap]
    first_ms, last_ms = (lap.start_ms + share * (lap.end_ms - lap.start_ms) for share in _MIDDLE)
    between = [item for item in passings if first_ms <= item.utc_ms - late_ms <= last_ms]
    if len(between) != 1:
        return [lap]
    middle_ms = round(between[0].utc_ms - late_ms)
    first = Lap(lap.vehicle_id, lap.start, None, lap.start_ms, middle_ms, set(lap.flags), telemetry_crossing=between[0])
    second = Lap(lap.vehicle_id, None, lap.end, middle_ms, lap.end_ms, set(lap.flags), telemetry_crossing=between[0])
    for part in (first, second):
        part.time_s, part.method = part.duration_s, "telemetry"
    return [first, second]


def _time(lap: Lap, passings: list[TelemetryCrossing], late_ms: float) -> None:
    """Give the lap the time between its two passings, and take it where nothing better is there."""
    begin, end = (_crossing_at(moment, passings, late_ms) for moment in (lap.start_ms, lap.end_ms))
    if begin is None or end is None or begin.car_ms is None or end.car_ms is None:
        return
    lap.telemetry_s = (end.car_ms - begin.car_ms) / 1000
    if lap.method != "unit_value" and abs(lap.telemetry_s - lap.duration_s) < _TRUSTED_S:
        lap.time_s, lap.method = lap.telemetry_s, "telemetry"
        if lap.trigger_s is not None and abs(lap.telemetry_s - lap.trigger_s) < _CONFIRMED_S:
            lap.flags.discard(Flag.LATE_TRIGGER_PAIR)


def _crossing_at(moment_ms: int | None, passings: list[TelemetryCrossing], late_ms: float) -> TelemetryCrossing | None:
    if moment_ms is None:
        return None
    nearest = min(passings, key=lambda item: abs(item.utc_ms - late_ms - moment_ms))
    return nearest if abs(nearest.utc_ms - late_ms - moment_ms) < _SAME_CROSSING_MS else None

"""Chooses the two laps whose traces a report shows, and puts them on distance."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil

from apex_pipeline.catalog.lap import Lap, lap_of_row
from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.distance import Delta, DistanceLap
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.tables import TELEMETRY, TELEMETRY_CARS
from apex_pipeline.tables.model import Row

SPEED = "speed_kph"
# The first of each that one of the laps has; a blade opens as the pedal says, but for the control of the engine.
_PEDALS = (("accelerator_pedal_pct", "throttle_blade_pct"), ("brake_front_bar", "brake_rear_bar"))
# A screen has no more pixels across. 2 m is half of what a car drives between two readings of a pedal.
_MOST_POINTS = 2_000
_FINEST_M = 2.0
_SHOWN = 2
# Laps of a car that are looked at before it is said to have none: a thinned session keeps single ones of a race's 60.
_MOST_TRIED = 60


@dataclass(frozen=True)
class Traces:
    """One lap or two on distance.

    Attributes:
        laps: The faster one first.
        on_distance: The same on equal steps of distance.
        delta: How far the second is behind the first; ``None`` with one lap.
        notes: What to know, in sentences.
    """

    laps: tuple[Lap, ...]
    on_distance: tuple[DistanceLap, ...]
    delta: Delta | None
    notes: tuple[str, ...]


def traces_of(session: RaceSession) -> Traces | str:
    """Return the best laps with telemetry of two cars, or of one car if no other has any; or why there is none."""
    if not session.catalog.has_table(TELEMETRY.name, *session.key):
        return "None of the session's files has telemetry."
    found = _best_laps(session)
    if not found:
        return "No car has a valid lap with telemetry."
    try:
        step_m = _step(found[0].samples().track_length_m)
        return _one(found[0], step_m) if len(found) == 1 else _both(found[0], found[1], step_m)
    except (ConfigurationError, ObjectMissingError) as error:
        return str(error)


def _step(length_m: float) -> float:
    """Return the distance between two points, a multiple of half a metre."""
    return max(_FINEST_M, ceil(2 * length_m / _MOST_POINTS) / 2)


def _best_laps(session: RaceSession) -> list[Lap]:
    """Return the best laps with telemetry of two cars, the fastest first, or of one car if no other has any."""
    found: list[Lap] = []
    rest: Iterator[Lap] = iter(())
    for rows in _valid_laps(session):
        laps = _with_telemetry(session, rows)
        if (best := next(laps, None)) is not None:
            rest = rest if found else laps
            found.append(best)
        if len(found) == _SHOWN:
            return found
    return [*found, *islice(rest, 1)]


def _valid_laps(session: RaceSession) -> list[list[Row]]:
    """Return the valid laps of each car that sent telemetry, the fastest first; cars whose clock stood still last."""
    clocks: dict[str, bool] = {}
    for row in session.catalog.table_arrow(TELEMETRY_CARS.name, *session.key).to_pylist():
        clocks[row["vehicle_id"]] = clocks.get(row["vehicle_id"], True) and row["clock_method"] != "received"
    by_car: defaultdict[str, list[Row]] = defaultdict(list)
    for row in session.laps(valid=True, frame="arrow").to_pylist():
        if row["vehicle_id"] in clocks and row["lap_time_s"] is not None:
            by_car[row["vehicle_id"]].append(row)
    laps = [sorted(rows, key=lambda row: row["lap_time_s"]) for rows in by_car.values()]
    return sorted(laps, key=lambda rows: (not clocks[rows[0]["vehicle_id"]], rows[0]["lap_time_s"]))


def _with_telemetry(session: RaceSession, rows: Sequence[Row]) -> Iterator[Lap]:
    for row in rows[:_MOST_TRIED]:
        lap = lap_of_row(session, row)
        if not lap.telemetry_note:
            yield lap


def _channels(known: Sequence[str]) -> list[str]:
    chosen = [next((name for name in names if name in known), "") for names in ((SPEED,), *_PEDALS)]
    return [name for name in chosen if name]


def _one(lap: Lap, step_m: float) -> Traces:
    distances = lap.session.catalog.lap_distances
    key = lap.session.key, lap.vehicle_id, lap.number
    on_distance = distances.on_distance(key, step_m, _channels(list(lap.samples().channels)))
    return Traces((lap,), (on_distance,), None, ("No other lap has telemetry.", *on_distance.notes))


def _both(first: Lap, second: Lap, step_m: float) -> Traces:
    known = [*first.samples().channels, *second.samples().channels]
    delta = first.compare(second, step_m=step_m, channels=_channels(known)).delta
    return Traces((first, second), (delta.a, delta.b), delta, delta.notes)

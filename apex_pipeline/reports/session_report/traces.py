"""Chooses the two laps whose traces a report shows, and puts them on distance."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from math import ceil

from apex_pipeline.catalog.lap import Lap, lap_of_row
from apex_pipeline.catalog.lap_samples import LapKey
from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.distance import Delta, DistanceLap
from apex_pipeline.distance.lap import NO_METHOD
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
# Laps that are looked at, 4 ms each: the best one of each of 60 cars, and 60 more.
_MOST_TRIED = 120
# Whether a lap has a distance at all is the same at any step.
_COARSE_M = 100.0


class _Worth(Enum):
    """What can be drawn of a lap."""

    CURVES = auto()
    """Speed and delta: the time that the car saw is its lap time."""
    DELTA = auto()
    """A delta only: from GPS, without a speed."""
    SPEED = auto()
    """Speed, but no delta: the clock stood still, or the lap time is another lap's."""
    NOTHING = auto()
    """Samples that have no place on the track."""


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
    has_table = session.catalog.has_table(TELEMETRY.name, *session.key)
    if not has_table or session.catalog.rows(TELEMETRY.name, *session.key) == 0:
        return "None of the session's files has telemetry."
    found = _best_laps(session)
    if not found:
        return "No valid lap has telemetry that can be put on the distance of the track."
    try:
        step_m = _step(found[0].samples().track_length_m)
        return _one(found[0], step_m) if len(found) == 1 else _both(found[0], found[1], step_m)
    except (ConfigurationError, ObjectMissingError) as error:
        return str(error)


def _step(length_m: float) -> float:
    """Return the distance between two points, a multiple of half a metre."""
    return max(_FINEST_M, ceil(2 * length_m / _MOST_POINTS) / 2)


def _best_laps(session: RaceSession) -> list[Lap]:
    """Return the best laps with telemetry of two cars, or of one car if no other is as well recorded; none, or one."""
    found: defaultdict[_Worth, list[Lap]] = defaultdict(list)
    for lap in _with_telemetry(session):
        good = found[_worth(lap)]
        good.append(lap)
        if good is found[_Worth.CURVES] and lap.vehicle_id != good[0].vehicle_id:
            return [good[0], lap]
    with_delta = [*found[_Worth.CURVES][:_SHOWN], *found[_Worth.DELTA]][:_SHOWN]
    if found[_Worth.CURVES]:
        return sorted(with_delta, key=_time_s)
    return found[_Worth.SPEED][:1] or with_delta


def _with_telemetry(session: RaceSession) -> Iterator[Lap]:
    """Yield valid laps with telemetry: the best one of each car, the fastest first, then the others by time."""
    sent = set(session.catalog.table_arrow(TELEMETRY_CARS.name, *session.key)["vehicle_id"].to_pylist())
    rows = session.laps(valid=True, frame="arrow").to_pylist()
    timed = [row for row in rows if row["vehicle_id"] in sent and row["lap_time_s"] is not None]
    timed.sort(key=lambda row: row["lap_time_s"])
    best: dict[str, Row] = {}
    others = [row for row in timed if best.setdefault(row["vehicle_id"], row) is not row]
    laps = (lap_of_row(session, row) for row in [*best.values(), *others])
    yield from islice((lap for lap in laps if not lap.telemetry_note), _MOST_TRIED)


def _worth(lap: Lap) -> _Worth:
    try:
        samples = lap.samples()
        on_distance = lap.session.catalog.lap_distances.on_distance(_key(lap), _COARSE_M, ())
    except ConfigurationError:  # its begin or end is not known
        return _Worth.NOTHING
    if on_distance.method == NO_METHOD:
        return _Worth.NOTHING
    has_speed = SPEED in samples.channels
    if not samples.is_scaled or not samples.has_clock:
        return _Worth.SPEED if has_speed else _Worth.NOTHING
    return _Worth.CURVES if has_speed else _Worth.DELTA


def _key(lap: Lap) -> LapKey:
    return lap.session.key, lap.vehicle_id, lap.number


def _time_s(lap: Lap) -> float:
    assert lap.time_s is not None
    return lap.time_s


def _channels(known: Sequence[str]) -> list[str]:
    chosen = [next((name for name in names if name in known), "") for names in ((SPEED,), *_PEDALS)]
    return [name for name in chosen if name]


def _one(lap: Lap, step_m: float) -> Traces:
    distances = lap.session.catalog.lap_distances
    on_distance = distances.on_distance(_key(lap), step_m, _channels(list(lap.samples().channels)))
    return Traces((lap,), (on_distance,), None, ("No other lap has telemetry to compare.", *on_distance.notes))


def _both(first: Lap, second: Lap, step_m: float) -> Traces:
    known = [*first.samples().channels, *second.samples().channels]
    delta = first.compare(second, step_m=step_m, channels=_channels(known)).delta
    return Traces((first, second), (delta.a, delta.b), delta, delta.notes)

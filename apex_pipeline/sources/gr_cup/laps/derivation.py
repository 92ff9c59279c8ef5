"""Derives the tables ``laps`` and ``cars`` of a session from its triggers, telemetry crossings and official timing.

This is the entry point of the package. It runs the steps in order, each a module in this folder; see docs/laps.md for
the rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import pyarrow as pa

from apex_pipeline.sources.gr_cup.laps.alignment import match_crossings
from apex_pipeline.sources.gr_cup.laps.car_laps import laps_by_car
from apex_pipeline.sources.gr_cup.laps.confidence import measured_shares
from apex_pipeline.sources.gr_cup.laps.crossings import Crossing, TelemetryCrossing, find_crossings
from apex_pipeline.sources.gr_cup.laps.identity import Identity, resolve_identities
from apex_pipeline.sources.gr_cup.laps.lap import Lap
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialCar, read_official_cars
from apex_pipeline.sources.gr_cup.laps.official_clock import ClockSearch, OfficialClock, find_official_clock
from apex_pipeline.sources.gr_cup.laps.official_merge import RaceTimes, flag_unmatched, merge_official
from apex_pipeline.sources.gr_cup.laps.rows import car_row, lap_row
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline.sources.gr_cup.laps.unit_changes import flag_other_cars
from apex_pipeline.sources.gr_cup.vehicle_spellings import Spellings, find_spellings, with_published_ids
from apex_pipeline.tables import CARS, LAPS

Pairs = dict[str, list[Crossing | None]]


@dataclass(frozen=True)
class LapReport:
    """Counts of a session's derivation.

    Attributes:
        triggers: Triggers read.
        repeated_triggers: Of these, duplicated messages.
        bounced_triggers: Of these, extra messages about a crossing, after the first of each kind.
        crossings: Crossings the triggers were grouped into.
        laps: Laps in the table.
        valid_laps: Of these, valid laps.
        official_laps: Of these, laps listed by official timing.
        cars: Cars with at least one trigger.
        cars_without_laps: Of these, cars without any lap.
        cars_resolved: Of these, cars whose number is confirmed by official crossings.
        official_clock_behind_s: Seconds the official clock is behind UTC; ``None`` if it could not be aligned.
    """

    triggers: int
    repeated_triggers: int
    bounced_triggers: int
    crossings: int
    laps: int
    valid_laps: int
    official_laps: int
    cars: int
    cars_without_laps: int
    cars_resolved: int
    official_clock_behind_s: float | None


@dataclass(frozen=True)
class SessionLaps:
    """The tables ``laps`` and ``cars`` of a session, and the counts of their derivation."""

    laps: pa.Table
    cars: pa.Table
    report: LapReport


def derive_laps(
    track: str,
    session: str,
    triggers: Sequence[Trigger],
    official_laps: pa.Table | None = None,
    zone: str | None = None,
    telemetry_crossings: Sequence[TelemetryCrossing] = (),
) -> SessionLaps:
    """Derive the laps of a session and identify its cars.

    Args:
        track: Track slug.
        session: Session name.
        triggers: The triggers of all its lap files, in any order.
        official_laps: Its table ``official_laps``; ``None`` or empty if there is no official timing.
        zone: IANA zone of the track's official clock, ``None`` if not known.
        telemetry_crossings: Finish-line crossings detected in telemetry.
    """
    spellings = find_spellings(triggers)
    triggers = with_published_ids(triggers, spellings)
    crossings = find_crossings(triggers)
    by_car = laps_by_car(crossings, telemetry_crossings)
    cars = read_official_cars(official_laps)
    search = _find_clock(crossings, cars, zone)
    identities, clock = resolve_identities(crossings, cars, search.clock, is_ambiguous=search.is_ambiguous)
    if clock is not None and any(identity.official and identity.vehicle_id for identity in identities):
        clock = _merge_official(by_car, crossings, identities, clock)
    report = _report(triggers, crossings, by_car, identities, clock)
    return SessionLaps(
        LAPS.from_rows(_lap_rows(track, session, by_car, identities)),
        CARS.from_rows(_car_rows(track, session, by_car, identities, spellings)),
        report,
    )


def _find_clock(
    crossings: Mapping[str, Sequence[Crossing]], cars: Sequence[OfficialCar], zone: str | None
) -> ClockSearch:
    own_ms = [crossing.utc_ms for of_car in crossings.values() for crossing in of_car]
    local_ms = [lap.local_ms for car in cars for lap in car.timed if lap.local_ms is not None]
    return find_official_clock(own_ms, local_ms, zone)


def _merge_official(
    by_car: dict[str, list[Lap]],
    crossings: Mapping[str, Sequence[Crossing]],
    identities: Sequence[Identity],
    clock: OfficialClock,
) -> OfficialClock:
    """Merge official timing into the laps of every car; return the clock measured on the crossings of all cars."""
    known = {item.vehicle_id: item.official for item in identities if item.vehicle_id and item.official}
    pairs = {vehicle_id: match_crossings(crossings[vehicle_id], car.laps, clock) for vehicle_id, car in known.items()}
    clock = _fit_clock_drift(clock, known, pairs)
    race = _race_times([item.official for item in identities if item.official], crossings, clock)
    for identity in identities:
        vehicle_id = identity.vehicle_id
        if vehicle_id is None:
            continue
        if identity.official:
            car, own = identity.official, crossings[vehicle_id]
            by_car[vehicle_id] = merge_official(by_car[vehicle_id], own, car, pairs[vehicle_id], clock, race)
            flag_other_cars(by_car[vehicle_id], identity.periods_in_other_cars)
        else:
            flag_unmatched(by_car[vehicle_id], race, is_undecided=bool(identity.candidates))
    return clock


def _fit_clock_drift(clock: OfficialClock, known: Mapping[str, OfficialCar], pairs: Pairs) -> OfficialClock:
    """Return the clock with its drift and jumps, measured on the pairs of all cars."""
    both = [
        (float(lap.local_ms), float(crossing.utc_ms))
        for vehicle_id, car in known.items()
        for lap, crossing in zip(car.laps, pairs[vehicle_id], strict=True)
        if crossing is not None and lap.local_ms is not None
    ]
    return clock.with_drift(np.array([local for local, _ in both]), np.array([utc for _, utc in both]))


def _race_times(
    cars: Sequence[OfficialCar], crossings: Mapping[str, Sequence[Crossing]], clock: OfficialClock
) -> RaceTimes:
    """Return the race period: from the median start of first laps to the first crossing under the chequered flag."""
    firsts = [car.timed[0] for car in cars if car.timed and car.timed[0].number == 1]
    lasts = [car.timed[-1] for car in cars if car.timed]
    finished = [lap for lap in lasts if lap.row["flag_at_finish"] == "FF"]
    own_ms = [crossing.utc_ms for of_car in crossings.values() for crossing in of_car]
    starts_ms = [_utc_ms(clock, lap.local_ms) - 1000 * lap.time_s for lap in firsts or lasts]
    longest = max(lap.number for lap in lasts)
    ends_ms = [_utc_ms(clock, lap.local_ms) for lap in finished or lasts if finished or lap.number == longest]
    return RaceTimes(round(median(starts_ms)), round(min(ends_ms)), min(own_ms), max(own_ms))


def _utc_ms(clock: OfficialClock, local_ms: int | None) -> float:
    return float(clock.utc_ms(np.array([local_ms], dtype=np.float64))[0])


def _lap_rows(
    track: str, session: str, by_car: Mapping[str, Sequence[Lap]], identities: Sequence[Identity]
) -> list[dict[str, object]]:
    known = {identity.vehicle_id: identity for identity in identities}
    shares = measured_shares(lap for laps in by_car.values() for lap in laps)
    rows: list[dict[str, object]] = []
    for vehicle_id in sorted(by_car):
        was_in_lap: bool | None = None
        for lap in by_car[vehicle_id]:
            is_out_lap = was_in_lap if lap.official else None
            row = lap_row(track, session, lap, known[vehicle_id], shares, is_out_lap=is_out_lap)
            was_in_lap = row["is_in_lap"]
            rows.append(row)
    return rows


def _car_rows(
    track: str,
    session: str,
    by_car: Mapping[str, Sequence[Lap]],
    identities: Sequence[Identity],
    spellings: Spellings,
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {
            **car_row(track, session, identity, has_laps=_has_started(identity, by_car)),
            "spellings": list(spellings.of(identity.vehicle_id or "")),
        }
        for identity in identities
    ]
    order = [
        (row["vehicle_id"] is None, row["vehicle_id"], row["official_number"], row["official_entry"]) for row in rows
    ]
    return [row for _, row in sorted(zip(order, rows, strict=True), key=lambda item: [str(part) for part in item[0]])]


def _has_started(identity: Identity, by_car: Mapping[str, Sequence[Lap]]) -> bool:
    if identity.official:
        return bool(identity.official.laps)
    if identity.candidates:
        return True
    return any(lap.is_valid for lap in by_car[identity.vehicle_id or ""])


def _report(
    triggers: Sequence[Trigger],
    crossings: Mapping[str, Sequence[Crossing]],
    by_car: Mapping[str, Sequence[Lap]],
    identities: Sequence[Identity],
    clock: OfficialClock | None,
) -> LapReport:
    laps = [lap for car in by_car.values() for lap in car]
    all_crossings = [crossing for car in crossings.values() for crossing in car]
    return LapReport(
        triggers=len(triggers),
        repeated_triggers=len(triggers) - sum(len(crossing.triggers) for crossing in all_crossings),
        bounced_triggers=sum(crossing.bounces for crossing in all_crossings),
        crossings=len(all_crossings),
        laps=len(laps),
        valid_laps=sum(lap.is_valid for lap in laps),
        official_laps=sum(lap.official is not None for lap in laps),
        cars=len(by_car),
        cars_without_laps=sum(not car for car in by_car.values()),
        cars_resolved=sum(identity.method == "official_crossings" for identity in identities),
        official_clock_behind_s=round(clock.offset_s, 3) if clock else None,
    )

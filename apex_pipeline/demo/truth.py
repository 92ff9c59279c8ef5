"""From the world to the answer sheet: who, which laps, and every fault by name, file, car and lap.

Here belongs only telling. What is planted is decided in ``faults.py`` and done where the file is written.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from apex_pipeline.demo.answers import (
    BestLap,
    CarAnswer,
    FaultKind,
    LapAnswer,
    PlantedFault,
    SessionAnswer,
    TelemetryAnswer,
)
from apex_pipeline.demo.cars import UNDECIDED
from apex_pipeline.demo.lap_files import BOUNCE_MS, LATE_MS, SECOND_LATE_MS, Triggers
from apex_pipeline.demo.official_files import PENALTY_MS
from apex_pipeline.demo.telemetry_files import HOLE_AFTER_MS, HOLE_BEFORE_MS, TelemetryCounts
from apex_pipeline.demo.text import minutes, utc_text
from apex_pipeline.demo.tracks import FileName
from apex_pipeline.demo.world import LOST_COUNT, CarRace, DrivenLap, Race


def session_answer(race: Race, counts: TelemetryCounts) -> SessionAnswer:
    """Return what is true about a race."""
    best_entry, best = race.best()
    return SessionAnswer(
        track=race.track.slug,
        track_name=race.track.name,
        folder=race.track.folder,
        session=race.session,
        zone=race.track.zone,
        official_clock_behind_s=_official_behind_s(race),
        event_code=race.track.event_code,
        cars=tuple(_car_answer(race, entry) for entry in race.entries),
        laps=tuple(_lap_answer(race, entry, lap) for entry in race.entries for lap in entry.laps),
        best_lap=BestLap(best_entry.car.vehicle_id, best.number, best.official_ms / 1000),
        telemetry=TelemetryAnswer(
            file=race.track.path("telemetry", race.number),
            rows=counts.rows,
            exact_duplicate_rows=counts.exact_duplicates,
            conflicting_rows=counts.conflicts,
            rejected_rows=len(counts.rejects),
        ),
    )


def _official_behind_s(race: Race) -> tuple[float, float]:
    return race.official_behind_ms(race.green_ms) / 1000, race.official_behind_ms(race.flag_ms) / 1000


def _car_answer(race: Race, entry: CarRace) -> CarAnswer:
    number, printed = entry.car.number, entry.car.printed_number
    alike = sorted(other.car.number for other in race.entries if other.car.printed_number == printed)
    beside = race.plan.undecided_beside if entry.car == UNDECIDED else None
    is_frozen = entry.frozen_at_ms is not None
    return CarAnswer(
        vehicle_id=entry.car.vehicle_id,
        chassis=entry.car.chassis,
        car_number=number,
        printed_number=printed,
        printed_entry=1 + alike.index(number),
        candidates=(race.entry(beside).car.printed_number, printed) if beside else (printed,),
        clock_offset_s=None if is_frozen else entry.clock_offset_ms / 1000,
        is_clock_frozen=is_frozen,
        has_started=bool(entry.race_laps),
    )


def _lap_answer(race: Race, entry: CarRace, lap: DrivenLap) -> LapAnswer:
    return LapAnswer(
        vehicle_id=entry.car.vehicle_id,
        lap_number=lap.number,
        unit_lap=lap.unit_lap,
        start_utc=_instant(lap.start_ms),
        end_utc=_instant(lap.end_ms),
        lap_time_s=lap.official_ms / 1000 if lap.is_timed else None,
        flag=lap.flag if lap.is_timed else None,
        is_in_export=lap.end_ms <= race.export_end_ms,
    )


def _instant(utc_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms)


def _fault(
    race: Race, kind: FaultKind, file: FileName, detail: str, *, chassis: str | None = None, lap: int | None = None
) -> PlantedFault:
    vehicle_id = race.entry(chassis).car.vehicle_id if chassis else None
    return PlantedFault(
        kind, race.track.slug, race.session, race.track.path(file, race.number), vehicle_id, lap, detail
    )


def planted_faults(race: Race, triggers: Triggers, counts: TelemetryCounts) -> Iterator[PlantedFault]:
    """Yield every fault planted in a race."""
    yield from _trigger_faults(race, triggers)
    yield from _crossing_faults(race)
    yield from _car_faults(race)
    yield from _telemetry_faults(race, counts)
    yield from _incidents(race)
    yield from _file_faults(race)


def _trigger_faults(race: Race, triggers: Triggers) -> Iterator[PlantedFault]:
    plan = race.plan
    for chassis, lap in triggers.bounced:
        detail = f"The crossing that ends the lap sent three rows within {BOUNCE_MS[-1]} ms to each lap file."
        yield _fault(race, FaultKind.BOUNCED_TRIGGER, "lap_end", detail, chassis=chassis, lap=lap)
    if plan.has_formation_lap:
        for entry in race.entries:
            detail = f"The row of the crossing that begins the formation lap says lap {LOST_COUNT}."
            yield _fault(race, FaultKind.LAP_COUNTER_LOST, "lap_end", detail, chassis=entry.car.chassis, lap=0)
    if plan.lost_counter:
        detail = f"Triggers and telemetry call the lap {LOST_COUNT}."
        lost = plan.lost_counter
        yield _fault(race, FaultKind.LAP_COUNTER_LOST, "lap_end", detail, chassis=lost.chassis, lap=lost.lap)
    if plan.late_trigger:
        late = plan.late_trigger
        detail = f"The crossing is stamped {LATE_MS / 1000:g} s late: this lap looks too long, the next too short."
        yield _fault(race, FaultKind.LATE_TRIGGER_PAIR, "lap_end", detail, chassis=late.chassis, lap=late.lap)
        hole_after_s = (LATE_MS + HOLE_AFTER_MS) / 1000
        hole = f"No telemetry from {HOLE_BEFORE_MS / 1000:g} s before to {hole_after_s:g} s after the crossing."
        yield _fault(race, FaultKind.RADIO_HOLE, "telemetry", hole, chassis=late.chassis, lap=late.lap)
    if plan.is_truncated:
        detail = f"The export ends {utc_text(race.export_end_ms)}, the race {utc_text(race.flag_ms)}."
        yield _fault(race, FaultKind.TRUNCATED_EXPORT, "lap_end", detail)


def _crossing_faults(race: Race) -> Iterator[PlantedFault]:
    plan = race.plan
    if plan.second_late:
        late = plan.second_late
        detail = f"The crossing is stamped {SECOND_LATE_MS / 1000:g} s late; the unit's own times are right."
        yield _fault(race, FaultKind.LATE_BY_A_SECOND, "lap_end", detail, chassis=late.chassis, lap=late.lap)
    if plan.missing_crossing:
        missing = plan.missing_crossing
        detail = "The crossing that ends the lap is in no lap file; the unit counts this lap and the next as one."
        yield _fault(race, FaultKind.MISSING_CROSSING, "lap_end", detail, chassis=missing.chassis, lap=missing.lap)
    if plan.extra_crossing:
        extra = plan.extra_crossing
        spurious_ms = next(lap.spurious_ms for lap in race.entry(extra.chassis).laps if lap.spurious_ms is not None)
        detail = (
            f"Every lap file has a crossing at {utc_text(spurious_ms)}, in the middle of the lap; the unit counts it."
        )
        yield _fault(race, FaultKind.EXTRA_CROSSING, "lap_end", detail, chassis=extra.chassis, lap=extra.lap)
    for chassis in plan.post_race_chassis:
        last = race.entry(chassis).laps[-1]
        detail = "After the flag the car drives a slow lap and crosses the line again; official timing has no such lap."
        yield _fault(race, FaultKind.POST_RACE_LAP, "lap_end", detail, chassis=chassis, lap=last.number)


def _identity_fault(race: Race, beside: str) -> PlantedFault:
    other = race.entry(beside).car.number
    detail = (
        f"The unit says {UNDECIDED.suffix}, which is no official car. Its crossings up to lap {race.shared_laps} are "
        f"those of car {other}, which has a unit of its own; the later ones are those of {UNDECIDED.number}, its own."
    )
    return _fault(race, FaultKind.UNDECIDED_CAR, "sections", detail, chassis=UNDECIDED.chassis)


def _car_faults(race: Race) -> Iterator[PlantedFault]:
    printed = [entry.car.printed_number for entry in race.entries]
    if race.plan.undecided_beside:
        yield _identity_fault(race, race.plan.undecided_beside)
    for entry in race.entries:
        car = entry.car
        if car.suffix == "000":
            detail = f"The unit has no number; the car is {car.number}."
            yield _fault(race, FaultKind.NO_CAR_NUMBER, "sections", detail, chassis=car.chassis)
        elif car.suffix != car.number and car != UNDECIDED:
            detail = f"The unit says {car.suffix}, which is another car; this one is {car.number}."
            yield _fault(race, FaultKind.WRONG_CAR_NUMBER, "sections", detail, chassis=car.chassis)
        if printed.count(car.printed_number) > 1:
            detail = f"Car {car.number} is printed as {car.printed_number}, like another one: two blocks of laps."
            yield _fault(race, FaultKind.ZERO_PADDED_NUMBER, "sections", detail, chassis=car.chassis)
        if entry.frozen_at_ms is not None:
            detail = f"Every telemetry row says {utc_text(entry.frozen_at_ms)}."
            yield _fault(race, FaultKind.CLOCK_FROZEN, "telemetry", detail, chassis=car.chassis)
        elif entry.clock_offset_ms:
            detail = f"The telemetry clock is {entry.clock_offset_ms / 3_600_000:.1f} h behind."
            yield _fault(race, FaultKind.CLOCK_DAYS_OFF, "telemetry", detail, chassis=car.chassis)
        if not entry.race_laps:
            detail = "Two triggers before the green flag, no official lap."
            yield _fault(race, FaultKind.NEVER_STARTED, "lap_end", detail, chassis=car.chassis)


def _telemetry_faults(race: Race, counts: TelemetryCounts) -> Iterator[PlantedFault]:
    if race.plan.has_repeated_rows:
        yield _fault(race, FaultKind.NEWEST_FIRST_ROWS, "telemetry", "By car and lap, newest row first.")
        exact = f"{counts.exact_duplicates} rows equal an earlier row."
        yield _fault(race, FaultKind.EXACT_DUPLICATES, "telemetry", exact)
        conflicting = f"{counts.conflicts} rows have car, car time and channel of an earlier row but another value."
        yield _fault(race, FaultKind.CONFLICTING_DUPLICATES, "telemetry", conflicting)
    if race.plan.has_unparsable_value:
        yield _fault(
            race,
            FaultKind.UNPARSABLE_VALUE,
            "telemetry",
            f"Line {counts.rejects[0].line} has a value that is no number.",
        )


def _incidents(race: Race) -> Iterator[PlantedFault]:
    plan = race.plan
    if plan.yellow_lap:
        detail = "The whole field drives this lap under full-course yellow."
        yield _fault(race, FaultKind.FULL_COURSE_YELLOW, "sections", detail, lap=plan.yellow_lap)
    if plan.pit_lap:
        pit = plan.pit_lap
        detail = "The lap ends in the pits, the next one begins there."
        yield _fault(race, FaultKind.PIT_LAP, "sections", detail, chassis=pit.chassis, lap=pit.lap)
    if plan.long_lap:
        long = plan.long_lap
        duration_ms = next(lap.official_ms for lap in race.entry(long.chassis).laps if lap.number == long.lap)
        detail = f"The lap really takes {minutes(duration_ms)}."
        yield _fault(race, FaultKind.LONG_LAP, "sections", detail, chassis=long.chassis, lap=long.lap)
    if plan.penalised_chassis:
        detail = f"Official results add {PENALTY_MS / 1000:g} s to the provisional ones."
        yield _fault(race, FaultKind.PENALTY, "official_results", detail, chassis=plan.penalised_chassis)


def _file_faults(race: Race) -> Iterator[PlantedFault]:
    plan = race.plan
    if plan.short_row_in:
        yield _fault(
            race, FaultKind.MALFORMED_ROW, plan.short_row_in, "One row is cut short; the sheet's rejects have its line."
        )
    if plan.is_official_clock_behind:
        at_green, at_flag = _official_behind_s(race)
        detail = f"HOUR is {at_green:g} s behind true UTC at the green flag and {at_flag:g} s at the chequered one."
        yield _fault(race, FaultKind.OFFICIAL_CLOCK_BEHIND, "sections", detail)
    if plan.empty_file:
        yield _fault(race, FaultKind.EMPTY_FILE, plan.empty_file, "The file has 0 bytes.")
    if plan.has_wrong_lap_time:
        detail = "The file is a byte for byte copy of race 1's: its rows say R1 and the day before."
        yield _fault(race, FaultKind.WRONG_RACE_FILE, "lap_time", detail)
    if plan.has_junk:
        yield PlantedFault(
            FaultKind.JUNK_FILE, race.track.slug, race.session, race.track.junk_path, None, None, "No race data."
        )


__all__ = ["planted_faults", "session_answer"]

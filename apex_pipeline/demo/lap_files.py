"""Builds the lap files, one row per finish-line trigger; see simulation.py for the true crossings.

The module distorts the crossings as the cars' devices do (bounces, late stamps, lost counts) and writes the two byte
formats.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from apex_pipeline.demo.cars import UNDECIDED, DemoCar
from apex_pipeline.demo.faults import BEST_LAP, FaultKind, InjectedFault, InjectedReject, LapRef
from apex_pipeline.demo.formatting import utc_text
from apex_pipeline.demo.simulation import LOST_COUNT, CarRace, Race

LapFile = Literal["lap_start", "lap_end", "lap_time"]

_LAP_FILES: tuple[LapFile, ...] = ("lap_start", "lap_end", "lap_time")
_LATE_MS = 30_000
_SECOND_LATE_MS = 1_200
_HOLE_BEFORE_MS, _HOLE_AFTER_MS = 4_000, 2_000  # before the true crossing and after its late timestamp
_BOUNCE_MS = (1, 44)  # delays of the second and third row; real values after a bounce are 43 to 44 ms short
_BEFORE_FORMATION_MS = 2_048_484  # a device's first lap time: the time since it was switched on
_SHORT_ROW_COLUMNS, _SHORT_ROW_LINE = 5, 5
_BARE_COLUMNS = (
    "expire_at,lap,meta_event,meta_session,meta_source,meta_time,original_vehicle_id,outing,timestamp,vehicle_id,"
    "vehicle_number"
)
_QUOTED_COLUMNS = "meta_source,meta_time,meta_event,meta_session,timestamp,vehicle_id,outing,lap"


@dataclass(frozen=True)
class LapFiles:
    """The lap files of a race.

    Attributes:
        contents: The content of each file.
        faults: The faults of their triggers.
        rejects: Rows that cannot be parsed.
    """

    contents: dict[LapFile, bytes]
    faults: tuple[InjectedFault, ...]
    rejects: tuple[InjectedReject, ...]


@dataclass(frozen=True)
class _TriggerRow:
    """One row of a lap file.

    Attributes:
        car: The car.
        lap: The device's lap count, for the lap that ends or the one that starts.
        event_ms: Column ``timestamp``.
        received_ms: Column ``meta_time``.
        timer_ms: Time of the event on the device's own timer, which a late timestamp does not affect.
        value_ms: Column ``value`` of the lap time file.
    """

    car: DemoCar
    lap: int
    event_ms: int
    received_ms: int
    timer_ms: int
    value_ms: int = 0


@dataclass(frozen=True)
class _CountedCrossing:
    """A crossing at which a device sends rows."""

    true_ms: int
    lap: int | None  # official number of the lap it ends; None for a car's first and for a spurious one
    ended: int
    started: int


def make_lap_files(race: Race, seed: int) -> LapFiles:
    """Return the lap files of a race up to the end of the export."""
    rng = np.random.default_rng([seed, race.track.index, race.number, 1])
    bounced = _choose_bounces(race, rng)
    starts: list[_TriggerRow] = []
    ends: list[_TriggerRow] = []
    for entry in race.entries:
        car_starts, car_ends = _trigger_rows(race, entry, bounced, rng)
        starts += car_starts
        ends += car_ends
    contents: dict[LapFile, bytes] = {}
    rejects: list[InjectedReject] = []
    for file in _LAP_FILES:
        contents[file] = _content(race, file, starts if file == "lap_start" else ends)
        if race.plan.short_row_in == file:
            rejects.append(InjectedReject(race.track.path(file, race.number), _SHORT_ROW_LINE, "too_few_columns"))
    faults = (*_trigger_faults(race, sorted(bounced)), *_crossing_faults(race))
    return LapFiles(contents, faults, tuple(rejects))


def _trigger_rows(
    race: Race, entry: CarRace, bounced: set[LapRef], rng: np.random.Generator
) -> tuple[list[_TriggerRow], list[_TriggerRow]]:
    """Return the rows that a car sends for lap starts and for lap ends, oldest first."""
    starts: list[_TriggerRow] = []
    ends: list[_TriggerRow] = []
    for crossing in _crossings(race, entry):
        timer_ms = crossing.true_ms + int(rng.integers(0, 2))
        stamp_ms = timer_ms + _late_ms(race, entry, crossing.lap)
        received_ms = stamp_ms + int(rng.integers(100, 2_000))
        end = _TriggerRow(entry.car, crossing.ended, stamp_ms, received_ms, timer_ms)
        # The start of a lap has a timestamp one millisecond after the end of the previous lap.
        start = _TriggerRow(entry.car, crossing.started, stamp_ms + 1, received_ms, timer_ms)
        if (entry.car.chassis, crossing.lap) in bounced:
            ends += _bounced(end, crossing.ended + 1)
            starts += _bounced(start, crossing.ended)
        else:
            ends.append(end)
            starts.append(start)
    return starts, _with_values(ends)


def _crossings(race: Race, entry: CarRace) -> list[_CountedCrossing]:
    """Return the crossings that a car's device counts within the export.

    They are the start of its first lap and the end of every lap, except the missing crossing, plus the spurious one.
    """
    laps = entry.laps
    before = LOST_COUNT if laps[0].number == 0 else laps[0].unit_lap - 1
    found = [_CountedCrossing(laps[0].start_ms, None, before, laps[0].first_unit_lap)]
    started = [*(lap.first_unit_lap for lap in laps[1:]), laps[-1].unit_lap + 1]
    for lap, after in zip(laps, started, strict=True):
        if lap.spurious_ms is not None:
            found.append(_CountedCrossing(lap.spurious_ms, None, lap.first_unit_lap, lap.unit_lap))
        if LapRef(entry.car.chassis, lap.number) != race.plan.missing_crossing:
            found.append(_CountedCrossing(lap.end_ms, lap.number, lap.unit_lap, after))
    return [crossing for crossing in found if crossing.true_ms <= race.export_end_ms]


def _choose_bounces(race: Race, rng: np.random.Generator) -> set[LapRef]:
    """Choose crossings to bounce; skip those of the best lap and of laps next to one with another fault."""
    plan = race.plan
    taken = {LapRef(race.entries[0].car.chassis, BEST_LAP + step) for step in (-1, 0)}
    others = (plan.late_trigger, plan.second_late, plan.missing_crossing, plan.extra_crossing, plan.lost_counter)
    for other in others:
        if other:
            taken |= {LapRef(other.chassis, other.lap + step) for step in (-1, 0, 1)}
    laps = [
        LapRef(entry.car.chassis, lap.number)
        for entry in race.entries
        if entry.car != UNDECIDED
        for lap in entry.race_laps[:-1]
        if lap.end_ms <= race.export_end_ms
    ]
    free = [lap for lap in laps if lap not in taken]
    return {free[int(place)] for place in rng.choice(len(free), plan.bounces, replace=False)}


def radio_holes_ms(race: Race, entry: CarRace) -> list[tuple[int, int]]:
    """Return start and end of the periods without a car's telemetry, each around a late trigger; none if not wanted."""
    if not race.plan.has_telemetry_holes:
        return []
    late_ms = _radio_late_ms(race, entry)
    return [
        (lap.end_ms - _HOLE_BEFORE_MS, lap.end_ms + late_ms[lap.number] + _HOLE_AFTER_MS)
        for lap in entry.laps
        if lap.number in late_ms
    ]


def _radio_late_ms(race: Race, entry: CarRace) -> dict[int, int]:
    """Return the delay of timestamps caused by radio silence, by the number of the lap that the crossing ends."""
    if entry.car == UNDECIDED and race.plan.shadowed_chassis:
        other = race.entry(race.plan.shadowed_chassis)
        pairs = [pair for pair in zip(entry.laps, other.laps, strict=False) if pair[0].number <= race.shared_laps]
        return {own.number: shadowed.end_ms - own.end_ms for own, shadowed in pairs}
    late = race.plan.late_trigger
    return {late.lap: _LATE_MS} if late and late.chassis == entry.car.chassis else {}


def _late_ms(race: Race, entry: CarRace, lap: int | None) -> int:
    if lap is None:
        return 0
    is_second_late = LapRef(entry.car.chassis, lap) == race.plan.second_late
    return _SECOND_LATE_MS if is_second_late else _radio_late_ms(race, entry).get(lap, 0)


def _bounced(first: _TriggerRow, other_lap: int) -> list[_TriggerRow]:
    """Return the three rows of a bounced crossing: lap, the other lap, lap again."""
    second, third = (
        replace(first, event_ms=first.event_ms + after_ms, timer_ms=first.timer_ms + after_ms)
        for after_ms in _BOUNCE_MS
    )
    return [first, replace(second, lap=other_lap), replace(third, received_ms=first.received_ms + 1)]


def _with_values(ends: list[_TriggerRow]) -> list[_TriggerRow]:
    """Fill in the time since the car's previous trigger of any kind, measured by the device's timer."""
    earlier_ms = [ends[0].timer_ms - _BEFORE_FORMATION_MS, *(end.timer_ms for end in ends[:-1])]
    return [replace(end, value_ms=end.timer_ms - before_ms) for end, before_ms in zip(ends, earlier_ms, strict=True)]


def _content(race: Race, file: LapFile, rows: Iterable[_TriggerRow]) -> bytes:
    header, lines = _quoted(race, file, rows) if race.track.is_quoted else (_BARE_COLUMNS, _bare(race, rows))
    if race.plan.short_row_in == file:
        place = _SHORT_ROW_LINE - 2  # the header is line 1
        lines.insert(place, ",".join(lines[place].split(",")[:_SHORT_ROW_COLUMNS]))
    eol = "\n" if race.track.is_quoted else "\r\n"
    end = "" if race.track.is_quoted else eol
    return (eol.join([header, *lines]) + end).encode()


def _bare(race: Race, rows: Iterable[_TriggerRow]) -> list[str]:
    """Return rows as in Barber's files: sorted by car and lap, newest first within a lap, without a value."""
    return [
        f",{row.lap},{race.track.event_code},{race.session},kafka:gr-raw,{utc_text(row.received_ms)},"
        f"{row.car.vehicle_id},0,{utc_text(row.event_ms)},{row.car.vehicle_id},{int(row.car.suffix)}"
        for row in sorted(rows, key=lambda row: (row.car.vehicle_id, row.lap, -row.event_ms))
    ]


def _quoted(race: Race, file: LapFile, rows: Iterable[_TriggerRow]) -> tuple[str, list[str]]:
    """Return header and rows as in COTA's files: by car, newest first; rows of lap times end with an empty column."""
    last = "value,expire_at" if file == "lap_time" else "expire_at,value"
    header = ",".join(f'"{name}"' for name in f"{_QUOTED_COLUMNS},{last}".split(","))
    lines: list[str] = []
    for row in sorted(rows, key=lambda row: (row.car.vehicle_id, -row.event_ms)):
        texts = (
            "kafka:gr-raw",
            utc_text(row.received_ms),
            race.track.event_code,
            race.session,
            utc_text(row.event_ms),
            row.car.vehicle_id,
        )
        value = f"{row.value_ms}," if file == "lap_time" else f',"{utc_text(row.event_ms)}"'
        lines.append(",".join(f'"{text}"' for text in texts) + f",0,{row.lap},{value}")
    return header, lines


def _trigger_faults(race: Race, bounced: Iterable[LapRef]) -> Iterator[InjectedFault]:
    plan = race.plan
    for lap in bounced:
        detail = f"The crossing that ends the lap sent three rows within {_BOUNCE_MS[-1]} ms to each lap file."
        yield race.fault(FaultKind.BOUNCED_TRIGGER, "lap_end", detail, *lap)
    for entry in race.entries if plan.has_formation_lap else ():
        detail = f"The row of the crossing that begins the formation lap says lap {LOST_COUNT}."
        yield race.fault(FaultKind.LAP_COUNTER_LOST, "lap_end", detail, entry.car.chassis, 0)
    if plan.lost_counter:
        detail = f"Triggers and telemetry call the lap {LOST_COUNT}."
        yield race.fault(FaultKind.LAP_COUNTER_LOST, "lap_end", detail, *plan.lost_counter)
    if plan.late_trigger:
        late = f"The crossing is stamped {_LATE_MS / 1000:g} s late: this lap looks too long, the next too short."
        before_s, after_s = _HOLE_BEFORE_MS / 1000, (_LATE_MS + _HOLE_AFTER_MS) / 1000
        hole = f"No telemetry from {before_s:g} s before to {after_s:g} s after the crossing."
        yield race.fault(FaultKind.LATE_TRIGGER_PAIR, "lap_end", late, *plan.late_trigger)
        if plan.has_telemetry_holes:
            yield race.fault(FaultKind.RADIO_HOLE, "telemetry", hole, *plan.late_trigger)
    if plan.is_truncated:
        detail = f"The export ends {utc_text(race.export_end_ms)}, the race {utc_text(race.flag_ms)}."
        yield race.fault(FaultKind.TRUNCATED_EXPORT, "lap_end", detail)


def _crossing_faults(race: Race) -> Iterator[InjectedFault]:
    plan = race.plan
    if plan.second_late:
        detail = f"The crossing is stamped {_SECOND_LATE_MS / 1000:g} s late; the unit's own times are right."
        yield race.fault(FaultKind.LATE_BY_A_SECOND, "lap_end", detail, *plan.second_late)
    if plan.missing_crossing:
        detail = "The crossing that ends the lap is in no lap file; the unit counts this lap and the next as one."
        yield race.fault(FaultKind.MISSING_CROSSING, "lap_end", detail, *plan.missing_crossing)
    if plan.extra_crossing:
        laps = race.entry(plan.extra_crossing.chassis).laps
        at = utc_text(next(lap.spurious_ms for lap in laps if lap.spurious_ms is not None))
        detail = f"Every lap file has a crossing at {at}, in the middle of the lap; the unit counts it."
        yield race.fault(FaultKind.EXTRA_CROSSING, "lap_end", detail, *plan.extra_crossing)
    for chassis in plan.post_race_chassis:
        last = race.entry(chassis).laps[-1].number
        detail = "After the flag the car drives a slow lap and crosses the line again; official timing has no such lap."
        yield race.fault(FaultKind.POST_RACE_LAP, "lap_end", detail, chassis, last)

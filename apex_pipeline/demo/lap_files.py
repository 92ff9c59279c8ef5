"""The lap files: one row per finish-line trigger, as the cars' units sent it.

Here belong triggers, what distorts them (bounces, late stamps, lost counts) and both byte formats. Not here: the
crossings themselves (``world.py``).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from apex_pipeline.demo.cars import UNDECIDED, Car
from apex_pipeline.demo.faults import BEST_LAP, LapOf
from apex_pipeline.demo.text import utc_text
from apex_pipeline.demo.world import LOST_COUNT, CarRace, Race

LapFile = Literal["lap_start", "lap_end", "lap_time"]

LATE_MS = 30_000
SECOND_LATE_MS = 1_200
BOUNCE_MS = (1, 44)  # second and third row after the first; real values after a bounce are 43 to 44 ms short
_BEFORE_FORMATION_MS = 2_048_484  # what a unit reports as its first "lap": the time since it was switched on
_BARE_COLUMNS = (
    "expire_at,lap,meta_event,meta_session,meta_source,meta_time,original_vehicle_id,outing,timestamp,vehicle_id,"
    "vehicle_number"
)
_QUOTED_COLUMNS = "meta_source,meta_time,meta_event,meta_session,timestamp,vehicle_id,outing,lap"


@dataclass(frozen=True)
class Trigger:
    """One row of a lap file.

    Attributes:
        car: The car.
        lap: The unit's lap: the one that ends, or the one that begins.
        event_ms: ``timestamp``.
        received_ms: ``meta_time``.
        watch_ms: The same event by the unit's own watch, which a late stamp does not touch.
        value_ms: ``value`` of the lap time file.
    """

    car: Car
    lap: int
    event_ms: int
    received_ms: int
    watch_ms: int
    value_ms: int = 0


@dataclass(frozen=True)
class Triggers:
    """All triggers of a race.

    Attributes:
        starts: Rows of the lap start file, by car in order of the entry list, oldest first.
        ends: Rows of the lap end and lap time files, likewise.
        bounced: Chassis and official lap of every crossing that bounced.
    """

    starts: tuple[Trigger, ...]
    ends: tuple[Trigger, ...]
    bounced: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Crossing:
    """A moment at which a unit sends its rows; of a spurious one, ``lap`` is ``None``, as of a car's first."""

    true_ms: int
    lap: int | None  # official number of the lap it ends
    ended: int
    begun: int


def make_triggers(race: Race, seed: int) -> Triggers:
    """Return the triggers of a race as the cars sent them, up to the end of the export."""
    rng = np.random.default_rng([seed, race.track.index, race.number, 1])
    bounced = _choose_bounces(race, rng)
    starts: list[Trigger] = []
    ends: list[Trigger] = []
    for entry in race.entries:
        car_ends: list[Trigger] = []
        for crossing in _crossings(race, entry):
            watch_ms = crossing.true_ms + int(rng.integers(0, 2))
            stamp_ms = watch_ms + _late_ms(race, entry, crossing.lap)
            received_ms = stamp_ms + int(rng.integers(100, 2_000))
            bounces = (entry.car.chassis, crossing.lap) in bounced
            end = Trigger(entry.car, crossing.ended, stamp_ms, received_ms, watch_ms)
            # The start of a lap is stamped a millisecond after the end of the one before.
            start = Trigger(entry.car, crossing.begun, stamp_ms + 1, received_ms, watch_ms)
            car_ends += _bounced(end, crossing.ended + 1) if bounces else [end]
            starts += _bounced(start, crossing.ended) if bounces else [start]
        ends += _with_values(car_ends)
    return Triggers(tuple(starts), tuple(ends), tuple(sorted(bounced)))


def _crossings(race: Race, entry: CarRace) -> list[_Crossing]:
    """Return what a car's unit takes for crossings within the export.

    They are the one that begins its first lap and the end of every lap, without the missing one, with the spurious one.
    """
    laps = entry.laps
    before = LOST_COUNT if laps[0].number == 0 else laps[0].unit_lap - 1
    found = [_Crossing(laps[0].start_ms, None, before, laps[0].first_unit_lap)]
    begun = [*(lap.first_unit_lap for lap in laps[1:]), laps[-1].unit_lap + 1]
    for lap, after in zip(laps, begun, strict=True):
        if lap.spurious_ms is not None:
            found.append(_Crossing(lap.spurious_ms, None, lap.first_unit_lap, lap.unit_lap))
        if LapOf(entry.car.chassis, lap.number) != race.plan.missing_crossing:
            found.append(_Crossing(lap.end_ms, lap.number, lap.unit_lap, after))
    return [crossing for crossing in found if crossing.true_ms <= race.export_end_ms]


def _choose_bounces(race: Race, rng: np.random.Generator) -> set[tuple[str, int]]:
    """Choose crossings to bounce, away from the best lap and from laps that carry another fault."""
    plan = race.plan
    taken = {(race.entries[0].car.chassis, BEST_LAP + step) for step in (-1, 0)}
    others = (plan.late_trigger, plan.second_late, plan.missing_crossing, plan.extra_crossing, plan.lost_counter)
    for other in others:
        if other:
            taken |= {(other.chassis, other.lap + step) for step in (-1, 0, 1)}
    free = [
        (entry.car.chassis, lap.number)
        for entry in race.entries
        if entry.car != UNDECIDED
        for lap in entry.race_laps[:-1]
        if lap.end_ms <= race.export_end_ms and (entry.car.chassis, lap.number) not in taken
    ]
    return {free[int(place)] for place in rng.choice(len(free), plan.bounces, replace=False)}


def radio_late_ms(race: Race, entry: CarRace) -> dict[int, int]:
    """Return how late crossings are stamped because the radio is silent, by the number of the lap they end."""
    if entry.car == UNDECIDED and race.plan.undecided_beside:
        other = race.entry(race.plan.undecided_beside)
        pairs = [pair for pair in zip(entry.laps, other.laps, strict=False) if pair[0].number <= race.shared_laps]
        return {own.number: beside.end_ms - own.end_ms for own, beside in pairs}
    late = race.plan.late_trigger
    return {late.lap: LATE_MS} if late and late.chassis == entry.car.chassis else {}


def _late_ms(race: Race, entry: CarRace, lap: int | None) -> int:
    if lap is None:
        return 0
    is_second_late = LapOf(entry.car.chassis, lap) == race.plan.second_late
    return SECOND_LATE_MS if is_second_late else radio_late_ms(race, entry).get(lap, 0)


def _bounced(first: Trigger, other_lap: int) -> list[Trigger]:
    """Return the three rows of a bounced crossing: lap, the other lap, lap again."""
    second, third = (
        replace(first, event_ms=first.event_ms + after_ms, watch_ms=first.watch_ms + after_ms) for after_ms in BOUNCE_MS
    )
    return [first, replace(second, lap=other_lap), replace(third, received_ms=first.received_ms + 1)]


def _with_values(ends: list[Trigger]) -> list[Trigger]:
    """Fill in the time since the car's previous trigger by the unit's watch, whatever that trigger was."""
    earlier_ms = [ends[0].watch_ms - _BEFORE_FORMATION_MS, *(end.watch_ms for end in ends[:-1])]
    return [replace(end, value_ms=end.watch_ms - before_ms) for end, before_ms in zip(ends, earlier_ms, strict=True)]


def lap_file_bytes(race: Race, file: LapFile, triggers: Triggers) -> tuple[bytes, int | None]:
    """Return a lap file's content, and the line of its cut row if the plan wants one there."""
    rows = triggers.starts if file == "lap_start" else triggers.ends
    if race.track.is_quoted:
        header, lines = _quoted(race, file, rows)
    else:
        header, lines = _BARE_COLUMNS, _bare(race, rows)
    cut_line = None
    if race.plan.short_row_in == file:
        lines.insert(3, ",".join(lines[3].split(",")[:5]))
        cut_line = 5
    eol = "\n" if race.track.is_quoted else "\r\n"
    end = "" if race.track.is_quoted else eol
    return (eol.join([header, *lines]) + end).encode(), cut_line


def _bare(race: Race, rows: Iterable[Trigger]) -> list[str]:
    """Return rows as Barber's files have them: by car, then lap, newest first within a lap; no value."""
    return [
        f",{row.lap},{race.track.event_code},{race.session},kafka:gr-raw,{utc_text(row.received_ms)},"
        f"{row.car.vehicle_id},0,{utc_text(row.event_ms)},{row.car.vehicle_id},{int(row.car.suffix)}"
        for row in sorted(rows, key=lambda row: (row.car.vehicle_id, row.lap, -row.event_ms))
    ]


def _quoted(race: Race, file: LapFile, rows: Iterable[Trigger]) -> tuple[str, list[str]]:
    """Return header and rows as COTA's files have them: by car, newest first; lap times end in an empty column."""
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


__all__ = [
    "BOUNCE_MS",
    "LATE_MS",
    "SECOND_LATE_MS",
    "LapFile",
    "Trigger",
    "Triggers",
    "lap_file_bytes",
    "make_triggers",
    "radio_late_ms",
]

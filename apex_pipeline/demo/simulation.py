"""Simulates a race: the true cars, laps and crossings, without file faults; see lap_files.py for triggers.

All times are integer milliseconds; points in time are UTC since 1970.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from apex_pipeline.demo.cars import SPECTATOR, UNDECIDED, DemoCar, entry_list
from apex_pipeline.demo.faults import BEST_LAP, FaultKind, FaultPlan, InjectedFault, LapRef, fault_plan
from apex_pipeline.demo.formatting import utc_text
from apex_pipeline.demo.options import WeekendOptions
from apex_pipeline.demo.tracks import DemoTrack, FileName

LOST_COUNT = 32768
BEST_MARGIN_MS = 250  # the best lap is at least this much faster than every other
_HOUR_MS = 3_600_000
_SECTOR_SHARES = (0.28, 0.43)
_STANDING_START_MS = 7_000
_INTO_PITS_MS, _OUT_OF_PITS_MS, _IN_PITS_MS = 28_000, 12_000, 41_000
_REPAIR_MS = 250_000
_YELLOW_FACTOR = 1.45
_SPURIOUS_SHARE = 0.4  # share of the lap before a spurious crossing
_FORMATION_FACTOR, _POST_RACE_FACTOR = 1.8, 1.6  # of the fastest lap time
_AHEAD_MS = (2_600, 2_200)  # lead of the undecided car over the shadowed one: at the start, and after half the race
# Time that the two cars lose in the next lap; with less, a lap between late timestamps would be too fast.
_SEPARATION_MS = (4_000, 12_000)
_OFFICIAL_BEHIND_MS = (7_300, 8_800)  # at the green and at the chequered flag, as at COTA


@dataclass(frozen=True)
class DrivenLap:
    """A lap that was driven.

    Attributes:
        number: Official number from 1; 0 is the formation lap, one more than the last is the lap after the flag.
        unit_lap: Lap count of the car's device when the lap ends.
        start_ms: The car's crossing that starts it.
        end_ms: The crossing that ends it.
        official_ms: Official lap time; lap 1 counts from the green flag.
        sectors_ms: Three sectors, summing to ``official_ms``.
        flag: ``GF``, ``FCY`` or ``FF``.
        is_in_pit: Whether the crossing that ends it is in the pit lane.
        pit_ms: Time in the pits, attributed to the lap after the crossing.
        is_timed: Whether the lap is in official timing, unlike formation and post-race laps.
        spurious_ms: Time at which the device counts a spurious crossing, ``None`` for nearly every lap.
    """

    number: int
    unit_lap: int
    start_ms: int
    end_ms: int
    official_ms: int
    sectors_ms: tuple[int, int, int]
    flag: str = "GF"
    is_in_pit: bool = False
    pit_ms: int | None = None
    is_timed: bool = True
    spurious_ms: int | None = None

    @property
    def first_unit_lap(self) -> int:
        """Lap count of the car's device when the lap starts."""
        return self.unit_lap if self.spurious_ms is None else self.unit_lap - 1


@dataclass(frozen=True)
class CarRace:
    """A car and the laps it drives in one race.

    Attributes:
        car: The car.
        laps: Laps driven, in order, including formation and post-race laps.
        clock_offset_ms: True UTC minus the car's clock.
        frozen_at_ms: The time at which the clock is frozen, otherwise ``None``.
    """

    car: DemoCar
    laps: tuple[DrivenLap, ...]
    clock_offset_ms: int
    frozen_at_ms: int | None

    @property
    def race_laps(self) -> tuple[DrivenLap, ...]:
        """The laps in official timing."""
        return tuple(lap for lap in self.laps if lap.is_timed)


@dataclass(frozen=True)
class Race:
    """A race.

    Attributes:
        track: The track.
        number: 1 on Saturday, 2 on Sunday.
        plan: The faults to inject.
        green_ms: Time of the green flag.
        flag_ms: Time of the chequered flag: the winner's last crossing.
        export_end_ms: Crossings and readings after this time are not in the exported files.
        shared_laps: Laps that the undecided car drives right ahead of the shadowed one.
        entries: Cars in the order of the entry list.
    """

    track: DemoTrack
    number: int
    plan: FaultPlan
    green_ms: int
    flag_ms: int
    export_end_ms: int
    shared_laps: int
    entries: tuple[CarRace, ...]

    @property
    def session(self) -> str:
        """``R1`` or ``R2``."""
        return f"R{self.number}"

    def entry(self, chassis: str) -> CarRace:
        """Return one car's race; the chassis must be on the entry list."""
        return next(entry for entry in self.entries if entry.car.chassis == chassis)

    def official_behind_ms(self, instant_ms: int) -> int:
        """Return the delay of the official time of day relative to true UTC at a given time."""
        if not self.plan.is_official_clock_behind:
            return 0
        at_green, at_flag = _OFFICIAL_BEHIND_MS
        share = (instant_ms - self.green_ms) / (self.flag_ms - self.green_ms)
        return round(at_green + share * (at_flag - at_green))

    @property
    def official_clock_behind_s(self) -> tuple[float, float]:
        """Delay of the official time of day relative to true UTC at the green and at the chequered flag, in seconds."""
        return self.official_behind_ms(self.green_ms) / 1000, self.official_behind_ms(self.flag_ms) / 1000

    def best(self) -> tuple[CarRace, DrivenLap]:
        """Return the fastest lap and its car."""
        return min(
            ((entry, lap) for entry in self.entries for lap in entry.race_laps), key=lambda pair: pair[1].official_ms
        )

    def fault(
        self, kind: FaultKind, file: FileName, detail: str, chassis: str | None = None, lap: int | None = None
    ) -> InjectedFault:
        """Return the record of a fault in a file of the race, optionally for one car and one lap."""
        return InjectedFault(
            kind=kind,
            track=self.track.slug,
            session=self.session,
            file=self.track.path(file, self.number),
            vehicle_id=self.entry(chassis).car.vehicle_id if chassis else None,
            lap_number=lap,
            detail=detail,
        )


def make_race(track: DemoTrack, number: int, options: WeekendOptions) -> Race:
    """Simulate a race; the same track, number and options give the same race."""
    plan = fault_plan(track, number, inject_faults=options.inject_faults)
    plan = replace(plan, has_telemetry_holes=options.telemetry_holes)
    cars = entry_list(track, options.car_count, inject_faults=options.inject_faults)
    if plan.shadowed_chassis:
        cars = (*cars, UNDECIDED)
    rng = np.random.default_rng([options.seed, track.index, number])
    green_ms = track.green_ms(number)
    starts = green_ms + 400 + 650 * np.arange(len(cars)) + rng.integers(0, 250, len(cars))
    driven = _driven_ms(track, plan, cars, options.lap_count, rng)
    crossings = np.column_stack([starts, starts[:, None] + np.cumsum(driven, axis=1)])
    shared_laps = options.lap_count // 2 if plan.shadowed_chassis else 0
    if shared_laps:
        shadowed = next(place for place, car in enumerate(cars) if car.chassis == plan.shadowed_chassis)
        _drive_ahead(crossings[-1], crossings[shadowed], shared_laps)
    flag_ms = int(crossings[:, -1].min())
    driven_laps = [
        _laps(track, plan, car, green_ms, _until_flag(row, flag_ms), rng)
        for car, row in zip(cars, crossings, strict=True)
    ]
    if plan.has_spectator:
        cars = (*cars, SPECTATOR)
        driven_laps.append((_formation_lap(track, green_ms + 400 + 650 * len(cars), rng),))
    clocks = _clocks(track, number, plan, cars, options)
    entries = [CarRace(car, laps, *clock) for car, laps, clock in zip(cars, driven_laps, clocks, strict=True)]
    # 1.9 laps: some cars have just crossed the line and others are about to.
    export_end_ms = flag_ms - int(1.9 * track.lap_ms) if plan.is_truncated else flag_ms + 10 * 60_000
    return Race(track, number, plan, green_ms, flag_ms, export_end_ms, shared_laps, tuple(entries))


def _driven_ms(
    track: DemoTrack, plan: FaultPlan, cars: tuple[DemoCar, ...], laps: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the time of every lap of every car, from crossing to crossing; shape (cars, laps)."""
    pace = track.lap_ms * (1.002 + 0.002 * np.arange(len(cars)) + rng.uniform(0, 0.002, len(cars)))
    driven = pace[:, None] + rng.normal(0, 350, (len(cars), laps)).clip(-900, 900)
    driven[:, 0] += _STANDING_START_MS
    if plan.yellow_lap:
        driven[:, plan.yellow_lap - 1] *= _YELLOW_FACTOR
    for place, car in enumerate(cars):
        if plan.pit_lap and plan.pit_lap.chassis == car.chassis:
            driven[place, plan.pit_lap.lap - 1] += _INTO_PITS_MS
            driven[place, plan.pit_lap.lap] += _OUT_OF_PITS_MS
        if plan.long_lap and plan.long_lap.chassis == car.chassis:
            driven[place, plan.long_lap.lap - 1] += _REPAIR_MS
    driven[0, BEST_LAP - 1] = driven.min() - BEST_MARGIN_MS
    return np.rint(driven).astype(np.int64)


def _drive_ahead(guest: npt.NDArray[np.int64], other: npt.NDArray[np.int64], shared: int) -> None:
    """Put the guest just ahead of the other car at each crossing of the shared laps, and far away afterwards."""
    after = np.arange(len(other)) > shared
    own_ms = guest[shared + 1 :] - guest[shared]
    # The guest loses its lead slowly: its laps must not be faster than the other car's.
    guest[~after] = other[~after] - np.linspace(*_AHEAD_MS, shared + 1).astype(np.int64)
    guest[after] = guest[shared] + own_ms + _SEPARATION_MS[0]
    other[after] += _SEPARATION_MS[1]


def _until_flag(crossings: npt.NDArray[np.int64], flag_ms: int) -> list[int]:
    """Return a car's crossings up to and including its first one at or after the chequered flag."""
    return [int(crossing) for crossing in crossings[: int(np.searchsorted(crossings, flag_ms)) + 1]]


def _laps(
    track: DemoTrack, plan: FaultPlan, car: DemoCar, green_ms: int, crossings: list[int], rng: np.random.Generator
) -> tuple[DrivenLap, ...]:
    laps = [_formation_lap(track, crossings[0], rng)] if plan.has_formation_lap else []
    for number, (start_ms, end_ms) in enumerate(pairwise(crossings), start=1):
        official_ms = end_ms - (green_ms if number == 1 else start_ms)
        is_last = number == len(crossings) - 1
        this = LapRef(car.chassis, number)
        laps.append(
            DrivenLap(
                number=number,
                unit_lap=_unit_lap(track, plan, this),
                start_ms=start_ms,
                end_ms=end_ms,
                official_ms=official_ms,
                sectors_ms=_sectors(official_ms, rng),
                flag="FF" if is_last else "FCY" if number == plan.yellow_lap else "GF",
                is_in_pit=this == plan.pit_lap,
                pit_ms=_IN_PITS_MS if LapRef(car.chassis, number - 1) == plan.pit_lap else None,
                spurious_ms=(
                    start_ms + int(_SPURIOUS_SHARE * (end_ms - start_ms)) if this == plan.extra_crossing else None
                ),
            )
        )
    if car.chassis in plan.post_race_chassis:
        laps.append(_post_race_lap(track, laps[-1], rng))
    return tuple(laps)


def _unit_lap(track: DemoTrack, plan: FaultPlan, lap: LapRef) -> int:
    """Return a device's lap count at the end of a lap; it includes spurious crossings but not missing ones."""
    if lap == plan.lost_counter:
        return LOST_COUNT
    missing, extra = plan.missing_crossing, plan.extra_crossing
    is_behind = missing is not None and missing.chassis == lap.chassis and missing.lap < lap.lap
    is_ahead = extra is not None and extra.chassis == lap.chassis and extra.lap <= lap.lap
    return track.first_unit_lap + lap.lap - 1 - is_behind + is_ahead


def _formation_lap(track: DemoTrack, end_ms: int, rng: np.random.Generator) -> DrivenLap:
    duration_ms = int(_FORMATION_FACTOR * track.lap_ms + rng.integers(0, 4_000))
    return _untimed_lap(0, track.first_unit_lap - 1, end_ms - duration_ms, duration_ms, rng)


def _post_race_lap(track: DemoTrack, last: DrivenLap, rng: np.random.Generator) -> DrivenLap:
    duration_ms = int(_POST_RACE_FACTOR * track.lap_ms + rng.integers(0, 4_000))
    return _untimed_lap(last.number + 1, last.unit_lap + 1, last.end_ms, duration_ms, rng)


def _untimed_lap(number: int, unit_lap: int, start_ms: int, duration_ms: int, rng: np.random.Generator) -> DrivenLap:
    return DrivenLap(
        number=number,
        unit_lap=unit_lap,
        start_ms=start_ms,
        end_ms=start_ms + duration_ms,
        official_ms=duration_ms,
        sectors_ms=_sectors(duration_ms, rng),
        is_timed=False,
    )


def _sectors(lap_ms: int, rng: np.random.Generator) -> tuple[int, int, int]:
    first, second = (int(lap_ms * (share + rng.uniform(-0.002, 0.002))) for share in _SECTOR_SHARES)
    return first, second, lap_ms - first - second


def _clocks(
    track: DemoTrack, number: int, plan: FaultPlan, cars: tuple[DemoCar, ...], options: WeekendOptions
) -> list[tuple[int, int | None]]:
    """Return the offset and the frozen time of each car's clock.

    Real clocks stop while the car is switched off: on Sunday they are 16 to 20 h further behind than on Saturday.
    """
    rng = np.random.default_rng([options.seed, track.index])  # not seeded by race: the clocks are the same on both days
    places = options.car_count + 1  # includes a guest in both races, so that the guest does not change the other clocks
    saturday = rng.uniform(23 * _HOUR_MS, 48 * _HOUR_MS, places)
    overnight = rng.uniform(16 * _HOUR_MS, 20 * _HOUR_MS, places)
    offsets = (saturday + (number - 1) * overnight) * plan.has_clock_offsets
    frozen_at_ms = track.green_ms(1) - 47 * _HOUR_MS + 34_971
    return [
        (int(offset), frozen_at_ms if car.chassis == plan.frozen_chassis else None)
        for car, offset in zip(cars, offsets[: len(cars)], strict=True)
    ]


def car_faults(race: Race) -> Iterator[InjectedFault]:
    """Yield the faults in car numbers and clocks, and those of cars that never start."""
    if race.plan.shadowed_chassis:
        detail = (
            f"The device says {UNDECIDED.suffix}, which is not an official car. Its crossings up to lap "
            f"{race.shared_laps} are those of car {race.entry(race.plan.shadowed_chassis).car.number}, "
            f"which has its own device; the later ones are those of {UNDECIDED.number}, its own."
        )
        yield race.fault(FaultKind.UNDECIDED_CAR, "sections", detail, UNDECIDED.chassis)
    for entry in race.entries:
        yield from _number_faults(race, entry.car)
        chassis = entry.car.chassis
        if entry.frozen_at_ms is not None:
            detail = f"Every telemetry row says {utc_text(entry.frozen_at_ms)}."
            yield race.fault(FaultKind.CLOCK_FROZEN, "telemetry", detail, chassis)
        elif entry.clock_offset_ms:
            detail = f"The telemetry clock is {entry.clock_offset_ms / _HOUR_MS:.1f} h behind."
            yield race.fault(FaultKind.CLOCK_DAYS_OFF, "telemetry", detail, chassis)
        if not entry.race_laps:
            detail = "Two triggers before the green flag, no official lap."
            yield race.fault(FaultKind.NEVER_STARTED, "lap_end", detail, chassis)


def _number_faults(race: Race, car: DemoCar) -> Iterator[InjectedFault]:
    if car.suffix == "000":
        detail = f"The unit has no number; the car is {car.number}."
        yield race.fault(FaultKind.NO_CAR_NUMBER, "sections", detail, car.chassis)
    elif car.suffix != car.number and car != UNDECIDED:
        detail = f"The unit says {car.suffix}, which is another car; this one is {car.number}."
        yield race.fault(FaultKind.WRONG_CAR_NUMBER, "sections", detail, car.chassis)
    if sum(entry.car.printed_number == car.printed_number for entry in race.entries) > 1:
        detail = f"Car {car.number} is printed as {car.printed_number}, like another one: two blocks of laps."
        yield race.fault(FaultKind.ZERO_PADDED_NUMBER, "sections", detail, car.chassis)

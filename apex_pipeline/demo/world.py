"""What truly happened in a race, before any file distorts it: every car, every lap, every crossing.

All times are whole milliseconds; instants are UTC since 1970. Here belong the race itself and the racing incidents of
its plan. Not here: how crossings and laps look in files (``lap_files.py``, ``official_files.py``).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from apex_pipeline.demo.cars import SPECTATOR, UNDECIDED, Car, entry_list
from apex_pipeline.demo.faults import BEST_LAP, FaultPlan, LapOf, plan_of
from apex_pipeline.demo.options import WeekendOptions
from apex_pipeline.demo.tracks import Track

LOST_COUNT = 32768
BEST_MARGIN_MS = 250  # the planted best lap beats every other by at least this much
_HOUR_MS = 3_600_000
_SECTOR_SHARES = (0.28, 0.43)
_STANDING_START_MS = 7_000
_INTO_PITS_MS, _OUT_OF_PITS_MS, _IN_PITS_MS = 28_000, 12_000, 41_000
_REPAIR_MS = 250_000
_YELLOW_FACTOR = 1.45
_SPURIOUS_SHARE = 0.4  # of the lap lies before a spurious crossing
_SLOW_FACTOR = 1.6  # lap to the pits after the flag
_AHEAD_MS = (2_600, 2_200)  # how far the undecided car is ahead of the other: at the start, and after half the race
_PART_MS = (4_000, 12_000)  # what the two lose in the next lap; less than both would make a stamped lap too fast
_OFFICIAL_BEHIND_MS = (7_300, 8_800)  # at the green flag and at the chequered one, as at COTA


@dataclass(frozen=True)
class DrivenLap:
    """A lap truly driven.

    Attributes:
        number: Official number from 1; 0 is the formation lap, one more than the last is the lap after the flag.
        unit_lap: What the car's unit calls it as it ends.
        start_ms: The car's own crossing that begins it.
        end_ms: The crossing that ends it.
        official_ms: Official lap time; lap 1 counts from the green flag.
        sectors_ms: Three sectors, summing to ``official_ms``.
        flag: ``GF``, ``FCY`` or ``FF``.
        is_in_pit: The crossing that ends it is in the pit lane.
        pit_ms: Time in the pits, written with the lap after the crossing.
        is_timed: Official timing lists it; not so formation and post-race laps.
        spurious_ms: When the unit counts a crossing that is none, ``None`` for nearly every lap.
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
        """What the unit calls the lap as it begins."""
        return self.unit_lap if self.spurious_ms is None else self.unit_lap - 1


@dataclass(frozen=True)
class CarRace:
    """One car's race.

    Attributes:
        car: The car.
        laps: Laps driven, in order, formation and post-race laps included.
        clock_offset_ms: True UTC minus the car's clock.
        frozen_at_ms: The only time a frozen clock shows, else ``None``.
    """

    car: Car
    laps: tuple[DrivenLap, ...]
    clock_offset_ms: int
    frozen_at_ms: int | None

    @property
    def race_laps(self) -> tuple[DrivenLap, ...]:
        """Laps official timing lists."""
        return tuple(lap for lap in self.laps if lap.is_timed)


@dataclass(frozen=True)
class Race:
    """A race.

    Attributes:
        track: Where.
        number: 1 on Saturday, 2 on Sunday.
        plan: What is planted.
        green_ms: Green flag.
        flag_ms: Chequered flag: the winner's last crossing.
        export_end_ms: Crossings and readings after this instant are in no exported file.
        shared_laps: Laps the undecided car drives right ahead of the one its crossings are taken for.
        entries: Cars in order of the entry list.
    """

    track: Track
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
        """Return one car's race; the chassis must be entered."""
        return next(entry for entry in self.entries if entry.car.chassis == chassis)

    def official_behind_ms(self, instant_ms: int) -> int:
        """Return how far official time of day is behind true UTC at an instant."""
        if not self.plan.is_official_clock_behind:
            return 0
        at_green, at_flag = _OFFICIAL_BEHIND_MS
        share = (instant_ms - self.green_ms) / (self.flag_ms - self.green_ms)
        return round(at_green + share * (at_flag - at_green))

    def best(self) -> tuple[CarRace, DrivenLap]:
        """Return the fastest lap and who drove it."""
        return min(
            ((entry, lap) for entry in self.entries for lap in entry.race_laps), key=lambda pair: pair[1].official_ms
        )


def make_race(track: Track, number: int, options: WeekendOptions) -> Race:
    """Return a race; the same for the same track, number and options."""
    plan = plan_of(track, number, plant_faults=options.plant_faults)
    cars = entry_list(track, options.car_count, plant_faults=options.plant_faults)
    if plan.undecided_beside:
        cars = (*cars, UNDECIDED)
    rng = np.random.default_rng([options.seed, track.index, number])
    green_ms = track.green_ms(number)
    starts = green_ms + 400 + 650 * np.arange(len(cars)) + rng.integers(0, 250, len(cars))
    driven = _driven_ms(track, plan, cars, options.lap_count, rng)
    crossings = np.column_stack([starts, starts[:, None] + np.cumsum(driven, axis=1)])
    shared_laps = options.lap_count // 2 if plan.undecided_beside else 0
    if shared_laps:
        beside = next(place for place, car in enumerate(cars) if car.chassis == plan.undecided_beside)
        _drive_ahead(crossings[-1], crossings[beside], shared_laps)
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
    track: Track, plan: FaultPlan, cars: tuple[Car, ...], laps: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the time every car takes for every lap, crossing to crossing; shape (cars, laps)."""
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
    """Put the guest's crossings right before the other's for the shared laps, and the two far apart after them."""
    after = np.arange(len(other)) > shared
    own_ms = guest[shared + 1 :] - guest[shared]
    # The guest loses its lead slowly: it must not drive a faster lap than the other.
    guest[~after] = other[~after] - np.linspace(*_AHEAD_MS, shared + 1).astype(np.int64)
    guest[after] = guest[shared] + own_ms + _PART_MS[0]
    other[after] += _PART_MS[1]


def _until_flag(crossings: npt.NDArray[np.int64], flag_ms: int) -> list[int]:
    """Return a car's crossings up to and with its first one at or after the chequered flag."""
    return [int(crossing) for crossing in crossings[: int(np.searchsorted(crossings, flag_ms)) + 1]]


def _laps(
    track: Track, plan: FaultPlan, car: Car, green_ms: int, crossings: list[int], rng: np.random.Generator
) -> tuple[DrivenLap, ...]:
    laps = [_formation_lap(track, crossings[0], rng)] if plan.has_formation_lap else []
    for number, (start_ms, end_ms) in enumerate(pairwise(crossings), start=1):
        official_ms = end_ms - (green_ms if number == 1 else start_ms)
        is_last = number == len(crossings) - 1
        this = LapOf(car.chassis, number)
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
                pit_ms=_IN_PITS_MS if LapOf(car.chassis, number - 1) == plan.pit_lap else None,
                spurious_ms=(
                    start_ms + int(_SPURIOUS_SHARE * (end_ms - start_ms)) if this == plan.extra_crossing else None
                ),
            )
        )
    if car.chassis in plan.post_race_chassis:
        laps.append(_post_race_lap(track, laps[-1], rng))
    return tuple(laps)


def _unit_lap(track: Track, plan: FaultPlan, lap: LapOf) -> int:
    """Return what a unit calls a lap as it ends: it counts crossings, those that are none too and missing ones not."""
    if lap == plan.lost_counter:
        return LOST_COUNT
    missing, extra = plan.missing_crossing, plan.extra_crossing
    is_behind = missing is not None and missing.chassis == lap.chassis and missing.lap < lap.lap
    is_ahead = extra is not None and extra.chassis == lap.chassis and extra.lap <= lap.lap
    return track.first_unit_lap + lap.lap - 1 - is_behind + is_ahead


def _formation_lap(track: Track, end_ms: int, rng: np.random.Generator) -> DrivenLap:
    duration_ms = int(1.8 * track.lap_ms + rng.integers(0, 4_000))
    return DrivenLap(
        number=0,
        unit_lap=track.first_unit_lap - 1,
        start_ms=end_ms - duration_ms,
        end_ms=end_ms,
        official_ms=duration_ms,
        sectors_ms=_sectors(duration_ms, rng),
        is_timed=False,
    )


def _post_race_lap(track: Track, last: DrivenLap, rng: np.random.Generator) -> DrivenLap:
    duration_ms = int(_SLOW_FACTOR * track.lap_ms + rng.integers(0, 4_000))
    return DrivenLap(
        number=last.number + 1,
        unit_lap=last.unit_lap + 1,
        start_ms=last.end_ms,
        end_ms=last.end_ms + duration_ms,
        official_ms=duration_ms,
        sectors_ms=_sectors(duration_ms, rng),
        is_timed=False,
    )


def _sectors(lap_ms: int, rng: np.random.Generator) -> tuple[int, int, int]:
    first, second = (int(lap_ms * (share + rng.uniform(-0.002, 0.002))) for share in _SECTOR_SHARES)
    return first, second, lap_ms - first - second


def _clocks(
    track: Track, number: int, plan: FaultPlan, cars: tuple[Car, ...], options: WeekendOptions
) -> list[tuple[int, int | None]]:
    """Return offset and frozen time of every car's clock.

    Real clocks stand still while the car is off: on Sunday they are 16 to 20 h further behind than on Saturday.
    """
    rng = np.random.default_rng([options.seed, track.index])  # without the race: both days know the same clocks
    places = options.car_count + 1  # drawn for a guest in either race, so that it changes no other clock
    saturday = rng.uniform(23 * _HOUR_MS, 48 * _HOUR_MS, places)
    overnight = rng.uniform(16 * _HOUR_MS, 20 * _HOUR_MS, places)
    offsets = (saturday + (number - 1) * overnight) * plan.has_clock_offsets
    frozen_at_ms = track.green_ms(1) - 47 * _HOUR_MS + 34_971
    return [
        (int(offset), frozen_at_ms if car.chassis == plan.frozen_chassis else None)
        for car, offset in zip(cars, offsets[: len(cars)], strict=True)
    ]


__all__ = ["LOST_COUNT", "CarRace", "DrivenLap", "Race", "make_race"]

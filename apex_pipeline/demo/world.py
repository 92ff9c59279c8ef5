"""What truly happened in a race, before any file distorts it: every car, every lap, every crossing.

All times are whole milliseconds; instants are UTC since 1970. Here belong the race itself and the racing incidents of
its plan. Not here: how crossings and laps look in files (``lap_files.py``, ``official_files.py``).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from apex_pipeline.demo.cars import SPECTATOR, Car, entry_list
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


@dataclass(frozen=True)
class DrivenLap:
    """A lap truly driven.

    Attributes:
        number: Official number from 1; 0 is the formation lap.
        unit_lap: What the car's unit calls it.
        start_ms: The car's own crossing that begins it.
        end_ms: The crossing that ends it.
        official_ms: Official lap time; lap 1 counts from the green flag.
        sectors_ms: Three sectors, summing to ``official_ms``.
        flag: ``GF``, ``FCY`` or ``FF``.
        is_in_pit: The crossing that ends it is in the pit lane.
        pit_ms: Time in the pits, written with the lap after the crossing.
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


@dataclass(frozen=True)
class CarRace:
    """One car's race.

    Attributes:
        car: The car.
        laps: Laps driven, in order, the formation lap included.
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
        return tuple(lap for lap in self.laps if lap.number > 0)


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
        entries: Cars in order of the entry list.
    """

    track: Track
    number: int
    plan: FaultPlan
    green_ms: int
    flag_ms: int
    export_end_ms: int
    entries: tuple[CarRace, ...]

    @property
    def session(self) -> str:
        """``R1`` or ``R2``."""
        return f"R{self.number}"

    def entry(self, chassis: str) -> CarRace:
        """Return one car's race; the chassis must be entered."""
        return next(entry for entry in self.entries if entry.car.chassis == chassis)

    def best(self) -> tuple[CarRace, DrivenLap]:
        """Return the fastest lap and who drove it."""
        return min(
            ((entry, lap) for entry in self.entries for lap in entry.race_laps), key=lambda pair: pair[1].official_ms
        )


def make_race(track: Track, number: int, options: WeekendOptions) -> Race:
    """Return a race; the same for the same track, number and options."""
    plan = plan_of(track, number, plant_faults=options.plant_faults)
    cars = entry_list(track, options.car_count, plant_faults=options.plant_faults)
    rng = np.random.default_rng([options.seed, track.index, number])
    green_ms = track.green_ms(number)
    starts = green_ms + 400 + 650 * np.arange(len(cars)) + rng.integers(0, 250, len(cars))
    driven = _driven_ms(track, plan, cars, options.lap_count, rng)
    crossings = np.column_stack([starts, starts[:, None] + np.cumsum(driven, axis=1)])
    flag_ms = int(crossings[:, -1].min())
    clocks = _clocks(track, number, plan, options)
    entries = [
        CarRace(car, _laps(track, plan, car, green_ms, _until_flag(row, flag_ms), rng), *clock)
        for car, row, clock in zip(cars, crossings, clocks[:-1], strict=True)
    ]
    if plan.has_spectator:
        start_ms = green_ms + 400 + 650 * len(cars)
        entries.append(CarRace(SPECTATOR, (_formation_lap(track, start_ms, rng),), *clocks[-1]))
    # 1.9 laps: some cars have just crossed the line and others are about to.
    export_end_ms = flag_ms - int(1.9 * track.lap_ms) if plan.is_truncated else flag_ms + 10 * 60_000
    return Race(track, number, plan, green_ms, flag_ms, export_end_ms, tuple(entries))


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
                unit_lap=LOST_COUNT if this == plan.lost_counter else track.first_unit_lap + number - 1,
                start_ms=start_ms,
                end_ms=end_ms,
                official_ms=official_ms,
                sectors_ms=_sectors(official_ms, rng),
                flag="FF" if is_last else "FCY" if number == plan.yellow_lap else "GF",
                is_in_pit=this == plan.pit_lap,
                pit_ms=_IN_PITS_MS if LapOf(car.chassis, number - 1) == plan.pit_lap else None,
            )
        )
    return tuple(laps)


def _formation_lap(track: Track, end_ms: int, rng: np.random.Generator) -> DrivenLap:
    duration_ms = int(1.8 * track.lap_ms + rng.integers(0, 4_000))
    return DrivenLap(
        number=0,
        unit_lap=track.first_unit_lap - 1,
        start_ms=end_ms - duration_ms,
        end_ms=end_ms,
        official_ms=duration_ms,
        sectors_ms=_sectors(duration_ms, rng),
    )


def _sectors(lap_ms: int, rng: np.random.Generator) -> tuple[int, int, int]:
    first, second = (int(lap_ms * (share + rng.uniform(-0.002, 0.002))) for share in _SECTOR_SHARES)
    return first, second, lap_ms - first - second


def _clocks(track: Track, number: int, plan: FaultPlan, options: WeekendOptions) -> list[tuple[int, int | None]]:
    """Return offset and frozen time of every car's clock, and of one car more.

    Real clocks stand still while the car is off: on Sunday they are 16 to 20 h further behind than on Saturday.
    """
    cars = entry_list(track, options.car_count, plant_faults=options.plant_faults)
    rng = np.random.default_rng([options.seed, track.index])  # without the race: both days know the same clocks
    saturday = rng.uniform(23 * _HOUR_MS, 48 * _HOUR_MS, len(cars) + 1)
    overnight = rng.uniform(16 * _HOUR_MS, 20 * _HOUR_MS, len(cars) + 1)
    offsets = (saturday + (number - 1) * overnight) * plan.has_clock_offsets
    frozen_at_ms = track.green_ms(1) - 47 * _HOUR_MS + 34_971
    frozen = [car.chassis == plan.frozen_chassis for car in cars] + [False]
    return [
        (int(offset), frozen_at_ms if is_frozen else None) for offset, is_frozen in zip(offsets, frozen, strict=True)
    ]


__all__ = ["LOST_COUNT", "CarRace", "DrivenLap", "Race", "make_race"]

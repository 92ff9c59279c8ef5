"""Drives a planned race: every lap of every car, as it really was; see ``units.py`` for what the cars' units sent.

All points in time are milliseconds since 1970, UTC.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from apex_pipeline_tests.races.plan import Kind, RacePlan, Shape, incidents_of

Floats = npt.NDArray[np.float64]

GREEN_MS = 1_757_184_120_000  # 2025-09-06 18:42 UTC
# Lap times of one driver scatter by 0.3 % (0.3 s in 98 s), and of a field by 4 %.
_SCATTER, _FIELD = 0.003, 0.04
_MISTAKES = 0.02
# A standing or rolling start costs the field this share of a lap.
_START_LOSS = (0.03, 0.08)
# Behind the safety car, in the formation lap and after the flag.
_SLOW = (1.5, 2.2)
# No stop to change tyres, drivers or fuel takes three minutes: who stands that long is parked.
_PIT_S = (25.0, 90.0)
_REPAIR_S = (240.0, 1_320.0)
_RED_S = (600.0, 2_400.0)
_STINT_S = 3_000.0


class Driving(StrEnum):
    """How a lap was driven."""

    RACING = "racing"  # at any pace under racing conditions, stops to change tyres included
    ROLLING = "rolling"  # formation lap, lap after the flag
    STOPPED = "stopped"  # stood for minutes: parked, repaired, red flag, in the garage


@dataclass(frozen=True)
class TrueLap:
    """A lap as it was driven.

    Attributes:
        unit: Vehicle id of the unit in the car.
        car: Number of the car; empty if the unit changed cars within the lap.
        number: Official lap number; 0 if official timing does not list it.
        begin_ms: Crossing that begins it.
        end_ms: Crossing that ends it.
        driving: How it was driven.
        official_s: Its time in official timing, seconds: the first lap counts from the green flag.
        is_in_pit: Whether it ends in the pit lane.
    """

    unit: str
    car: str
    number: int
    begin_ms: float
    end_ms: float
    driving: Driving
    official_s: float
    is_in_pit: bool = False

    @property
    def time_s(self) -> float:
        """Seconds from line to line."""
        return (self.end_ms - self.begin_ms) / 1000


@dataclass(frozen=True)
class Driven:
    """A race as it was.

    Attributes:
        plan: Its plan.
        laps: Every lap of every unit, by unit in order of time.
        official: The laps official timing lists, by car in order of time. Where no unit changes cars, the same laps.
        flag_ms: When it ended.
    """

    plan: RacePlan
    laps: tuple[TrueLap, ...]
    official: tuple[TrueLap, ...]
    flag_ms: float


@dataclass(frozen=True)
class _Run:
    """Crossings of one car: the first begins its first lap; one lap fewer than crossings."""

    crossings_ms: list[float]
    driving: list[Driving]
    numbers: list[int]
    in_pit: list[bool]


def drive(plan: RacePlan) -> Driven:
    """Drive a race; the same plan gives the same laps."""
    rng = np.random.default_rng([plan.seed, 3])
    runs = _race(plan, rng) if plan.is_race else [_outings(plan, place, rng) for place in range(plan.cars)]
    units, cars = _entries(plan, rng)
    laps = [lap for unit, car, run in zip(units, cars, runs, strict=True) for lap in _laps(unit, car, run)]
    official = [lap for lap in laps if lap.number > 0]
    flag_ms = max((lap.end_ms for lap in official), default=GREEN_MS + 1000 * plan.duration_s)
    if plan.kind is Kind.SWAP:
        laps = _swap(laps, units[0], units[1])
    return Driven(plan, tuple(laps), tuple(official), flag_ms)


def _entries(plan: RacePlan, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Return the units and the numbers of the cars they are in; some units name another car or none."""
    numbers = [str(number) for number in rng.choice(np.arange(2, 100), plan.cars, replace=False)]
    suffixes = list(numbers)
    if plan.kind is Kind.WRONG_SUFFIX:
        wrong = max(1, plan.cars // 5)
        suffixes[0] = "000"
        suffixes[1 : 1 + wrong] = [*suffixes[2 : 1 + wrong], "178"][: len(suffixes[1 : 1 + wrong])]
    chassis = rng.choice(np.arange(1, 200), plan.cars, replace=False)
    return [f"GR86-{chassis[place]:03d}-{suffix}" for place, suffix in enumerate(suffixes)], numbers


def _race(plan: RacePlan, rng: np.random.Generator) -> list[_Run]:
    count = int(plan.duration_s / plan.lap_s) + 1
    pace_s = plan.lap_s * (1 + _FIELD * np.arange(plan.cars) / max(plan.cars, 10))
    times_s = pace_s[:, None] * (1 + rng.normal(0, _SCATTER, (plan.cars, count)).clip(-0.009, 0.009))
    times_s += (rng.random(times_s.shape) < _MISTAKES) * rng.uniform(0.02, 0.1, times_s.shape) * plan.lap_s
    times_s[:, 0] += rng.uniform(*_START_LOSS) * plan.lap_s
    starts_s = 1.0 + np.minimum(0.9, 0.3 * plan.lap_s / plan.cars) * np.arange(plan.cars)
    stopped = np.zeros(times_s.shape, dtype=bool)
    in_pit = np.zeros(times_s.shape, dtype=bool)
    _pit_stops(plan, times_s, in_pit, rng)
    incidents = incidents_of(plan)
    _slow_field(plan, incidents, starts_s, times_s, stopped, rng)
    if Kind.PARKED in incidents:
        _repairs(times_s, stopped, rng)
    ends_s = starts_s[:, None] + np.cumsum(times_s, axis=1)
    flag_s = float(min(plan.duration_s, ends_s[:, -1].min()))
    flag_s = float(np.min(np.where(ends_s >= flag_s, ends_s, np.inf)))
    has_cool_down = rng.random() < 0.5 or plan.kind is Kind.FORMATION
    formation_s = _formation(plan, starts_s, rng)
    runs: list[_Run] = []
    for place in range(plan.cars):
        listed = int(np.searchsorted(ends_s[place], flag_s)) + 1
        run = _Run(
            [*formation_s[place], starts_s[place], *ends_s[place][:listed]],
            [Driving.ROLLING] * formation_s.shape[1]
            + [Driving.STOPPED if is_stop else Driving.RACING for is_stop in stopped[place][:listed]],
            [0] * formation_s.shape[1] + list(range(1, min(listed, count) + 1)),
            [False] * formation_s.shape[1] + in_pit[place][:listed].tolist(),
        )
        run.driving[:] = run.driving[: len(run.crossings_ms) - 1]
        if has_cool_down:
            _append(run, run.crossings_ms[-1] + plan.lap_s * rng.uniform(*_SLOW), Driving.ROLLING)
        runs.append(run)
    if Kind.PARKED in incidents and plan.cars > 1:
        runs[-1] = _parked_until_the_flag(runs[-1], flag_s + rng.uniform(60, 400))
    return [_in_ms(run) for run in runs]


def _append(run: _Run, end_s: float, driving: Driving) -> None:
    run.crossings_ms.append(float(end_s))
    run.driving.append(driving)
    run.numbers.append(0)
    run.in_pit.append(False)


def _in_ms(run: _Run) -> _Run:
    return replace(run, crossings_ms=[round(GREEN_MS + 1000 * second) for second in run.crossings_ms])


def _pit_stops(plan: RacePlan, times_s: Floats, in_pit: npt.NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Add stops to change tyres, drivers or fuel: in endurance races once per stint, else once where planned."""
    if plan.shape is Shape.ENDURANCE:
        every = max(2, int(_STINT_S / plan.lap_s))
    elif plan.kind is Kind.PIT_STOPS:
        every = max(2, times_s.shape[1] // 2)
    else:
        return
    for place in range(times_s.shape[0]):
        first = int(rng.integers(1, every))
        stops = np.arange(first, times_s.shape[1], every)
        times_s[place, stops] += rng.uniform(*_PIT_S, len(stops))
        in_pit[place, stops - 1] = True


def _slow_field(
    plan: RacePlan,
    incidents: frozenset[Kind],
    starts_s: Floats,
    times_s: Floats,
    stopped: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> None:
    """Put the field behind the safety car, stop it by a red flag, or stop two cars while their units are swapped."""
    at_s = rng.uniform(0.25, 0.6) * plan.duration_s
    if Kind.SAFETY_CAR in incidents:
        begins_s = _begins_s(starts_s, times_s)
        behind = (begins_s >= at_s) & (begins_s < at_s + int(rng.integers(1, 5)) * plan.lap_s)
        times_s[behind] *= rng.uniform(*_SLOW)
    if Kind.RED_FLAG in incidents or plan.kind is Kind.SWAP:
        begins_s = _begins_s(starts_s, times_s)
        within = (begins_s <= at_s) & (begins_s + times_s > at_s)
        if plan.kind is Kind.SWAP:
            within[2:] = False
        long_s = rng.uniform(*(_REPAIR_S if plan.kind is Kind.SWAP else _RED_S))
        times_s[within] += long_s + rng.uniform(0, 30, int(within.sum()))
        stopped |= within


def _begins_s(starts_s: Floats, times_s: Floats) -> Floats:
    return starts_s[:, None] + np.cumsum(times_s, axis=1) - times_s


def _repairs(times_s: Floats, stopped: npt.NDArray[np.bool_], rng: np.random.Generator) -> None:
    for place in rng.choice(times_s.shape[0], max(1, times_s.shape[0] // 8), replace=False):
        lap = int(rng.integers(1, times_s.shape[1]))
        times_s[place, lap] += rng.uniform(*_REPAIR_S)
        stopped[place, lap] = True


def _formation(plan: RacePlan, starts_s: Floats, rng: np.random.Generator) -> Floats:
    """Return the crossings before the start: where the formation laps begin; shape (cars, laps)."""
    laps = int(rng.integers(1, 4)) if plan.kind is Kind.FORMATION else int(rng.random() < 0.3)
    factors = rng.uniform(*_SLOW, laps)
    before_s = np.cumsum(factors[::-1])[::-1] * plan.lap_s
    # The field closes up from lap to lap.
    return starts_s[:, None] * (1.5 + np.arange(laps, 0, -1)) / 1.5 - before_s[None, :]


def _parked_until_the_flag(run: _Run, after_s: float) -> _Run:
    """Return the run of a car that stops on its way to the grid and is driven home after the race."""
    first = run.crossings_ms[0]
    return _Run([first, max(after_s, first + 600.0)], [Driving.STOPPED], [0], [False])


def _outings(plan: RacePlan, place: int, rng: np.random.Generator) -> _Run:
    """Return one car's practice or qualifying: outings of some flying laps, and minutes in the garage between them."""
    pace_s = plan.lap_s * (1 + _FIELD * place / max(plan.cars, 10))
    run = _Run([float(rng.uniform(10, 0.3 * plan.duration_s))], [], [], [])
    while run.crossings_ms[-1] < plan.duration_s:
        flying = int(rng.integers(2, 8))
        times_s = pace_s * (1 + rng.normal(0, _SCATTER, flying + 2).clip(-0.009, 0.009))
        times_s[0] *= rng.uniform(1.1, 1.3)
        times_s[-1] *= rng.uniform(1.05, 1.2)
        for time_s in times_s.tolist():
            if run.crossings_ms[-1] < plan.duration_s:
                _append(run, run.crossings_ms[-1] + time_s, Driving.RACING)
        run.in_pit[-1] = True
        if run.crossings_ms[-1] < plan.duration_s:
            # The box is behind the line: the stop belongs to the out-lap.
            _append(run, run.crossings_ms[-1] + rng.uniform(*_REPAIR_S) + pace_s, Driving.STOPPED)
    return _in_ms(replace(run, numbers=list(range(1, len(run.driving) + 1))))


def _laps(unit: str, car: str, run: _Run) -> list[TrueLap]:
    laps: list[TrueLap] = []
    for lap, driving in enumerate(run.driving):
        begin_ms, end_ms, number = run.crossings_ms[lap], run.crossings_ms[lap + 1], run.numbers[lap]
        official_s = (end_ms - (GREEN_MS if number == 1 else begin_ms)) / 1000
        laps.append(TrueLap(unit, car, number, begin_ms, end_ms, driving, official_s, run.in_pit[lap]))
    return laps


def _swap(laps: list[TrueLap], one: str, other: str) -> list[TrueLap]:
    """Return the laps by unit after two units changed cars while both cars stood."""
    kept = [lap for lap in laps if lap.unit not in {one, other}]
    of = {unit: [lap for lap in laps if lap.unit == unit] for unit in (one, other)}
    for unit, next_unit in ((one, other), (other, one)):
        stop = next((lap for lap in of[unit] if lap.driving is Driving.STOPPED), of[unit][-1])
        resumed = next((lap for lap in of[next_unit] if lap.driving is Driving.STOPPED), of[next_unit][-1])
        kept += [lap for lap in of[unit] if lap.end_ms <= stop.begin_ms]
        kept.append(replace(stop, car="", number=0, end_ms=resumed.end_ms, driving=Driving.STOPPED))
        kept += [replace(lap, unit=unit) for lap in of[next_unit] if lap.begin_ms >= resumed.end_ms]
    return kept

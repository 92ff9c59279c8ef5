"""Plans races: which kind of fault, session, field and track a seed stands for; see ``drive.py`` for driving them."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Shape(StrEnum):
    """Kind of session."""

    PRACTICE = "practice"
    QUALIFYING = "qualifying"
    RACE = "race"
    ENDURANCE = "endurance"


class Watch(StrEnum):
    """What the unit's lap timer (``lap_time.value``) says."""

    NONE = "none"  # no values, as at Barber and Indianapolis
    INDEPENDENT = "independent"  # runs on its own: right even if the stamp is late
    FOLLOWS = "follows"  # difference of the stamps: wrong with them


class Kind(StrEnum):
    """What is special about a race."""

    CLEAN = "clean"
    PIT_STOPS = "pit_stops"
    RED_FLAG = "red_flag"
    SAFETY_CAR = "safety_car"
    FORMATION = "formation"
    PARKED = "parked"
    SWAP = "swap"
    WRONG_SUFFIX = "wrong_suffix"
    CLOCK_STOP = "clock_stop"
    LATE_SINGLE = "late_single"
    LATE_MANY = "late_many"
    LATE_FIRST = "late_first"
    DUPLICATES = "duplicates"
    BOUNCES = "bounces"
    LOST_COUNTER = "lost_counter"
    MISSING = "missing"
    TRUNCATED = "truncated"
    WRONG_RACE = "wrong_race"
    WRONG_ZONE = "wrong_zone"
    TWO_MINUTES = "two_minutes"


KINDS = tuple(Kind)
WRONG_FILES = frozenset({Kind.WRONG_RACE, Kind.WRONG_ZONE, Kind.TWO_MINUTES})
_SHAPES = tuple(Shape)
_WATCHES = tuple(Watch)
# These need a field that starts together, or several cars in one session for a long time.
_RACES_ONLY = frozenset({Kind.RED_FLAG, Kind.SAFETY_CAR, Kind.FORMATION, Kind.PARKED, Kind.SWAP})
_RACES = (Shape.RACE, Shape.ENDURANCE)
# Short ovals to the Nordschleife.
_LAP_S = (15.0, 22.0, 40.0, 71.0, 97.0, 131.0, 160.0, 240.0, 480.0)
_CARS = (1, 2, 3, 6, 12, 22, 31, 48, 64)
_MINUTES = {Shape.PRACTICE: (40, 91), Shape.QUALIFYING: (15, 46), Shape.RACE: (25, 61)}
_HOURS = (6, 12, 24)
# So that 500 races take minutes, not hours: the field is cut where it would drive more laps than this.
_MOST_LAPS = 500
# Share of races in which it happens, whatever else is special about them.
_INCIDENTS = {Kind.SAFETY_CAR: 0.25, Kind.PARKED: 0.2, Kind.RED_FLAG: 0.05}
_FEWEST_LAPS = 6


@dataclass(frozen=True)
class RacePlan:
    """What a race is like; everything else follows from ``seed``.

    Attributes:
        seed: Seed of all random numbers.
        kind: What is special about it.
        shape: Kind of session.
        watch: What the units' lap timers say.
        has_official: Whether official timing is visible.
        cars: Number of cars, 1 to 64.
        lap_s: Lap time of the fastest car in seconds, 15 s to 8 min.
        duration_s: Length of the session in seconds, up to 24 h.
    """

    seed: int
    kind: Kind
    shape: Shape
    watch: Watch
    has_official: bool
    cars: int
    lap_s: float
    duration_s: float

    @property
    def is_race(self) -> bool:
        """Whether the field starts together."""
        return self.shape in _RACES


def plan_of(seed: int) -> RacePlan:
    """Return the plan of a seed: kinds, shapes, watches and official timing in turn, the rest at random.

    Any 40 consecutive seeds hold every kind twice, with official timing and without; 160 hold every kind in every
    shape it can have, with and without official timing.
    """
    kind = KINDS[seed % len(KINDS)]
    turn, offset = seed // len(KINDS), seed % len(KINDS)
    shapes = _RACES if kind in _RACES_ONLY else _SHAPES
    shape = shapes[(turn + turn // 2 + offset) % len(shapes)]
    rng = np.random.default_rng([seed, 1])
    return make_plan(
        seed,
        kind,
        shape,
        watch=_WATCHES[(turn + offset) % len(_WATCHES)],
        has_official=kind in WRONG_FILES or turn % 2 == 1,
        lap_s=float(rng.choice(_LAP_S) * rng.uniform(1.0, 1.04)),
        cars=int(rng.choice(_CARS)),
    )


def make_plan(
    seed: int,
    kind: Kind,
    shape: Shape = Shape.RACE,
    *,
    watch: Watch = Watch.INDEPENDENT,
    has_official: bool = False,
    cars: int = 12,
    lap_s: float = 97.0,
) -> RacePlan:
    """Return a plan with these parameters, its length at random; the field is cut to keep it fast."""
    rng = np.random.default_rng([seed, 2])
    if shape is Shape.ENDURANCE:
        duration_s = 3600.0 * float(rng.choice(_HOURS))
    else:
        duration_s = 60.0 * float(rng.integers(*_MINUTES[shape]))
    duration_s = max(duration_s, _FEWEST_LAPS * lap_s)
    at_least = 2 if kind in {Kind.SWAP, Kind.PARKED} else 1
    if shape is Shape.ENDURANCE and duration_s / lap_s * at_least > 2 * _MOST_LAPS:
        lap_s *= np.ceil(duration_s * at_least / lap_s / (2 * _MOST_LAPS))
    most = max(at_least, int(_MOST_LAPS * lap_s / duration_s))
    return RacePlan(seed, kind, shape, watch, has_official, max(at_least, min(cars, most)), float(lap_s), duration_s)


def incidents_of(plan: RacePlan) -> frozenset[Kind]:
    """Return what happens in a race besides the faults of its recording; nothing in practice and qualifying."""
    if not plan.is_race:
        return frozenset()
    drawn = np.random.default_rng([plan.seed, 7]).random(len(_INCIDENTS)).tolist()
    happened = {kind for (kind, share), value in zip(_INCIDENTS.items(), drawn, strict=True) if value < share}
    if plan.kind is Kind.SWAP:
        # The stop in which units are swapped is the only one.
        happened &= {Kind.SAFETY_CAR}
    return frozenset(happened | ({plan.kind} & _INCIDENTS.keys()))

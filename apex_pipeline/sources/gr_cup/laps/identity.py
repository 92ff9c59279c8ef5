"""Who is who: every car's unit against every official car, by when they crossed the line.

The number in a vehicle id is what somebody typed in, and wrong for one car in fifteen. Two cars that cross the line
together for a whole race are one car. All cars are decided at once, as one assignment: a car cannot be two, nor two
cars one. What the crossings do not decide stays undecided, with the numbers it could be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apex_pipeline.sources.gr_cup.laps.crossing_match import AGREES_MS, CrossingMatch, Matrix
from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialCar
from apex_pipeline.sources.gr_cup.laps.official_clock import OfficialClock
from apex_pipeline.sources.gr_cup.parsing import split_vehicle_id

# The clocks are first aligned as a whole, then along their drift: each round looks closer.
_ROUNDS_MS = (3_000.0, 1_500.0, 800.0)
# A number is believed from here on: more than half of the crossings agree, and one by itself is not enough.
_NEEDED_CONFIDENCE = 0.5
# A car without a unit that fits nearly as well (less than one crossing's worth behind) leaves the case open.
_CLEAR_MARGIN = 1.0
# Where two fit alike the number in the vehicle id tips the scale; it weighs less than any crossing.
_SUFFIX_WEIGHT = 0.01
# A car is a candidate if it explains at least two crossings that the candidates before it leave open.
_CROSSINGS_OF_A_CANDIDATE = 2
# The suffix is what somebody typed into the unit, and nothing confirms it: in nine real sessions it names another car
# for 14 of 213, no number at all for two, and the wrong ones look like the right ones.
SUFFIX_CONFIDENCE = 0.3


@dataclass(frozen=True)
class Identity:
    """Who a car is, and what that rests on.

    Attributes:
        vehicle_id: The car's unit; ``None`` for a car only official timing knows.
        official: The official car; ``None`` if there is none or it is undecided.
        number: Resolved number; ``None`` while undecided or if nobody tells one.
        method: One of ``CAR_NUMBER_METHODS``.
        confidence: 0 to 1: agreeing crossings, and 0.3 if the id says the same, by compared crossings plus one.
        crossings: Crossings of the car.
        evidence: Why, in a sentence.
        compared: Official crossings of that car that fall in the time its unit reported.
        agreeing: Of these, crossings the unit has too.
        median_late_s: Own minus official crossing, clocks aligned.
        runner_up: Number of the official car with the next most agreeing crossings.
        runner_up_agreeing: These crossings.
        candidates: Numbers an undecided car may have, best first.
    """

    vehicle_id: str | None
    official: OfficialCar | None
    number: str | None
    method: str
    confidence: float
    crossings: int | None
    evidence: str
    compared: int | None = None
    agreeing: int | None = None
    median_late_s: float | None = None
    runner_up: str | None = None
    runner_up_agreeing: int | None = None
    candidates: tuple[str, ...] = ()


def resolve_identities(
    crossings: Mapping[str, Sequence[Crossing]], cars: Sequence[OfficialCar], clock: OfficialClock | None
) -> tuple[list[Identity], OfficialClock | None]:
    """Find the official car of every unit.

    Args:
        crossings: Crossings by vehicle id, in time.
        cars: The cars of official timing.
        clock: Its clock; ``None`` if it fits no crossing.

    Returns:
        One identity per unit, then one per official car without a unit; and the clock with its drift followed.
    """
    timed = [car for car in cars if car.timed]
    if clock is None or not timed:
        reason = "Official timing fits the crossings of no car" if cars else "There is no official timing"
        units = [_by_suffix(unit, len(passings), reason) for unit, passings in crossings.items()]
        return units + [_without_unit(car) for car in cars], clock
    passings = list(crossings.values())
    for reach_ms in _ROUNDS_MS:
        evidence = CrossingMatch(passings, timed, clock)
        clock = evidence.followed_clock(_assign(evidence.scores(reach_ms), list(crossings), timed), reach_ms)
    decision = _Decision(crossings, timed, CrossingMatch(passings, timed, clock))
    units = [decision.of(place) for place in range(len(crossings))]
    taken = {item.official for item in units if item.official}
    return units + [_without_unit(car) for car in cars if car not in taken], clock


def _assign(scores: Matrix, units: Sequence[str], cars: Sequence[OfficialCar]) -> dict[int, int]:
    """Return the car of each unit, both by place: the best for all together."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 -- takes 0.7 s, and only a derivation needs it

    by_suffix = np.array([[_names(unit, car) for car in cars] for unit in units])
    rows, columns = linear_sum_assignment(scores + _SUFFIX_WEIGHT * by_suffix, maximize=True)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if scores[row, column] > 0}


def _names(unit: str, car: OfficialCar) -> bool:
    """Tell whether the number in the vehicle id is the car's, leading zeros aside."""
    suffix = split_vehicle_id(unit)[1]
    return suffix is not None and suffix.lstrip("0") == car.number.lstrip("0")


class _Decision:
    """Decides one unit after the other, knowing what the assignment gave to all of them."""

    def __init__(
        self, crossings: Mapping[str, Sequence[Crossing]], cars: Sequence[OfficialCar], evidence: CrossingMatch
    ) -> None:
        self._units = list(crossings)
        self._sizes = [len(passings) for passings in crossings.values()]
        self._cars = cars
        self._evidence = evidence
        self._scores = evidence.scores(AGREES_MS)
        self._agreeing = evidence.agreeing()
        self._compared = evidence.compared()
        self._chosen = _assign(self._scores, self._units, cars)
        self._clear = {place: car for place, car in self._chosen.items() if self._is_clear(place, car)}

    def of(self, place: int) -> Identity:
        """Return who the unit at this place is."""
        if place in self._clear:
            return self._decided(place, self._clear[place])
        candidates = self._candidates(place)
        return self._undecided(place, candidates) if candidates else self._told_by_suffix(place)

    def _is_clear(self, place: int, car: int) -> bool:
        """Tell whether most crossings agree and no car without a unit fits nearly as well."""
        if self._confidence(place, car) <= _NEEDED_CONFIDENCE:
            return False
        free = set(range(len(self._cars))) - set(self._chosen.values())
        score = self._scores[place, car] + self._typed(place, car)
        margin = min(_CLEAR_MARGIN, score / 2)
        return all(score - self._scores[place, other] - self._typed(place, other) >= margin for other in free)

    def _typed(self, place: int, car: int) -> float:
        """Return what the number in the id is worth as a witness."""
        return SUFFIX_CONFIDENCE if _names(self._units[place], self._cars[car]) else 0.0

    def _confidence(self, place: int, car: int) -> float:
        """Return the share of witnesses: each crossing is one, the number in the id a weak one."""
        witnesses = self._agreeing[place, car] + self._typed(place, car)
        return float(witnesses / (self._compared[place, car] + 1))

    def _decided(self, place: int, car: int) -> Identity:
        agreeing, compared = int(self._agreeing[place, car]), int(self._compared[place, car])
        others = [other for other in range(len(self._cars)) if other != car]
        second = max(others, key=lambda other: (self._scores[place, other], -other), default=None)
        unit, number = self._units[place], self._cars[car].number
        is_as_typed = _names(unit, self._cars[car])
        typed = "as its id says" if is_as_typed else f"though its id ends in {unit.rpartition('-')[2]}"
        return Identity(
            vehicle_id=unit,
            official=self._cars[car],
            number=number,
            method="official_crossings",
            confidence=round(self._confidence(place, car), 3),
            crossings=self._sizes[place],
            evidence=f"{agreeing} of {compared} official crossings of car {number} are its own, {typed}.",
            compared=compared,
            agreeing=agreeing,
            median_late_s=round(self._evidence.median_late_s(place, car), 3),
            runner_up=None if second is None else self._cars[second].number,
            runner_up_agreeing=None if second is None else int(self._agreeing[place, second]),
        )

    def _candidates(self, place: int) -> list[int]:
        """Return the cars that together explain the unit's crossings, the one that explains most first."""
        shared = self._evidence.shared(place)
        left = set[int]().union(*shared.values())
        candidates: list[int] = []
        following = self._chosen.get(place)
        while following is not None and len(shared.get(following, set()) & left) >= _CROSSINGS_OF_A_CANDIDATE:
            candidates.append(following)
            left -= shared[following]
            following = max(shared, key=lambda car: (len(shared[car] & left), -car), default=None)
        return sorted(candidates, key=lambda car: (-len(shared[car]), self._cars[car].number))

    def _undecided(self, place: int, candidates: Sequence[int]) -> Identity:
        told = ", ".join(f"{int(self._agreeing[place, car])} with car {self._cars[car].number}" for car in candidates)
        return Identity(
            vehicle_id=self._units[place],
            official=None,
            number=None,
            method="undecided",
            confidence=0.0,
            crossings=self._sizes[place],
            evidence=f"Of its {self._sizes[place]} crossings some agree with each of several cars: {told}.",
            candidates=tuple(self._cars[car].number for car in candidates),
        )

    def _told_by_suffix(self, place: int) -> Identity:
        unit = self._units[place]
        taken = [car for car in self._clear.values() if _names(unit, self._cars[car])]
        if not taken:
            return _by_suffix(unit, self._sizes[place], "No crossing of it fits a car of official timing")
        number = self._cars[taken[0]].number
        return Identity(
            vehicle_id=unit,
            official=None,
            number=None,
            method="undecided",
            confidence=0.0,
            crossings=self._sizes[place],
            evidence=f"No crossing of it fits official timing, and car {number} of its id is another unit's.",
        )


def _by_suffix(unit: str, crossings: int, reason: str) -> Identity:
    number = split_vehicle_id(unit)[1]
    told = f"the number {number} is only what its id says" if number else "its id tells no number"
    return Identity(
        vehicle_id=unit,
        official=None,
        number=number,
        method="suffix" if number else "undecided",
        confidence=SUFFIX_CONFIDENCE if number else 0.0,
        crossings=crossings,
        evidence=f"{reason}: {told}.",
    )


def _without_unit(car: OfficialCar) -> Identity:
    return Identity(
        vehicle_id=None,
        official=car,
        number=car.number,
        method="official_only",
        confidence=1.0,
        crossings=None,
        evidence=f"Official timing has {len(car.laps)} laps of car {car.number}; no unit's crossings are its own.",
    )

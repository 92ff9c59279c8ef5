"""Matches on-board devices to official cars by comparing crossing times.

The number in a vehicle id is typed in by hand, and is wrong for one car in fifteen. A device and an official car that
cross the line together for an entire race are the same car. All devices are matched at once, as one assignment, so each
device gets at most one car and each car at most one device. If the crossings are ambiguous, a device stays undecided,
with the numbers it may have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apex_pipeline.sources.gr_cup.laps.assignment import assign
from apex_pipeline.sources.gr_cup.laps.crossing_match import AGREES_MS, CrossingMatch, Matrix
from apex_pipeline.sources.gr_cup.laps.crossings import Crossing
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialCar
from apex_pipeline.sources.gr_cup.laps.official_clock import OfficialClock
from apex_pipeline.sources.gr_cup.laps.unit_changes import Period, periods_in_other_cars
from apex_pipeline.sources.gr_cup.parsing import split_vehicle_id

# The clocks are first aligned by one offset, then along their drift; each round uses a smaller tolerance.
_ROUNDS_MS = (3_000.0, 1_500.0, 800.0)
# A number is accepted above this confidence: more than half of the crossings must agree, and one is not enough.
_NEEDED_CONFIDENCE = 0.5
# A device stays undecided if an unassigned car fits nearly as well: less than one crossing worse.
_CLEAR_MARGIN = 1.0
# If two cars fit equally well, the number in the vehicle id decides; it weighs less than any crossing.
_SUFFIX_WEIGHT = 0.01
# A car is a candidate if it explains at least two crossings that the previous candidates do not.
_MIN_CROSSINGS_PER_CANDIDATE = 2
# The suffix was typed into the device by hand: in nine real sessions it names the right car for 197 of 213 devices, the
# wrong one for 14, and none for two. By track it is right for 0.80 (Barber) to 1.0 (VIR) of them.
SUFFIX_CONFIDENCE = 0.93
# If official timing exists and no crossing of the device fits it, the suffix is a guess.
_UNMATCHED_SUFFIX_CONFIDENCE = 0.3
# As evidence next to crossings it counts for less than one of them.
_SUFFIX_EVIDENCE = 0.3


@dataclass(frozen=True)
class Identity:
    """The identity of a car, with the evidence for it.

    Attributes:
        vehicle_id: Id of the car's device; ``None`` for a car that only official timing lists.
        official: The official car; ``None`` if there is none or it is undecided.
        number: Resolved number; ``None`` if undecided, or if neither official timing nor the id has a number.
        method: One of ``CAR_NUMBER_METHODS``.
        confidence: 0 to 1: agreeing crossings, plus 0.3 if the id has the same number, divided by compared crossings
            plus one.
        crossings: Number of crossings of the device.
        evidence: The reason, in one sentence.
        compared: Number of official crossings of that car within the device's reporting period.
        agreeing: Number of these that agree with a crossing of the device.
        median_late_s: Median of own minus official crossings, with the clocks aligned.
        runner_up: Number of the official car with the second-best match.
        runner_up_agreeing: Number of agreeing crossings of the runner-up.
        candidates: Numbers an undecided car may have, best first.
        periods_in_other_cars: Periods in which the device was in another car, UTC milliseconds.
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
    periods_in_other_cars: tuple[Period, ...] = ()


def resolve_identities(
    crossings: Mapping[str, Sequence[Crossing]],
    cars: Sequence[OfficialCar],
    clock: OfficialClock | None,
    *,
    is_ambiguous: bool = False,
) -> tuple[list[Identity], OfficialClock | None]:
    """Find the official car of every device.

    Args:
        crossings: Crossings by vehicle id, in chronological order.
        cars: The cars of official timing.
        clock: The clock of official timing; ``None`` if it could not be aligned.
        is_ambiguous: Whether that is because several alignments fit alike.

    Returns:
        The identities, one per device and then one per official car without a device; and the clock with its drift.
    """
    timed = [car for car in cars if car.timed]
    if clock is None or not timed:
        reason = _reason_without_clock(is_ambiguous=is_ambiguous) if cars else "There is no official timing"
        sure = _UNMATCHED_SUFFIX_CONFIDENCE if cars else SUFFIX_CONFIDENCE
        devices = [_from_suffix(vehicle_id, len(own), reason, sure) for vehicle_id, own in crossings.items()]
        return devices + [_without_device(car) for car in cars], clock
    match, clock = _match_along_drift(crossings, timed, clock)
    resolver = _IdentityResolver(crossings, timed, match)
    devices = [resolver.resolve(index) for index in range(len(crossings))]
    taken = {item.official for item in devices if item.official}
    return devices + [_without_device(car) for car in cars if car not in taken], clock


def _match_along_drift(
    crossings: Mapping[str, Sequence[Crossing]], cars: Sequence[OfficialCar], steady_clock: OfficialClock
) -> tuple[CrossingMatch, OfficialClock]:
    """Compare all crossings with the clock that explains most of them, along its drift or without; return both."""
    of_devices, clock = list(crossings.values()), steady_clock
    for reach_ms in _ROUNDS_MS:
        match = CrossingMatch(of_devices, cars, clock)
        clock = match.clock_with_drift(_assign(match.scores(reach_ms), list(crossings), cars), reach_ms)
    match, steady = CrossingMatch(of_devices, cars, clock), CrossingMatch(of_devices, cars, steady_clock)
    # Two cars a second apart whose units are exchanged look like a clock that jumps. If a steady clock explains more
    # crossings, it did not.
    return (steady, steady_clock) if steady.explained() > match.explained() else (match, clock)


def _reason_without_clock(*, is_ambiguous: bool) -> str:
    if is_ambiguous:
        return "Official timing is ambiguous: several times of its clock fit the crossings alike"
    return "Official timing fits the crossings of no car"


def _assign(scores: Matrix, vehicle_ids: Sequence[str], cars: Sequence[OfficialCar]) -> dict[int, int]:
    """Return the index of each device's car in the assignment with the highest total score."""
    by_suffix = np.array([[_suffix_matches(vehicle_id, car) for car in cars] for vehicle_id in vehicle_ids])
    pairs = assign(scores + _SUFFIX_WEIGHT * by_suffix)
    return {row: column for row, column in pairs if scores[row, column] > 0}


def _suffix_matches(vehicle_id: str, car: OfficialCar) -> bool:
    """Return whether the number in the vehicle id is the car's number, ignoring leading zeros."""
    suffix = split_vehicle_id(vehicle_id)[1]
    return suffix is not None and suffix.lstrip("0") == car.number.lstrip("0")


class _IdentityResolver:
    """Resolves devices one by one, given the assignment of all of them."""

    def __init__(
        self, crossings: Mapping[str, Sequence[Crossing]], cars: Sequence[OfficialCar], match: CrossingMatch
    ) -> None:
        self._vehicle_ids = list(crossings)
        self._sizes = [len(own) for own in crossings.values()]
        self._own_ms = [[crossing.utc_ms for crossing in own] for own in crossings.values()]
        self._cars = cars
        self._match = match
        self._scores = match.scores(AGREES_MS)
        self._agreeing = match.agreeing()
        self._compared = match.compared()
        self._assigned = _assign(self._scores, self._vehicle_ids, cars)
        self._clear = {device: car for device, car in self._assigned.items() if self._is_clear(device, car)}

    def resolve(self, device: int) -> Identity:
        """Return the identity of the device with this index."""
        if device in self._clear:
            return self._decided(device, self._clear[device])
        candidates = self._candidates(device)
        return self._undecided(device, candidates) if candidates else self._unmatched(device)

    def _is_clear(self, device: int, car: int) -> bool:
        """Return whether most crossings agree and no unassigned car fits nearly as well."""
        if self._confidence(device, car) <= _NEEDED_CONFIDENCE:
            return False
        free = set(range(len(self._cars))) - set(self._assigned.values())
        score = self._scores[device, car] + self._suffix_score(device, car)
        margin = min(_CLEAR_MARGIN, score / 2)
        return all(score - self._scores[device, other] - self._suffix_score(device, other) >= margin for other in free)

    def _suffix_score(self, device: int, car: int) -> float:
        """Return how much a matching number in the vehicle id adds to the evidence for a car."""
        return _SUFFIX_EVIDENCE if _suffix_matches(self._vehicle_ids[device], self._cars[car]) else 0.0

    def _confidence(self, device: int, car: int) -> float:
        """Return the share of the evidence that agrees: each crossing counts 1, the number in the id less."""
        agreeing = self._agreeing[device, car] + self._suffix_score(device, car)
        return float(agreeing / (self._compared[device, car] + 1))

    def _decided(self, device: int, car: int) -> Identity:
        agreeing, compared = int(self._agreeing[device, car]), int(self._compared[device, car])
        others = [other for other in range(len(self._cars)) if other != car]
        second = max(others, key=lambda other: (self._scores[device, other], -other), default=None)
        vehicle_id, number = self._vehicle_ids[device], self._cars[car].number
        is_as_typed = _suffix_matches(vehicle_id, self._cars[car])
        periods = periods_in_other_cars(self._own_ms[device], self._match.shared(device), car)
        moved = " For a time its crossings are another car's." if periods else ""
        typed = "as its id says" if is_as_typed else f"though its id ends in {vehicle_id.rpartition('-')[2]}"
        return Identity(
            vehicle_id=vehicle_id,
            official=self._cars[car],
            number=number,
            method="official_crossings",
            confidence=round(self._confidence(device, car), 3),
            crossings=self._sizes[device],
            evidence=f"{agreeing} of {compared} official crossings of car {number} are its own, {typed}.{moved}",
            compared=compared,
            agreeing=agreeing,
            median_late_s=round(self._match.median_late_s(device, car), 3),
            runner_up=None if second is None else self._cars[second].number,
            runner_up_agreeing=None if second is None else int(self._agreeing[device, second]),
            periods_in_other_cars=tuple(periods),
        )

    def _candidates(self, device: int) -> list[int]:
        """Return the cars that together explain the device's crossings, the one that explains most first."""
        shared = self._match.shared(device)
        left = set[int]().union(*shared.values())
        candidates: list[int] = []
        candidate = self._assigned.get(device)
        while candidate is not None and len(shared.get(candidate, set()) & left) >= _MIN_CROSSINGS_PER_CANDIDATE:
            candidates.append(candidate)
            left -= shared[candidate]
            candidate = max(shared, key=lambda car: (len(shared[car] & left), -car), default=None)
        return sorted(candidates, key=lambda car: (-len(shared[car]), self._cars[car].number))

    def _undecided(self, device: int, candidates: Sequence[int]) -> Identity:
        shares = ", ".join(
            f"{int(self._agreeing[device, car])} with car {self._cars[car].number}" for car in candidates
        )
        return Identity(
            vehicle_id=self._vehicle_ids[device],
            official=None,
            number=None,
            method="undecided",
            confidence=0.0,
            crossings=self._sizes[device],
            evidence=f"Of its {self._sizes[device]} crossings some agree with each of several cars: {shares}.",
            candidates=tuple(self._cars[car].number for car in candidates),
        )

    def _unmatched(self, device: int) -> Identity:
        """Return the identity from the suffix alone, undecided if another device is already matched to that car."""
        vehicle_id = self._vehicle_ids[device]
        taken = [car for car in self._clear.values() if _suffix_matches(vehicle_id, self._cars[car])]
        if not taken:
            return _from_suffix(
                vehicle_id,
                self._sizes[device],
                "No crossing of it fits a car of official timing",
                _UNMATCHED_SUFFIX_CONFIDENCE,
            )
        number = self._cars[taken[0]].number
        return Identity(
            vehicle_id=vehicle_id,
            official=None,
            number=None,
            method="undecided",
            confidence=0.0,
            crossings=self._sizes[device],
            evidence=f"No crossing of it fits official timing, and car {number} of its id is another unit's.",
        )


def _from_suffix(vehicle_id: str, crossings: int, reason: str, confidence: float) -> Identity:
    number = split_vehicle_id(vehicle_id)[1]
    source = f"the number {number} is only what its id says" if number else "its id contains no number"
    return Identity(
        vehicle_id=vehicle_id,
        official=None,
        number=number,
        method="suffix" if number else "undecided",
        confidence=confidence if number else 0.0,
        crossings=crossings,
        evidence=f"{reason}: {source}.",
    )


def _without_device(car: OfficialCar) -> Identity:
    return Identity(
        vehicle_id=None,
        official=car,
        number=car.number,
        method="official_only",
        confidence=1.0,
        crossings=None,
        evidence=f"Official timing has {len(car.laps)} laps of car {car.number}; no unit's crossings are its own.",
    )

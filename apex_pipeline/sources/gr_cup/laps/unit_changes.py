"""Finds when an on-board device was in another car: its crossings are then those of another official car.

A device moved to another car during a session, or two ids exchanged, shows as a run of crossings that another car made
and its own car did not. See ``identity.py`` for the car a device is matched to.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap

# Crossings in a row that agree with another car within half a second, and not with the device's own. One crossing in a
# hundred is stamped too late to agree with its own car, and one of five of those agrees with some other (20 cars, laps
# of 100 s): two in a row with the same one are chance in one of a million. Nine real races have no such run.
_MIN_RUN = 2
# Crossings in a row that show the device in its own car, although another car is often next to it.
_MIN_OWN_RUN = 3

Period = tuple[float, float]


def periods_in_other_cars(own_ms: Sequence[int], shared: Mapping[int, AbstractSet[int]], car: int) -> list[Period]:
    """Return the periods in which a device was not, or may not have been, in its own car.

    Args:
        own_ms: Its crossings, UTC milliseconds since 1970, ascending.
        shared: Indices of its crossings that agree with each official car, by car.
        car: The official car it is matched to.

    Returns:
        Periods in UTC milliseconds, after the last crossing in its own car and up to the first one back in it.
    """
    agreeing = shared.get(car, set[int]())
    periods: set[Period] = set()
    for other in shared.keys() - {car}:
        # A single crossing of its own is chance, and one that both cars made together proves nothing.
        own = sorted(
            index
            for first in _runs(agreeing - shared[other], _MIN_OWN_RUN)
            for index in range(first, first + _MIN_OWN_RUN)
        )
        for first in _runs(shared[other] - agreeing, _MIN_RUN):
            place = bisect_left(own, first)
            before = own_ms[own[place - 1]] if place else float("-inf")
            periods.add((before, own_ms[own[place]] if place < len(own) else float("inf")))
    return sorted(periods)


def _runs(crossings: AbstractSet[int], length: int) -> Iterator[int]:
    """Yield the first index of every run of so many crossings."""
    return (first for first in crossings if all(first + step in crossings for step in range(length)))


def flag_other_cars(laps: Sequence[Lap], periods: Sequence[Period]) -> None:
    """Flag the laps that end while the device may be in another car."""
    for lap in laps:
        if lap.end_ms is not None and any(after < lap.end_ms <= until for after, until in periods):
            lap.flags.add(Flag.UNDECIDED_CAR)

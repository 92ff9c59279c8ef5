"""Crossings of the finish line: the triggers that belong to one passing, taken together.

Passing the line once can emit three rows of one file within 50 ms, and a lap_start and a lap_end each. Here belongs
finding the passings of each car; what lies between two of them is ``orchestration/assets/gr_cup.py``.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.triggers import SimulatedTrigger

Source = Literal["distance", "gps"]


@dataclass(frozen=True)
class TelemetryCrossing:
    """A car passed the finish line.

    Attributes:
        vehicle_id: The car.
        utc_ms: When, UTC milliseconds: the car's clock repaired, or the receive time where that stood still.
        car_ms: When by the car's own clock, between two samples: differences are lap times. ``None`` where the clock
            stood still.
        source: What showed it: the lap distance that began anew, or the position alone.
        file: Raw file of the car's samples, the first if there are several.
    """

    vehicle_id: str
    utc_ms: int
    car_ms: float | None
    source: Source
    file: str


# Triggers of a car closer together than this are one passing. In nine real sessions neighbours within a passing are at
# most 0.54 s apart and no two passings are closer than 5 s; no car laps any circuit in 5 s.
SAME_CROSSING_MS = 5_000

# A bounce is the unit's next sample, 43 ms later by its own watch. Where its three rows are stamped closer together
# than half of that they were stamped in a row, after a stall: the crossing was at least the difference earlier. In nine
# real sessions such stamps are 62 to 215 ms late (median by spread), the others with bounces are not late at all.
_SAMPLE_MS = 43
_STALLED_MS = _SAMPLE_MS // 2
_ROWS_OF_A_BOUNCE = 3


@dataclass(frozen=True)
class Crossing:
    """One passing of the line by one car.

    Attributes:
        vehicle_id: The car.
        utc_ms: When, milliseconds since 1970: the first trigger, or what it must have been where that is stamped late.
        triggers: The messages it rests on, in time.
    """

    vehicle_id: str
    utc_ms: int
    triggers: tuple[SimulatedTrigger, ...]

    @property
    def bounces(self) -> int:
        """Messages beyond the first of each kind."""
        return len(self.triggers) - len({trigger.kind for trigger in self.triggers})

    @property
    def ended_unit_lap(self) -> int | None:
        """The unit's counter for the lap that ends here: the lowest it sent, as a bounce counts ahead."""
        return min(self._counters(FileKind.LAP_END, FileKind.LAP_TIME), default=None)

    @property
    def has_lost_counter(self) -> bool:
        """The unit had lost count of the lap that ends here."""
        endings = [item for item in self.triggers if item.kind is not FileKind.LAP_START]
        return bool(endings) and all(item.unit_lap is None for item in endings)

    @property
    def unit_lap_time_ms(self) -> int | None:
        """The time the unit gives for the lap that ends here, not checked against anything.

        It is the largest value, as a bounce restarts the unit's watch: a value that would itself lie within one
        crossing (0, 43 …) counts from a bounce and says nothing about the lap.
        """
        return max((value for value in self._values if value >= SAME_CROSSING_MS), default=None)

    @property
    def watch_restarts_ms(self) -> int:
        """How long after the car the unit's watch began the next lap: it restarts at every bounce."""
        return sum(value for value in self._values if value < SAME_CROSSING_MS)

    @property
    def _values(self) -> list[int]:
        return [item.unit_value_ms for item in self.triggers if item.unit_value_ms is not None]

    @property
    def evidence(self) -> SimulatedTrigger:
        """The message a lap is traced back to: the first one about the lap that ends, else the first."""
        endings = [item for item in self.triggers if item.kind is not FileKind.LAP_START]
        return (endings or list(self.triggers))[0]

    def _counters(self, *kinds: FileKind) -> list[int]:
        return [item.unit_lap for item in self.triggers if item.kind in kinds and item.unit_lap is not None]


def find_crossings(triggers: Iterable[SimulatedTrigger]) -> dict[str, list[Crossing]]:
    """Return each car's crossings in time.

    Every trigger belongs to one crossing, except that a message written twice is counted once. The time of a crossing
    is the earliest event time among its triggers, as a bounce only ever comes later.

    Args:
        triggers: Triggers of one session, in any order.

    Returns:
        Crossings by ``vehicle_id``, cars sorted.
    """
    by_car: defaultdict[str, list[SimulatedTrigger]] = defaultdict(list)
    for trigger in _without_repeats(triggers):
        by_car[trigger.vehicle_id].append(trigger)
    return {car: [_crossing(car, group) for group in _groups(by_car[car])] for car in sorted(by_car)}


def _without_repeats(triggers: Iterable[SimulatedTrigger]) -> list[SimulatedTrigger]:
    """Return the triggers in time, a message that was written twice once; the order handed in changes nothing."""
    said: dict[SimulatedTrigger, SimulatedTrigger] = {}
    for trigger in sorted(triggers, key=lambda t: (t.trigger_utc_ms, t.received_utc_ms, t.kind.value, t.file, t.line)):
        said.setdefault(replace(trigger, file="", line=0), trigger)
    return list(said.values())


def _groups(triggers: list[SimulatedTrigger]) -> list[list[SimulatedTrigger]]:
    groups: list[list[SimulatedTrigger]] = []
    for trigger in triggers:
        if groups and trigger.trigger_utc_ms - groups[-1][-1].trigger_utc_ms < SAME_CROSSING_MS:
            groups[-1].append(trigger)
        else:
            groups.append([trigger])
    return groups


def _crossing(car: str, group: list[SimulatedTrigger]) -> Crossing:
    return Crossing(car, group[0].trigger_utc_ms - _stalled_ms(group), tuple(group))


def _stalled_ms(group: list[SimulatedTrigger]) -> int:
    """Return how late the first trigger is at least, as the stamps of a bounce tell."""
    stamps = [item.trigger_utc_ms for item in group if item.kind is FileKind.LAP_END]
    if len(stamps) < _ROWS_OF_A_BOUNCE or stamps[-1] - stamps[0] >= _STALLED_MS:
        return 0
    return _SAMPLE_MS - (stamps[-1] - stamps[0])

"""Groups triggers into crossings of the finish line.

One crossing can emit three rows in a file within 50 ms, in lap_start and lap_end files alike. See ``lap.py`` for the
lap between two crossings.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger

Source = Literal["distance", "gps"]


@dataclass(frozen=True)
class TelemetryCrossing:
    """A finish-line crossing detected in telemetry.

    Attributes:
        vehicle_id: The car.
        utc_ms: Time of the crossing, UTC milliseconds since 1970: the repaired car clock, or the receive time if that
            clock stood still.
        car_ms: Time of the crossing by the car's own clock, interpolated between two samples, so that differences are
            lap times. ``None`` if the clock stood still.
        source: How it was detected: by the lap distance resetting, or by position alone.
        file: Raw file of the car's samples, the first if there are several.
    """

    vehicle_id: str
    utc_ms: int
    car_ms: float | None
    source: Source
    file: str


# Triggers of a car closer together than this belong to one crossing. In nine real sessions consecutive triggers of a
# crossing are at most 0.54 s apart and no two crossings are closer than 5 s; no car laps any circuit in 5 s.
SAME_CROSSING_MS = 5_000

# A bounce is the device's next sample, 43 ms later by its own lap timer. If the three rows of a bounce are stamped
# within half of that, they were stamped in a burst after a stall, so the crossing was earlier by at least the rest of
# the 43 ms. In nine real sessions such timestamps are 62 to 215 ms late (medians by spread); those of other bounces are
# not late at all.
_SAMPLE_MS = 43
_STALLED_MS = _SAMPLE_MS // 2
_ROWS_PER_BOUNCE = 3


@dataclass(frozen=True)
class Crossing:
    """One crossing of the finish line by one car.

    Attributes:
        vehicle_id: The car.
        utc_ms: Time of the crossing, milliseconds since 1970: that of the first trigger, corrected if it was stamped
            late.
        triggers: The messages about it, in chronological order.
    """

    vehicle_id: str
    utc_ms: int
    triggers: tuple[Trigger, ...]

    @property
    def bounces(self) -> int:
        """Number of extra messages, after the first of each kind."""
        return len(self.triggers) - len({trigger.kind for trigger in self.triggers})

    @property
    def ended_unit_lap(self) -> int | None:
        """The device's counter for the lap that ends here: the lowest value sent, as a bounce increments it."""
        return min(self._counters(FileKind.LAP_END, FileKind.LAP_TIME), default=None)

    @property
    def has_lost_counter(self) -> bool:
        """Whether the device had lost count of the lap that ends here."""
        endings = [item for item in self.triggers if item.kind is not FileKind.LAP_START]
        return bool(endings) and all(item.unit_lap is None for item in endings)

    @property
    def unit_lap_time_ms(self) -> int | None:
        """The device's time for the lap that ends here, in milliseconds, as sent.

        The largest value is used because a bounce restarts the device's lap timer: a value too short for a lap, such as
        0 or 43, counts from a bounce and is not a lap time.
        """
        return max((value for value in self._values if value >= SAME_CROSSING_MS), default=None)

    @property
    def timer_delay_ms(self) -> int:
        """Milliseconds from the crossing to the start of the device's lap timer, which restarts at every bounce."""
        return sum(value for value in self._values if value < SAME_CROSSING_MS)

    @property
    def _values(self) -> list[int]:
        return [item.unit_value_ms for item in self.triggers if item.unit_value_ms is not None]

    @property
    def evidence(self) -> Trigger:
        """The source message of the lap that ends here: the first about that lap, or else the first of all."""
        endings = [item for item in self.triggers if item.kind is not FileKind.LAP_START]
        return (endings or list(self.triggers))[0]

    def _counters(self, *kinds: FileKind) -> list[int]:
        return [item.unit_lap for item in self.triggers if item.kind in kinds and item.unit_lap is not None]


def find_crossings(triggers: Iterable[Trigger]) -> dict[str, list[Crossing]]:
    """Return each car's crossings in chronological order.

    Every trigger belongs to exactly one crossing; a duplicated message is counted once. The time of a crossing is the
    earliest event time among its triggers, as a bounce always comes later.

    Args:
        triggers: Triggers of one session, in any order.

    Returns:
        Crossings by ``vehicle_id``, cars sorted.
    """
    by_car: defaultdict[str, list[Trigger]] = defaultdict(list)
    for trigger in _deduplicated(triggers):
        by_car[trigger.vehicle_id].append(trigger)
    return {car: [_crossing(car, group) for group in _group_by_crossing(by_car[car])] for car in sorted(by_car)}


def _deduplicated(triggers: Iterable[Trigger]) -> list[Trigger]:
    """Return the triggers in chronological order without repeated messages, independent of their input order."""
    by_message: dict[Trigger, Trigger] = {}
    for trigger in sorted(triggers, key=lambda t: (t.trigger_utc_ms, t.received_utc_ms, t.kind.value, t.file, t.line)):
        by_message.setdefault(replace(trigger, file="", line=0), trigger)
    return list(by_message.values())


def _group_by_crossing(triggers: list[Trigger]) -> list[list[Trigger]]:
    groups: list[list[Trigger]] = []
    for trigger in triggers:
        if groups and trigger.trigger_utc_ms - groups[-1][-1].trigger_utc_ms < SAME_CROSSING_MS:
            groups[-1].append(trigger)
        else:
            groups.append([trigger])
    return groups


def _crossing(car: str, group: list[Trigger]) -> Crossing:
    return Crossing(car, group[0].trigger_utc_ms - _stalled_ms(group), tuple(group))


def _stalled_ms(group: list[Trigger]) -> int:
    """Return the minimum delay of the first trigger, in ms, derived from the timestamps of a bounce."""
    stamps = [item.trigger_utc_ms for item in group if item.kind is FileKind.LAP_END]
    if len(stamps) < _ROWS_PER_BOUNCE or stamps[-1] - stamps[0] >= _STALLED_MS:
        return 0
    return _SAMPLE_MS - (stamps[-1] - stamps[0])

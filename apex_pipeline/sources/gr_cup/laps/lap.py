"""One lap of one car: what lies between two crossings of the line, and what is known about it.

Here belong the lap, the words its flags use and the rule for its confidence. Finding laps and judging them is done by
the modules beside this one.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing, TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialLap


class Flag(StrEnum):
    """Reasons to look at a lap twice; docs/laps.md explains each."""

    BOUNCED_TRIGGER = "bounced_trigger"
    UNIT_LAP_LOST = "unit_lap_lost"
    UNIT_VALUE_DISAGREES = "unit_value_disagrees"
    SLOW_FIELD = "slow_field"
    LONG_LAP = "long_lap"
    IMPLAUSIBLY_SHORT = "implausibly_short"
    LATE_TRIGGER_PAIR = "late_trigger_pair"
    LATE_TRIGGER = "late_trigger"
    MISSING_CROSSING = "missing_crossing"
    EXTRA_CROSSING = "extra_crossing"
    TRUNCATED_EXPORT = "truncated_export"
    FORMATION_LAP = "formation_lap"
    POST_RACE_LAP = "post_race_lap"
    UNOFFICIAL_LAP = "unofficial_lap"
    OTHER_DAY = "other_day"
    FIELD_WIDE_JUMP = "field_wide_jump"
    UNDECIDED_CAR = "undecided_car"


# With one of these a lap is not for best laps, unless official timing lists it.
_DOUBTFUL = frozenset(
    {
        Flag.LONG_LAP,
        Flag.IMPLAUSIBLY_SHORT,
        Flag.LATE_TRIGGER_PAIR,
        Flag.MISSING_CROSSING,
        Flag.EXTRA_CROSSING,
    }
)
# These are no racing laps, or nobody's, whatever their time is worth.
_NOT_RACED = frozenset(
    {Flag.FORMATION_LAP, Flag.POST_RACE_LAP, Flag.UNOFFICIAL_LAP, Flag.OTHER_DAY, Flag.UNDECIDED_CAR}
)

# Confidence of a lap time. Official timing is the referee; two sources that agree are better than one, one that is
# contradicted is worse; a time that was worked out rather than measured is a guess with a reason.
_OFFICIAL = 1.0
_TWO_AGREE = 0.95
_ONE_SOURCE = 0.9
_CONTRADICTED = 0.5
_WORKED_OUT = 0.4
_SPOKEN_AGAINST = 0.1


@dataclass
class Lap:
    """A lap, from one crossing to the next.

    Attributes:
        vehicle_id: The car.
        start: Crossing that begins it; ``None`` where only official timing saw it.
        end: Crossing that ends it.
        start_ms: When it began, milliseconds since 1970; ``None`` if nobody saw it.
        end_ms: When it ended.
        flags: What there is to say about it.
        trigger_s: Difference of the two crossings as stamped.
        unit_s: Lap time of the unit's own watch.
        telemetry_s: Time between two passings of the line in telemetry.
        time_s: Our best estimate without official timing.
        method: Where that comes from.
        number: Lap number.
        official: The same lap in official timing.
        passing: Passing of the line in telemetry that stands for a crossing no lap file has.
    """

    vehicle_id: str
    start: Crossing | None
    end: Crossing | None
    start_ms: int | None
    end_ms: int | None
    flags: set[Flag] = field(default_factory=set[Flag])
    trigger_s: float | None = None
    unit_s: float | None = None
    telemetry_s: float | None = None
    time_s: float | None = None
    method: str | None = None
    number: int = 0
    official: OfficialLap | None = None
    telemetry_crossing: TelemetryCrossing | None = None

    @property
    def duration_s(self) -> float:
        """From begin to end of a lap that has both."""
        if self.start_ms is None or self.end_ms is None:
            return 0.0
        return (self.end_ms - self.start_ms) / 1000

    @property
    def is_valid(self) -> bool:
        """Good for best laps: raced, and listed by official timing or nothing speaks against its time."""
        if not _NOT_RACED.isdisjoint(self.flags):
            return False
        return self.official is not None or self._has_no_doubt

    @property
    def confidence(self) -> float:
        """How sure the time is, by the rule of docs/laps.md."""
        if self.official is not None:
            return _OFFICIAL
        if self.method == "repaired":
            return _WORKED_OUT
        if not self._has_no_doubt:
            return _SPOKEN_AGAINST
        if Flag.UNIT_VALUE_DISAGREES in self.flags:
            return _CONTRADICTED
        return _ONE_SOURCE if self.unit_s is None and self.telemetry_s is None else _TWO_AGREE

    @property
    def _has_no_doubt(self) -> bool:
        """Nothing speaks against the time; a missing crossing that telemetry shows is not missing any more."""
        cleared = {Flag.MISSING_CROSSING} if self.telemetry_crossing is not None else set[Flag]()
        return (_DOUBTFUL - cleared).isdisjoint(self.flags)


def lap_between(start: Crossing, end: Crossing) -> Lap:
    """Return the lap between two crossings of a car, with what the triggers and the unit's watch say."""
    duration_s = (end.utc_ms - start.utc_ms) / 1000
    unit_ms = end.unit_lap_time_ms
    return Lap(
        vehicle_id=end.vehicle_id,
        start=start,
        end=end,
        start_ms=start.utc_ms,
        end_ms=end.utc_ms,
        trigger_s=duration_s,
        # The watch began the lap again at each bounce of the crossing before.
        unit_s=None if unit_ms is None else (unit_ms + start.watch_restarts_ms) / 1000,
        time_s=duration_s,
        method="trigger",
    )

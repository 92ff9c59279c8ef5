"""Defines the lap of one car between two crossings, and its flags.

See ``car_laps.py`` for finding laps, ``lap_flags.py`` for setting the flags and ``confidence.py`` for the confidence.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from apex_pipeline.sources.gr_cup.laps.crossings import Crossing, TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialLap
from apex_pipeline.sources.gr_cup.laps.official_verdict import Verdict


class Flag(StrEnum):
    """Reasons why a lap needs attention; see docs/laps.md for each."""

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
    OUT_LAP = "out_lap"
    UNKNOWN_PACE = "unknown_pace"
    FORMATION_LAP = "formation_lap"
    POST_RACE_LAP = "post_race_lap"
    UNOFFICIAL_LAP = "unofficial_lap"
    OTHER_DAY = "other_day"
    FIELD_WIDE_JUMP = "field_wide_jump"
    UNDECIDED_CAR = "undecided_car"
    OFFICIAL_DISAGREES = "official_disagrees"
    OFFICIAL_ROUNDED = "official_rounded"
    LINE_DISAGREES = "line_disagrees"


# A lap with one of these flags is not valid, unless official timing lists it.
_DOUBTFUL = frozenset(
    {
        Flag.LONG_LAP,
        Flag.IMPLAUSIBLY_SHORT,
        Flag.LATE_TRIGGER_PAIR,
        Flag.MISSING_CROSSING,
        Flag.EXTRA_CROSSING,
        Flag.OUT_LAP,
        Flag.UNKNOWN_PACE,
    }
)
# A lap with one of these flags was not raced, or its car is unknown; it is not valid even if its time is right.
_NOT_RACED = frozenset(
    {Flag.FORMATION_LAP, Flag.POST_RACE_LAP, Flag.UNOFFICIAL_LAP, Flag.OTHER_DAY, Flag.UNDECIDED_CAR}
)


@dataclass
class Lap:
    """A lap, from one crossing to the next.

    Attributes:
        vehicle_id: The car.
        start: Crossing that starts the lap; ``None`` if no lap file has it.
        end: Crossing that ends the lap; ``None`` if no lap file has it.
        start_ms: Start time, milliseconds since 1970; ``None`` if no source has it.
        end_ms: End time, milliseconds since 1970; ``None`` if no source has it.
        flags: The lap's flags.
        trigger_s: Difference between the timestamps of the two crossings, seconds.
        unit_s: Lap time from the device's lap timer, seconds.
        telemetry_s: Time between two telemetry crossings, seconds.
        time_s: Best estimate without official timing, seconds.
        method: Source of ``time_s``.
        number: Lap number.
        official: The same lap in official timing.
        verdict: The time published for an official lap.
        telemetry_crossing: Telemetry crossing used in place of one that is missing from the lap files.
        is_timer_independent: Whether the device's lap timer is a clock of its own, and not computed from timestamps.
        is_pace_even: Whether neither this lap nor the one before or after it is slow for the car.
        is_at_pace: Whether this lap itself is at the car's own pace, however slow the laps next to it are.
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
    verdict: Verdict | None = None
    telemetry_crossing: TelemetryCrossing | None = None
    is_timer_independent: bool = True
    is_pace_even: bool = True
    is_at_pace: bool = True

    @property
    def duration_s(self) -> float:
        """Seconds from start to end; 0 if either is unknown."""
        if self.start_ms is None or self.end_ms is None:
            return 0.0
        return (self.end_ms - self.start_ms) / 1000

    @property
    def is_valid(self) -> bool:
        """Whether the lap counts for best laps: it was raced, and is official or has no doubtful flag."""
        if not _NOT_RACED.isdisjoint(self.flags):
            return False
        if self.verdict is not None:
            return not self.verdict.is_contested
        return self.official is not None or self._is_plausible

    @property
    def _is_plausible(self) -> bool:
        """Whether the lap has no doubtful flag; a missing crossing does not count if telemetry has it."""
        cleared = {Flag.MISSING_CROSSING} if self.telemetry_crossing is not None else set[Flag]()
        # The lap timer is used unless it is more than a second off the timestamps; then one of them is of another lap.
        is_contradicted = Flag.UNIT_VALUE_DISAGREES in self.flags and self.method == "trigger"
        return not is_contradicted and (_DOUBTFUL - cleared).isdisjoint(self.flags)


def lap_between(start: Crossing, end: Crossing) -> Lap:
    """Return the lap between two crossings of a car, timed by its triggers and the device's lap timer."""
    duration_s = (end.utc_ms - start.utc_ms) / 1000
    unit_ms = end.unit_lap_time_ms
    return Lap(
        vehicle_id=end.vehicle_id,
        start=start,
        end=end,
        start_ms=start.utc_ms,
        end_ms=end.utc_ms,
        trigger_s=duration_s,
        # Each bounce of the previous crossing restarted the device's lap timer.
        unit_s=None if unit_ms is None else (unit_ms + start.timer_delay_ms) / 1000,
        time_s=duration_s,
        method="trigger",
    )

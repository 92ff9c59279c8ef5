"""Defines the kinds of faults, which race gets which, and the record of an injected fault.

The plan contains only values: chassis from ``cars.py`` and official lap numbers. The module that writes a file decides
how its faults look. Laps 3 to 6 have the faults of single laps and lap 4 of the first car is the best lap, so eight
laps are enough even where the export loses the last two.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from apex_pipeline.demo.tracks import HARBOR, MESA, DemoTrack, FileName

BEST_LAP = 4


class FaultKind(StrEnum):
    """The kinds of faults a weekend contains."""

    BOUNCED_TRIGGER = "bounced_trigger"
    LAP_COUNTER_LOST = "lap_counter_lost"
    LATE_TRIGGER_PAIR = "late_trigger_pair"
    LATE_BY_A_SECOND = "late_by_a_second"
    MISSING_CROSSING = "missing_crossing"
    EXTRA_CROSSING = "extra_crossing"
    WRONG_CAR_NUMBER = "wrong_car_number"
    NO_CAR_NUMBER = "no_car_number"
    ZERO_PADDED_NUMBER = "zero_padded_number"
    UNDECIDED_CAR = "undecided_car"
    CLOCK_DAYS_OFF = "clock_days_off"
    CLOCK_FROZEN = "clock_frozen"
    NEWEST_FIRST_ROWS = "newest_first_rows"
    EXACT_DUPLICATES = "exact_duplicates"
    CONFLICTING_DUPLICATES = "conflicting_duplicates"
    RADIO_HOLE = "radio_hole"
    TRUNCATED_EXPORT = "truncated_export"
    WRONG_RACE_FILE = "wrong_race_file"
    EMPTY_FILE = "empty_file"
    MALFORMED_ROW = "malformed_row"
    UNPARSABLE_VALUE = "unparsable_value"
    NEVER_STARTED = "never_started"
    POST_RACE_LAP = "post_race_lap"
    OFFICIAL_CLOCK_BEHIND = "official_clock_behind"
    PENALTY = "penalty"
    FULL_COURSE_YELLOW = "full_course_yellow"
    PIT_LAP = "pit_lap"
    LONG_LAP = "long_lap"
    JUNK_FILE = "junk_file"


@dataclass(frozen=True)
class InjectedFault:
    """One injected fault.

    Attributes:
        kind: What is wrong.
        track: Track slug.
        session: ``R1`` or ``R2``.
        file: Path relative to the weekend's folder; for a fault in several files, the one to open first.
        vehicle_id: The car, ``None`` if the fault does not belong to one car.
        lap_number: Official lap number, ``None`` if the fault does not belong to one lap. For triggers, the lap that
            the crossing ends; for an extra crossing, the lap it falls into.
        detail: One sentence that describes the fault, with numbers.
    """

    kind: FaultKind
    track: str
    session: str
    file: str
    vehicle_id: str | None
    lap_number: int | None
    detail: str


@dataclass(frozen=True)
class InjectedReject:
    """A row that cannot be parsed.

    Attributes:
        file: Path relative to the weekend's folder.
        line: Line number, the header being 1.
        reason: ``too_few_columns`` or ``bad_number``.
    """

    file: str
    line: int
    reason: str


class LapRef(NamedTuple):
    """A lap of a car, by chassis and official lap number."""

    chassis: str
    lap: int


@dataclass(frozen=True)
class FaultPlan:
    """The faults of one race. The defaults inject nothing.

    Telemetry is sorted newest first within car and lap in every weekend, as in the real files.

    Attributes:
        has_clock_offsets: Car clocks are days behind.
        frozen_chassis: The car whose clock is frozen.
        has_formation_lap: The export starts with the formation lap, whose start the devices call lap 32768.
        has_spectator: A car crosses the line twice before the race and never starts.
        has_repeated_rows: Telemetry has exact and conflicting duplicates.
        bounces: Crossings that send three rows within 50 ms.
        late_trigger: The crossing that ends this lap has a timestamp 30 s late.
        second_late: The crossing that ends this lap has a timestamp 1.2 s late; the device's own timer is correct.
        missing_crossing: The crossing that ends this lap is in no lap file, and the device does not count it; lap
            distance in telemetry is still reset there.
        extra_crossing: The device sends and counts a crossing in the middle of this lap; lap distance is not reset.
        shadowed_chassis: A guest drives just ahead of this car for half the race. Radio holes delay the timestamps of
            its crossings in that half to those of this car, so that they match this car, and the others another car.
        has_telemetry_holes: Telemetry is missing around late crossings, as the radio was silent.
        post_race_chassis: Cars that drive a slow lap after the flag and cross the line again.
        lost_counter: The device calls this lap 32768, in triggers and telemetry.
        pit_lap: This lap ends in the pits.
        long_lap: This lap takes more than 300 s.
        yellow_lap: Full-course yellow for the whole field.
        is_official_clock_behind: Official time of day runs behind and drifts; official durations are right.
        is_truncated: The export ends two laps before the flag.
        penalised_chassis: Ten seconds are added between provisional and official results.
        short_row_in: A row of this file is cut after a few columns.
        has_unparsable_value: A telemetry value is not a number.
        empty_file: This file has 0 bytes.
        has_wrong_lap_time: The lap time file is a copy of race 1's.
        has_junk: The track's folder contains a file without race data.
    """

    has_clock_offsets: bool = False
    frozen_chassis: str | None = None
    has_formation_lap: bool = False
    has_spectator: bool = False
    has_repeated_rows: bool = False
    bounces: int = 0
    late_trigger: LapRef | None = None
    second_late: LapRef | None = None
    missing_crossing: LapRef | None = None
    extra_crossing: LapRef | None = None
    shadowed_chassis: str | None = None
    has_telemetry_holes: bool = True
    post_race_chassis: tuple[str, ...] = ()
    lost_counter: LapRef | None = None
    pit_lap: LapRef | None = None
    long_lap: LapRef | None = None
    yellow_lap: int | None = None
    is_official_clock_behind: bool = False
    is_truncated: bool = False
    penalised_chassis: str | None = None
    short_row_in: FileName | None = None
    has_unparsable_value: bool = False
    empty_file: FileName | None = None
    has_wrong_lap_time: bool = False
    has_junk: bool = False


_PLANS = {
    (HARBOR.slug, 1): FaultPlan(
        has_clock_offsets=True,
        frozen_chassis="013",
        has_repeated_rows=True,
        bounces=4,
        extra_crossing=LapRef("036", 4),
        is_truncated=True,
        short_row_in="lap_start",
        has_junk=True,
    ),
    (HARBOR.slug, 2): FaultPlan(
        has_clock_offsets=True,
        frozen_chassis="013",
        has_repeated_rows=True,
        bounces=3,
        late_trigger=LapRef("036", 3),
        missing_crossing=LapRef("002", 4),
        post_race_chassis=("060",),
        pit_lap=LapRef("025", 5),
        short_row_in="telemetry",
        empty_file="best_laps",
    ),
    (MESA.slug, 1): FaultPlan(
        has_clock_offsets=True,
        has_formation_lap=True,
        has_spectator=True,
        has_repeated_rows=True,
        bounces=3,
        second_late=LapRef("033", 4),
        missing_crossing=LapRef("030", 4),
        lost_counter=LapRef("006", 5),
        yellow_lap=6,
        is_official_clock_behind=True,
        penalised_chassis="040",
        has_unparsable_value=True,
        has_junk=True,
    ),
    (MESA.slug, 2): FaultPlan(
        has_clock_offsets=True,
        has_formation_lap=True,
        has_repeated_rows=True,
        bounces=3,
        shadowed_chassis="033",
        post_race_chassis=("037", "006"),
        lost_counter=LapRef("040", 3),
        long_lap=LapRef("030", 5),
        has_wrong_lap_time=True,
    ),
}


def fault_plan(track: DemoTrack, race: int, *, inject_faults: bool) -> FaultPlan:
    """Return the faults to inject into a race."""
    return _PLANS[track.slug, race] if inject_faults else FaultPlan()

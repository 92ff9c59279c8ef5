"""Which faults are planted in which race.

Here belongs the plan, as plain values: chassis of ``cars.py`` and official lap numbers. Not here: how a fault looks in
a file, which is in the module that writes that file. Laps 3 to 6 carry the faults of single laps and lap 4 of the first
car is the best lap, so eight laps are enough even where the export loses the last two.
"""

from dataclasses import dataclass

from apex_pipeline.demo.tracks import HARBOR, MESA, FileName, Track

BEST_LAP = 4


@dataclass(frozen=True)
class LapOf:
    """A lap of a car.

    Attributes:
        chassis: The car.
        lap: Official lap number.
    """

    chassis: str
    lap: int


@dataclass(frozen=True)
class FaultPlan:
    """The faults of one race. Every default plants nothing.

    Telemetry runs newest first by car and lap in every weekend, as it does in the real files.

    Attributes:
        has_clock_offsets: Car clocks are days behind.
        frozen_chassis: The car whose clock stands still.
        has_formation_lap: The export begins with the formation lap, whose start the units call lap 32768.
        has_spectator: A car passes the line twice before the race and never starts.
        has_repeated_rows: Telemetry has exact and conflicting duplicates.
        bounces: Crossings that send three rows within 50 ms.
        late_trigger: The crossing that ends this lap is stamped 30 s late.
        second_late: The crossing that ends this lap is stamped 1.2 s late; the unit's own watch is right.
        missing_crossing: No lap file has the crossing that ends this lap, and the unit does not count it; telemetry's
            lap distance starts again there all the same.
        extra_crossing: The unit sends and counts a crossing in the middle of this lap; lap distance runs on.
        undecided_beside: A guest drives right ahead of this chassis for half the race. Its crossings of that half are
            stamped when this one crosses, in a radio hole, so that they agree with one car and the rest with another.
        post_race_chassis: Cars that drive a slow lap after the flag and cross the line again.
        lost_counter: The unit calls this lap 32768, in triggers and telemetry.
        pit_lap: This lap ends in the pits.
        long_lap: This lap lasts more than 300 s.
        yellow_lap: Full-course yellow for the whole field.
        is_official_clock_behind: Official time of day runs behind and drifts; official durations are right.
        is_truncated: The export ends two laps before the flag.
        penalised_chassis: Ten seconds are added between provisional and official results.
        short_row_in: A row of this file is cut after five columns.
        has_unparsable_value: A telemetry value is no number.
        empty_file: This file has 0 bytes.
        has_wrong_lap_time: The lap time file is a copy of race 1's.
        has_junk: A file that is no race data lies in the track's folder.
    """

    has_clock_offsets: bool = False
    frozen_chassis: str | None = None
    has_formation_lap: bool = False
    has_spectator: bool = False
    has_repeated_rows: bool = False
    bounces: int = 0
    late_trigger: LapOf | None = None
    second_late: LapOf | None = None
    missing_crossing: LapOf | None = None
    extra_crossing: LapOf | None = None
    undecided_beside: str | None = None
    post_race_chassis: tuple[str, ...] = ()
    lost_counter: LapOf | None = None
    pit_lap: LapOf | None = None
    long_lap: LapOf | None = None
    yellow_lap: int | None = None
    is_official_clock_behind: bool = False
    is_truncated: bool = False
    penalised_chassis: str | None = None
    short_row_in: FileName | None = None
    has_unparsable_value: bool = False
    empty_file: FileName | None = None
    has_wrong_lap_time: bool = False
    has_junk: bool = False


CLEAN = FaultPlan()

_PLANS = {
    (HARBOR.slug, 1): FaultPlan(
        has_clock_offsets=True,
        frozen_chassis="013",
        has_repeated_rows=True,
        bounces=4,
        extra_crossing=LapOf("036", 4),
        is_truncated=True,
        short_row_in="lap_start",
        has_junk=True,
    ),
    (HARBOR.slug, 2): FaultPlan(
        has_clock_offsets=True,
        frozen_chassis="013",
        has_repeated_rows=True,
        bounces=3,
        late_trigger=LapOf("036", 3),
        missing_crossing=LapOf("002", 4),
        post_race_chassis=("060",),
        pit_lap=LapOf("025", 5),
        short_row_in="telemetry",
        empty_file="best_laps",
    ),
    (MESA.slug, 1): FaultPlan(
        has_clock_offsets=True,
        has_formation_lap=True,
        has_spectator=True,
        has_repeated_rows=True,
        bounces=3,
        second_late=LapOf("033", 4),
        missing_crossing=LapOf("030", 4),
        lost_counter=LapOf("006", 5),
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
        undecided_beside="033",
        post_race_chassis=("037", "006"),
        lost_counter=LapOf("040", 3),
        long_lap=LapOf("030", 5),
        has_wrong_lap_time=True,
    ),
}


def plan_of(track: Track, race: int, *, plant_faults: bool) -> FaultPlan:
    """Return what is planted in a race."""
    return _PLANS[track.slug, race] if plant_faults else CLEAN


__all__ = ["BEST_LAP", "CLEAN", "FaultPlan", "LapOf", "plan_of"]

"""Says how well a file of official laps fits the crossings that the cars themselves reported.

``two_races.py`` asks this of files that contradict each other; ``laps/official_clock.py`` aligns the clocks.
"""

from collections.abc import Callable, Sequence
from functools import cache

from apex_pipeline.sources.gr_cup.laps.crossings import find_crossings
from apex_pipeline.sources.gr_cup.laps.official_cars import read_official_cars
from apex_pipeline.sources.gr_cup.laps.official_clock import find_official_clock
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline.sources.gr_cup.official_rows import ParsedFile
from apex_pipeline.sources.gr_cup.official_timing import official_laps_table


def fit_to(read_triggers: Callable[[], Sequence[Trigger]]) -> Callable[[ParsedFile], float]:
    """Return the function that says how well a file fits; it reads the triggers when it is first called, and only then.

    Args:
        read_triggers: Returns the triggers of the session. Of these, only the times of the crossings are kept.
    """

    @cache
    def own_ms() -> list[int]:
        return [crossing.utc_ms for of_car in find_crossings(read_triggers()).values() for crossing in of_car]

    return lambda part: share_of_crossings(part, own_ms())


def share_of_crossings(part: ParsedFile, own_ms: Sequence[int]) -> float:
    """Return the share of crossings that a file and the cars have in common, 0 if its clock cannot be aligned.

    Args:
        part: Rows of one file of official laps; unchanged.
        own_ms: The cars' own crossings, UTC milliseconds since 1970.
    """
    cars = read_official_cars(official_laps_table("", "", [part])[0])
    local_ms = [lap.local_ms for car in cars for lap in car.timed if lap.local_ms is not None]
    clock = find_official_clock(own_ms, local_ms, None).clock
    return clock.coincidences if clock else 0.0

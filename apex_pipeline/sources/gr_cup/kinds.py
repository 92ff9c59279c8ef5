"""Contains the kinds of GR Cup files; how a file is recognised is in ``discovery/identify.py``."""

from enum import StrEnum

from apex_pipeline.sources.base import IGNORED_KIND, UNKNOWN_KIND

# In the column ``source`` of the table ``files``.
SOURCE_NAME = "gr_cup"


class FileKind(StrEnum):
    """What a raw file holds."""

    LAP_START = "lap_start"
    LAP_END = "lap_end"
    LAP_TIME = "lap_time"
    TELEMETRY = "telemetry"
    RESULTS = "results"
    RESULTS_BY_CLASS = "results_by_class"
    SECTIONS = "sections"
    WEATHER = "weather"
    BEST_LAPS = "best_laps"
    CHAMPIONSHIP = "championship"
    IGNORED = IGNORED_KIND
    UNKNOWN = UNKNOWN_KIND


# Files whose rows are triggers of the finish line.
LAP_KINDS = frozenset({FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME})

# What the cars sent, as opposed to what the timekeepers printed.
CAR_KINDS = LAP_KINDS | {FileKind.TELEMETRY}
OFFICIAL_KINDS = frozenset(
    {FileKind.RESULTS, FileKind.RESULTS_BY_CLASS, FileKind.SECTIONS, FileKind.WEATHER, FileKind.BEST_LAPS}
)

# What a complete race has; weather and best laps are extras.
EXPECTED_KINDS = (
    FileKind.LAP_START,
    FileKind.LAP_END,
    FileKind.LAP_TIME,
    FileKind.TELEMETRY,
    FileKind.SECTIONS,
    FileKind.RESULTS,
    FileKind.WEATHER,
)

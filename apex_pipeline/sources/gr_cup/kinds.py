"""Contains the kinds of GR Cup files; see ``discovery/identify.py`` for recognising them."""

from enum import StrEnum

from apex_pipeline.sources.base import IGNORED_KIND, UNKNOWN_KIND

# Value of the column ``source`` in the table ``files``.
SOURCE_NAME = "gr_cup"


class FileKind(StrEnum):
    """Content of a raw file."""

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


# Files whose rows are triggers at the finish line.
LAP_KINDS = frozenset({FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME})

# Files recorded by the cars, as opposed to those published by the timekeepers.
CAR_KINDS = LAP_KINDS | {FileKind.TELEMETRY}
OFFICIAL_KINDS = frozenset(
    {FileKind.RESULTS, FileKind.RESULTS_BY_CLASS, FileKind.SECTIONS, FileKind.WEATHER, FileKind.BEST_LAPS}
)

# Kinds that a complete race has; best laps and results by class are optional.
EXPECTED_KINDS = (
    FileKind.LAP_START,
    FileKind.LAP_END,
    FileKind.LAP_TIME,
    FileKind.TELEMETRY,
    FileKind.SECTIONS,
    FileKind.RESULTS,
    FileKind.WEATHER,
)

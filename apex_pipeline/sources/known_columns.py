"""Lists the column names of race files: a header is recognised by them in any case, and messages quote no others.

The first line of a file without a header is data, and may name persons; so may an unknown column name.
"""

import re
from collections.abc import Iterable, Sequence

# Written as in the published files; several exports of other championships add LAPNUMBER, LAPTIME and the like.
_NAMES = """
expire_at lap meta_event meta_session meta_source meta_time original_vehicle_id outing telemetry_name telemetry_value
timestamp value vehicle_id vehicle_number
NUMBER DRIVER_NUMBER LAP_NUMBER LAPNUMBER LAP_TIME LAPTIME LAP_IMPROVEMENT CROSSING_FINISH_LINE_IN_PIT KPH ELAPSED HOUR
S1 S2 S3 S1_IMPROVEMENT S2_IMPROVEMENT S3_IMPROVEMENT S1_LARGE S2_LARGE S3_LARGE S1_SECONDS S2_SECONDS S3_SECONDS
TOP_SPEED PIT_TIME CLASS GROUP TEAM MANUFACTURER FLAG_AT_FL DRIVER_NAME
POSITION POS PIC STATUS LAPS TIME TOTAL_TIME GAP_FIRST GAP_PREVIOUS FL_LAPNUM FL_TIME FL_KPH FL_elapsed DIVISION VEHICLE
TIRES CLASS_TYPE BEST_LAP_KPH BEST_LAP_NUM BEST_LAP_TIME TOTAL_DRIVER_LAPS AVERAGE
TIME_UTC_SECONDS TIME_UTC_STR AIR_TEMP TRACK_TEMP HUMIDITY PRESSURE WIND_SPEED WIND_DIRECTION RAIN
DRIVER_FIRSTNAME DRIVER_SECONDNAME PARTICIPANT POINTS
"""
# Intermediate points, best laps, several drivers of one car, and columns left over for the series.
_PATTERNS = re.compile(
    r"(im|int-?)\d[a-z]?_(time|elapsed)|bestlap_\d+(_lapnum)?|(ecm|imsa)[ _]\w+( id)?|\*extra \d+|sort key"
    r"|driver\d?_(\*extra \d+|firstname|secondname|license|hometown|country|shortname|imsa_\w+)",
    re.IGNORECASE,
)
# FL_TIME of the classification and FL_time of an intermediate point differ in nothing but case.
_EXACT = frozenset({"FL_time"})
# The number of the best lap in the results of a practice is LAP; in lap files and telemetry, each of which has the next
# column, lap is the device's counter.
_LAP_OF_RESULTS, _COLUMN_OF_CARS = "LAP", "vehicle_id"
_BY_FOLDED = {name.casefold(): name for name in _NAMES.split()}

_SHOWN_COLUMNS = 20


def canonical_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the column names as published where they differ only in case.

    A name that occurs in its published spelling, too, is kept as it is: the two are different columns.
    """
    present = set(names)
    is_of_cars = any(name.casefold() == _COLUMN_OF_CARS for name in names)
    exact = _EXACT if is_of_cars else _EXACT | {_LAP_OF_RESULTS}
    found = [exact & {name} or {_BY_FOLDED.get(name.casefold(), name)} for name in names]
    canonical = [next(iter(name)) for name in found]
    return tuple(
        known if known == name or known not in present else name for known, name in zip(canonical, names, strict=True)
    )


def is_known_column(name: str) -> bool:
    """Return whether race files have a column of this name, in any case."""
    return name.casefold() in _BY_FOLDED or _PATTERNS.fullmatch(name) is not None


def list_columns(columns: Iterable[str]) -> str:
    """Return the column names for a message: the known ones, at most twenty, and the number of the others."""
    names = list(columns)
    shown = [name for name in names if is_known_column(name)][:_SHOWN_COLUMNS]
    others = len(names) - len(shown)
    if not shown:
        return "no column of a race file" if others else "no column"
    return f"{', '.join(shown)} and {others:,} more" if others else ", ".join(shown)

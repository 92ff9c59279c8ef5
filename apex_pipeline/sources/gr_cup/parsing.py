"""Contains the parsers of single cells: times, durations, gaps, numbers and vehicle ids."""

import re

_VEHICLE_ID = re.compile(r"\w+-(.+)-(\w+)")
_NO_NUMBER_YET = "000"


def split_vehicle_id(vehicle_id: str) -> tuple[str, str | None]:
    """Return chassis and car number of ``GR86-<chassis>-<car>``, as written.

    ``000`` means that no number was assigned yet; 0 and 00 are numbers. An id of another form is its own chassis and
    tells no number.
    """
    match = _VEHICLE_ID.fullmatch(vehicle_id)
    if match is None:
        return vehicle_id, None
    return match[1], None if match[2] == _NO_NUMBER_YET else match[2]

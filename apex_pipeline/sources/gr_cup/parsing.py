"""Parses vehicle ids; see ``sources/parsing.py`` for times and numbers."""

import re

_VEHICLE_ID = re.compile(r"\w+-(.+)-(\w+)")
_UNASSIGNED = "000"


def split_vehicle_id(vehicle_id: str) -> tuple[str, str | None]:
    """Split ``GR86-<chassis>-<car>`` into chassis and car number, as written.

    ``000`` means that no number is assigned yet; 0 and 00 are numbers. Any other id is returned in full as the chassis,
    without a number.
    """
    match = _VEHICLE_ID.fullmatch(vehicle_id)
    if match is None:
        return vehicle_id, None
    return match[1], None if match[2] == _UNASSIGNED else match[2]

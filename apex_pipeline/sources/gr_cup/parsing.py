"""Parses vehicle ids and car numbers; see ``sources/parsing.py`` for times and numbers."""

import re

_VEHICLE_ID = re.compile(r"[^\W_]+[\W_]+(.+)[\W_]+([^\W_]+)")
# Start numbers of all series: one to three digits, with at most one letter. Anything else in the column is from another
# column of a shifted row, and may be a name.
_CAR_NUMBER = re.compile(r"[A-Z]?\d{1,3}[A-Z]?", re.IGNORECASE | re.ASCII)
# What spreadsheets and people add: #13, No. 13, '13, ="13", 13.0.
_NUMBER_MARK = re.compile(r"(?:[#'=\" ]|no\.? ?)*(.*?)[\" ]*(?:[.,]0+)?[\" ]*", re.IGNORECASE)
# Ids are made by machines. Without a digit, or with more words, the cell is from another column.
_ID_LIKE = re.compile(r"(?=.*\d)[^\W_]+(?:[\W_][^\W_]+){0,4}", re.ASCII)
_LONGEST_ID = 40
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


def parse_car_number(text: str) -> str | None:
    """Return a start number as text, without the marks of spreadsheets: ``#13`` and ``13.0`` are 13, 03 stays 03."""
    match = _NUMBER_MARK.fullmatch(text)
    number = match[1].strip() if match else ""
    return number.upper() if _CAR_NUMBER.fullmatch(number) else None


def is_vehicle_id(text: str) -> bool:
    """Return whether a cell may be the id of a car; a name in the wrong column is not."""
    return len(text) <= _LONGEST_ID and _ID_LIKE.fullmatch(text) is not None

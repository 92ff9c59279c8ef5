"""Recognises numbers with thousands separators or a decimal comma, which one program in the chain wrote for people.

How a file writes its numbers is decided once, from all of them: read one by one, only the values below 1,000 would be
left. See ``parse.py``, which reads the file again as decided, or refuses it.
"""

import re
from collections import Counter
from enum import StrEnum

from apex_pipeline.errors import MalformedFileError


class Notation(StrEnum):
    """How numbers are written."""

    PLAIN = "plain"
    THOUSANDS = "thousands"
    DECIMAL_COMMA = "decimal_comma"


# Neither a sentence nor a list of numbers is a number in another notation. Blanks may be narrow or non-breaking.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+\.\d+|[+-]?[1-9]\d{0,2}(?:,\d{3}){2,}", re.ASCII)
_GROUPED = re.compile("[+-]?[1-9][0-9]{0,2}(?:[ '\u00a0\u2009\u202f\u2019][0-9]{3})+(?:\\.[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+),\d+", re.ASCII)
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_GROUPS_OF_DOTS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+", re.ASCII)
_SEPARATORS = str.maketrans("", "", ", '\u00a0\u2009\u202f\u2019")
EITHER = "either"


def notation_of(text: str) -> str | None:
    """Return the notation that a number shows, :data:`EITHER` if it may be two, ``None`` for any other text."""
    if _THOUSANDS.fullmatch(text) or _GROUPED.fullmatch(text):
        return Notation.THOUSANDS
    if _EITHER.fullmatch(text):
        return EITHER
    return Notation.DECIMAL_COMMA if _DECIMAL_COMMA.fullmatch(text) else None


def plain_number(text: str, notation: Notation) -> str:
    """Return a number written plainly; any other text, and a number that contradicts the notation, as it is."""
    if notation is Notation.THOUSANDS and notation_of(text) in {Notation.THOUSANDS, EITHER}:
        return text.translate(_SEPARATORS)
    if notation is Notation.DECIMAL_COMMA:
        if _DECIMAL_COMMA.fullmatch(text):
            return text.replace(".", "").replace(",", ".")
        if _GROUPS_OF_DOTS.fullmatch(text):
            return text.replace(".", "")
        # A decimal point where commas are decimal: the text stays unreadable, and the file is refused.
        return f"{text}?" if "." in text else text
    return text


def decide_notation(found: Counter[str], path: str) -> Notation:
    """Return the notation of a file from those of its numbers that are not plain.

    Raises:
        MalformedFileError: They contradict each other, or may all be two.
    """
    shown = {name for name in found if name != EITHER}
    if len(shown) == 1:
        return Notation(shown.pop())
    raise MalformedFileError(
        f"{path} has {found.total():,} numbers with commas that may separate thousands or decimals.",
        "Export it with a decimal point and without thousands separators.",
    )


def joined_number(cells: list[str], at: int, extra: int) -> bool:
    """Return whether a cell and the surplus ones after it are one number that its own comma has cut."""
    text = ",".join(cell.strip().strip('"') for cell in cells[at : at + extra + 1])
    return extra > 0 and notation_of(text) is not None

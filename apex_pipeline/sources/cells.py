"""Says what a cell may be: nothing, and whether a message may quote it.

See ``parsing.py`` for its value. Cells are published in messages and rejects only if they cannot name a person.
"""

import re

from apex_pipeline.sources.known_columns import is_known_column

# What databases, spreadsheets and data frames write where there is nothing.
_NOTHING = frozenset(
    {
        *("nan", "-nan", "none", "null", "<na>", "nat", r"\n", "n/a", "#n/a", "na", "n.a.", "nil", "(null)"),
        *("-", "--", "—", "–"),  # noqa: RUF001  -- dashes of spreadsheets
    }
)
# Parts of numbers, times, laps and sessions: 2025-05-17T18:26:30Z, 5:40 PM, 1e5, 3 Laps, R2.
_QUOTABLE = re.compile(
    r"\d*(T\d*)?Z?|\d*[ap]m|\d*e\d*|laps?|lap\d{1,3}|[RQPW]\d{1,3}|\d*(m?s|sec|min|days?)|[-+]?inf(inity)?",
    re.IGNORECASE | re.ASCII,
)
# Codes of cars, sessions, events and flags have a digit or are in capitals: GR86-006-7, I_R03_2025-05-18, R1, GF.
_CODE = re.compile(r"(?=.*\d)[A-Z0-9]+([-_][A-Z0-9]+)*|[A-Z]{1,3}|kafka:gr-raw|Am", re.ASCII)
_CELL = re.compile(r'("(?:[^"]|"")*"|[^,;\t"]*)([,;\t]|$)')
_WORD = re.compile(r"[^\W_]+")
_SHOWN_CHARACTERS = 40


def is_nothing(text: str) -> bool:
    """Return whether a cell holds nothing: it is empty, or one of the usual words for that."""
    return not text or text.casefold() in _NOTHING


def may_name_person(text: str) -> bool:
    """Return whether a cell has words other than numbers, times and the words for nothing."""
    return not is_nothing(text) and not all(_QUOTABLE.fullmatch(word) for word in _WORD.findall(text))


def quoted(text: str) -> str:
    """Return a cell for a message: in quotes if it cannot name a person, else only its length.

    Numbers, times and words for nothing are quoted; any other word may be a name in the wrong column.
    """
    if not may_name_person(text):
        return repr(text[:_SHOWN_CHARACTERS])
    return f"{len(text)} characters, not shown as they may name a person"


def masked_line(line: str) -> str:
    """Return a line of a raw file with every cell masked that may name a person; numbers, times and codes are shown."""
    return _CELL.sub(lambda cell: f"{_masked(cell[1])}{cell[2]}", line)


def _masked(cell: str) -> str:
    text = cell.strip(' "')
    is_shown = _CODE.fullmatch(text) or is_known_column(text) or not may_name_person(text)
    return cell if is_shown else "***"

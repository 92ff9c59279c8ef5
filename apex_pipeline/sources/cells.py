"""Says what a cell may be: nothing, and whether a message may quote it.

See ``parsing.py`` for its value. Cells are published in messages and rejects only if they cannot name a person.
"""

import re

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
_WORD = re.compile(r"[^\W_]+")
_SHOWN_CHARACTERS = 40


def is_nothing(text: str) -> bool:
    """Return whether a cell holds nothing: it is empty, or one of the usual words for that."""
    return not text or text.casefold() in _NOTHING


def quoted(text: str) -> str:
    """Return a cell for a message: in quotes if it cannot name a person, else only its length.

    Numbers, times and words for nothing are quoted; any other word may be a name in the wrong column.
    """
    if is_nothing(text) or all(_QUOTABLE.fullmatch(word) for word in _WORD.findall(text)):
        return repr(text[:_SHOWN_CHARACTERS])
    return f"{len(text)} characters, not shown as they may name a person"

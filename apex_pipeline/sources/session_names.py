"""Parses and compares session names; see ``gr_cup/discovery/path_hints.py`` for names in paths."""

import re
from typing import NamedTuple

from apex_pipeline.sources.normalize import normalize_name

# A race with its number: R1, Race 1, race_01. A letter after it (Race 1b) was added by a user. At most two digits:
# race_2025 is a race in that year.
_NUMBERED_RACE = re.compile(r"(?:^|_)(?:r|race)_?(?P<number>\d{1,2})(?P<letter>[a-z]?)(?=_|$)")
_SESSION_WORD = re.compile(
    r"(?:^|_)(?P<word>practice|qualifying|race|warmup|test|fp|q)(?:_?(?P<number>\d{1,2}))?(?=_|$)"
)
_SEASON = re.compile(r"(?P<season>\d{4})_(?P<session>.+)")
_NAME = re.compile(r"(?:\d{4}_)?(?P<word>[a-z]+)_?(?P<number>\d*)")

_TYPES = {
    "r": "race",
    "race": "race",
    "q": "qualifying",
    "qualifying": "qualifying",
    "fp": "practice",
    "practice": "practice",
}


class FoundSession(NamedTuple):
    """A session found in a name.

    Attributes:
        session: Canonical name of the session.
        rest: The remaining words of the name.
        is_loose: Whether a letter follows the number (``Race 1b``).
    """

    session: str
    rest: str
    is_loose: bool


def find_session(text: str) -> FoundSession | None:
    """Find the session in a normalised name: a numbered race anywhere in it, else one of the usual words.

    Args:
        text: The name as returned by :func:`~apex_pipeline.sources.normalize.normalize_name`.
    """
    race = _NUMBERED_RACE.search(text)
    match = race or _SESSION_WORD.search(text)
    if not match:
        return None
    word = "r" if race else match["word"]
    rest = (text[: match.start()] + text[match.end() :]).strip("_")
    return FoundSession(session_name(word, match["number"]), rest, bool(race and race["letter"]))


def session_name(word: str, number: str | None = None) -> str:
    """Return the canonical name of a session: ``R1``, ``FP2``, ``practice``, ``practice_2``.

    Args:
        word: The word for the session, in lower case.
        number: Digits after the word, if any.
    """
    if word in {"r", "race"} and number:
        return f"R{int(number)}"
    if word in {"r", "fp", "q"}:
        return f"{word.upper()}{number or ''}"
    return f"{word}_{number}" if number else word


def canonical_session(text: str) -> str:
    """Return a session as the catalog writes it: ``R1`` for ``race_1`` and ``r1``, ``2026_R1`` for ``2026_race_1``."""
    match = _SEASON.fullmatch(text)
    name = normalize_name(match["session"] if match else text)
    found = find_session(name)
    session = found.session if found and not found.rest else name
    return f"{match['season']}_{session}" if match else session


def session_type(session: str) -> str:
    """Return ``race``, ``qualifying``, ``practice`` or ``other`` for a session name, with or without a season."""
    match = _NAME.fullmatch(session.lower())
    return _TYPES.get(match["word"], "other") if match else "other"


def number_of(session: str) -> int | None:
    """Return the number in a session name; ``None`` if it has none."""
    match = _NAME.fullmatch(session.lower())
    return int(match["number"]) if match and match["number"] else None


def are_numbered_apart(one: str, other: str) -> bool:
    """Return whether two names of one type have different numbers (R1 and R2), so they cannot be the same session."""
    numbers = {number_of(one), number_of(other)} - {None}
    return session_type(one) == session_type(other) and len(numbers) > 1

"""Numbers and names as people read them, for scores and the note.

Here belongs nothing about racing: only how a count, a list or a time is said.
"""

from collections.abc import Iterable

# Names told one by one; a note is read, not searched.
_TOLD = 6


def counted(number: int, noun: str) -> str:
    """Return ``1 lap``, ``2 laps``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Iterable[str]) -> str:
    """Return the first six names, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return ", ".join(found[:_TOLD]) + more


def by_number(car_number: str) -> tuple[int, str]:
    """Return what start numbers are sorted by: 03 and 3 before 12, what is no number last."""
    return (int(car_number) if car_number.isdecimal() else 10**9, car_number)


def minutes(seconds: float) -> str:
    """Return ``2 min 26 s``, ``40 s``."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole} min {rest} s" if whole else f"{rest} s"


__all__ = ["by_number", "counted", "listed", "minutes"]

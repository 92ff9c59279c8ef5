"""Checks the ids of races that come from outside."""

from uuid import UUID


def is_race_id(text: str) -> bool:
    """Return whether the text is a UUID in its usual spelling, with dashes and in lower case."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False

"""Names made comparable: without case, accents and separators, and whether two of them can mean one place."""

import re
import unicodedata


def normalize_name(text: str) -> str:
    """Return text in lower case, without accents, every run of other characters as one underscore.

    Names are compared like that.
    """
    without_accents = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "_", without_accents.lower()).strip("_")


def compact_name(text: str) -> str:
    """Return :func:`normalize_name` text without the underscores, for names that differ in where a blank is."""
    return normalize_name(text).replace("_", "")


def names_match(one: str, other: str) -> bool:
    """Tell whether two plain names can mean one track: the beginning or some words of one, or its initials.

    ``spa`` is related to ``spa_francorchamps``, ``laguna`` to ``weathertech_laguna_seca``, ``ctmp`` to
    ``canadian_tire_motorsport_park``.
    """
    return _is_part(one, other) or _is_part(other, one)


def _is_part(part: str, whole: str) -> bool:
    squeezed_part, squeezed_whole = part.replace("_", ""), whole.replace("_", "")
    initials = "".join(word[0] for word in whole.split("_") if word)
    return squeezed_whole.startswith(squeezed_part) or f"_{part}_" in f"_{whole}_" or squeezed_part == initials

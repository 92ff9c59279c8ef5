"""Normalises names (case, accents, separators) and checks whether two can mean the same track."""

import re
import unicodedata


def normalize_name(text: str) -> str:
    """Return text in lower case, without accents, with every run of other characters replaced by one underscore.

    Names are compared in this form.
    """
    without_accents = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "_", without_accents.lower()).strip("_")


def compact_name(text: str) -> str:
    """Return :func:`normalize_name` text without underscores, to compare names that differ only in word breaks."""
    return normalize_name(text).replace("_", "")


def names_match(one: str, other: str) -> bool:
    """Return whether two normalised names can mean the same track.

    One must be the start of the other, some of its words, or its initials: ``spa`` matches ``spa_francorchamps``,
    ``laguna`` matches ``weathertech_laguna_seca``, ``ctmp`` matches ``canadian_tire_motorsport_park``.
    """
    return _is_part(one, other) or _is_part(other, one)


def _is_part(part: str, full: str) -> bool:
    compact_part, compact_full = part.replace("_", ""), full.replace("_", "")
    initials = "".join(word[0] for word in full.split("_") if word)
    return compact_full.startswith(compact_part) or f"_{part}_" in f"_{full}_" or compact_part == initials

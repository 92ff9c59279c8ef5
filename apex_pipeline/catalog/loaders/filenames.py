"""Builds the file names that applications use, and parses a session from a file name; reads no files.

See ``docs/naming.md`` for other naming schemes (``COTA_lap_start_time_R1.csv`` and the user's own patterns).
"""

import re
from collections.abc import Callable
from enum import StrEnum

from apex_pipeline.sources.normalize import normalize_name
from apex_pipeline.sources.session_names import find_session
from apex_pipeline.storage.layout import RAW_PREFIX


class LoadKind(StrEnum):
    """The data an application requests, by the kind of raw file that contains it."""

    LAP_START = "lap_start"
    TELEMETRY = "telemetry"


# Tried in this order, in the folder of the track.
PATTERNS = (
    "{session}_{track}_{data_type}.csv",
    "{session}_{hyphenated_track}_{data_type}.csv",
    "{session}_{data_type}.csv",
)
DATA_TYPES = {LoadKind.LAP_START: "lap_start", LoadKind.TELEMETRY: "telemetry_data"}

_SEPARATOR = re.compile(r"[_\- ]")


def raw_key_of(track: str, filename: str) -> str:
    """Return ``data/{track}/{filename}``, with single forward slashes and no leading one.

    The store checks whether the key is valid in a lake, before any request.
    """
    parts = f"{track}/{filename}".replace("\\", "/").split("/")
    return RAW_PREFIX + "/".join(part for part in parts if part)


def file_names(kind: LoadKind, track: str, session: str) -> list[str]:
    """Return the file names to try for a session's lap or telemetry file, in order."""
    return [
        pattern.format(
            session=session, track=track, hyphenated_track=track.replace("_", "-"), data_type=DATA_TYPES[kind]
        )
        for pattern in PATTERNS
    ]


def kind_from_name(filename: str) -> LoadKind | None:
    """Return the kind of file that the end of its name indicates; ``None`` for any other naming scheme."""
    return next((kind for kind, data_type in DATA_TYPES.items() if f"{data_type}.csv" in filename.lower()), None)


def session_in(
    filename: str, kind: LoadKind, is_track: Callable[[str], bool], is_short_form: Callable[[str], bool]
) -> str | None:
    """Parse the session from a file name that matches one of the patterns; its spelling is kept.

    Args:
        filename: Name without folders; it may end in ``.gz`` or ``.zst``.
        kind: ``LAP_START`` or ``TELEMETRY``.
        is_track: Returns whether a text is a name of the track.
        is_short_form: Returns whether a text may abbreviate it; used only after a standard session (``R1_harbor``).

    Returns:
        ``None`` if the name follows another scheme, or contains only the track.
    """
    match = re.fullmatch(rf"(?P<before>.+)_{DATA_TYPES[kind]}\.csv(\.gz|\.zst)?", filename, re.IGNORECASE)
    if match is None or is_track(match["before"]):
        return None
    before = match["before"]
    # Split from the left to remove the longest form of the track: practice_|barber_motorsports_park.
    parts = [(before[: found.start()], before[found.end() :]) for found in _SEPARATOR.finditer(before) if found.start()]
    named = (session for session, track in parts if is_track(track))
    shortened = (session for session, track in parts if is_short_form(track) and _is_standard_session(session))
    return next(named, None) or next(shortened, before)


def _is_standard_session(text: str) -> bool:
    found = find_session(normalize_name(text))
    return found is not None and not found.rest

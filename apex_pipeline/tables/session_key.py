"""Defines a session's key, ``track/session``, for example ``barber_motorsports_park/R1``.

It is Dagster's partition key, the hive path in the store, and an argument that people type. Dagster does not validate
dynamic partition keys (it accepts ``..``, commas and the empty string), so every key is created and parsed here.
"""

import re
from typing import NamedTuple

from apex_pipeline.errors import ConfigurationError

# A letter is required in both parts, because readers of hive paths parse an all-digit folder value as a number.
_TRACK = re.compile(r"(?=.*[a-z])[a-z0-9_]{1,80}")
_SESSION = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_]{1,40}")


class SessionKey(NamedTuple):
    """A session's key: its track and its name."""

    track: str
    session: str

    def __str__(self) -> str:
        return f"{self.track}/{self.session}"


def session_key(track: str, session: str) -> SessionKey:
    """Return the validated key of a session.

    Raises:
        ConfigurationError: The track is not a slug (``[a-z0-9_]`` with a letter), or the session contains characters
            other than letters, digits and underscores, or has no letter.
    """
    if not _TRACK.fullmatch(track):
        raise ConfigurationError(
            f"{track!r} is not a track slug.", "Use lower-case letters, digits and underscores, at least one letter."
        )
    if not _SESSION.fullmatch(session):
        raise ConfigurationError(
            f"{session!r} is not a session name.", "Use letters, digits and underscores, at least one letter, like R1."
        )
    return SessionKey(track, session)


def parse_session_key(text: str) -> SessionKey:
    """Parse ``track/session``.

    Raises:
        ConfigurationError: The text does not have that form.
    """
    parts = text.split("/")
    if len(parts) != 2:  # noqa: PLR2004  -- a track and a session
        raise ConfigurationError(f"{text!r} is not a session key.", "Write it like barber_motorsports_park/R1.")
    return session_key(parts[0], parts[1])

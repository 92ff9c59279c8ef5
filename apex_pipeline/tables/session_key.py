"""The one rule for the name of a session: ``track/session``, for example ``barber_motorsports_park/R1``.

It is Dagster's partition key, the hive path in the store and what people type. Dagster itself checks dynamic partition
keys nowhere (``..``, commas and the empty string are accepted there), so all that makes or takes a key comes here.
"""

import re
from typing import NamedTuple

from apex_pipeline.errors import ConfigurationError

# A letter is required in both parts: readers of hive paths take an all-digit folder value for a number.
_TRACK = re.compile(r"(?=.*[a-z])[a-z0-9_]{1,80}")
_SESSION = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_]{1,40}")


class SessionKey(NamedTuple):
    """A session of a track."""

    track: str
    session: str

    def __str__(self) -> str:
        return f"{self.track}/{self.session}"


def session_key(track: str, session: str) -> SessionKey:
    """Return the checked key of a session.

    Raises:
        ConfigurationError: The track is no slug (``[a-z0-9_]`` with a letter) or the session no plain word.
    """
    if not _TRACK.fullmatch(track):
        raise ConfigurationError(
            f"{track!r} is no track slug.", "Use lower-case letters, digits and underscores, at least one letter."
        )
    if not _SESSION.fullmatch(session):
        raise ConfigurationError(
            f"{session!r} is no session name.", "Use letters, digits and underscores, at least one letter, like R1."
        )
    return SessionKey(track, session)


def parse_session_key(text: str) -> SessionKey:
    """Read ``track/session``.

    Raises:
        ConfigurationError: The text is not of that form.
    """
    parts = text.split("/")
    if len(parts) != 2:  # noqa: PLR2004  -- a track and a session
        raise ConfigurationError(f"{text!r} is no session key.", "Write it like barber_motorsports_park/R1.")
    return session_key(parts[0], parts[1])

"""Finds tracks and sessions of a lake by the names that people write: ``barber``, ``COTA/race 1``, ``sebring/r1``.

A name that means nothing in the lake is an error with a suggestion.
"""

from collections.abc import Collection
from difflib import get_close_matches

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import Settings
from apex_pipeline.sources import loadable_source
from apex_pipeline.sources.normalize import names_match, normalize_name
from apex_pipeline.sources.session_names import canonical_session
from apex_pipeline.tables.session_key import SessionKey

# Names that an error lists.
_LISTED = 5


def find_sessions(text: str, known: Collection[SessionKey], settings: Settings) -> list[SessionKey]:
    """Return the session called ``track/session``, or every session of the track called ``track``, sorted.

    Args:
        text: The name.
        known: The sessions of the lake.
        settings: Names the file with the user's own track names.

    Raises:
        ConfigurationError: No session of the lake has this name, or the track may be any of several.
    """
    track_text, slash, session_text = text.strip("/ ").partition("/")
    track = find_track(track_text, {key.track for key in known}, settings)
    of_track = sorted(key for key in known if key.track == track)
    if not slash:
        return of_track
    found = [key for key in of_track if key.session == session_text] or [
        key for key in of_track if canonical_session(key.session) == canonical_session(session_text)
    ]
    if not found:
        listed = ", ".join(map(str, of_track[:_LISTED]))
        raise ConfigurationError(f"{track} has no session {session_text!r}.", f"It has: {listed}.")
    return found


def find_track(text: str, known: Collection[str], settings: Settings) -> str:
    """Return the track of the lake with this name, an alias of it, or a part of its name.

    Args:
        text: The name.
        known: The tracks of the lake.
        settings: Names the file with the user's own track names.

    Raises:
        ConfigurationError: No track of the lake has this name, or several may have it.
    """
    if text in known:
        return text
    source, access = loadable_source()
    name = normalize_name(text)
    slug = access.track_slug(text, source.load_rules(settings)) or name
    if slug in known or name in known:
        return slug if slug in known else name
    similar = sorted(track for track in known if name and names_match(name, track))
    if len(similar) == 1:
        return similar[0]
    if similar:
        raise ConfigurationError(f"{text!r} may be any of {', '.join(similar[:_LISTED])}.", "Write the whole name.")
    close = get_close_matches(name, known, 1)
    listed = ", ".join(sorted(known)[:_LISTED]) or "none"
    raise ConfigurationError(
        f"The lake has no track {text!r}.", f"Did you mean {close[0]}?" if close else f"Its tracks are: {listed}."
    )

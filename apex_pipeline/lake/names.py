"""Finds tracks, sessions and cars of a lake by the names that people write: ``COTA``, ``Race 1``, ``#13``.

The command line, the catalog and the loaders all resolve names here. A name that means nothing in the lake is an error
with a suggestion and the names that exist.
"""

from collections.abc import Collection, Iterable, Sequence
from numbers import Integral

from apex_pipeline.errors import ConfigurationError, NotPublishedError, did_you_mean
from apex_pipeline.settings import Settings
from apex_pipeline.sources import loadable_source
from apex_pipeline.sources.normalize import names_match, normalize_name
from apex_pipeline.sources.session_names import canonical_session
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

# Names that an error lists.
_LISTED = 5
# Sessions that an error lists: a season of a track has fewer.
_LISTED_SESSIONS = 12


def find_sessions(text: str, known: Collection[SessionKey], settings: Settings) -> list[SessionKey]:
    """Return the session called ``track/session``, or every session of the track called ``track``, sorted.

    Args:
        text: The name.
        known: The sessions of the lake.
        settings: Names the file with the user's own track names.

    Raises:
        ConfigurationError: No session of the lake has this name, or the track may be any of several.
    """
    _require_text(text)
    track_text, slash, session_text = text.strip("/ ").partition("/")
    track = find_track(track_text, {key.track for key in known}, settings)
    of_track = sorted(key for key in known if key.track == track)
    if not slash:
        return of_track
    found = _sessions_called(session_text, of_track)
    if not found:
        listed = ", ".join(map(str, of_track[:_LISTED]))
        raise ConfigurationError(f"{track} has no session {session_text!r}.", f"It has: {listed}.")
    return found


def find_session(track: str, session: str, known: Collection[SessionKey], settings: Settings) -> SessionKey:
    """Return the session of the lake with this track and this name.

    Args:
        track: Name of the track.
        session: Name of the session.
        known: The sessions of the lake.
        settings: Names the file with the user's own track names.

    Raises:
        NotPublishedError: No session of the lake has this name.
        ConfigurationError: The lake has no such track, or the name may mean several.
    """
    _require_text(session)
    slug = find_track(track, {key.track for key in known}, settings)
    of_track = sorted(key for key in known if key.track == slug)
    found = _sessions_called(session, of_track)
    if len(found) == 1:
        return found[0]
    names = [str(key) for key in found or of_track]
    if found:
        raise ConfigurationError(f"{session!r} may be any of {', '.join(names)}.", "Write the whole name.")
    guess = did_you_mean(session, [key.session for key in of_track])
    raise NotPublishedError(
        f"The session {slug}/{session} is not published.",
        f"Published sessions: {_listed(names, _LISTED_SESSIONS)}. {guess}".rstrip(),
    )


def _sessions_called(text: str, known: Iterable[SessionKey]) -> list[SessionKey]:
    known = list(known)
    return [key for key in known if key.session == text] or [
        key for key in known if canonical_session(key.session) == canonical_session(text)
    ]


def _require_text(name: object) -> None:
    """Refuse what is no text: a number is often a column's position or a race's, which only its text names."""
    if not isinstance(name, str):
        raise ConfigurationError(f"{name!r} is not a name.", "Write tracks and sessions as text, like 'barber', 'R1'.")


def _listed(names: Sequence[str], most: int = _LISTED) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def find_track(text: str, known: Collection[str], settings: Settings) -> str:
    """Return the track of the lake with this name, an alias of it, or a part of its name.

    Args:
        text: The name.
        known: The tracks of the lake.
        settings: Names the file with the user's own track names.

    Raises:
        ConfigurationError: No track of the lake has this name, or several may have it.
    """
    _require_text(text)
    if text in known:
        return text
    source, access = loadable_source()
    name = normalize_name(text)
    slug = access.track_slug(text, source.load_rules(settings)) or name
    if slug in known or name in known:
        return slug if slug in known else name
    similar = similar_tracks(text, known)
    if len(similar) == 1:
        return similar[0]
    if similar:
        raise ConfigurationError(f"{text!r} may be any of {_listed(similar)}.", "Write the whole name.")
    raise ConfigurationError(f"The lake has no track {text!r}.", track_hint(text, known))


def similar_tracks(text: str, known: Iterable[str]) -> list[str]:
    """Return the tracks whose name starts with a text, or has it as a word or as its initials, sorted."""
    name = normalize_name(text)
    return sorted(track for track in known if name and names_match(name, normalize_name(track)))


def track_hint(text: str, known: Iterable[str]) -> str:
    """Return the hint for a name that no track has: what may have been meant, and the tracks that exist."""
    tracks = sorted(known)
    return f"{did_you_mean(normalize_name(text), tracks)}Its tracks are: {_listed(tracks) or 'none'}."


def find_car(cars: Iterable[Row], called: str | int | None = None, chassis: str | None = None) -> str:
    """Return the vehicle_id of the only car with these names.

    Args:
        cars: Rows with ``vehicle_id``, ``chassis`` and ``car_number``, as the table ``cars`` has them.
        called: Car number, with or without ``#``, or vehicle_id. 03 is not 3, but the number 3 is either.
        chassis: Number of the chassis.

    Raises:
        ConfigurationError: No car or more than one matches.
    """
    devices = {row["vehicle_id"]: row for row in cars if row["vehicle_id"] is not None}.values()
    text = None if called is None else str(called).strip()
    found = [
        row
        for row in devices
        if (called is None or _is_called(row, called)) and (chassis is None or row["chassis"] == chassis)
    ]
    if len(found) == 1:
        return str(found[0]["vehicle_id"])
    wanted = repr(text) if chassis is None else f"chassis {chassis!r}" if text is None else f"{text!r}, {chassis!r}"
    if found:
        hint = numbers_hint(row["car_number"] for row in found) or "Give the complete vehicle_id."
        raise ConfigurationError(f"{wanted} may be any of {_format_cars(found)}.", hint)
    raise ConfigurationError(f"No car is called {wanted}.", _car_hint(text or "", devices))


def _is_called(row: Row, called: str | int) -> bool:
    if is_car_number(called, row["car_number"]):
        return True
    return isinstance(called, str) and called.strip().lower() == row["vehicle_id"].lower()


def is_car_number(called: str | int, number: str | None) -> bool:
    """Return whether a car with this number is meant: 03 is not 3, but whoever writes a number may mean either."""
    if isinstance(called, Integral):  # an int, or one of numpy's
        return number is not None and number.isdecimal() and int(number) == called
    return str(called).strip().removeprefix("#") == number


def numbers_hint(numbers: Iterable[str | None]) -> str:
    """Return the hint for a number that cars write differently; empty if they all write it alike."""
    known = sorted({number for number in numbers if number is not None})
    return f"Write it as text: {' or '.join(map(repr, known))}." if len(known) > 1 else ""


def _car_hint(text: str, devices: Collection[Row]) -> str:
    of_chassis = [row for row in devices if text and row["chassis"] == text]
    if of_chassis:
        return f"{text} is a chassis: write --chassis {text}, or {_format_cars(of_chassis)}."
    names = [str(row[name]) for row in devices for name in ("car_number", "vehicle_id") if row[name]]
    digits = text.removeprefix("#").lstrip("0")
    same = [name for name in names if digits and name.lstrip("0") == digits]
    guess = f"Did you mean {same[0]}? " if same else did_you_mean(text, names)
    return f"{guess}The session has: {_format_cars(devices)}."


def _format_cars(cars: Iterable[Row]) -> str:
    names = [f"{row['vehicle_id']} (#{row['car_number']})" if row["car_number"] else row["vehicle_id"] for row in cars]
    return ", ".join(names) or "no car with lap triggers"

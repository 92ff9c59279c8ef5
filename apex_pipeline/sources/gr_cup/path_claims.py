"""What a path says about a file: kind, track, session, season. Nothing is read here.

The file's name speaks first, its folders second, from the inside out. Both may be silent, and both may be wrong:
``naming.py`` weighs these claims against the content.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from apex_pipeline.sources.gr_cup.files import CAR_KINDS, FileKind
from apex_pipeline.sources.gr_cup.naming_rules import NamingRules, Track, plain

# Extensions of what lies beside race files and is none.
_NOT_DATA = {
    "archive; unpack it beside": {".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst"},
    "picture or film": {".jpg", ".jpeg", ".png", ".gif", ".heic", ".webp", ".mp4", ".mov", ".avi", ".mkv", ".svg"},
    "document": {".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".md", ".txt", ".html", ".rtf"},
    "program or settings": {".py", ".ipynb", ".json", ".yaml", ".yml", ".toml", ".ini", ".exe", ".sh"},
}
_SYSTEM_NAMES = {"thumbs.db", "desktop.ini"}

_RACE = re.compile(r"(?:^|_)(?:r|race)_?(\d+)(?:_|$)")
_RACE_FOLDER = re.compile(r"(?:r|race)_?(\d+)([a-z]?)")
_OTHER_SESSION = re.compile(r"(?:^|_)(practice|qualifying|race|warmup|test|fp|q)(?:_?(\d+))?(?:_|$)")
_SEASON_FOLDER = re.compile(r"((?:19|20)\d\d)(?:_(.+))?")


@dataclass(frozen=True)
class SessionClaim:
    """A session as one part of the path says it; ``is_loose`` where the part says more than that (``Race 1b``)."""

    session: str
    said_by: str
    is_loose: bool = False


@dataclass(frozen=True)
class TrackClaim:
    """A track as one part of the path says it; ``is_known`` where the rules list it."""

    slug: str
    name: str
    said_by: str
    is_known: bool


@dataclass(frozen=True)
class PathClaims:
    """Everything a path says.

    Attributes:
        kind: Kind of file, ``UNKNOWN`` if the name says none.
        kind_said_by: The expression that decided.
        sessions: What name and folders say about the session, name first.
        tracks: What name and folders say about the track, name first, then folders from the inside out.
        season: Season folder.
        version: official or provisional, for classifications.
    """

    kind: FileKind
    kind_said_by: str
    sessions: tuple[SessionClaim, ...]
    tracks: tuple[TrackClaim, ...]
    season: str | None
    version: str | None


def reason_to_ignore(path: str) -> str | None:
    """Return why a file is no race data, by its path alone, or ``None`` if it may be."""
    parts = PurePosixPath(path).parts
    if "__MACOSX" in parts or any(part.startswith(".") for part in parts) or parts[-1].lower() in _SYSTEM_NAMES:
        return "left by the operating system"
    name = parts[-1].lower()
    if name.endswith((".csv", ".csv.gz", ".csv.zst")):
        return None
    suffix = PurePosixPath(name).suffix
    for reason, suffixes in _NOT_DATA.items():
        if suffix in suffixes:
            return reason
    return f"not a CSV file ({suffix or 'no extension'})"


def claims_of(path: str, rules: NamingRules) -> PathClaims:
    """Return what a path says, by the rules."""
    parts = PurePosixPath(path).parts
    folders = list(reversed(parts[:-1]))
    whole = _by_whole_name(parts[-1], rules)
    stem = plain(re.sub(r"\.csv(\.gz|\.zst)?$", "", parts[-1], flags=re.IGNORECASE))
    kind, said_by = (whole[0], whole[1].re.pattern) if whole else _kind_of(stem, rules)
    rest = _without_kind(stem, kind, rules)
    sessions = [claim for claim in (_session_in_name(rest, whole), *map(_session_in_folder, folders)) if claim]
    tracks = _track_in_name(rest, kind, whole, rules) + _tracks_in_folders(folders, rules)
    return PathClaims(kind, said_by, tuple(sessions), tuple(tracks), _season(folders, rules), _version(stem, kind))


def _by_whole_name(name: str, rules: NamingRules) -> tuple[FileKind, re.Match[str]] | None:
    for kind, pattern in rules.patterns:
        match = pattern.fullmatch(name)
        if match:
            return kind, match
    return None


def _kind_of(stem: str, rules: NamingRules) -> tuple[FileKind, str]:
    for kind, expression in rules.kinds:
        if expression.search(stem):
            return kind, expression.pattern
    return FileKind.UNKNOWN, "no expression"


def _without_kind(stem: str, kind: FileKind, rules: NamingRules) -> str:
    """Take the words that say the kind out of a name; what is left speaks of track and session."""
    for found, expression in rules.kinds:
        if found is kind:
            stem = expression.sub("_", stem)
    return plain(stem)


def session_name(word: str, number: str | None) -> str:
    """Return the canonical name of a session: ``R1``, ``FP2``, ``practice``, ``practice_2``."""
    word = word.lower()
    if word in {"r", "race"} and number:
        return f"R{int(number)}"
    if word in {"fp", "q"}:
        return f"{word.upper()}{number or ''}"
    return f"{word}_{number}" if number else word


def _session_in_name(rest: str, whole: tuple[FileKind, re.Match[str]] | None) -> SessionClaim | None:
    groups = whole[1].groupdict() if whole else {}
    if groups.get("n"):
        return SessionClaim(session_name("r", groups["n"]), "the name")
    text = plain(groups["session"]) if groups.get("session") else rest
    race = _RACE.search(text)
    if race:
        return SessionClaim(session_name("r", race[1]), "the name")
    other = _OTHER_SESSION.search(text)
    return SessionClaim(session_name(other[1], other[2]), "the name") if other else None


def _session_in_folder(folder: str) -> SessionClaim | None:
    text = plain(folder)
    race = _RACE_FOLDER.fullmatch(text)
    if race:
        return SessionClaim(session_name("r", race[1]), f"the folder {folder!r}", is_loose=bool(race[2]))
    other = _OTHER_SESSION.fullmatch(text)
    return SessionClaim(session_name(other[1], other[2]), f"the folder {folder!r}") if other else None


def _track_in_name(
    rest: str, kind: FileKind, whole: tuple[FileKind, re.Match[str]] | None, rules: NamingRules
) -> list[TrackClaim]:
    """Read the track out of a car file's name; official files name none."""
    if kind not in CAR_KINDS:
        return []
    groups = whole[1].groupdict() if whole else {}
    text = groups.get("track") or plain(_OTHER_SESSION.sub("_", _RACE.sub("_", rest)))
    known = rules.track_of(text)
    if known:
        return [_known_claim(known, f"the name ({text})")]
    return [_unknown_claim(text, f"the name ({text})")] if re.search("[a-z]{2}", plain(text)) else []


def _tracks_in_folders(folders: list[str], rules: NamingRules) -> list[TrackClaim]:
    claims: list[TrackClaim] = []
    for folder in folders:
        season = _SEASON_FOLDER.fullmatch(plain(folder))
        text = season[2] if season else folder
        if not text or _session_in_folder(folder) or plain(text) in rules.plain_folders:
            continue
        known = rules.track_of(text) or rules.track_of(re.sub(r"\d+$", "", text))
        if known:
            claims.append(_known_claim(known, f"the folder {folder!r}"))
        elif re.search("[a-z]", plain(text)):
            claims.append(_unknown_claim(text, f"the folder {folder!r}"))
    return claims


def _known_claim(track: Track, said_by: str) -> TrackClaim:
    return TrackClaim(track.slug, track.name, said_by, is_known=True)


def _unknown_claim(text: str, said_by: str) -> TrackClaim:
    name = text if re.search("[A-Z ]", text) else re.sub("[_-]+", " ", text).strip().title()
    return TrackClaim(plain(text)[:80], name, said_by, is_known=False)


def _season(folders: list[str], rules: NamingRules) -> str | None:
    for folder in folders:
        season = _SEASON_FOLDER.fullmatch(plain(folder))
        if season and (season[2] is None or rules.track_of(season[2])):
            return season[1]
    return None


def _version(stem: str, kind: FileKind) -> str | None:
    if kind not in {FileKind.RESULTS, FileKind.RESULTS_BY_CLASS}:
        return None
    if "provisional" in stem:
        return "provisional"
    return "official" if "official" in stem else None


__all__ = ["PathClaims", "SessionClaim", "TrackClaim", "claims_of", "reason_to_ignore", "session_name"]

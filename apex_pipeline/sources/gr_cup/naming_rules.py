"""The rules by which names are understood: tracks with their aliases, and what kind of file a name means.

The rules are data (``tracks.yaml``, ``patterns.yaml`` and the user's own file), this module reads and checks them. How
they are applied to a path is ``path_claims.py``.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.sources.gr_cup.files import FileKind

_PLACEHOLDERS = {"track": r"(?P<track>.+?)", "session": r"(?P<session>[A-Za-z]+[ _-]?\d*)", "n": r"(?P<n>\d+)"}


def plain(text: str) -> str:
    """Return text in lower case with every run of other characters as one underscore: names are compared like that."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


@dataclass(frozen=True)
class Track:
    """A track known by name."""

    slug: str
    name: str
    zone: str | None


@dataclass(frozen=True)
class NamingRules:
    """Everything needed to understand a name.

    Attributes:
        tracks: Track by plain alias.
        kinds: Kind and expression, in the order they are tried.
        patterns: Kind and expression for whole file names, tried first.
        plain_folders: Folders that say nothing about the track.
    """

    tracks: dict[str, Track]
    kinds: tuple[tuple[FileKind, re.Pattern[str]], ...]
    patterns: tuple[tuple[FileKind, re.Pattern[str]], ...]
    plain_folders: frozenset[str]

    def track_of(self, text: str) -> Track | None:
        """Return the track a folder or part of a name means, compared without case and separators."""
        return self.tracks.get(plain(text).replace("_", ""))


@cache
def load_rules(extra: Path | None = None) -> NamingRules:
    """Return the built-in rules with the user's own added.

    Args:
        extra: The user's YAML file; entries there win over the built-in ones.

    Raises:
        ConfigurationError: The file is missing or an entry in it cannot be used, with its name.
    """
    documents = [_built_in("tracks.yaml"), _built_in("patterns.yaml")]
    if extra is not None:
        documents.append((str(extra), _read_user_file(extra)))
    tracks: dict[str, Track] = {}
    kinds: list[tuple[FileKind, re.Pattern[str]]] = []
    patterns: list[tuple[FileKind, re.Pattern[str]]] = []
    folders: set[str] = set()
    for file, document in documents:
        try:
            for entry in document.get("tracks") or []:
                tracks |= _track_aliases(entry)
            kinds += [(FileKind(kind), re.compile(expression)) for kind, expression in document.get("kinds") or []]
            patterns += [_pattern(entry) for entry in document.get("patterns") or []]
            folders |= {plain(name) for name in document.get("plain_folders") or []}
        except (ValueError, KeyError, TypeError, AttributeError, re.error, ZoneInfoNotFoundError) as error:
            raise ConfigurationError(
                f"{file} has an entry that cannot be used: {error}.",
                "Compare it with tracks.yaml and patterns.yaml of the package.",
            ) from error
    return NamingRules(tracks, tuple(kinds), tuple(patterns), frozenset(folders))


def _built_in(name: str) -> tuple[str, dict[str, Any]]:
    text = resources.files("apex_pipeline.sources.gr_cup").joinpath(name).read_text(encoding="utf-8")
    return name, yaml.safe_load(text)


def _read_user_file(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The file of tracks {path} cannot be read: {error}.", "Correct APEX_TRACKS_FILE, or the file."
        ) from error
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"The file of tracks {path} has no entries.", "It needs `tracks:` or `patterns:`, as in tracks.yaml."
        )
    return document  # pyright: ignore[reportUnknownVariableType]  -- YAML; every entry is checked where it is used


def _track_aliases(entry: dict[str, Any]) -> dict[str, Track]:
    slug = str(entry["slug"])
    if not re.fullmatch(r"(?=.*[a-z])[a-z0-9_]{1,80}", slug):
        raise ValueError(f"the slug {slug!r} must be lower-case letters, digits and underscores")
    zone = entry.get("zone")
    if zone is not None:
        ZoneInfo(zone)
    track = Track(slug, str(entry.get("name", slug)), zone)
    names = [slug, track.name, *entry.get("aliases", [])]
    return {plain(str(name)).replace("_", ""): track for name in names}


def _pattern(entry: dict[str, str]) -> tuple[FileKind, re.Pattern[str]]:
    kind, name = FileKind(entry["kind"]), entry["name"]
    expression = re.escape(name)
    for word, group in _PLACEHOLDERS.items():
        expression = expression.replace(re.escape("{" + word + "}"), group, 1)
        expression = expression.replace(re.escape("{" + word.upper() + "}"), group, 1)
    return kind, re.compile(expression, re.IGNORECASE)


__all__ = ["NamingRules", "Track", "load_rules", "plain"]

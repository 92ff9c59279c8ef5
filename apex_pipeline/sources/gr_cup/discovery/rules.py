"""The rules by which names are understood: tracks with their aliases, and what kind of file a name means.

The rules are data (``tracks.yaml``, ``patterns.yaml`` and the user's own file); this module reads and checks them. How
they are applied to a path is ``path_hints.py``.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.sources.gr_cup.kinds import CAR_KINDS, OFFICIAL_KINDS, FileKind
from apex_pipeline.sources.normalize import compact_name, normalize_name

_PLACEHOLDERS = {
    "{track}": r"(?P<track>[^/]+?)",
    "{session}": r"(?P<session>[A-Za-z]+[ _-]?\d*)",
    "{n}": r"(?P<n>\d+)",
}
_SLUG = re.compile(r"(?=.*[a-z])[a-z0-9_]{1,80}")


@dataclass(frozen=True)
class SimulatedTrack:
    """A track known by name.

    Attributes:
        slug: Its key in the lake.
        name: As people write it.
        zone: IANA time zone of its clocks, ``None`` if not known.
    """

    slug: str
    name: str
    zone: str | None


@dataclass(frozen=True)
class NamingRules:
    """Everything needed to understand a name.

    Attributes:
        tracks: Track by squeezed alias, its slug and name included.
        kinds: Kind and expression for a plain name, in the order they are tried.
        patterns: Kind and expression for whole file names, tried first.
        plain_words: Words that say nothing about the track.
        season_words: Those that may stand beside the year in a season's folder.
    """

    tracks: dict[str, SimulatedTrack]
    kinds: tuple[tuple[FileKind, re.Pattern[str]], ...]
    patterns: tuple[tuple[FileKind, re.Pattern[str]], ...]
    plain_words: frozenset[str]
    season_words: frozenset[str]

    def track_of(self, text: str) -> SimulatedTrack | None:
        """Return the track that a slug, name or alias means, compared without case and separators."""
        return self.tracks.get(compact_name(text))

    def zone_of(self, track: str) -> str | None:
        """Return the IANA zone of a track's clocks, ``None`` if the track or its zone is not known."""
        known = self.track_of(track)
        return known.zone if known else None


def _check_slug(slug: str) -> str:
    if not _SLUG.fullmatch(slug):
        raise ValueError(f"the slug {slug!r} must be lower-case letters, digits and underscores, with a letter in it")
    return slug


def _check_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"the zone {zone!r} is not known; write it like America/Chicago") from error
    return zone


def _check_kind(kind: FileKind) -> FileKind:
    if kind not in CAR_KINDS | OFFICIAL_KINDS | {FileKind.CHAMPIONSHIP}:
        raise ValueError(f"{kind} is no kind a name can mean")
    return kind


def _compile_pattern(name: object) -> re.Pattern[str]:
    """Turn a file name with placeholders into an expression for the end of a path."""
    if not isinstance(name, str):
        raise ValueError(f"the name {name!r} must be text")  # noqa: TRY004  -- pydantic passes a TypeError through
    parts = re.split(r"(\{[^}]*\})", name)
    placeholders = [part.lower() for part in parts[1::2]]
    if not placeholders or len(set(placeholders)) < len(placeholders) or not set(placeholders) <= set(_PLACEHOLDERS):
        raise ValueError(f"the name {name!r} must hold some of {', '.join(_PLACEHOLDERS)}, each at most once")
    whole = "".join(_PLACEHOLDERS.get(part.lower()) or re.escape(part) for part in parts)
    return re.compile(rf"(?:.*/)?{whole}", re.IGNORECASE)


_Kind = Annotated[FileKind, AfterValidator(_check_kind)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _TrackEntry(_Entry):
    slug: Annotated[str, AfterValidator(_check_slug)]
    name: str | None = None
    zone: Annotated[str, AfterValidator(_check_zone)] | None = None
    aliases: list[str] = Field(default_factory=list[str])


class _PatternEntry(_Entry):
    kind: _Kind
    name: Annotated[re.Pattern[str], BeforeValidator(_compile_pattern)]


class _Document(_Entry):
    tracks: list[_TrackEntry] = Field(default_factory=list[_TrackEntry])
    kinds: list[tuple[_Kind, re.Pattern[str]]] = Field(default_factory=list[tuple[_Kind, re.Pattern[str]]])
    patterns: list[_PatternEntry] = Field(default_factory=list[_PatternEntry])
    plain_words: list[str] = Field(default_factory=list[str])
    season_words: list[str] = Field(default_factory=list[str])


def load_rules(extra: Path | None = None) -> NamingRules:
    """Return the built-in rules with the user's own added; the user's win.

    Args:
        extra: The user's YAML file. An entry for a known track adds aliases to it, or changes its name or zone.

    Raises:
        ConfigurationError: The file is missing or an entry in it cannot be used, with its name.
    """
    documents = list(_built_in())
    if extra is not None:
        documents.append(_read_user_file(extra))
    newest_first = documents[::-1]
    return NamingRules(
        tracks=_tracks_in(documents),
        kinds=tuple(rule for document in newest_first for rule in document.kinds),
        patterns=tuple((rule.kind, rule.name) for document in newest_first for rule in document.patterns),
        plain_words=frozenset(normalize_name(word) for document in documents for word in document.plain_words),
        season_words=frozenset(normalize_name(word) for document in documents for word in document.season_words),
    )


@cache
def _built_in() -> tuple[_Document, ...]:
    folder = resources.files("apex_pipeline.sources.gr_cup.discovery")
    texts = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("tracks.yaml", "patterns.yaml"))
    return tuple(_Document.model_validate(yaml.safe_load(text)) for text in texts)


def _read_user_file(path: Path) -> _Document:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The file of tracks {path} cannot be read: {error}.", "Correct APEX_TRACKS_FILE, or the file."
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"The file of tracks {path} has no entries.", "It needs `tracks:` or `patterns:`, as in tracks.yaml."
        )
    try:
        document = _Document.model_validate(content)
        _require_clear_aliases(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _unusable(path, f"{place}: {first['msg'].removeprefix('Value error, ')}") from error
    except ValueError as error:
        raise _unusable(path, str(error)) from error
    return document


def _unusable(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"The file of tracks {path} has an entry that cannot be used: {problem}.",
        "Compare it with tracks.yaml and patterns.yaml of the package.",
    )


def _names_of(entry: _TrackEntry) -> set[str]:
    return {compact_name(name) for name in (entry.slug, entry.name or entry.slug, *entry.aliases)} - {""}


def _require_clear_aliases(document: _Document) -> None:
    slug_of: dict[str, str] = {}
    for entry in document.tracks:
        for alias in _names_of(entry):
            if slug_of.setdefault(alias, entry.slug) != entry.slug:
                raise ValueError(f"the alias {alias!r} is given to both {slug_of[alias]} and {entry.slug}")


def _tracks_in(documents: list[_Document]) -> dict[str, SimulatedTrack]:
    tracks: dict[str, SimulatedTrack] = {}
    slug_of: dict[str, str] = {}
    for entry in (entry for document in documents for entry in document.tracks):
        known = tracks.get(entry.slug) or SimulatedTrack(entry.slug, entry.slug.replace("_", " ").title(), None)
        tracks[entry.slug] = SimulatedTrack(entry.slug, entry.name or known.name, entry.zone or known.zone)
        slug_of |= dict.fromkeys(_names_of(entry), entry.slug)
    return {alias: tracks[slug] for alias, slug in slug_of.items()}

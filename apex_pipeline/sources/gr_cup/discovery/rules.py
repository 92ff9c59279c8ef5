"""Loads the naming rules: tracks with their aliases, and file-name patterns with their kinds.

The rules are data (``tracks.yaml``, ``patterns.yaml`` and the user's own file); this module reads and validates them.
See ``path_hints.py`` for applying them to a path.
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

from apex_pipeline.errors import SettingFileError
from apex_pipeline.sources.gr_cup.kinds import CAR_KINDS, OFFICIAL_KINDS, FileKind
from apex_pipeline.sources.normalize import compact_name, normalize_name
from apex_pipeline.yaml_files import load_yaml

_PLACEHOLDERS = {
    "{track}": r"(?P<track>[^/]+?)",
    "{session}": r"(?P<session>[A-Za-z]+[ _-]?\d*)",
    "{n}": r"(?P<n>\d+)",
}
_SLUG = re.compile(r"(?=.*[a-z])[a-z0-9_]{1,80}")


@dataclass(frozen=True)
class KnownTrack:
    """A track listed in the rules.

    Attributes:
        slug: Key of the track in the lake.
        name: Display name.
        zone: IANA time zone of the track's clocks; ``None`` if not known.
    """

    slug: str
    name: str
    zone: str | None


@dataclass(frozen=True)
class NamingRules:
    """All rules for interpreting names.

    Attributes:
        tracks: Tracks by compact alias; slug and name are aliases too.
        kinds: Kinds with expressions for normalised names, in the order they are tried.
        patterns: Kinds with expressions for complete file names, tried before ``kinds``.
        plain_words: Generic words, which do not name a track.
        season_words: Words that may accompany the year in the name of a season folder.
    """

    tracks: dict[str, KnownTrack]
    kinds: tuple[tuple[FileKind, re.Pattern[str]], ...]
    patterns: tuple[tuple[FileKind, re.Pattern[str]], ...]
    plain_words: frozenset[str]
    season_words: frozenset[str]

    def track_of(self, text: str) -> KnownTrack | None:
        """Return the track with this slug, name or alias, ignoring case and separators."""
        return self.tracks.get(compact_name(text))

    def zone_of(self, track: str) -> str | None:
        """Return the IANA time zone of a track's clocks; ``None`` if the track or its zone is not known."""
        known = self.track_of(track)
        return known.zone if known else None


def _check_slug(slug: str) -> str:
    if not _SLUG.fullmatch(slug):
        raise ValueError(
            f"the slug {slug!r} must be lower-case letters, digits and underscores, with at least one letter"
        )
    return slug


def _check_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"the zone {zone!r} is unknown; use an IANA name such as America/Chicago") from error
    return zone


def _check_kind(kind: FileKind) -> FileKind:
    if kind not in CAR_KINDS | OFFICIAL_KINDS | {FileKind.CHAMPIONSHIP}:
        raise ValueError(f"a name pattern cannot assign the kind {kind}")
    return kind


def _compile_pattern(name: object) -> re.Pattern[str]:
    """Compile a file name with placeholders to an expression that matches the end of a path."""
    if not isinstance(name, str):
        raise ValueError(f"the name {name!r} must be a string")  # noqa: TRY004  -- pydantic passes a TypeError through
    parts = re.split(r"(\{[^}]*\})", name)
    placeholders = [part.lower() for part in parts[1::2]]
    if not placeholders or len(set(placeholders)) < len(placeholders) or not set(placeholders) <= set(_PLACEHOLDERS):
        raise ValueError(
            f"the name {name!r} must contain at least one of {', '.join(_PLACEHOLDERS)}, each at most once"
        )
    expression = "".join(_PLACEHOLDERS.get(part.lower()) or re.escape(part) for part in parts)
    return re.compile(rf"(?:.*/)?{expression}", re.IGNORECASE)


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
    """Return the built-in rules plus the user's own, which take precedence.

    Args:
        extra: The user's YAML file. An entry for a known track adds aliases to it, or changes its name or zone.

    Raises:
        SettingFileError: The file is missing or has an invalid entry, which the message names.
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
        content = load_yaml(path)
    except (OSError, yaml.YAMLError) as error:
        raise SettingFileError(
            f"The tracks file {path} cannot be read: {error}.", "Fix the file or the path in APEX_TRACKS_FILE."
        ) from error
    if not isinstance(content, dict):
        raise SettingFileError(
            f"The tracks file {path} has no entries.", "Add `tracks:` or `patterns:`, as in tracks.yaml."
        )
    try:
        document = _Document.model_validate(content)
        _require_unambiguous_aliases(document)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        raise _invalid(path, f"{location}: {first['msg'].removeprefix('Value error, ')}") from error
    except ValueError as error:
        raise _invalid(path, str(error)) from error
    return document


def _invalid(path: Path, problem: str) -> SettingFileError:
    return SettingFileError(
        f"The tracks file {path} has an invalid entry: {problem}.",
        "Compare it with tracks.yaml and patterns.yaml in the package.",
    )


def _names_of(entry: _TrackEntry) -> set[str]:
    return {compact_name(name) for name in (entry.slug, entry.name or entry.slug, *entry.aliases)} - {""}


def _require_unambiguous_aliases(document: _Document) -> None:
    slug_of: dict[str, str] = {}
    for entry in document.tracks:
        for alias in _names_of(entry):
            if slug_of.setdefault(alias, entry.slug) != entry.slug:
                raise ValueError(f"the alias {alias!r} is used for both {slug_of[alias]} and {entry.slug}")


def _tracks_in(documents: list[_Document]) -> dict[str, KnownTrack]:
    tracks: dict[str, KnownTrack] = {}
    slug_of: dict[str, str] = {}
    for entry in (entry for document in documents for entry in document.tracks):
        known = tracks.get(entry.slug) or KnownTrack(entry.slug, entry.slug.replace("_", " ").title(), None)
        tracks[entry.slug] = KnownTrack(entry.slug, entry.name or known.name, entry.zone or known.zone)
        slug_of |= dict.fromkeys(_names_of(entry), entry.slug)
    return {alias: tracks[slug] for alias, slug in slug_of.items()}

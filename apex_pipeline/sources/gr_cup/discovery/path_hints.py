"""What a path says about a file: kind, track, session, season. Nothing is read here.

The file's name speaks first, its folders second, from the inside out. Each may be silent, and each may be wrong:
``identify.py`` weighs these claims against the content and against the other files of the tree.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from apex_pipeline.sources.gr_cup.discovery.rules import NamingRules
from apex_pipeline.sources.gr_cup.kinds import CAR_KINDS, FileKind
from apex_pipeline.sources.normalize import compact_name, names_match, normalize_name
from apex_pipeline.sources.session_names import find_session, session_name

# Extensions of what lies beside race files and is none.
_NOT_DATA = {
    "archive; unpack it beside": {".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst"},
    "picture or film": {".jpg", ".jpeg", ".png", ".gif", ".heic", ".webp", ".mp4", ".mov", ".avi", ".mkv", ".svg"},
    "document": {".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".md", ".txt", ".html", ".rtf", ".ods"},
    "program or settings": {".py", ".ipynb", ".json", ".yaml", ".yml", ".toml", ".ini", ".exe", ".sh"},
}
_LEFT_BY_SYSTEM = {"thumbs.db", "desktop.ini", "__macosx"}
_CSV_ENDING = re.compile(r"\.csv(\.gz|\.zst)?$", re.IGNORECASE)
_YEAR = re.compile(r"(?:19|20)\d\d")
_IN_THE_NAME = "the name"


@dataclass(frozen=True)
class SessionHint:
    """A session as one part of the path says it; ``is_loose`` where the part says more than that (``Race 1b``)."""

    session: str
    found_in: str
    is_loose: bool = False

    @property
    def is_vague(self) -> bool:
        """A folder called ``race`` may hold everything there is of a weekend."""
        return self.session == "race" and self.found_in != _IN_THE_NAME


@dataclass(frozen=True)
class TrackHint:
    """A track as one part of the path says it.

    Attributes:
        slug: Its slug.
        name: As people write it.
        said_by: The part, for sentences.
        is_known: The rules list it.
        is_loose: The part says more than the track (``barber2``).
    """

    slug: str
    name: str
    found_in: str
    is_known: bool
    is_loose: bool = False


@dataclass(frozen=True)
class FolderHints:
    """What one folder says; ``year`` may be a season, beside a track (``2026-barber``) or alone (``GR Cup 2026``)."""

    path: str
    session: SessionHint | None
    track: TrackHint | None
    year: str | None


@dataclass(frozen=True)
class PathHints:
    """Everything a path says.

    Attributes:
        kind: Kind of file, ``UNKNOWN`` if the name says none.
        kind_said_by: The expression that decided.
        version: official or provisional, for classifications.
        sessions: Sessions said, the name's first, then the folders' from the inside out.
        named_track: Track said by the name.
        own_word: What the name of a file in a track's folder says besides kind, usual session and track: a session of
            the user's own (``sprint_sebring_lap_start.csv``).
        folders: What the folders say, from the inside out.
    """

    kind: FileKind
    kind_found_in: str
    version: str | None
    sessions: tuple[SessionHint, ...]
    named_track: TrackHint | None
    own_word: str | None
    folders: tuple[FolderHints, ...]

    @property
    def home(self) -> FolderHints | None:
        """The innermost folder that may name the track."""
        return next((folder for folder in self.folders if folder.track), None)

    @property
    def tracks(self) -> tuple[TrackHint, ...]:
        """Tracks said, the name's first, then the folders' from the inside out."""
        claims = (self.named_track, *(folder.track for folder in self.folders))
        return tuple(claim for claim in claims if claim)

    @property
    def season(self) -> str | None:
        """Year of the innermost folder that names a season: ``2026-hackathon/barber`` is none, ``2026-barber`` is."""
        has_known = any(claim.is_known for claim in self.tracks)
        for folder in self.folders:
            is_elsewhere = folder.track and not folder.track.is_known and (has_known or folder is not self.home)
            if folder.year and not is_elsewhere:
                return folder.year
        return None


def ignore_reason(path: str) -> str | None:
    """Return why a file is no race data, by its path alone, or ``None`` if it may be."""
    parts = [part.lower() for part in PurePosixPath(path).parts]
    if _LEFT_BY_SYSTEM & set(parts) or any(part.startswith(".") for part in parts):
        return "hidden, or left by the operating system"
    if _CSV_ENDING.search(parts[-1]):
        return None
    suffix = PurePosixPath(parts[-1]).suffix
    for reason, suffixes in _NOT_DATA.items():
        if suffix in suffixes:
            return reason
    return f"not a CSV file ({suffix or 'no extension'})"


def parse_path(path: str, rules: NamingRules) -> PathHints:
    """Return what a path says, by the rules."""
    parts = PurePosixPath(path).parts
    stem = normalize_name(_CSV_ENDING.sub("", parts[-1]))
    kind, said_by, groups = _kind_of(path, stem, rules)
    sessions, words = _sessions_in_name(_without_kind(stem, kind, rules), groups)
    folders = tuple(_folder_hints(parts[:end], rules) for end in range(len(parts) - 1, 0, -1))
    return PathHints(
        kind=kind,
        kind_found_in=said_by,
        version=_version(stem, kind),
        sessions=(*sessions, *(folder.session for folder in folders if folder.session)),
        named_track=_track_in_name(
            normalize_name(groups.get("track") or words), kind, rules, is_told="track" in groups
        ),
        own_word=_own_word(words, folders, rules),
        folders=folders,
    )


def _kind_of(path: str, stem: str, rules: NamingRules) -> tuple[FileKind, str, dict[str, str]]:
    """Return the kind a name says, the expression that decided, and the parts a pattern told apart."""
    for kind, pattern in rules.patterns:
        match = pattern.fullmatch(path)
        if match:
            return kind, pattern.pattern, match.groupdict()
    for kind, expression in rules.kinds:
        if expression.search(stem):
            return kind, expression.pattern, {}
    return FileKind.UNKNOWN, "no expression", {}


def _without_kind(stem: str, kind: FileKind, rules: NamingRules) -> str:
    """Take the words that say the kind out of a name; what is left speaks of track and session."""
    for found, expression in rules.kinds:
        if found is kind:
            stem = expression.sub("_", stem)
    return normalize_name(stem)


def _sessions_in_name(text: str, groups: dict[str, str]) -> tuple[list[SessionHint], str]:
    """Return the sessions a name says, and what it says besides."""
    if groups:
        told = [_session_of(groups["session"])] if groups.get("session") else []
        told += [session_name("r", groups["n"])] if groups.get("n") else []
        return [SessionHint(session, _IN_THE_NAME) for session in told], ""
    found = find_session(text)
    return ([SessionHint(found.session, _IN_THE_NAME, found.is_loose)], found.rest) if found else ([], text)


def _session_of(text: str) -> str:
    """Return the canonical name of a session that a pattern told apart, whatever word it is."""
    found = find_session(normalize_name(text))
    return found.session if found else normalize_name(text)


def _track_in_name(text: str, kind: FileKind, rules: NamingRules, *, is_told: bool) -> TrackHint | None:
    """Read the track out of a name; official files name at most a track that the rules know."""
    said_by = f"{_IN_THE_NAME} ({text})"
    known = _known_track(text, said_by, rules)
    if known or not (is_told or kind in CAR_KINDS) or _is_plain(text, rules) or not re.search("[a-z]{2}", text):
        return known
    return _unknown_track(text, said_by)


def _own_word(text: str, folders: tuple[FolderHints, ...], rules: NamingRules) -> str | None:
    """Return the words before the track in a name, or all of them where none is a track."""
    tracks = [folder.track for folder in folders if folder.track]
    if not tracks or _is_plain(text, rules):
        return None
    words = text.split("_")
    for start in range(len(words)):
        if _is_one_of(tracks, "".join(words[start:]), rules):
            return "_".join(words[:start]) or None
    return None if any(names_match(text, track.slug) for track in tracks) else text


def _is_one_of(tracks: list[TrackHint], name: str, rules: NamingRules) -> bool:
    """Tell whether a squeezed name is exactly one of the tracks."""
    known = rules.track_of(name)
    return any(name in {compact_name(t.slug), compact_name(t.name)} or (known and known.slug == t.slug) for t in tracks)


def _folder_hints(parts: tuple[str, ...], rules: NamingRules) -> FolderHints:
    folder, path = parts[-1], "/".join(parts)
    said_by = f"the folder {folder!r}"
    found = find_session(normalize_name(folder))
    # Words such as "race" are part of many a name; alone they are a session, with a number anywhere.
    session, rest = None, normalize_name(folder)
    if found and (not found.rest or re.fullmatch(r"R\d+", found.session)):
        session = SessionHint(found.session, said_by, found.is_loose or not _is_track(found.rest, rules))
        rest = found.rest
    year, rest = _without_year(rest)
    track = _known_track(rest, said_by, rules)
    if not track and not _is_plain(rest, rules) and re.search("[a-z]", rest) and not session:
        track = _unknown_track(folder if rest == normalize_name(folder) else rest, said_by)
    if not track and not set(rest.split("_")) <= rules.season_words | {""}:
        year = None  # "data 2025" is when somebody downloaded it, "GR Cup 2025" is a season
    return FolderHints(path, session, track, year)


def _is_track(text: str, rules: NamingRules) -> bool:
    """Tell whether the rest of a session's folder is nothing, or a track (``Barber Race 1``)."""
    return not text or _known_track(text, "", rules) is not None


def _without_year(text: str) -> tuple[str | None, str]:
    """Return the one year in a folder's name, and the rest; in a date it is no season."""
    numbers = [word for word in text.split("_") if word.isdigit()]
    if len(numbers) != 1 or not _YEAR.fullmatch(numbers[0]):
        return None, text
    return numbers[0], "_".join(word for word in text.split("_") if word != numbers[0])


def _is_plain(text: str, rules: NamingRules) -> bool:
    return all(word.isdigit() or word in rules.plain_words for word in text.split("_") if word)


def _known_track(text: str, said_by: str, rules: NamingRules) -> TrackHint | None:
    """Find a known track in plain text whose other words say nothing: ``cota_data``, but not ``west_vir``."""
    for words, is_numbered in (
        (text.split("_"), False),
        ([word.rstrip("0123456789") for word in text.split("_")], True),
    ):
        for start, end in _spans(len(words)):
            track = rules.tracks.get("".join(words[start:end]))
            rest = "_".join(words[:start] + words[end:])
            if track and _is_plain(rest, rules):
                is_loose = is_numbered or bool(re.search(r"\d", rest))
                return TrackHint(track.slug, track.name, said_by, is_known=True, is_loose=is_loose)
    return None


def _spans(length: int) -> list[tuple[int, int]]:
    """Return start and end of every run of words, the longest first."""
    spans = [(start, end) for start in range(length) for end in range(start + 1, length + 1)]
    return sorted(spans, key=lambda span: (span[0] - span[1], span[0]))


def _unknown_track(text: str, said_by: str) -> TrackHint:
    name = text if re.search("[A-Z ]", text) else re.sub("[_-]+", " ", text).strip().title()
    return TrackHint(normalize_name(text)[:80].strip("_"), name, said_by, is_known=False)


def _version(stem: str, kind: FileKind) -> str | None:
    """Return which version of a classification a name says (``Provisionals`` and ``Official1`` occur)."""
    if kind not in {FileKind.RESULTS, FileKind.RESULTS_BY_CLASS}:
        return None
    if re.search(r"(^|_)(provisionals?|unofficial)(_|\d|$)", stem):
        return "provisional"
    return "official" if re.search(r"(^|_)official(_|\d|$)", stem) else None


@dataclass
class SiblingTracks:
    """The tracks that file names in and below one folder say, by slug."""

    tracks: dict[str, TrackHint] = field(default_factory=dict[str, TrackHint])

    @property
    def single_track(self) -> TrackHint | None:
        """The track, where all names say the same one."""
        return next(iter(self.tracks.values())) if len(self.tracks) == 1 else None

    def confirm(self, folder: TrackHint) -> bool:
        """Tell whether a name in the folder says its track."""
        return any(names_match(claim.slug, folder.slug) for claim in self.tracks.values())

    @property
    def names_other_tracks(self) -> bool:
        """Several tracks, or a listed one: a folder around them that no name confirms is no track."""
        return len(self.tracks) > 1 or any(claim.is_known for claim in self.tracks.values())


class FolderSiblings:
    """What file names say, by folder.

    Args:
        claims: What the path of every file of the tree says.
    """

    def __init__(self, claims: Iterable[PathHints]) -> None:
        self._by_path: defaultdict[str, SiblingTracks] = defaultdict(SiblingTracks)
        for claim in claims:
            if claim.named_track:
                for path in [folder.path for folder in claim.folders if folder.track] or [""]:
                    self._by_path[path].tracks.setdefault(claim.named_track.slug, claim.named_track)

    def siblings_of(self, claims: PathHints) -> SiblingTracks:
        """Return what names say in and below the file's own track folder, or in no such folder where it has none."""
        return self._by_path[claims.home.path if claims.home else ""]

    def track_folder(self, claims: PathHints) -> TrackHint | None:
        """Choose the folder that names an unlisted track: one that a file name confirms, else the innermost."""
        folders = [(folder.track, self._by_path[folder.path]) for folder in claims.folders if folder.track]
        confirmed = (track for track, neighbours in folders if neighbours.confirm(track))
        innermost = (track for track, neighbours in folders[:1] if not neighbours.names_other_tracks)
        return next(confirmed, None) or next(innermost, None)

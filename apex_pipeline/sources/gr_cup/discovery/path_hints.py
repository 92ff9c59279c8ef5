"""Extracts hints about a file from its path: kind, track, session and season. No file is read here.

The file name takes precedence over the folders, and inner folders over outer ones. Each of them may give no hint or a
wrong one: ``identify.py`` checks the hints against the content and the other files of the tree.
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

# Extensions of files that are often found next to race files but are not race data.
_NOT_DATA = {
    "archive; unpack it next to": {".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst"},
    "picture or film": {".jpg", ".jpeg", ".png", ".gif", ".heic", ".webp", ".mp4", ".mov", ".avi", ".mkv", ".svg"},
    "document": {".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".md", ".txt", ".html", ".rtf", ".ods"},
    "program or settings": {".py", ".ipynb", ".json", ".yaml", ".yml", ".toml", ".ini", ".exe", ".sh"},
}
_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}
# Windows hides .txt behind .csv, and spreadsheets write tabs as .tsv.
_CSV_ENDING = re.compile(r"\.(csv|tsv)(\.txt)?(\.gz|\.zst)?$", re.IGNORECASE)
# Files that may hold a table, which only people can export as CSV.
_TABLE_ENDINGS = re.compile(r"\.(txt|tab|dat|xlsx?|xlsm|ods|numbers|parquet|jsonl?)$", re.IGNORECASE)
_YEAR = re.compile(r"(?:19|20)\d\d")
_IN_THE_NAME = "the name"


@dataclass(frozen=True)
class SessionHint:
    """A session named by one part of the path; ``is_loose`` if that part has extra text (``Race 1b``)."""

    session: str
    found_in: str
    is_loose: bool = False

    @property
    def is_vague(self) -> bool:
        """Whether the hint is from a folder called ``race``, which may hold all sessions of a weekend."""
        return self.session == "race" and self.found_in != _IN_THE_NAME


@dataclass(frozen=True)
class TrackHint:
    """A track named by one part of the path.

    Attributes:
        slug: Slug of the track.
        name: Display name.
        found_in: Description of the part, for messages.
        is_known: Whether the rules list the track.
        is_loose: Whether the part has extra text (``barber2``).
    """

    slug: str
    name: str
    found_in: str
    is_known: bool
    is_loose: bool = False


@dataclass(frozen=True)
class FolderHints:
    """Hints from one folder; ``year`` may be a season, with a track (``2026-barber``) or alone (``GR Cup 2026``)."""

    path: str
    session: SessionHint | None
    track: TrackHint | None
    year: str | None


@dataclass(frozen=True)
class PathHints:
    """All hints from one path.

    Attributes:
        kind: Kind of file; ``UNKNOWN`` if the name does not give one.
        kind_found_in: The expression that matched.
        version: ``official`` or ``provisional``, for classifications.
        sessions: Sessions, the file name's first, then those of the folders, innermost first.
        named_track: Track in the file name.
        custom_session: A session name chosen by the user: the words of a file name in a track folder that are not a
            kind, a usual session or a track (``sprint_sebring_lap_start.csv``).
        folders: Hints from the folders, innermost first.
    """

    kind: FileKind
    kind_found_in: str
    version: str | None
    sessions: tuple[SessionHint, ...]
    named_track: TrackHint | None
    custom_session: str | None
    folders: tuple[FolderHints, ...]

    @property
    def home(self) -> FolderHints | None:
        """The innermost folder that may name the track."""
        return next((folder for folder in self.folders if folder.track), None)

    @property
    def tracks(self) -> tuple[TrackHint, ...]:
        """Tracks in the path, the file name's first, then those of the folders, innermost first."""
        hints = (self.named_track, *(folder.track for folder in self.folders))
        return tuple(hint for hint in hints if hint)

    @property
    def season(self) -> str | None:
        """Year of the innermost folder that names a season: ``2026-barber``, but not ``2026-hackathon/barber``."""
        has_known = any(hint.is_known for hint in self.tracks)
        for folder in self.folders:
            is_other_folder = folder.track and not folder.track.is_known and (has_known or folder is not self.home)
            if folder.year and not is_other_folder:
                return folder.year
        return None


def ignore_reason(path: str) -> str | None:
    """Return why the path rules a file out as race data, or ``None`` if it does not."""
    parts = [part.lower() for part in PurePosixPath(path).parts]
    if _SYSTEM_FILES & set(parts) or any(part.startswith(".") for part in parts):
        return "hidden, or left by the operating system"
    if _CSV_ENDING.search(parts[-1]):
        return None
    suffix = PurePosixPath(parts[-1]).suffix
    for reason, suffixes in _NOT_DATA.items():
        if suffix in suffixes:
            return reason
    return f"not a CSV file ({suffix or 'no extension'})"


def is_named_like_race_file(path: str, rules: NamingRules) -> bool:
    """Return whether a file that is not CSV may hold the table of a race file: ``R1_barber_lap_start.xlsx``."""
    name = PurePosixPath(path).name
    if ignore_reason(path) is None or name.startswith(".") or not _TABLE_ENDINGS.search(name):
        return False
    hints = parse_path(_TABLE_ENDINGS.sub(".csv", path), rules)
    return hints.kind is not FileKind.UNKNOWN and bool(hints.sessions)


def parse_path(path: str, rules: NamingRules) -> PathHints:
    """Return the hints that the rules find in a path."""
    parts = PurePosixPath(path).parts
    stem = normalize_name(_CSV_ENDING.sub("", parts[-1]))
    kind, found_in, groups = _kind_of(path, stem, rules)
    sessions, words = _sessions_in_name(_without_kind(stem, kind, rules), groups)
    folders = tuple(_folder_hints(parts[:end], rules) for end in range(len(parts) - 1, 0, -1))
    return PathHints(
        kind=kind,
        kind_found_in=found_in,
        version=_version(stem, kind),
        sessions=(*sessions, *(folder.session for folder in folders if folder.session)),
        named_track=_track_in_name(
            normalize_name(groups.get("track") or words), kind, rules, is_from_pattern="track" in groups
        ),
        custom_session=_custom_session(words, folders, rules),
        folders=folders,
    )


def _kind_of(path: str, stem: str, rules: NamingRules) -> tuple[FileKind, str, dict[str, str]]:
    """Return the kind of a file by its name, the expression that matched, and its named groups."""
    for kind, pattern in rules.patterns:
        match = pattern.fullmatch(path)
        if match:
            return kind, pattern.pattern, match.groupdict()
    for kind, expression in rules.kinds:
        if expression.search(stem):
            return kind, expression.pattern, {}
    return FileKind.UNKNOWN, "no expression", {}


def _without_kind(stem: str, kind: FileKind, rules: NamingRules) -> str:
    """Return the name with the words for the kind removed, leaving track and session."""
    for found, expression in rules.kinds:
        if found is kind:
            stem = expression.sub("_", stem)
    return normalize_name(stem)


def _sessions_in_name(text: str, groups: dict[str, str]) -> tuple[list[SessionHint], str]:
    """Return the sessions in a name, and its remaining words."""
    if groups:
        names = [_session_of(groups["session"])] if groups.get("session") else []
        names += [session_name("r", groups["n"])] if groups.get("n") else []
        return [SessionHint(session, _IN_THE_NAME) for session in names], ""
    found = find_session(text)
    return ([SessionHint(found.session, _IN_THE_NAME, found.is_loose)], found.rest) if found else ([], text)


def _session_of(text: str) -> str:
    """Return the canonical name of a session matched by a pattern, even if the word is unusual."""
    found = find_session(normalize_name(text))
    return found.session if found else normalize_name(text)


def _track_in_name(text: str, kind: FileKind, rules: NamingRules, *, is_from_pattern: bool) -> TrackHint | None:
    """Find the track in a name; in names of official files, only tracks that the rules list."""
    found_in = f"{_IN_THE_NAME} ({text})"
    known = _known_track(text, found_in, rules)
    if known or not (is_from_pattern or kind in CAR_KINDS) or _is_plain(text, rules) or not re.search("[a-z]{2}", text):
        return known
    return _unknown_track(text, found_in)


def _custom_session(text: str, folders: tuple[FolderHints, ...], rules: NamingRules) -> str | None:
    """Return the words before the track in a name, or all words if none is a track."""
    tracks = [folder.track for folder in folders if folder.track]
    if not tracks or _is_plain(text, rules):
        return None
    words = text.split("_")
    for start in range(len(words)):
        if _is_one_of(tracks, "".join(words[start:]), rules):
            return "_".join(words[:start]) or None
    return None if any(names_match(text, track.slug) for track in tracks) else text


def _is_one_of(tracks: list[TrackHint], name: str, rules: NamingRules) -> bool:
    """Return whether a compact name is exactly one of the tracks."""
    known = rules.track_of(name)
    return any(name in {compact_name(t.slug), compact_name(t.name)} or (known and known.slug == t.slug) for t in tracks)


def _folder_hints(parts: tuple[str, ...], rules: NamingRules) -> FolderHints:
    folder, path = parts[-1], "/".join(parts)
    found_in = f"the folder {folder!r}"
    found = find_session(normalize_name(folder))
    # Words such as "race" occur in many names: they mean a session only if they are alone or have a number.
    session, rest = None, normalize_name(folder)
    if found and (not found.rest or re.fullmatch(r"R\d+", found.session)):
        session = SessionHint(found.session, found_in, found.is_loose or not _is_track(found.rest, rules))
        rest = found.rest
    year, rest = _without_year(rest)
    track = _known_track(rest, found_in, rules)
    if not track and not _is_plain(rest, rules) and re.search("[a-z]", rest) and not session:
        track = _unknown_track(folder if rest == normalize_name(folder) else rest, found_in)
    if not track and not set(rest.split("_")) <= rules.season_words | {""}:
        year = None  # "data 2025" is the year of the download, "GR Cup 2025" is a season
    return FolderHints(path, session, track, year)


def _is_track(text: str, rules: NamingRules) -> bool:
    """Return whether the rest of a session folder's name is empty or a track (``Barber Race 1``)."""
    return not text or _known_track(text, "", rules) is not None


def _without_year(text: str) -> tuple[str | None, str]:
    """Return the only year in a folder name, and the rest; the year of a full date is ignored."""
    numbers = [word for word in text.split("_") if word.isdigit()]
    if len(numbers) != 1 or not _YEAR.fullmatch(numbers[0]):
        return None, text
    return numbers[0], "_".join(word for word in text.split("_") if word != numbers[0])


def _is_plain(text: str, rules: NamingRules) -> bool:
    return all(word.isdigit() or word in rules.plain_words for word in text.split("_") if word)


def _known_track(text: str, found_in: str, rules: NamingRules) -> TrackHint | None:
    """Find a known track in a normalised name whose other words are generic: ``cota_data``, but not ``west_vir``."""
    for words, is_numbered in (
        (text.split("_"), False),
        ([word.rstrip("0123456789") for word in text.split("_")], True),
    ):
        for start, end in _spans(len(words)):
            track = rules.tracks.get("".join(words[start:end]))
            rest = "_".join(words[:start] + words[end:])
            if track and _is_plain(rest, rules):
                is_loose = is_numbered or bool(re.search(r"\d", rest))
                return TrackHint(track.slug, track.name, found_in, is_known=True, is_loose=is_loose)
    return None


def _spans(length: int) -> list[tuple[int, int]]:
    """Return the start and end of every run of consecutive words, longest first."""
    spans = [(start, end) for start in range(length) for end in range(start + 1, length + 1)]
    return sorted(spans, key=lambda span: (span[0] - span[1], span[0]))


def _unknown_track(text: str, found_in: str) -> TrackHint:
    name = text if re.search("[A-Z ]", text) else re.sub("[_-]+", " ", text).strip().title()
    return TrackHint(normalize_name(text)[:80].strip("_"), name, found_in, is_known=False)


def _version(stem: str, kind: FileKind) -> str | None:
    """Return the version of a classification from its name (``Provisionals`` and ``Official1`` occur)."""
    if kind not in {FileKind.RESULTS, FileKind.RESULTS_BY_CLASS}:
        return None
    if re.search(r"(^|_)(provisionals?|unofficial)(_|\d|$)", stem):
        return "provisional"
    return "official" if re.search(r"(^|_)official(_|\d|$)", stem) else None


@dataclass
class SiblingTracks:
    """Tracks named by the files in and below one folder, by slug."""

    tracks: dict[str, TrackHint] = field(default_factory=dict[str, TrackHint])

    @property
    def single_track(self) -> TrackHint | None:
        """The track, if all file names agree on one."""
        return next(iter(self.tracks.values())) if len(self.tracks) == 1 else None

    def confirm(self, folder: TrackHint) -> bool:
        """Return whether a file name in the folder matches the folder's track."""
        return any(names_match(hint.slug, folder.slug) for hint in self.tracks.values())

    @property
    def names_other_tracks(self) -> bool:
        """Whether the names have several tracks or a listed one; then an unconfirmed parent folder is not a track."""
        return len(self.tracks) > 1 or any(hint.is_known for hint in self.tracks.values())


class FolderSiblings:
    """Tracks in file names, by folder.

    Args:
        hints: Path hints of every file of the tree.
    """

    def __init__(self, hints: Iterable[PathHints]) -> None:
        self._by_path: defaultdict[str, SiblingTracks] = defaultdict(SiblingTracks)
        for file_hints in hints:
            if file_hints.named_track:
                for path in [folder.path for folder in file_hints.folders if folder.track] or [""]:
                    self._by_path[path].tracks.setdefault(file_hints.named_track.slug, file_hints.named_track)

    def siblings_of(self, hints: PathHints) -> SiblingTracks:
        """Return the tracks named by files in the same track folder, or by files outside any if there is none."""
        return self._by_path[hints.home.path if hints.home else ""]

    def track_folder(self, hints: PathHints) -> TrackHint | None:
        """Return the unlisted track named by a folder: one that a file name confirms, else the innermost."""
        folders = [(folder.track, self._by_path[folder.path]) for folder in hints.folders if folder.track]
        confirmed = (track for track, siblings in folders if siblings.confirm(track))
        innermost = (track for track, siblings in folders[:1] if not siblings.names_other_tracks)
        return next(confirmed, None) or next(innermost, None)

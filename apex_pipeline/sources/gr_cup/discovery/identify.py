"""Identifies files: the track, session and kind of each one.

The file name takes precedence over the folders; both are checked against the content, which also fills in missing
parts. Each file of a tree gets exactly one identity, with the rule that identified it, the evidence and a confidence. A
file whose name, folders and content contradict each other is quarantined; a file that cannot be assigned is unresolved;
nothing is guessed. See ``path_hints.py`` for paths and sibling files, ``sniff.py`` for content, ``cross_checks.py`` for
comparing files with each other, and ``rules.py`` for the rules, which are data.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile
from apex_pipeline.sources.gr_cup.discovery.cross_checks import cross_check
from apex_pipeline.sources.gr_cup.discovery.derived_files import DERIVED_REASON, is_derived
from apex_pipeline.sources.gr_cup.discovery.path_hints import (
    FolderSiblings,
    PathHints,
    SessionHint,
    TrackHint,
    ignore_reason,
    is_named_like_race_file,
    parse_path,
)
from apex_pipeline.sources.gr_cup.discovery.rules import NamingRules
from apex_pipeline.sources.gr_cup.discovery.sniff import SNIFFED_BYTES, FileContents, missing_columns, sniff
from apex_pipeline.sources.gr_cup.kinds import CAR_KINDS, SOURCE_NAME, FileKind
from apex_pipeline.sources.normalize import normalize_name
from apex_pipeline.sources.session_names import are_numbered_apart, find_session, number_of, session_type
from apex_pipeline.tables.session_key import session_key

# Confidence of an identity, by the evidence for it. If several apply, the lowest counts.
_CERTAIN = 1.0
_NOT_CONFIRMED = 0.9  # the content names no session to compare with
_FOLDER_TRACK = 0.8  # an unknown track, named by its folder
_MIXED_CONTENT = 0.8  # some rows name another session
_NAMED_TRACK = 0.7  # an unknown track named only by the file, or a track named only by sibling files
_LOOSE = 0.6  # a folder such as "Race 1b" or "barber2"
_CONTENT_ONLY = 0.6  # the path names no session or kind
_CUSTOM_SESSION = 0.6  # sprint_sebring_lap_start.csv
_NO_ROWS = 0.5  # a header without data rows

# Number of files read in parallel: in a bucket each read is a request, and mostly waits.
_PARALLEL_READS = 8


@dataclass
class _IdentityBuilder:
    """Builds an identity by evaluating hints, which add evidence and may lower the confidence."""

    file: FoundFile
    kind: FileKind
    rule: str
    season: str | None = None
    version: str | None = None
    track: TrackHint | None = None
    session: str | None = None
    event_code: str | None = None
    observation: str = ""
    evidence: list[str] = field(default_factory=list[str])
    confidence: float = _CERTAIN

    def add_evidence(self, sentence: str, confidence: float = _CERTAIN) -> None:
        self.evidence.append(sentence)
        self.confidence = min(self.confidence, confidence)

    @property
    def full_session(self) -> str | None:
        return f"{self.season}_{self.session}" if self.session and self.season else self.session

    def build(self, status: FileStatus, reason: str | None = None) -> FileIdentity:
        return FileIdentity(
            path=self.file.path,
            size=self.file.size,
            kind=self.kind,
            track=self.track.slug if self.track else None,
            track_name=self.track.name if self.track else None,
            session=self.full_session,
            season=self.season,
            event_code=self.event_code,
            version=self.version,
            rule=self.rule,
            evidence=tuple(self.evidence),
            confidence=self.confidence,
            status=status,
            reason=reason,
            source="" if self.kind in {FileKind.IGNORED, FileKind.UNKNOWN} else SOURCE_NAME,
            observation=self.observation,
        )


def identify_tree(files: Iterable[FoundFile], rules: NamingRules) -> list[FileIdentity]:
    """Return one identity per file, sorted by path.

    Args:
        files: All files of a source folder or a lake.
        rules: Rules for interpreting names.
    """
    found = {file.path: file for file in sorted(files, key=lambda file: file.path)}
    hints = {path: parse_path(path, rules) for path in found if not ignore_reason(path)}
    siblings = FolderSiblings(hints.values())

    def identify(file: FoundFile) -> FileIdentity:
        if file.path in hints:
            return _identify(file, hints[file.path], siblings)
        return _not_exported(file) if is_named_like_race_file(file.path, rules) else _ignored(file)

    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        identities = list(pool.map(identify, found.values()))
    return cross_check(identities, found)


def _ignored(file: FoundFile) -> FileIdentity:
    reason = ignore_reason(file.path)
    builder = _IdentityBuilder(file, FileKind.IGNORED, "not race data")
    builder.add_evidence(f"The path says: {reason}.")
    return builder.build(FileStatus.IGNORED, f"{reason}; not race data")


def _not_exported(file: FoundFile) -> FileIdentity:
    reason = f"{ignore_reason(file.path)}, named like a race file; export it as CSV"
    builder = _IdentityBuilder(file, FileKind.UNKNOWN, "not CSV")
    builder.add_evidence("Its name is that of a race file, its extension is not.")
    return builder.build(FileStatus.UNRESOLVED, reason)


def _identify(file: FoundFile, hints: PathHints, siblings: FolderSiblings) -> FileIdentity:
    """Identify one file by its path, content and siblings."""
    builder = _IdentityBuilder(file, hints.kind, f"name matches {hints.kind_found_in}", hints.season, hints.version)
    contents = _contents_of(file)
    builder.observation = contents.to_json()
    builder.event_code = contents.events.most_common(1)[0][0] if contents.events else None
    _resolve_kind(builder, contents)
    _resolve_track(builder, hints, siblings)
    _resolve_session(builder, hints, contents)
    if contents.problem:
        builder.add_evidence(contents.problem, 0.0)
        is_race_file = builder.kind is not FileKind.UNKNOWN or not contents.is_text
        return builder.build(FileStatus.QUARANTINED if is_race_file else FileStatus.UNRESOLVED, contents.problem)
    contradiction = (
        _track_contradiction(hints)
        or _session_contradiction(hints.sessions)
        or _content_contradiction(builder, contents)
    )
    return _finish(builder, contents, contradiction)


def _contents_of(file: FoundFile) -> FileContents:
    """Return what the first bytes of a file say, as noted when it was last identified or by reading them."""
    noted = FileContents.from_json(file.observation) if file.observation else None
    return noted or sniff(file.read_head(SNIFFED_BYTES), file.path)


def scope_of(folder: str, rules: NamingRules) -> str:
    """Return the outermost folder of a path that names a track; empty if none does."""
    folders = [hints.path for hints in parse_path(f"{folder}/file.csv", rules).folders if hints.track]
    return min(folders, key=len, default="")


def _finish(builder: _IdentityBuilder, contents: FileContents, contradiction: str | None) -> FileIdentity:
    """Determine the status of a readable file."""
    if builder.kind is FileKind.UNKNOWN:
        return builder.build(FileStatus.UNRESOLVED, _unknown_kind_reason(contents))
    if builder.kind is FileKind.CHAMPIONSHIP:
        builder.session = None  # season standings do not belong to a session
        return builder.build(FileStatus.READY)
    contradiction = _header_contradiction(builder, contents) or contradiction
    if is_derived(builder.file.path, contents, builder.kind):
        builder.kind, builder.track, builder.session = FileKind.UNKNOWN, None, None
        return builder.build(FileStatus.UNRESOLVED, DERIVED_REASON)
    if contradiction:
        return builder.build(FileStatus.QUARANTINED, contradiction)
    missing = _unassigned_reason(builder)
    if missing:
        return builder.build(FileStatus.UNRESOLVED, missing)
    if contents.rows == 0:
        builder.add_evidence("It has a header and no data rows.", _NO_ROWS)
    return builder.build(FileStatus.READY)


def _unassigned_reason(builder: _IdentityBuilder) -> str | None:
    """Return why a file cannot be assigned to a session; ``None`` if it can."""
    if builder.track is None or builder.session is None:
        missing = [name for name, value in (("track", builder.track), ("session", builder.session)) if value is None]
        return f"its name, its folders and its content do not say its {' or its '.join(missing)}"
    try:
        session_key(builder.track.slug, str(builder.full_session))
    except ConfigurationError as error:
        return error.problem
    return None


# -- kind --------------------------------------------------------------------------------------------------------------


def _resolve_kind(builder: _IdentityBuilder, contents: FileContents) -> None:
    """Check the kind from the name against the header, or take it from the header if the name has none."""
    shown = _columns_of(contents)
    if builder.kind in contents.kinds:
        builder.add_evidence(f"The name says {builder.kind}, and the header fits.")
    elif builder.kind is FileKind.UNKNOWN and len(contents.kinds) == 1:
        builder.kind, builder.rule = next(iter(contents.kinds)), "header"
        builder.add_evidence(f"The name says no kind; the header ({shown}) is that of {builder.kind}.", _CONTENT_ONLY)


def _columns_of(contents: FileContents) -> str:
    """Return the known columns of a header for a message, and the number of the others, whose names may be data."""
    more = len(contents.columns[8:]) + contents.other_columns
    shown = ", ".join(contents.columns[:8]) or "no column of a race file"
    return f"{shown} and {more} more" if contents.columns and more else shown


def _unknown_kind_reason(contents: FileContents) -> str:
    if contents.kinds:
        return f"its name does not say whether it is {_one_of(contents.kinds)}, and their headers are the same"
    return f"neither its name nor its header ({_columns_of(contents)}) says that it is race data"


def _header_contradiction(builder: _IdentityBuilder, contents: FileContents) -> str | None:
    """Describe how the header contradicts the name; ``None`` if it does not."""
    if builder.kind in contents.kinds:
        return None
    if not contents.kinds and (builder.track is None or builder.session is None):
        return None  # a results.csv like any other: nothing suggests that it is race data
    shown = _columns_of(contents)
    if contents.kinds:
        return f"its name says {builder.kind}, its header ({shown}) is that of {_one_of(contents.kinds)}"
    missing = ", ".join(missing_columns(builder.kind, contents.columns))
    return f"its name says {builder.kind}, its header ({shown}) lacks {missing}"


def _one_of(kinds: Iterable[FileKind]) -> str:
    return " or ".join(sorted(kinds))


# -- track -------------------------------------------------------------------------------------------------------------


def _resolve_track(builder: _IdentityBuilder, hints: PathHints, siblings: FolderSiblings) -> None:
    """Set the track: one the rules list, else one named by a folder or the file, else one named by siblings."""
    known = next((hint for hint in hints.tracks if hint.is_known), None)
    unlisted = siblings.track_folder(hints) or hints.named_track
    sibling_track = siblings.siblings_of(hints).single_track
    if known:
        builder.track = known
        builder.add_evidence(f"Track {known.slug}: {known.found_in} says so.", _LOOSE if known.is_loose else _CERTAIN)
    elif unlisted:
        builder.track = unlisted
        confidence = _NAMED_TRACK if unlisted is hints.named_track else _FOLDER_TRACK
        builder.add_evidence(
            f"Track {unlisted.slug}, which the rules do not list: {unlisted.found_in} says so.", confidence
        )
    elif sibling_track:
        builder.track = sibling_track
        builder.add_evidence(f"Track {sibling_track.slug}: the other files in its folder name it.", _NAMED_TRACK)


def _track_contradiction(hints: PathHints) -> str | None:
    known = [hint for hint in hints.tracks if hint.is_known]
    for hint in known[1:]:
        if hint.slug != known[0].slug:
            return f"{known[0].found_in} says {known[0].slug}, {hint.found_in} says {hint.slug}"
    return None


# -- session -----------------------------------------------------------------------------------------------------------


def _resolve_session(builder: _IdentityBuilder, hints: PathHints, contents: FileContents) -> None:
    """Set the session from the path, else the content, else an unknown word in a car file's name."""
    content_session = _content_session(contents)
    if hints.sessions:
        chosen = _most_specific(hints.sessions)
        builder.session = chosen.session
        builder.add_evidence(
            f"Session {chosen.session}: {chosen.found_in} says so.", _LOOSE if chosen.is_loose else _CERTAIN
        )
        _compare_session(builder, content_session, contents)
    elif content_session:
        builder.session, builder.rule = content_session, "content"
        builder.add_evidence(f"The path says no session; meta_session says {content_session}.", _CONTENT_ONLY)
    elif hints.custom_session and builder.kind in CAR_KINDS:
        builder.session = hints.custom_session
        builder.add_evidence(
            f"Session {hints.custom_session}: the word in the name that says neither kind nor track.", _CUSTOM_SESSION
        )


def _most_specific(hints: tuple[SessionHint, ...]) -> SessionHint:
    """Return the first hint, or a later one that adds a number to it (``race`` in the folder ``Race 2``)."""
    first = hints[0]
    if number_of(first.session) is not None:
        return first
    return next(
        (
            hint
            for hint in hints
            if session_type(hint.session) == session_type(first.session) and number_of(hint.session) is not None
        ),
        first,
    )


def _content_session(contents: FileContents) -> str | None:
    if not contents.sessions:
        return None
    found = find_session(normalize_name(contents.sessions.most_common(1)[0][0]))
    return found.session if found and not found.rest else None


def _compare_session(builder: _IdentityBuilder, content_session: str | None, contents: FileContents) -> None:
    if content_session is None:
        builder.confidence = min(builder.confidence, _NOT_CONFIRMED)
        return
    is_same = content_session == builder.session
    builder.add_evidence(
        f"meta_session says {content_session} ({_count(contents)}).", _CERTAIN if is_same else _NOT_CONFIRMED
    )
    if len(contents.sessions) > 1:
        builder.add_evidence(f"Its rows name several sessions: {', '.join(sorted(contents.sessions))}.", _MIXED_CONTENT)


def _count(contents: FileContents) -> str:
    return f"{contents.sessions.most_common(1)[0][1]} of {contents.rows} rows looked at"


def _session_contradiction(hints: tuple[SessionHint, ...]) -> str | None:
    """Describe how name and folders contradict each other: R1 in ``Race 2``, or ``practice`` in ``Race 1``."""
    for hint in hints[1:]:
        first, types = hints[0], {session_type(hints[0].session), session_type(hint.session)}
        is_other_type = len(types) > 1 and "other" not in types and not hint.is_vague
        if is_other_type or are_numbered_apart(first.session, hint.session):
            return f"{first.found_in} says {first.session}, {hint.found_in} says {hint.session}"
    return None


def _content_contradiction(builder: _IdentityBuilder, contents: FileContents) -> str | None:
    """Describe how the content contradicts the path; ``None`` if it does not.

    Only names of the same type are compared: ``practice`` and R1 may be two names of one session.
    """
    content_session = _content_session(contents)
    if content_session is None or builder.session is None or not are_numbered_apart(builder.session, content_session):
        return None
    day = f", first received {contents.first_day}" if contents.first_day else ""
    return f"meta_session says {content_session} ({_count(contents)}{day}), the path says {builder.session}"

"""Which track, session and kind every file is: names speak first, folders second, content is the judge.

Each file of a tree gets exactly one identity, with the rule that decided, the evidence and how sure it is. A file that
contradicts itself is quarantined; one that nobody can place is unresolved; neither is guessed. Here belongs the
weighing for one file. What a path says is ``path_hints.py``, what a content says ``sniff.py``, what the other
files say ``path_hints.py`` and ``cross_checks.py``; the rules are data (``rules.py``).
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile
from apex_pipeline.sources.gr_cup.discovery.cross_checks import cross_check
from apex_pipeline.sources.gr_cup.discovery.path_hints import (
    FolderSiblings,
    PathHints,
    SessionHint,
    TrackHint,
    ignore_reason,
    parse_path,
)
from apex_pipeline.sources.gr_cup.discovery.rules import NamingRules
from apex_pipeline.sources.gr_cup.discovery.sniff import SNIFFED_BYTES, FileContents, missing_columns, sniff
from apex_pipeline.sources.gr_cup.kinds import CAR_KINDS, SOURCE_NAME, FileKind
from apex_pipeline.sources.normalize import normalize_name
from apex_pipeline.sources.session_names import are_numbered_apart, find_session, number_of, session_type
from apex_pipeline.tables.session_key import session_key

# How sure a decision is, by what it rests on. The least of what applies counts.
_CERTAIN = 1.0
_NOT_CONFIRMED = 0.9  # the content names no session that could be compared
_FOLDER_TRACK = 0.8  # an unknown track, named by its folder
_MIXED_CONTENT = 0.8  # some rows name another session
_NAMED_TRACK = 0.7  # an unknown track, named by the file only, or a track said by the files beside it only
_LOOSE = 0.6  # a folder such as "Race 1b" or "barber2"
_CONTENT_ONLY = 0.6  # the path is silent
_OWN_WORD = 0.6  # sprint_sebring_lap_start.csv
_NO_ROWS = 0.5  # a header and nothing else

# Files looked into at a time: in a bucket each look is a request, most of which is waiting.
_PARALLEL_LOOKS = 8


@dataclass
class _IdentityBuilder:
    """An identity in the making: evidence and confidence gathered while the claims are weighed."""

    file: FoundFile
    kind: FileKind
    rule: str
    season: str | None = None
    version: str | None = None
    track: TrackHint | None = None
    session: str | None = None
    event_code: str | None = None
    evidence: list[str] = field(default_factory=list[str])
    confidence: float = _CERTAIN

    def note(self, sentence: str, confidence: float = _CERTAIN) -> None:
        self.evidence.append(sentence)
        self.confidence = min(self.confidence, confidence)

    @property
    def full_session(self) -> str | None:
        return f"{self.season}_{self.session}" if self.session and self.season else self.session

    def end(self, status: FileStatus, reason: str | None = None) -> FileIdentity:
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
        )


def identify_tree(files: Iterable[FoundFile], rules: NamingRules) -> list[FileIdentity]:
    """Return one identity per file, sorted by path.

    Args:
        files: The files of one source folder, or of one lake.
        rules: How names are understood.
    """
    found = {file.path: file for file in sorted(files, key=lambda file: file.path)}
    claims = {path: parse_path(path, rules) for path in found if not ignore_reason(path)}
    neighbourhood = FolderSiblings(claims.values())

    def identify(file: FoundFile) -> FileIdentity:
        return _identify(file, claims[file.path], neighbourhood) if file.path in claims else _ignored(file)

    with ThreadPoolExecutor(_PARALLEL_LOOKS) as pool:
        identities = list(pool.map(identify, found.values()))
    return cross_check(identities, found)


def _ignored(file: FoundFile) -> FileIdentity:
    reason = ignore_reason(file.path)
    draft = _IdentityBuilder(file, FileKind.IGNORED, "not race data")
    draft.note(f"The path says: {reason}.")
    return draft.end(FileStatus.IGNORED, f"{reason}; not race data")


def _identify(file: FoundFile, claims: PathHints, neighbourhood: FolderSiblings) -> FileIdentity:
    """Weigh what path and content of one file say."""
    draft = _IdentityBuilder(file, claims.kind, f"name matches {claims.kind_found_in}", claims.season, claims.version)
    contents = sniff(file.read_head(SNIFFED_BYTES), file.path)
    draft.event_code = contents.events.most_common(1)[0][0] if contents.events else None
    _weigh_kind(draft, contents)
    _weigh_track(draft, claims, neighbourhood)
    _weigh_session(draft, claims, contents)
    if contents.problem:
        draft.note(contents.problem, 0.0)
        is_race_file = draft.kind is not FileKind.UNKNOWN or not contents.is_text
        return draft.end(FileStatus.QUARANTINED if is_race_file else FileStatus.UNRESOLVED, contents.problem)
    contradiction = (
        _track_contradiction(claims) or _sessions_disagree(claims.sessions) or _content_disagrees(draft, contents)
    )
    return _place(draft, contents, contradiction)


def _place(draft: _IdentityBuilder, contents: FileContents, contradiction: str | None) -> FileIdentity:
    """Decide what becomes of a file that can be read."""
    if draft.kind is FileKind.UNKNOWN:
        return draft.end(FileStatus.UNRESOLVED, _reason_for_no_kind(contents))
    if draft.kind is FileKind.CHAMPIONSHIP:
        draft.session = None  # the points of a season belong to no session
        return draft.end(FileStatus.READY)
    contradiction = _wrong_header(draft, contents) or contradiction
    if contradiction:
        return draft.end(FileStatus.QUARANTINED, contradiction)
    missing = _what_is_missing(draft)
    if missing:
        return draft.end(FileStatus.UNRESOLVED, missing)
    if contents.rows == 0:
        draft.note("It has a header and no data rows.", _NO_ROWS)
    return draft.end(FileStatus.READY)


def _what_is_missing(draft: _IdentityBuilder) -> str | None:
    """Return why a file has no place in the lake, if it has none."""
    if draft.track is None or draft.session is None:
        missing = [name for name, value in (("track", draft.track), ("session", draft.session)) if value is None]
        return f"its name, its folders and its content do not say its {' or its '.join(missing)}"
    try:
        session_key(draft.track.slug, str(draft.full_session))
    except ConfigurationError as error:
        return error.problem
    return None


# -- kind --------------------------------------------------------------------------------------------------------------


def _weigh_kind(draft: _IdentityBuilder, contents: FileContents) -> None:
    """Let the header confirm the kind, or say it where the name does not."""
    shown = ", ".join(contents.columns[:8])
    if draft.kind in contents.kinds:
        draft.note(f"The name says {draft.kind}, and the header fits.")
    elif draft.kind is FileKind.UNKNOWN and len(contents.kinds) == 1:
        draft.kind, draft.rule = next(iter(contents.kinds)), "header"
        draft.note(f"The name says no kind; the header ({shown}) is that of {draft.kind}.", _CONTENT_ONLY)


def _reason_for_no_kind(contents: FileContents) -> str:
    if contents.kinds:
        return f"its name does not say whether it is {_one_of(contents.kinds)}, and their headers are the same"
    return f"neither its name nor its header ({', '.join(contents.columns[:8])}) says that it is race data"


def _wrong_header(draft: _IdentityBuilder, contents: FileContents) -> str | None:
    """Return how the header contradicts the name, if it does."""
    if draft.kind in contents.kinds:
        return None
    if not contents.kinds and (draft.track is None or draft.session is None):
        return None  # a results.csv of anything: nothing says that it should be race data
    shown = ", ".join(contents.columns[:8])
    if contents.kinds:
        return f"its name says {draft.kind}, its header ({shown}) is that of {_one_of(contents.kinds)}"
    lacking = ", ".join(missing_columns(draft.kind, contents.columns))
    return f"its name says {draft.kind}, its header ({shown}) lacks {lacking}"


def _one_of(kinds: Iterable[FileKind]) -> str:
    return " or ".join(sorted(kinds))


# -- track -------------------------------------------------------------------------------------------------------------


def _weigh_track(draft: _IdentityBuilder, claims: PathHints, neighbourhood: FolderSiblings) -> None:
    """Take the track that the rules know, else the folder's own name, else what file names say."""
    known = next((claim for claim in claims.tracks if claim.is_known), None)
    unlisted = neighbourhood.track_folder(claims) or claims.named_track
    beside = neighbourhood.siblings_of(claims).single_track
    if known:
        draft.track = known
        draft.note(f"Track {known.slug}: {known.found_in} says so.", _LOOSE if known.is_loose else _CERTAIN)
    elif unlisted:
        draft.track = unlisted
        confidence = _NAMED_TRACK if unlisted is claims.named_track else _FOLDER_TRACK
        draft.note(f"Track {unlisted.slug}, which the rules do not list: {unlisted.found_in} says so.", confidence)
    elif beside:
        draft.track = beside
        draft.note(f"Track {beside.slug}: the names of the files beside it say so.", _NAMED_TRACK)


def _track_contradiction(claims: PathHints) -> str | None:
    known = [claim for claim in claims.tracks if claim.is_known]
    for claim in known[1:]:
        if claim.slug != known[0].slug:
            return f"{known[0].found_in} says {known[0].slug}, {claim.found_in} says {claim.slug}"
    return None


# -- session -----------------------------------------------------------------------------------------------------------


def _weigh_session(draft: _IdentityBuilder, claims: PathHints, contents: FileContents) -> None:
    """Take the session the path says, else the content's, else the odd word in a car file's name."""
    inside = _session_inside(contents)
    if claims.sessions:
        chosen = _most_specific(claims.sessions)
        draft.session = chosen.session
        draft.note(f"Session {chosen.session}: {chosen.found_in} says so.", _LOOSE if chosen.is_loose else _CERTAIN)
        _note_content(draft, inside, contents)
    elif inside:
        draft.session, draft.rule = inside, "content"
        draft.note(f"The path says no session; meta_session says {inside}.", _CONTENT_ONLY)
    elif claims.own_word and draft.kind in CAR_KINDS:
        draft.session = claims.own_word
        draft.note(f"Session {claims.own_word}: the word in the name that says neither kind nor track.", _OWN_WORD)


def _most_specific(claims: tuple[SessionHint, ...]) -> SessionHint:
    """Return the first claim, or one that adds the number to it (``race`` in the folder ``Race 2``)."""
    first = claims[0]
    if number_of(first.session) is not None:
        return first
    return next(
        (
            claim
            for claim in claims
            if session_type(claim.session) == session_type(first.session) and number_of(claim.session) is not None
        ),
        first,
    )


def _session_inside(contents: FileContents) -> str | None:
    if not contents.sessions:
        return None
    found = find_session(normalize_name(contents.sessions.most_common(1)[0][0]))
    return found.session if found and not found.rest else None


def _note_content(draft: _IdentityBuilder, inside: str | None, contents: FileContents) -> None:
    if inside is None:
        draft.confidence = min(draft.confidence, _NOT_CONFIRMED)
        return
    is_same = inside == draft.session
    draft.note(f"meta_session says {inside} ({_count(contents)}).", _CERTAIN if is_same else _NOT_CONFIRMED)
    if len(contents.sessions) > 1:
        draft.note(f"Its rows name several sessions: {', '.join(sorted(contents.sessions))}.", _MIXED_CONTENT)


def _count(contents: FileContents) -> str:
    return f"{contents.sessions.most_common(1)[0][1]} of {contents.rows} rows looked at"


def _sessions_disagree(claims: tuple[SessionHint, ...]) -> str | None:
    """Compare name and folders with each other: R1 in ``Race 2``, or ``practice`` in ``Race 1``."""
    for claim in claims[1:]:
        first, types = claims[0], {session_type(claims[0].session), session_type(claim.session)}
        is_other_type = len(types) > 1 and "other" not in types and not claim.is_vague
        if is_other_type or are_numbered_apart(first.session, claim.session):
            return f"{first.found_in} says {first.session}, {claim.found_in} says {claim.session}"
    return None


def _content_disagrees(draft: _IdentityBuilder, contents: FileContents) -> str | None:
    """Compare path and content; only names of one type can be (``practice`` and R1 may be two words for one)."""
    inside = _session_inside(contents)
    if inside is None or draft.session is None or not are_numbered_apart(draft.session, inside):
        return None
    day = f", first received {contents.first_day}" if contents.first_day else ""
    return f"meta_session says {inside} ({_count(contents)}{day}), the path says {draft.session}"

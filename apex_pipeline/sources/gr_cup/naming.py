"""Which track, session and kind every file is: names speak first, folders second, content is the judge.

Each file of a tree gets exactly one identity, with the rule that decided, the evidence and how sure it is. A file that
contradicts itself is quarantined; one that nobody can place is unresolved; neither is guessed. Here belongs the
weighing. What a path says is ``path_claims.py``, what a content says ``file_contents.py``, the rules are data.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from apex_pipeline.sources.gr_cup.file_contents import LOOKED_AT_BYTES, FileContents, look_into
from apex_pipeline.sources.gr_cup.files import CAR_KINDS, FileIdentity, FileKind, FileStatus, FoundFile
from apex_pipeline.sources.gr_cup.naming_rules import NamingRules, load_rules
from apex_pipeline.sources.gr_cup.path_claims import (
    PathClaims,
    SessionClaim,
    TrackClaim,
    claims_of,
    reason_to_ignore,
    session_name,
)

# How sure a decision is, by what it rests on. The least of what applies counts.
_KNOWN_TRACK = 1.0
_FOLDER_TRACK = 0.8  # an unknown track, named by its folder
_NAME_TRACK = 0.7  # an unknown track, named by the file only
_CONFIRMED = 1.0  # the content names the same session
_NOT_CONFIRMED = 0.9  # the content names no session that could be compared
_LOOSE_SESSION = 0.6  # a folder such as "Race 1b"
_CONTENT_ONLY = 0.6  # the path is silent
_NO_ROWS = 0.5  # a header and nothing else
_SEVERAL_FILES = 0.7  # another file claims the same place with another content

_RACE_SESSION = re.compile(r"R\d+")

# Whole files up to this size are compared byte for byte; real lap and timing files are below 150 kB.
_COMPARED_BYTES = 4_000_000


@dataclass
class _Draft:
    """An identity in the making: evidence and confidence gathered while the claims are weighed."""

    file: FoundFile
    kind: FileKind
    rule: str
    season: str | None
    version: str | None
    evidence: list[str] = field(default_factory=list[str])
    confidence: float = 1.0
    track: TrackClaim | None = None
    session: str | None = None
    event_code: str | None = None

    def note(self, sentence: str, confidence: float = 1.0) -> None:
        self.evidence.append(sentence)
        self.confidence = min(self.confidence, confidence)

    def end(self, status: FileStatus, reason: str | None = None) -> FileIdentity:
        session = f"{self.season}_{self.session}" if self.session and self.season else self.session
        return FileIdentity(
            path=self.file.path,
            size=self.file.size,
            kind=self.kind,
            track=self.track.slug if self.track else None,
            track_name=self.track.name if self.track else None,
            session=session,
            season=self.season,
            event_code=self.event_code,
            version=self.version,
            rule=self.rule,
            evidence=tuple(self.evidence),
            confidence=self.confidence,
            status=status,
            reason=reason,
        )


def identify_tree(files: Iterable[FoundFile], rules: NamingRules) -> list[FileIdentity]:
    """Return one identity per file, sorted by path.

    Args:
        files: The files of one source folder, or of one lake.
        rules: How names are understood.
    """
    found = {file.path: file for file in files}
    first = [_identify(found[path], rules) for path in sorted(found)]
    return _judge_copies(_judge_events(first), found)


def _identify(file: FoundFile, rules: NamingRules) -> FileIdentity:
    """Weigh what path and content of one file say."""
    reason = reason_to_ignore(file.path)
    if reason:
        draft = _Draft(file, FileKind.IGNORED, "not race data", None, None)
        draft.note(f"The path says: {reason}.")
        return draft.end(FileStatus.IGNORED, f"{reason}; not race data")
    claims = claims_of(file.path, rules)
    contents = look_into(file.read_start(LOOKED_AT_BYTES), file.path)
    draft = _Draft(file, claims.kind, f"name matches {claims.kind_said_by}", claims.season, claims.version)
    _weigh_track(draft, claims)
    session = _weigh_session(draft, claims, contents)
    if contents.problem:
        draft.note(contents.problem, 0.0)
        if draft.kind is FileKind.UNKNOWN:
            return draft.end(FileStatus.UNRESOLVED, contents.problem)
        return draft.end(FileStatus.QUARANTINED, contents.problem)
    contradiction = _weigh_kind(draft, contents) or _track_contradiction(claims) or session
    if contradiction:
        return draft.end(FileStatus.QUARANTINED, contradiction)
    return _finish(draft, contents)


def _finish(draft: _Draft, contents: FileContents) -> FileIdentity:
    if draft.kind is FileKind.UNKNOWN:
        return draft.end(FileStatus.UNRESOLVED, "neither its name nor its columns say what it holds")
    if draft.kind is FileKind.CHAMPIONSHIP:
        draft.session = None
        return draft.end(FileStatus.READY)
    missing = [name for name, value in (("track", draft.track), ("session", draft.session)) if value is None]
    if missing:
        where = "its name, its folders or its content"
        return draft.end(FileStatus.UNRESOLVED, f"{where} do not say its {' or '.join(missing)}")
    if contents.rows == 0:
        draft.note("It has a header and no data rows.", _NO_ROWS)
    return draft.end(FileStatus.READY)


def _weigh_kind(draft: _Draft, contents: FileContents) -> str | None:
    """Compare the kind the name says with the header; return the contradiction, if there is one."""
    shown = ", ".join(contents.columns[:8])
    if draft.kind is FileKind.UNKNOWN:
        if len(contents.kinds) == 1:
            draft.kind, draft.rule = next(iter(contents.kinds)), "header"
            draft.note(f"The name says no kind; the header ({shown}) is that of {draft.kind}.", _CONTENT_ONLY)
        return None
    if draft.kind is FileKind.CHAMPIONSHIP:
        return None
    if draft.kind in contents.kinds:
        draft.note(f"The name says {draft.kind}, and the header fits.")
        return None
    other = " or ".join(sorted(contents.kinds)) or "no known kind"
    return f"its name says {draft.kind}, its header ({shown}) is that of {other}"


def _weigh_track(draft: _Draft, claims: PathClaims) -> None:
    """Take the track the rules know, else the folder's own name, else the file's."""
    known = [claim for claim in claims.tracks if claim.is_known]
    folders = [claim for claim in claims.tracks if claim.said_by.startswith("the folder")]
    for chosen, confidence in ((known, _KNOWN_TRACK), (folders, _FOLDER_TRACK), (claims.tracks, _NAME_TRACK)):
        if chosen:
            draft.track = chosen[0]
            draft.note(f"Track {chosen[0].slug}: {chosen[0].said_by} says so.", confidence)
            return


def _track_contradiction(claims: PathClaims) -> str | None:
    known = [claim for claim in claims.tracks if claim.is_known]
    for claim in known[1:]:
        if claim.slug != known[0].slug:
            return f"{known[0].said_by} says {known[0].slug}, {claim.said_by} says {claim.slug}"
    return None


def _weigh_session(draft: _Draft, claims: PathClaims, contents: FileContents) -> str | None:
    """Settle the session; return the contradiction, if there is one."""
    draft.event_code = contents.events.most_common(1)[0][0] if contents.events else None
    inside = _session_inside(contents)
    if not claims.sessions:
        draft.session = inside
        if inside:
            draft.note(f"The path says no session; meta_session says {inside}.", _CONTENT_ONLY)
        return None
    first = claims.sessions[0]
    draft.session = first.session
    draft.note(f"Session {first.session}: {first.said_by} says so.", _LOOSE_SESSION if first.is_loose else 1.0)
    return _sessions_disagree(claims.sessions) or _content_disagrees(draft, inside, contents)


def _sessions_disagree(claims: tuple[SessionClaim, ...]) -> str | None:
    first = claims[0]
    for claim in claims[1:]:
        if not _may_be_the_same(first.session, claim.session):
            return f"{first.said_by} says {first.session}, {claim.said_by} says {claim.session}"
    return None


def _content_disagrees(draft: _Draft, inside: str | None, contents: FileContents) -> str | None:
    if inside is None or draft.session is None:
        draft.confidence = min(draft.confidence, _NOT_CONFIRMED)
        return None
    count = f"{contents.sessions.most_common(1)[0][1]} of {contents.rows} rows looked at"
    day = f", first received {contents.first_day}" if contents.first_day else ""
    if not _may_be_the_same(draft.session, inside):
        return f"meta_session says {inside} ({count}{day}), the path says {draft.session}"
    draft.note(f"meta_session says {inside} ({count}).", _CONFIRMED if inside == draft.session else _NOT_CONFIRMED)
    return None


def _session_inside(contents: FileContents) -> str | None:
    if not contents.sessions:
        return None
    text = contents.sessions.most_common(1)[0][0]
    match = re.fullmatch(r"([A-Za-z]+)[ _-]?(\d*)", text)
    return session_name(match[1], match[2] or None) if match else None


def _may_be_the_same(one: str, other: str) -> bool:
    """R1 and R2 cannot be the same session; race and R1, or practice and R1, may be two words for one."""
    return one == other or not (_RACE_SESSION.fullmatch(one) and _RACE_SESSION.fullmatch(other))


def _judge_events(identities: list[FileIdentity]) -> list[FileIdentity]:
    """Quarantine a car file whose event is not the one the other files of its session clearly carry."""
    events: defaultdict[tuple[str | None, str | None], Counter[str]] = defaultdict(Counter)
    for item in identities:
        if item.status is FileStatus.READY and item.event_code:
            events[item.track, item.session][item.event_code] += 1
    judged: list[FileIdentity] = []
    for item in identities:
        counts = events[item.track, item.session]
        common, votes = counts.most_common(1)[0] if counts else (None, 0)
        is_outvoted = item.event_code not in (None, common) and votes >= 2 * counts[str(item.event_code)]
        if item.status is FileStatus.READY and is_outvoted:
            reason = f"meta_event says {item.event_code}, {votes} other files of the session say {common}"
            item = replace(item, status=FileStatus.QUARANTINED, reason=reason)  # noqa: PLW2901  -- judged, then kept
        judged.append(item)
    return judged


def _judge_copies(identities: list[FileIdentity], found: dict[str, FoundFile]) -> list[FileIdentity]:
    """Note byte-identical files: a quarantined one is explained by it, a second copy of the same file is not used."""
    first_with: dict[tuple[str, FileKind], FileIdentity] = {}
    places: Counter[tuple[object, ...]] = Counter()
    digests = _digests(identities, found)
    # The file that is what it says comes first, so that the misplaced one is told to be the copy.
    for item in sorted(identities, key=lambda item: (item.status is not FileStatus.READY, item.path)):
        if item.path in digests:
            first_with.setdefault((digests[item.path], item.kind), item)
    judged: list[FileIdentity] = []
    for item in identities:
        original = first_with.get((digests.get(item.path, ""), item.kind))
        judged.append(_judge_copy(item, original) if original and original.path != item.path else item)
    for item in judged:
        places[_place(item)] += item.status is FileStatus.READY
    return [_note_rivals(item, places[_place(item)]) for item in judged]


def _digests(identities: list[FileIdentity], found: dict[str, FoundFile]) -> dict[str, str]:
    """Hash the small files that share size and kind with another one; no other can be a copy."""
    sizes = Counter((item.size, item.kind) for item in identities)
    return {
        item.path: hashlib.sha256(found[item.path].read_start(item.size)).hexdigest()
        for item in identities
        if sizes[item.size, item.kind] > 1 and 0 < item.size <= _COMPARED_BYTES and item.kind is not FileKind.IGNORED
    }


def _judge_copy(item: FileIdentity, original: FileIdentity) -> FileIdentity:
    if item.status is FileStatus.QUARANTINED:
        return replace(item, reason=f"{item.reason}; it is byte for byte {original.path}")
    if item.status is FileStatus.READY and _place(item) == _place(original):
        return replace(item, status=FileStatus.IGNORED, reason=f"a second copy of {original.path}, byte for byte")
    return item


def _place(item: FileIdentity) -> tuple[object, ...]:
    return (item.track, item.session, item.kind, item.version)


def _note_rivals(item: FileIdentity, claimants: int) -> FileIdentity:
    """Say so where several files with different content claim one place; readers merge them."""
    if item.status is not FileStatus.READY or claimants < 2 or item.session is None:  # noqa: PLR2004  -- itself and another
        return item
    note = f"{claimants} files with different content claim {item.track}/{item.session} {item.kind}; they are merged."
    return replace(item, evidence=(*item.evidence, note), confidence=min(item.confidence, _SEVERAL_FILES))


def session_type(session: str) -> str:
    """Return ``race``, ``qualifying``, ``practice`` or ``other`` for a session's name."""
    word = re.sub(r"^\d{4}_", "", session).lower()
    for kind, expression in (
        ("race", r"r\d+|race.*"),
        ("qualifying", r"q\d*|qualifying.*"),
        ("practice", r"fp\d*|practice.*"),
    ):
        if re.fullmatch(expression, word):
            return kind
    return "other"


def explain(identity: FileIdentity) -> str:
    """Return the reasoning about one file as lines for people."""
    lines = [
        identity.path,
        f"  status      {identity.status}" + (f": {identity.reason}" if identity.reason else ""),
        f"  kind        {identity.kind}" + (f" ({identity.version})" if identity.version else ""),
        f"  track       {identity.track or 'not known'}" + (f" ({identity.track_name})" if identity.track_name else ""),
        f"  session     {identity.session or 'none'}",
        f"  event       {identity.event_code or 'not said'}",
        f"  rule        {identity.rule}",
        f"  confidence  {identity.confidence:.2f}",
        "  evidence",
        *(f"    - {sentence}" for sentence in identity.evidence),
    ]
    return "\n".join(lines)


__all__ = ["CAR_KINDS", "NamingRules", "explain", "identify_tree", "load_rules", "session_type"]

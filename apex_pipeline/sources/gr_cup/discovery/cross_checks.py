"""What only the whole tree can tell about a file: copies, rivals, and an event that the others do not carry.

Here belongs comparing identities with each other. How one file gets its identity is ``identify.py``.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile
from apex_pipeline.sources.gr_cup.kinds import CAR_KINDS, FileKind

# Files up to this size are compared whole; real lap and timing files are below 150 kB. Larger ones (telemetry) are
# compared by size and this much of their beginning, which is a hint and no proof.
_COMPARED_BYTES = 4_000_000

_CONFLICT = 0.7  # another file claims the same place with another content
_SAME_BYTES_ELSEWHERE = 0.5  # another session has the very same file: one of the two is misplaced
_EVENT_IN_DOUBT = 0.5  # files of one session carry different events and neither prevails

_Slot = tuple[str | None, str | None, str, str | None]


def cross_check(identities: list[FileIdentity], found: Mapping[str, FoundFile]) -> list[FileIdentity]:
    """Return the identities with what the other files of the tree say about each.

    Args:
        identities: One per file, sorted by path.
        found: The files by path, for comparing their bytes.
    """
    return _note_conflicts(_check_copies(_check_events(identities), found))


def _check_events(identities: list[FileIdentity]) -> list[FileIdentity]:
    """Quarantine a car file whose event is not the one that the others of its session clearly carry."""
    events: defaultdict[tuple[str | None, str | None], Counter[str]] = defaultdict(Counter)
    for item in identities:
        if item.status is FileStatus.READY and item.kind in CAR_KINDS and item.event_code:
            events[item.track, item.session][item.event_code] += 1
    return [
        _check_event(item, item.event_code, events[item.track, item.session])
        if item.status is FileStatus.READY and item.kind in CAR_KINDS and item.event_code
        else item
        for item in identities
    ]


def _check_event(item: FileIdentity, own: str, counts: Counter[str]) -> FileIdentity:
    if len(counts) == 1:
        return item
    others = Counter({event: votes for event, votes in counts.items() if event != own})
    common, votes = others.most_common(1)[0]
    if votes >= 2 * counts[own]:
        reason = f"meta_event says {own}, {votes} other files of the session say {common}"
        return replace(item, status=FileStatus.QUARANTINED, reason=reason)
    if counts[own] >= 2 * votes:
        return item
    return _noted(item, f"meta_event says {own}; other files of the session say {common}.", _EVENT_IN_DOUBT)


def _check_copies(identities: list[FileIdentity], found: Mapping[str, FoundFile]) -> list[FileIdentity]:
    """Compare files of one kind and size: a second copy of the same file is not used, other twins are explained."""
    originals: dict[tuple[str, str], FileIdentity] = {}
    digests = _digests(identities, found)
    # A file that is what it says comes first, so that the misplaced one is told to be the copy.
    for item in sorted(identities, key=lambda item: (item.status is not FileStatus.READY, item.path)):
        if item.path in digests:
            originals.setdefault((digests[item.path], item.kind), item)
    judged: list[FileIdentity] = []
    for item in identities:
        original = originals.get((digests.get(item.path, ""), item.kind), item)
        judged.append(item if original is item else _check_copy(item, original))
    return judged


def _digests(identities: list[FileIdentity], found: Mapping[str, FoundFile]) -> dict[str, str]:
    """Hash the files that share size and kind with another one; no other can be a copy."""
    sizes = Counter((item.size, item.kind) for item in identities)
    return {
        item.path: hashlib.sha256(found[item.path].read_head(_COMPARED_BYTES)).hexdigest()
        for item in identities
        if sizes[item.size, item.kind] > 1 and item.size > 0 and item.kind != FileKind.IGNORED
    }


def _check_copy(item: FileIdentity, original: FileIdentity) -> FileIdentity:
    if item.size > _COMPARED_BYTES:
        return _noted(item, f"Its size and its first 4 MB are those of {original.path}; it may be a copy.", 1.0)
    if item.status is FileStatus.QUARANTINED:
        return replace(item, reason=f"{item.reason}; it is byte for byte {original.path}")
    if item.status is not FileStatus.READY:
        return item
    if _slot(item) == _slot(original):
        return replace(item, status=FileStatus.IGNORED, reason=f"a second copy of {original.path}, byte for byte")
    if (item.track, item.session) != (original.track, original.session):
        return _noted(item, f"It is byte for byte {original.path}, of another session.", _SAME_BYTES_ELSEWHERE)
    return item


def _note_conflicts(identities: list[FileIdentity]) -> list[FileIdentity]:
    """Say so where several files with different content claim one place; readers merge them."""
    claimants: defaultdict[_Slot, list[str]] = defaultdict(list)
    for item in identities:
        if item.status is FileStatus.READY and item.session:
            claimants[_slot(item)].append(item.path)
    return [
        _note_conflict(item, claimants[_slot(item)]) if item.path in claimants[_slot(item)] else item
        for item in identities
    ]


def _note_conflict(item: FileIdentity, claimants: list[str]) -> FileIdentity:
    others = [path for path in claimants if path != item.path]
    if not others:
        return item
    return _noted(
        item, f"{', '.join(others)} is the same kind of file of the same session; they are merged.", _CONFLICT
    )


def _slot(item: FileIdentity) -> _Slot:
    return (item.track, item.session, item.kind, item.version)


def _noted(item: FileIdentity, sentence: str, confidence: float) -> FileIdentity:
    return replace(item, evidence=(*item.evidence, sentence), confidence=min(item.confidence, confidence))

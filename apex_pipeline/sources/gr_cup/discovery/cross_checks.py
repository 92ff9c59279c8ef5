"""Compares files with each other to find copies, conflicts and files of another event.

See ``identify.py`` for the identification of a single file.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile
from apex_pipeline.sources.gr_cup.kinds import CAR_KINDS, FileKind

# Files up to this size are compared in full; real lap and timing files are below 150 kB. Larger files (telemetry) are
# compared by size and by this many of their first bytes, which suggests a copy but does not prove it.
_COMPARED_BYTES = 4_000_000

_CONFLICT = 0.7  # another file with different content has the same slot
_SAME_BYTES_ELSEWHERE = 0.5  # another session has an identical file: one of the two is misplaced
_EVENT_UNCLEAR = 0.5  # the files of a session name different events, without a clear majority

_Slot = tuple[str | None, str | None, str, str | None]


def cross_check(identities: list[FileIdentity], found: Mapping[str, FoundFile]) -> list[FileIdentity]:
    """Return the identities, corrected by comparison with the other files of the tree.

    Args:
        identities: One per file, sorted by path.
        found: The files by path, to compare their bytes.
    """
    return _add_conflicts(_check_copies(_check_events(identities), found))


def _check_events(identities: list[FileIdentity]) -> list[FileIdentity]:
    """Quarantine a car file if a clear majority of its session's car files name another event."""
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
    others = Counter({event: count for event, count in counts.items() if event != own})
    common, count = others.most_common(1)[0]
    if count >= 2 * counts[own]:
        reason = f"meta_event says {own}, {count} other files of the session say {common}"
        return replace(item, status=FileStatus.QUARANTINED, reason=reason)
    if counts[own] >= 2 * count:
        return item
    return _with_evidence(item, f"meta_event says {own}; other files of the session say {common}.", _EVENT_UNCLEAR)


def _check_copies(identities: list[FileIdentity], found: Mapping[str, FoundFile]) -> list[FileIdentity]:
    """Compare files of the same kind and size: ignore second copies and add evidence for other identical files."""
    originals: dict[tuple[str, str], FileIdentity] = {}
    digests = _digests(identities, found)
    # Ready files come first, so that the misplaced file is reported as the copy.
    for item in sorted(identities, key=lambda item: (item.status is not FileStatus.READY, item.path)):
        if item.path in digests:
            originals.setdefault((digests[item.path], item.kind), item)
    checked: list[FileIdentity] = []
    for item in identities:
        original = originals.get((digests.get(item.path, ""), item.kind), item)
        checked.append(item if original is item else _check_copy(item, original))
    return checked


def _digests(identities: list[FileIdentity], found: Mapping[str, FoundFile]) -> dict[str, str]:
    """Hash the files that have the same size and kind as another file; only these can be copies."""
    sizes = Counter((item.size, item.kind) for item in identities)
    return {
        item.path: hashlib.sha256(found[item.path].read_head(_COMPARED_BYTES)).hexdigest()
        for item in identities
        if sizes[item.size, item.kind] > 1 and item.size > 0 and item.kind != FileKind.IGNORED
    }


def _check_copy(item: FileIdentity, original: FileIdentity) -> FileIdentity:
    if item.size > _COMPARED_BYTES:
        return _with_evidence(item, f"Its size and its first 4 MB are those of {original.path}; it may be a copy.", 1.0)
    if item.status is FileStatus.QUARANTINED:
        return replace(item, reason=f"{item.reason}; it is byte for byte {original.path}")
    if item.status is not FileStatus.READY:
        return item
    if _slot(item) == _slot(original):
        return replace(item, status=FileStatus.IGNORED, reason=f"a second copy of {original.path}, byte for byte")
    if (item.track, item.session) != (original.track, original.session):
        return _with_evidence(item, f"It is byte for byte {original.path}, of another session.", _SAME_BYTES_ELSEWHERE)
    return item


def _add_conflicts(identities: list[FileIdentity]) -> list[FileIdentity]:
    """Add evidence to files with the same slot and different content; readers merge them."""
    paths_by_slot: defaultdict[_Slot, list[str]] = defaultdict(list)
    for item in identities:
        if item.status is FileStatus.READY and item.session:
            paths_by_slot[_slot(item)].append(item.path)
    return [
        _add_conflict(item, paths_by_slot[_slot(item)]) if item.path in paths_by_slot[_slot(item)] else item
        for item in identities
    ]


def _add_conflict(item: FileIdentity, paths: list[str]) -> FileIdentity:
    others = [path for path in paths if path != item.path]
    if not others:
        return item
    return _with_evidence(
        item, f"{', '.join(others)} is the same kind of file of the same session; they are merged.", _CONFLICT
    )


def _slot(item: FileIdentity) -> _Slot:
    return (item.track, item.session, item.kind, item.version)


def _with_evidence(item: FileIdentity, sentence: str, confidence: float) -> FileIdentity:
    return replace(item, evidence=(*item.evidence, sentence), confidence=min(item.confidence, confidence))

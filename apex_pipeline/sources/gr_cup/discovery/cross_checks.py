"""Compares files with each other to find copies, conflicts and files of another event.

See ``identify.py`` for the identification of a single file.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile, was_ready
from apex_pipeline.sources.gr_cup.kinds import CAR_KINDS, FileKind

# Files without a digest are compared by size and by this many of their first bytes: in full up to this size (real lap
# and timing files are below 150 kB), while a larger file (telemetry) may be a copy.
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
    """Compare files of the same kind and size: ignore second copies and add evidence for other identical files.

    A second copy names the first file of its slot. Any other copy names the one before it in the order of
    :func:`copy_order`, so that a file that changes concerns only the next one of a hundred copies.
    """
    digests = _digests(identities, found)
    copies: defaultdict[tuple[str, str], dict[str, FileIdentity]] = defaultdict(dict)
    for item in identities:
        if item.path in digests:
            group = copies[digests[item.path], item.kind]
            group[item.path] = item
            for twin in found[item.path].twins:
                if twin.kind == item.kind and twin.path not in found:
                    group.setdefault(twin.path, twin)
    return [
        _check_copy(item, sorted(copies[digests[item.path], item.kind].values(), key=copy_order), found)
        if item.path in digests
        else item
        for item in identities
    ]


def copy_order(item: FileIdentity) -> tuple[bool, str]:
    """Return the sort key of copies: ready files come first, so that the misplaced file is reported as the copy."""
    return not was_ready(item.status, item.kind), item.path


def _digests(identities: list[FileIdentity], found: Mapping[str, FoundFile]) -> dict[str, str]:
    """Return the digests of the files that have the same size and kind as another file; only these can be copies.

    Without a digest of the whole content, the size and the first bytes stand in for it.
    """
    sizes = Counter((item.size, item.kind) for item in identities)
    return {
        item.path: found[item.path].sha256 or _digest_of_head(item, found[item.path])
        for item in identities
        if item.size > 0
        and item.kind != FileKind.IGNORED
        and (sizes[item.size, item.kind] > 1 or found[item.path].twins)
    }


def _digest_of_head(item: FileIdentity, file: FoundFile) -> str:
    return f"{item.size}-{hashlib.sha256(file.read_head(_COMPARED_BYTES)).hexdigest()}"


def _check_copy(item: FileIdentity, copies: list[FileIdentity], found: Mapping[str, FoundFile]) -> FileIdentity:
    """Judge one file among its copies, which are in order."""
    before = copies[: next(index for index, copy in enumerate(copies) if copy.path == item.path)]
    if not before:
        return item
    if found[item.path].sha256 is None and item.size > _COMPARED_BYTES:
        return _with_evidence(
            item, f"Its size and its first 4 MB are those of {before[-1].path}; it may be a copy.", 1.0
        )
    if item.status is FileStatus.QUARANTINED:
        return replace(item, reason=f"{item.reason}; it is byte for byte {before[-1].path}")
    return _check_ready_copy(item, before) if item.status is FileStatus.READY else item


def _check_ready_copy(item: FileIdentity, before: list[FileIdentity]) -> FileIdentity:
    original = next((copy for copy in before if _slot(copy) == _slot(item)), None)
    if original:
        return replace(item, status=FileStatus.IGNORED, reason=f"a second copy of {original.path}, byte for byte")
    others = [copy for copy in before if (copy.track, copy.session) != (item.track, item.session)]
    if others:
        sentence = f"It is byte for byte {others[-1].path}, of another session."
        return _with_evidence(item, sentence, _SAME_BYTES_ELSEWHERE)
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

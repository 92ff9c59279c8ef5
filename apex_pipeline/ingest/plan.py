"""What a sync has to do: the source folder compared with the lake, and the lake with what is published.

Here belongs the comparison only: nothing is sent, and both sides are handed in. It is level-triggered: whatever
happened before, interrupted or by hand, the answer depends on what is there now.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from apex_pipeline.ingest.catalog import RULES_VERSION, build_sessions_table
from apex_pipeline.ingest.source_folder import SourceFile, SourceFolder
from apex_pipeline.lake.snapshot import SessionRecord, Snapshot
from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import RAW_PREFIX, raw_key, raw_path
from apex_pipeline.tables import FILES
from apex_pipeline.tables.session_key import SessionKey


@dataclass(frozen=True)
class CopyPlan:
    """Which source files have to be copied.

    Attributes:
        by_session: Files to copy of each session.
        without_session: Files to copy that belong to no session.
        unchanged: Number of files whose content is in the lake already.
        replaced: Paths to copy whose key holds another content now.
    """

    by_session: dict[SessionKey, tuple[SourceFile, ...]] = field(default_factory=dict)
    without_session: tuple[SourceFile, ...] = ()
    unchanged: int = 0
    replaced: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All files to copy."""
        return (*self.without_session, *(file for files in self.by_session.values() for file in files))

    @property
    def file_count(self) -> int:
        """Number of files to copy."""
        return len(self.files)

    @property
    def bytes(self) -> int:
        """Bytes to copy."""
        return sum(file.size for file in self.files)


def session_key_of(identity: FileIdentity) -> SessionKey | None:
    """Return the session a file belongs to; quarantined files count with the session their path names."""
    if identity.track and identity.session and identity.status is not FileStatus.IGNORED:
        return SessionKey(identity.track, identity.session)
    return None


def plan_copies(
    folder: SourceFolder,
    identities: Iterable[FileIdentity],
    listing: Mapping[str, ObjectInfo],
    files: pa.Table | None,
    fingerprints: DigestCache,
) -> CopyPlan:
    """Compare the source folder with the lake, by content.

    Args:
        folder: The source folder.
        identities: What its files are.
        listing: The lake's objects by key.
        files: The published table ``files``, which knows the digests.
        fingerprints: Digests of local files, cached.

    Returns:
        The files whose content is not in the lake; ignored files are never among them.
    """
    known = {row["path"]: row for row in files.to_pylist()} if files is not None else {}
    by_path = {file.path: file for file in folder.files}
    by_session: dict[SessionKey, list[SourceFile]] = {}
    without_session: list[SourceFile] = []
    unchanged, replaced = 0, list[str]()
    for identity in identities:
        if identity.status is FileStatus.IGNORED:
            continue
        file = by_path[identity.path]
        stored = listing.get(raw_key(file.path))
        if stored and _is_same(file, stored, known.get(file.path), fingerprints):
            unchanged += 1
            continue
        if stored:
            replaced.append(file.path)
        key = session_key_of(identity)
        (by_session.setdefault(key, []) if key else without_session).append(file)
    return CopyPlan(
        {key: tuple(chosen) for key, chosen in by_session.items()}, tuple(without_session), unchanged, tuple(replaced)
    )


def _is_same(file: SourceFile, stored: ObjectInfo, known: Mapping[str, Any] | None, fingerprints: DigestCache) -> bool:
    """Tell whether the lake has this content: the catalog's digest counts only while the object's tag is the same."""
    if known is None or known["sha256"] is None or known["store_tag"] != stored.tag or stored.size != file.size:
        return False
    return known["sha256"] == fingerprints.sha256_of(file.local_path)


def is_catalog_stale(
    listing: Mapping[str, ObjectInfo], files: pa.Table | None, identities: Iterable[FileIdentity], rules: str
) -> bool:
    """Tell whether the table ``files`` no longer says what the lake and the source folder hold.

    Args:
        listing: The lake's objects by key.
        files: The published table ``files``.
        identities: What the source folder's files are.
        rules: Fingerprint of the rules by which files are recognised today.
    """
    if files is None or (files.schema.metadata or {}).get(RULES_VERSION.encode()) != rules.encode():
        return True
    if FILES.schema.names != files.schema.names:
        return True  # written by an earlier version, which recorded less about a file
    rows = files.to_pylist()
    recorded = {(row["path"], row["bytes"], row["store_tag"]) for row in rows if row["store_tag"] is not None}
    present = {(raw_path(key), item.size, item.tag) for key, item in listing.items() if key.startswith(RAW_PREFIX)}
    paths = {row["path"] for row in rows}
    return recorded != present or any(item.path not in paths for item in identities)


def sessions_to_derive(
    files: pa.Table, snapshot: Snapshot | None, listing: Mapping[str, ObjectInfo]
) -> list[SessionKey]:
    """Return the sessions whose tables are missing, changed by hand, or made from other inputs than today's."""
    wanted = {SessionKey(row["track"], row["session"]): row["inputs_version"] for row in _sessions(files)}
    return [
        key
        for key, version in wanted.items()
        if not _is_current(snapshot.session(key) if snapshot else None, version, listing)
    ]


def _sessions(files: pa.Table) -> list[dict[str, Any]]:
    return build_sessions_table(files).to_pylist()


def _is_current(record: SessionRecord | None, version: str, listing: Mapping[str, ObjectInfo]) -> bool:
    if record is None or record.inputs_version != version:
        return False
    return all(table.key in listing and listing[table.key].size == table.bytes for table in record.tables.values())

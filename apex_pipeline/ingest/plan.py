"""Plans a sync: compares the source folder with the lake, and the lake with the published snapshot.

Contains pure comparisons: both sides are arguments and nothing is sent. They are level-triggered: the plan depends only
on the current state, and not on the interrupted runs or manual changes that led to it.
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
from apex_pipeline.tables.session_key import SessionKey


@dataclass(frozen=True)
class CopyPlan:
    """The source files that have to be copied.

    Attributes:
        by_session: Files to copy, by session.
        without_session: Files to copy that belong to no session.
        unchanged: Number of files whose content is in the lake already.
        replaced: Paths of files to copy whose key has different content in the lake.
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
    """Return the session a file belongs to, if any; a quarantined file belongs to the session in its path."""
    if identity.track and identity.session and identity.status is not FileStatus.IGNORED:
        return SessionKey(identity.track, identity.session)
    return None


def plan_copies(
    folder: SourceFolder,
    identities: Iterable[FileIdentity],
    listing: Mapping[str, ObjectInfo],
    files: pa.Table | None,
    digest_cache: DigestCache,
) -> CopyPlan:
    """Compare the source folder with the lake by content.

    Args:
        folder: The source folder.
        identities: Identities of its files.
        listing: The lake's objects by key.
        files: The published table ``files``, which lists the digests of the lake's objects.
        digest_cache: Digests of local files.

    Returns:
        The files whose content is not in the lake, except ignored files.
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
        if stored and _is_same(file, stored, known.get(file.path), digest_cache):
            unchanged += 1
            continue
        if stored:
            replaced.append(file.path)
        key = session_key_of(identity)
        (by_session.setdefault(key, []) if key else without_session).append(file)
    return CopyPlan(
        {key: tuple(chosen) for key, chosen in by_session.items()}, tuple(without_session), unchanged, tuple(replaced)
    )


def _is_same(file: SourceFile, stored: ObjectInfo, known: Mapping[str, Any] | None, digest_cache: DigestCache) -> bool:
    """Return whether the lake has this content; the catalog's digest is valid only if the object's tag is unchanged."""
    if known is None or known["sha256"] is None or known["store_tag"] != stored.tag or stored.size != file.size:
        return False
    return known["sha256"] == digest_cache.sha256_of(file.local_path)


def is_catalog_stale(
    listing: Mapping[str, ObjectInfo], files: pa.Table | None, identities: Iterable[FileIdentity], rules: str
) -> bool:
    """Return whether the table ``files`` no longer matches the lake and the source folder.

    Args:
        listing: The lake's objects by key.
        files: The published table ``files``.
        identities: Identities of the source folder's files.
        rules: Version of the current identification rules.
    """
    if files is None or (files.schema.metadata or {}).get(RULES_VERSION.encode()) != rules.encode():
        return True
    rows = files.to_pylist()
    recorded = {(row["path"], row["bytes"], row["store_tag"]) for row in rows if row["store_tag"] is not None}
    present = {(raw_path(key), item.size, item.tag) for key, item in listing.items() if key.startswith(RAW_PREFIX)}
    paths = {row["path"] for row in rows}
    return recorded != present or any(item.path not in paths for item in identities)


def sessions_to_derive(
    files: pa.Table, snapshot: Snapshot | None, listing: Mapping[str, ObjectInfo]
) -> list[SessionKey]:
    """Return the sessions whose tables are missing, were changed by hand, or were derived from other inputs."""
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

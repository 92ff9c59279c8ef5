"""Builds the tables ``files``, ``tracks`` and ``sessions`` from the store's listing and the files' identities.

The listing decides, not the records of earlier runs: a bucket filled by another tool gives the same catalog. See
``sources/__init__.py`` for identifying files and ``orchestration/io_manager.py`` for storing the tables.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa

from apex_pipeline.settings import Settings
from apex_pipeline.sources import all_sources, identify_files, sources_named
from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile, Source
from apex_pipeline.sources.session_names import session_type
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import RAW_PREFIX, raw_path
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import FILES, SESSIONS, TRACKS
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

# Metadata key of the table ``files`` for the version of the rules it was built with. New rules may identify old names
# differently.
RULES_VERSION = "apex.rules_version"


def build_files_table(store: ObjectStore, settings: Settings, previous: pa.Table | None) -> pa.Table:
    """Return the table ``files`` for everything below ``data/``.

    Args:
        store: The lake.
        settings: The settings, with the user's own identification rules.
        previous: The previous table. It supplies the digests of unchanged objects, and the ignored files that were
            found in a source folder and never copied.
    """
    stored = {raw_path(item.key): item for item in store.list(RAW_PREFIX)}
    before = {row["path"]: row for row in previous.to_pylist()} if previous is not None else {}
    rows = file_rows(store, stored, before, settings)
    kept = [row for path, row in before.items() if row["status"] == FileStatus.IGNORED and path not in stored]
    return FILES.from_rows(sorted([*rows, *kept], key=lambda row: row["path"]))


def file_rows(
    store: ObjectStore, objects: Mapping[str, ObjectInfo], before: Mapping[str, Row], settings: Settings
) -> list[Row]:
    """Return the rows of the table ``files`` for raw objects of the lake.

    Args:
        store: The lake.
        objects: The objects by path.
        before: Earlier rows by path, which supply the digests of unchanged objects.
        settings: The settings, with the user's own identification rules.
    """
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        digests = dict(zip(objects, pool.map(partial(_digest, store, before), objects.items()), strict=True))
    found = [FoundFile(path, item.size, partial(store.read_head, item.key)) for path, item in objects.items()]
    return [
        file_row(identity, objects[identity.path].tag, digests[identity.path])
        for identity in identify_files(found, settings)
    ]


def with_rules_version(files: pa.Table, version: str) -> pa.Table:
    """Return the table ``files`` with the version of the rules it was built with in its metadata."""
    return files.replace_schema_metadata({**(files.schema.metadata or {}), RULES_VERSION: version})


def add_ignored(files: pa.Table, identities: Iterable[FileIdentity]) -> pa.Table:
    """Return ``files`` with the ignored files of a source folder added; these are never copied."""
    ignored = {item.path: item for item in identities if item.status is FileStatus.IGNORED}
    rows = [row for row in files.to_pylist() if row["path"] not in ignored or row["store_tag"] is not None]
    present = {row["path"] for row in rows}
    rows.extend(file_row(item, None, None) for path, item in ignored.items() if path not in present)
    return FILES.from_rows(sorted(rows, key=lambda row: row["path"]))


def _digest(store: ObjectStore, before: Mapping[str, Row], entry: tuple[str, ObjectInfo]) -> str | None:
    """Return an object's digest from the previous catalog if its tag and size are unchanged, else from the store."""
    path, item = entry
    known = before.get(path)
    if known and known["sha256"] and known["store_tag"] == item.tag and known["bytes"] == item.size:
        return known["sha256"]
    facts = store.head(item.key)
    return facts.sha256 if facts else None


def file_row(identity: FileIdentity, tag: str | None, sha256: str | None) -> Row:
    """Return the row of the table ``files`` for one file.

    Args:
        identity: Its identity.
        tag: The store's version tag of the object; ``None`` for a file that is not in the store.
        sha256: Its digest, if known.
    """
    return {
        "path": identity.path,
        "bytes": identity.size,
        "sha256": sha256,
        "store_tag": tag,
        "content_version": sha256 or (f"tag:{tag}" if tag else None),
        "kind": str(identity.kind),
        "source": identity.source or None,
        "track": identity.track,
        "track_name": identity.track_name,
        "session": identity.session,
        "season": identity.season,
        "event_code": identity.event_code,
        "version": identity.version,
        "rule": identity.rule,
        "evidence": list(identity.evidence),
        "confidence": identity.confidence,
        "status": identity.status.value,
        "reason": identity.reason,
    }


def session_files(files: pa.Table, key: SessionKey, source: str | None = None) -> list[FileIdentity]:
    """Return the files in use of one session, sorted by path; of one source only if ``source`` is given."""
    rows = [row for row in _in_use(files) if (row["track"], row["session"]) == key]
    return [_identity(row) for row in rows if source in {None, _source_of(row)}]


def _identity(row: Row) -> FileIdentity:
    named = {name: row[name] for name in ("path", "track", "track_name", "session", "season", "event_code", "version")}
    return FileIdentity(
        **named,
        size=row["bytes"],
        kind=row["kind"],
        rule=row["rule"],
        evidence=tuple(row["evidence"]),
        confidence=row["confidence"],
        status=FileStatus(row["status"]),
        reason=row["reason"],
        source=_source_of(row),
    )


def _source_of(row: Row) -> str:
    """Return the source of a file in use; catalogs written before there were several sources do not name it."""
    return row.get("source") or all_sources()[0].name


def session_sources(files: pa.Table) -> dict[SessionKey, tuple[str, ...]]:
    """Return the names of the sources that read the files in use of each session, sorted.

    Args:
        files: The table ``files``.
    """
    readers: defaultdict[SessionKey, set[str]] = defaultdict(set)
    for row in _in_use(files):
        readers[SessionKey(row["track"], row["session"])].add(_source_of(row))
    return {key: tuple(sorted(names)) for key, names in sorted(readers.items())}


def _in_use(files: pa.Table) -> list[Row]:
    return [row for row in files.to_pylist() if row["status"] == FileStatus.READY and row["session"]]


def build_tracks_table(files: pa.Table) -> pa.Table:
    """Return one row per track that has at least one session."""
    by_track: defaultdict[str, list[Row]] = defaultdict(list)
    for row in _in_use(files):
        by_track[row["track"]].append(row)
    return TRACKS.from_rows(
        [
            {
                "track": track,
                "track_name": rows[0]["track_name"],
                "sessions": len({row["session"] for row in rows}),
                "files": len(rows),
                "bytes": sum(row["bytes"] for row in rows),
            }
            for track, rows in sorted(by_track.items())
        ]
    )


def build_sessions_table(files: pa.Table) -> pa.Table:
    """Return one row per session that has at least one file in use."""
    by_session: defaultdict[SessionKey, list[Row]] = defaultdict(list)
    for row in _in_use(files):
        by_session[SessionKey(row["track"], row["session"])].append(row)
    quarantined: defaultdict[SessionKey, int] = defaultdict(int)
    for row in files.to_pylist():
        if row["status"] == FileStatus.QUARANTINED and row["track"] and row["session"]:
            quarantined[SessionKey(row["track"], row["session"])] += 1
    sources = session_sources(files)
    rows = [
        _session_row(key, sources_named(sources[key]), by_session[key], quarantined[key]) for key in sorted(by_session)
    ]
    return SESSIONS.from_rows(rows)


def _session_row(key: SessionKey, sources: Sequence[Source], files: list[Row], quarantined: int) -> Row:
    kinds = {row["kind"] for row in files}
    return {
        "track": key.track,
        "session": key.session,
        "session_type": session_type(key.session),
        "season": next((row["season"] for row in files if row["season"]), None),
        "event_code": next((row["event_code"] for row in files if row["event_code"]), None),
        "kinds": sorted(kinds),
        "missing_kinds": [str(kind) for source in sources for kind in source.expected_kinds if kind not in kinds],
        "files": len(files),
        "quarantined_files": quarantined,
        "bytes": sum(row["bytes"] for row in files),
        "inputs_version": inputs_version(files, [source.derivation_version for source in sources]),
    }


def inputs_version(files: Iterable[Row], derivation_versions: Iterable[str]) -> str:
    """Return a hash of a session's files: contents, kinds and the versions of the derivations."""
    lines = sorted(f"{row['path']}\t{row['kind']}\t{row['version']}\t{row['content_version']}" for row in files)
    return hashlib.sha256("\n".join([*derivation_versions, *lines]).encode()).hexdigest()[:16]

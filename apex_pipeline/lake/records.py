"""Session records: which raw files a session has, as the discovery decided.

A record lists each of the session's files with its size, tag and digest, and the evidence for its identity. It is
written only when it changes. Every later station reads the record of its own session and the files it names, nothing
else. The files that belong to no session are listed in one more record. See ``ingest/discover.py`` for the discovery
and ``snapshot.py`` for what is published.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from apex_pipeline.errors import ObjectMissingError, StoreCorruptionError, StoreUnavailableError
from apex_pipeline.lake.documents import (
    MAX_DOCUMENT_BYTES,
    Digest,
    NameText,
    PathText,
    SessionText,
    dump_document,
    parse_document,
    read_document,
)
from apex_pipeline.sources import all_sources, source_named
from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import UNASSIGNED_RECORD_KEY, record_key
from apex_pipeline.storage.leases import replace_alone
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey, parse_session_key

# Each attempt fails only because another process has changed the record in between.
_MOST_ATTEMPTS = 20


@dataclass(frozen=True)
class RecordedFile:
    """One raw file, with its identity and its state in the store.

    Attributes:
        path: POSIX path relative to the source folder and to ``data/``.
        bytes: Size.
        tag: The store's version tag; ``None`` if the file is not in the store.
        sha256: Digest of the content; ``None`` if another program uploaded it without one.
        observation: What its source read from the first bytes, so that they need not be read again.
        is_gone_from_source: Whether a sync no longer found it in the source folder.

    The other attributes are those of :class:`~apex_pipeline.sources.base.FileIdentity`.
    """

    path: PathText
    bytes: int
    tag: str | None
    sha256: Digest | None
    kind: str
    source: str
    track: str | None
    track_name: str | None
    session: str | None
    season: str | None
    event_code: str | None
    version: str | None
    rule: str
    evidence: tuple[str, ...]
    confidence: float
    status: FileStatus
    reason: str | None
    observation: str = ""
    is_gone_from_source: bool = False

    @property
    def content_version(self) -> str | None:
        """What distinguishes two contents: the digest, else the store's tag."""
        return self.sha256 or (f"tag:{self.tag}" if self.tag else None)

    @property
    def is_in_use(self) -> bool:
        """Whether tables are derived from it."""
        return self.status is FileStatus.READY and self.session is not None

    @property
    def identity(self) -> FileIdentity:
        """What the file is."""
        return FileIdentity(
            path=self.path,
            size=self.bytes,
            kind=self.kind,
            track=self.track,
            track_name=self.track_name,
            session=self.session,
            season=self.season,
            event_code=self.event_code,
            version=self.version,
            rule=self.rule,
            evidence=self.evidence,
            confidence=self.confidence,
            status=self.status,
            reason=self.reason,
            source=self.source or (all_sources()[0].name if self.is_in_use else ""),
            observation=self.observation,
        )

    @classmethod
    def of(
        cls, identity: FileIdentity, tag: str | None, sha256: str | None, *, is_gone: bool = False
    ) -> "RecordedFile":
        """Return the entry of a file with this identity.

        Args:
            identity: Its identity.
            tag: The store's version tag; ``None`` if it is not in the store.
            sha256: Its digest, if known.
            is_gone: Whether a sync no longer found it in the source folder.
        """
        return cls(
            path=identity.path,
            bytes=identity.size,
            tag=tag,
            sha256=sha256,
            kind=str(identity.kind),
            source=identity.source,
            track=identity.track,
            track_name=identity.track_name,
            session=identity.session,
            season=identity.season,
            event_code=identity.event_code,
            version=identity.version,
            rule=identity.rule,
            evidence=tuple(identity.evidence),
            confidence=float(identity.confidence),
            status=identity.status,
            reason=identity.reason,
            observation=identity.observation,
            is_gone_from_source=is_gone,
        )

    @classmethod
    def from_row(cls, row: Row) -> "RecordedFile":
        """Return the entry of a file from its row of the table ``files``, the inverse of :meth:`row`."""
        names = ("path", "bytes", "sha256", "kind", "track", "track_name", "session", "season", "event_code", "version")
        return cls(
            **{name: row[name] for name in names},
            tag=row["store_tag"],
            # Catalogs written before there were several sources do not name the source.
            source=row.get("source") or "",
            rule=row["rule"],
            evidence=tuple(row["evidence"]),
            confidence=row["confidence"],
            status=FileStatus(row["status"]),
            reason=row["reason"],
        )

    def row(self) -> Row:
        """Return its row of the table ``files``."""
        return {
            "path": self.path,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "store_tag": self.tag,
            "content_version": self.content_version,
            "kind": self.kind,
            "source": self.source or None,
            "track": self.track,
            "track_name": self.track_name,
            "session": self.session,
            "season": self.season,
            "event_code": self.event_code,
            "version": self.version,
            "rule": self.rule,
            "evidence": list(self.evidence),
            "confidence": self.confidence,
            "status": self.status.value,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class SessionRecord:
    """The raw files of one session.

    Attributes:
        key: ``track/session``.
        files: Its files, sorted by path, including those set aside.
        sources: Names of the sources that read the files in use, sorted.
        inputs_version: Hash of the files in use and the versions of the derivations; empty if no file is in use.
    """

    key: SessionText
    files: tuple[RecordedFile, ...]
    sources: tuple[NameText, ...]
    inputs_version: str
    format: int = 1

    @property
    def session_key(self) -> SessionKey:
        """The session's key."""
        return parse_session_key(self.key)

    @property
    def files_in_use(self) -> list[RecordedFile]:
        """The files that tables are derived from."""
        return [file for file in self.files if file.is_in_use]

    def identities(self, source: str | None = None) -> list[FileIdentity]:
        """Return the identities of the files in use; of one source only if ``source`` is given."""
        return identities_of(self.files, source)


@dataclass(frozen=True)
class UnassignedRecord:
    """The raw files that belong to no session, sorted by path."""

    files: tuple[RecordedFile, ...]
    format: int = 1


def identities_of(files: Iterable[RecordedFile], source: str | None = None) -> list[FileIdentity]:
    """Return the identities of the files in use; of one source only if ``source`` is given."""
    found = (file.identity for file in files if file.is_in_use)
    return [identity for identity in found if source in {None, identity.source}]


def session_record(key: SessionKey, files: Iterable[RecordedFile]) -> SessionRecord:
    """Return the record of a session with these files.

    Raises:
        ConfigurationError: A file belongs to a source that is not installed.
    """
    listed = tuple(sorted(files, key=lambda file: file.path))
    used = [file for file in listed if file.is_in_use]
    sources = tuple(sorted({file.identity.source for file in used}))
    versions = [source_named(name).derivation_version for name in sources]
    return SessionRecord(str(key), listed, sources, inputs_version(used, versions) if used else "")


def inputs_version(files: Iterable[RecordedFile], derivation_versions: Iterable[str]) -> str:
    """Return a hash of a session's files: contents, kinds and the versions of the derivations."""
    lines = sorted(f"{file.path}\t{file.kind}\t{file.version}\t{file.content_version}" for file in files)
    return hashlib.sha256("\n".join([*derivation_versions, *lines]).encode()).hexdigest()[:16]


def read_record(store: ObjectStore, key: SessionKey) -> SessionRecord | None:
    """Return a session's record, or ``None`` if it has none.

    Raises:
        StoreCorruptionError: The record is damaged.
    """
    return read_document(store, record_key(str(key)), SessionRecord)


def require_record(store: ObjectStore, key: SessionKey) -> SessionRecord:
    """Return a session's record.

    Raises:
        ObjectMissingError: The session has no record, or none of its files can be used.
        StoreCorruptionError: The record is damaged.
    """
    record = read_record(store, key)
    if record is None:
        raise ObjectMissingError(
            f"The session {key} has no record in the lake {store.uri}.",
            "Materialize the asset lake/session of this partition; if that finds no files, check the spelling.",
        )
    return require_usable(record)


def require_usable(record: SessionRecord) -> SessionRecord:
    """Return the record if at least one of its files is in use.

    Raises:
        ObjectMissingError: None of its files can be used.
    """
    if not record.inputs_version:
        reasons = "; ".join(f"{file.path}: {file.reason or file.status.value}" for file in record.files[:5])
        raise ObjectMissingError(
            f"None of the files of the session {record.key} can be used ({reasons or 'it has none'}).",
            "`apex explain FILE` shows why; mend or replace the files, then materialize the asset lake/session.",
        )
    return record


def read_record_with_tag(store: ObjectStore, key: SessionKey) -> tuple[SessionRecord, str] | None:
    """Return a session's record and its tag, or ``None`` if it has none.

    Raises:
        StoreCorruptionError: The record is damaged.
    """
    at = record_key(str(key))
    found = store.read_with_tag(at, MAX_DOCUMENT_BYTES)
    return None if found is None else (parse_document(SessionRecord, found[0], store.uri_of(at)), found[1])


def write_record(store: ObjectStore, record: SessionRecord) -> ObjectInfo:
    """Write a session's record."""
    return store.write_bytes(record_key(record.key), dump_document(record))


def replace_record(store: ObjectStore, record: SessionRecord, tag: str | None) -> bool:
    """Write a session's record in place of the one with this tag (``None``: none), and return whether it was there.

    Without the session's lease, two processes can both succeed in a store without conditional writes.
    """
    return store.write_if(record_key(record.key), dump_document(record), tag) is not None


def read_unassigned(store: ObjectStore) -> UnassignedRecord:
    """Return the record of the files without a session; empty if there is none.

    Raises:
        StoreCorruptionError: It is damaged.
    """
    return read_document(store, UNASSIGNED_RECORD_KEY, UnassignedRecord) or UnassignedRecord(())


def write_unassigned(store: ObjectStore, record: UnassignedRecord) -> ObjectInfo:
    """Write the record of the files without a session."""
    return store.write_bytes(UNASSIGNED_RECORD_KEY, dump_document(record))


def change_unassigned(
    store: ObjectStore, change: Callable[[tuple[RecordedFile, ...]], Iterable[RecordedFile]]
) -> UnassignedRecord:
    """Change the record of the files without a session, and return it; nothing is written if it is the same.

    Args:
        store: The lake.
        change: Returns the files that it has from now on, given those that it has; called again if another process
            has replaced the record in between. A damaged record counts as empty.

    Raises:
        StoreUnavailableError: Others change it without a pause.
    """
    for _ in range(_MOST_ATTEMPTS):
        before, tag = _present_unassigned(store)
        after = UnassignedRecord(tuple(sorted(change(before.files if before else ()), key=lambda file: file.path)))
        if after == (before or UnassignedRecord(())) and (before is not None or tag is None):
            return after
        if replace_alone(store, UNASSIGNED_RECORD_KEY, dump_document(after), tag):
            return after
    raise StoreUnavailableError(
        f"{store.uri_of(UNASSIGNED_RECORD_KEY)} was changed {_MOST_ATTEMPTS} times in the meantime.", "Run it again."
    )


def _present_unassigned(store: ObjectStore) -> tuple[UnassignedRecord | None, str | None]:
    """Return the record of the files without a session, ``None`` if it is missing or damaged, and its tag."""
    try:
        found = store.read_with_tag(UNASSIGNED_RECORD_KEY, MAX_DOCUMENT_BYTES)
        if found is None:
            return None, None
        return parse_document(UnassignedRecord, found[0], store.uri_of(UNASSIGNED_RECORD_KEY)), found[1]
    except StoreCorruptionError:
        facts = store.head(UNASSIGNED_RECORD_KEY)
        return None, facts.tag if facts else None


def with_stored(files: Iterable[RecordedFile], stored: Mapping[str, ObjectInfo]) -> tuple[RecordedFile, ...]:
    """Return the files with size, tag and digest of the objects that a copy has just written, by path."""
    return tuple(
        replace(file, bytes=stored[file.path].size, tag=stored[file.path].tag, sha256=stored[file.path].sha256)
        if file.path in stored
        else file
        for file in files
    )

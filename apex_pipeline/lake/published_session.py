"""The published record of one session: its table files and the raw files they were derived from.

A record is immutable and named by its digest. See ``snapshot.py`` for the shards that name the records of a lake.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.lake.documents import Count, Digest, NameText, PathText, read_digested
from apex_pipeline.lake.records import RecordedFile
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import published_session_key
from apex_pipeline.tables.session_key import SessionKey

# Digits of a digest by which an entry names a table file.
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class TableRecord:
    """One published table file.

    Attributes:
        key: Its stable name.
        sha256: Digest of the content, which names the object that holds it.
        bytes: Size.
        rows: Number of rows.
    """

    key: PathText
    sha256: Digest
    bytes: Count
    rows: Count


@dataclass(frozen=True)
class PublishedSession:
    """The tables of one session, all derived from the same files.

    Attributes:
        track: Track slug.
        session: Session.
        inputs_version: Version of the files in use.
        sources: Names of its sources; none in snapshots written before there were several sources.
        tables: The tables by name.
        files: The session's raw files as recorded when it was derived; none in snapshots of format 1.
    """

    track: str
    session: str
    inputs_version: str
    sources: tuple[NameText, ...]
    tables: dict[NameText, TableRecord]
    files: tuple[RecordedFile, ...] = ()

    @property
    def key(self) -> SessionKey:
        """The session's key."""
        return SessionKey(self.track, self.session)


@dataclass(frozen=True)
class SessionEntry:
    """A session's entry in a shard.

    Attributes:
        record: Digest of its published record.
        inputs_version: Version of the files its tables were derived from.
        objects: The first 12 digits of the digest of each of its table files, in the order of the names of the tables,
            to notice damaged and missing ones in a listing.
        rows: Rows of all its tables, so that counting those of a lake reads no session's record.
        rolled_back_from: Version of the files whose tables a rollback replaced; a sync does not publish these again.
    """

    record: Digest
    inputs_version: str
    objects: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")], ...] = ()
    rows: Count = 0
    rolled_back_from: str | None = None


def session_entry(record: PublishedSession, sha256: str, rolled_back_from: str | None = None) -> SessionEntry:
    """Return the entry of a published record with this digest."""
    objects = [table.sha256[:SHOWN_DIGITS] for _, table in sorted(record.tables.items())]
    rows = sum(table.rows for table in record.tables.values())
    return SessionEntry(sha256, record.inputs_version, tuple(objects), rows, rolled_back_from)


def read_published_session(store: ObjectStore, sha256: str, session: str) -> PublishedSession:
    """Return a published record by its digest.

    Args:
        store: The lake.
        sha256: Its digest.
        session: The session it should be of, as ``track/session``.

    Raises:
        StoreCorruptionError: It is missing, damaged, or of another session.
    """
    at = published_session_key(sha256)
    record = read_digested(store, at, sha256, PublishedSession)
    if str(record.key) != session:
        raise StoreCorruptionError(
            f"{store.uri_of(at)} is the record of {record.key}, not of {session}.",
            "Run `apex sync`, which makes it again.",
        )
    return record

"""Decides what a sync remembers of its lake instead of asking the store again; see ``storage/remembering.py``."""

import hashlib
from collections.abc import Mapping

from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.snapshot import is_snapshot_part
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import OBJECTS_PREFIX, SNAPSHOTS_PREFIX, derived_key, object_key, record_key
from apex_pipeline.storage.remembering import RememberingStore
from apex_pipeline.tables.session_key import SessionKey


def remembering_snapshots(store: ObjectStore) -> RememberingStore:
    """Return the store of a sync, which reads no part of a snapshot twice: none of them ever changes."""
    return RememberingStore(store, lambda key: key.startswith(SNAPSHOTS_PREFIX), is_snapshot_part)


def remembering_session(
    store: ObjectStore, key: SessionKey, published: PublishedSession | None, listing: Mapping[str, ObjectInfo]
) -> RememberingStore:
    """Return a store for the work on one session, for as long as this process holds its lease.

    Nobody else writes the session's record and the list of its derived tables in that time. A table file that one step
    has written need not be fetched by the next, and one that is published already need not be written again.

    Args:
        store: The lake.
        key: The session.
        published: What is published of it, if all of it is intact.
        listing: The lake's objects by key.
    """
    own = {record_key(str(key)), derived_key(str(key))}

    def remembers(at: str) -> bool:
        return at in own or at.startswith(OBJECTS_PREFIX)

    def is_intact(at: str, content: bytes) -> bool:
        return at in own or at == object_key(hashlib.sha256(content).hexdigest())

    return RememberingStore(store, remembers, is_intact, _objects_of(published, listing))


def _objects_of(published: PublishedSession | None, listing: Mapping[str, ObjectInfo]) -> dict[str, ObjectInfo]:
    """Return the objects of a published session, which stay for as long as it is published, with their digests."""
    digests = {object_key(table.sha256): table.sha256 for table in published.tables.values()} if published else {}
    return {
        at: ObjectInfo(at, listing[at].size, listing[at].modified_utc, listing[at].tag, sha256)
        for at, sha256 in digests.items()
        if at in listing
    }

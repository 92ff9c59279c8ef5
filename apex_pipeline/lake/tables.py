"""Reads a lake's tables: those of a published snapshot, and those that a derivation in progress has made."""

from functools import cached_property

import pyarrow as pa

from apex_pipeline.errors import NotPublishedError, ObjectMissingError
from apex_pipeline.lake.derived import read_derived
from apex_pipeline.lake.objects import read_table_file
from apex_pipeline.lake.published_session import PublishedSession, TableRecord
from apex_pipeline.lake.records import SessionRecord, require_record
from apex_pipeline.lake.snapshot import Snapshot, read_current
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey


def require_snapshot(store: ObjectStore) -> Snapshot:
    """Return the published snapshot.

    Raises:
        ObjectMissingError: Nothing is published in this lake.
    """
    snapshot = read_current(store)
    if snapshot is None:
        is_web = store.uri.startswith(("http://", "https://"))  # which nobody syncs into
        hint = "Check the address" if is_web else "Run `apex sync FOLDER` first"
        raise ObjectMissingError(f"Nothing is published in the lake {store.uri}.", f"{hint}, or specify another lake.")
    return snapshot


def require_session(snapshot: Snapshot, key: SessionKey) -> PublishedSession:
    """Return a session's record in a snapshot.

    Raises:
        NotPublishedError: The session is not published.
    """
    session = snapshot.session(key)
    if session is None:
        known = ", ".join(map(str, snapshot.keys)) or "none"
        raise NotPublishedError(f"The session {key} is not published.", f"Published sessions: {known}.")
    return session


def session_table(store: ObjectStore, session: PublishedSession, table: Table) -> pa.Table:
    """Return a table of a published session.

    Raises:
        NotPublishedError: The session was published without this table.
        ObjectMissingError: Its content is missing.
    """
    if table.name not in session.tables:
        raise NotPublishedError(
            f"The session {session.key} was published without the table {table.name}.",
            "Run a sync to derive the session again.",
        )
    return read_table_file(store, session.tables[table.name])


class PresentTables:
    """The tables made from a session's present files, published or not; what names them is read once, when needed.

    Args:
        store: The lake.
        record: The session's record.
    """

    def __init__(self, store: ObjectStore, record: SessionRecord) -> None:
        self._store = store
        self._record = record
        self._read: dict[str, pa.Table] = {}

    def find(self, table: Table) -> TableRecord:
        """Return the file of a table.

        Raises:
            ObjectMissingError: The table was not derived from the session's present files.
        """
        found = self._derived.get(table.name) or self._published.get(table.name)
        if found is None:
            key = self._record.key
            raise ObjectMissingError(
                f"The table {table.name} of the session {key} has not been derived from the session's present files.",
                f"Materialize the asset tables/{table.name} of the partition {key} first.",
            )
        return found

    def has(self, table: Table) -> bool:
        """Return whether a table was derived from the session's present files."""
        return table.name in self._derived or table.name in self._published

    def read(self, table: Table) -> pa.Table:
        """Return a table, which is read once: a derivation and its checks look at the same ones.

        Raises:
            ObjectMissingError: The table was not derived from the session's present files, or its file is missing.
        """
        if table.name not in self._read:
            self._read[table.name] = read_table_file(self._store, self.find(table))
        return self._read[table.name]

    @cached_property
    def _derived(self) -> dict[str, TableRecord]:
        return read_derived(self._store, self._record.session_key, self._record.inputs_version)

    @cached_property
    def _published(self) -> dict[str, TableRecord]:
        snapshot = read_current(self._store)
        published = snapshot.session(self._record.session_key) if snapshot else None
        is_present = published is not None and published.inputs_version == self._record.inputs_version
        return published.tables if published is not None and is_present else {}


def derived_table(store: ObjectStore, table: Table, key: SessionKey) -> TableRecord:
    """Return the file of a session's table that was derived from the session's present files, published or not.

    Raises:
        ObjectMissingError: The session has no record, or the table was not derived from its present files.
    """
    return PresentTables(store, require_record(store, key)).find(table)

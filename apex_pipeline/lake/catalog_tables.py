"""Reads the tables ``files``, ``tracks`` and ``sessions`` as they belong to a snapshot.

They are the roll-ups, made consistent with the snapshot: sessions are published one by one and the roll-ups come at the
end of a sync, so a session whose rows are of other files than its published tables gets the rows of its published
record. A roll-up that is missing or damaged is replaced by the records. See ``rollups.py`` for the roll-ups.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from apex_pipeline.errors import ConfigurationError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.objects import read_table_file
from apex_pipeline.lake.published_session import PublishedSession, SessionEntry
from apex_pipeline.lake.records import RecordedFile, SessionRecord, inputs_version
from apex_pipeline.lake.rollups import RollUps, list_records, load_roll_ups, read_roll_up, session_row
from apex_pipeline.lake.snapshot import FORMAT, Snapshot, read_pointer
from apex_pipeline.sources import sources_named
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.sources.session_names import session_type
from apex_pipeline.storage.layout import snapshot_table_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import FILES, LISTED_SESSIONS, SESSIONS, TRACKS
from apex_pipeline.tables.model import Row, Table
from apex_pipeline.tables.session_key import SessionKey


@dataclass(frozen=True)
class CatalogTables:
    """The tables ``files``, ``tracks`` and ``sessions`` of a snapshot, each read when it is needed.

    Attributes:
        snapshot: The snapshot.
        is_current: Whether it is the published one; then the tables also list what is not published: files without a
            session, and sessions whose tables could not be derived or that a rollback took out.
    """

    snapshot: Snapshot
    is_current: bool = True

    @cached_property
    def sessions(self) -> pa.Table:
        """Table ``sessions``, in which ``is_published`` says whether the snapshot has a session.

        Raises:
            ObjectMissingError: A snapshot of format 1 has lost this table.
            StoreCorruptionError: A part of the snapshot is damaged.
        """
        if self.snapshot.format < FORMAT:
            return self._with_published(_table_of_format_1(self.snapshot, SESSIONS))
        found = {SessionKey(row["track"], row["session"]): row for row in self._roll_up(SESSIONS).to_pylist()}
        others = self._shows_others(found)
        rows = {key: row for key, row in found.items() if self._is_shown(key, row["inputs_version"], others=others)}
        rows |= {session.key: _session_row(session) for session in self._published(self._entries.keys() - rows.keys())}
        return self._with_published(SESSIONS.from_rows([row for _, row in sorted(rows.items())]))

    @cached_property
    def files(self) -> pa.Table:
        """Table ``files``; errors as for :attr:`sessions`."""
        if self.snapshot.format < FORMAT:
            return _table_of_format_1(self.snapshot, FILES)
        roll_up = self._roll_up(FILES)
        rows = {row["path"]: row for row in roll_up.to_pylist()}
        by_session: defaultdict[SessionKey | None, list[Row]] = defaultdict(list)
        for row in rows.values():
            by_session[_key_of(row)].append(row)
        others = self._shows_others(by_session)
        shown = {key for key in by_session if self._is_shown(key, _inputs_version(by_session[key]), others=others)}
        outdated = self._entries.keys() - shown
        if not others:
            rows = {row["path"]: row for key in shown for row in by_session[key]}
        # A file that came after the session was published stays listed.
        rows |= {file.path: file.row() for session in self._published(outdated) for file in session.files}
        table = FILES.from_rows([row for _, row in sorted(rows.items())])
        return table.replace_schema_metadata(roll_up.schema.metadata)

    @cached_property
    def tracks(self) -> pa.Table:
        """Table ``tracks``; errors as for :attr:`sessions`."""
        if self.snapshot.format < FORMAT:
            return _table_of_format_1(self.snapshot, TRACKS)
        by_track: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self.sessions.select(["track", "session", "files", "bytes"]).to_pylist():
            by_track[row["track"]].append(row)
        names = self._track_names(by_track)
        return TRACKS.from_rows(
            [
                {
                    "track": track,
                    "track_name": names[track],
                    "sessions": len(rows),
                    "files": sum(row["files"] for row in rows),
                    "bytes": sum(row["bytes"] for row in rows),
                }
                for track, rows in sorted(by_track.items())
            ]
        )

    @cached_property
    def _entries(self) -> dict[SessionKey, SessionEntry]:
        return self.snapshot.entries

    def _with_published(self, sessions: pa.Table) -> pa.Table:
        """Return the table ``sessions`` with the column that only a snapshot can give it."""
        published = set(self.snapshot.keys)
        keys = zip(sessions["track"].to_pylist(), sessions["session"].to_pylist(), strict=True)
        column = LISTED_SESSIONS.schema.field("is_published")
        return sessions.append_column(column, pa.array([SessionKey(*key) in published for key in keys], column.type))

    def _shows_others(self, listed: Iterable[SessionKey | None]) -> bool:
        """Return whether what a roll-up lists and the snapshot does not publish belongs into the tables.

        It does while the snapshot is the published one. Roll-ups are written after publication, so the pointer, read
        after a roll-up, tells whether that may list what a later snapshot publishes.
        """
        if not self.is_current or all(key in self._entries for key in listed):
            return self.is_current
        pointer = read_pointer(self.snapshot.store)
        return pointer is not None and pointer[0] == self.snapshot.id

    def _is_shown(self, key: SessionKey | None, version: str, *, others: bool) -> bool:
        """Return whether rows of a roll-up, for files of this version, belong to the snapshot."""
        if key is None or key not in self._entries:
            return others
        return self._entries[key].inputs_version == version

    def _published(self, keys: Iterable[SessionKey]) -> list[PublishedSession]:
        with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
            return [session for session in pool.map(self.snapshot.session, sorted(keys)) if session]

    def _track_names(self, by_track: Mapping[str, list[Row]]) -> dict[str, str]:
        """Return the display name of each track, from the roll-up or from the files of one of its sessions."""
        roll_up = read_roll_up(self.snapshot.store, TRACKS)
        rows = [] if roll_up is None else roll_up.to_pylist()
        known = {row["track"]: row["track_name"] for row in rows}
        missing = [SessionKey(track, by_track[track][0]["session"]) for track in by_track.keys() - known.keys()]
        for session in self._published(missing):
            known[session.track] = next((file.track_name for file in session.files if file.track_name), session.track)
        return {track: known.get(track, track) for track in by_track}

    def _roll_up(self, table: Table) -> pa.Table:
        """Return a roll-up; where it is missing or damaged, the rows of the records."""
        found = read_roll_up(self.snapshot.store, table)
        if found is not None:
            return found
        # An older snapshot shows published sessions only, and these have their published records.
        return getattr(self._of_records, table.name) if self.is_current else table.empty()

    @cached_property
    def _of_records(self) -> RollUps:
        return load_roll_ups(self.snapshot.store, list_records(self.snapshot.store))


def session_files(snapshot: Snapshot, session: PublishedSession) -> tuple[RecordedFile, ...]:
    """Return the raw files of a published session; for a snapshot of format 1 from its table ``files``.

    Raises:
        ObjectMissingError: A snapshot of format 1 has lost its table ``files``.
    """
    if snapshot.format == FORMAT:
        return session.files
    rows = CatalogTables(snapshot).files.to_pylist()
    return tuple(RecordedFile.from_row(row) for row in rows if _key_of(row) == session.key)


def _table_of_format_1(snapshot: Snapshot, table: Table) -> pa.Table:
    """Return a catalog table of a snapshot of format 1, from its own copy or from where it was published."""
    record = snapshot.catalog.get(table.name)
    if record is None:
        raise StoreCorruptionError(
            f"The snapshot {snapshot.id} does not name the table {table.name}.",
            "Run `apex sync`, which makes it again.",
        )
    try:
        content = read_table_file(snapshot.store, replace(record, key=snapshot_table_key(snapshot.id, table.name)))
    except (ObjectMissingError, StoreCorruptionError):
        content = read_table_file(snapshot.store, record)
    return table.with_missing_columns(content)


def _key_of(row: Row) -> SessionKey | None:
    return SessionKey(row["track"], row["session"]) if row["track"] and row["session"] else None


def _inputs_version(rows: Iterable[Row]) -> str:
    """Return the version of a session's files from its rows; empty if no file is in use or a source is missing here."""
    used = [RecordedFile.from_row(row) for row in rows if row["status"] == FileStatus.READY]
    try:
        sources = sources_named(sorted({file.identity.source for file in used}))
    except ConfigurationError:
        return ""
    return inputs_version(used, [source.derivation_version for source in sources]) if used else ""


def _session_row(session: PublishedSession) -> Row:
    """Return the row of the table ``sessions`` from a published record, which may lack its files if it is old."""
    record = SessionRecord(str(session.key), session.files, session.sources, session.inputs_version)
    try:
        row = session_row(record)
    except ConfigurationError:  # a source that is not installed here
        row = None
    return row or {
        "track": session.track,
        "session": session.session,
        "session_type": session_type(session.session),
        "kinds": sorted({file.kind for file in record.files_in_use}),
        "missing_kinds": [],
        "files": len(record.files_in_use),
        "quarantined_files": sum(file.status is FileStatus.QUARANTINED for file in record.files),
        "bytes": sum(file.bytes for file in record.files_in_use),
        "inputs_version": session.inputs_version,
    }

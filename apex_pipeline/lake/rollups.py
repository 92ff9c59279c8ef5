"""Roll-ups: the tables ``files``, ``tracks`` and ``sessions``, made from the session records for people and pandas.

Nothing is derived from a roll-up. It saves reading every record: a roll-up says which version of each record is in it,
so only the others are read, whatever the clock says. A damaged roll-up is made again from all records.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from apex_pipeline import arrow_compute as pc
from apex_pipeline.errors import ConfigurationError, StoreCorruptionError
from apex_pipeline.lake.documents import MAX_DOCUMENT_BYTES
from apex_pipeline.lake.records import RecordedFile, SessionRecord, UnassignedRecord, read_record, read_unassigned
from apex_pipeline.sources import all_sources
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.sources.session_names import session_type
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import RECORDS_PREFIX, UNASSIGNED_RECORD_KEY, record_key, table_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import FILES, SESSIONS, TRACKS
from apex_pipeline.tables.model import ZSTD_LEVEL, Row, Table
from apex_pipeline.tables.session_key import SessionKey, parse_session_key

_LOG = logging.getLogger(__name__)

# Metadata keys of the roll-ups: the version of the rules by which the files were identified, and the mark of each
# record that is in them.
RULES_VERSION = "apex.rules_version"
RECORD_MARKS = "apex.record_marks"
# Whoever writes the roll-ups holds this lease: two at once would leave some files of each.
ROLL_UPS_LEASE = "roll-ups"

# Digits of the hash of a tag that make its mark: two versions of one record have the same once in 4 billion times.
_MARK_DIGITS = 8
_MARKS = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class RollUps:
    """The three roll-ups, and what has to be known to renew them.

    Attributes:
        files: Table ``files``.
        sessions: Table ``sessions``.
        rules_version: Version of the rules by which the files were identified; empty if not known.
        is_stale: Whether the stored roll-ups are missing, damaged, or do not have all records.
    """

    files: pa.Table
    sessions: pa.Table
    rules_version: str = ""
    is_stale: bool = False

    @property
    def tracks(self) -> pa.Table:
        """Table ``tracks``."""
        return tracks_table(self.files)


def read_roll_up(store: ObjectStore, table: Table) -> pa.Table | None:
    """Return a roll-up, or ``None`` if it is missing, damaged or another table."""
    key = table_key(table.folder, table.name)
    try:
        found = store.read_with_tag(key, MAX_DOCUMENT_BYTES)
        return parse_roll_up(found[0], table) if found else None
    except (StoreCorruptionError, pa.ArrowException, ValueError, OSError) as error:
        _LOG.warning("%s cannot be read (%s); the records are read instead.", store.uri_of(key), error)
        return None


def parse_roll_up(content: bytes, table: Table) -> pa.Table:
    """Return a roll-up from its Parquet file.

    Raises:
        ValueError: It violates the schema of the table; ``pa.ArrowException`` or ``OSError``: it is damaged.
    """
    # The checksums of its pages show a changed byte that would decode to another value.
    file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    read = file.read()
    # What describes a page has no checksum: a changed byte there can leave labels without the dictionary they point to.
    read.validate(full=True)
    found = table.with_missing_columns(read)
    problems = table.violations(found)
    if problems:
        raise ValueError("; ".join(problems))
    return found.select(table.schema.names)


def load_roll_ups(store: ObjectStore, records: Mapping[str, ObjectInfo]) -> RollUps:
    """Return the roll-ups of the records in a lake, reading only the records that they do not have yet.

    Args:
        store: The lake.
        records: The objects below ``catalog/records/``, by key.
    """
    stored = _stored_roll_ups(store)
    marks, before = _marks_of(records), _stored_marks(stored.files, stored.sessions) or {}
    changed = {key for key, mark in marks.items() if before.get(key) != mark}
    later = {session_of(key) for key in changed if is_session_record(key)}
    listed = {session_of(key) for key in records if is_session_record(key)}
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        read = [record for record in pool.map(partial(_read_or_none, store), sorted(later)) if record]
    free = _read_unassigned(store).files if UNASSIGNED_RECORD_KEY in changed else None
    known = set(_keys_of(stored.sessions)) | set(_keys_of(stored.files))
    replaced = later | (known - listed)
    if not stored.is_stale and not changed and not replaced:
        return stored
    return replace(updated(stored, read, replaced, free), is_stale=True)


def _stored_roll_ups(store: ObjectStore) -> RollUps:
    """Return the stored roll-ups, which are empty if one of them is missing, damaged or of format 1."""
    files, sessions = read_roll_up(store, FILES), read_roll_up(store, SESSIONS)
    if files is None or sessions is None or _stored_marks(files, sessions) is None:
        return RollUps(FILES.empty(), SESSIONS.empty(), is_stale=True)
    return RollUps(files, sessions, (files.schema.metadata or {}).get(RULES_VERSION.encode(), b"").decode())


def _marks_of(records: Mapping[str, ObjectInfo]) -> dict[str, str]:
    """Return what marks the present version of each record, by key."""
    return {
        key: hashlib.sha256(item.tag.encode()).hexdigest()[:_MARK_DIGITS]
        for key, item in sorted(records.items())
        if key == UNASSIGNED_RECORD_KEY or is_session_record(key)
    }


def _stored_marks(*tables: pa.Table) -> dict[str, str] | None:
    """Return the marks on which all of these roll-ups agree; ``None`` if one of them has none.

    A process that is killed between two of them leaves the older version of one.
    """
    all_marks = [_marks_in(table) for table in tables]
    if any(marks is None for marks in all_marks):
        return None
    items = [set(marks.items()) for marks in all_marks if marks is not None]
    return dict(set[tuple[str, str]].intersection(*items))


def _marks_in(table: pa.Table) -> dict[str, str] | None:
    try:
        return _MARKS.validate_json((table.schema.metadata or {}).get(RECORD_MARKS.encode(), b""))
    except ValidationError:
        return None


def updated(
    roll_ups: RollUps,
    records: Iterable[SessionRecord],
    replaced: Iterable[SessionKey] = (),
    unassigned: Sequence[RecordedFile] | None = None,
) -> RollUps:
    """Return the roll-ups with these records in place of the former ones.

    Args:
        roll_ups: The former roll-ups.
        records: Records of sessions that changed.
        replaced: Sessions whose former rows are dropped even if they have no record.
        unassigned: The files that belong to no session; ``None`` if they did not change.
    """
    records = list(records)
    keys = {record.session_key for record in records} | set(replaced)
    if not keys and unassigned is None:
        return roll_ups
    new_files = [file.row() for record in records for file in record.files]
    kept_files = _without(roll_ups.files, keys)
    if unassigned is not None:
        new_files += [file.row() for file in unassigned]
        kept_files = _only_assigned(kept_files)
    new_sessions = [row for record in records if (row := session_row(record))]
    return RollUps(
        _merge(FILES, kept_files, new_files),
        _merge(SESSIONS, _without(roll_ups.sessions, keys), new_sessions),
        roll_ups.rules_version,
    )


def write_roll_ups(
    store: ObjectStore, roll_ups: RollUps, rules_version: str, records: Mapping[str, ObjectInfo]
) -> None:
    """Write the roll-ups that differ from those in the lake.

    Args:
        store: The lake.
        roll_ups: The roll-ups.
        rules_version: Version of the rules by which the files were identified.
        records: The objects below ``catalog/records/`` that are in them, by key.
    """
    for table, content in roll_up_tables(roll_ups, rules_version, records):
        write_roll_up(store, table, content)


def write_roll_up(store: ObjectStore, table: Table, content: pa.Table, *, is_new: bool = False) -> ObjectInfo:
    """Write a roll-up unless the lake has it already, and return its object.

    Args:
        store: The lake.
        table: Which roll-up.
        content: Its rows.
        is_new: Whether the lake is known to have another one.
    """
    key, data = table_key(table.folder, table.name), roll_up_bytes(content)
    found = None if is_new else store.head(key)
    if found is None or found.sha256 != hashlib.sha256(data).hexdigest():
        return store.write_bytes(key, data)
    return found


def roll_up_tables(
    roll_ups: RollUps, rules_version: str, records: Mapping[str, ObjectInfo]
) -> list[tuple[Table, pa.Table]]:
    """Return the three roll-ups with their contents, as stored; arguments as for :func:`write_roll_ups`."""
    marks = {RECORD_MARKS: json.dumps(_marks_of(records), separators=(",", ":"))}
    files = _with_metadata(roll_ups.files, FILES, marks | {RULES_VERSION: rules_version})
    sessions = _with_metadata(roll_ups.sessions, SESSIONS, marks)
    return [(FILES, files), (TRACKS, roll_ups.tracks), (SESSIONS, sessions)]


def _with_metadata(content: pa.Table, table: Table, added: Mapping[str, str]) -> pa.Table:
    return content.replace_schema_metadata({**(table.schema.metadata or {}), **added})


def list_records(store: ObjectStore) -> dict[str, ObjectInfo]:
    """Return the objects below ``catalog/records/``, by key."""
    return {item.key: item for item in store.list(RECORDS_PREFIX)}


def is_session_record(key: str) -> bool:
    """Return whether a key below ``catalog/records/`` is that of a session's record; others may write there too."""
    try:
        return record_key(str(session_of(key))) == key
    except ConfigurationError:
        return False


def session_of(key: str) -> SessionKey:
    """Return the session of a record's key."""
    return parse_session_key(key.removeprefix(RECORDS_PREFIX).removesuffix(".json"))


def tracks_table(files: pa.Table) -> pa.Table:
    """Return one row per track that has at least one session with a file in use."""
    columns = files.select(["track", "track_name", "session", "bytes", "status"]).to_pylist()
    by_track: defaultdict[str, list[Row]] = defaultdict(list)
    for row in columns:
        if row["status"] == FileStatus.READY and row["session"]:
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


def session_row(record: SessionRecord) -> Row | None:
    """Return the row of the table ``sessions``, or ``None`` if no file of the session is in use."""
    used, key = record.files_in_use, record.session_key
    if not used:
        return None
    sources = [source for source in all_sources() if source.name in record.sources]
    kinds = {file.kind for file in used}
    return {
        "track": key.track,
        "session": key.session,
        "session_type": session_type(key.session),
        "season": next((file.season for file in used if file.season), None),
        "event_code": next((file.event_code for file in used if file.event_code), None),
        "kinds": sorted(kinds),
        "missing_kinds": [str(kind) for source in sources for kind in source.expected_kinds if kind not in kinds],
        "files": len(used),
        "quarantined_files": sum(file.status is FileStatus.QUARANTINED for file in record.files),
        "bytes": sum(file.bytes for file in used),
        "inputs_version": record.inputs_version,
    }


def _keys_of(table: pa.Table) -> Iterable[SessionKey]:
    # Not by group_by, for which pyarrow imports pandas: 0.4 s of an unchanged sync.
    pairs = dict.fromkeys(zip(table["track"].to_pylist(), table["session"].to_pylist(), strict=True))
    return (SessionKey(track, session) for track, session in pairs if track and session)


def _without(table: pa.Table, keys: Iterable[SessionKey]) -> pa.Table:
    """Return the rows of other sessions, and those of none."""
    unwanted = pa.array([str(key) for key in keys], pa.string())
    return table.filter(pc.invert(pc.is_in(_session_texts(table), value_set=unwanted))) if len(unwanted) else table


def _only_assigned(table: pa.Table) -> pa.Table:
    return table.filter(pc.is_valid(_session_texts(table)))


def _session_texts(table: pa.Table) -> pa.ChunkedArray:
    """Return ``track/session`` of each row; null where one of them is."""
    track, session = (table[name].cast(pa.string()) for name in ("track", "session"))
    return pc.binary_join_element_wise(track, session, "/")


def _merge(table: Table, kept: pa.Table, new: list[Row]) -> pa.Table:
    """Return both in the table's order, encoded as if it had been made from its rows at once."""
    added = table.from_rows(new)
    columns = {
        column.name: pa.chunked_array(
            [*kept[column.name].cast(_plain(column.arrow_type)).chunks, *_plain_chunks(added, column.name)],
            _plain(column.arrow_type),
        )
        for column in table.columns
    }
    merged = pa.table(columns).sort_by([(name, "ascending") for name in table.sort_by])
    return pa.Table.from_arrays(
        [_encoded(merged[column.name].combine_chunks(), column.arrow_type) for column in table.columns],
        schema=table.schema,
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def _plain_chunks(table: pa.Table, name: str) -> list[pa.Array]:
    return table[name].cast(_plain(table.schema.field(name).type)).chunks


def _encoded(values: pa.Array, kind: pa.DataType) -> pa.Array:
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return values.dictionary_encode().cast(kind) if isinstance(kind, pa.DictionaryType) else values


def _read_or_none(store: ObjectStore, key: SessionKey) -> SessionRecord | None:
    """Return a session's record; ``None`` if it is gone or damaged, so the discovery makes it again."""
    try:
        return read_record(store, key)
    except StoreCorruptionError as error:
        _LOG.warning("%s", error.problem)
        return None


def _read_unassigned(store: ObjectStore) -> UnassignedRecord:
    try:
        return read_unassigned(store)
    except StoreCorruptionError as error:
        _LOG.warning("%s", error.problem)
        return UnassignedRecord(())


def roll_up_bytes(table: pa.Table) -> bytes:
    """Return a roll-up as Parquet; equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=ZSTD_LEVEL, write_page_checksum=True)
    return sink.getvalue().to_pybytes()

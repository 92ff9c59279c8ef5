"""Writes bundles: selected sessions and tables of a lake, copied into a self-contained lake.

A bundle has its own catalog and snapshot, and every reader opens it like any lake. Zip files of equal content are
identical byte for byte. See tables.py for formats other than Parquet.
"""

import shutil
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ConfigurationError, FileChangedError, StoreCorruptionError
from apex_pipeline.ingest.catalog import build_tracks_table
from apex_pipeline.ingest.quarantine import sync_quarantine
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.snapshot import SessionRecord, Snapshot, TableRecord, content_id, write_snapshot
from apex_pipeline.lake.tables import published_key, read_published
from apex_pipeline.sources import session_tables
from apex_pipeline.storage.atomic import new_file, new_folder, require_apart
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.file_hashing import BLOCK_BYTES
from apex_pipeline.storage.keys import INCOMING
from apex_pipeline.storage.layout import raw_key, table_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.tables import FILES, SESSIONS, TRACKS
from apex_pipeline.tables.model import ZSTD_LEVEL, Table
from apex_pipeline.tables.session_key import SessionKey

_ZIP = ".zip"
# The earliest time a zip can store, used for every file: equal content gives equal bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_READABLE_FILE = 0o100644 << 16


@dataclass(frozen=True)
class Selection:
    """Sessions and tables to copy.

    Attributes:
        sessions: Keys of the sessions.
        tables: Names of the session tables.
        has_raw_files: Whether the raw files of the sessions are included.
    """

    sessions: tuple[SessionKey, ...]
    tables: tuple[str, ...]
    has_raw_files: bool = False


@dataclass(frozen=True)
class Bundle:
    """A bundle that was written.

    Attributes:
        target: The folder or zip file.
        snapshot: The snapshot it publishes.
        files: Number of files in it.
        bytes: Size on disk, in bytes.
    """

    target: Path
    snapshot: Snapshot
    files: int
    bytes: int


def select_sessions(
    snapshot: Snapshot,
    *,
    tracks: Collection[str] = (),
    sessions: Collection[str] = (),
    tables: Collection[str] = (),
    has_raw_files: bool = False,
) -> Selection:
    """Select sessions and tables by name; an empty collection selects all.

    Raises:
        ConfigurationError: The lake has no such track, session or table, or no session matches both track and session.
    """
    records = snapshot.sessions
    _require_known("track", tracks, {record.track for record in records})
    _require_known("session", sessions, {record.session for record in records})
    known = [table.name for table in session_tables()]
    _require_known("table", tables, set(known))
    chosen = tuple(
        record.key
        for record in records
        if (not tracks or record.track in tracks) and (not sessions or record.session in sessions)
    )
    if not chosen:
        raise ConfigurationError(
            f"No session is published for {', '.join(sorted(sessions))} at {', '.join(sorted(tracks))}.",
            f"Available: {', '.join(str(record.key) for record in records) or 'none'}.",
        )
    return Selection(chosen, tuple(name for name in known if not tables or name in tables), has_raw_files)


def _require_known(kind: str, wanted: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ConfigurationError(
            f"The lake has no {kind} {', '.join(unknown)}.", f"It has: {', '.join(sorted(known)) or 'none'}."
        )


def write_bundle(store: ObjectStore, snapshot: Snapshot, selection: Selection, target: Path) -> Bundle:
    """Write selected sessions and tables as a separate lake, and verify every byte of it.

    Args:
        store: The lake.
        snapshot: The snapshot to copy from.
        selection: Sessions and tables to copy.
        target: The new folder; a zip file if it ends in ``.zip``. It appears only when it is complete.

    Raises:
        ConfigurationError: The target exists, or is inside the lake.
        ObjectMissingError: A published object is missing from the lake.
        StoreCorruptionError: An object of the lake differs from what was published.
        StoreError: The disk refused the target.
    """
    if "://" not in store.uri:
        require_apart(target, Path(store.uri))
    if target.suffix.lower() != _ZIP:
        with new_folder(target) as folder:
            written = _fill(store, snapshot, selection, folder)
            sizes = [path.stat().st_size for path in _files_in(folder)]
        return Bundle(target, written, len(sizes), sum(sizes))
    with new_file(target) as file, TemporaryDirectory(dir=target.parent, prefix=".bundle-") as scratch:
        folder = Path(scratch)
        written = _fill(store, snapshot, selection, folder)
        with translating_os_errors(f"Writing {target}"):
            count = _zip_folder(folder, file)
    return Bundle(target, written, count, target.stat().st_size)


def _fill(store: ObjectStore, snapshot: Snapshot, selection: Selection, folder: Path) -> Snapshot:
    """Build the bundle in an empty folder."""
    bundle = LocalStore(folder, DigestCache())
    chosen = [record for record in snapshot.sessions if record.key in selection.sessions]
    records = [_copy_session(store, bundle, record, selection) for record in chosen]
    files = _rows_of(read_published(store, snapshot.catalog[FILES.name]), selection.sessions)
    files = _copy_raw(store, bundle, files, is_wanted=selection.has_raw_files)
    sessions = _rows_of(read_published(store, snapshot.catalog[SESSIONS.name]), selection.sessions)
    tables = ((FILES, files), (TRACKS, build_tracks_table(files)), (SESSIONS, sessions))
    catalog = {table.name: _write_table(bundle, table, content) for table, content in tables}
    written = replace(
        snapshot,
        id=f"{snapshot.id.partition('-')[0]}-{content_id(catalog, records)}",
        parent=None,
        catalog=catalog,
        sessions=tuple(records),
    )
    write_snapshot(bundle, written)
    _verify(bundle)
    with translating_os_errors(f"Creating {folder}"):
        (folder / INCOMING).rmdir()
    return written


def _copy_session(
    store: ObjectStore, bundle: ObjectStore, record: SessionRecord, selection: Selection
) -> SessionRecord:
    tables = {name: table for name, table in record.tables.items() if name in selection.tables}
    for table in tables.values():
        _copy(store, published_key(store, table), bundle, table.key, table.sha256)
    return replace(record, tables=tables)


def _copy(store: ObjectStore, source: str, bundle: ObjectStore, target: str, sha256: str | None) -> str:
    """Copy an object and return its digest."""
    with store.open_as_file(source) as path:
        try:
            return str(bundle.write_file(target, path, sha256=sha256).sha256)
        except FileChangedError as error:
            raise StoreCorruptionError(
                f"{store.uri_of(source)} differs from what was published: {error.problem}",
                "Run `apex verify --deep` to see what else is damaged, then `apex sync` to derive it again.",
            ) from error


def _copy_raw(store: ObjectStore, bundle: ObjectStore, files: pa.Table, *, is_wanted: bool) -> pa.Table:
    """Copy the raw files, if requested, and return the table ``files`` of the bundle.

    An object tag is valid only in its original lake, so the digest replaces it.
    """
    rows = files.to_pylist()
    for row in rows:
        is_copied = is_wanted and row["store_tag"] is not None
        if is_copied:
            key = raw_key(row["path"])
            row["sha256"] = _copy(store, key, bundle, key, row["sha256"])
        row["store_tag"] = row["sha256"] if is_copied else None
    table = FILES.from_rows(rows).replace_schema_metadata(files.schema.metadata)
    if is_wanted:
        sync_quarantine(bundle, table)
    return table


def _rows_of(table: pa.Table, sessions: Collection[SessionKey]) -> pa.Table:
    """Return the rows of these sessions in their original order."""
    pairs = zip(table["track"].to_pylist(), table["session"].to_pylist(), strict=True)
    return table.filter(pa.array([pair in sessions for pair in pairs], pa.bool_()))


def _write_table(bundle: ObjectStore, table: Table, content: pa.Table) -> TableRecord:
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink, compression="zstd", compression_level=ZSTD_LEVEL)
    stored = bundle.write_bytes(table_key(table.folder, table.name), sink.getvalue().to_pybytes())
    return TableRecord(stored.key, str(stored.sha256), stored.size, content.num_rows, None)


def _verify(bundle: ObjectStore) -> None:
    """Read back every byte that was written, and raise if any object is damaged."""
    wrong = verify_lake(bundle, is_deep=True).wrong
    if wrong:
        raise StoreCorruptionError(
            f"The bundle is damaged: {wrong[0].key} {wrong[0].problem}.",
            "Check the disk, then create the bundle again.",
        )


def _zip_folder(folder: Path, target: Path) -> int:
    """Write everything in a folder into a zip file, and return the number of files."""
    paths = _files_in(folder)
    with zipfile.ZipFile(target, "w") as archive:
        for path in paths:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _ZIP_TIME)
            entry.external_attr = _READABLE_FILE
            entry.create_system = _UNIX
            entry.file_size = path.stat().st_size
            # Parquet is compressed already.
            entry.compress_type = zipfile.ZIP_STORED if path.suffix == ".parquet" else zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink, BLOCK_BYTES)
    return len(paths)


def _files_in(folder: Path) -> list[Path]:
    return sorted((path for path in folder.rglob("*") if path.is_file()), key=Path.as_posix)

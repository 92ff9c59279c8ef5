"""Writes bundles: selected sessions and tables of a lake, copied into a self-contained lake.

A bundle has its own records, roll-ups and snapshot, and every reader opens it like any lake. Zip files of equal content
are identical byte for byte. See tables.py for formats other than Parquet.
"""

import shutil
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from apex_pipeline.errors import ConfigurationError, FileChangedError, StoreCorruptionError
from apex_pipeline.ingest.quarantine import sync_quarantine
from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.history import created
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.objects import table_file_key
from apex_pipeline.lake.publication import Change, publish, write_stable_names
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.records import RecordedFile, SessionRecord, write_record
from apex_pipeline.lake.rollups import RollUps, roll_up_bytes, updated
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.progress import current_progress
from apex_pipeline.sources import session_tables
from apex_pipeline.storage.atomic import new_file, new_folder, require_apart
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.file_hashing import BLOCK_BYTES
from apex_pipeline.storage.keys import INCOMING
from apex_pipeline.storage.layout import object_key, raw_key, table_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.tables import FILES, SESSIONS, TRACKS
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
        snapshot: Id of the snapshot it publishes.
        sessions: The published records of its sessions.
        files: Number of files in it.
        bytes: Size on disk, in bytes.
    """

    target: Path
    snapshot: str
    sessions: tuple[PublishedSession, ...]
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
    keys = snapshot.keys
    _require_known("track", tracks, {key.track for key in keys})
    _require_known("session", sessions, {key.session for key in keys})
    known = [table.name for table in session_tables()]
    _require_known("table", tables, set(known))
    chosen = tuple(
        key for key in keys if (not tracks or key.track in tracks) and (not sessions or key.session in sessions)
    )
    if not chosen:
        raise ConfigurationError(
            f"No session is published for {', '.join(sorted(sessions))} at {', '.join(sorted(tracks))}.",
            f"Available: {', '.join(map(str, keys)) or 'none'}.",
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
        return Bundle(target, *written, len(sizes), sum(sizes))
    with new_file(target) as file, TemporaryDirectory(dir=target.parent, prefix=".bundle-") as scratch:
        folder = Path(scratch)
        written = _fill(store, snapshot, selection, folder)
        with translating_os_errors(f"Writing {target}"):
            count = _zip_folder(folder, file)
    return Bundle(target, *written, count, target.stat().st_size)


def bundle_bytes(snapshot: Snapshot, selection: Selection) -> int:
    """Return the size of the objects that a bundle copies and then reads back, reporting each as progress twice."""
    sessions = [session for key in selection.sessions if (session := snapshot.session(key))]
    tables = sum(table.bytes for one in sessions for name, table in one.tables.items() if name in selection.tables)
    raw = (file.bytes for one in sessions for file in session_files(snapshot, one) if file.tag is not None)
    return 2 * (tables + (sum(raw) if selection.has_raw_files else 0))


def _fill(
    store: ObjectStore, snapshot: Snapshot, selection: Selection, folder: Path
) -> tuple[str, tuple[PublishedSession, ...]]:
    """Build the bundle in an empty folder; return the id of its snapshot and the records of its sessions."""
    bundle = LocalStore(folder, DigestCache())
    sessions = [session for key in selection.sessions if (session := snapshot.session(key))]
    chosen = [_copy_session(store, bundle, snapshot, session, selection) for session in sessions]
    written = publish(bundle, {session.key: Change(session) for session in chosen}, created(snapshot))
    for session in chosen:
        write_stable_names(bundle, session.tables, {})
    _write_roll_ups(bundle, chosen, has_raw_files=selection.has_raw_files)
    _verify(bundle)
    with translating_os_errors(f"Creating {folder}"):
        shutil.rmtree(folder / INCOMING)
    return written.id, tuple(chosen)


def _copy_session(
    store: ObjectStore, bundle: ObjectStore, snapshot: Snapshot, session: PublishedSession, selection: Selection
) -> PublishedSession:
    """Copy the selected tables of a session and, if requested, its raw files."""
    tables = {name: table for name, table in session.tables.items() if name in selection.tables}
    for table in tables.values():
        _copy(store, table_file_key(store, table), bundle, object_key(table.sha256), table.sha256)
    files = [
        _copy_raw(store, bundle, file, is_wanted=selection.has_raw_files) for file in session_files(snapshot, session)
    ]
    return replace(session, tables=tables, files=tuple(files))


def _copy(store: ObjectStore, source: str, bundle: ObjectStore, target: str, sha256: str | None) -> str:
    """Copy an object and return its digest."""
    with store.open_as_file(source) as path:
        try:
            written = bundle.write_file(target, path, sha256=sha256)
        except FileChangedError as error:
            raise StoreCorruptionError(
                f"{store.uri_of(source)} differs from what was published: {error.problem}",
                "Run `apex verify --deep` to see what else is damaged, then `apex sync` to derive it again.",
            ) from error
    progress = current_progress()
    if progress:
        progress(written.size)
    return str(written.sha256)


def _copy_raw(store: ObjectStore, bundle: ObjectStore, file: RecordedFile, *, is_wanted: bool) -> RecordedFile:
    """Copy a raw file, if requested, and return its entry in the bundle.

    An object tag is valid only in its original lake, so the digest replaces it.
    """
    if not is_wanted or file.tag is None:
        return replace(file, tag=None)
    key = raw_key(file.path)
    sha256 = _copy(store, key, bundle, key, file.sha256)
    return replace(file, tag=sha256, sha256=sha256)


def _write_roll_ups(bundle: ObjectStore, sessions: list[PublishedSession], *, has_raw_files: bool) -> None:
    """Write the session records, the roll-ups and, with raw files, the reasons of those that are quarantined."""
    records = [
        SessionRecord(str(session.key), session.files, session.sources, session.inputs_version) for session in sessions
    ]
    for record in records:
        write_record(bundle, record)
    roll_ups = updated(RollUps(FILES.empty(), SESSIONS.empty()), records)
    for table, content in ((FILES, roll_ups.files), (TRACKS, roll_ups.tracks), (SESSIONS, roll_ups.sessions)):
        bundle.write_bytes(table_key(table.folder, table.name), roll_up_bytes(content))
    if has_raw_files:
        sync_quarantine(bundle, roll_ups.files)


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

"""Derives and publishes a lake without Dagster: laps, cars and official laps; the other tables are empty."""

from datetime import UTC, datetime
from pathlib import Path

from apex_pipeline.ingest.catalog import build_files_table, build_sessions_table, build_tracks_table, session_files
from apex_pipeline.lake.raw_files import raw_file_opener
from apex_pipeline.lake.snapshot import INPUTS_VERSION, Snapshot, publish
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.gr_cup.derive import derive_lap_tables, derive_official_tables
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key, table_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CARS, FILES, LAPS, OFFICIAL_LAPS, RACE_TABLES, SESSIONS, TRACKS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import parquet_bytes

_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def open_lake(folder: Path) -> LocalStore:
    """Open the lake in a folder for writing."""
    store = LocalStore(folder, DigestCache())
    store.prepare_for_writing()
    return store


def publish_folder(store: ObjectStore, folder: Path, scratch: Path, *, with_official: bool = True) -> Snapshot:
    """Copy a folder of raw files into a lake, derive the laps of its sessions and publish them.

    Args:
        store: The lake.
        folder: Raw files.
        scratch: Folder for temporary files.
        with_official: Use official timing in the derivation.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.write_bytes(raw_key(path.relative_to(folder).as_posix()), path.read_bytes())
    rules, open_file = load_rules(), raw_file_opener(store)
    files = build_files_table(store, load_settings(), None)
    sessions = build_sessions_table(files)
    for row in sessions.to_pylist():
        key = SessionKey(row["track"], row["session"])
        raw_files = session_files(files, key)
        official = derive_official_tables(key, raw_files, open_file).official_laps
        laps = derive_lap_tables(
            key,
            raw_files,
            open_file,
            official if with_official else None,
            rules.zone_of(key.track),
            Workspace(10**9, scratch),
        )
        derived = {LAPS: laps.laps, CARS: laps.cars, OFFICIAL_LAPS: official}
        for table in RACE_TABLES:
            content = derived.get(table, table.empty()).replace_schema_metadata({INPUTS_VERSION: row["inputs_version"]})
            store.write_bytes(table_key(table.folder, table.name, str(key)), parquet_bytes(content))
    for table, content in ((FILES, files), (SESSIONS, sessions), (TRACKS, build_tracks_table(files))):
        store.write_bytes(table_key(table.folder, table.name, None), parquet_bytes(content))
    return publish(store, sessions, _NOON)

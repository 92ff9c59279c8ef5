"""Syncs a folder without Dagster: copies, records, derives and publishes each session with the functions of a sync."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.ingest.discover import discover
from apex_pipeline.ingest.quarantine import sync_quarantine
from apex_pipeline.ingest.session_work import (
    copy_work,
    unassigned_work_of,
    work_of,
    write_unassigned_work,
    write_work_record,
)
from apex_pipeline.ingest.source_folder import scan_folder
from apex_pipeline.lake.derived import add_derived
from apex_pipeline.lake.objects import write_table_file
from apex_pipeline.lake.publication import Change, publish, publish_session
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.raw_files import raw_file_opener
from apex_pipeline.lake.records import SessionRecord
from apex_pipeline.lake.rollups import read_roll_up
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.settings import load_settings
from apex_pipeline.sources import rules_version, source_named
from apex_pipeline.sources.gr_cup.derive import derive_lap_tables, derive_official_tables
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import record_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CARS, FILES, LAPS, OFFICIAL_LAPS, RACE_TABLES
from apex_pipeline.tables.model import ZSTD_LEVEL, Table
from apex_pipeline_tests.lake.tables import NOON, renew_roll_ups

_Content = tuple[Table, pa.Table | Path]


def open_lake(folder: Path) -> LocalStore:
    """Open the lake in a folder for writing."""
    store = LocalStore(folder, DigestCache())
    store.prepare_for_writing()
    return store


def publish_folder(
    store: ObjectStore,
    folder: Path | None,
    scratch: Path,
    *,
    with_official: bool = True,
    is_complete: bool = False,
    now: datetime = NOON,
) -> Snapshot:
    """Bring a lake up to date with a folder of raw files, like a sync.

    Args:
        store: The lake.
        folder: Raw files; ``None`` if they are in the lake already.
        scratch: Folder for temporary files.
        with_official: Use official timing in the derivation.
        is_complete: Derive every table; otherwise laps, cars and official laps, and the others are empty.
        now: Time of publication.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    digests, settings = DigestCache(), load_settings()
    found = discover(store, settings, scan_folder(folder) if folder else None, digests)
    free = unassigned_work_of(found)
    copy_work(free, store, digests)
    write_unassigned_work(free, store)
    for key, files in found.changed.items():
        if not any(file.is_in_use for file in files):
            publish(store, {key: Change(None)}, now)
            store.delete(record_key(str(key)))
            continue
        work = work_of(key, found)
        copy_work(work, store, digests)
        record = write_work_record(work, store)
        if is_complete:
            tables = _derive_all(store, record, scratch)
        else:
            tables = _derive_laps(store, record, scratch, with_official=with_official)
        add_derived(store, key, record.inputs_version, _put_tables(store, record, tables, scratch))
        publish_session(store, record, now)
    renew_roll_ups(store, rules_version(settings))
    files = read_roll_up(store, FILES)
    sync_quarantine(store, FILES.empty() if files is None else files)
    return require_snapshot(store)


def _derive_all(store: ObjectStore, record: SessionRecord, scratch: Path) -> Iterator[_Content]:
    workspace, opener = Workspace(10**9, scratch), raw_file_opener(store)
    for name in record.sources:
        source = source_named(name)
        rules = source.load_rules(load_settings())
        for derived in source.derive(record.session_key, record.identities(name), opener, workspace, rules):
            yield derived.table, derived.content


def _derive_laps(
    store: ObjectStore, record: SessionRecord, scratch: Path, *, with_official: bool
) -> Iterator[_Content]:
    key, files, opener = record.session_key, record.identities(), raw_file_opener(store)
    official = derive_official_tables(key, files, opener).official_laps
    zone = load_rules().zone_of(key.track)
    known = official if with_official else None
    laps = derive_lap_tables(key, files, opener, known, zone, Workspace(10**9, scratch))
    derived = {LAPS: laps.laps, CARS: laps.cars, OFFICIAL_LAPS: official}
    return ((table, derived.get(table, table.empty())) for table in RACE_TABLES)


def _put_tables(
    store: ObjectStore, record: SessionRecord, tables: Iterable[_Content], scratch: Path
) -> dict[str, TableRecord]:
    path, written = scratch / "table.parquet", dict[str, TableRecord]()
    for table, content in tables:
        if isinstance(content, Path):
            content.replace(path)
        else:
            pq.write_table(content, path, compression="zstd", compression_level=ZSTD_LEVEL)
        written[table.name] = write_table_file(store, table.name, record.session_key, path)
    return written

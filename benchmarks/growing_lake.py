"""Makes lakes of many small sessions, quickly: the state that a first sync would leave, for benchmarks/growth.py.

Every session has three lap files of two cars. They are identified as in a sync; the tables of one session are derived,
and every other session gets these with another footer, so that its files have digests of their own. Nothing else is
different: the next sync finds nothing to do.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.ingest.discover import discover
from apex_pipeline.ingest.source_folder import scan_folder
from apex_pipeline.lake.objects import write_table_file
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.published_session import PublishedSession, TableRecord
from apex_pipeline.lake.records import SessionRecord, session_record, write_record
from apex_pipeline.lake.rollups import list_records, load_roll_ups, write_roll_ups
from apex_pipeline.settings import load_settings
from apex_pipeline.sources import rules_version
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import object_key, raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.model import ZSTD_LEVEL
from apex_pipeline_tests.lake.derived import publish_folder

_THREADS = 16
_CARS = ("GR86-002-2", "GR86-013-13")
_LAPS = 6
_HEADER = "expire_at,lap,meta_event,meta_session,meta_source,meta_time,outing,timestamp,vehicle_id,vehicle_number"
_GREEN = datetime(2025, 6, 14, 18, 40, tzinfo=UTC)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def make_races(folder: Path, sessions: int) -> Path:
    """Write the raw files of a number of sessions, four on each track, and return their folder."""
    for number in range(sessions):
        write_race(folder, number)
    return folder


def write_race(folder: Path, number: int, version: int = 0) -> None:
    """Write the lap files of one session; the version changes its lap times."""
    track, race = f"circuit_{number // 4:03d}", number % 4 + 1
    target = folder / track / f"Race {race}"
    target.mkdir(parents=True, exist_ok=True)
    for kind in ("start", "end", "time"):
        lines = [_HEADER]
        for place, car in enumerate(_CARS):
            crossing = _GREEN + timedelta(days=number, seconds=3 * place)
            for lap in range(_LAPS + 1):
                # Every session has times of its own, so that no two files are equal.
                crossing += timedelta(seconds=97 + lap / 10 + place + version, milliseconds=number % 977)
                text = crossing.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
                count = lap + (kind == "start")
                lines.append(f",{count},I_R0{race}_2025,R{race},kafka,{text}Z,0,{text}Z,{car},{car.rpartition('-')[2]}")
        (target / f"R{race}_{track}_lap_{kind}.csv").write_text("\n".join(lines) + "\n")


def fill_lake(store: ObjectStore, races: Path) -> int:
    """Bring an empty lake to the state after a sync of a folder of races, and return the number of its sessions."""
    files = scan_folder(races).files
    _each(files, lambda file: store.write_bytes(raw_key(file.path), file.local_path.read_bytes()))
    settings = load_settings()
    found = discover(store, settings, None, DigestCache())
    records = [session_record(key, listed) for key, listed in found.changed.items()]
    _each(records, lambda record: write_record(store, record))
    contents = _derived_contents(races)
    sessions = dict(_each(records, lambda record: (record.session_key, _published(store, record, contents))))
    publish(store, {key: Change(session) for key, session in sessions.items()}, datetime.now(UTC))
    tables = [table for session in sessions.values() for table in session.tables.values()]
    _each(tables, lambda table: store.copy(object_key(table.sha256), table.key))
    listed = list_records(store)
    write_roll_ups(store, load_roll_ups(store, listed), rules_version(settings), listed)
    return len(sessions)


def _each(items: Iterable[_Item], work: Callable[[_Item], _Result]) -> list[_Result]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, items))


def _derived_contents(races: Path) -> dict[str, pa.Table]:
    """Return the tables of one session, derived without Dagster in a lake of its own."""
    with TemporaryDirectory() as text:
        folder = Path(text)
        first = next(path for path in sorted(races.rglob("*")) if path.name.startswith("Race "))
        shutil.copytree(first, folder / "races" / first.relative_to(races))
        store = LocalStore(folder / "lake", DigestCache())
        store.prepare_for_writing()
        snapshot = publish_folder(store, folder / "races", folder / "scratch", is_complete=True)
        (session,) = snapshot.sessions
        paths = {name: store.uri_of(object_key(table.sha256)) for name, table in session.tables.items()}
        return {name: pq.ParquetFile(path).read() for name, path in paths.items()}


def _published(store: ObjectStore, record: SessionRecord, contents: Mapping[str, pa.Table]) -> PublishedSession:
    key, tables = record.session_key, dict[str, TableRecord]()
    with TemporaryDirectory() as folder:
        for name, content in contents.items():
            path = Path(folder, f"{name}.parquet")
            own = content.replace_schema_metadata({**(content.schema.metadata or {}), b"session": str(key).encode()})
            pq.write_table(own, path, compression="zstd", compression_level=ZSTD_LEVEL)
            tables[name] = write_table_file(store, name, key, path)
    return PublishedSession(
        key.track, key.session, record.inputs_version, record.sources, dict(sorted(tables.items())), record.files
    )

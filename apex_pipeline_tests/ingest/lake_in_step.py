"""A source folder and a lake, with the steps of a sync that need no Dagster as separate methods."""

import shutil
from pathlib import Path

from apex_pipeline.ingest.discover import Discovery, discover
from apex_pipeline.ingest.session_work import copy_work, record_of, unassigned_work_of, work_of, write_unassigned_work
from apex_pipeline.ingest.source_folder import SourceFolder, scan_folder
from apex_pipeline.lake.records import SessionRecord, read_record, write_record
from apex_pipeline.lake.rollups import list_records, load_roll_ups, write_roll_ups
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources import rules_version
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

_HEADER = "expire_at,lap,meta_event,meta_session,meta_source,meta_time,outing,timestamp,vehicle_id\n"
_ROW = ",{lap},I_R06_2025-09-07,{session},k,2025-09-06T18:40:41.927Z,0,2025-09-06T18:40:41.775Z,GR86-002-0\n"


def lap_csv(session: str = "R1", lap: int = 1) -> str:
    """Return a lap file with one row."""
    return _HEADER + _ROW.format(session=session, lap=lap)


class LakeInStep:
    """A source folder and a lake.

    Args:
        root: The source folder.
        store: The lake.
    """

    def __init__(self, root: Path, store: LocalStore) -> None:
        self.root = root
        self.store = store
        self.digest_cache = DigestCache()
        self.settings: Settings = load_settings(source_dir=root)
        root.mkdir(exist_ok=True)

    def write(self, path: str, content: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(content, encoding="utf-8")

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    @property
    def folder(self) -> SourceFolder:
        return scan_folder(self.root)

    def discover(self, *, with_source: bool = True) -> Discovery:
        return discover(self.store, self.settings, self.folder if with_source else None, self.digest_cache)

    def apply(self, found: Discovery) -> None:
        """Copy what is to be copied, write the records that changed, and the roll-ups."""
        for key in found.changed:
            if found.changed[key]:
                work = work_of(key, found)
                copy_work(work, self.store, self.digest_cache)
                write_record(self.store, record_of(work))
        free = unassigned_work_of(found)
        copy_work(free, self.store, self.digest_cache)
        write_unassigned_work(free, self.store)
        self.renew_roll_ups()

    def renew_roll_ups(self) -> None:
        records = list_records(self.store)
        write_roll_ups(self.store, load_roll_ups(self.store, records), rules_version(self.settings), records)

    def sync(self, *, with_source: bool = True) -> Discovery:
        found = self.discover(with_source=with_source)
        self.apply(found)
        return found

    def record(self, key: SessionKey) -> SessionRecord | None:
        return read_record(self.store, key)

    def rows(self) -> dict[str, Row]:
        """Return the rows of the roll-up ``files``, by path."""
        return {str(row["path"]): row for row in load_roll_ups(self.store, list_records(self.store)).files.to_pylist()}

    def damage(self, key: str, content: bytes) -> None:
        """Replace an object's bytes behind the store's back."""
        Path(self.store.uri_of(key)).write_bytes(content)

    def drop(self, key: str) -> None:
        """Remove an object behind the store's back."""
        Path(self.store.uri_of(key)).unlink()

    def drop_raw(self, path: str) -> None:
        self.drop(raw_key(path))

    def forget_records(self) -> None:
        """Remove the records and the roll-ups, so that everything has to be identified again."""
        shutil.rmtree(Path(self.store.uri) / "catalog")

"""A folder of delivered event files and a lake for their records."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from apex_pipeline.events.days import DayReport, DayWriter, delivered_files
from apex_pipeline.events.event_keys import DayKey, records_key, rejects_key
from apex_pipeline.sources.events.mapping import SourceMapping
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore

SOURCE = "pit-wall"
DAY = "2025-07-29"
KEY = DayKey(SOURCE, DAY)


class Deliveries:
    """Delivered files and the records made of them.

    Args:
        folder: Where everything lies.
        mapping: What the events mean.
    """

    def __init__(self, folder: Path, mapping: SourceMapping | None = None) -> None:
        self.mapping = mapping or SourceMapping()
        self.store = LocalStore(folder / "bucket", DigestCache(folder / "digests.sqlite"))
        self.store.prepare_for_writing()
        self.lake = LocalStore(folder / "lake", DigestCache(folder / "digests.sqlite"))
        self.lake.prepare_for_writing()
        self.temp_dir = folder

    def deliver(self, name: str, content: bytes) -> None:
        self.store.write_bytes(f"xml-events/{name}", content)

    @property
    def writer(self) -> DayWriter:
        return DayWriter(self.store, self.lake, self.mapping, self.temp_dir)

    def make(self, key: DayKey = KEY) -> DayReport:
        files = {day.isoformat(): files for day, files in delivered_files(self.store, "xml-events/").items()}
        return self.writer.write(key, files.get(key.day, []))

    def records(self, *, is_private: bool = False) -> list[dict[str, Any]]:
        return self._rows(records_key(KEY, is_private=is_private))

    def rejects(self, *, is_private: bool = False) -> list[dict[str, Any]]:
        return self._rows(rejects_key(KEY, is_private=is_private))

    def _rows(self, key: str) -> list[dict[str, Any]]:
        with self.lake.open_as_file(key) as path, pq.ParquetFile(path) as file:
            return file.read().to_pylist()

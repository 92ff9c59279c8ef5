"""Contains helpers for the read cache tests: sample contents, every read method, and the cached files."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.caching import CachedStore
from apex_pipeline.storage.disk_cache import DiskCache

KEY = "tables/x.parquet"
SMALL = b"lap,time\n1,97.428\n" * 100
# Larger than the objects that open_seekable fetches completely.
LARGE = np.random.default_rng(5).bytes(4_500_000)

Requests = list[tuple[str, dict[str, Any]]]


def read_by_read_bytes(store: ObjectStore, key: str) -> bytes:
    return store.read_bytes(key)


def read_by_open_as_file(store: ObjectStore, key: str) -> bytes:
    with store.open_as_file(key) as path:
        return path.read_bytes()


def read_by_open_stream(store: ObjectStore, key: str) -> bytes:
    with store.open_stream(key) as stream:
        return stream.read()


def read_by_open_seekable(store: ObjectStore, key: str) -> bytes:
    with store.open_seekable(key) as stream:
        return stream.read()


READS: list[Callable[[ObjectStore, str], bytes]] = [
    read_by_read_bytes,
    read_by_open_as_file,
    read_by_open_stream,
    read_by_open_seekable,
]


def cached_store(store: ObjectStore, tmp_path: Path, max_bytes: int = 1_000_000_000) -> CachedStore:
    return CachedStore(store, DiskCache(tmp_path / "cache", max_bytes))


def count_operations(requests: Requests) -> Counter[str]:
    return Counter(name for name, _ in requests)


def cached_files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache" / "objects").rglob("*") if path.is_file())


def disk_usage(folder: Path) -> int:
    return sum({path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}.values())

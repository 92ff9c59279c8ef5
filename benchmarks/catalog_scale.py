"""Measures how long it takes to build the catalog of many tracks, with and without an earlier catalog.

    .venv/bin/python benchmarks/catalog_scale.py --tracks 100 --sessions 4
    USE_S3_DATA=true ... .venv/bin/python benchmarks/catalog_scale.py --tracks 100 --sessions 4

Fills a lake with seven small files per session and builds the tables files, tracks and sessions, then lists them
through the loader that applications call. The lake is a temporary folder or, with ``USE_S3_DATA=true``, a new prefix
in the bucket of the settings, which is emptied afterwards.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pyarrow as pa

from apex_pipeline.catalog import get_loader
from apex_pipeline.ingest.catalog import build_files_table, build_sessions_table, build_tracks_table
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store

_THREADS = 8
_Result = TypeVar("_Result")

_TRIGGERS = ("lap,meta_event,meta_session,meta_time,timestamp,vehicle_id", "2,E,R{n},{time},{time},GR86-002-2")
_TELEMETRY = (
    "lap,meta_session,meta_time,telemetry_name,telemetry_value,timestamp,vehicle_id",
    "1,R{n},{time},speed,101.5,{time},GR86-002-2",
)
_TIME = "2025-09-06T18:40:00.000Z"
# File name, header and row of every file of a session.
_FILES = {
    "R{n}_{track}_lap_start.csv": _TRIGGERS,
    "R{n}_{track}_lap_end.csv": _TRIGGERS,
    "R{n}_{track}_lap_time.csv": _TRIGGERS,
    "R{n}_{track}_telemetry_data.csv": _TELEMETRY,
    "23_AnalysisEnduranceWithSections_Race {n}_Anonymized.CSV": ("NUMBER; LAP_NUMBER; LAP_TIME", "2;1;1:37.428"),
    "03_Results GR Cup Race {n} Official_Anonymized.CSV": ("POSITION;NUMBER;STATUS;LAPS", "1;2;Classified;20"),
    "26_Weather_Race {n}_Anonymized.CSV": ("TIME_UTC_SECONDS;TIME_UTC_STR;AIR_TEMP", "1757184000;;30.5"),
}


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--sessions", type=int, default=4)
    arguments = parser.parse_args()
    with _temporary_lake() as settings:
        store = open_store(settings, for_writing=True)
        try:
            fill(store, arguments.tracks, arguments.sessions)
            _measure(store, settings)
        finally:
            for item in list(store.list()):
                store.delete(item.key)


@contextmanager
def _temporary_lake() -> Generator[Settings]:
    with tempfile.TemporaryDirectory(prefix="apex-benchmark-") as folder:
        prefix = f"benchmark-{uuid4().hex[:12]}"
        yield load_settings(lake_dir=Path(folder, "lake"), state_dir=Path(folder, "state"), lake_prefix=prefix)


def fill(store: ObjectStore, tracks: int, sessions: int) -> None:
    """Write the files of a season to a lake, with the given numbers of tracks and of sessions per track."""

    def put(entry: tuple[str, str]) -> None:
        store.write_bytes(entry[0], entry[1].encode())

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(put, _season(tracks, sessions)))


def _season(tracks: int, sessions: int) -> Iterator[tuple[str, str]]:
    # Every session has a different number of rows: files of the same size are compared as possible duplicates, which is
    # rare among real files.
    all_sessions = itertools.product(range(tracks), range(1, sessions + 1))
    for rows, (number, n) in enumerate(all_sessions, 1):
        track = f"circuit_{number:03d}"
        for name, (header, row) in _FILES.items():
            lines = [header, *[row.format(n=n, time=_TIME)] * rows]
            yield f"data/{track}/Race {n}/{name.format(n=n, track=track)}", "\n".join(lines) + "\n"


def make_catalog(store: ObjectStore, before: pa.Table | None) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the tables files, tracks and sessions; ``before`` is an earlier table files to build on."""
    files = build_files_table(store, load_settings(), before)
    return files, build_tracks_table(files), build_sessions_table(files)


def _measure(store: ObjectStore, settings: Settings) -> None:
    loader = get_loader(settings)
    (files, tracks, sessions), first_s = _timed(lambda: make_catalog(store, None))
    _, unchanged_s = _timed(lambda: make_catalog(store, files))
    listed, listing_s = _timed(loader.get_available_tracks)
    _, sessions_s = _timed(lambda: loader.get_available_sessions(listed[0]))
    if len(listed) != tracks.num_rows:
        raise SystemExit(f"the loader lists {len(listed)} tracks, the catalog {tracks.num_rows}")
    print(f"{store.uri}: {files.num_rows:,} files, {tracks.num_rows} tracks, {sessions.num_rows} sessions\n")
    print("| step | wall s |\n| --- | ---: |")
    print(f"| catalog, first build | {first_s:.2f} |")
    print(f"| catalog, unchanged files | {unchanged_s:.2f} |")
    print(f"| loader, all tracks | {listing_s:.2f} |")
    print(f"| loader, sessions of one track | {sessions_s:.2f} |")


def _timed(work: Callable[[], _Result]) -> tuple[_Result, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


if __name__ == "__main__":
    main()

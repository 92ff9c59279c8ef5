"""Telemetry conversion against a plain DuckDB pivot: CPU seconds, wall seconds, peak memory, paired and alternating.

    .venv/bin/python benchmarks/telemetry.py --megabytes 200 --rounds 5

Makes a seeded weekend, takes its largest telemetry file, and runs both engines in turn, each in a process of its own.
The rival is one statement, ``COPY (SELECT … FILTER … GROUP BY vehicle, time) TO parquet``, with every column declared:
it keeps one of several readings with the same time, checks nothing and tells nothing. Ours keeps, counts, checks all.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline.lake.source_folder import identify, look_at
from apex_pipeline.session_key import SessionKey
from apex_pipeline.sources.gr_cup.files import FileKind
from apex_pipeline.sources.gr_cup.telemetry.channels import PUBLISHED_NAMES
from apex_pipeline.sources.gr_cup.telemetry.conversion import TelemetryFile, Workspace, convert_telemetry

_MEMORY_LIMIT = 1_000_000_000


def main() -> None:
    """Run the benchmark, or one engine when called for one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200, help="size of the telemetry file, roughly")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", choices=["ours", "duckdb"], help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.engine:
        _run_engine(asked.engine, asked.source)
    else:
        _compare(asked.megabytes, asked.rounds)


def _compare(megabytes: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="apex-benchmark-") as folder:
        source = Path(folder, "weekend")
        # Four sessions of about equal size; nearly all of it telemetry.
        make_weekend(source, WeekendOptions(target_bytes=4 * megabytes * 1_000_000, plant_faults=False))
        measured: dict[str, list[dict[str, float]]] = {"ours": [], "duckdb": []}
        for _ in range(rounds):
            for engine, figures in measured.items():
                figures.append(_measure(engine, source))
        _report(measured, _largest(source).path)


def _measure(engine: str, source: Path) -> dict[str, float]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, __file__, "--engine", engine, "--source", str(source)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": cpu, "wall_s": wall, **json.loads(said)}


def _run_engine(engine: str, source: Path) -> None:
    file = _largest(source)
    with tempfile.TemporaryDirectory(prefix="apex-engine-") as folder:
        output = Path(folder, "out.parquet")
        if engine == "ours":
            key = SessionKey(str(file.identity.track), str(file.identity.session))
            rows = convert_telemetry(key, [file], None, output, Workspace(_MEMORY_LIMIT, Path(folder))).counts.rows_out
        else:
            rows = _plain_duckdb(file.path, output)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(json.dumps({"rows": rows, "peak_mb": peak_mb, "parquet_mb": output.stat().st_size / 1e6}))


def _plain_duckdb(path: Path, output: Path) -> int:
    import duckdb  # noqa: PLC0415  -- the rival pays for its own import only

    names = path.open(encoding="utf-8").readline().strip().split(",")
    times, numbers = {"timestamp", "meta_time"}, {"telemetry_value": "DOUBLE", "lap": "INTEGER"}
    types = {name: "TIMESTAMPTZ" if name in times else numbers.get(name, "VARCHAR") for name in names}
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
    cells = ", ".join(
        f"max(telemetry_value) FILTER (lower(telemetry_name) = '{raw}') AS {column}"
        for raw, column in PUBLISHED_NAMES.items()
    )
    query = (
        f"SELECT vehicle_id, timestamp, max(meta_time), max(nullif(lap, 32768)), {cells} "  # noqa: S608  -- constants
        f"FROM read_csv('{path}', columns = {{{columns}}}, header = true) GROUP BY ALL ORDER BY ALL"
    )
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute(f"COPY ({query}) TO '{output}' (FORMAT parquet, COMPRESSION zstd)")
        ((rows,),) = connection.execute(f"SELECT count(*) FROM '{output}'").fetchall()  # noqa: S608  -- as above
    return int(rows)


def _largest(source: Path) -> TelemetryFile:
    folder = look_at(source)
    on_disk = {file.path: file for file in folder.files}
    found = [item for item in identify(folder, None) if item.kind is FileKind.TELEMETRY]
    chosen = max(found, key=lambda item: item.size)
    return TelemetryFile(on_disk[chosen.path].on_disk, chosen)


def _report(measured: dict[str, list[dict[str, float]]], path: Path) -> None:
    print(f"{path.name}: {path.stat().st_size / 1e6:,.0f} MB, {len(measured['ours'])} rounds, medians [min-max]\n")
    print("| engine | CPU s | wall s | peak MB | Parquet MB | rows |\n| --- | --- | --- | --- | --- | --- |")
    for engine, figures in measured.items():
        cells = [_range([figure[name] for figure in figures]) for name in ("cpu_s", "wall_s", "peak_mb", "parquet_mb")]
        print(f"| {engine} | {' | '.join(cells)} | {figures[0]['rows']:,} |")
    ratios = [ours["cpu_s"] / rival["cpu_s"] for ours, rival in zip(measured["ours"], measured["duckdb"], strict=True)]
    print(f"\nCPU, ours / duckdb, pair by pair: {_range(ratios)}")


def _range(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


if __name__ == "__main__":
    main()

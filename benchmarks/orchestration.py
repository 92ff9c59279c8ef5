"""Measures the overhead of Dagster when it materializes telemetry: the same work in a run and as plain functions.

    .venv/bin/python benchmarks/orchestration.py --megabytes 3000 --rounds 5

Generates one telemetry file, syncs it to a new lake, then alternates between the asset ``telemetry`` of the job
``derive_session`` on a Dagster instance on disk, as ``apex sync`` runs it, and the functions that the asset calls (read
the inputs, convert, check against the schema, publish three tables, check the published tables). Both run in this
process, which has imported everything.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from synced_lake import sync_into
from telemetry_engines.inputs import write_input

from apex_pipeline.ingest.catalog import session_files
from apex_pipeline.lake.raw_files import raw_file_opener
from apex_pipeline.lake.reconciliation import count_cells
from apex_pipeline.lake.tables import read_stored_table
from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.orchestration.io_manager import check_file, publish_file
from apex_pipeline.orchestration.runner import open_runner
from apex_pipeline.settings import Settings
from apex_pipeline.sources.gr_cup.derive import derive_telemetry
from apex_pipeline.sources.gr_cup.telemetry.car_stats import telemetry_cars_table
from apex_pipeline.sources.rejects import rejects_table
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import table_key
from apex_pipeline.tables import FILES, LAPS, TELEMETRY, TELEMETRY_CARS, TELEMETRY_REJECTS
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

_KEY = SessionKey("barber_motorsports_park", "R1")
_FILE = Path("barber", "R1_barber_telemetry_data.csv")
_TABLES = (TELEMETRY, TELEMETRY_CARS, TELEMETRY_REJECTS)

Timed = tuple[float, float]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    measured: dict[str, list[Timed]] = {"plain": [], "dagster": []}
    with tempfile.TemporaryDirectory(prefix="apex-benchmark-") as folder:
        settings = _prepare(Path(folder), arguments.megabytes)
        job = build_definitions(settings).resolve_job_def("derive_session")
        with open_runner(settings), dg.DagsterInstance.get() as instance:
            for number in range(arguments.rounds):
                for name in sorted(measured, reverse=bool(number % 2)):
                    work = partial(_run_plain, settings) if name == "plain" else partial(_run_in_dagster, job, instance)
                    measured[name].append(_timed(work))
    _report(measured, arguments.megabytes)


def _prepare(folder: Path, megabytes: int) -> Settings:
    source = folder / "source" / _FILE
    source.parent.mkdir(parents=True)
    write_input(source, megabytes, seed=7, is_shuffled=False)
    return sync_into(folder)


def _run_in_dagster(job: dg.JobDefinition, instance: dg.DagsterInstance) -> None:
    result = job.execute_in_process(
        instance=instance,
        partition_key=str(_KEY),
        asset_selection=[dg.AssetKey(table.asset_key) for table in _TABLES],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    if not result.success:
        raise SystemExit("the run failed")


def _run_plain(settings: Settings) -> None:
    store = open_store(settings, for_writing=True)
    with tempfile.TemporaryDirectory(dir=settings.state_dir) as scratch:
        staged = Path(scratch, "telemetry.parquet")
        files = session_files(read_stored_table(store, FILES), _KEY)
        laps = _read(store.read_bytes(_key_of(LAPS)))
        workspace = Workspace(settings.memory_limit, Path(scratch))
        report = derive_telemetry(_KEY, files, raw_file_opener(store), laps, staged, workspace)
        small = {
            TELEMETRY_CARS: telemetry_cars_table(_KEY.track, _KEY.session, report),
            TELEMETRY_REJECTS: rejects_table(_KEY.track, _KEY.session, report.rejects),
        }
        paths = {TELEMETRY: staged}
        for table, rows in small.items():
            paths[table] = Path(scratch, f"{table.name}.parquet")
            pq.write_table(rows, paths[table])
        for table, path in paths.items():
            check_file(path, table)
            publish_file(store, _key_of(table), path)
            # The run checks the published file, too.
            with store.open_as_file(_key_of(table)) as published:
                check_file(published, table)
        with store.open_seekable(_key_of(TELEMETRY)) as stream:
            if count_cells(stream) != report.counts.cells_out:
                raise SystemExit("the published file does not have the number of cells that were written")


def _key_of(table: Table) -> str:
    return table_key(table.folder, table.name, str(_KEY))


def _read(content: bytes) -> pa.Table:
    return pq.ParquetFile(pa.BufferReader(content)).read()


def _timed(work: Callable[[], None]) -> Timed:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _report(measured: dict[str, list[Timed]], megabytes: int) -> None:
    print(f"{megabytes:,} MB, {len(measured['plain'])} rounds, medians [min-max]\n")
    print("| run | CPU s | wall s |\n| --- | --- | --- |")
    for name, timed in measured.items():
        print(f"| {name} | {_range([cpu for cpu, _ in timed])} | {_range([wall for _, wall in timed])} |")
    pairs = list(zip(measured["dagster"], measured["plain"], strict=True))
    for index, quantity in enumerate(("CPU", "wall")):
        shares = [100 * (dagster[index] / plain[index] - 1) for dagster, plain in pairs]
        print(f"\n{quantity}, overhead of Dagster per pair, in per cent: {_range(shares)}")


def _range(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


if __name__ == "__main__":
    main()

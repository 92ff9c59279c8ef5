"""Compares lap derivation with a naive merge on all sessions of a folder, in alternating runs.

    .venv/bin/python benchmarks/laps.py /path/to/race/files --rounds 5

Ours reads the lap files and official timing of every session, finds crossings, resolves the cars and merges official
timing. The baseline is the usual code: ``pandas.merge`` of lap_start and lap_end on car and lap, and a filter of 60 to
300 s. It is faster, but its best laps are wrong; both results are printed.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import pandas as pd

from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.derivation import derive_laps
from apex_pipeline.sources.gr_cup.laps.triggers import read_triggers
from apex_pipeline.sources.gr_cup.official_timing import official_laps_table, read_sections

_LAP_KINDS = (FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME)

# Limits of a lap time in the naive merge.
_SHORTEST_S, _LONGEST_S = 60, 300

Sessions = dict[tuple[str, str], list[FileIdentity]]


def main() -> None:
    """Run the benchmark, or only one engine with ``--engine``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", choices=["ours", "naive"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        print(json.dumps(_run(arguments.engine, arguments.source)))
        return
    measured: dict[str, list[dict[str, float]]] = {"ours": [], "naive": []}
    for _ in range(arguments.rounds):
        for engine, results in measured.items():
            command = [sys.executable, __file__, str(arguments.source), "--engine", engine]
            results.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    _report(measured)


def _run(engine: str, source: Path) -> dict[str, float | dict[str, float]]:
    sessions = _sessions(source)
    before, started = time.process_time(), time.perf_counter()
    derive = _ours if engine == "ours" else _naive
    best_s = {"/".join(key): derive(source, key, files) for key, files in sessions.items()}
    return {
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "best_s": best_s,
    }


def _sessions(source: Path) -> Sessions:
    found: defaultdict[tuple[str, str], list[FileIdentity]] = defaultdict(list)
    for item in identify(scan_folder(source), load_settings()):
        if item.status is FileStatus.READY and item.track and item.session:
            found[item.track, item.session].append(item)
    return dict(found)


def _ours(source: Path, key: tuple[str, str], files: list[FileIdentity]) -> float:
    triggers, parsed = [], []
    for item in files:
        with (source / item.path).open("rb") as stream:
            if item.kind in _LAP_KINDS:
                triggers += read_triggers(stream, item)[0]
            elif item.kind is FileKind.SECTIONS:
                parsed.append(read_sections(stream, item))
    official, _ = official_laps_table(*key, parsed)
    laps = derive_laps(*key, triggers, official, load_rules().zone_of(key[0])).laps.to_pandas()
    return float(laps[laps["is_valid"]]["lap_time_s"].min())


def _naive(source: Path, _: tuple[str, str], files: list[FileIdentity]) -> float:
    paths = {item.kind: source / item.path for item in files}
    start, end = (
        pd.read_csv(paths[kind], parse_dates=["timestamp"]) for kind in (FileKind.LAP_START, FileKind.LAP_END)
    )
    merged = start.merge(end, on=["vehicle_id", "lap"], suffixes=("_start", "_end"))
    seconds = (merged["timestamp_end"] - merged["timestamp_start"]).dt.total_seconds()
    return float(seconds[(seconds > _SHORTEST_S) & (seconds < _LONGEST_S)].min())


def _report(measured: dict[str, list[dict[str, float]]]) -> None:
    print("| engine | wall s | CPU s | peak MB |\n| --- | ---: | ---: | ---: |")
    for engine, results in measured.items():
        cells = [f"{median(result[name] for result in results):.2f}" for name in ("wall_s", "cpu_s", "peak_mb")]
        print(f"| {engine} | {' | '.join(cells)} |")
    print("\n| session | best lap, ours | naive |\n| --- | ---: | ---: |")
    ours, naive = measured["ours"][0]["best_s"], measured["naive"][0]["best_s"]
    for session, best_s in ours.items():  # type: ignore[union-attr]
        print(f"| {session} | {best_s:.3f} | {naive[session]:.3f} |")  # type: ignore[index]


if __name__ == "__main__":
    main()

"""Measures the first ``apex sync`` of a folder, by the code in several checkouts in turns.

    python -m benchmarks.cold_sync --source FOLDER --runs 5 before=/path/to/a/checkout now=.

Each run is a process of its own with a new lake and a new Dagster home; the folder is read once before, so it is in the
page cache. The first run of each checkout is left out: it compiles Python files and the loops of the telemetry.
Processor time contains that of child processes. Ratios are medians of the pairs with the first checkout.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import Measurement, measure


def main() -> None:
    """Run the benchmark and print a row for each run, then medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of race files")
    parser.add_argument("--runs", type=int, default=5, help="runs of each checkout; default 5")
    parser.add_argument("checkouts", nargs="+", metavar="NAME=FOLDER", help="checkouts; the first is compared with")
    given = parser.parse_args()
    checkouts = {name: Path(folder).resolve() for name, _, folder in (text.partition("=") for text in given.checkouts)}
    found: dict[str, list[Measurement]] = {name: [] for name in checkouts}
    for path in given.source.rglob("*"):
        if path.is_file():
            path.read_bytes()
    print("| checkout | CPU s | wall s | peak MB |\n| --- | ---: | ---: | ---: |")
    for number in range(given.runs + 1):
        for name, checkout in checkouts.items():
            measured = _sync(checkout, given.source.resolve())
            if number:
                found[name].append(measured)
                print(f"| {name} | {measured.cpu_s:.2f} | {measured.wall_s:.1f} | {measured.peak_mb:.0f} |", flush=True)
    for name, runs in found.items():
        _print_medians(name, runs, found[next(iter(found))])


def _sync(checkout: Path, source: Path) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="apex-sync-") as text:
        folder = Path(text)
        environment = {
            "PYTHONPATH": str(checkout),
            "APEX_SOURCE_DIR": str(source),
            "APEX_LAKE_DIR": str(folder / "lake"),
            "APEX_STATE_DIR": str(folder / "state"),
            "DAGSTER_HOME": str(folder / "home"),
            "USE_S3_DATA": "false",
        }
        measured, _ = measure([sys.executable, "-m", "apex_pipeline", "sync"], folder, environment)
    return measured


def _print_medians(name: str, runs: list[Measurement], first: list[Measurement]) -> None:
    cpu_s, wall_s = (statistics.median(values) for values in ([r.cpu_s for r in runs], [r.wall_s for r in runs]))
    pairs = list(zip(runs, first, strict=True))
    cpu = statistics.median(run.cpu_s / other.cpu_s for run, other in pairs)
    wall = statistics.median(run.wall_s / other.wall_s for run, other in pairs)
    print(f"{name}: {cpu_s:.2f} CPU s, {wall_s:.1f} s; ratio {cpu:.3f} in CPU, {wall:.3f} in wall time")


if __name__ == "__main__":
    main()

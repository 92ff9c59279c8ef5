"""Compares our telemetry engine (long CSV to wide Parquet) with plain DuckDB, polars and pandas, in one command.

    .venv/bin/python benchmarks/telemetry.py

generates seeded files of 200 MB, 1 GB and 3 GB and a shuffled one of 200 MB, runs every engine on each in a separate
process, compares the outputs, and writes ``telemetry.md`` and ``telemetry.png`` to ``benchmarks/results``. It needs
Linux, 4 GB of memory and 5 GB of disk. Other options:

    --megabytes 200 --shuffled-megabytes --rounds 2   a short run with one size, none shuffled
    --file R1_barber_telemetry_data.csv               real files instead of generated ones
    --keep inputs                                     keeps generated inputs in this folder and reuses them
    --pandas-up-to 3000 --reference-up-to 1000        runs the slow engines on larger files, too

polars and matplotlib are in the dependency group ``bench``; without them, that engine and the plot are left out. The
exit code is 1 if our output differs from that of another engine or from the slow reference.

Until everything is measured, this process stays small and uses the standard library only, because the peak memory of a
child process starts at that of its parent.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from telemetry_engines.report import InputRuns, is_correct, markdown
from telemetry_engines.running import ENGINES, Limits, make_input, require_published_columns, run_input, warm_up

_TITLES = {name: engine.title for name, engine in ENGINES.items()}
_RESULTS = Path(__file__).resolve().parent / "results"
_WARM_UP_MB = 2
_PLOT = "telemetry.png"


def main() -> int:
    """Run the requested measurements; return 1 if an output of our engine is wrong."""
    arguments = _arguments()
    limits = Limits(arguments.pandas_up_to, arguments.reference_up_to)
    results: list[InputRuns] = []
    with tempfile.TemporaryDirectory(prefix="apex-benchmark-") as scratch:
        folder = Path(scratch).resolve()
        warm_up(make_input(folder, _WARM_UP_MB, "published"), folder, arguments.engines)
        for name, source in _inputs(arguments, folder):
            results.append(run_input(name, source, folder, arguments.engines, arguments.rounds, limits))
            if source.parent == folder:
                source.unlink()
            # Written after each input, so that an interrupted run keeps its measurements.
            _write(results, arguments.results, None)
    _write(results, arguments.results, _draw(results, arguments.results))
    return 0 if all(map(is_correct, results)) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="*", help="sizes of generated inputs; default 200 1000 3000")
    parser.add_argument("--shuffled-megabytes", type=int, nargs="*", help="sizes of shuffled inputs; default 200")
    parser.add_argument(
        "--file", type=Path, nargs="+", default=[], help="real files; inputs are then generated only on request"
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each engine on each input; default 5")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--keep", type=Path, help="folder in which generated inputs are kept and reused")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder for the table and the plot")
    parser.add_argument("--pandas-up-to", type=int, default=1_100, help="MB of the largest file for pandas")
    parser.add_argument("--reference-up-to", type=int, default=250, help="MB of the largest file for the reference")
    arguments = parser.parse_args()
    if arguments.megabytes is None:
        arguments.megabytes = [] if arguments.file else [200, 1_000, 3_000]
    if arguments.shuffled_megabytes is None:
        arguments.shuffled_megabytes = [] if arguments.file else [200]
    return arguments


def _inputs(arguments: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each input, generating it on demand."""
    for path in arguments.file:
        require_published_columns(path)
    folder = arguments.keep or scratch
    folder.mkdir(parents=True, exist_ok=True)
    for megabytes in arguments.megabytes:
        yield f"{megabytes:,} MB", make_input(folder, megabytes, "published")
    for megabytes in arguments.shuffled_megabytes:
        yield f"{megabytes:,} MB shuffled", make_input(folder, megabytes, "shuffled")
    for path in arguments.file:
        yield path.name, path.resolve()


def _write(results: list[InputRuns], folder: Path, plot: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "telemetry.md").write_text(markdown(results, _TITLES, plot), encoding="utf-8")


def _draw(results: list[InputRuns], folder: Path) -> str | None:
    if not find_spec("matplotlib"):
        print("No plot: matplotlib is not installed (dependency group bench).", file=sys.stderr)
        return None
    from telemetry_engines.picture import draw  # noqa: PLC0415  -- from here on this process may grow

    draw(results, _TITLES, folder / _PLOT)
    return _PLOT


if __name__ == "__main__":
    sys.exit(main())

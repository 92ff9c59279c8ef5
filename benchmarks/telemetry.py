"""Telemetry, long CSV to wide Parquet: our engine against plain DuckDB, polars and pandas, in one command.

    .venv/bin/python benchmarks/telemetry.py

makes seeded files of 200 MB, 1 GB and 3 GB and a shuffled one of 200 MB, runs every engine in turn on each in a process
of its own, compares the outputs, and writes ``telemetry.md`` and ``telemetry.png`` to ``benchmarks/results``. It needs
Linux, 4 GB of memory and 5 GB of disk. Other ways to call it:

    --megabytes 200 --shuffled-megabytes --rounds 2   one size, none shuffled, quickly
    --file R1_barber_telemetry_data.csv               real files instead of made ones
    --keep inputs                                     made inputs are kept in this folder and found again
    --pandas-up-to 3000 --reference-up-to 1000        the slow ones on larger files too

polars and matplotlib are in the dependency group ``bench``; without them that engine and the plot are left out. The
exit code is 1 if our output differs from a rival's or from the slow reference.

This process is small, standard library only, until all is measured: a child's peak begins at what its parent held.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from telemetry_engines.report import InputRuns, is_right, markdown
from telemetry_engines.running import ENGINES, Limits, make_input, require_published_columns, run_input, warm_up

_TITLES = {name: engine.title for name, engine in ENGINES.items()}
_RESULTS = Path(__file__).resolve().parent / "results"
_WARM_UP_MB = 2
_PICTURE = "telemetry.png"


def main() -> int:
    """Measure what was asked for; return 1 if an output of ours is not right."""
    asked = _arguments()
    limits = Limits(asked.pandas_up_to, asked.reference_up_to)
    results: list[InputRuns] = []
    with tempfile.TemporaryDirectory(prefix="apex-benchmark-") as scratch:
        folder = Path(scratch).resolve()
        warm_up(make_input(folder, _WARM_UP_MB, "published"), folder, asked.engines)
        for name, source in _inputs(asked, folder):
            results.append(run_input(name, source, folder, asked.engines, asked.rounds, limits))
            if source.parent == folder:
                source.unlink()
            # After each input, so that an interrupted run leaves what it has measured.
            _write(results, asked.results, None)
    _write(results, asked.results, _draw(results, asked.results))
    return 0 if all(map(is_right, results)) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="*", help="sizes of made inputs; default 200 1000 3000")
    parser.add_argument("--shuffled-megabytes", type=int, nargs="*", help="sizes of shuffled inputs; default 200")
    parser.add_argument(
        "--file", type=Path, nargs="+", default=[], help="real files; no input is made unless asked for"
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each engine on each input; default 5")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--keep", type=Path, help="folder in which made inputs are kept and found again")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder for the table and the plot")
    parser.add_argument("--pandas-up-to", type=int, default=1_100, help="MB of the largest file for pandas")
    parser.add_argument("--reference-up-to", type=int, default=250, help="MB of the largest file for the reference")
    asked = parser.parse_args()
    if asked.megabytes is None:
        asked.megabytes = [] if asked.file else [200, 1_000, 3_000]
    if asked.shuffled_megabytes is None:
        asked.shuffled_megabytes = [] if asked.file else [200]
    return asked


def _inputs(asked: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each input, made when its turn comes."""
    for path in asked.file:
        require_published_columns(path)
    folder = asked.keep or scratch
    folder.mkdir(parents=True, exist_ok=True)
    for megabytes in asked.megabytes:
        yield f"{megabytes:,} MB", make_input(folder, megabytes, "published")
    for megabytes in asked.shuffled_megabytes:
        yield f"{megabytes:,} MB shuffled", make_input(folder, megabytes, "shuffled")
    for path in asked.file:
        yield path.name, path.resolve()


def _write(results: list[InputRuns], folder: Path, picture: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "telemetry.md").write_text(markdown(results, _TITLES, picture), encoding="utf-8")


def _draw(results: list[InputRuns], folder: Path) -> str | None:
    if not find_spec("matplotlib"):
        print("No plot: matplotlib is not installed (dependency group bench).", file=sys.stderr)
        return None
    from telemetry_engines.picture import draw  # noqa: PLC0415  -- only now may this process grow

    draw(results, _TITLES, folder / _PICTURE)
    return _PICTURE


if __name__ == "__main__":
    sys.exit(main())

"""Runs every engine on one input, round by round, and then the comparison. Standard library only (see ``measuring``).

See ``benchmarks/telemetry.py`` for the options, and ``report`` and ``picture`` for the output of the results.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from measuring import EngineFailedError, measure

from telemetry_engines.contract import FILE_COLUMNS, THREADS
from telemetry_engines.report import EngineRuns, InputRuns

# The folder from which ``python -m telemetry_engines.…`` finds the modules.
_HERE = Path(__file__).resolve().parent.parent
_ENVIRONMENT = {"POLARS_MAX_THREADS": str(THREADS)}
_SEED = 7
_BLOCK_BYTES = 8_000_000


@dataclass(frozen=True)
class Engine:
    """An engine of the comparison.

    Attributes:
        title: Name in the report.
        module: Module that runs as ``python -m MODULE SOURCE OUTPUT``.
        needs: Required package; without it the engine is left out.
    """

    title: str
    module: str
    needs: str


ENGINES = {
    "ours": Engine("ours", "telemetry_engines.ours", "apex_pipeline"),
    "duckdb": Engine("DuckDB COPY", "telemetry_engines.plain_duckdb", "duckdb"),
    "polars": Engine("polars streaming", "telemetry_engines.polars_streaming", "polars"),
    "pandas": Engine("pandas", "telemetry_engines.pandas_pivot", "pandas"),
}


@dataclass(frozen=True)
class Limits:
    """Maximum file sizes of the slow engines.

    Attributes:
        pandas_mb: Largest file for pandas, which holds all of it in memory.
        reference_mb: Largest file for the slow reference.
    """

    pandas_mb: int
    reference_mb: int


def make_input(folder: Path, megabytes: int, order: str) -> Path:
    """Return a seeded telemetry file; generate it unless the folder already has it.

    Args:
        folder: Folder of the file.
        megabytes: Size, to about 1 %.
        order: ``published`` or ``shuffled``.
    """
    path = folder.resolve() / f"telemetry_{megabytes}_mb_{order}.csv"
    if not path.exists():
        _log(f"generating {path.name}")
        _run("telemetry_engines.inputs", str(path), str(megabytes), str(_SEED), order)
    return path


def require_published_columns(path: Path) -> None:
    """Refuse a file whose columns are not the published ones in order.

    Raises:
        SystemExit: The columns are different.
    """
    with path.open(encoding="utf-8") as stream:
        found = tuple(stream.readline().strip().split(","))
    if found != FILE_COLUMNS:
        raise SystemExit(f"{path.name} is not a plain CSV file with the columns {', '.join(FILE_COLUMNS)}.")


def warm_up(source: Path, folder: Path, engines: Sequence[str]) -> None:
    """Run every engine once unmeasured, because the first run creates byte code and compiled loops."""
    for name in engines:
        if not _missing(ENGINES[name]):
            try:
                _run(ENGINES[name].module, str(source), str(folder / "warm_up.parquet"))
            except EngineFailedError as error:
                _log(f"{name} failed: {error}")


def run_input(name: str, source: Path, folder: Path, engines: Sequence[str], rounds: int, limits: Limits) -> InputRuns:
    """Measure the engines on one input and compare their outputs.

    Args:
        name: Name of the input in the report.
        source: The CSV file.
        folder: Folder for outputs.
        engines: Names from :data:`ENGINES`.
        rounds: Runs of each engine.
        limits: Maximum file sizes of the slow engines.
    """
    megabytes = source.stat().st_size / 1e6
    results = {engine: EngineRuns(note=_exclusion_reason(engine, megabytes, limits)) for engine in engines}
    runs = InputRuns(name, megabytes, results, load=os.getloadavg()[0])
    _read_once(source)
    for number in range(rounds):
        shift = number % len(engines)
        for engine in (*engines[shift:], *engines[:shift]):
            if results[engine].note is None:
                _run_engine(engine, source, folder, runs)
                _log(f"{name}, round {number + 1} of {rounds}, {engine}: {_last_run(results[engine])}")
    if "ours" in results and results["ours"].note is None:
        _log(f"{name}: comparing")
        runs.verdicts = _compare(source, folder, runs, limits)
    return runs


def _run_engine(engine: str, source: Path, folder: Path, runs: InputRuns) -> None:
    output, result = folder / f"{engine}.parquet", runs.engines[engine]
    output.unlink(missing_ok=True)
    try:
        measurement, printed = measure(_command(ENGINES[engine].module, str(source), str(output)), _HERE, _ENVIRONMENT)
    except EngineFailedError as error:
        result.note = f"failed: {error}"
        return
    result.runs.append(measurement)
    result.parquet_mb = output.stat().st_size / 1e6
    if engine == "ours":
        (folder / "ours.json").write_text(printed, encoding="utf-8")
        runs.facts = json.loads(printed)


def _compare(source: Path, folder: Path, runs: InputRuns, limits: Limits) -> dict[str, dict[str, object]]:
    others = [name for name, result in runs.engines.items() if name != "ours" and result.note is None]
    with_reference = "yes" if runs.megabytes <= limits.reference_mb else "no"
    printed = _run("telemetry_engines.comparing", str(source), str(folder), ",".join(others), with_reference)
    return json.loads(printed)


def _exclusion_reason(engine: str, megabytes: float, limits: Limits) -> str | None:
    missing = _missing(ENGINES[engine])
    if missing:
        return missing
    if engine == "pandas" and megabytes > limits.pandas_mb:
        return (
            f"left out above {limits.pandas_mb:,} MB because it holds the whole file in memory; "
            "`--pandas-up-to` with a larger number includes it."
        )
    return None


def _missing(engine: Engine) -> str | None:
    return None if find_spec(engine.needs) else f"left out, {engine.needs} is not installed."


def _read_once(source: Path) -> None:
    """Read the file into the page cache, so that the first engine is not slowed down by the disk."""
    with source.open("rb") as stream:
        while stream.read(_BLOCK_BYTES):
            pass


def _run(module: str, *arguments: str) -> str:
    return measure(_command(module, *arguments), _HERE, _ENVIRONMENT)[1]


def _command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _last_run(result: EngineRuns) -> str:
    if result.note:
        return result.note
    run = result.runs[-1]
    return f"{run.cpu_s:.2f} CPU s, {run.wall_s:.2f} s, {run.peak_mb:,.0f} MB"


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

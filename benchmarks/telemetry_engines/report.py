"""Holds the results of each input and writes them as a Markdown report. Standard library only.

See ``measuring`` for the measurements, ``comparing`` for the verdicts on the outputs, and ``picture`` for the plot.
"""

import os
import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from measuring import Measurement

from telemetry_engines.contract import THREADS

_PACKAGES = ("numpy", "numba", "pyarrow", "duckdb", "polars", "pandas")
_OURS, _BASELINE = "ours", "duckdb"

_METHOD = f"""\
## How it was measured

`python benchmarks/telemetry.py` repeats it; `--help` lists the options for sizes, engines and real files. Each run \
is a separate process, including the start of the interpreter and imports. The engines alternate, and each round \
starts with a different one. Before the first round every engine runs once on a small file to create byte code and \
compiled loops; this run is not measured. The input is in the page cache. Numbers are medians [minimum-maximum]; MB \
are 1,000,000 bytes. Peak memory includes mapped files; anonymous memory, sampled every 50 ms, does not.

DuckDB, polars and ours use {THREADS} threads. The other engines keep the largest of several readings with the same \
time, check nothing and count nothing. Ours keeps all readings, rejects invalid ones, corrects the clocks, counts, and \
writes more columns.

Equality with another engine: our rows, reduced to one per car and time as in the other engines, agree in the number \
of rows, non-null counts, sums (to 1e-9), and a hash of every cell. Equality with the slow reference, plain Python \
without our code: the same for our complete output with repeats, receive times and laps.
"""


@dataclass
class EngineRuns:
    """Runs of one engine on one input.

    Attributes:
        runs: One measurement per round.
        parquet_mb: Size of its output.
        note: Reason why it was left out or failed; ``None`` if it was measured.
    """

    runs: list[Measurement] = field(default_factory=list)
    parquet_mb: float = 0.0
    note: str | None = None


@dataclass
class InputRuns:
    """One input with the runs of every engine.

    Attributes:
        name: Name of the input, for example ``200 MB shuffled``.
        megabytes: Size of the input.
        engines: Requested engines, in the requested order.
        facts: Counts of our engine.
        verdicts: Verdicts of ``comparing``; ``None`` without an output of our engine.
        load: Load average of the machine over the minute before the first run.
    """

    name: str
    megabytes: float
    engines: dict[str, EngineRuns]
    facts: dict[str, object] = field(default_factory=dict)
    verdicts: dict[str, dict[str, object]] | None = None
    load: float = 0.0


def ratios(runs: InputRuns, figure: Callable[[Measurement], float]) -> list[float]:
    """Return the ratio of ours to plain DuckDB per round; empty if one of them was not measured."""
    ours, baseline = runs.engines.get(_OURS), runs.engines.get(_BASELINE)
    if ours is None or baseline is None or ours.note or baseline.note:
        return []
    return [figure(one) / figure(other) for one, other in zip(ours.runs, baseline.runs, strict=True)]


def is_correct(runs: InputRuns) -> bool:
    """Return whether our output equals those of the reference and the other engines that were run."""
    if runs.verdicts is None:
        return _OURS not in runs.engines
    return not any(verdict["differences"] or verdict["other_cells"] for verdict in runs.verdicts.values())


def markdown(inputs: Iterable[InputRuns], titles: dict[str, str], picture: str | None) -> str:
    """Return the report as Markdown.

    Args:
        inputs: The measured inputs.
        titles: Name of each engine in the report.
        picture: File name of the plot next to the report, if there is one.
    """
    parts = ["# Telemetry: long CSV to wide Parquet", _machine()]
    if picture:
        parts.append(f"![CPU seconds and peak memory of every engine]({picture})")
    parts += [_input(runs, titles) for runs in inputs]
    return "\n\n".join([*parts, _METHOD])


def _machine() -> str:
    cpus = len(os.sched_getaffinity(0))
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    gigabytes = int(memory[1]) * 1024 / 1e9 if memory else 0
    packages = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))
    return (
        f"Measured {datetime.now(tz=UTC).date()} on {cpus} CPUs and {gigabytes:.0f} GB of memory, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, {packages}."
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _input(runs: InputRuns, titles: dict[str, str]) -> str:
    facts = runs.facts
    summary = f"{runs.megabytes:,.1f} MB of CSV; machine load before the first run {runs.load:.1f}."
    if facts:
        summary += (
            f" {facts['readings']:,} readings, of which {facts['exact_duplicates']:,} exact duplicates and "
            f"{facts['rejected']:,} rejected; {facts['repeat_rows']:,} rows hold further readings of the same time."
        )
    notes = [f"- {titles[name]}: {engine.note}" for name, engine in runs.engines.items() if engine.note]
    lines = [*_ratio_lines(runs), *_equality_lines(runs, titles), *notes]
    return "\n\n".join([f"## {runs.name}", summary, _table(runs, titles), "\n".join(lines)])


def _table(runs: InputRuns, titles: dict[str, str]) -> str:
    rows = [
        "| engine | runs | CPU s | wall s | peak MB | anonymous MB | Parquet MB (of the CSV) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, engine in runs.engines.items():
        if engine.note:
            continue
        cells = [
            _span([run.cpu_s for run in engine.runs], 2),
            _span([run.wall_s for run in engine.runs], 2),
            _span([run.peak_mb for run in engine.runs], 0),
            _span([run.anonymous_mb for run in engine.runs], 0),
            f"{engine.parquet_mb:.2f} ({engine.parquet_mb / runs.megabytes:.2%})",
        ]
        rows.append(f"| {titles[name]} | {len(engine.runs)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _ratio_lines(runs: InputRuns) -> list[str]:
    cpu, wall = ratios(runs, lambda run: run.cpu_s), ratios(runs, lambda run: run.wall_s)
    if not cpu:
        return []
    return [f"- Ours / DuckDB per round: CPU **{_span(cpu, 2)}**, wall **{_span(wall, 2)}**"]


def _equality_lines(runs: InputRuns, titles: dict[str, str]) -> list[str]:
    lines: list[str] = []
    for name, verdict in (runs.verdicts or {}).items():
        against = "the slow reference" if name == "reference" else titles[name]
        size = f"{verdict['rows']:,} rows, {verdict['cells']:,} cells"
        lines.append(f"- Against {against}: {size}; {_verdict(verdict)}")
    if runs.verdicts is not None and "reference" not in runs.verdicts:
        lines.append("- The slow reference was not run on a file of this size.")
    frozen = runs.facts.get("frozen_cars")
    if isinstance(frozen, list) and frozen:
        lines.append(f"- Not compared because of a frozen clock: {', '.join(map(str, frozen))}")
    return lines


def _verdict(verdict: dict[str, object]) -> str:
    differences, other = verdict["differences"], verdict["other_cells"]
    if isinstance(differences, list) and differences:
        return "**differs**: " + "; ".join(map(str, differences))
    if isinstance(other, list) and other:
        return f"counts and sums are equal, **cells differ** in {', '.join(map(str, other))}"
    unreadable = f"; {verdict['unreadable']:,} lines hold no valid reading" if verdict.get("unreadable") else ""
    return f"equal bit for bit, hash of all cells {verdict['hash']}{unreadable}"


def _span(values: list[float], digits: int) -> str:
    return f"{median(values):,.{digits}f} [{min(values):,.{digits}f}-{max(values):,.{digits}f}]"

"""The results: what was measured of each input, and the Markdown that tells it. Standard library only.

Not here: the measuring (``measuring``), the verdicts on the outputs (``comparing``), the plot (``picture``).
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
_OURS, _RIVAL = "ours", "duckdb"

_METHOD = f"""\
## How it was measured

`python benchmarks/telemetry.py` repeats it; `--help` tells which sizes, engines and real files it takes. Each run is \
a process of its own, interpreter and imports included. The engines take turns, and another one begins each round. \
Before the first round every engine runs once on a small file, which does not count: byte code and compiled loops are \
made then. The input is in the page cache. Figures are medians [least-most]; MB are 1,000,000 bytes. Peak memory \
counts mapped files too; anonymous memory, sampled every 50 ms, does not.

DuckDB, polars and ours use {THREADS} threads. The rivals keep the largest of several readings with one time, check \
nothing and count nothing. Ours keeps them all, rejects what cannot be meant, repairs the clocks, counts, and writes \
more columns.

Equality with a rival: our rows, reduced to one per car and time as the rivals have them, agree in rows, non-null \
counts, sums (to 1e-9), and in a hash of every cell. With the slow reference, plain Python without our code: the same, \
of our whole output with repeats, receive times and laps.
"""


@dataclass
class EngineRuns:
    """One engine on one input.

    Attributes:
        runs: One measurement per round.
        parquet_mb: Size of its output.
        note: Why it was left out or failed; ``None`` if it was measured.
    """

    runs: list[Measurement] = field(default_factory=list)
    parquet_mb: float = 0.0
    note: str | None = None


@dataclass
class InputRuns:
    """One input and what every engine made of it.

    Attributes:
        name: What it is, for example ``200 MB shuffled``.
        megabytes: Its size.
        engines: Every engine asked for, in the order asked.
        facts: What our engine counted in it.
        verdicts: What ``comparing`` said; ``None`` without an output of ours.
        load: Load of the machine before the first run, average of a minute.
    """

    name: str
    megabytes: float
    engines: dict[str, EngineRuns]
    facts: dict[str, object] = field(default_factory=dict)
    verdicts: dict[str, dict[str, object]] | None = None
    load: float = 0.0


def ratios(runs: InputRuns, figure: Callable[[Measurement], float]) -> list[float]:
    """Return ours over plain DuckDB, round by round; empty if one of them was not measured."""
    ours, rival = runs.engines.get(_OURS), runs.engines.get(_RIVAL)
    if ours is None or rival is None or ours.note or rival.note:
        return []
    return [figure(one) / figure(other) for one, other in zip(ours.runs, rival.runs, strict=True)]


def is_right(runs: InputRuns) -> bool:
    """Tell whether our output is the reference's and the rivals', as far as they were there to tell."""
    if runs.verdicts is None:
        return _OURS not in runs.engines
    return not any(said["differences"] or said["other_cells"] for said in runs.verdicts.values())


def markdown(inputs: Iterable[InputRuns], titles: dict[str, str], picture: str | None) -> str:
    """Return the whole report.

    Args:
        inputs: The inputs measured.
        titles: How each engine is called.
        picture: File name of the plot beside the report, if there is one.
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
    told = f"{runs.megabytes:,.1f} MB of CSV; load of the machine before the first run {runs.load:.1f}."
    if facts:
        told += (
            f" {facts['readings']:,} readings, of which {facts['exact_duplicates']:,} exact duplicates and "
            f"{facts['rejected']:,} rejected; {facts['repeat_rows']:,} rows hold further readings of a time."
        )
    notes = [f"- {titles[name]}: {engine.note}" for name, engine in runs.engines.items() if engine.note]
    lines = [*_ratio_lines(runs), *_equality_lines(runs, titles), *notes]
    return "\n\n".join([f"## {runs.name}", told, _table(runs, titles), "\n".join(lines)])


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
    return [f"- Ours / DuckDB, round by round: CPU **{_span(cpu, 2)}**, wall **{_span(wall, 2)}**"]


def _equality_lines(runs: InputRuns, titles: dict[str, str]) -> list[str]:
    lines: list[str] = []
    for name, said in (runs.verdicts or {}).items():
        against = "the slow reference" if name == "reference" else titles[name]
        size = f"{said['rows']:,} rows, {said['cells']:,} cells"
        lines.append(f"- Against {against}: {size}; {_verdict(said)}")
    if runs.verdicts is not None and "reference" not in runs.verdicts:
        lines.append("- The slow reference was not made of a file of this size.")
    frozen = runs.facts.get("frozen_cars")
    if isinstance(frozen, list) and frozen:
        lines.append(f"- Not compared, the car's clock stood still: {', '.join(map(str, frozen))}")
    return lines


def _verdict(said: dict[str, object]) -> str:
    differences, other = said["differences"], said["other_cells"]
    if isinstance(differences, list) and differences:
        return "**differs**: " + "; ".join(map(str, differences))
    if isinstance(other, list) and other:
        return f"counts and sums are equal, **cells differ** in {', '.join(map(str, other))}"
    unreadable = f"; {said['unreadable']:,} lines hold no reading" if said.get("unreadable") else ""
    return f"equal bit for bit, hash of all cells {said['hash']}{unreadable}"


def _span(values: list[float], digits: int) -> str:
    return f"{median(values):,.{digits}f} [{min(values):,.{digits}f}-{max(values):,.{digits}f}]"

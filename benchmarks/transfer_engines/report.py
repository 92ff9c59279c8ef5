"""The results: what was measured of each case, what is not good enough, and the Markdown that tells it.

Standard library only. Not here: the measuring (``measuring``, ``running``).
"""

import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Measurement

from transfer_engines.cases import Case

LEAST_OF_BOTO3 = 0.9
MOST_MEMORY_MB = 200
MOST_SYNC_S = 2.0
_SERVERS = {
    "seaweedfs": "SeaweedFS, which checks and keeps CRC32",
    "juicefs": "MinIO's old front end (JuiceFS), which knows MD5 only",
}
_METHOD = """\
## How it was measured

`python benchmarks/transfer.py` repeats it; `--help` tells of smaller runs. Each run is a process of its own, \
interpreter and imports included, into a new bucket of a real server on this machine, which shares the processors \
with the client. The engines take turns, and another one begins each round. After each run the objects are counted, \
one is read and compared, and the bucket is removed. Figures are medians [least-most]; MB are 1,000,000 bytes. CPU and \
peak memory are the client's.

Ours hashes every file (SHA-256), sends a CRC32 with every request and compares the store's receipt, keeps a note of \
every upload in parts to go on with, and asks what is there before it sends. boto3 is bare: one shared transfer \
manager of the classic client, a CRC32 of every whole object, and the number of requests at a time that was quickest \
when each was tried once before the first round. s5cmd (`sync`) and rclone (`copy`) have 10 at a time, parts of 8 MiB, \
and their own ways otherwise. In a second run ours compares contents; the rivals compare size and time.
"""


@dataclass
class EngineRuns:
    """One engine in one case.

    Attributes:
        runs: One measurement per round.
        note: Why it was left out or failed; ``None`` if it was measured.
    """

    runs: list[Measurement] = field(default_factory=list[Measurement])
    note: str | None = None


@dataclass
class CaseRuns:
    """One case on one server.

    Attributes:
        server: ``seaweedfs`` or ``juicefs``.
        case: What was copied.
        engines: Every engine asked for, in the order asked.
        sweep: Seconds boto3 took, by the number of requests at a time.
        load: Load of the machine before the first run, average of a minute.
    """

    server: str
    case: Case
    engines: dict[str, EngineRuns]
    sweep: dict[int, float] = field(default_factory=dict[int, float])
    load: float = 0.0


def ratios(runs: CaseRuns, rival: str, figure: Callable[[Measurement], float]) -> list[float]:
    """Return ours over a rival's, round by round; empty if one of them was not measured."""
    ours, theirs = runs.engines.get("ours"), runs.engines.get(rival)
    if ours is None or theirs is None or ours.note or theirs.note:
        return []
    return [figure(one) / figure(other) for one, other in zip(ours.runs, theirs.runs, strict=True)]


def problems(runs: CaseRuns) -> list[str]:
    """Say what of a case is not good enough; empty if all is."""
    found = [f"{name} {result.note}" for name, result in runs.engines.items() if (result.note or "").startswith("fail")]
    ours = runs.engines.get("ours")
    if ours is not None and ours.runs:
        peak_mb = max(run.peak_mb for run in ours.runs)
        if peak_mb > MOST_MEMORY_MB:
            found.append(f"our peak is {peak_mb:.0f} MB, more than {MOST_MEMORY_MB}")
    if (slower := ratios(runs, "boto3", _wall)) and 1 / median(slower) < LEAST_OF_BOTO3:
        found.append(f"our throughput is {1 / median(slower):.2f} of boto3's, less than {LEAST_OF_BOTO3}")
    if runs.case.is_of_small_files and (slower := ratios(runs, "rclone", _wall)) and median(slower) > 1:
        found.append(f"we take {median(slower):.2f} times as long as rclone")
    return [f"{runs.server}, {runs.case.title}: {problem}" for problem in found]


def sync_problems(sync: Mapping[str, Any]) -> list[str]:
    """Say what of the unchanged sync is not good enough."""
    found: list[str] = []
    for one in sync["rounds"]:
        requests: Counter[str] = Counter(one["requests"])
        if sent := requests["PUT"] + requests["POST"]:
            found.append(f"{sent} requests that write")
        if requests["listing"] != 1:
            found.append(f"{requests['listing']} listings instead of one")
    wall_s = median(one["wall_s"] for one in sync["rounds"])
    if wall_s > MOST_SYNC_S:
        found.append(f"{wall_s:.2f} s instead of {MOST_SYNC_S:.0f}")
    return [f"unchanged sync: {problem}" for problem in dict.fromkeys(found)]


def markdown(cases: Iterable[CaseRuns], sync: Mapping[str, Any] | None, versions: Mapping[str, str | None]) -> str:
    """Return the whole report.

    Args:
        cases: What was measured.
        sync: What ``unchanged_sync`` printed, if it ran.
        versions: Of the engines, by name.
    """
    cases = list(cases)
    found = [problem for runs in cases for problem in problems(runs)] + (sync_problems(sync) if sync else [])
    verdict = "All bars are met." if not found else "**Not good enough:**\n\n" + "\n".join(f"- {one}" for one in found)
    bars = (
        f"The bars: throughput at least {LEAST_OF_BOTO3} of boto3's, our peak at most {MOST_MEMORY_MB} MB, 1,000 small "
        f"files no slower than rclone, an unchanged sync of 1,000 files in {MOST_SYNC_S:.0f} s with one listing and "
        "nothing written."
    )
    parts = ["# Copies to S3: ours, boto3, s5cmd, rclone", _machine(versions), bars, verdict]
    parts += [_case(runs) for runs in cases]
    return "\n\n".join([*parts, *([_sync(sync)] if sync else []), _METHOD])


def _machine(versions: Mapping[str, str | None]) -> str:
    cpus = len(os.sched_getaffinity(0))
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    gigabytes = int(memory[1]) * 1024 / 1e9 if memory else 0
    tools = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
    return (
        f"Measured {datetime.now(tz=UTC).date()} on {cpus} CPUs and {gigabytes:.0f} GB of memory, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, boto3 {version('boto3')}, {tools}."
    )


def _case(runs: CaseRuns) -> str:
    told = f"{_SERVERS[runs.server]}; load of the machine before the first run {runs.load:.1f}."
    if runs.sweep:
        tried = ", ".join(f"{number}: {wall_s:.2f} s" for number, wall_s in runs.sweep.items())
        best = min(runs.sweep, key=lambda number: runs.sweep[number])
        told += f" boto3 by requests at a time: {tried}; measured with {best}."
    notes = [f"- {name}: {result.note}" for name, result in runs.engines.items() if result.note]
    lines = [line for rival in ("boto3", "s5cmd", "rclone") for line in _ratio_line(runs, rival)]
    return "\n\n".join([f"## {runs.case.title} into {runs.server}", told, _table(runs), "\n".join([*lines, *notes])])


def _table(runs: CaseRuns) -> str:
    rows = ["| engine | runs | wall s | MB/s | CPU s | peak MB |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, result in runs.engines.items():
        if result.note:
            continue
        cells = [
            _span([run.wall_s for run in result.runs], 2),
            f"{runs.case.megabytes / median(run.wall_s for run in result.runs):,.1f}",
            _span([run.cpu_s for run in result.runs], 2),
            _span([run.peak_mb for run in result.runs], 0),
        ]
        rows.append(f"| {name} | {len(result.runs)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _ratio_line(runs: CaseRuns, rival: str) -> list[str]:
    wall, cpu = ratios(runs, rival, _wall), ratios(runs, rival, lambda run: run.cpu_s)
    if not wall:
        return []
    return [f"- Ours / {rival}, round by round: wall **{_span(wall, 2)}**, CPU **{_span(cpu, 2)}**"]


def _sync(sync: Mapping[str, Any]) -> str:
    walls = [one["wall_s"] for one in sync["rounds"]]
    asked = ", ".join(f"{count} {kind}" for kind, count in sorted(sync["rounds"][0]["requests"].items()))
    return (
        "## `apex sync` of an unchanged tree\n\n"
        f"{sync['files']:,} files of a race weekend, {sync['bytes'] / 1e6:,.1f} MB, all in the bucket; the first sync, "
        f"with everything derived, took {sync['first_s']:.1f} s. Each later one: **{_span(walls, 2)} s**, start of the "
        f"interpreter included; the server was asked for {asked}."
    )


def _wall(run: Measurement) -> float:
    return run.wall_s


def _span(values: list[float], digits: int) -> str:
    return f"{median(values):,.{digits}f} [{min(values):,.{digits}f}-{max(values):,.{digits}f}]"

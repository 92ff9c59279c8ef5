"""Holds the results of each case, finds missed targets, and writes both as a Markdown report. Standard library only.

See ``measuring`` and ``running`` for the measurements.
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

MIN_BOTO3_SHARE = 0.95
MAX_MEMORY_MB = 200
# Of 1,000 small files: of s5cmd's time, of our engine and of the command.
MAX_S5CMD_SHARE = {"ours": 0.9, "upload": 1.3}
# Of `apex upload` when there is nothing new.
MAX_AGAIN_S = 0.6
# Of botocore's time, for 1,000 lookups or reads.
MAX_LOOKUP_SHARE = 0.5
OPERATIONS = ("head", "get")
MAX_SYNC_S = 2.0
_SERVERS = {
    "seaweedfs": "SeaweedFS, which checks and stores CRC32",
    "juicefs": "MinIO's old front end (JuiceFS), which supports MD5 only",
}
_METHOD = """\
## How it was measured

`python benchmarks/transfer.py` repeats it; `--help` lists options for smaller runs. Each run is a separate process, \
including the start of the interpreter and imports, and copies to a new bucket of a real server on this machine, which \
shares the processors with the client. The engines alternate, and each round starts with a different one. After each \
run the objects are counted, one is read and compared, and the bucket is removed. Numbers are medians \
[minimum-maximum]; MB are 1,000,000 bytes. CPU and peak memory are those of the client.

"ours" is the engine alone, as a sync calls it; "upload" is the command `apex upload` as people run it, with its \
output in a file. Both hash every file (SHA-256), send a CRC32 with every request and compare it with the checksum \
that the store acknowledges, keep a journal of every multipart upload to resume it, and list the existing objects \
before they send. boto3 is used without additions: one shared transfer manager of the classic client, a CRC32 of \
every object, and the number of concurrent requests that was fastest when each was tried once before the first \
round. s5cmd (`sync`) and rclone (`copy`) use 10 concurrent requests, parts of 8 MiB, and their defaults otherwise. \
In a second run ours compares contents; the others compare size and time.
"""


@dataclass
class EngineRuns:
    """Runs of one engine in one case.

    Attributes:
        runs: One measurement per round.
        note: Reason why it was left out or failed; ``None`` if it was measured.
    """

    runs: list[Measurement] = field(default_factory=list[Measurement])
    note: str | None = None


@dataclass
class CaseRuns:
    """Runs of one case on one server.

    Attributes:
        server: ``seaweedfs`` or ``juicefs``.
        case: The copied files.
        engines: Requested engines, in the requested order.
        sweep: Seconds taken by boto3, by the number of concurrent requests.
        load: Load average of the machine over the minute before the first run.
    """

    server: str
    case: Case
    engines: dict[str, EngineRuns]
    sweep: dict[int, float] = field(default_factory=dict[int, float])
    load: float = 0.0


@dataclass
class LookupRuns:
    """Runs of both engines with both operations.

    Attributes:
        objects: Number of objects.
        runs: Measurements by operation and engine, one per round.
        load: Load average of the machine over the minute before the first run.
    """

    objects: int
    runs: dict[tuple[str, str], list[Measurement]] = field(default_factory=dict[tuple[str, str], list[Measurement]])
    load: float = 0.0


def ratios(runs: CaseRuns, other: str, figure: Callable[[Measurement], float], *, own: str = "ours") -> list[float]:
    """Return the ratio of one of our engines to another one per round; empty if one of them was not measured."""
    ours, others = runs.engines.get(own), runs.engines.get(other)
    if ours is None or others is None or ours.note or others.note:
        return []
    return [figure(one) / figure(other) for one, other in zip(ours.runs, others.runs, strict=True)]


def problems(runs: CaseRuns) -> list[str]:
    """Return the missed targets of a case."""
    found = [f"{name} {result.note}" for name, result in runs.engines.items() if (result.note or "").startswith("fail")]
    ours = runs.engines.get("ours")
    if ours is not None and ours.runs:
        peak_mb = max(run.peak_mb for run in ours.runs)
        if peak_mb > MAX_MEMORY_MB:
            found.append(f"our peak is {peak_mb:.0f} MB, more than {MAX_MEMORY_MB}")
    if (slower := ratios(runs, "boto3", _wall)) and 1 / median(slower) < MIN_BOTO3_SHARE:
        found.append(f"our throughput is {1 / median(slower):.2f} of boto3's, less than {MIN_BOTO3_SHARE}")
    if runs.case.is_of_small_files:
        for own, most in MAX_S5CMD_SHARE.items():
            if (slower := ratios(runs, "s5cmd", _wall, own=own)) and median(slower) > most:
                found.append(f"{own} takes {median(slower):.2f} times as long as s5cmd, more than {most}")
    upload = runs.engines.get("upload")
    if runs.case.is_second_run and upload is not None and upload.runs:
        wall_s = median(run.wall_s for run in upload.runs)
        if wall_s > MAX_AGAIN_S:
            found.append(f"`apex upload` takes {wall_s:.2f} s, more than {MAX_AGAIN_S} s")
    return [f"{runs.server}, {runs.case.title}: {problem}" for problem in found]


def lookup_problems(lookups: LookupRuns) -> list[str]:
    """Return the missed targets of lookups and reads."""
    shares = {operation: median(_lookup_ratios(lookups, operation, _wall)) for operation in OPERATIONS}
    return [
        f"{lookups.objects:,} {operation.upper()}: {share:.2f} of botocore's time, more than {MAX_LOOKUP_SHARE}"
        for operation, share in shares.items()
        if share > MAX_LOOKUP_SHARE
    ]


def _lookup_ratios(lookups: LookupRuns, operation: str, figure: Callable[[Measurement], float]) -> list[float]:
    ours, others = lookups.runs[operation, "ours"], lookups.runs[operation, "botocore"]
    return [figure(one) / figure(other) for one, other in zip(ours, others, strict=True)]


def sync_problems(sync: Mapping[str, Any]) -> list[str]:
    """Return the missed targets of the unchanged sync."""
    found: list[str] = []
    for one in sync["rounds"]:
        requests: Counter[str] = Counter(one["requests"])
        if sent := requests["PUT"] + requests["POST"]:
            found.append(f"{sent} write requests")
        if requests["listing"] != 1:
            found.append(f"{requests['listing']} listings instead of one")
    wall_s = median(one["wall_s"] for one in sync["rounds"])
    if wall_s > MAX_SYNC_S:
        found.append(f"{wall_s:.2f} s instead of {MAX_SYNC_S:.0f}")
    return [f"unchanged sync: {problem}" for problem in dict.fromkeys(found)]


def markdown(
    cases: Iterable[CaseRuns],
    sync: Mapping[str, Any] | None,
    versions: Mapping[str, str | None],
    lookups: LookupRuns | None = None,
) -> str:
    """Return the report as Markdown.

    Args:
        cases: The measured cases.
        sync: Output of ``unchanged_sync``, if it ran.
        versions: Version of each engine by name.
        lookups: Runs of lookups and reads, if they were measured.
    """
    cases = list(cases)
    found = [problem for runs in cases for problem in problems(runs)] + (sync_problems(sync) if sync else [])
    found += lookup_problems(lookups) if lookups else []
    verdict = (
        "All targets are met." if not found else "**Missed targets:**\n\n" + "\n".join(f"- {one}" for one in found)
    )
    targets = (
        f"Targets: throughput at least {MIN_BOTO3_SHARE} of boto3's, our peak memory at most {MAX_MEMORY_MB} MB, 1,000 "
        f"small files in {MAX_S5CMD_SHARE['ours']} of s5cmd's time ({MAX_S5CMD_SHARE['upload']} with `apex upload`), "
        f"nothing new among them in {MAX_AGAIN_S} s, lookups and reads in {MAX_LOOKUP_SHARE} of botocore's time, an "
        f"unchanged sync of 1,000 files in {MAX_SYNC_S:.0f} s with one listing and no writes."
    )
    parts = ["# Copies to S3: ours, boto3, s5cmd, rclone", _machine(versions), targets, verdict]
    parts += [_case(runs) for runs in cases]
    parts += [_lookups(lookups)] if lookups else []
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
    summary = f"{_SERVERS[runs.server]}; machine load before the first run {runs.load:.1f}."
    if runs.sweep:
        tried = ", ".join(f"{number}: {wall_s:.2f} s" for number, wall_s in runs.sweep.items())
        best = min(runs.sweep, key=lambda number: runs.sweep[number])
        summary += f" boto3 by concurrent requests: {tried}; measured with {best}."
    notes = [f"- {name}: {result.note}" for name, result in runs.engines.items() if result.note]
    others = ("boto3", "s5cmd", "rclone")
    lines = [line for own in ("ours", "upload") for other in others for line in _ratio_line(runs, own, other)]
    return "\n\n".join([f"## {runs.case.title} to {runs.server}", summary, _table(runs), "\n".join([*lines, *notes])])


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


def _ratio_line(runs: CaseRuns, own: str, other: str) -> list[str]:
    wall, cpu = ratios(runs, other, _wall, own=own), ratios(runs, other, _cpu, own=own)
    if not wall:
        return []
    return [f"- {own.capitalize()} / {other} per round: wall **{_span(wall, 2)}**, CPU **{_span(cpu, 2)}**"]


def _sync(sync: Mapping[str, Any]) -> str:
    walls = [one["wall_s"] for one in sync["rounds"]]
    requests = ", ".join(f"{count} {kind}" for kind, count in sorted(sync["rounds"][0]["requests"].items()))
    return (
        "## `apex sync` of an unchanged tree\n\n"
        f"{sync['files']:,} files of a race weekend, {sync['bytes'] / 1e6:,.1f} MB, all in the bucket; the first sync, "
        f"with all derivations, took {sync['first_s']:.1f} s. Each later sync: **{_span(walls, 2)} s**, including the "
        f"start of the interpreter; requests to the server: {requests}."
    )


def _lookups(lookups: LookupRuns) -> str:
    rows = ["| operation | engine | runs | wall s | CPU s |", "| --- | --- | ---: | ---: | ---: |"]
    for (operation, engine), runs in lookups.runs.items():
        cells = [_span([run.wall_s for run in runs], 2), _span([run.cpu_s for run in runs], 2)]
        rows.append(f"| {operation.upper()} | {engine} | {len(runs)} | {' | '.join(cells)} |")
    lines = [
        f"- {operation.upper()}, ours / botocore per round: "
        f"wall **{_span(_lookup_ratios(lookups, operation, _wall), 2)}**, "
        f"CPU **{_span(_lookup_ratios(lookups, operation, _cpu), 2)}**"
        for operation in OPERATIONS
    ]
    summary = f"Of 10 KB, by 10 threads, from SeaweedFS; machine load before the first run {lookups.load:.1f}."
    return "\n\n".join([f"## {lookups.objects:,} lookups and reads", summary, "\n".join(rows), "\n".join(lines)])


def _wall(run: Measurement) -> float:
    return run.wall_s


def _cpu(run: Measurement) -> float:
    return run.cpu_s


def _span(values: list[float], digits: int) -> str:
    return f"{median(values):,.{digits}f} [{min(values):,.{digits}f}-{max(values):,.{digits}f}]"

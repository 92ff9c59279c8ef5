"""Compares our copies to S3 with plain boto3, s5cmd and rclone, in one command.

    .venv/bin/python benchmarks/transfer.py

copies 1 file of 1 GB, 300 of 3 MB and 1,000 of 10 KB, and the last set once more unchanged, to two real servers from
their wheels, with alternating engines and a separate process for each run. It writes ``benchmarks/results/transfer.md``
and needs Linux, 4 GB of disk and half an hour. Other options:

    --case small --server seaweedfs --rounds 2   a short run of one case on one server
    --megabytes 100                              no case larger than this
    --tools /opt/tools/bin                       folder of s5cmd and rclone, if not next to this Python or on PATH
    --no-sync                                    skips the unchanged sync of 1,000 files
    --no-lookups                                 skips 1,000 lookups and 1,000 reads, compared with botocore's

s5cmd and rclone are in the dependency group ``bench``; missing tools are left out. Our engine is measured alone and as
``apex upload``. The exit code is 1 if a target of ``transfer_engines/report.py`` is missed.

Until everything is measured, this process stays small and uses the standard library only, because the peak memory of a
child process starts at that of its parent.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from transfer_engines.cases import CASES, WARM_UP, Case, make_files, scaled
from transfer_engines.engines import NAMES, Engines
from transfer_engines.lookup_runs import measure_lookups
from transfer_engines.report import CaseRuns, lookup_problems, markdown, problems, sync_problems
from transfer_engines.running import HERE, CaseRunner, log, running_server

_SERVERS = ("seaweedfs", "juicefs")


def main() -> int:
    """Run the requested measurements; return 1 if a target is missed."""
    arguments = _arguments()
    engines = Engines(arguments.tools)
    results: list[CaseRuns] = []
    versions = {name: engines.version(name) for name in arguments.engines}
    for case in [scaled(CASES[name], arguments.megabytes) for name in arguments.case]:
        for server in arguments.server:
            results.append(_run_case(case, server, engines, arguments))
            # Written after each case, so that an interrupted run keeps its measurements.
            _write(arguments.results, markdown(results, None, versions))
    lookups = None if arguments.no_lookups else measure_lookups(arguments.rounds)
    sync = None if arguments.no_sync else _unchanged_sync(arguments.rounds)
    _write(arguments.results, markdown(results, sync, versions, lookups))
    found = [problem for runs in results for problem in problems(runs)] + (sync_problems(sync) if sync else [])
    found += lookup_problems(lookups) if lookups else []
    for problem in found:
        log(f"Target missed: {problem}")
    return 1 if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each engine in each case; default 5")
    parser.add_argument("--case", nargs="*", choices=list(CASES), default=list(CASES), help="default: all")
    parser.add_argument("--server", nargs="+", choices=_SERVERS, default=list(_SERVERS), help="default: both")
    parser.add_argument("--engines", nargs="+", choices=NAMES, default=list(NAMES), help="default: all")
    parser.add_argument("--megabytes", type=int, help="maximum size of a case; default: its full size")
    parser.add_argument("--tools", type=Path, help="folder with s5cmd and rclone")
    parser.add_argument("--no-sync", action="store_true", help="skip the unchanged sync")
    parser.add_argument("--no-lookups", action="store_true", help="skip lookups and reads")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder for the table")
    return parser.parse_args()


def _run_case(case: Case, server: str, engines: Engines, arguments: argparse.Namespace) -> CaseRuns:
    """Measure one case on a newly started server."""
    with tempfile.TemporaryDirectory(prefix="apex-transfer-") as name, running_server(server) as running:
        folder = Path(name).resolve()
        make_files(folder / "warm_up", WARM_UP)
        CaseRunner(WARM_UP, folder / "warm_up", running, engines).warm_up(arguments.engines)
        make_files(folder / "files", case)
        return CaseRunner(case, folder / "files", running, engines).run(server, arguments.engines, arguments.rounds)


def _unchanged_sync(rounds: int) -> dict[str, Any]:
    log("syncing 1,000 race files repeatedly")
    command = [sys.executable, "-m", "transfer_engines.unchanged_sync", str(rounds)]
    process = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout)


def _write(folder: Path, report: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transfer.md").write_text(report, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""Copies to S3: our engine against boto3 bare, s5cmd and rclone, in one command.

    .venv/bin/python benchmarks/transfer.py

copies 1 file of 1 GB, 300 of 3 MB and 1,000 of 10 KB, and the last once more unchanged, into two real servers out of
their wheels, with every engine in turns, each run a process of its own. It writes ``benchmarks/results/transfer.md``.
It needs Linux, 4 GB of disk and half an hour. Other ways to call it:

    --case small --server seaweedfs --rounds 2   one case on one server, quickly
    --megabytes 100                              no case larger than this
    --tools /opt/tools/bin                       where s5cmd and rclone are, if not beside this Python or on PATH
    --no-sync                                    without the unchanged sync of 1,000 files

s5cmd and rclone are in the dependency group ``bench``; what is not there is left out. The exit code is 1 if our
throughput is below 0.9 of boto3's, our peak above 200 MB, ours slower than rclone on 1,000 small files, or the
unchanged sync is not as promised.

This process is small, standard library only, until all is measured: a child's peak begins at what its parent held.
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
from transfer_engines.report import CaseRuns, markdown, problems, sync_problems
from transfer_engines.running import HERE, Bench, running_server, tell

_SERVERS = ("seaweedfs", "juicefs")


def main() -> int:
    """Measure what was asked for; return 1 if something is not good enough."""
    asked = _arguments()
    engines = Engines(asked.tools)
    results: list[CaseRuns] = []
    sync = None
    versions = {name: engines.version(name) for name in asked.engines}
    for case in [scaled(CASES[name], asked.megabytes) for name in asked.case]:
        for server in asked.server:
            results.append(_run_case(case, server, engines, asked))
            # After each case, so that an interrupted run leaves what it has measured.
            _write(asked.results, markdown(results, sync, versions))
    if not asked.no_sync:
        sync = _unchanged_sync(asked.rounds)
        _write(asked.results, markdown(results, sync, versions))
    found = [problem for runs in results for problem in problems(runs)] + (sync_problems(sync) if sync else [])
    for problem in found:
        tell(f"Not good enough: {problem}")
    return 1 if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each engine in each case; default 5")
    parser.add_argument("--case", nargs="*", choices=list(CASES), default=list(CASES), help="default: all")
    parser.add_argument("--server", nargs="+", choices=_SERVERS, default=list(_SERVERS), help="default: both")
    parser.add_argument("--engines", nargs="+", choices=NAMES, default=list(NAMES), help="default: all")
    parser.add_argument("--megabytes", type=int, help="the most a case may copy; default: its own size")
    parser.add_argument("--tools", type=Path, help="folder with s5cmd and rclone")
    parser.add_argument("--no-sync", action="store_true", help="leave the unchanged sync out")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder for the table")
    return parser.parse_args()


def _run_case(case: Case, server: str, engines: Engines, asked: argparse.Namespace) -> CaseRuns:
    """Measure one case on a server that was started for it."""
    with tempfile.TemporaryDirectory(prefix="apex-transfer-") as name, running_server(server) as running:
        folder = Path(name).resolve()
        make_files(folder / "warm_up", WARM_UP)
        Bench(WARM_UP, folder / "warm_up", running, engines).warm_up(asked.engines)
        make_files(folder / "files", case)
        return Bench(case, folder / "files", running, engines).run(server, asked.engines, asked.rounds)


def _unchanged_sync(rounds: int) -> dict[str, Any]:
    tell("syncing 1,000 race files, and again")
    command = [sys.executable, "-m", "transfer_engines.unchanged_sync", str(rounds)]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _write(folder: Path, report: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transfer.md").write_text(report, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

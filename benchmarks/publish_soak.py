"""Kills a publisher at random moments while programs read, and checks that each answer is of one snapshot and whole.

    .venv/bin/python -m benchmarks.publish_soak --kills 50 --seed 31

A process publishes one session after the other, as the end of a sync does, and gets SIGKILL up to 1.5 s after it has
begun; then the next one goes on. Meanwhile four readers in Python open the lake, go on with what they have, and read
yesterday's state by its date; two clients of ``apex serve`` ask for single answers, walk through pages with a cursor,
and ask for yesterday's state by its id. Each answer is compared with the snapshot that it names, opened again when all
is quiet. The results go to ``benchmarks/results/publish_soak.md``; a run takes five minutes.

The exit code is 1 if a guarantee was violated: an answer was missing, of several snapshots, or not what its snapshot
has; yesterday's state changed; a walk lost a row or had one twice; a state is there that was never published; or
``apex verify --deep`` finds something in the end.
"""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from apex_pipeline_tests.e2e.publish_soak import SoakPlan, SoakResult, soak
from benchmarks.sync_soak import soak_folder

_RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Run the soak test; return 1 if a guarantee was violated."""
    arguments = _arguments()
    plan = SoakPlan(arguments.kills, arguments.seed)
    with soak_folder(arguments.folder) as folder:
        result = soak(folder, plan, lambda text: print(text, file=sys.stderr, flush=True))
    report = _markdown(plan, result)
    print(report)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "publish_soak.md").write_text(report, encoding="utf-8")
    return 1 if result.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="number of kills; default 50")
    parser.add_argument("--seed", type=int, default=31, help="seed of the moments; default 31")
    parser.add_argument("--folder", type=Path, default=None, help="keep everything in this new folder")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder for the table")
    return parser.parse_args()


def _markdown(plan: SoakPlan, result: SoakResult) -> str:
    head = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with `python -m benchmarks.publish_soak --kills {plan.kills} --seed "
        f"{plan.seed}`: {plan.python_readers} readers in Python, {plan.http_readers} over HTTP, a lake in a folder, "
        f"{result.seconds:,.0f} s, load {os.getloadavg()[1]:.0f}."
    )
    rows = ["| what | number |", "| --- | ---: |"]
    rows += [f"| {name} | {number:,} |" for name, number in sorted(result.counts.items())]
    verdict = "No guarantee was violated."
    if result.failures:
        verdict = "Violated:\n\n" + "\n".join(f"- {failure}" for failure in result.failures)
    return "\n\n".join(["# A publisher, killed while programs read", head, "\n".join(rows), verdict]) + "\n"


if __name__ == "__main__":
    sys.exit(main())

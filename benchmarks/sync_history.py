"""Measures how large Dagster's history is after many syncs of one changed session, before and after it is pruned.

    python -m benchmarks.sync_history --syncs 100

The syncs are those of ``apex sync``, in this process, in a home that they make; each derives one session of 16 tables.
"""

import argparse
import tempfile
from datetime import timedelta
from pathlib import Path

from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.orchestration.history import prune
from apex_pipeline.orchestration.history_jobs import pruning_summary
from apex_pipeline.orchestration.home_databases import history_bytes
from apex_pipeline.orchestration.instance import open_instance
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns


def main() -> None:
    """Run the benchmark and print the size after every tenth of the syncs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--syncs", type=int, default=100, help="syncs, each after a change; default 100")
    syncs = parser.parse_args().syncs
    with tempfile.TemporaryDirectory(prefix="apex-history-") as text:
        home, lake = Path(text) / "own-home", LakeRuns(Path(text))
        settings = load_settings(
            source_dir=lake.source,
            lake_dir=lake.settings.lake_dir,
            state_dir=lake.settings.state_dir,
            dagster_home=home,
        )
        for number in range(1, syncs + 1):
            lake.race("spa/R1", laps=4 + number % 5)
            outcome = sync(settings, lambda _: None)
            if len(outcome.derived) != 1 or outcome.failures:
                raise SystemExit(f"not one session was derived: {outcome}")
            if number % max(syncs // 10, 1) == 0:
                print(f"{number} syncs: {(history_bytes(home) or 0) / 1024:,.0f} KiB", flush=True)
        with open_instance(home, settings.memory_limit) as instance:
            print(pruning_summary(prune(instance, timedelta(0))))
        lake.close()


if __name__ == "__main__":
    main()

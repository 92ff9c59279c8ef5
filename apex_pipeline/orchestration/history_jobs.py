"""Contains the job that prunes the history of runs; its schedule is in ``schedules.py``.

See ``history.py`` for what is removed.
"""

from datetime import timedelta

import dagster as dg

from apex_pipeline.amounts import size
from apex_pipeline.orchestration.failures import dagster_failure
from apex_pipeline.orchestration.history import Pruned, prune
from apex_pipeline.orchestration.instance import remember_process
from apex_pipeline.orchestration.job_names import PRUNE_JOB
from apex_pipeline.settings import load_settings


@dg.op(out=dg.Out(dg.Nothing), description="Remove runs whose results were replaced more than APEX_HISTORY_DAYS ago.")
def prune_runs(context: dg.OpExecutionContext) -> None:
    """Prune the history, and log what that did to its size."""
    with dagster_failure(context):
        remember_process(context.instance, context.run)  # as the lake does for all other runs
        context.log.info(pruning_summary(prune(context.instance, timedelta(days=load_settings().history_days))))


def pruning_summary(pruned: Pruned) -> str:
    """Return what a pruning did, in a sentence."""
    done = f"Removed {pruned.runs} runs; {pruned.kept} older ones are still the last of their assets"
    if pruned.compacted:
        done = f"{done}. Rewrote {pruned.compacted} others without unused space"
    if not pruned.is_complete:
        done = f"{done}. Others were not looked at, because no more are removed at once; the next pruning continues"
    if pruned.bytes_before is None or pruned.bytes_after is None:
        return f"{done}. The database is not in the Dagster home, so its size is not known."
    return f"{done}. The history was {size(pruned.bytes_before)} and is {size(pruned.bytes_after)}."


@dg.job(name=PRUNE_JOB, description="Remove runs whose results were replaced long ago, and report what that saves.")
def prune_history() -> None:
    """Run the only operation of the job."""
    prune_runs()

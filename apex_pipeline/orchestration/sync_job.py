"""Contains the job that syncs the whole lake in one go; the schedule ``hourly_sync`` launches it.

It executes other jobs of the pipeline, each in a run of its own, so the definitions are given to it, and it is one of
them: ``build.py`` ties the knot.
"""

from collections.abc import Callable
from contextlib import nullcontext

import dagster as dg

from apex_pipeline.orchestration.failures import dagster_failure
from apex_pipeline.orchestration.health import MANIFEST_KEY
from apex_pipeline.orchestration.job_names import SYNC_JOB
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.orchestration.runner import Runner
from apex_pipeline.orchestration.sync import SyncEvent, SyncOutcome, sync_with
from apex_pipeline.settings import Settings

# Failures named in a message; the runs of the sessions have all of them.
_SHOWN = 5


def build_sync_job(definitions_of: Callable[[Settings], dg.Definitions]) -> dg.JobDefinition:
    """Return the job.

    Args:
        definitions_of: Returns the pipeline's definitions; called when the job runs.
    """

    @dg.op(
        out=dg.Out(dg.Nothing),
        description="Do what `apex sync` does; every session and the catalog get a run of their own.",
    )
    def sync_all(context: dg.OpExecutionContext, lake: LakeResource, source: SourceResource) -> None:
        def report(event: SyncEvent) -> None:
            if event.message:
                context.log.info("%s: %s %s", event.stage, event.session or "", event.message)

        with dagster_failure(context):
            outcome = sync_with(
                lambda own: nullcontext(Runner(definitions_of(own), context.instance)),
                lake.settings_with(source),
                report,
            )
        _require_success(outcome)
        if outcome.is_unchanged:
            _confirm_manifest(context)

    @dg.job(name=SYNC_JOB, description="Bring the whole lake up to date in one go, as `apex sync` does.")
    def sync_lake() -> None:
        sync_all()

    return sync_lake


def _require_success(outcome: SyncOutcome) -> None:
    """Raise a failure that names what failed; everything else was completed."""
    if not (outcome.failures or outcome.refused):
        return
    failed = [f"{failure.session or failure.stage}: {failure.problem}" for failure in outcome.failures]
    failed += [f"{path}: {reason}" for path, reason in outcome.refused]
    problem = f"{len(failed)} failed, and the rest was completed. {' '.join(failed[:_SHOWN])}"
    remedy = "Look at the runs of the sessions named, which say what to do."
    raise dg.Failure(f"{problem} {remedy}", {"problem": problem, "remedy": remedy}, allow_retries=False)


def _confirm_manifest(context: dg.OpExecutionContext) -> None:
    """Report the manifest again, unchanged: its freshness says when the lake was last found up to date."""
    entry = context.instance.get_latest_materialization_event(MANIFEST_KEY)
    known = entry.asset_materialization if entry else None
    if known is not None:
        again = dg.AssetMaterialization(MANIFEST_KEY, metadata=known.metadata, tags=known.tags)
        context.instance.report_runless_asset_event(again)

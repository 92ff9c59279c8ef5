"""Contains the jobs that work on all of the lake: mend it, sync it, verify it, and remove sessions that are gone.

The sensor and the schedules launch them, and so can anybody in the UI. Each is one operation that calls what the
command line calls.
"""

from collections.abc import Iterable
from contextlib import nullcontext

import dagster as dg

from apex_pipeline.ingest.automation import lost_sessions_of
from apex_pipeline.ingest.preparation import Preparation, write_records
from apex_pipeline.lake.integrity import verify_lake as check_lake
from apex_pipeline.orchestration.attempts import running
from apex_pipeline.orchestration.failures import dagster_failure
from apex_pipeline.orchestration.health import MANIFEST_KEY
from apex_pipeline.orchestration.instance import close_dead_runs
from apex_pipeline.orchestration.job_names import DERIVE_JOB, PREPARE_JOB, REMOVE_JOB, SYNC_JOB, VERIFY_JOB
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.orchestration.sync import SyncEvent, SyncOutcome, sync
from apex_pipeline.orchestration.tick_plan import plan_for_job

# Findings named in a failure; the log of the run has all of them.
_SHOWN = 5


@dg.op(out=dg.Out(dg.Nothing), description="Mend what is published, and write the records on which no table depends.")
def prepare(context: dg.OpExecutionContext, lake: LakeResource, source: SourceResource) -> None:
    """Prepare the lake, as a sync does before it works on sessions."""
    with dagster_failure(context):
        settings, store = lake.settings_with(source), lake.open()
        preparation = Preparation(
            store, lambda: plan_for_job(settings, context.instance)[0], lambda notes: _log(context, notes)
        )
        write_records(store, preparation.run())


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Do what `apex sync` does; every session and the catalog get a run of their own.",
)
def sync_all(context: dg.OpExecutionContext, lake: LakeResource, source: SourceResource) -> None:
    """Sync the lake with the source folder."""
    from apex_pipeline.orchestration.runner import Runner  # noqa: PLC0415  -- builds the definitions, with this job

    def report(event: SyncEvent) -> None:
        if event.message:
            context.log.info("%s: %s %s", event.stage, event.session or "", event.message)

    with dagster_failure(context):
        settings = lake.settings_with(source)
        outcome = sync(settings, report, lambda own: nullcontext(Runner(own, context.instance)))
    _require_success(outcome)
    if outcome.is_unchanged:
        _confirm_manifest(context)


@dg.op(out=dg.Out(dg.Nothing), description="Read every byte of the lake and compare it with the recorded digests.")
def verify(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Verify the lake, as `apex verify --deep` does."""
    with dagster_failure(context):
        report = check_lake(lake.open(), is_deep=True)
    for finding in report.wrong:
        context.log.error("%s: %s", finding.key, finding.problem)
    context.log.info("%d objects read, %d with a problem.", len(report.findings), len(report.wrong))
    if report.wrong:
        named = "; ".join(f"{finding.key}: {finding.problem}" for finding in report.wrong[:_SHOWN])
        problem = f"{len(report.wrong)} of {len(report.findings)} objects have a problem: {named}."
        remedy = (
            f"Launch the job {SYNC_JOB}, or without a source folder {PREPARE_JOB} and then {DERIVE_JOB} for what stays "
            "damaged: what has an intact copy is restored, and the rest derived."
        )
        raise dg.Failure(f"{problem} {remedy}", {"problem": problem, "remedy": remedy}, allow_retries=False)


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Remove the partitions that have neither a file nor anything published. Launching it confirms it.",
)
def remove(context: dg.OpExecutionContext, lake: LakeResource, source: SourceResource) -> None:
    """Remove what the sensor does not remove without confirmation: partitions, never data."""
    with dagster_failure(context):
        plan, problem = plan_for_job(lake.settings_with(source), context.instance)
        if problem:
            raise dg.Failure(f"Nothing was removed, because the source folder cannot be read: {problem}")
        close_dead_runs(context.instance)
        lost = lost_sessions_of(plan, context.instance.get_dynamic_partitions("sessions"), running(context.instance))
    for key in lost:
        context.instance.delete_dynamic_partition("sessions", key)
    context.log.info("Removed %d partitions: %s.", len(lost), ", ".join(lost) or "none")


@dg.job(name=PREPARE_JOB, description="Mend the lake before sessions are worked on; the sensor launches it.")
def prepare_lake() -> None:
    """Run the only operation of the job."""
    prepare()


@dg.job(name=SYNC_JOB, description="Bring the whole lake up to date in one go, as `apex sync` does.")
def sync_lake() -> None:
    """Run the only operation of the job."""
    sync_all()


@dg.job(name=VERIFY_JOB, description="Verify every byte of the lake, as `apex verify --deep` does.")
def verify_lake() -> None:
    """Run the only operation of the job."""
    verify()


@dg.job(name=REMOVE_JOB, description="Confirm that sessions without any file are gone, and remove their partitions.")
def remove_lost_sessions() -> None:
    """Run the only operation of the job."""
    remove()


MAINTENANCE_JOBS = [prepare_lake, sync_lake, verify_lake, remove_lost_sessions]


def _log(context: dg.OpExecutionContext, notes: Iterable[str]) -> None:
    for note in notes:
        context.log.info(note)


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

"""Contains the schedules: a sync every hour, and every night a verification of every byte and a pruning of the history.

They are for those who do not want the sensor, and for what no sensor can know. ``automation_table.py`` says where which
of them exists. See https://docs.dagster.io/guides/automate/schedules
"""

import dagster as dg
from dagster import RunsFilter

from apex_pipeline.orchestration.attempts import UNFINISHED
from apex_pipeline.orchestration.automation_table import (
    PRUNE_SCHEDULE,
    SYNC_SCHEDULE,
    VERIFY_SCHEDULE,
    exists,
    schedule_status,
)
from apex_pipeline.orchestration.history_jobs import prune_history
from apex_pipeline.orchestration.instance import close_dead_runs
from apex_pipeline.orchestration.maintenance_jobs import sync_lake, verify_lake
from apex_pipeline.settings import Settings

HOURLY = "0 * * * *"
# A deep verification of 1 TB takes hours and should end before people come.
NIGHTLY = "0 2 * * *"
# After the verification and before people come.
LATE_AT_NIGHT = "30 4 * * *"


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Return the schedules that exist in this environment."""
    rows = (
        (SYNC_SCHEDULE, HOURLY, sync_lake, "Sync the lake every hour, unless the last sync is still at work."),
        (VERIFY_SCHEDULE, NIGHTLY, verify_lake, "Read and verify every byte of the lake every night, at 2:00 UTC."),
        (PRUNE_SCHEDULE, LATE_AT_NIGHT, prune_history, "Prune the history of runs every night, at 4:30 UTC."),
    )
    return [
        _schedule(settings, name, cron, job, description)
        for name, cron, job, description in rows
        if exists(name, settings.environment)
    ]


def _schedule(
    settings: Settings, name: str, cron: str, job: dg.JobDefinition, description: str
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        cron_schedule=cron,
        job=job,
        default_status=schedule_status(name, settings.environment),
        description=description,
    )
    def launch(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return request_unless_under_way(context.instance, job.name)

    return launch


def request_unless_under_way(instance: dg.DagsterInstance, job: str) -> dg.RunRequest | dg.SkipReason:
    """Return the request of a run, or the reason against it: the last one is not finished yet."""
    close_dead_runs(instance)
    under_way = instance.get_runs(RunsFilter(job_name=job, statuses=UNFINISHED), limit=1)
    if under_way:
        return dg.SkipReason(f"The run {under_way[0].run_id} is still queued or at work.")
    return dg.RunRequest(tags={"dagster/retry_on_asset_or_op_failure": "false"})

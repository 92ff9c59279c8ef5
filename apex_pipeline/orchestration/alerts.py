"""Contains the sensor that tells people of failed runs, in one message per look however many failed.

Dagster's own run failure sensors send one message per run: 2,000 failed sessions would be 2,000 messages. See
``alerts.py`` of the package for where it is sent; without a receiver in the settings, the sensor does not exist.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from apex_pipeline.alerts import Alert, has_receivers, send_alert
from apex_pipeline.orchestration.attempts import PARTITION_TAG, is_typed, step_failures
from apex_pipeline.orchestration.automation_table import ALERT_SENSOR, sensor_status
from apex_pipeline.settings import Settings

_INTERVAL_S = 60
# Runs named in one message; the rest are only counted.
_SHOWN = 10
# Most failed runs read in one look: more than any number of workers fails in a minute.
_MOST_RUNS = 10_000
# A run is noticed although it was recorded a little after its time, or by a machine whose clock is behind.
_OVERLAP = timedelta(minutes=5)
_WILL_RETRY = "dagster/will_retry"


def build_alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor, if there is somebody to tell."""
    if not has_receivers(settings):
        return []

    @dg.sensor(
        name=ALERT_SENSOR,
        minimum_interval_seconds=_INTERVAL_S,
        default_status=sensor_status(ALERT_SENSOR, settings.environment),
        description="Tell of failed runs, with problem and remedy, where the settings say: Slack, a URL, e-mail.",
    )
    def tell_failed_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if context.cursor is None:
            start = _cursor(datetime.now(UTC) + _OVERLAP, [])
            return dg.SensorResult(skip_reason="From now on, failed runs are told.", cursor=start)
        since, told = _parsed(context.cursor)
        filters = RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=since - _OVERLAP)
        records = list(context.instance.get_run_records(filters, _MOST_RUNS, "update_timestamp", ascending=True))
        failed = [record for record in records if record.dagster_run.run_id not in told and not _is_retried(record)]
        if failed:
            send_alert(alert_of(context.instance, failed), settings)
        return dg.SensorResult(skip_reason=f"{len(failed)} failed runs told.", cursor=_next_cursor(since, records))

    return [tell_failed_runs]


def alert_of(instance: dg.DagsterInstance, failed: Sequence[RunRecord]) -> Alert:
    """Return the message about failed runs.

    Only what a typed failure says of itself is quoted: the text of any other error may hold whatever it was given.
    """
    lines = [_line(instance, record) for record in failed[:_SHOWN]]
    rest = len(failed) - _SHOWN
    count = f"{len(failed)} run{'s' if len(failed) > 1 else ''}"
    return Alert(f"Dagster: {count} failed", (*lines, *([f"… and {rest} more"] if rest > 0 else [])))


def _line(instance: dg.DagsterInstance, record: RunRecord) -> str:
    run = record.dagster_run
    name = " ".join(filter(None, [run.job_name, run.tags.get(PARTITION_TAG)]))
    facts = next((found for found in step_failures(instance, run.run_id) if is_typed(found)), None)
    said = f"{facts['problem']} {facts['remedy']}" if facts else "See its page in Dagster."
    return f"{name} (run {run.run_id[:8]}): {said}"


def _is_retried(record: RunRecord) -> bool:
    return record.dagster_run.tags.get(_WILL_RETRY) == "true"


def _next_cursor(since: datetime, records: Sequence[RunRecord]) -> str:
    """Return the cursor after these runs: the latest time, and the runs that the overlap would show again."""
    latest = max([since, *(record.update_timestamp for record in records)])
    again = [record for record in records if record.update_timestamp >= latest - _OVERLAP]
    return _cursor(latest, [record.dagster_run.run_id for record in again])


def _cursor(since: datetime, told: Sequence[str]) -> str:
    return json.dumps({"since_s": since.timestamp(), "told": list(told)})


def _parsed(cursor: str) -> tuple[datetime, set[str]]:
    found = json.loads(cursor)
    return datetime.fromtimestamp(found["since_s"], UTC), set(found["told"])

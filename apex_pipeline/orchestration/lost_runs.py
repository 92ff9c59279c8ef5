"""The sensor that notices runs whose Celery worker has died, so that they are retried.

When a worker dies with its machine, Celery goes on reporting its task as started, and Dagster's monitoring believes it:
the run would stay started until the longest time a run may take. A worker that lives answers at once which tasks it
works on. A run whose task no worker has, and that has not written an event for a minute, is lost: it is marked as
failed, and Dagster's run retries start it again on another worker. A worker that was only cut off does no harm when it
comes back, because another process has the session's lease by then. See docs/scale-out.md.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Protocol

import dagster as dg
from dagster import DagsterRun, DagsterRunStatus, RunsFilter

from apex_pipeline.orchestration.automation_table import LOST_RUNS_SENSOR, exists, sensor_status
from apex_pipeline.orchestration.instance import close_run
from apex_pipeline.settings import Settings

# Steps at work log their progress every ten seconds; a worker under load may take some seconds to answer.
SILENCE = timedelta(seconds=60)
_INTERVAL_S = 20
# Longest wait for the answers of the workers. The sensor itself must end within 60 s.
_ANSWER_S = 5.0
# The tag in which Dagster's launcher keeps the id of a run's task.
_TASK_TAG = "dagster-celery/task_id"
_REASON = "The Celery worker of this run has died: no worker has its task, and its last event is {age:.0f} s old."


class _Inspection(Protocol):
    def active(self) -> dict[str, list[dict[str, object]]] | None: ...


class _Connection(Protocol):
    connection_errors: tuple[type[Exception], ...]


class _App(Protocol):
    def connection_for_write(self) -> _Connection: ...


def find_lost_runs(instance: dg.DagsterInstance, tasks: Iterable[str], now: datetime) -> dict[str, timedelta]:
    """Return the runs whose worker has died, each with the age of its last event, by run id.

    Args:
        instance: The Dagster instance.
        tasks: Ids of the tasks that living workers have.
        now: The time (timezone-aware).
    """
    alive, lost = set(tasks), dict[str, timedelta]()
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        task = run.tags.get(_TASK_TAG)
        if task is None or task in alive:
            continue
        age = now - _last_event(instance, run)
        if age >= SILENCE:
            lost[run.run_id] = age
    return lost


def _last_event(instance: dg.DagsterInstance, run: DagsterRun) -> datetime:
    (latest,) = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return datetime.fromtimestamp(latest.timestamp, UTC)


def active_tasks(inspection: _Inspection) -> set[str] | None:
    """Return the ids of the tasks that the workers have; ``None`` if no worker answered."""
    answers = inspection.active()
    if not answers:
        return None
    return {str(task["id"]) for tasks in answers.values() for task in tasks}


def build_lost_run_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor, where it exists in this environment and Celery is installed; else it would have no use."""
    if not exists(LOST_RUNS_SENSOR, settings.environment) or not find_spec("dagster_celery"):
        return []

    @dg.sensor(
        name=LOST_RUNS_SENSOR,
        minimum_interval_seconds=_INTERVAL_S,
        default_status=sensor_status(LOST_RUNS_SENSOR, settings.environment),
        description="Marks runs whose Celery worker has died as failed, so that they are retried on another one.",
    )
    def replace_lost_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return replace_lost(context)

    return [replace_lost_runs]


def replace_lost(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Check once; without Celery there is nothing to check.

    A run is closed if two ticks in a row find it lost: a worker under load may miss one answer. If no worker answers,
    the broker may be what is down, and no one could take the runs over: nothing is decided.
    """
    instance = context.instance
    app = getattr(instance.run_launcher, "celery", None)
    if app is None:
        return dg.SensorResult(skip_reason="Runs of this instance are not executed by Celery.")
    try:
        tasks = active_tasks(app.control.inspect(timeout=_ANSWER_S))
    except _unreachable(app) as error:
        return dg.SensorResult(skip_reason=f"The broker cannot be asked: {type(error).__name__}.", cursor="")
    if tasks is None:
        return dg.SensorResult(skip_reason="No Celery worker answers.", cursor="")
    seen = find_lost_runs(instance, tasks, datetime.now(UTC))
    lost = {run_id: age for run_id, age in seen.items() if run_id in (context.cursor or "").split()}
    for run_id, age in lost.items():
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            close_run(instance, run, _REASON.format(age=age.total_seconds()))
    ended = f": {', '.join(lost)}" if lost else ""
    reason = f"{len(tasks)} tasks in work, {len(lost)} runs lost{ended}."
    return dg.SensorResult(skip_reason=reason, cursor=" ".join(seen.keys() - lost.keys()))


def _unreachable(app: _App) -> tuple[type[Exception], ...]:
    """Return what is raised if the broker is down, or was restarted since it was asked last."""
    from kombu.exceptions import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  -- comes with Celery
        OperationalError,
    )

    return (OperationalError, *app.connection_for_write().connection_errors)

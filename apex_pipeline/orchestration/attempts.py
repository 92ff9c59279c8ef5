"""Finds the runs that attempted the same work before, and how they ended.

A run that a sensor requests carries the version of what it works on as a tag; recording a session's files adds the
version that is known from then on, in every run. Dagster copies all tags to the retry of a run, so what a run found out
itself comes with its id. See ``ingest/attempts.py`` for what follows from an attempt.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterEventType, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from apex_pipeline import errors
from apex_pipeline.ingest.attempts import Attempt, Outcome
from apex_pipeline.ingest.automation import Task, code_version, version_at
from apex_pipeline.orchestration.failures import CHECK_FAILED, INTERRUPTED
from apex_pipeline.orchestration.job_names import CATALOG_JOB, PREPARE_JOB, SYNC_JOB
from apex_pipeline.settings import Settings

# Version of what a run was requested for, and of the files that it has recorded.
VERSION_TAG = "apex/version"
INPUTS_TAG = "apex/inputs"
# The run that recorded them: a retry that ends before it records files has only its parent's.
_INPUTS_RUN_TAG = "apex/inputs_run"
# The id of a failed run and how it ended, so that its events are read only once.
_OUTCOME_TAG = "apex/outcome"
PARTITION_TAG = "dagster/partition"

UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_TASKS = {PREPARE_JOB: Task.PREPARE, CATALOG_JOB: Task.REFRESH}
# Errors of a step that was stopped from outside, not by a person in the UI.
_STOPS = frozenset({INTERRUPTED, "DagsterExecutionInterruptedError", "KeyboardInterrupt"})
# SQLite before 3.32 takes 999 values in a statement.
_MOST_VALUES = 500


def remember_inputs(context: dg.AssetExecutionContext, inputs_version: str, settings: Settings) -> None:
    """Note which version of a session's files a run works on, so that a failure is known to be one of these files."""
    version = version_at(inputs_version, code_version(settings))
    context.instance.add_run_tags(context.run.run_id, {INPUTS_TAG: version, _INPUTS_RUN_TAG: context.run.run_id})


def running(instance: dg.DagsterInstance) -> frozenset[str]:
    """Return the sessions and tasks of which a run is queued or under way; a sync in a run is all of them."""
    runs = instance.get_runs(RunsFilter(statuses=UNFINISHED))
    found = {run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags}
    return frozenset(found | {_TASKS[run.job_name] for run in runs if run.job_name in _TASKS} | _syncs(runs))


def _syncs(runs: Iterable[DagsterRun]) -> set[str]:
    """Return the tasks that a sync in a run does itself: all of them."""
    return {*Task} if any(run.job_name == SYNC_JOB for run in runs) else set()


def attempts_at(instance: dg.DagsterInstance, versions: Collection[str]) -> Mapping[str, list[Attempt]]:
    """Return the finished runs at each of these versions, newest first."""
    found: defaultdict[str, dict[int, Attempt]] = defaultdict(dict)
    for tag in (VERSION_TAG, INPUTS_TAG):
        for chunk in _chunks(sorted(versions)):
            for record in instance.get_run_records(RunsFilter(statuses=_FINISHED, tags={tag: chunk})):
                run = record.dagster_run
                if tag == INPUTS_TAG and run.tags.get(_INPUTS_RUN_TAG) != run.run_id:
                    continue
                found[run.tags[tag]][record.storage_id] = Attempt(_outcome(instance, run), _ended(record))
    return {
        version: [attempts[number] for number in sorted(attempts, reverse=True)] for version, attempts in found.items()
    }


def step_failures(instance: dg.DagsterInstance, run_id: str) -> list[Mapping[str, str]]:
    """Return the metadata of each failed step of a run, with the class of the error as ``error``."""
    events = instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_FAILURE).records
    return [_failure_facts(event) for record in events if (event := record.event_log_entry.dagster_event)]


def is_typed(facts: Mapping[str, str]) -> bool:
    """Return whether a failed step says itself what is wrong; the text of any other error may hold anything."""
    return {"problem", "remedy"} <= facts.keys() and (facts["error"] == CHECK_FAILED or hasattr(errors, facts["error"]))


def _failure_facts(event: dg.DagsterEvent) -> Mapping[str, str]:
    data = event.step_failure_data
    typed, cause = data.user_failure_data, data.error
    facts = {name: str(value.value) for name, value in typed.metadata.items()} if typed else {}
    return {"step": event.step_key or "", "error": (cause.cls_name if cause else None) or "", **facts}


def _outcome(instance: dg.DagsterInstance, run: DagsterRun) -> Outcome:
    if run.status is DagsterRunStatus.SUCCESS:
        return Outcome.DONE
    if run.status is DagsterRunStatus.CANCELED:
        return Outcome.STOPPED
    known_of, _, known = run.tags.get(_OUTCOME_TAG, "").partition(":")
    if known_of == run.run_id:
        return Outcome(known)
    outcome = _outcome_of([facts["error"] for facts in step_failures(instance, run.run_id)])
    instance.add_run_tags(run.run_id, {_OUTCOME_TAG: f"{run.run_id}:{outcome}"})
    return outcome


def _outcome_of(names: list[str]) -> Outcome:
    """Return how a run ended whose steps failed with errors of these classes; without any, its process died."""
    if _STOPS.issuperset(names):
        return Outcome.CRASHED
    kinds = [getattr(errors, name, None) for name in names]
    if any(isinstance(kind, type) and issubclass(kind, errors.TransientError) for kind in kinds):
        return Outcome.UNAVAILABLE
    return Outcome.FAILED


def _ended(record: RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp


def _chunks(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start : start + _MOST_VALUES]

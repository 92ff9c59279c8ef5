"""Opens the Dagster instance of the user, and closes the runs of processes that have died.

Dagster marks a run as started and relies on the process that executes it to mark its end. A killed process leaves the
run started for ever, and any pool slot it held taken. Every run of a sync therefore carries the identity of its process
as tags, and the next sync closes the runs whose process is dead. See ``runner.py`` for executing jobs.
"""

import logging
import os
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster import DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from apex_pipeline.orchestration.home_configuration import home_configuration
from apex_pipeline.orchestration.home_databases import without_unfinished_databases
from apex_pipeline.orchestration.home_errors import CONFIGURATION_FILE, opening_home, using_home
from apex_pipeline.process.identity import ProcessIdentity, this_process
from apex_pipeline.settings import DEFAULT_MEMORY_LIMIT

_LOG = logging.getLogger(__name__)

COMMAND_TAG = "apex/command"
# The same for all runs of one sync, so that they can be listed together: when it began.
SYNC_TAG = "apex/sync"
# Dagster shows it in the column "Launched by", in place of "Manually launched".
_LAUNCHED_BY_TAG = "user"
# Dagster shows no tags that begin like this: on the page of runs they would be more than all the rest.
_HOST_TAG = ".dagster/apex/host"
_NAMESPACE_TAG = ".dagster/apex/pid_namespace"
_PID_TAG = ".dagster/apex/pid"
_STARTED_TAG = ".dagster/apex/process_started"

_UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
# The process of a run on another machine cannot be checked from here. No run works on one session for this long: the
# largest real one takes minutes.
_LOST_AFTER = timedelta(days=1)


@contextmanager
def open_instance(home: Path, memory_limit: int = DEFAULT_MEMORY_LIMIT) -> Generator[dg.DagsterInstance]:
    """Open the instance in ``home``, which is created on first use, and close the runs of dead processes.

    Args:
        home: The folder.
        memory_limit: Most memory of one run in bytes, by which a new home says how many run at once.

    Raises:
        ConfigurationError: The home cannot be created, opened or, during the block, written to any more.
    """
    with ExitStack() as stack:
        with opening_home(home):
            home = prepare_dagster_home(home, memory_limit)
            # Dagster reads its home from the environment only, and requires an absolute path.
            os.environ["DAGSTER_HOME"] = str(home)
            with without_unfinished_databases(home):
                instance = stack.enter_context(dg.DagsterInstance.get())
                instance.get_dynamic_partitions("sessions")  # fails if the tables of the event log are missing
            close_dead_runs(instance)
        with using_home(home):
            yield instance


def prepare_dagster_home(home: Path, memory_limit: int) -> Path:
    """Create the folder and its configuration if they do not exist, and return its absolute path."""
    home = home.expanduser().resolve()
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / CONFIGURATION_FILE
    if not configuration.exists():
        # Renamed into place: half a file, from a full disk or a kill, would be another configuration.
        unfinished = configuration.with_name(f"{CONFIGURATION_FILE}.{os.getpid()}")
        try:
            unfinished.write_text(home_configuration(memory_limit), encoding="utf-8")
            unfinished.replace(configuration)
        finally:
            unfinished.unlink(missing_ok=True)
    return home


def process_tags() -> dict[str, str]:
    """Return the tags of a run of a sync that this process executes."""
    own = this_process()
    tags = {_HOST_TAG: own.host, _NAMESPACE_TAG: own.namespace, _PID_TAG: str(own.pid), _STARTED_TAG: own.started}
    return {COMMAND_TAG: "sync", **{name: value for name, value in tags.items() if value}}


def sync_tags(began: datetime) -> dict[str, str]:
    """Return the tags by which the runs of one sync are one group.

    Args:
        began: When the sync began.
    """
    return {SYNC_TAG: f"{began.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC", _LAUNCHED_BY_TAG: "apex sync"}


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of syncs whose process has died as failed, free their pool slots, and return their ids.

    Takes one query if there are none. Runs of other machines are left until they are a day old.
    """
    closed: list[str] = []
    for record in instance.get_run_records(RunsFilter(statuses=_UNFINISHED)):
        reason = _reason_to_close(record, datetime.now(UTC))
        if reason:
            close_run(instance, record.dagster_run, reason)
            closed.append(record.dagster_run.run_id)
    if closed:
        _LOG.warning(
            "Closed %d Dagster run(s) of a process that was killed or crashed; the sessions are continued.", len(closed)
        )
    return closed


def close_run(instance: dg.DagsterInstance, run: DagsterRun, reason: str) -> None:
    """Mark an unfinished run as canceled if that was requested, else as failed, and free its pool slots."""
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, reason)
    else:
        instance.report_run_failed(run, reason)
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _reason_to_close(record: RunRecord, now: datetime) -> str | None:
    tags = record.dagster_run.tags
    if COMMAND_TAG not in tags:
        return None  # started from the UI: its process is known to Dagster's launcher only
    process = _process_of(tags)
    if process is not None and process.is_dead:
        return f"The process that ran it ended: killed or crashed (process {process.pid} on {process.host})."
    if (process is None or not process.is_local) and now - record.create_timestamp > _LOST_AFTER:
        return "The process that ran it has not finished within a day, on another machine: it is taken as ended."
    return None


def _process_of(tags: Mapping[str, str]) -> ProcessIdentity | None:
    pid = tags.get(_PID_TAG, "")
    if not pid.isdigit():  # a run of an earlier version
        return None
    return ProcessIdentity(tags.get(_HOST_TAG, ""), tags.get(_NAMESPACE_TAG, ""), int(pid), tags.get(_STARTED_TAG, ""))

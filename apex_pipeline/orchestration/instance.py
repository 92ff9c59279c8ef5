"""Opens the Dagster instance of the user, and closes the runs of processes that have died.

Dagster marks a run as started and relies on the process that executes it to mark its end. If that is killed, only the
code server that started it notices, and only until it ends itself: the run stays started for a day, and any pool slot
it held taken. Every run therefore carries the identity of its process as tags, and syncs, the sensor and the schedules
close the runs whose process is dead. See ``runner.py`` for executing jobs.
"""

import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster import DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from apex_pipeline.orchestration.home_configuration import home_configuration, moved_configuration
from apex_pipeline.orchestration.home_databases import without_unfinished_databases
from apex_pipeline.orchestration.home_errors import CONFIGURATION_FILE, opening_home, using_home
from apex_pipeline.orchestration.job_names import VERIFY_JOB
from apex_pipeline.orchestration.places import runs_elsewhere
from apex_pipeline.process.identity import ProcessIdentity, this_process
from apex_pipeline.settings import DEFAULT_MEMORY_LIMIT

_LOG = logging.getLogger(__name__)

COMMAND_TAG = "apex/command"
# The same for all runs of one sync, so that they can be listed together: when it started.
SYNC_TAG = "apex/sync"
# Dagster shows it in the column "Launched by", in place of "Manually launched".
_LAUNCHED_BY_TAG = "user"
# Dagster shows no tags that begin like this: on the page of runs they would be more than all the rest. The first one
# holds the id of the run that the others are about, because a retry gets all tags of its parent.
_RUN_TAG = ".dagster/apex/run"
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
# The process of a run on another machine cannot be checked from here. Its steps log their progress every ten seconds,
# and what the store or the database does in one go takes minutes.
_SILENCE = timedelta(hours=1)
# A deep verification of 1 TB takes hours and logs nothing until its end.
_SILENT_JOBS = frozenset({VERIFY_JOB})
# More than a run of any session plans.
_PLANNED_AT_ONCE = "1000"
# No run takes a day: this is for those, and for the runs of syncs of which no process is known.
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
            # What a run plans, one event per table and check, is then written in one transaction (kept_databases.py).
            os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", _PLANNED_AT_ONCE)
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
        _write(configuration, home_configuration(home, memory_limit))
        return home
    with suppress(UnicodeDecodeError):  # reported by what opens it
        present = configuration.read_text(encoding="utf-8")
        if (moved := moved_configuration(present, home)) != present:
            _write(configuration, moved)
    return home


def _write(configuration: Path, text: str) -> None:
    """Replace a file as a whole: half of one, from a full disk or a kill, would be another configuration."""
    unfinished = configuration.with_name(f"{CONFIGURATION_FILE}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(configuration)
    finally:
        unfinished.unlink(missing_ok=True)


def process_tags(run_id: str) -> dict[str, str]:
    """Return the tags of a run that this process executes.

    Args:
        run_id: The run.
    """
    own = this_process()
    tags = {_HOST_TAG: own.host, _NAMESPACE_TAG: own.namespace, _PID_TAG: str(own.pid), _STARTED_TAG: own.started}
    return {_RUN_TAG: run_id, **{name: value for name, value in tags.items() if value}}


def remember_process(instance: dg.DagsterInstance, run: DagsterRun) -> None:
    """Note that this process executes a run, unless its tags say so already; a run that is resumed has another one."""
    tags = process_tags(run.run_id)
    if not tags.items() <= run.tags.items():
        instance.add_run_tags(run.run_id, tags)


def process_of(run: DagsterRun) -> ProcessIdentity | None:
    """Return the process that executes a run; ``None`` if it has not noted that itself."""
    tags, pid = run.tags, run.tags.get(_PID_TAG, "")
    if tags.get(_RUN_TAG) != run.run_id or not pid.isdigit():
        return None
    return ProcessIdentity(tags.get(_HOST_TAG, ""), tags.get(_NAMESPACE_TAG, ""), int(pid), tags.get(_STARTED_TAG, ""))


def sync_tags(started: datetime) -> dict[str, str]:
    """Return the tags by which the runs of one sync are one group.

    Args:
        started: When the sync started.
    """
    return {SYNC_TAG: f"{started.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC", _LAUNCHED_BY_TAG: "apex sync"}


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs whose process has died as failed, free their pool slots, and return their ids.

    Takes one query if there are none. A run of another machine is closed once it has been silent for an hour, unless a
    launcher has started it there, which knows more: see ``lost_runs.py`` for that of Celery.
    """
    closed: list[str] = []
    for record in instance.get_run_records(RunsFilter(statuses=_UNFINISHED)):
        reason = _reason_to_close(instance, record, datetime.now(UTC))
        # A process that ended well has marked its run as finished before, but maybe after the run was listed.
        run = instance.get_run_by_id(record.dagster_run.run_id) if reason else None
        if reason and run is not None and not run.is_finished:
            close_run(instance, run, reason)
            closed.append(run.run_id)
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


def _reason_to_close(instance: dg.DagsterInstance, record: RunRecord, now: datetime) -> str | None:
    run = record.dagster_run
    process = process_of(run)
    if process is None:  # not started yet, or of an earlier version or another program
        is_lost = COMMAND_TAG in run.tags and now - record.create_timestamp > _LOST_AFTER
        return (
            "It has not finished within a day, and its process is not known: it is taken as ended." if is_lost else None
        )
    if process.is_dead:
        return f"The process that ran it ended: killed or crashed (process {process.pid} on {process.host})."
    if process.is_local or (COMMAND_TAG not in run.tags and runs_elsewhere(instance)):
        return None  # alive, or known to the launcher that has started it elsewhere
    limit = _LOST_AFTER if run.job_name in _SILENT_JOBS else _SILENCE
    silence = now - _last_sign(instance, record)
    if silence > limit:
        return (
            f"Its last event, on {process.host}, is {silence.total_seconds() / 3600:.1f} h old: it is taken as ended."
        )
    return None


def _last_sign(instance: dg.DagsterInstance, record: RunRecord) -> datetime:
    """Return when a run last wrote an event; when it was created, if it has none."""
    latest = instance.get_records_for_run(record.dagster_run.run_id, limit=1, ascending=False).records
    return datetime.fromtimestamp(latest[0].timestamp, UTC) if latest else record.create_timestamp

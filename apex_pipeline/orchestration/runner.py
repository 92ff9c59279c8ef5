"""Executes the jobs in this process, as runs that are visible in the Dagster UI.

Executes one job at a time; ``sync.py`` decides which jobs run, and ``command_runner.py`` opens the runner of a command.
Imports no job, so that the job that syncs the lake can execute others with it.
"""

import io
import logging
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import dagster as dg

from apex_pipeline.orchestration.history import compact_run
from apex_pipeline.orchestration.instance import COMMAND_TAG, close_run, process_tags, sync_tags
from apex_pipeline.orchestration.job_names import RACE_JOB
from apex_pipeline.orchestration.output_capture import uncaptured
from apex_pipeline.orchestration.partitions import RACES, add_sessions
from apex_pipeline.process.interrupts import before_abort, interruption, raise_if_interrupted
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)
_STDERR = 2

# Dagster would log every event to the console, where the command prints its own lines; the UI shows all events.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunFailure:
    """The reason for a failed run.

    Attributes:
        run_id: Dagster's run id.
        step: The first step that failed.
        problem: Description of the failure.
    """

    run_id: str
    step: str
    problem: str


class Runner:
    """Executes jobs on a Dagster instance.

    Args:
        definitions: Those of the jobs.
        instance: The instance.
        tags: Tags of every run; by default those of a sync that starts now.
    """

    def __init__(
        self, definitions: dg.Definitions, instance: dg.DagsterInstance, tags: Mapping[str, str] | None = None
    ) -> None:
        self._definitions = definitions
        self._instance = instance
        self._tags = dict(tags) if tags else {COMMAND_TAG: "sync", **sync_tags(datetime.now(UTC))}

    def report_source(self, key: SessionKey, content_version: str, facts: Mapping[str, int]) -> None:
        """Record this content version as an observation of a session's raw files."""
        self._instance.report_runless_asset_event(
            dg.AssetObservation(
                asset_key=dg.AssetKey(["raw", "files"]),
                partition=str(key),
                metadata=dict(facts),
                tags={"dagster/data_version": content_version},
            )
        )

    def add_sessions(self, keys: Iterable[SessionKey]) -> list[str]:
        """Add the sessions to Dagster as partitions and return the keys of the new ones."""
        return add_sessions(self._instance, keys)

    def run(self, job: str, key: SessionKey | None = None, tables: Iterable[Table] = ()) -> RunFailure | None:
        """Execute one job and return the reason if it failed.

        Args:
            job: Name of the job.
            key: The session; ``None`` for a job without partitions.
            tables: Session tables that are materialized in addition to the job's other assets; by default all of them.
        """
        definition = self._definitions.resolve_job_def(job)
        chosen = _selection(definition, [dg.AssetKey(table.asset_key) for table in tables])
        return self._execute(definition, str(key) if key else None, str(uuid4()), chosen)

    def run_race(self, race_id: str, job_id: str) -> RunFailure | None:
        """Execute the job of one AMS2 race and return the reason if it failed.

        Args:
            race_id: The race, which becomes a partition.
            job_id: The run's id, unless there is a run with it already: that of an attempt that was interrupted.
        """
        self._instance.add_dynamic_partitions(RACES, [race_id])
        run_id = job_id if self._instance.get_run_by_id(job_id) is None else str(uuid4())
        return self._execute(self._definitions.resolve_job_def(RACE_JOB), race_id, run_id)

    def _execute(
        self, definition: dg.JobDefinition, partition: str | None, run_id: str, chosen: list[dg.AssetKey] | None = None
    ) -> RunFailure | None:
        with self._closing(run_id), _logging_stderr(), uncaptured():
            result = definition.execute_in_process(
                instance=self._instance,
                partition_key=partition,
                asset_selection=chosen,
                raise_on_error=False,
                run_config=_QUIET,
                run_id=run_id,
                tags=self._tags | process_tags(run_id),
            )
            # Dagster turns an interruption into a failed run, or drops it when it comes at the end of one.
            raise_if_interrupted()
        compact_run(self._instance, run_id)
        return None if result.success else _failure_of(result)

    @contextmanager
    def _closing(self, run_id: str) -> Generator[None]:
        """Make sure that the run is not left unfinished, however the block ends."""
        with before_abort(lambda: self._close(run_id)):
            try:
                yield
            except BaseException:
                with suppress(Exception):  # on a full disk the next sync closes it
                    self._close(run_id)
                raise

    def _close(self, run_id: str) -> None:
        run = self._instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            close_run(self._instance, run, f"The command was stopped: {interruption() or 'it failed'}.")


class _Unprinted(io.StringIO):
    """Standard error for code that prints, with the file descriptor of the real one for code that redirects it."""

    def fileno(self) -> int:
        return _STDERR


@contextmanager
def _logging_stderr() -> Generator[None]:
    """Log what Dagster prints on standard error: SQL and tracebacks for what becomes one message at the end."""
    printed = _Unprinted()
    try:
        with redirect_stderr(printed):
            yield
    finally:
        if printed.getvalue():
            _LOG.debug("Printed during a run: %s", printed.getvalue())


def _selection(job: dg.JobDefinition, tables: list[dg.AssetKey]) -> list[dg.AssetKey] | None:
    """Return the assets of a job with only these of its session tables; ``None`` for all."""
    if not tables:
        return None
    assets = job.asset_layer.executable_asset_keys
    return sorted({key for key in assets if key.path[0] != "tables"} | (set(tables) & set(assets)))


def _failure_of(result: dg.ExecuteInProcessResult) -> RunFailure:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            typed = data.user_failure_data
            problem = (_original(typed, data.error) or typed.description) if typed else None
            return RunFailure(result.run_id, event.step_key or "", problem or _root_cause(data.error))
        if event.is_failure and event.message:
            return RunFailure(result.run_id, event.step_key or "", event.message)
    failed_checks = [check.check_name for check in result.get_asset_check_evaluations() if not check.passed]
    return RunFailure(result.run_id, "", f"failed: {', '.join(failed_checks)}" if failed_checks else "see the run")


def _original(typed: object, error: object) -> str | None:
    """Return the message of the project's error that a failure translates, whose hint is for the command line."""
    name = getattr(typed, "metadata", {}).get("error")
    _, found, message = str(getattr(getattr(error, "cause", None), "message", "")).partition(
        f".{name and name.value}: "
    )
    return message.strip() if found else None


def _root_cause(error: object) -> str:
    cause = error
    while getattr(cause, "cause", None) is not None:
        cause = cause.cause  # type: ignore[union-attr]  -- Dagster's serialised errors are chained by "cause"
    return str(getattr(cause, "message", cause)).strip()

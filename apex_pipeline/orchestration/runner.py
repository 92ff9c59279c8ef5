"""Executes the jobs in this process, as runs that are visible in the Dagster UI.

Opens the Dagster instance and executes one job at a time; ``sync.py`` decides which jobs run. It imports this module
only when there is work to do, because importing Dagster takes 2 s, longer than finding that nothing has changed.
"""

import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.orchestration.partitions import add_sessions
from apex_pipeline.settings import Settings
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

# Written on first use: disables usage statistics and the welcome dialog, and detects after five minutes
# that a run's process died.
_INSTANCE_CONFIGURATION = """\
# Created by apex on first use; change it as needed. See https://docs.dagster.io/deployment/oss/dagster-yaml
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
concurrency:
  pools:
    # One writer at a time for the pool "catalog"; a cancelled run releases its slot.
    default_limit: 1
    granularity: op
"""

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
    """Executes the jobs of the pipeline on the user's Dagster instance."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self._definitions = build_definitions(settings)
        self._instance = instance

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
            tables: Tables whose assets are materialized; by default all assets of the job.
        """
        result = self._definitions.resolve_job_def(job).execute_in_process(
            instance=self._instance,
            partition_key=str(key) if key else None,
            asset_selection=[dg.AssetKey(table.asset_key) for table in tables] or None,
            raise_on_error=False,
            run_config=_QUIET,
            tags={"apex/command": "sync"},
        )
        return None if result.success else _failure_of(result)


@contextmanager
def open_runner(settings: Settings) -> Generator[Runner]:
    """Open a runner on the instance in ``DAGSTER_HOME``, which is created on first use."""
    home = settings.dagster_home.expanduser().resolve()
    prepare_dagster_home(home)
    # Dagster reads its home from the environment only, and requires an absolute path.
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        yield Runner(settings, instance)


def prepare_dagster_home(home: Path) -> None:
    """Create the folder and its configuration if they do not exist."""
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    if not configuration.exists():
        configuration.write_text(_INSTANCE_CONFIGURATION, encoding="utf-8")


def _failure_of(result: dg.ExecuteInProcessResult) -> RunFailure:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            description = data.user_failure_data.description if data.user_failure_data else None
            problem = description or _root_cause(data.error)
            return RunFailure(result.run_id, event.step_key or "", problem)
        if event.is_failure and event.message:
            return RunFailure(result.run_id, event.step_key or "", event.message)
    failed_checks = [check.check_name for check in result.get_asset_check_evaluations() if not check.passed]
    return RunFailure(result.run_id, "", f"failed: {', '.join(failed_checks)}" if failed_checks else "see the run")


def _root_cause(error: object) -> str:
    cause = error
    while getattr(cause, "cause", None) is not None:
        cause = cause.cause  # type: ignore[union-attr]  -- Dagster's serialised errors are chained by "cause"
    return str(getattr(cause, "message", cause)).strip()

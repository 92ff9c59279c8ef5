"""Contains the sensor that keeps the lake up to date with the source folder.

It lists both, has ``ingest/automation.py`` decide, and carries the decision out: sessions to add and remove, runs to
start, observations of the raw files. See ``alerts.py`` for the sensor that reports failed runs, and
``automation_table.py`` for where which of them exists. https://docs.dagster.io/guides/automate/sensors
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from apex_pipeline.errors import FileChangedError, StoreCorruptionError
from apex_pipeline.ingest.automation import Decision, Request, Surroundings, Task, code_version, decide, unreadable
from apex_pipeline.ingest.copy import observed_version
from apex_pipeline.ingest.sync_plan import SyncPlan
from apex_pipeline.ingest.tick_state import parse_tick_state
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.orchestration.alerts import build_alert_sensors
from apex_pipeline.orchestration.attempts import VERSION_TAG, attempts_at, running
from apex_pipeline.orchestration.automation_table import SYNC_SENSOR, exists, sensor_status
from apex_pipeline.orchestration.health import health_events
from apex_pipeline.orchestration.history import compact_finished_runs
from apex_pipeline.orchestration.instance import close_dead_runs
from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB, PREPARE_JOB, REMOVE_JOB, SESSION_JOB
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.orchestration.tick_plan import TimeIsUpError, plan_for_tick
from apex_pipeline.settings import Settings
from apex_pipeline.sources import session_tables, sources_named

MANIFEST_KEY = dg.AssetKey(["catalog", "manifest"])

# A crashed run is started again twice. A failed step is not: steps repeat what is worth repeating themselves.
_CRASH_TAGS = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}
# The tables of all sessions come before the sessions that are still queued.
_FIRST = {"dagster/priority": "1"}
# Half of what the freshness policy of the manifest warns after.
_CONFIRMED_EVERY = timedelta(hours=12)
# Sessions named in one line of a tick; the rest are only counted.
_SHOWN = 5


def build_sensors(settings: Settings, jobs: list[Any]) -> list[dg.SensorDefinition]:
    """Return the sensors that exist in this environment; arguments as for :func:`build_sync_sensor`."""
    started = [job for job in jobs if job.name in {SESSION_JOB, DERIVE_JOB, PREPARE_JOB, CATALOG_JOB}]
    sync = [build_sync_sensor(settings, started)] if exists(SYNC_SENSOR, settings.environment) else []
    return [*sync, *build_alert_sensors(settings)]


def build_sync_sensor(settings: Settings, jobs: list[Any]) -> dg.SensorDefinition:
    """Return the sensor that keeps the lake up to date.

    Args:
        settings: The configuration.
        jobs: The jobs that it starts; Dagster does not export their type.
    """

    @dg.sensor(
        name=SYNC_SENSOR,
        jobs=jobs,
        minimum_interval_seconds=settings.sensor_interval_s,
        default_status=sensor_status(SYNC_SENSOR, settings.environment),
        description="Keep the lake up to date: find sessions, copy, derive and publish those that changed.",
    )
    def sync_source(context: dg.SensorEvaluationContext, lake: LakeResource, source: SourceResource) -> dg.SensorResult:
        own = lake.settings_with(source).model_copy(update={"sensor_budget": settings.sensor_budget})
        return _Tick(context, own).run()

    return sync_source


class _Tick:
    """One tick of the sensor.

    Args:
        context: The tick.
        settings: The configuration.
    """

    def __init__(self, context: dg.SensorEvaluationContext, settings: Settings) -> None:
        self._instance = context.instance
        self._log = context.log
        self._settings = settings
        self._before = parse_tick_state(context.cursor)

    def run(self) -> dg.SensorResult:
        """Look, decide, and return what Dagster is to do."""
        close_dead_runs(self._instance)  # before they count as under way
        compact_finished_runs(self._instance)  # which nobody does after a run that the daemon started
        manifest = self._instance.get_latest_materialization_event(MANIFEST_KEY)
        around = self._surroundings(manifest)
        try:
            plan, problem = plan_for_tick(self._settings, self._instance)
        except StoreCorruptionError as error:
            return self._result(unreadable(error, code_version(self._settings), around, self._before), str(error))
        except (FileChangedError, TimeIsUpError) as error:
            return dg.SensorResult(skip_reason=str(error), cursor=self._before.to_text())
        decision = decide(plan, self._settings, replace(around, has_source=not problem), self._before)
        events = [*self._observations(decision, plan), *_confirmation(decision, plan.snapshot, manifest)]
        health, reported = health_events(self._instance, plan, manifest, self._before.reported)
        decision.tick_state = replace(decision.tick_state, reported=reported)
        return self._result(decision, problem, plan, [*events, *health])

    def _surroundings(self, manifest: dg.EventLogEntry | None) -> Surroundings:
        return Surroundings(
            partitions=frozenset(self._instance.get_dynamic_partitions("sessions")),
            running=running(self._instance),
            attempts_at=lambda versions: attempts_at(self._instance, versions),
            manifest_version=_data_version(manifest),
            now=datetime.now(UTC),
            budget=self._settings.sensor_budget,
        )

    def _observations(self, decision: Decision, plan: SyncPlan) -> Iterator[dg.AssetObservation]:
        """Yield which version of the source files the requested runs are for."""
        for request in decision.requests:
            if request.key is not None:
                work = plan.work(request.key)
                yield dg.AssetObservation(
                    asset_key=dg.AssetKey(["raw", "files"]),
                    partition=str(request.key),
                    metadata={"files": len(work.files), "bytes": sum(file.bytes for file in work.files)},
                    tags={"dagster/data_version": observed_version(work.files, work.copies)},
                )

    def _result(
        self, decision: Decision, problem: str, plan: SyncPlan | None = None, events: list[Any] | None = None
    ) -> dg.SensorResult:
        said = [*([problem] if problem else []), *summary(decision), *(_refused(plan) if plan else ())]
        for line in said if decision.requests else ():
            self._log.info(line)
        changes = [
            *([sessions.build_add_request(decision.added)] if decision.added else []),
            *([sessions.build_delete_request(decision.removed)] if decision.removed else []),
        ]
        return dg.SensorResult(
            run_requests=[_run_request(request, plan, has_source=not problem) for request in decision.requests],
            skip_reason=None if decision.requests else " ".join(said),
            cursor=decision.tick_state.to_text(),
            dynamic_partitions_requests=changes,
            asset_events=events or [],
        )


def _run_request(request: Request, plan: SyncPlan | None, *, has_source: bool) -> dg.RunRequest:
    """Return the run for a request; without a usable source folder, one that copies nothing, because it would fail."""
    tags = {VERSION_TAG: request.version, **_CRASH_TAGS}
    if request.key is None or plan is None:
        job = PREPARE_JOB if request.task is Task.PREPARE else CATALOG_JOB
        return dg.RunRequest(job_name=job, tags=tags | _FIRST)
    files = plan.work(request.key).files
    sources = sources_named({file.identity.source for file in files if file.is_in_use})
    return dg.RunRequest(
        job_name=SESSION_JOB if has_source else DERIVE_JOB,
        partition_key=str(request.key),
        tags=tags,
        asset_selection=[
            *([dg.AssetKey(["lake", "files"])] if has_source else []),
            dg.AssetKey(["lake", "session"]),
            *(dg.AssetKey(table.asset_key) for table in session_tables(sources)),
            dg.AssetKey(["lake", "published"]),
        ],
    )


def _confirmation(
    decision: Decision, snapshot: Snapshot | None, manifest: dg.EventLogEntry | None
) -> Iterator[dg.AssetMaterialization]:
    """Yield the manifest again if all is up to date and it is half a day old: its freshness says so much."""
    known = manifest.asset_materialization if manifest else None
    if known is None or manifest is None or snapshot is None or not decision.is_idle:
        return
    if datetime.now(UTC).timestamp() - manifest.timestamp > _CONFIRMED_EVERY.total_seconds():
        yield dg.AssetMaterialization(MANIFEST_KEY, metadata=known.metadata, tags=known.tags)


def _data_version(entry: dg.EventLogEntry | None) -> str | None:
    found = entry.asset_materialization if entry else None
    return (found.tags or {}).get("dagster/data_version") if found else None


def summary(decision: Decision) -> list[str]:
    """Return what a tick did and left, in sentences."""
    said: list[str] = []
    if decision.requests:
        reasons = Counter(request.reason for request in decision.requests)
        said.append(f"Started: {', '.join(f'{count} ({reason})' for reason, count in reasons.items())}.")
    said += [
        f"{verb}: {_named(keys)}." for verb, keys in (("Added", decision.added), ("Removed", decision.removed)) if keys
    ]
    if decision.unconfirmed:
        said.append(
            f"No file and nothing published any more: {_named(decision.unconfirmed)}. That is too much of the sessions "
            f"to remove without confirmation: launch the job {REMOVE_JOB}, or bring the lake or its files back."
        )
    waiting: dict[str, list[str]] = {}
    for name, reason in decision.waiting.items():
        waiting.setdefault(reason, []).append(name)
    said += [f"Waiting: {_named(names)}: {reason.removesuffix('.')}." for reason, names in waiting.items()]
    return said or ["Everything is up to date."]


def _refused(plan: SyncPlan) -> list[str]:
    """Return which files of the source cannot be used, in a sentence; none if all can."""
    named = [f"{path} ({reason.removesuffix('.')})" for path, reason in plan.refused]
    return [f"Left out of the source, {len(named)}: {_named(named)}."] if named else []


def _named(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")

"""Builds the Dagster definitions: every asset, job, sensor, schedule and resource.

The entry point calls :func:`build_definitions` without arguments; tests and commands pass their own settings or
resources. This is the only place that assembles definitions, and importing it opens no connection.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from apex_pipeline.orchestration.assets import assets_of
from apex_pipeline.orchestration.assets.catalog import manifest, roll_ups
from apex_pipeline.orchestration.assets.events import EVENT_CHECKS, EVENT_JOBS, event_records, shipped_files
from apex_pipeline.orchestration.assets.lake_files import lake_files, unassigned_files
from apex_pipeline.orchestration.assets.published import build_published_asset
from apex_pipeline.orchestration.assets.races import race_raw, race_tables
from apex_pipeline.orchestration.assets.raw_files import raw_files
from apex_pipeline.orchestration.assets.reports import session_report
from apex_pipeline.orchestration.assets.session_record import build_record_asset
from apex_pipeline.orchestration.descriptions import described
from apex_pipeline.orchestration.event_resource import EventsResource
from apex_pipeline.orchestration.event_sensor import EVENT_SENSORS
from apex_pipeline.orchestration.health import sessions_are_healthy
from apex_pipeline.orchestration.history_jobs import prune_history
from apex_pipeline.orchestration.io_manager import ParquetIOManager
from apex_pipeline.orchestration.jobs import build_jobs
from apex_pipeline.orchestration.lost_runs import build_lost_run_sensors
from apex_pipeline.orchestration.maintenance_jobs import MAINTENANCE_JOBS
from apex_pipeline.orchestration.race_sensor import build_race_sensors
from apex_pipeline.orchestration.report_sensor import build_report_sensor
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.orchestration.schedules import build_schedules
from apex_pipeline.orchestration.sensors import build_sensors
from apex_pipeline.orchestration.sync_job import build_sync_job
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources import all_sources, session_tables


def build_definitions(
    settings: Settings | None = None, resources: Mapping[str, object] | None = None
) -> dg.Definitions:
    """Return the pipeline's definitions.

    Args:
        settings: The configuration; by default read from the environment and ``.env``.
        resources: Resources by name that replace those created from the settings.

    Raises:
        ConfigurationError: A variable in the environment or ``.env`` is invalid.
    """
    settings = settings or load_settings()
    sync_lake = build_sync_job(build_definitions)
    jobs = [*build_jobs(session_tables()), sync_lake, *MAINTENANCE_JOBS, prune_history, *EVENT_JOBS]
    return _resolved(
        dg.Definitions(
            assets=described(_assets(), settings),
            asset_checks=[sessions_are_healthy, *EVENT_CHECKS],
            jobs=jobs,
            sensors=_sensors(settings, jobs),
            schedules=build_schedules(settings, sync_lake),
            resources={**_resources(settings), **(resources or {})},
            # Each session is one run; one process per step would cost four CPU seconds per step for no benefit.
            executor=dg.in_process_executor,
        )
    )


def _assets() -> list[Any]:
    """Return all assets in the order of the data flow.

    The roll-ups cover all sessions, and nothing depends on them. Events and races of the simulator stand apart.
    """
    return [
        raw_files,
        lake_files,
        unassigned_files,
        build_record_asset(),
        *(asset for source in all_sources() for asset in assets_of(source)),
        build_published_asset(session_tables()),
        session_report,
        roll_ups,
        manifest,
        shipped_files,
        event_records,
        race_raw,
        race_tables,
    ]


def _sensors(settings: Settings, jobs: list[Any]) -> list[dg.SensorDefinition]:
    return [
        *build_sensors(settings, jobs),
        *EVENT_SENSORS,
        *build_race_sensors(settings),
        *build_lost_run_sensors(settings),
        build_report_sensor(settings),
    ]


def _resources(settings: Settings) -> dict[str, object]:
    lake = LakeResource.from_settings(settings)
    return {
        "lake": lake,
        "source": SourceResource.from_settings(settings),
        "parquet_io": ParquetIOManager(lake=lake),
        "events": EventsResource.from_settings(settings),
    }


def _resolved(definitions: dg.Definitions) -> dg.Definitions:
    """Resolve the jobs and sensors now; Dagster keeps the result, so nothing is done twice.

    Dagster 1.13.27 passes on a beta parameter of its own when it puts resolved jobs into a sensor, and every command
    would show its warning (2026-11).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        definitions.get_repository_def()
    return definitions

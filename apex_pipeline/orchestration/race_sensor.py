"""Contains the sensor that tells Dagster's catalog what the workers have made of races, and revives lost ones.

It compares the database with the catalog at every tick. A race is marked as reported only once the catalog is seen to
have it, so a crash between two ticks neither loses a report nor repeats one.
"""

from typing import Final

import dagster as dg
from dagster import AssetRecordsFilter

from apex_pipeline.errors import ApexError
from apex_pipeline.orchestration.assets.races import (
    LAPS_KEY,
    TIMING_KEY,
    data_version,
    race_metadata,
)
from apex_pipeline.orchestration.automation_table import RACE_SENSOR, sensor_status
from apex_pipeline.orchestration.partitions import RACES, races
from apex_pipeline.races.reaper import reap
from apex_pipeline.races.services import opened_services
from apex_pipeline.races.views import RaceView, mark_reported, unreported_races
from apex_pipeline.settings import Settings

_INTERVAL_S: Final = 30
# Each race costs a few milliseconds in Dagster's event log; the next tick goes on from here.
_MOST_PER_TICK: Final = 100
_VERSION_TAG: Final = "dagster/data_version"


def build_race_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor, if races have a database that workers outside Dagster share."""
    if settings.database_url is None:
        return []

    @dg.sensor(
        name=RACE_SENSOR,
        # Reports only; it starts no run.
        asset_selection=dg.AssetSelection.assets(LAPS_KEY, TIMING_KEY),
        minimum_interval_seconds=_INTERVAL_S,
        default_status=sensor_status(RACE_SENSOR, settings.environment),
        description="Report the races that workers have processed, and put lost ones into the queue again.",
    )
    def report_races(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return report(context.instance, settings)

    return [report_races]


def report(instance: dg.DagsterInstance, settings: Settings) -> dg.SensorResult:
    """Look once, and return what the catalog lacks."""
    try:
        with opened_services(settings) as services:
            reap(services)
            found = unreported_races(services.database, _MOST_PER_TICK)
            new = [view for view in found if _is_new(instance, view)]
            mark_reported(services.database, [view for view in found if view not in new])
    except ApexError as error:
        return dg.SensorResult(skip_reason=str(error))
    if not new:
        return dg.SensorResult(skip_reason="Every processed race is in the catalog.")
    known = set(instance.get_dynamic_partitions(RACES))
    missing = [view.race_id for view in new if view.race_id not in known]
    return dg.SensorResult(
        asset_events=[_materialization(key, view) for view in new for key in (LAPS_KEY, TIMING_KEY)],
        dynamic_partitions_requests=[races.build_add_request(missing)] if missing else [],
    )


def _is_new(instance: dg.DagsterInstance, view: RaceView) -> bool:
    """Return whether the catalog lacks the present version of a race; timing is reported last."""
    chosen = AssetRecordsFilter(asset_key=TIMING_KEY, asset_partitions=[view.race_id])
    records = instance.fetch_materializations(chosen, limit=1).records
    latest = records[0].asset_materialization if records else None
    return latest is None or (latest.tags or {}).get(_VERSION_TAG) != data_version(view)


def _materialization(key: dg.AssetKey, view: RaceView) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        key,
        partition=view.race_id,
        metadata=race_metadata(view),
        tags={_VERSION_TAG: data_version(view)},
    )

"""Contains the sensor that has the report of a session made again whenever the session was published.

The condition is that of the asset (``assets/reports.py``). A sensor of its own, so that it has a name that says what it
does, and a row in ``automation_table.py`` like every other automation.
"""

import dagster as dg

from apex_pipeline.orchestration.assets.reports import REPORT_KEY
from apex_pipeline.orchestration.automation_table import REPORT_SENSOR, sensor_status
from apex_pipeline.settings import Settings

# A crashed run is started again twice. A failed step is not: steps repeat what is worth repeating themselves.
_RUN_TAGS = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}


def build_report_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor, which exists in every environment."""
    return dg.AutomationConditionSensorDefinition(
        REPORT_SENSOR,
        target=dg.AssetSelection.assets(REPORT_KEY),
        run_tags=_RUN_TAGS,
        default_status=sensor_status(REPORT_SENSOR, settings.environment),
        minimum_interval_seconds=settings.sensor_interval_s,
        description="Make the report of each session that was published since, once it is not worked on.",
    )

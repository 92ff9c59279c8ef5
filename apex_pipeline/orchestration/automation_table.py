"""Says which automation exists in which environment, and whether it runs from the start.

The only place that decides this: sensors and schedules ask it for themselves, and a test holds docs/automation.md equal
to it. "Off" means that the automation is on Dagster's page Automation, and starts with one click there.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import dagster as dg

from apex_pipeline.settings import Environment

SYNC_SENSOR = "sync_source"
ALERT_SENSOR = "alert_failed_runs"
LOST_RUNS_SENSOR = "replace_lost_runs"
RACE_SENSOR = "report_races"
SYNC_SCHEDULE = "hourly_sync"
VERIFY_SCHEDULE = "nightly_verify"
PRUNE_SCHEDULE = "nightly_pruning"
SHIP_SENSOR = "ship_event_files"
RECORDS_SENSOR = "make_event_records"
REPORT_SENSOR = "make_reports"


class Presence(StrEnum):
    """Whether an automation exists, and whether it runs without being started."""

    ABSENT = "absent"
    OFF = "off"
    ON = "on"


def _row(laptop: Presence, server: Presence, render: Presence, cluster: Presence) -> Mapping[Environment, Presence]:
    return MappingProxyType({"laptop": laptop, "server": server, "render": render, "cluster": cluster})


_ABSENT, _OFF, _ON = Presence.ABSENT, Presence.OFF, Presence.ON

AUTOMATIONS: Mapping[str, Mapping[Environment, Presence]] = MappingProxyType(
    {
        SYNC_SENSOR: _row(_OFF, _OFF, _ON, _OFF),
        # One process works on all sessions in turn: right for one machine, and no use of a cluster's workers.
        SYNC_SCHEDULE: _row(_OFF, _OFF, _ABSENT, _ABSENT),
        VERIFY_SCHEDULE: _row(_OFF, _OFF, _OFF, _OFF),
        PRUNE_SCHEDULE: _row(_OFF, _OFF, _OFF, _OFF),
        SHIP_SENSOR: _row(_OFF, _OFF, _OFF, _OFF),
        RECORDS_SENSOR: _row(_OFF, _OFF, _OFF, _OFF),
        # A report takes less work than the start of its run, so nobody should pay for those that nobody reads.
        REPORT_SENSOR: _row(_OFF, _OFF, _OFF, _OFF),
        # It exists only if a receiver is set, and whoever sets one wants messages.
        ALERT_SENSOR: _row(_ON, _ON, _ON, _ON),
        # It exists only where dagster-celery is installed. Without it, a run whose worker has died is never finished.
        LOST_RUNS_SENSOR: _row(_ABSENT, _OFF, _ABSENT, _ON),
        # It exists only if races have a database that their workers share; without one, each race is a run anyway.
        RACE_SENSOR: _row(_ON, _ON, _ON, _ON),
    }
)


def exists(automation: str, environment: Environment) -> bool:
    """Return whether an automation exists in an environment."""
    return AUTOMATIONS[automation][environment] is not Presence.ABSENT


def sensor_status(automation: str, environment: Environment) -> dg.DefaultSensorStatus:
    """Return whether a sensor runs from the start."""
    is_on = AUTOMATIONS[automation][environment] is Presence.ON
    return dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED


def schedule_status(automation: str, environment: Environment) -> dg.DefaultScheduleStatus:
    """Return whether a schedule runs from the start."""
    is_on = AUTOMATIONS[automation][environment] is Presence.ON
    return dg.DefaultScheduleStatus.RUNNING if is_on else dg.DefaultScheduleStatus.STOPPED

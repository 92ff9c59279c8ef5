"""Looks of the sensor ``sync_source`` on a small lake, and what the daemon does with their results.

One look takes about 50 ms. The order in which Dagster 1.13 carries a result out is kept: events, partitions, runs.
"""

from typing import Any

import dagster as dg

from apex_pipeline.orchestration.automation_table import SYNC_SENSOR
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline_tests.orchestration.lake_runs import Attempt, LakeRuns


class Ticks:
    """The sensor of a lake.

    Args:
        lake: The lake.
    """

    def __init__(self, lake: LakeRuns) -> None:
        self._lake = lake
        self.cursor: str | None = None

    def look(self) -> dg.SensorResult:
        """Evaluate the sensor once; nothing is carried out but the cursor."""
        sensor: Any = self._lake.definitions.get_repository_def().get_sensor_def(SYNC_SENSOR)
        context = dg.build_sensor_context(
            instance=self._lake.instance,
            cursor=self.cursor,
            definitions=self._lake.definitions,
            resources={
                "lake": LakeResource.from_settings(self._lake.settings),
                "source": SourceResource.from_settings(self._lake.settings),
            },
        )
        result = sensor(context)
        self.cursor = result.cursor
        return result

    def tick(self) -> tuple[dg.SensorResult, list[Attempt]]:
        """Evaluate the sensor once, carry the result out, and execute the runs."""
        result = self.look()
        for event in result.asset_events:
            self._lake.instance.report_runless_asset_event(event)
        for request in result.dynamic_partitions_requests or ():
            keys = list(request.partition_keys)
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self._lake.instance.add_dynamic_partitions("sessions", keys)
            else:
                for key in keys:
                    self._lake.instance.delete_dynamic_partition("sessions", key)
        return result, [self._execute(request) for request in result.run_requests or ()]

    def settle(self, most: int = 6) -> list[str]:
        """Look until nothing is started twice in a row, and return what was started."""
        started: list[str] = []
        idle = 0
        for _ in range(most):
            result, _ = self.tick()
            started += names(result)
            idle = 0 if result.run_requests else idle + 1
            if idle == 2:
                return started
        raise AssertionError(f"still not idle: {started}")

    def _execute(self, request: dg.RunRequest) -> Attempt:
        job = self._lake.definitions.resolve_job_def(request.job_name or "")
        return Attempt(
            job.execute_in_process(
                instance=self._lake.instance,
                partition_key=request.partition_key,
                asset_selection=list(request.asset_selection) if request.asset_selection else None,
                tags=dict(request.tags),
                raise_on_error=False,
            )
        )


def names(result: dg.SensorResult) -> list[str]:
    """Return what a result starts: sessions, and jobs without partition."""
    return [request.partition_key or str(request.job_name) for request in result.run_requests or ()]


def said(result: dg.SensorResult) -> str:
    """Return why a look started nothing."""
    return result.skip_reason.skip_message or "" if result.skip_reason else ""


def with_environment(lake: LakeRuns, **settings: object) -> None:
    """Build the definitions of a lake again, with other settings."""
    lake.settings = lake.settings.model_copy(update=dict(settings))
    lake.home()

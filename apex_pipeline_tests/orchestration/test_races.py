"""Races in Dagster: what a worker made is reported once, and a run reads a race again without changing its ids."""

import dagster as dg
import pytest

from apex_pipeline.orchestration.assets.races import LAPS_KEY, TIMING_KEY, race_tables
from apex_pipeline.orchestration.race_sensor import report_races
from apex_pipeline.races.process import process_race
from apex_pipeline.races.queues import LocalQueue
from apex_pipeline.races.services import opened_services
from apex_pipeline.races.submit import submit_race
from apex_pipeline.races.views import require_laps
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.races_service.conftest import two_laps


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(LocalQueue, "put", lambda *_: None)  # processed by the test itself
    with opened_services(load_settings()) as services:
        race_id = submit_race(services, two_laps()).race_id
        process_race(services, race_id)
    return race_id


def _tick(instance: dg.DagsterInstance) -> list[dg.AssetKey]:
    """Evaluate the sensor and do what Dagster's daemon does with the result."""
    with dg.build_sensor_context(instance=instance) as context:
        result = report_races(context)
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions("races", list(request.partition_keys))
    for event in result.asset_events:
        instance.report_runless_asset_event(event)
    return [event.asset_key for event in result.asset_events]


def test_a_processed_race_is_reported_once_even_if_a_tick_is_lost(race: str) -> None:
    with dg.instance_for_test() as instance:
        with dg.build_sensor_context(instance=instance) as context:
            report_races(context)  # its result is lost
        assert _tick(instance) == [LAPS_KEY, TIMING_KEY]
        assert instance.get_dynamic_partitions("races") == [race]
        assert (_tick(instance), _tick(instance)) == ([], [])
        event = instance.get_latest_materialization_event(LAPS_KEY)
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["laps"].value >= 2


def test_a_run_reads_a_race_again_and_keeps_the_ids_of_its_laps(race: str) -> None:
    def ids() -> list[tuple[int, str]]:
        with opened_services(load_settings()) as services:
            return [(lap.id, lap.lap_uuid) for lap in require_laps(services.database, race)]

    before = ids()
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("races", [race])
        result = dg.materialize([race_tables], instance=instance, partition_key=race)
        assert result.success
        assert _tick(instance) == []
    assert ids() == before

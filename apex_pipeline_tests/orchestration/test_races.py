"""Races in Dagster: a worker's result is reported once, a run reads a race again, and without Redis runs do it all."""

from collections.abc import Iterator
from contextlib import nullcontext

import dagster as dg
import pytest
from sqlalchemy import update

from apex_pipeline.orchestration import race_worker
from apex_pipeline.orchestration.assets.races import LAPS_KEY, TIMING_KEY, race_tables
from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.orchestration.race_sensor import build_race_sensors
from apex_pipeline.orchestration.race_worker import work_on_races
from apex_pipeline.orchestration.runner import RunFailure, Runner
from apex_pipeline.races.deletion import delete_race
from apex_pipeline.races.models import Race
from apex_pipeline.races.process import process_race
from apex_pipeline.races.queues import LocalQueue
from apex_pipeline.races.services import RaceServices, opened_services
from apex_pipeline.races.submit import submit_race
from apex_pipeline.races.views import RaceView, require_laps, view_race
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.races_service.conftest import two_laps


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[RaceServices]:
    monkeypatch.setattr(LocalQueue, "put", lambda *_: None)  # processed by the test itself
    with opened_services(load_settings()) as opened:
        yield opened


@pytest.fixture
def race(services: RaceServices) -> str:
    race_id = submit_race(services, two_laps()).race_id
    process_race(services, race_id)
    return race_id


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance in memory, which the worker uses in place of the user's."""
    with dg.DagsterInstance.ephemeral() as created:
        monkeypatch.setattr(race_worker, "open_instance", lambda *_: nullcontext(created))
        yield created


def _tick(instance: dg.DagsterInstance, *, is_lost: bool = False) -> list[dg.AssetKey]:
    """Evaluate the sensor and, unless its result is lost, do what Dagster's daemon does with it."""
    settings = load_settings()
    url = f"sqlite:///{settings.lake_dir.absolute().with_name('races.sqlite')}"
    (sensor,) = build_race_sensors(load_settings(database_url=url))
    with dg.build_sensor_context(instance=instance) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    if is_lost:
        return []
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions("races", list(request.partition_keys))
    for event in result.asset_events:
        instance.report_runless_asset_event(event)
    return [event.asset_key for event in result.asset_events]


def test_a_processed_race_is_reported_once_even_if_a_tick_is_lost(race: str, instance: dg.DagsterInstance) -> None:
    _tick(instance, is_lost=True)
    assert _tick(instance) == [LAPS_KEY, TIMING_KEY]
    assert instance.get_dynamic_partitions("races") == [race]
    assert (_tick(instance), _tick(instance)) == ([], [])
    event = instance.get_latest_materialization_event(LAPS_KEY)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["laps"].value in (2, 3)


def test_the_version_of_laps_names_the_parser_that_read_them_and_not_the_present_one(
    race: str, services: RaceServices, instance: dg.DagsterInstance
) -> None:
    older = update(Race).where(Race.race_id == race).values(parser_version="0")
    services.database.execute_alone(older)
    _tick(instance)
    event = instance.get_latest_materialization_event(LAPS_KEY)
    assert event is not None
    assert event.asset_materialization is not None
    version = (event.asset_materialization.tags or {})["dagster/data_version"]
    assert version == f"{view_race(services.database, race).sha256[:12]}-0-1"


def test_the_sensor_says_that_the_database_is_away() -> None:
    (sensor,) = build_race_sensors(load_settings(database_url="postgresql://ams2_user@127.0.0.1:1/ams2"))
    with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance=instance) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    assert "127.0.0.1/ams2" in str(result.skip_reason)


def test_a_run_reads_a_race_again_and_keeps_the_ids_of_its_laps(
    race: str, services: RaceServices, instance: dg.DagsterInstance
) -> None:
    def ids() -> list[tuple[int, str]]:
        return [(lap.id, lap.lap_uuid) for lap in require_laps(services.database, race)]

    before = ids()
    instance.add_dynamic_partitions("races", [race])
    result = dg.materialize([race_tables], instance=instance, partition_key=race)
    assert result.success
    assert _tick(instance) == []
    assert ids() == before


def test_without_redis_a_race_is_a_run_whose_id_is_that_of_its_job(
    services: RaceServices, instance: dg.DagsterInstance
) -> None:
    good = submit_race(services, two_laps())
    bad = submit_race(services, b"no race")
    seen: list[RaceView] = []
    work_on_races(services, seen.append, burst=True)
    assert [(view.race_id, view.status) for view in seen] == [(good.race_id, "Ready"), (bad.race_id, "Failed")]
    assert [view.job_id for view in seen] == [good.job_id, bad.job_id]
    statuses = [run.status.value for run in (instance.get_run_by_id(view.job_id) for view in seen) if run]
    assert statuses == ["SUCCESS", "FAILURE"]
    assert set(instance.get_dynamic_partitions("races")) == {good.race_id, bad.race_id}
    materialized = instance.fetch_materializations(LAPS_KEY, limit=10).records
    assert [record.partition_key for record in materialized] == [good.race_id]


def test_a_race_that_is_given_back_gets_a_run_of_its_own_again(
    services: RaceServices, instance: dg.DagsterInstance
) -> None:
    answer = submit_race(services, two_laps())
    runner = Runner(build_definitions(services.settings), instance)
    assert runner.run_race(answer.race_id, answer.job_id) is None
    assert runner.run_race(answer.race_id, answer.job_id) is None
    job_id = view_race(services.database, answer.race_id).job_id
    assert job_id != answer.job_id
    assert instance.get_run_by_id(job_id) is not None


@pytest.mark.usefixtures("instance")
def test_laps_come_even_if_runs_cannot_be_recorded(services: RaceServices, monkeypatch: pytest.MonkeyPatch) -> None:
    race_id = submit_race(services, two_laps()).race_id
    failure = RunFailure("", "", "The disk is full.")
    monkeypatch.setattr(Runner, "run_race", lambda *_: failure)
    work_on_races(services, lambda _: None, burst=True)
    assert view_race(services.database, race_id).status == "Ready"


def test_a_race_that_is_deleted_before_its_turn_is_left_out(
    services: RaceServices, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    race_id = submit_race(services, two_laps()).race_id
    run_race = Runner.run_race

    def delete_first(runner: Runner, *names: str) -> object:
        delete_race(services, race_id)
        return run_race(runner, *names)

    monkeypatch.setattr(Runner, "run_race", delete_first)
    seen: list[RaceView] = []
    work_on_races(services, seen.append, burst=True)
    assert seen == []
    assert instance.fetch_materializations(LAPS_KEY, limit=1).records == []

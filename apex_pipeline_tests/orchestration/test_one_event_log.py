"""New homes keep the events of all runs in one database, and answer as those with a database per run do."""

import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import AssetRecordsFilter

from apex_pipeline.orchestration import history, kept_databases
from apex_pipeline.orchestration.history import compact_finished_runs, compact_run, prune
from apex_pipeline.orchestration.home_configuration import home_configuration
from apex_pipeline.orchestration.home_databases import history_bytes, run_database
from apex_pipeline.orchestration.instance import prepare_dagster_home
from apex_pipeline.orchestration.kept_databases import ComputeLogs, KeptEventLog, OneEventLog
from apex_pipeline.orchestration.output_capture import uncaptured
from apex_pipeline.settings import DEFAULT_MEMORY_LIMIT

_PARTS = dg.DynamicPartitionsDefinition(name="sessions")
_LAPS, _NOTE = dg.AssetKey("laps"), dg.AssetKey("note")


@dg.asset(
    code_version="1", partitions_def=_PARTS, check_specs=[dg.AssetCheckSpec("complete", asset="laps", blocking=True)]
)
def laps(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # pyright: ignore[reportMissingTypeArgument]  -- Dagster reads it as a type
    context.log.info("derived")
    found = dg.AssetCheckResult(check_name="complete", passed=context.partition_key != "bad", metadata={"rows": 3})
    return dg.MaterializeResult(
        metadata={"rows": 3}, check_results=[found], data_version=dg.DataVersion(context.partition_key)
    )


@dg.asset(code_version="1", deps=[laps], partitions_def=_PARTS)
def note() -> None:
    print("printed by a step")  # noqa: T201  -- what is captured


_DEFINITIONS = dg.Definitions([laps, note], jobs=[dg.define_asset_job("derive", [laps, note])])


def _home(folder: Path, *, has_one_log: bool) -> Path:
    home = prepare_dagster_home(folder, DEFAULT_MEMORY_LIMIT)
    _configure(home, has_one_log=has_one_log)
    return home


def _configure(home: Path, *, has_one_log: bool) -> None:
    text = home_configuration(home, DEFAULT_MEMORY_LIMIT)
    assert "has_one_event_log: true\n" in text
    (home / "dagster.yaml").write_text(text if has_one_log else text.replace("has_one_event_log: true", ""))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return _home(tmp_path / "home", has_one_log=True)


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def _run(instance: dg.DagsterInstance, session: str = "spa/R1") -> str:
    instance.add_dynamic_partitions("sessions", [session])
    job = _DEFINITIONS.resolve_job_def("derive")
    return job.execute_in_process(instance=instance, partition_key=session, raise_on_error=False).run_id


def _runs_of(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {run for (run,) in connection.execute("SELECT DISTINCT run_id FROM event_logs")}


def _answers(instance: dg.DagsterInstance, runs: list[str]) -> dict[str, Any]:
    """Return what the pages of Dagster show, without what differs from run to run."""
    log, check = instance.event_log_storage, dg.AssetCheckKey(_LAPS, "complete")
    made = {key: instance.fetch_materializations(AssetRecordsFilter(key), limit=99).records for key in (_LAPS, _NOTE)}
    return {
        "events": [
            [(entry.dagster_event_type, _without_numbers(entry.message)) for entry in instance.all_logs(run)]
            for run in runs
        ],
        "steps": [[(step.step_key, step.status) for step in instance.get_run_step_stats(run)] for run in runs],
        "assets of runs": [log.get_asset_keys_for_run(run) for run in runs],
        "made": {
            key: [(found.partition_key, runs.index(found.run_id), _facts(found)) for found in records]
            for key, records in made.items()
        },
        "partitions": {key: instance.get_materialized_partitions(key) for key in made},
        "versions": log.get_latest_tags_by_partition(
            _LAPS, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
        ),
        "checks": [
            (found.partition, runs.index(found.run_id), found.status, found.event and found.event.message)
            for found in log.get_asset_check_execution_history(check, limit=99)
        ],
        "planned": {
            key: [runs.index(found.run_id) for found in [log.get_latest_planned_materialization_info(key)] if found]
            for key in made
        },
        "statuses": [
            (kind, [runs.index(found.run_id) for found in instance.fetch_run_status_changes(kind, 99).records])
            for kind in (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE)
        ],
    }


def _without_numbers(message: str) -> str:
    """Return a message without durations, processes and random names."""
    return re.sub(r"\d+(\.\d+)?(ms|s)?|[0-9a-f-]{36}", "#", message)


def _facts(found: dg.EventLogRecord) -> tuple[Any, Any]:
    made = found.asset_materialization
    assert made is not None
    tags = {name: value for name, value in (made.tags or {}).items() if "event_pointer" not in name}
    return dict(made.metadata), tags


def test_a_new_home_has_one(instance: dg.DagsterInstance, home: Path) -> None:
    runs = {_run(instance), _run(instance, "spa/R2")}
    assert isinstance(instance.event_log_storage, OneEventLog)
    assert sorted(path.name for path in (home / "history" / "runs").glob("*.db")) == ["index.db"]
    assert _runs_of(home / "history" / "runs" / "index.db") == runs


def test_every_page_shows_what_it_shows_with_a_database_per_run(tmp_path: Path) -> None:
    shown: list[list[Any]] = []
    for has_one_log in (True, False):
        home = _home(tmp_path / str(has_one_log), has_one_log=has_one_log)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert isinstance(instance.event_log_storage, OneEventLog) is has_one_log
            runs = [_run(instance, session) for session in ("spa/R1", "bad", "spa/R2", "spa/R1")]
            full = _answers(instance, runs)
            for run in runs:
                compact_run(instance, run)
            compacted = _answers(instance, runs)
            compacted.pop("events")  # one log keeps plans that were carried out
            shown.append([full, compacted])
    for name in shown[0][0]:
        assert (name, [found.get(name) for found in shown[0]]) == (name, [found.get(name) for found in shown[1]])
    assert shown[0][0]["versions"] == {part: {"dagster/data_version": part} for part in ("spa/R1", "spa/R2", "bad")}


def test_a_home_that_is_changed_to_it_keeps_its_history(tmp_path: Path) -> None:
    home = _home(tmp_path / "home", has_one_log=False)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        first = _run(instance)
        before = _answers(instance, [first])
    _configure(home, has_one_log=True)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert _answers(instance, [first]) == before
        begun_before = instance.get_run_by_id(first)
        assert begun_before is not None
        instance.report_engine_event("Of a process that began before.", begun_before)
        assert len(instance.all_logs(first)) == len(before["events"][0]) + 1
        second = _run(instance)
        assert not run_database(home, second).exists()
        assert prune(instance, timedelta(0)).runs == 1
        assert instance.all_logs(first) == []
        assert not run_database(home, first).exists()
        assert len(_answers(instance, [second])["made"][_LAPS]) == 1


def test_events_are_written_all_or_none(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(instance)
    entries = instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    log, before = instance.event_log_storage, len(instance.all_logs(run))
    monkeypatch.setattr(OneEventLog, "_store_asset_event_tags", _raise_at(2))
    with pytest.raises(RuntimeError, match="disk"):
        log.store_event_batch(entries)
    assert len(instance.all_logs(run)) == before
    monkeypatch.undo()
    log.store_event_batch(entries)
    assert len(instance.all_logs(run)) == before + len(entries)


def _raise_at(number: int) -> Callable[..., None]:
    calls: list[object] = []

    def store(*given: object) -> None:
        calls.append(given)
        if len(calls) == number:
            raise RuntimeError("disk")

    return store


def test_what_a_run_plans_is_one_transaction(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")  # as open_instance sets it
    batches: list[int] = []
    store = OneEventLog.store_event_batch

    def counted(log: OneEventLog, events: Any) -> None:
        batches.append(len(events))
        store(log, events)

    monkeypatch.setattr(OneEventLog, "store_event_batch", counted)
    job = _DEFINITIONS.resolve_job_def("derive")
    instance.add_dynamic_partitions("sessions", ["spa/R1"])
    run = instance.create_run_for_job(job, tags={"dagster/partition": "spa/R1"})
    assert batches == [3]
    assert len(instance.all_logs(run.run_id)) == 3


def test_a_run_that_succeeded_loses_only_what_it_repeats(instance: dg.DagsterInstance) -> None:
    run, failed = _run(instance), _run(instance, "bad")
    before, events = _answers(instance, [run, failed]), instance.all_logs(failed)
    for each in (run, failed):
        compact_run(instance, each)
    after = _answers(instance, [run, failed])
    kind = dg.DagsterEventType
    gone = {
        *(kind.STEP_OUTPUT, kind.ASSET_CHECK_EVALUATION_PLANNED),
        *(kind.RESOURCE_INIT_STARTED, kind.RESOURCE_INIT_SUCCESS),
    }
    assert after["events"][0] == [event for event in before["events"][0] if event[0] not in gone]
    assert {**after, "events": 0} == {**before, "events": 0}
    assert instance.all_logs(failed) == events


def test_runs_of_the_daemon_and_the_ui_are_compacted_once_they_have_settled(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [_run(instance), _run(instance, "spa/R2"), _run(instance, "bad")]
    assert compact_finished_runs(instance) == 0, "their last events may not be written yet"
    monkeypatch.setattr(history, "_SETTLED_S", 0.0)
    assert compact_finished_runs(instance, longest_s=-1.0) == 0
    assert compact_finished_runs(instance) == 2
    assert compact_finished_runs(instance) == 0
    assert [bool(instance.all_logs(run, of_type=dg.DagsterEventType.STEP_OUTPUT)) for run in runs] == [0, 0, 1]


def test_pruning_many_runs_of_one_session_leaves_the_history_of_one(home: Path) -> None:
    sizes: list[int] = []
    for runs in (1, 12):
        with dg.DagsterInstance.from_config(str(home)) as instance:
            for _ in range(runs):
                compact_run(instance, _run(instance))
            if runs > 1:
                assert prune(instance, timedelta(0)).runs == runs
                assert _runs_of(home / "history" / "runs" / "index.db") == {instance.get_runs(limit=1)[0].run_id}
        sizes.append(history_bytes(home) or 0)
    assert sizes[1] < 1.3 * sizes[0]


_MATERIALIZE = """
import sys, dagster as dg
from apex_pipeline_tests.orchestration.test_one_event_log import _run
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    for number in range(int(sys.argv[3])):
        _run(instance, f"{sys.argv[2]}/{number}")
"""


def _process(home: Path, name: str, runs: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _MATERIALIZE, str(home), name, str(runs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_that_run_at_once_while_a_third_looks_lock_each_other_out_of_nothing(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as looking:  # as the UI does
        processes = [_process(home, name, 5) for name in ("one", "two")]
        while any(process.poll() is None for process in processes):
            for run in looking.get_runs(limit=3):
                looking.all_logs(run.run_id)
            looking.fetch_materializations(_LAPS, limit=9)
            compact_finished_runs(looking)
        printed = "".join(text for process in processes for text in process.communicate(timeout=60))
        assert "locked" not in printed
        assert [process.returncode for process in processes] == [0, 0], printed
        assert len(looking.get_materialized_partitions(_NOTE)) == 10
        assert all(run.status is dg.DagsterRunStatus.SUCCESS for run in looking.get_runs())


@pytest.mark.slow
@pytest.mark.parametrize("log", ["one log", "a database per run"])
def test_a_page_that_is_open_follows_a_run_of_another_process(tmp_path: Path, log: str) -> None:
    home = _home(tmp_path / "home", has_one_log=log == "one log")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("sessions", ["spa/R1"])
        run = instance.create_run_for_job(_DEFINITIONS.resolve_job_def("derive"), tags={"dagster/partition": "spa/R1"})
        seen, has_ended = list[str](), threading.Event()

        def follow(entry: dg.EventLogEntry, _: str) -> None:
            seen.append(entry.message)
            if entry.message == "the last one":
                has_ended.set()

        instance.watch_event_logs(run.run_id, None, follow)
        program = (
            "import sys, time, dagster as dg\n"
            "with dg.DagsterInstance.from_config(sys.argv[1]) as instance:\n"
            "    run = instance.get_run_by_id(sys.argv[2])\n"
            "    for message in ('the first one', 'the last one'):\n"
            "        instance.report_engine_event(message, run)\n"
            "    sys.stdin.read()\n"  # its databases stay open
        )
        command = [sys.executable, "-c", program, str(home), run.run_id]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            try:
                assert has_ended.wait(30)
                assert [message for message in seen if message.endswith("one")] == ["the first one", "the last one"]
            finally:
                assert process.stdin is not None
                process.stdin.close()
        instance.end_watch_event_logs(run.run_id, follow)


def _captured(instance: dg.DagsterInstance, run: str) -> tuple[bytes | None, bool]:
    (entry,) = instance.all_logs(run, of_type=dg.DagsterEventType.LOGS_CAPTURED)
    assert entry.dagster_event is not None
    key = [run, "compute_logs", entry.dagster_event.logs_captured_data.file_key]
    logs = instance.compute_log_manager
    return logs.get_log_data(key).stdout, logs.is_capture_complete(key)


def test_what_runs_of_a_command_print_is_not_captured_and_that_of_others_is(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(instance.compute_log_manager, ComputeLogs)
    with uncaptured(), monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", None)
        assert _captured(instance, _run(instance)) == (None, True)
    text, is_complete = _captured(instance, _run(instance))
    assert text is not None
    assert b"printed by a step" in text
    assert is_complete


def test_a_dagster_that_it_does_not_fit_gets_its_own_storage(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = _run(instance)
    monkeypatch.setattr(kept_databases, "fits_dagster", lambda: False)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert not isinstance(instance.event_log_storage, KeptEventLog)
        assert instance.get_materialized_partitions(_LAPS) == {"spa/R1"}
        assert instance.get_run_by_id(run) is not None
        assert instance.all_logs(_run(instance, "spa/R2"))

"""The history of runs: what was replaced is removed, what is present stays, and the databases become smaller."""

import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from apex_pipeline.orchestration import history
from apex_pipeline.orchestration.history import Pruned, compact_finished_runs, compact_run, prune, prune_if_due
from apex_pipeline.orchestration.history_jobs import prune_history, pruning_summary
from apex_pipeline.orchestration.home_databases import (
    UNFINISHED,
    compact,
    history_bytes,
    run_database,
    uncompacted_runs,
)

_AT_ONCE = timedelta(0)
_parts = dg.DynamicPartitionsDefinition(name="sessions")


@dg.asset(partitions_def=_parts)
def laps() -> None:
    """Derive nothing."""


@dg.asset_check(asset=laps)
def fine() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset(partitions_def=_parts)
def sectors() -> None:
    """Derive nothing."""


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.PreviewWarning)  # as in checks.py: a result per session

    @dg.asset_check(asset=sectors, partitions_def=_parts)
    def plausible() -> dg.AssetCheckResult:
        if os.environ.get("CHECK_FAILS"):
            raise RuntimeError("not evaluated")
        return dg.AssetCheckResult(passed=True)


@dg.asset
def broken() -> None:
    raise RuntimeError("broken")


_DEFINITIONS = dg.Definitions(
    [laps, sectors, broken],
    asset_checks=[fine, plausible],
    jobs=[
        dg.define_asset_job("derive", selection=[laps]),
        dg.define_asset_job("derive_sectors", selection=[sectors]),
        dg.define_asset_job("fail_on_purpose", selection=[broken]),
        dg.define_asset_job("look", selection=dg.AssetSelection.checks_for_assets(laps)),
    ],
)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
        opened.add_dynamic_partitions("sessions", ["spa/R1", "spa/R2"])
        yield opened


def _run(instance: dg.DagsterInstance, session: str | None = "spa/R1", job: str = "derive") -> str:
    definition = _DEFINITIONS.get_repository_def().get_job(job)
    return definition.execute_in_process(instance=instance, partition_key=session, raise_on_error=False).run_id


def _runs(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def _files(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    return [path for path in Path(instance.root_directory).rglob("*") if run_id in str(path)]


def test_runs_are_removed_once_a_later_one_has_replaced_their_results(instance: dg.DagsterInstance) -> None:
    first, other, last = _run(instance), _run(instance, "spa/R2"), _run(instance)
    pruned = prune(instance, _AT_ONCE)
    assert (pruned.runs, pruned.kept) == (1, 2)
    assert _runs(instance) == {other, last}
    assert _files(instance, first) == []
    key = dg.AssetKey("laps")
    assert instance.get_materialized_partitions(key) == {"spa/R1", "spa/R2"}
    executions = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(key, "fine"), limit=10)
    assert {execution.run_id for execution in executions} == {other, last}


def test_younger_runs_stay(instance: dg.DagsterInstance) -> None:
    runs = {_run(instance), _run(instance)}
    assert prune(instance, timedelta(days=30)).runs == 0
    assert _runs(instance) == runs


def test_a_failed_run_stays_until_the_same_job_has_run_again(instance: dg.DagsterInstance) -> None:
    failed = _run(instance, None, "fail_on_purpose")
    assert prune(instance, _AT_ONCE).runs == 0
    again = _run(instance, None, "fail_on_purpose")
    assert prune(instance, _AT_ONCE).runs == 1
    assert _runs(instance) == {again} != {failed}


def test_runs_that_only_look_at_checks_are_removed_once_later_ones_have_looked(instance: dg.DagsterInstance) -> None:
    made = _run(instance)
    _run(instance, None, "look")
    looked = _run(instance, None, "look")
    assert prune(instance, _AT_ONCE).runs == 1
    assert _runs(instance) == {made, looked}


def test_a_run_stays_while_it_holds_the_latest_result_of_a_check(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = _run(instance, "spa/R1", "derive_sectors"), _run(instance, "spa/R2", "derive_sectors")
    with monkeypatch.context() as patched:
        patched.setenv("CHECK_FAILS", "1")
        unchecked = _run(instance, "spa/R1", "derive_sectors")
    assert prune(instance, _AT_ONCE).runs == 0
    assert _latest_results(instance) == {"spa/R1": first, "spa/R2": other}
    again = _run(instance, "spa/R1", "derive_sectors")
    assert prune(instance, _AT_ONCE).runs == 2
    assert _runs(instance) == {other, again}
    assert not {first, unchecked} & _runs(instance)
    assert _latest_results(instance) == {"spa/R1": again, "spa/R2": other}


def _latest_results(instance: dg.DagsterInstance) -> dict[str | None, str]:
    """Return the run that holds the latest result of the check ``plausible``, by session."""
    check = dg.AssetCheckKey(dg.AssetKey("sectors"), "plausible")
    history = instance.event_log_storage.get_asset_check_execution_history(check, limit=100)
    return {found.partition: found.run_id for found in reversed(history) if found.status.value != "PLANNED"}


def test_pruning_many_runs_of_one_session_leaves_the_history_of_one(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_PAGE", 2)
    _run(instance)
    one = history_bytes(Path(instance.root_directory))
    for _ in range(3):
        _run(instance)
    pruned = prune(instance, _AT_ONCE)
    assert pruned.runs == 3
    assert one is not None
    assert pruned.bytes_before is not None
    assert pruned.bytes_after is not None
    assert pruned.bytes_before > 1.5 * one
    assert pruned.bytes_after < 1.3 * one


def test_a_pruning_looks_at_no_more_runs_than_it_takes_to_find_those_it_removes(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = _run(instance, "spa/R2")
    runs = [_run(instance) for _ in range(5)]
    monkeypatch.setattr(history, "_PAGE", 1)
    monkeypatch.setattr(history, "_MOST_RUNS", 2)
    opened: list[str] = []
    read = instance.get_records_for_run
    monkeypatch.setattr(
        instance, "get_records_for_run", lambda run, **named: (opened.append(run), read(run, **named))[1]
    )
    pruned = prune(instance, _AT_ONCE)
    assert set(opened) == set(runs[:2])
    assert (pruned.runs, pruned.kept, pruned.is_complete) == (2, 1, False)
    assert "the next pruning continues" in pruning_summary(pruned)
    assert _runs(instance) == {needed, *runs[2:]}
    assert prune(instance, _AT_ONCE).runs == 2
    last = prune(instance, _AT_ONCE)
    assert (last.runs, last.kept, last.is_complete) == (0, 2, True)
    assert _runs(instance) == {needed, runs[-1]}


def test_a_sync_prunes_at_most_once_a_day(instance: dg.DagsterInstance) -> None:
    _run(instance)
    _run(instance)
    assert prune_if_due(instance, _AT_ONCE) is not None
    _run(instance)
    assert prune_if_due(instance, _AT_ONCE) is None


def test_what_a_killed_process_left_of_a_database_is_removed_once_it_is_an_hour_old(
    instance: dg.DagsterInstance,
) -> None:
    runs = Path(instance.root_directory, "history", "runs")
    _run(instance)
    old, fresh = runs / f"{UNFINISHED}old", runs / f"{UNFINISHED}fresh"
    for file in (old, fresh):
        file.write_bytes(b"half")
    os.utime(old, (1, 1))
    prune(instance, _AT_ONCE)
    assert not old.exists()
    assert fresh.exists()


_REPEATED = {
    *("STEP_OUTPUT", "ASSET_CHECK_EVALUATION_PLANNED", "ASSET_MATERIALIZATION_PLANNED"),
    *("RESOURCE_INIT_STARTED", "RESOURCE_INIT_SUCCESS"),
}


def _events(instance: dg.DagsterInstance, run: str) -> list[tuple[str | None, str]]:
    entries = instance.all_logs(run)
    return [(entry.dagster_event_type.value if entry.dagster_event_type else None, entry.message) for entry in entries]


def _in_index(instance: dg.DagsterInstance, run: str) -> list[str]:
    """Return the types of the events of a run in the database of all runs."""
    with closing(sqlite3.connect(Path(instance.root_directory, "history", "runs", "index.db"))) as index:
        return [kind for (kind,) in index.execute("SELECT dagster_event_type FROM event_logs WHERE run_id = ?", [run])]


def test_a_run_that_succeeded_takes_less_space_and_loses_only_what_it_repeats(instance: dg.DagsterInstance) -> None:
    run = _run(instance, job="derive_sectors")
    storage, made = instance.event_log_storage, instance.fetch_materializations(dg.AssetKey("sectors"), limit=1).records
    check = dg.AssetCheckKey(dg.AssetKey("sectors"), "plausible")
    database = run_database(Path(instance.root_directory), run)
    before, events = database.stat().st_size, _events(instance, run)
    steps, results = instance.get_run_step_stats(run), storage.get_asset_check_execution_history(check, limit=9)
    compact_run(instance, run)
    assert database.stat().st_size < 0.5 * before
    assert _events(instance, run) == [event for event in events if event[0] not in _REPEATED]
    assert "ASSET_CHECK_EVALUATION" in {kind for kind, _ in _events(instance, run)}
    assert not {"ASSET_CHECK_EVALUATION", "ASSET_CHECK_EVALUATION_PLANNED"} & set(_in_index(instance, run))
    assert instance.get_run_step_stats(run) == steps
    assert storage.get_asset_check_execution_history(check, limit=9) == results
    assert results[0].event is not None
    assert instance.fetch_materializations(dg.AssetKey("sectors"), limit=1).records == made
    assert storage.get_asset_keys_for_run(run) == {dg.AssetKey("sectors")}


def test_a_run_that_failed_keeps_every_event(instance: dg.DagsterInstance) -> None:
    run = _run(instance, None, "fail_on_purpose")
    events, index = _events(instance, run), _in_index(instance, run)
    compact_run(instance, run)
    assert (_events(instance, run), _in_index(instance, run)) == (events, index)
    assert "ASSET_MATERIALIZATION_PLANNED" in {kind for kind, _ in events}


def test_runs_of_the_daemon_and_the_ui_are_compacted_once_they_have_settled(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, home = {_run(instance, job="derive_sectors") for _ in range(3)}, Path(instance.root_directory)
    sizes = {run: run_database(home, run).stat().st_size for run in runs}
    assert compact_finished_runs(instance) == 0, "their last events may not be written yet"
    monkeypatch.setattr(history, "_SETTLED_S", 0.0)
    assert compact_finished_runs(instance, longest_s=-1.0) == 0
    assert compact_finished_runs(instance) == 3
    assert all(run_database(home, run).stat().st_size < 0.5 * size for run, size in sizes.items())
    assert compact_finished_runs(instance) == 0, "the files themselves say that it was done"


def test_a_run_at_work_is_not_compacted(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_SETTLED_S", 0.0)
    run = instance.create_run_for_job(_DEFINITIONS.get_repository_def().get_job("derive"))
    instance.report_engine_event("Started.", run)
    assert [found for found, _ in uncompacted_runs(Path(instance.root_directory))] == [run.run_id]
    assert compact_finished_runs(instance) == 0


def test_a_pruning_compacts_what_it_keeps_and_says_so(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_SETTLED_S", 0.0)
    _run(instance)
    pruned = prune(instance, _AT_ONCE)
    assert (pruned.runs, pruned.compacted) == (0, 1)
    assert "Rewrote 1 others without unused space" in pruning_summary(pruned)


def test_a_compacted_run_can_be_executed_again(instance: dg.DagsterInstance) -> None:
    run = _run(instance)
    compact_run(instance, run)
    options = dg.ReexecutionOptions(parent_run_id=run, step_selection=["laps"])
    job = dg.reconstructable(_derive)
    with dg.execute_job(job, instance, reexecution_options=options, tags={"dagster/partition": "spa/R1"}) as again:
        assert again.success
        assert [event.step_key for event in again.get_step_success_events()] == ["laps"]


def _derive() -> dg.JobDefinition:
    return _DEFINITIONS.get_repository_def().get_job("derive")


def test_a_database_of_all_runs_that_another_process_writes_fails_nothing(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(instance)
    events = _in_index(instance, run)

    def locked(_: dg.DagsterInstance) -> None:
        raise OperationalError("DELETE", {}, sqlite3.OperationalError("database is locked"))

    monkeypatch.setattr(history, "_index", locked)
    compact_run(instance, run)
    assert _in_index(instance, run) == events


def test_a_database_that_is_in_use_or_missing_is_left(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run = _run(instance)
    database = run_database(Path(instance.root_directory), run)
    before = database.stat().st_size
    with closing(sqlite3.connect(database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event_logs").fetchone()
        compact(database)
        assert database.stat().st_size == before
    compact(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    assert len(list(instance.all_logs(run))) > 0


def test_the_nightly_job_tells_the_size(instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune_history.execute_in_process(instance=instance).success
    assert "The history was" in capsys.readouterr().err


def test_where_the_database_is_elsewhere_the_size_is_said_to_be_unknown() -> None:
    assert pruning_summary(Pruned(3, 4, None, None)).endswith("its size is not known.")

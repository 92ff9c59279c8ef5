"""Tests that a failed run is reported with the message of the command line, and the run page with that of Dagster."""

from pathlib import Path

import dagster as dg
import pytest

from apex_pipeline import sources
from apex_pipeline.errors import FileChangedError
from apex_pipeline.orchestration.command_runner import open_runner
from apex_pipeline.orchestration.home_databases import history_bytes
from apex_pipeline.orchestration.job_names import CATALOG_JOB, SESSION_JOB
from apex_pipeline.orchestration.runner import Runner
from apex_pipeline.sources import all_sources, session_tables
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.sources.toy import PIT_STOPS, PitStops

_R1 = SessionKey("spa", "R1")


@pytest.fixture
def runner(lake: LakeRuns) -> Runner:
    lake.race(str(_R1))
    runner = Runner(lake.definitions, lake.instance)
    runner.add_sessions([_R1])
    return runner


def test_a_run_that_succeeds_has_no_failure(runner: Runner, lake: LakeRuns) -> None:
    assert runner.run(SESSION_JOB, _R1) is None
    assert lake.published == [str(_R1)]


def test_the_runs_of_one_sync_share_a_tag_and_take_less_than_500_kib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))  # set by open_runner, restored after the test
    lake = LakeRuns(tmp_path, dagster_home=home)
    sizes: list[int] = []
    for laps in (4, 5):  # the first fills what is empty in every home
        lake.race(str(_R1), laps)
        with open_runner(lake.settings) as opened:
            opened.add_sessions([_R1])
            assert opened.run(SESSION_JOB, _R1) is None
            assert opened.run(CATALOG_JOB) is None
        sizes.append(history_bytes(home) or 0)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_runs()
    assert len(runs) == 4
    assert len({run.tags["apex/sync"] for run in runs[:2]}) == 1
    assert {run.tags["user"] for run in runs} == {"apex sync"}
    assert 0 < sizes[1] - sizes[0] < 500 * 1024
    lake.close()


def test_a_failed_run_names_its_step_and_the_problem_with_the_hint_for_the_command_line(
    runner: Runner, lake: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise FileChangedError("a.csv changed: twice.", "Run the sync again.") from ValueError("a cause")

    monkeypatch.setattr("apex_pipeline.orchestration.assets.lake_files.copy_work", fail)
    failure = runner.run(SESSION_JOB, _R1)
    assert failure is not None
    assert (failure.step, failure.problem) == ("lake__files", "a.csv changed: twice. Run the sync again.")
    logs = lake.instance.all_logs(failure.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    (event,) = [entry.dagster_event for entry in logs if entry.dagster_event]
    shown = event.step_failure_data.user_failure_data
    assert shown is not None
    assert shown.description == "a.csv changed: twice. Launch the job sync_session for the partition spa/R1."


def test_an_unexpected_error_is_reported_as_a_bug(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("apex_pipeline.orchestration.assets.lake_files.copy_work", fail)
    failure = runner.run(SESSION_JOB, _R1)
    assert failure is not None
    assert failure.problem == "RuntimeError: a defect"


def test_a_failing_blocking_check_is_the_reason_of_a_failed_run(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.orchestration.assets.gr_cup_checks.count_overlaps", lambda _: 3)
    failure = runner.run(SESSION_JOB, _R1)
    assert failure is not None
    assert failure.step == "laps"
    assert failure.problem.startswith("Tables of spa/R1 are not published, because a check of them failed: laps:")


def test_only_the_given_tables_are_derived_beside_the_other_assets(
    runner: Runner, lake: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_registered", [PitStops()])
    both = Runner(lake.definitions, lake.instance)
    assert both.run(SESSION_JOB, _R1, session_tables(all_sources()[:1])) is None
    assert lake.rows(str(_R1))["laps"] == 8
    asset = dg.AssetKey(["tables", PIT_STOPS.name])
    assert lake.instance.get_latest_materialization_event(asset) is None

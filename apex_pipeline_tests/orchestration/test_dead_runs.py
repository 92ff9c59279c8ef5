"""A run whose process was killed together with the code server that started it holds nothing up."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from apex_pipeline import sources
from apex_pipeline.orchestration.instance import process_tags
from apex_pipeline.orchestration.job_names import (
    CATALOG_JOB,
    FIND_JOB,
    PREPARE_JOB,
    PRUNE_JOB,
    REMOVE_JOB,
    SESSION_JOB,
    SYNC_JOB,
    VERIFY_JOB,
)
from apex_pipeline.orchestration.schedules import request_unless_under_way
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.orchestration.ticks import Ticks, names, said
from apex_pipeline_tests.sources.toy import PitStops

R1, R2 = "spa/R1", "spa/R2"
_NO_PROCESS = "4194305"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LakeRuns]:
    monkeypatch.setattr(sources, "_registered", [PitStops()])
    lake = LakeRuns(tmp_path)
    for key in (R1, R2):
        lake.write(key, {"pit_stops.csv": f"car,lap,stop_s\n{key},1,30\n"})
    yield lake
    lake.close()


def _killed(lake: LakeRuns, job: str, tags: dict[str, str] | None = None) -> dg.DagsterRun:
    """Add a run as a process leaves it that is killed with its code server after the first step has started."""
    run = lake.instance.create_run_for_job(
        lake.definitions.resolve_job_def(job), tags=tags, status=DagsterRunStatus.STARTED
    )
    lake.instance.add_run_tags(run.run_id, process_tags(run.run_id) | {".dagster/apex/pid": _NO_PROCESS})
    return run


def _status(lake: LakeRuns, run: dg.DagsterRun) -> DagsterRunStatus:
    found = lake.instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_every_run_says_which_process_executes_it(lake: LakeRuns) -> None:
    for job in (FIND_JOB, PREPARE_JOB, SYNC_JOB, CATALOG_JOB, VERIFY_JOB, REMOVE_JOB, PRUNE_JOB):
        lake.run(job)
    lake.run(SESSION_JOB, R1)
    lake.run(SESSION_JOB, R1, ["tables/pit_stops"])
    runs = lake.instance.get_runs()
    jobs = {FIND_JOB, PREPARE_JOB, SYNC_JOB, CATALOG_JOB, VERIFY_JOB, REMOVE_JOB, PRUNE_JOB, SESSION_JOB}
    assert {run.job_name for run in runs} == jobs
    assert [run.job_name for run in runs if not process_tags(run.run_id).items() <= run.tags.items()] == []


def test_a_session_whose_run_was_killed_waits_for_its_next_attempt_only(lake: LakeRuns) -> None:
    ticks = Ticks(lake)
    ticks.tick()
    request = (ticks.look().run_requests or [])[0]
    run = _killed(lake, SESSION_JOB, dict(request.tags))
    result = ticks.look()
    assert _status(lake, run) is DagsterRunStatus.FAILURE
    assert names(result) == [R2]
    assert ticks.settle() == [R2, CATALOG_JOB]
    assert f"Waiting: {R1}: it is attempted again after" in said(ticks.look())


def test_a_sync_that_was_killed_stops_neither_the_sensor_nor_the_schedule(lake: LakeRuns) -> None:
    ticks = Ticks(lake)
    ticks.tick()
    _killed(lake, SYNC_JOB)
    inner = _killed(lake, SESSION_JOB, {"dagster/partition": R1, "apex/command": "sync"})
    assert names(ticks.look()) == [R1, R2]
    assert _status(lake, inner) is DagsterRunStatus.FAILURE
    _killed(lake, SYNC_JOB)
    assert isinstance(request_unless_under_way(lake.instance, SYNC_JOB), dg.RunRequest)


def test_a_lost_partition_is_removed_although_a_run_of_it_was_killed(lake: LakeRuns) -> None:
    lake.instance.add_dynamic_partitions("sessions", ["nowhere/R9"])
    _killed(lake, SESSION_JOB, {"dagster/partition": "nowhere/R9"})
    assert lake.run(REMOVE_JOB)
    assert lake.partitions == []

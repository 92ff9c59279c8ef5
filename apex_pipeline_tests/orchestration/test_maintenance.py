"""Jobs on all of the lake, the schedules that launch two of them, and the standing check of the manifest."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import AssetCheckEvaluation, DagsterRunStatus

from apex_pipeline import sources
from apex_pipeline.orchestration import tick_plan
from apex_pipeline.orchestration.health import HEALTH_CHECK
from apex_pipeline.orchestration.job_names import CATALOG_JOB, PREPARE_JOB, REMOVE_JOB, SYNC_JOB, VERIFY_JOB
from apex_pipeline.orchestration.schedules import request_unless_under_way
from apex_pipeline.sources.base import FileStatus
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.orchestration.ticks import Ticks, names, said
from apex_pipeline_tests.sources.toy import PitStops

R1, R2 = "spa/R1", "spa/R2"


class _Doubtful(PitStops):
    """The toy source, which sets aside what says so."""

    def identify(self, files: Any, rules: None) -> Any:
        found = super().identify(files, rules)
        aside = {"status": FileStatus.QUARANTINED, "reason": "two | races"}
        return [replace(item, **aside) if item.session == "R9" else item for item in found]  # type: ignore[arg-type]


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LakeRuns]:
    monkeypatch.setattr(sources, "_registered", [_Doubtful()])
    lake = LakeRuns(tmp_path)
    for key in (R1, R2):
        _pits(lake, key)
    yield lake
    lake.close()


def _pits(lake: LakeRuns, key: str, stop: str = "30") -> None:
    lake.write(key, {"pit_stops.csv": f"car,lap,stop_s\n{key},1,{stop}\n"})


def test_a_sync_in_a_run_does_what_the_command_does_and_then_finds_nothing_to_do(lake: LakeRuns) -> None:
    assert lake.run(SYNC_JOB)
    assert lake.published == [R1, R2]
    manifest = dg.AssetKey(["catalog", "manifest"])
    before = lake.instance.fetch_materializations(manifest, limit=9).records
    # An idle sync confirms the manifest and starts no run of its own.
    runs = len(lake.instance.get_runs())
    assert lake.run(SYNC_JOB)
    assert len(lake.instance.get_runs()) == runs + 1
    assert len(lake.instance.fetch_materializations(manifest, limit=9).records) == len(before) + 1
    assert lake.run(VERIFY_JOB)


def test_a_sync_in_a_run_fails_by_name_and_completes_the_rest(lake: LakeRuns) -> None:
    _pits(lake, R2, "long")
    attempt = lake.run(SYNC_JOB)
    assert "1 failed, and the rest was completed. spa/R2" in attempt.failure
    assert lake.published == [R1]


def test_a_verification_names_what_is_damaged(lake: LakeRuns) -> None:
    assert lake.run(SYNC_JOB)
    path = lake.settings.lake_dir / "data" / R1 / "pit_stops.csv"
    path.write_bytes(path.read_bytes()[::-1])
    attempt = lake.run(VERIFY_JOB)
    assert f"data/{R1}/pit_stops.csv" in attempt.failure
    assert f"Launch the job {SYNC_JOB}" in attempt.failure


def test_nothing_is_removed_while_the_source_folder_is_away(lake: LakeRuns, tmp_path: Path) -> None:
    lake.instance.add_dynamic_partitions("sessions", ["nowhere/R9"])
    lake.source.rename(tmp_path / "away")
    assert "Nothing was removed" in lake.run(REMOVE_JOB).failure
    assert lake.partitions == ["nowhere/R9"]


def test_the_time_of_a_tick_does_not_end_a_job(lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the same size are compared by content, which takes longer than a tick has for folders that are large."""
    lake.sync()
    for path in lake.source.rglob("*.csv"):
        os.utime(path, ns=(1, 1))
    lake.instance.add_dynamic_partitions("sessions", ["nowhere/R9"])
    monkeypatch.setattr(tick_plan, "_HASHING_S", -1.0)
    assert "the next tick goes on from here" in said(Ticks(lake).look())
    for job in (PREPARE_JOB, REMOVE_JOB):
        attempt = lake.run(job)
        assert attempt, attempt.failures
        for path in lake.source.rglob("*.csv"):
            os.utime(path, ns=(2, 2))
    assert lake.partitions == [R1, R2]


def test_a_scheduled_run_waits_for_the_last_one(lake: LakeRuns) -> None:
    assert isinstance(request_unless_under_way(lake.instance, SYNC_JOB), dg.RunRequest)
    lake.instance.create_run_for_job(lake.definitions.resolve_job_def(SYNC_JOB), status=DagsterRunStatus.STARTED)
    skipped = request_unless_under_way(lake.instance, SYNC_JOB)
    assert isinstance(skipped, dg.SkipReason)
    assert "is still queued or at work" in str(skipped.skip_message)
    assert isinstance(request_unless_under_way(lake.instance, VERIFY_JOB), dg.RunRequest)


def test_a_sync_in_a_run_keeps_the_sensor_from_starting_the_same(lake: LakeRuns) -> None:
    ticks = Ticks(lake)
    ticks.tick()
    lake.instance.create_run_for_job(lake.definitions.resolve_job_def(SYNC_JOB), status=DagsterRunStatus.STARTED)
    assert names(ticks.look()) == []


class TestHealth:
    """The check ``sessions_are_healthy``."""

    def _evaluated(self, result: dg.SensorResult) -> AssetCheckEvaluation | None:
        return next((event for event in result.asset_events if isinstance(event, AssetCheckEvaluation)), None)

    def test_it_passes_if_every_session_is_published_from_its_files(self, lake: LakeRuns) -> None:
        lake.sync()
        check = lake.run(CATALOG_JOB).checks[f"manifest.{HEALTH_CHECK}"]
        assert (check.passed, check.description) == (True, "Every session is published from its present files.")

    def test_failed_stale_and_doubtful_sessions_are_listed_with_their_remedy(self, lake: LakeRuns) -> None:
        ticks = Ticks(lake)
        ticks.settle()
        _pits(lake, "spa/R3", "long")
        _pits(lake, "spa/R9")
        _pits(lake, R1, "31")
        ticks.tick()
        lake.instance.add_dynamic_partitions("sessions", ["spa/R3"])
        assert lake.run("sync_session", R1, ["lake/files", "lake/session"])
        assert not lake.run("sync_session", "spa/R3")
        evaluated = self._evaluated(ticks.look())
        assert evaluated is not None
        assert (evaluated.passed, evaluated.severity) == (False, dg.AssetCheckSeverity.ERROR)
        table = str(evaluated.metadata["sessions"].value)
        assert "| spa/R3 | failed | ValueError" in table
        assert (
            "| spa/R1 | stale | What is published was derived from other files. | Launch the job sync_session" in table
        )

    def test_files_that_were_set_aside_make_their_session_doubtful(self, lake: LakeRuns) -> None:
        _pits(lake, "spa/R9")
        lake.sync(R1, R2)
        ticks = Ticks(lake)
        ticks.settle()
        check = lake.run(CATALOG_JOB).checks[f"manifest.{HEALTH_CHECK}"]
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "spa/R9/pit_stops.csv (two \\| races)" in str(check.metadata["sessions"].value)

    def test_the_sensor_tells_a_result_once(self, lake: LakeRuns) -> None:
        ticks = Ticks(lake)
        results = [self._evaluated(ticks.tick()[0]) for _ in range(6)]
        assert [evaluation.passed for evaluation in results if evaluation] == [True]

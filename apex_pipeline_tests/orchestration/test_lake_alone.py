"""Without a usable source folder, the sensor works with what is in the lake, and what it starts succeeds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from apex_pipeline import sources
from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB, FIND_JOB, PREPARE_JOB, SESSION_JOB
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.orchestration.ticks import Ticks, said
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.sources.toy import PitStops

R1, R2 = "spa/R1", "spa/R2"


class _RemoteLauncher:
    """Stands for a launcher of another package: only its class is looked at."""

    def dispose(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_registered", [PitStops()])


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[LakeRuns]:
    lake = _with_files_of(tmp_path)
    yield lake
    lake.close()


def _with_files_of(folder: Path) -> LakeRuns:
    """Return a lake that has the files of two sessions, and nothing derived."""
    lake = LakeRuns(folder)
    for key in (R1, R2):
        lake.write(key, {"pit_stops.csv": f"car,lap,stop_s\n{key},1,30\n"})
    for key in (R1, R2):
        assert lake.materialize(key, "lake/files")
    return lake


def _settle(ticks: Ticks) -> list[tuple[str | None, str | None]]:
    """Look until nothing is started any more, and return job and partition of what was; all of it succeeds."""
    started: list[tuple[str | None, str | None]] = []
    for _ in range(4):
        result, runs = ticks.tick()
        started += [(request.job_name, request.partition_key) for request in result.run_requests or ()]
        assert [run.failures for run in runs if not run] == []
    return started


_DERIVED = [(DERIVE_JOB, R1), (DERIVE_JOB, R2), (CATALOG_JOB, None)]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (None, "does not exist"),
        ({}, "is empty"),
        ({"holiday.jpg": "not race data"}, "No race files in"),
    ],
)
def test_sessions_in_the_lake_are_derived_without_a_source_folder(
    lake: LakeRuns, files: dict[str, str] | None, problem: str
) -> None:
    shutil.rmtree(lake.source)
    if files is not None:
        lake.source.mkdir()
        lake.write(".", files)
    ticks = Ticks(lake)
    before = {key for key in lake.objects() if key.startswith("data/")}
    assert _settle(ticks) == _DERIVED
    assert lake.published == [R1, R2]
    assert {key for key in lake.objects() if key.startswith("data/")} == before
    assert problem in said(ticks.look())
    assert "Waiting" not in said(ticks.look())
    assert lake.run(FIND_JOB)


def test_a_source_folder_of_this_machine_is_not_used_for_runs_on_others(
    tmp_path: Path, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_bucket.environment.items():
        monkeypatch.setenv(name, value)
    lake = _with_files_of(tmp_path)
    monkeypatch.setattr(dg.DagsterInstance, "run_launcher", property(lambda _: _RemoteLauncher()))
    lake.write("spa/R3", {"pit_stops.csv": "car,lap,stop_s\nR3,1,30\n"})
    lake.write(R1, {"pit_stops.csv": "car,lap,stop_s\nchanged,1,30\n"})
    ticks = Ticks(lake)
    assert _settle(ticks) == _DERIVED
    assert lake.published == [R1, R2]
    assert "is not used: runs are executed on other machines" in said(ticks.look())
    assert lake.run(PREPARE_JOB)
    lake.close()


def test_a_folder_that_comes_back_is_used_again(lake: LakeRuns, tmp_path: Path) -> None:
    lake.source.rename(tmp_path / "away")
    ticks = Ticks(lake)
    _settle(ticks)
    (tmp_path / "away").rename(lake.source)
    lake.write(R1, {"pit_stops.csv": "car,lap,stop_s\nchanged,1,30\nchanged,2,31\n"})
    assert _settle(ticks) == [(SESSION_JOB, R1), (CATALOG_JOB, None)]
    assert lake.rows(R1) == {"pit_stops": 2}


def test_copying_from_an_empty_folder_fails_and_names_what_does_not(lake: LakeRuns) -> None:
    shutil.rmtree(lake.source)
    lake.source.mkdir()
    failed = lake.run(SESSION_JOB, R1).failures["lake__files"]
    assert "is empty on the machine that ran this step" in failed["text"]
    assert f"run the job {DERIVE_JOB} instead" in failed["text"]
    assert lake.run(DERIVE_JOB, R1)

"""Tests that a folder is refused as lake or source where runs may be executed on other machines."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from apex_pipeline.orchestration.job_names import DERIVE_JOB, SESSION_JOB
from apex_pipeline.orchestration.places import runs_elsewhere
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.servers.s3_server import S3Bucket

_KEY = "spa/R1"


class _RemoteLauncher:
    """Stands for a launcher of another package: only its class is looked at."""

    def dispose(self) -> None:
        pass


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg.DagsterInstance, "run_launcher", property(lambda _: _RemoteLauncher()))


@pytest.fixture
def in_bucket(tmp_path: Any, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[LakeRuns]:
    for name, value in s3_bucket.environment.items():
        monkeypatch.setenv(name, value)
    lake = LakeRuns(tmp_path)
    yield lake
    lake.close()


def test_the_launchers_of_dagster_itself_run_on_this_machine(lake: LakeRuns) -> None:
    assert not runs_elsewhere(lake.instance)
    assert not runs_elsewhere(None)


@pytest.mark.usefixtures("elsewhere")
def test_a_lake_in_a_folder_is_refused_before_anything_is_written(lake: LakeRuns) -> None:
    lake.race(_KEY)
    lake.instance.add_dynamic_partitions("sessions", [_KEY])
    failed = lake.run(DERIVE_JOB, _KEY)
    assert not failed
    assert "the runs of this Dagster instance may be executed on any machine" in failed.failure
    assert "Set USE_S3_DATA=true" in failed.failure
    assert lake.objects() == set()


@pytest.mark.usefixtures("elsewhere")
def test_a_source_folder_is_refused_and_what_is_in_the_bucket_is_derived(in_bucket: LakeRuns) -> None:
    in_bucket.race(_KEY)
    in_bucket.instance.add_dynamic_partitions("sessions", [_KEY])
    refused = in_bucket.run(SESSION_JOB, _KEY)
    assert "The source" in refused.failures["lake__files"]["text"]
    assert "below data/, and launch the job derive_session" in refused.failures["lake__files"]["text"]
    assert [item.key for item in in_bucket.store.list("data/")] == []
    unknown = in_bucket.run(DERIVE_JOB, _KEY)
    assert "No file of the session spa/R1 was found" in unknown.failure

"""What people do in Dagster's UI, asked by GraphQL from a running webserver, with runs launched by the daemon."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB, FIND_JOB, SESSION_JOB
from apex_pipeline_tests.orchestration.dagster_server import DagsterServer, running_dagster
from apex_pipeline_tests.orchestration.lake_runs import STEPS, LakeRuns

pytestmark = pytest.mark.soak

R1, R2, OTHER = "spa/R1", "spa/R2", "monza/R1"


class _Ui(LakeRuns):
    """A lake whose runs are launched in a running Dagster."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.environment = {
            "APEX_SOURCE_DIR": str(self.settings.source_dir),
            "APEX_LAKE_DIR": str(self.settings.lake_dir),
            "APEX_STATE_DIR": str(self.settings.state_dir),
        }

    def observe(self, key: str, version: str) -> None:
        """Observe the raw files of a session, as a sync does before it copies them."""
        with dg.DagsterInstance.from_config(str(self.source.parent / "home")) as instance:
            instance.report_runless_asset_event(
                dg.AssetObservation(["raw", "files"], partition=key, tags={"dagster/data_version": version})
            )


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[_Ui, DagsterServer]]:
    """A source folder with three sessions, an empty lake, and a fresh Dagster home."""
    lake = _Ui(tmp_path_factory.mktemp("ui"))
    for key in (R1, R2, OTHER):
        lake.race(key)
    with running_dagster(lake.source.parent / "home", lake.environment) as server:
        yield lake, server
    lake.close()


def test_sessions_are_found_and_two_named_partitions_of_all_assets_are_published(
    ui: tuple[_Ui, DagsterServer],
) -> None:
    lake, server = ui
    assert server.finished(server.launch(FIND_JOB)) == "SUCCESS"
    for key in (R1, R2):
        lake.observe(key, "1")
    assert server.backfill(server.assets, [R1, R2]) == "COMPLETED_SUCCESS"
    assert lake.published == [R1, R2]
    for step in STEPS:
        for asset in step:
            assert server.materialized(asset) == [R1, R2]
    assert lake.rows(R1)["laps"] == 8
    assert "catalog/files.parquet" in lake.objects()
    assert server.stale([R1, R2]) <= {"catalog/files", "catalog/tracks", "catalog/sessions", "catalog/manifest"}
    assert server.finished(server.launch(CATALOG_JOB)) == "SUCCESS"
    assert server.stale([R1, R2]) == set()


def test_one_changed_session_is_stale_and_no_other(ui: tuple[_Ui, DagsterServer]) -> None:
    lake, server = ui
    lake.race(R1, laps=5)
    lake.observe(R1, "2")
    assert server.stale([R1, R2]) == {f"lake/files {R1}"}
    assert server.finished(server.launch(SESSION_JOB, R1)) == "SUCCESS"
    assert server.finished(server.launch(CATALOG_JOB)) == "SUCCESS"
    assert server.stale([R1, R2]) == set()
    assert lake.rows(R1)["laps"] == 10


def test_one_asset_alone_is_materialized(ui: tuple[_Ui, DagsterServer]) -> None:
    lake, server = ui
    before = lake.session(R2)
    run = server.launch(SESSION_JOB, R2, assetSelection=[{"path": ["tables", "cars"]}])
    assert server.finished(run) == "SUCCESS"
    assert lake.session(R2) == before


def test_checks_alone_are_evaluated(ui: tuple[_Ui, DagsterServer]) -> None:
    _, server = ui
    check = {"assetKey": {"path": ["tables", "laps"]}, "name": "laps_do_not_overlap"}
    run = server.launch("__ASSET_JOB", R2, assetSelection=[], assetCheckSelection=[check])
    assert (server.finished(run), server.failures(run)) == ("SUCCESS", {})


@pytest.mark.parametrize("key", ["nowhere/R9", "../evil"])
def test_a_key_that_somebody_typed_fails_by_name_and_changes_nothing(ui: tuple[_Ui, DagsterServer], key: str) -> None:
    lake, server = ui
    before = lake.objects()
    server.add_partition(key)
    run = server.launch(SESSION_JOB, key)
    assert server.finished(run) == "FAILURE"
    ((step, text),) = server.failures(run).items()
    assert step == "lake__files"
    assert key in text
    assert lake.objects() == before


def test_a_session_that_is_no_partition_yet_is_refused_before_anything_is_written(
    ui: tuple[_Ui, DagsterServer],
) -> None:
    lake, server = ui
    lake.race("sebring/R1")
    before = lake.objects()
    run = server.launch(SESSION_JOB, "sebring/R1")
    assert server.finished(run) == "FAILURE"
    # Where a session was observed before, Dagster itself refuses the partition, and names it too.
    assert "sebring/R1" in server.failures(run)["lake__files"]
    assert lake.objects() == before


def test_steps_out_of_order_fail_by_name(ui: tuple[_Ui, DagsterServer]) -> None:
    lake, server = ui
    run = server.launch(SESSION_JOB, OTHER, assetSelection=[{"path": ["lake", "published"]}])
    assert server.finished(run) == "FAILURE"
    assert "Materialize the asset lake/session of this partition" in server.failures(run)["lake__published"]
    assert OTHER not in lake.published


def test_without_a_source_folder_copying_fails_and_deriving_works(
    ui: tuple[_Ui, DagsterServer], tmp_path: Path
) -> None:
    """Also a fresh home on a lake that another home has filled."""
    lake, _ = ui
    away = lake.source.rename(tmp_path / "away")
    try:
        with running_dagster(tmp_path / "home", lake.environment) as server:
            assert server.finished(server.launch(FIND_JOB)) == "SUCCESS"
            assert server.backfill(server.assets, [R2]) == "COMPLETED_FAILED"
            assert server.finished(server.launch(DERIVE_JOB, R2)) == "SUCCESS"
    finally:
        shutil.move(away, lake.source)
    assert R2 in lake.published

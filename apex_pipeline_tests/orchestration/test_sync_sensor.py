"""The sensor ``sync_source``, look by look: what is there decides, never what happened before.

The sessions are of the toy source, whose runs have five steps; e2e/test_daemon.py has real ones.
"""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from apex_pipeline import sources
from apex_pipeline.ingest.attempts import FIRST_PAUSE
from apex_pipeline.orchestration import sensors
from apex_pipeline.orchestration.job_names import CATALOG_JOB, PREPARE_JOB, REMOVE_JOB, SESSION_JOB
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY
from apex_pipeline_tests.orchestration.lake_copies import copied, made_once, replace_file
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.orchestration.ticks import Ticks, names, said, with_environment
from apex_pipeline_tests.sources.toy import PitStops

R1, R2, OTHER = "spa/R1", "spa/R2", "monza/R1"


class _Pits(LakeRuns):
    """A lake with the sessions of the toy source."""

    def race(self, key: str, laps: int = 4) -> None:
        self.write(
            key, {"pit_stops.csv": "".join(["car,lap,stop_s\n", *(f"{key},{lap},30\n" for lap in range(1, laps))])}
        )

    def file(self, key: str) -> Path:
        return self.source / key / "pit_stops.csv"


class _Synced(NamedTuple):
    """A lake of which the sensor has made everything, and where the sensor is."""

    lake: _Pits
    cursor: str | None


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Synced]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_registered", [PitStops()])
        with made_once(_Pits, tmp_path_factory) as lake:
            ticks = _with_three_sessions(lake)
            ticks.settle()
            yield _Synced(lake, ticks.cursor)


def _with_three_sessions(lake: _Pits) -> Ticks:
    for key in (R1, R2, OTHER):
        lake.race(key)
    return Ticks(lake)


@pytest.fixture
def lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Pits]:
    """A copy of the synced lake for a test that asks for ``synced``, else an empty one."""
    monkeypatch.setattr(sources, "_registered", [PitStops()])
    if "synced" in request.fixturenames:
        with copied(request.getfixturevalue("original").lake, tmp_path) as lake:
            yield lake
        return
    lake = _Pits(tmp_path)
    yield lake
    lake.close()


@pytest.fixture
def ticks(lake: _Pits) -> Ticks:
    """A source folder with three sessions, and an empty lake."""
    return _with_three_sessions(lake)


@pytest.fixture
def synced(lake: _Pits, original: _Synced) -> Ticks:
    """The same after the sensor has made everything."""
    ticks = Ticks(lake)
    ticks.cursor = original.cursor
    return ticks


def test_new_sessions_are_added_seen_twice_made_and_rolled_up(lake: _Pits, ticks: Ticks) -> None:
    first, _ = ticks.tick()
    assert (names(first), lake.partitions) == ([], [OTHER, R1, R2])
    assert "still being written, or have not been seen twice yet" in said(first)
    second, runs = ticks.tick()
    assert names(second) == [OTHER, R1, R2]
    assert all(runs)
    assert lake.published == [OTHER, R1, R2]
    third, runs = ticks.tick()
    assert (names(third), *map(bool, runs)) == ([CATALOG_JOB], True)
    idle, _ = ticks.tick()
    assert said(idle) == "Everything is up to date."


def test_every_look_names_what_it_cannot_use_of_the_source(lake: _Pits, ticks: Ticks) -> None:
    (lake.source / "back\\slash.csv").write_text("x")
    text = said(ticks.look())
    assert "Left out of the source, 1: back\\slash.csv (" in text
    assert "it contains a backslash" in text


@pytest.mark.soak
def test_the_run_of_a_session_has_all_its_tables_and_their_checks(ticks: Ticks) -> None:
    ticks.tick()
    _, (run, *_) = ticks.tick()
    assert list(run.made) == ["lake/files", "lake/session", "tables/pit_stops", "lake/published"]
    assert [check.passed for check in run.checks.values()] == [True]


@pytest.mark.soak
def test_raw_files_are_observed_when_a_run_of_them_is_requested(lake: _Pits, synced: Ticks) -> None:
    observed = lake.instance.fetch_observations(dg.AssetKey(["raw", "files"]), limit=10).records
    assert sorted(record.partition_key or "" for record in observed) == [OTHER, R1, R2]
    lake.race(R1, laps=5)
    synced.settle()
    assert len(lake.instance.fetch_observations(dg.AssetKey(["raw", "files"]), limit=10).records) == 4


def test_one_changed_byte_starts_its_session_and_no_other(lake: _Pits, synced: Ticks) -> None:
    before = {key: lake.session(key) for key in (R2, OTHER)}
    lake.race(R1, laps=5)
    assert synced.settle() == [R1, CATALOG_JOB]
    assert {key: lake.session(key) for key in (R2, OTHER)} == before
    assert lake.rows(R1) == {"pit_stops": 4}


def test_a_touched_file_starts_nothing(lake: _Pits, synced: Ticks) -> None:
    for path in lake.source.rglob("*.csv"):
        os.utime(path)
    assert synced.settle() == []


@pytest.mark.soak
def test_looking_again_never_starts_what_is_done(synced: Ticks) -> None:
    assert [names(synced.tick()[0]) for _ in range(5)] == [[]] * 5


@pytest.mark.soak
def test_a_file_that_is_uploaded_again_with_other_content_runs_once(lake: _Pits, synced: Ticks) -> None:
    """Complaint 6: a run key would block the corrected file for ever."""
    lake.race(R2, laps=6)
    assert synced.settle() == [R2, CATALOG_JOB]
    lake.race(R2, laps=4)
    assert synced.settle() == [R2, CATALOG_JOB]
    assert synced.settle() == []


def test_a_lost_cursor_repeats_nothing(synced: Ticks) -> None:
    synced.cursor = None
    assert synced.settle() == []
    synced.cursor = "not a cursor of ours"
    assert synced.settle() == []


@pytest.mark.soak
def test_the_sensor_of_a_fresh_home_adds_the_sessions_of_a_lake_and_derives_none_again(
    lake: _Pits, synced: Ticks
) -> None:
    lake.home()
    fresh = Ticks(lake)
    # The manifest is not known to this home yet, so its catalog is refreshed once.
    assert fresh.settle() == [CATALOG_JOB]
    assert lake.partitions == [OTHER, R1, R2]


def test_a_half_written_file_waits_until_it_stays_as_it_is(lake: _Pits, synced: Ticks) -> None:
    lake.race("spa/R3", laps=5)
    path = lake.file("spa/R3")
    whole = path.read_bytes()
    for share in (3, 2):
        path.write_bytes(whole[: len(whole) // share])
        result, _ = synced.tick()
        assert names(result) == []
        assert "Waiting: spa/R3: its files are still being written" in said(result)
    path.write_bytes(whole)
    assert synced.settle() == ["spa/R3", CATALOG_JOB]


@pytest.mark.soak
def test_a_half_written_file_does_not_hold_up_other_sessions(lake: _Pits, synced: Ticks) -> None:
    lake.race("spa/R3")
    lake.race("spa/R4")
    synced.tick()
    with lake.file("spa/R3").open("a") as stream:
        stream.write("spa,5")
    result, _ = synced.tick()
    assert names(result) == ["spa/R4"]


@pytest.mark.soak
def test_deleting_a_session_from_the_source_folder_removes_nothing(lake: _Pits, synced: Ticks) -> None:
    objects = lake.objects()
    shutil.rmtree(lake.source / "monza")
    assert synced.settle() == []
    assert lake.objects() >= {key for key in objects if key.startswith(("data/", "objects/", "tables/"))}
    assert (lake.partitions, lake.published) == ([OTHER, R1, R2], [OTHER, R1, R2])


@pytest.mark.soak
def test_a_renamed_session_is_added_under_its_new_name_and_the_old_one_stays_published(
    lake: _Pits, synced: Ticks
) -> None:
    shutil.move(lake.source / "monza", lake.source / "imola")
    synced.settle()
    assert OTHER in lake.published
    assert OTHER in lake.partitions


def test_a_partition_without_any_file_is_removed_if_it_is_one_of_many(lake: _Pits, synced: Ticks) -> None:
    """Complaints 8 and 9: what somebody typed does not stay red for ever."""
    lake.race("spa/R3")
    synced.settle()
    lake.instance.add_dynamic_partitions("sessions", ["../evil"])
    result, _ = synced.tick()
    assert "Removed: ../evil." in said(result)
    assert lake.partitions == [OTHER, R1, R2, "spa/R3"]


@pytest.mark.soak
@pytest.mark.parametrize("typed", [["nowhere/R9"], ["a,b", "c...d", "", "/abs"]])
def test_more_than_a_fifth_of_the_partitions_is_removed_only_on_confirmation(
    lake: _Pits, synced: Ticks, typed: list[str]
) -> None:
    lake.instance.add_dynamic_partitions("sessions", typed)
    result, _ = synced.tick()
    assert result.dynamic_partitions_requests == []
    assert f"launch the job {REMOVE_JOB}" in said(result)
    assert set(typed) < set(lake.partitions)
    assert lake.run(REMOVE_JOB)
    assert lake.partitions == [OTHER, R1, R2]
    assert said(synced.look()) == "Everything is up to date."


@pytest.mark.soak
def test_a_lake_that_is_not_mounted_removes_no_session(lake: _Pits, synced: Ticks) -> None:
    shutil.move(lake.settings.lake_dir, lake.source.parent / "away")
    shutil.move(lake.source, lake.source.parent / "source-away")
    result, _ = synced.tick()
    assert names(result) == []
    assert "does not exist" in said(result)
    assert lake.partitions == [OTHER, R1, R2]


@pytest.mark.soak
def test_a_session_under_way_is_not_started_again(lake: _Pits, ticks: Ticks) -> None:
    ticks.tick()
    run = lake.instance.create_run_for_job(
        lake.definitions.resolve_job_def(SESSION_JOB), tags={"dagster/partition": R1}, status=DagsterRunStatus.STARTED
    )
    result, _ = ticks.tick()
    assert names(result) == [OTHER, R2]
    lake.instance.delete_run(run.run_id)
    assert R1 in ticks.settle()


@pytest.mark.soak
def test_a_look_starts_no_more_than_its_budget_and_the_next_goes_on_from_there(lake: _Pits, ticks: Ticks) -> None:
    with_environment(lake, sensor_budget=2)
    ticks.tick()
    assert names(ticks.tick()[0]) == [OTHER, R1]
    assert names(ticks.tick()[0]) == [R2]
    assert ticks.settle() == [CATALOG_JOB]


class TestFailures:
    """Complaint 12: a failed session neither runs for ever nor is forgotten."""

    @pytest.fixture
    def failed(self, lake: _Pits, synced: Ticks) -> Ticks:
        """The sensor after a session with an file that cannot be read has failed."""
        lake.race("spa/R3")
        lake.file("spa/R3").write_text("car,lap,stop_s\n7,first,30\n")
        synced.tick()
        result, (run, *_) = synced.tick()
        assert names(result) == ["spa/R3"]
        assert not run, run.made
        return synced

    def test_it_waits_until_its_input_changes(self, lake: _Pits, failed: Ticks) -> None:
        assert "spa/R3" not in failed.settle()
        assert "Waiting: spa/R3: it failed, and waits until its files or the code change." in said(failed.tick()[0])
        lake.race("spa/R3")
        assert failed.settle() == ["spa/R3", CATALOG_JOB]
        assert "spa/R3" in lake.published

    @pytest.mark.soak
    def test_it_runs_again_once_after_a_change_of_the_code(
        self, failed: Ticks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failed.settle()
        monkeypatch.setattr("apex_pipeline.ingest.automation._program_version", lambda: "corrected")
        assert [name for name in failed.settle() if name == "spa/R3"] == ["spa/R3"]

    @pytest.mark.soak
    def test_the_other_sessions_go_on_and_the_catalog_is_not_held_up(self, lake: _Pits, failed: Ticks) -> None:
        failed.settle()
        lake.race(R1, laps=5)
        assert failed.settle() == [R1, CATALOG_JOB]

    def test_a_run_that_was_stopped_by_hand_is_left_alone(self, lake: _Pits, ticks: Ticks) -> None:
        ticks.tick()
        request = (ticks.look().run_requests or [])[0]
        run = lake.instance.create_run_for_job(
            lake.definitions.resolve_job_def(SESSION_JOB), tags=dict(request.tags), status=DagsterRunStatus.CANCELING
        )
        lake.instance.report_run_canceled(run)
        result, _ = ticks.tick()
        assert OTHER not in names(result)
        assert names(result) == [R1, R2]

    def test_a_run_whose_process_died_is_started_again_after_a_pause(
        self, lake: _Pits, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ticks.tick()
        request = (ticks.look().run_requests or [])[0]
        run = lake.instance.create_run_for_job(
            lake.definitions.resolve_job_def(SESSION_JOB), tags=dict(request.tags), status=DagsterRunStatus.STARTED
        )
        lake.instance.report_run_failed(run, "killed")
        assert OTHER not in names(ticks.look())
        later = datetime.now(UTC) + FIRST_PAUSE + timedelta(seconds=1)

        monkeypatch.setattr(sensors, "datetime", SimpleNamespace(now=lambda _: later))
        ticks.look()  # its files are looked at twice again
        assert OTHER in names(ticks.look())

    @pytest.mark.soak
    def test_every_requested_run_is_repeated_for_crashes_only(self, ticks: Ticks) -> None:
        ticks.tick()
        for request in ticks.look().run_requests or ():
            assert request.tags["dagster/max_retries"] == "2"
            assert request.tags["dagster/retry_on_asset_or_op_failure"] == "false"
            assert request.run_key is None


def test_damaged_tables_are_mended_before_sessions_are_worked_on(lake: _Pits, synced: Ticks) -> None:
    (table,) = lake.settings.lake_dir.glob("tables/pit_stops/**/track=spa/session=R1/*.parquet")
    replace_file(table, b"damaged")
    result, (run,) = synced.tick()
    assert names(result) == [PREPARE_JOB]
    assert run, run.failures
    assert PREPARE_JOB not in synced.settle()
    assert table.read_bytes() != b"damaged"


@pytest.mark.soak
def test_a_damaged_pointer_is_repaired(lake: _Pits, synced: Ticks) -> None:
    pointer = lake.settings.lake_dir / CURRENT_SNAPSHOT_KEY
    replace_file(pointer, b"damaged")
    result, (run,) = synced.tick()
    assert names(result) == [PREPARE_JOB]
    assert run, run.failures
    assert synced.settle() in ([], [CATALOG_JOB])
    assert lake.published == [OTHER, R1, R2]


@pytest.mark.soak
def test_the_manifest_is_confirmed_twice_a_day_while_all_is_up_to_date(
    lake: _Pits, synced: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def confirmed() -> bool:
        return any(isinstance(event, dg.AssetMaterialization) for event in synced.look().asset_events)

    assert not confirmed()
    monkeypatch.setattr(sensors, "_CONFIRMED_EVERY", timedelta(0))
    assert confirmed()
    lake.race(R1, laps=5)
    assert not confirmed()

"""The record of the files without a session, when several processes change it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from apex_pipeline.ingest.session_work import copy_work, unassigned_work_of, write_unassigned_work
from apex_pipeline.lake.forgotten import ForgottenFile, change_forgotten
from apex_pipeline.lake.records import change_unassigned, read_unassigned
from apex_pipeline.storage.layout import UNASSIGNED_RECORD_KEY
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.ingest.lake_in_step import LakeInStep, lap_csv


@pytest.fixture
def lake(tmp_path: Path, store: LocalStore) -> LakeInStep:
    return LakeInStep(tmp_path / "source", store)


def _paths(lake: LakeInStep) -> list[str]:
    return [file.path for file in read_unassigned(lake.store).files]


def test_what_another_sync_has_recorded_since_the_plan_stays(lake: LakeInStep) -> None:
    lake.write("ring/R1_ring_lap_start.csv", lap_csv("R1"))
    lake.write("a_notes.csv", "x,y\n1,2\n")
    older = unassigned_work_of(lake.discover())
    lake.write("b_notes.csv", "x,y\n3,4\n")
    lake.sync()
    copy_work(older, lake.store, lake.digest_cache)
    write_unassigned_work(older, lake.store)
    assert _paths(lake) == ["a_notes.csv", "b_notes.csv"]


def test_what_was_taken_out_since_the_plan_does_not_come_back(lake: LakeInStep) -> None:
    lake.write("ring/R1_ring_lap_start.csv", lap_csv("R1"))
    lake.write("a_notes.csv", "x,y\n1,2\n")
    older = unassigned_work_of(lake.discover())
    copy_work(older, lake.store, lake.digest_cache)
    change_forgotten(lake.store, [("a_notes.csv", ForgottenFile(None, datetime.now(UTC)))])
    write_unassigned_work(older, lake.store)
    assert _paths(lake) == []


def test_a_damaged_record_is_written_again(lake: LakeInStep) -> None:
    lake.write("a_notes.csv", "x,y\n1,2\n")
    lake.write("ring/R1_ring_lap_start.csv", lap_csv("R1"))
    lake.sync()
    lake.damage(UNASSIGNED_RECORD_KEY, b"{")
    change_unassigned(lake.store, lambda files: files)
    assert _paths(lake) == []


def test_nothing_is_written_if_nothing_changes(lake: LakeInStep) -> None:
    change_unassigned(lake.store, lambda files: files)
    assert lake.store.head(UNASSIGNED_RECORD_KEY) is None

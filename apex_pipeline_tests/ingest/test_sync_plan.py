"""Tests of the decision what a sync has to do: it depends only on what is there now, and avoids needless work."""

import os
from pathlib import Path

import pytest

from apex_pipeline.errors import SourceError
from apex_pipeline.ingest.session_work import record_of, work_of
from apex_pipeline.ingest.sync_plan import SyncPlan, list_lake, plan_sync
from apex_pipeline.lake.derived import add_derived
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.records import require_record
from apex_pipeline.lake.rollups import list_records, load_roll_ups
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, object_key, published_session_key, record_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.ingest.lake_in_step import LakeInStep, lap_csv
from apex_pipeline_tests.lake.tables import NOON, finish_session, put_objects, session_contents

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")
_START, _END = "spa/R1/R1_spa_lap_start.csv", "spa/R1/R1_spa_lap_end.csv"


@pytest.fixture
def lake(tmp_path: Path, store: LocalStore) -> LakeInStep:
    lake = LakeInStep(tmp_path / "source", store)
    lake.write(_START, lap_csv("R1"))
    lake.write("spa/R2/R2_spa_lap_start.csv", lap_csv("R2"))
    return lake


def _plan(lake: LakeInStep, *, with_source: bool = True) -> SyncPlan:
    folder = lake.folder if with_source else None
    return plan_sync(lake.store, lake.settings, folder, lake.digest_cache, list_lake(lake.store))


@pytest.fixture
def synced(lake: LakeInStep) -> LakeInStep:
    lake.sync()
    for key in (_R1, _R2):
        finish_session(lake.store, key)
    return lake


def test_everything_is_due_at_first(lake: LakeInStep) -> None:
    assert dict(_plan(lake).due) == {_R1: "new or changed files", _R2: "new or changed files"}


@pytest.mark.parametrize("name", [".DS_Store", "ring.json", "ring/R1.json.bak", "a b/R1.json"])
def test_a_foreign_file_among_the_derived_lists_is_passed_over(synced: LakeInStep, name: str) -> None:
    (Path(synced.store.uri_of("catalog/derived")) / name).parent.mkdir(parents=True, exist_ok=True)
    (Path(synced.store.uri_of("catalog/derived")) / name).write_text("{}", encoding="utf-8")
    assert _plan(synced).is_idle


def test_a_record_that_got_an_earlier_time_is_noticed(synced: LakeInStep) -> None:
    """The clock was set back, or a backup was restored: the version counts, not the time."""
    synced.write(_START, lap_csv("R1", 8))
    synced.apply(synced.discover())
    record = Path(synced.store.uri_of(record_key(str(_R1))))
    os.utime(record, (1, 1))
    recorded = synced.record(_R1)
    assert recorded is not None
    rows = load_roll_ups(synced.store, list_records(synced.store)).sessions.to_pylist()
    assert recorded.inputs_version in {row["inputs_version"] for row in rows}


def test_nothing_is_due_after_a_sync(synced: LakeInStep) -> None:
    plan = _plan(synced)
    assert plan.is_idle
    assert not plan.due
    assert plan.statuses == {"ready": 2}


def test_a_changed_file_makes_its_session_due_and_no_other(synced: LakeInStep) -> None:
    synced.write(_START, lap_csv("R1", 8))
    assert dict(_plan(synced).due) == {_R1: "new or changed files"}


def test_copied_but_underived_files_stay_due(synced: LakeInStep) -> None:
    synced.write(_START, lap_csv("R1", 8))
    synced.sync()
    assert dict(_plan(synced).due) == {_R1: "derived from other files"}


def test_a_session_in_the_lake_alone_is_due(synced: LakeInStep) -> None:
    synced.store.write_bytes("data/ring/R3_ring_lap_start.csv", lap_csv("R3").encode())
    plan = _plan(synced, with_source=False)
    assert dict(plan.due) == {SessionKey("ring", "R3"): "not published yet"}


def test_a_table_that_is_lost_with_its_copy_makes_its_session_due(synced: LakeInStep) -> None:
    snapshot = read_current(synced.store)
    assert snapshot is not None
    record = snapshot.session(_R1)
    assert record is not None
    synced.drop(object_key(record.tables["laps"].sha256))
    assert not _plan(synced).due
    assert set(_plan(synced).damage) == {_R1}
    synced.drop(record.tables["laps"].key)
    assert dict(_plan(synced).due) == {_R1: "damaged tables"}


def test_an_unfinished_publication_is_due(synced: LakeInStep) -> None:
    record = require_record(synced.store, _R1)
    tables = put_objects(synced.store, _R1, session_contents(_R1))
    add_derived(synced.store, _R1, record.inputs_version, tables)
    assert dict(_plan(synced).due) == {_R1: "an unfinished run"}


def test_what_is_published_is_intact_unless_a_run_was_left_unfinished_or_something_is_damaged(
    synced: LakeInStep,
) -> None:
    found = _plan(synced).intact(_R1)
    assert found is not None
    assert found.key == _R1
    synced.drop(found.tables["laps"].key)
    assert _plan(synced).intact(_R1) is None
    finish_session(synced.store, _R1)
    record = require_record(synced.store, _R1)
    add_derived(synced.store, _R1, record.inputs_version, {})
    assert _plan(synced).intact(_R1) is None
    assert _plan(synced).intact(_R2) is not None


def test_a_damaged_record_that_the_listing_does_not_show_is_not_intact(synced: LakeInStep) -> None:
    plan, snapshot = _plan(synced), read_current(synced.store)
    assert snapshot is not None
    entry = snapshot.entry(_R1)
    assert entry is not None
    synced.store.write_bytes(published_session_key(entry.record), b"{}")
    assert plan.intact(_R1) is None


def test_a_plan_holds_until_the_session_is_recorded_or_published_otherwise(synced: LakeInStep) -> None:
    plan, snapshot = _plan(synced), read_current(synced.store)
    assert snapshot is not None
    session = snapshot.session(_R1)
    assert session is not None
    assert plan.still_holds(synced.store, _R1)

    publish(synced.store, {_R1: Change(None)}, NOON, "forget")
    assert not plan.still_holds(synced.store, _R1)
    assert plan.still_holds(synced.store, _R2)
    publish(synced.store, {_R1: Change(session)}, NOON, "rollback")
    assert plan.still_holds(synced.store, _R1)

    synced.write(_START, lap_csv("R1", 8))
    synced.sync()
    assert not plan.still_holds(synced.store, _R1)


def test_snapshots_without_a_pointer_are_noticed(synced: LakeInStep) -> None:
    assert not _plan(synced).has_lost_pointer
    synced.store.delete(CURRENT_SNAPSHOT_KEY)
    assert _plan(synced).has_lost_pointer


def test_a_rolled_back_session_is_not_published_again_until_its_files_change(synced: LakeInStep) -> None:
    snapshot = read_current(synced.store)
    assert snapshot is not None
    old = snapshot.session(_R1)
    assert old is not None
    synced.write(_START, lap_csv("R1", 8))
    synced.sync()
    finish_session(synced.store, _R1)
    present = require_record(synced.store, _R1).inputs_version
    publish(synced.store, {_R1: Change(old, rolled_back_from=present)}, NOON, "rollback")
    assert not _plan(synced).due
    synced.write(_START, lap_csv("R1", 9))
    assert dict(_plan(synced).due) == {_R1: "new or changed files"}


def test_a_missing_raw_file_blocks_its_session_alone(synced: LakeInStep) -> None:
    synced.remove(_START)
    synced.drop_raw(_START)
    synced.write("spa/R2/R2_spa_lap_start.csv", lap_csv("R2", 8))
    plan = _plan(synced)
    assert set(plan.due) == {_R2}
    assert "gone from the lake" in plan.blocked[_R1]


def test_a_source_file_that_cannot_be_read_blocks_its_session_alone(
    synced: LakeInStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced.write(_END, lap_csv("R1", 2))
    synced.write("spa/R2/R2_spa_lap_end.csv", lap_csv("R2", 2))

    def refuse(file: object, length: int) -> bytes:
        if str(file).find("R1_spa_lap_end") > 0:
            raise SourceError("R1_spa_lap_end.csv cannot be read: Input/output error.", "Check the disk.")
        return (synced.root / "spa/R2/R2_spa_lap_end.csv").read_bytes()[:length]

    monkeypatch.setattr("apex_pipeline.ingest.source_folder.LocalFile.read_head", refuse)
    plan = _plan(synced)
    assert set(plan.due) == {_R2}
    assert plan.blocked == {_R1: "R1_spa_lap_end.csv cannot be read: Input/output error. Check the disk."}


def test_a_folder_without_race_files_is_refused_before_anything_is_written(lake: LakeInStep) -> None:
    for path in (_START, "spa/R2/R2_spa_lap_start.csv"):
        lake.remove(path)
    lake.write("holiday.txt", "sun")
    with pytest.raises(SourceError, match=r"No race files in .*holiday\.txt"):
        _plan(lake)
    assert list(lake.store.list()) == []


def test_the_work_on_an_unknown_session_is_refused_with_the_known_ones(synced: LakeInStep) -> None:
    with pytest.raises(SourceError, match=r"No file of the session nowhere/R9.*spa/R1, spa/R2"):
        work_of(SessionKey("nowhere", "R9"), synced.discover())


def test_the_work_on_an_unchanged_session_has_its_recorded_files(synced: LakeInStep) -> None:
    work = work_of(_R1, synced.discover())
    assert record_of(work) == synced.record(_R1)
    assert not work.copies


def test_a_damaged_roll_up_alone_makes_the_roll_ups_stale(synced: LakeInStep) -> None:
    synced.damage("catalog/files.parquet", b"")
    plan = _plan(synced)
    assert not plan.due
    assert plan.has_stale_roll_ups


def test_a_missing_tracks_roll_up_makes_the_roll_ups_stale(synced: LakeInStep) -> None:
    synced.drop("catalog/tracks.parquet")
    assert _plan(synced).has_stale_roll_ups

"""Tests the plan of a sync: it compares by content, depends only on the current state, and avoids needless work."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from apex_pipeline.ingest.catalog import (
    add_ignored,
    build_files_table,
    build_sessions_table,
    build_tracks_table,
    with_rules_version,
)
from apex_pipeline.ingest.copy import copy_session
from apex_pipeline.ingest.plan import CopyPlan, is_catalog_stale, plan_copies, session_key_of, sessions_to_derive
from apex_pipeline.ingest.quarantine import sync_quarantine
from apex_pipeline.ingest.source_folder import SourceFolder, identify, scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.sources import rules_version
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import QUARANTINE_PREFIX, raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey

_HEADER = "expire_at,lap,meta_event,meta_session,meta_source,meta_time,outing,timestamp,vehicle_id\n"
_ROW = ",1,I_R06_2025-09-07,{session},k,2025-09-06T18:40:41.927Z,0,2025-09-06T18:40:41.775Z,GR86-002-0\n"
_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")


class PlanHarness:
    """A source folder and a lake, with the steps of a sync as separate methods."""

    def __init__(self, folder: Path, store: LocalStore) -> None:
        self.root = folder
        self.store = store
        self.digest_cache = DigestCache()
        self.files: pa.Table | None = None
        self.tracks_file: Path | None = None

    def write(self, path: str, content: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(content, encoding="utf-8")

    @property
    def folder(self) -> SourceFolder:
        return scan_folder(self.root)

    def plan(self) -> CopyPlan:
        listing = {item.key: item for item in self.store.list()}
        return plan_copies(self.folder, identify(self.folder, load_settings()), listing, self.files, self.digest_cache)

    def is_stale(self) -> bool:
        listing = {item.key: item for item in self.store.list()}
        return is_catalog_stale(
            listing,
            self.files,
            identify(self.folder, load_settings()),
            rules_version(load_settings(tracks_file=self.tracks_file)),
        )

    def sync(self) -> None:
        for key in {session_key_of(item) for item in identify(self.folder, load_settings())} | {None}:
            copy_session(key, self.store, self.folder, lambda f: identify(f, load_settings()), self.digest_cache)
        files = add_ignored(
            build_files_table(self.store, load_settings(), self.files), identify(self.folder, load_settings())
        )
        self.files = with_rules_version(files, rules_version(load_settings(tracks_file=self.tracks_file)))


@pytest.fixture
def harness(tmp_path: Path, store: LocalStore) -> PlanHarness:
    harness = PlanHarness(tmp_path / "source", store)
    for race in ("R1", "R2"):
        harness.write(f"spa/{race}_spa_lap_start.csv", _HEADER + _ROW.format(session=race))
        harness.write(f"spa/{race}_spa_lap_end.csv", _HEADER + _ROW.format(session=race) * 2)
    harness.write("spa/.DS_Store", "x")
    harness.write("spa/Drivers Championship.csv", "Pos,Name\n1,A\n")
    return harness


def _paths(plan: CopyPlan) -> set[str]:
    chosen = [*plan.without_session, *(file for files in plan.by_session.values() for file in files)]
    return {file.path for file in chosen}


def test_a_new_folder_is_copied_by_session_without_ignored_files(harness: PlanHarness) -> None:
    plan = harness.plan()
    assert {key: len(files) for key, files in plan.by_session.items()} == {_R1: 2, _R2: 2}
    assert [file.path for file in plan.without_session] == ["spa/Drivers Championship.csv"]
    assert (plan.file_count, plan.unchanged, plan.replaced) == (5, 0, ())
    assert plan.bytes == harness.folder.bytes - 1


@pytest.mark.req("A-049")
def test_after_a_sync_there_is_nothing_to_copy_and_the_catalog_is_not_stale(harness: PlanHarness) -> None:
    harness.sync()
    assert (harness.plan().file_count, harness.plan().unchanged) == (0, 5)
    assert not harness.is_stale()


@pytest.mark.req("A-049")
def test_a_touched_file_is_not_copied_again(harness: PlanHarness) -> None:
    harness.sync()
    os.utime(harness.root / "spa/R1_spa_lap_end.csv", (2_000_000_000, 2_000_000_000))
    assert harness.plan().file_count == 0


@pytest.mark.req("A-049")
@pytest.mark.parametrize("mtime", [1_000_000_000, 2_000_000_000, None])
def test_a_file_with_one_changed_byte_is_copied_regardless_of_its_mtime(
    harness: PlanHarness, mtime: int | None
) -> None:
    harness.sync()
    path = harness.root / "spa/R1_spa_lap_end.csv"
    before = path.stat()
    path.write_text(path.read_text(encoding="utf-8").replace("GR86-002-0", "GR86-002-1"), encoding="utf-8")
    unchanged = (before.st_atime_ns, before.st_mtime_ns)
    os.utime(path, ns=unchanged if mtime is None else (mtime * 10**9, mtime * 10**9))
    harness.digest_cache = DigestCache()
    assert _paths(harness.plan()) == {"spa/R1_spa_lap_end.csv"}
    assert harness.plan().replaced == ("spa/R1_spa_lap_end.csv",)


def test_an_object_overwritten_in_the_lake_is_copied_again(harness: PlanHarness) -> None:
    harness.sync()
    harness.store.write_bytes(raw_key("spa/R2_spa_lap_end.csv"), b"other")
    assert _paths(harness.plan()) == {"spa/R2_spa_lap_end.csv"}
    assert harness.is_stale()


def test_an_object_deleted_from_the_lake_is_copied_again(harness: PlanHarness) -> None:
    harness.sync()
    harness.store.delete(raw_key("spa/R2_spa_lap_end.csv"))
    assert _paths(harness.plan()) == {"spa/R2_spa_lap_end.csv"}


def test_a_changed_identification_rule_makes_the_catalog_stale(harness: PlanHarness, tmp_path: Path) -> None:
    harness.sync()
    harness.tracks_file = tmp_path / "tracks.yaml"
    assert not harness.is_stale()
    harness.tracks_file.write_text("tracks: [{slug: spa_francorchamps, aliases: [spa]}]", encoding="utf-8")
    assert harness.is_stale()


def test_a_new_ignored_file_makes_the_catalog_stale_and_copies_nothing(harness: PlanHarness) -> None:
    harness.sync()
    harness.write("spa/map.pdf", "%PDF")
    assert harness.plan().file_count == 0
    assert harness.is_stale()


def test_a_lake_written_by_another_tool_has_the_same_catalog(harness: PlanHarness, tmp_path: Path) -> None:
    harness.sync()
    assert harness.files is not None
    other = LocalStore(tmp_path / "other", DigestCache())
    other.prepare_for_writing()
    for item in harness.store.list("data/"):
        other.write_bytes(item.key, harness.store.read_bytes(item.key))
    rebuilt = build_files_table(other, load_settings(), None).drop_columns(["store_tag"])
    synced = harness.files.filter(pa.compute.is_valid(harness.files["store_tag"])).drop_columns(["store_tag"])
    assert rebuilt.to_pylist() == synced.to_pylist()


def test_digests_of_unchanged_objects_are_not_requested_again(
    harness: PlanHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.sync()
    monkeypatch.setattr(harness.store, "head", lambda key: pytest.fail(f"HEAD of {key}"))
    assert build_files_table(harness.store, load_settings(), harness.files).num_rows == 6


def test_tracks_and_sessions_count_only_files_in_use(harness: PlanHarness) -> None:
    harness.write("spa/R1_spa_lap_time.csv", _HEADER + _ROW.format(session="R2"))
    harness.sync()
    (track,) = build_tracks_table(harness.files).to_pylist()
    assert (track["track"], track["track_name"], track["sessions"], track["files"]) == ("spa", "Spa", 2, 4)
    first, second = build_sessions_table(harness.files).to_pylist()
    assert (first["session"], first["session_type"], first["files"], first["quarantined_files"]) == ("R1", "race", 2, 1)
    assert first["kinds"] == ["lap_end", "lap_start"]
    assert "telemetry" in first["missing_kinds"]
    assert first["event_code"] == "I_R06_2025-09-07"
    assert second["quarantined_files"] == 0
    assert first["inputs_version"] != second["inputs_version"]


def test_a_session_is_derived_again_only_when_its_own_files_change(harness: PlanHarness) -> None:
    harness.sync()
    before = {row["session"]: row["inputs_version"] for row in build_sessions_table(harness.files).to_pylist()}
    harness.write("spa/R2_spa_lap_end.csv", _HEADER + _ROW.format(session="R2") * 3)
    harness.digest_cache = DigestCache()
    harness.sync()
    after = {row["session"]: row["inputs_version"] for row in build_sessions_table(harness.files).to_pylist()}
    assert after["R1"] == before["R1"]
    assert after["R2"] != before["R2"]


def test_every_session_is_derived_when_nothing_is_published(harness: PlanHarness) -> None:
    harness.sync()
    assert sessions_to_derive(harness.files, None, {}) == [_R1, _R2]


def test_a_quarantine_reason_is_written_once_and_removed_when_the_file_is_fixed(harness: PlanHarness) -> None:
    harness.write("spa/R1_spa_lap_time.csv", _HEADER + _ROW.format(session="R2"))
    harness.sync()
    assert sync_quarantine(harness.store, harness.files) == 1
    (reason,) = harness.store.list(QUARANTINE_PREFIX)
    assert reason.key == "quarantine/spa/R1_spa_lap_time.csv.reason.json"
    assert b"meta_session says R2" in harness.store.read_bytes(reason.key)
    sync_quarantine(harness.store, harness.files)
    assert [item.tag for item in harness.store.list(QUARANTINE_PREFIX)] == [reason.tag]
    harness.write("spa/R1_spa_lap_time.csv", _HEADER + _ROW.format(session="R1"))
    harness.digest_cache = DigestCache()
    harness.sync()
    assert sync_quarantine(harness.store, harness.files) == 0
    assert list(harness.store.list(QUARANTINE_PREFIX)) == []

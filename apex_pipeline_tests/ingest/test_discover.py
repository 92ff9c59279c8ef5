"""Tests of the discovery: incremental, equal to one from scratch, and nothing recorded disappears unnoticed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.ingest.discover import Discovery
from apex_pipeline.ingest.source_folder import LocalFile
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key, record_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.ingest.lake_in_step import LakeInStep, lap_csv

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")
_SECTIONS = "NUMBER; LAP_NUMBER; LAP_TIME\n13;1;{time}\n"


@pytest.fixture
def lake(tmp_path: Path, store: LocalStore) -> LakeInStep:
    return LakeInStep(tmp_path / "source", store)


def _opened(
    lake: LakeInStep, monkeypatch: pytest.MonkeyPatch, *, with_source: bool = True
) -> tuple[Discovery, set[str]]:
    """Return a discovery, and the names of the files whose first bytes it read."""
    opened: set[str] = set()
    read_source, read_object = LocalFile.read_head, LocalStore.read_head

    def spy_on_source(self: LocalFile, length: int) -> bytes:
        opened.add(self.path.rpartition("/")[2])
        return read_source(self, length)

    def spy_on_object(self: LocalStore, key: str, length: int) -> bytes:
        opened.add(key.rpartition("/")[2])
        return read_object(self, key, length)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFile, "read_head", spy_on_source)
        patch.setattr(LocalStore, "read_head", spy_on_object)
        return lake.discover(with_source=with_source), opened


def test_a_first_discovery_finds_sessions_and_what_to_copy(lake: LakeInStep) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.write("spa/R2/R2_spa_lap_start.csv", lap_csv("R2"))
    lake.write("notes.txt", "nothing to see")
    found = lake.discover()
    assert found.sessions == [_R1, _R2]
    assert {key: len(files) for key, files in found.copies.by_session.items()} == {_R1: 1, _R2: 1}


def test_a_second_discovery_changes_nothing_and_opens_no_file(
    lake: LakeInStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.write("readme.pdf", "%PDF")
    lake.write("spa/unknown.csv", "a,b\n1,2\n")
    lake.sync()
    found, opened = _opened(lake, monkeypatch)
    assert found.is_unchanged
    assert not opened


def test_one_new_file_opens_no_known_file(lake: LakeInStep, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        lake.write(f"spa/R{number}/R{number}_spa_lap_start.csv", lap_csv(f"R{number}"))
        lake.write(f"ring/R{number}/R{number}_ring_lap_start.csv", lap_csv(f"R{number}", 7))
    lake.sync()
    lake.write("spa/R2/R2_spa_lap_end.csv", lap_csv("R2", 12))
    found, opened = _opened(lake, monkeypatch)
    assert opened == {"R2_spa_lap_end.csv"}
    assert set(found.changed) == {_R2}
    assert [file.path for file in found.copies.files] == ["spa/R2/R2_spa_lap_end.csv"]


def test_a_lake_that_somebody_else_filled_gives_the_same_records(lake: LakeInStep, tmp_path: Path) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    other = LakeInStep(tmp_path / "none", LocalStore(tmp_path / "other", DigestCache()))
    other.store.prepare_for_writing()
    for path in ("spa/R1/R1_spa_lap_start.csv",):
        other.store.write_bytes(raw_key(path), (lake.root / path).read_bytes())
    found = other.discover(with_source=False)
    assert [file.sha256 for file in found.changed[_R1]] == [file.sha256 for file in lake.record(_R1).files]  # type: ignore[union-attr]


def test_touched_files_are_not_copied_and_change_no_record(lake: LakeInStep) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    os.utime(lake.root / "spa/R1/R1_spa_lap_start.csv", (1, 1))
    assert lake.discover().is_unchanged


def test_a_lake_copied_with_new_times_is_recorded_again_and_not_copied_in_again(
    lake: LakeInStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    before = lake.record(_R1)
    os.utime(lake.store.uri_of(raw_key("spa/R1/R1_spa_lap_start.csv")), (1, 1))
    found = lake.discover()
    assert found.copies.file_count == 0
    lake.apply(found)
    after = lake.record(_R1)
    assert before is not None
    assert after is not None
    assert after.inputs_version == before.inputs_version
    assert lake.discover().is_unchanged


def test_a_raw_file_gone_from_the_lake_is_named_and_its_record_stays(lake: LakeInStep) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.write("spa/R1/R1_spa_lap_end.csv", lap_csv("R1", 2))
    lake.sync()
    lake.remove("spa/R1/R1_spa_lap_end.csv")
    lake.drop_raw("spa/R1/R1_spa_lap_end.csv")
    found = lake.discover()
    assert found.missing == {_R1: ("spa/R1/R1_spa_lap_end.csv",)}
    assert _R1 not in found.changed


def test_a_raw_file_gone_from_the_lake_and_still_in_the_source_is_copied_again(lake: LakeInStep) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    before = lake.record(_R1)
    lake.drop_raw("spa/R1/R1_spa_lap_start.csv")
    found = lake.sync()
    assert [file.path for file in found.copies.files] == ["spa/R1/R1_spa_lap_start.csv"]
    after = lake.record(_R1)
    assert before is not None
    assert after is not None
    assert after.inputs_version == before.inputs_version


def test_a_moved_raw_file_is_followed(lake: LakeInStep) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    lake.write("spa/R1/renamed_R1_spa_lap_start.csv", lap_csv("R1"))
    lake.remove("spa/R1/R1_spa_lap_start.csv")
    lake.drop_raw("spa/R1/R1_spa_lap_start.csv")
    found = lake.discover()
    assert not found.missing
    assert [file.path for file in found.changed[_R1]] == ["spa/R1/renamed_R1_spa_lap_start.csv"]


def test_a_correction_beats_the_official_file_that_left_the_source(lake: LakeInStep) -> None:
    old, new = (
        "spa/R1/23_AnalysisEnduranceWithSections_Race 1.CSV",
        "spa/R1/23_AnalysisEnduranceWithSections_Race 1_New.CSV",
    )
    lake.write(old, _SECTIONS.format(time="2:25.913"))
    lake.sync()
    lake.write(new, _SECTIONS.format(time="2:25.437"))
    lake.remove(old)
    found = lake.sync()
    assert found.vanished == (old,)
    assert {path: row["status"] for path, row in lake.rows().items()} == {old: "ignored", new: "ready"}
    assert "no longer in the source folder" in str(lake.rows()[old]["reason"])
    assert lake.discover().is_unchanged
    # It comes back if it comes back.
    lake.write(old, _SECTIONS.format(time="2:25.913"))
    lake.sync()
    assert {row["status"] for row in lake.rows().values()} == {"ready"}


def test_a_file_that_lost_does_not_come_back_where_there_is_no_source_folder(lake: LakeInStep) -> None:
    old, new = (
        "spa/R1/23_AnalysisEnduranceWithSections_Race 1.CSV",
        "spa/R1/23_AnalysisEnduranceWithSections_R1_New.CSV",
    )
    lake.write(old, _SECTIONS.format(time="2:25.913"))
    lake.sync()
    lake.write(new, _SECTIONS.format(time="2:25.437"))
    lake.remove(old)
    lake.sync()
    lake.store.write_bytes(raw_key("spa/R1/R1_spa_lap_start.csv"), lap_csv("R1").encode())
    lake.sync(with_source=False)
    assert {path: row["status"] for path, row in lake.rows().items()} == {
        old: "ignored",
        new: "ready",
        "spa/R1/R1_spa_lap_start.csv": "ready",
    }


def test_a_lap_file_that_left_the_source_stays_in_use(lake: LakeInStep) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    lake.write("spa/R1/R1_spa_lap_start_2.csv", lap_csv("R1", 2))
    lake.remove("spa/R1/R1_spa_lap_start.csv")
    lake.sync()
    assert {row["status"] for row in lake.rows().values()} == {"ready"}


def test_a_second_copy_is_recognised_across_two_syncs(lake: LakeInStep) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    lake.write("spa/copies/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    ignored = [row for row in lake.rows().values() if row["status"] == "ignored"]
    assert ["byte for byte" in str(row["reason"]) for row in ignored] == [True]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key": "../x"}', b"[" * 200_000])
def test_a_damaged_record_is_made_again(lake: LakeInStep, damage: bytes) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    before = lake.record(_R1)
    lake.damage(record_key(str(_R1)), damage)
    lake.sync()
    assert lake.record(_R1) == before


@pytest.mark.parametrize("name", ["files", "sessions"])
@pytest.mark.parametrize("damage", [b"", b"PAR1 not parquet", None])
def test_a_damaged_roll_up_is_made_again(lake: LakeInStep, name: str, damage: bytes | None) -> None:
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.sync()
    key = f"catalog/{name}.parquet"
    before = lake.store.read_bytes(key)
    if damage is None:
        lake.drop(key)
    else:
        lake.damage(key, damage)
    assert lake.discover().roll_ups.is_stale
    lake.renew_roll_ups()
    assert lake.store.read_bytes(key) == before


def test_a_file_that_several_sessions_contest_is_judged_with_all_of_them(lake: LakeInStep) -> None:
    """A file moves to another session: both records change, and no third."""
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R1"))
    lake.write("spa/R2/R2_spa_lap_start.csv", lap_csv("R2"))
    lake.write("ring/R1/R1_ring_lap_start.csv", lap_csv("R1", 9))
    lake.sync()
    lake.write("spa/R1/R1_spa_lap_start.csv", lap_csv("R2", 5))  # its content now says R2
    found = lake.discover()
    assert set(found.changed) <= {_R1, _R2}
    assert [file.status for file in found.changed[_R1]] == [FileStatus.QUARANTINED]


_PATHS = (
    "spa/R1/R1_spa_lap_start.csv",
    "spa/R1/R1_spa_lap_end.csv",
    "spa/R2/R2_spa_lap_start.csv",
    "spa/copies/R1_spa_lap_start.csv",
    "ring/Race 1/ring_lap_start_time_R1.csv",
    "ring/Race 1/23_AnalysisEnduranceWithSections_Race 1.CSV",
    "R1_sebring_lap_start.csv",
    "loose/R1_lap_start.csv",
    "notes.txt",
)
_CONTENTS = (lap_csv("R1"), lap_csv("R1", 2), lap_csv("R2"), _SECTIONS.format(time="2:25.913"), "a,b\n1,2\n")
_STEPS = st.lists(
    st.lists(st.tuples(st.sampled_from(_PATHS), st.sampled_from(_CONTENTS)), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


@given(steps=_STEPS)
def test_discovering_step_by_step_gives_what_one_from_scratch_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[tuple[str, str]]]
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    store = LocalStore(folder / "lake", DigestCache())
    store.prepare_for_writing()
    lake = LakeInStep(folder / "source", store)
    for step in steps:
        for path, content in step:
            lake.write(path, content)
        lake.sync()
        assert lake.discover().is_unchanged
    in_steps = lake.rows()
    lake.forget_records()
    lake.sync()
    from_scratch = lake.rows()
    assert {path: row for path, row in in_steps.items() if row != from_scratch.get(path)} == {
        path: row for path, row in from_scratch.items() if row != in_steps.get(path)
    }

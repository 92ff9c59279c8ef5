"""Tests of the free disk space, also for a folder that does not exist yet."""

from pathlib import Path

from apex_pipeline.storage.temp_dirs import disk_space


def test_a_missing_folder_reports_the_space_of_its_nearest_existing_parent(tmp_path: Path) -> None:
    space = disk_space(tmp_path / "not" / "there")
    assert space.folder == tmp_path
    assert space.free > 0


def test_a_file_reports_the_space_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert disk_space(tmp_path / "file").folder == tmp_path

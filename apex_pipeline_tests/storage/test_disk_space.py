"""Room on a disk, also for a folder that does not exist yet."""

from pathlib import Path

from apex_pipeline.storage.temp_dirs import disk_space


def test_a_folder_that_is_not_there_is_asked_about_at_its_nearest_parent(tmp_path: Path) -> None:
    space = disk_space(tmp_path / "not" / "there")
    assert space.folder == tmp_path
    assert space.free > 0


def test_a_file_is_asked_about_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert disk_space(tmp_path / "file").folder == tmp_path

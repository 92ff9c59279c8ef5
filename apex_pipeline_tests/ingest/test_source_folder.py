"""Tests scanning the source folder: listed files, refused files, and files deleted during the scan."""

import os
from pathlib import Path

import pytest

from apex_pipeline.errors import FileChangedError, SourceError
from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings


def test_files_are_listed_by_relative_path_and_sorted(tmp_path: Path) -> None:
    for name in ("b/Race 1/x.csv", "a.csv", "b/Race 1/ü.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [file.path for file in scan_folder(tmp_path).files] == ["a.csv", "b/Race 1/x.csv", "b/Race 1/ü.csv"]
    assert scan_folder(tmp_path).bytes == 3


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_a_missing_folder_an_empty_folder_and_a_file_raise(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    if kind == "file":
        source.write_text("x")
    if kind == "empty":
        source.mkdir()
    with pytest.raises(SourceError, match=r"does not exist|is a file|is empty"):
        scan_folder(source)


def test_a_link_outside_the_folder_is_refused_and_one_inside_is_followed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "secret.csv").write_text("x")
    (source / "real.csv").write_text("x")
    (source / "out.csv").symlink_to(tmp_path / "secret.csv")
    (source / "in.csv").symlink_to(source / "real.csv")
    (source / "dangling.csv").symlink_to(source / "gone.csv")
    folder = scan_folder(source)
    assert [file.path for file in folder.files] == ["in.csv", "real.csv"]
    assert dict(folder.refused) == {
        "out.csv": "it is a link that points outside the source folder",
        "dangling.csv": "it is a broken link",
    }


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert dict(scan_folder(tmp_path).refused) == {"pipe.csv": "it is not a regular file"}


def test_a_file_without_permission_is_refused_and_the_others_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("closed.csv", "open.csv"):
        (tmp_path / name).write_text("x")
    # Root can read every file, so the permission check is faked.
    monkeypatch.setattr(os, "access", lambda path, _mode: not str(path).endswith("closed.csv"))
    folder = scan_folder(tmp_path)
    assert [file.path for file in folder.files] == ["open.csv"]
    assert dict(folder.refused) == {"closed.csv": "it cannot be read (no permission)"}


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open.csv").write_text("x")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert dict(scan_folder(tmp_path).refused) == {"closed": "the folder cannot be read (Permission denied)"}


def test_a_file_deleted_between_listing_and_reading_raises(tmp_path: Path) -> None:
    (tmp_path / "R1_spa_lap_start.csv").write_text("lap,vehicle_id\n")
    folder = scan_folder(tmp_path)
    (tmp_path / "R1_spa_lap_start.csv").unlink()
    with pytest.raises(FileChangedError, match=r"R1_spa_lap_start\.csv was deleted during the scan"):
        identify(folder, load_settings())


def test_a_disk_io_error_raises_with_the_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "R1_spa_lap_start.csv").write_text("lap,vehicle_id\n")
    folder = scan_folder(tmp_path)

    def fail(*_: object) -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(SourceError, match=r"R1_spa_lap_start\.csv cannot be read: Input/output error"):
        identify(folder, load_settings())

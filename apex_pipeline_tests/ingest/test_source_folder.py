"""Tests scanning the source folder: listed files, refused files, and files deleted during the scan."""

import os
import socket
from pathlib import Path

import pytest

from apex_pipeline.errors import ConfigurationError, FileChangedError, SourceError
from apex_pipeline.ingest.scan import scan_source
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
    (tmp_path / "a.csv").write_text("x", encoding="utf-8")
    folder = scan_folder(tmp_path)
    assert dict(folder.skipped) == {"pipe.csv": "it is a pipe, a socket or a device"}
    assert not folder.refused


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


def test_links_in_a_circle_are_refused_by_name_and_the_rest_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x", encoding="utf-8")
    (tmp_path / "one.csv").symlink_to("two.csv")
    (tmp_path / "two.csv").symlink_to("one.csv")
    (tmp_path / "self.csv").symlink_to("self.csv")
    folder = scan_folder(tmp_path)
    assert [file.path for file in folder.files] == ["a.csv"]
    assert dict(folder.refused) == dict.fromkeys(
        ("one.csv", "self.csv", "two.csv"), "it is a link that leads back to itself"
    )


def test_sockets_and_devices_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("x", encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.csv")
        folder = scan_folder(tmp_path)
    assert dict(folder.skipped) == {"socket.csv": "it is a pipe, a socket or a device"}


def test_a_file_that_vanishes_during_the_scan_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gone.csv", "here.csv"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    access = os.access

    def delete_first(path: str, mode: int) -> bool:
        if str(path).endswith("gone.csv"):
            os.unlink(path)  # noqa: PTH108  -- the argument is text
        return access(path, mode)

    monkeypatch.setattr(os, "access", delete_first)
    folder = scan_folder(tmp_path)
    assert [file.path for file in folder.files] == ["here.csv"]
    assert "gone.csv" in {path for path, _ in (*folder.skipped, *folder.refused)}


def test_a_system_folder_that_cannot_be_read_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "a.csv").write_text("x", encoding="utf-8")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    folder = scan_folder(tmp_path)
    assert dict(folder.skipped) == {"lost+found": "it is a folder of the operating system"}
    assert not folder.refused


def test_a_very_deep_folder_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(300):
        os.mkdir("d")  # noqa: PTH102  -- relative, because the whole path gets too long
        os.chdir("d")
    Path("a.csv").write_text("x", encoding="utf-8")
    os.chdir(tmp_path)
    assert [file.path for file in scan_folder(tmp_path).files] == ["d/" * 300 + "a.csv"]


def test_the_lake_and_the_state_in_the_source_folder_are_left_out(tmp_path: Path) -> None:
    for name in ("lake/data/x.csv", ".apex/y.csv", ".dagster/z.csv", "spa/a.csv", "other/catalog/current.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    folder = scan_source(
        load_settings(
            source_dir=tmp_path,
            lake_dir=tmp_path / "lake",
            state_dir=tmp_path / ".apex",
            dagster_home=tmp_path / ".dagster",
        )
    )
    assert [file.path for file in folder.files] == ["spa/a.csv"]
    assert {path for path, _ in folder.skipped} == {"lake", ".apex", ".dagster", "other"}


@pytest.mark.parametrize("inside", ["", "data", "data/spa"])
def test_a_source_folder_in_the_lake_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / "lake" / "data" / "spa").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"is the lake .*or lies in it.*APEX_LAKE_DIR"):
        scan_source(load_settings(source_dir=tmp_path / "lake" / inside, lake_dir=tmp_path / "lake"))

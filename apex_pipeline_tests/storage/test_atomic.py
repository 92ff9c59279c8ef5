"""Tests that new files and folders appear complete or not at all."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from apex_pipeline.errors import ConfigurationError, StoreError
from apex_pipeline.storage.atomic import new_file, new_folder, require_apart

Maker = Callable[[Path], AbstractContextManager[Path]]


def test_a_folder_appears_under_its_name_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with new_folder(target) as folder:
        (folder / "a.txt").write_text("a")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["a.txt"]
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_file_appears_under_its_name_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target.zip"
    with new_file(target) as file:
        file.write_text("a")
        assert not target.exists()
    assert target.read_text() == "a"
    assert [path.name for path in target.parent.iterdir()] == ["target.zip"]


def _fill_folder(target: Path) -> None:
    with new_folder(target) as folder:
        (folder / "a.txt").write_text("a")
        raise RuntimeError


def _fill_file(target: Path) -> None:
    with new_file(target) as file:
        file.write_text("a")
        raise RuntimeError


@pytest.mark.parametrize("fill", [_fill_folder, _fill_file])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    with pytest.raises(RuntimeError):
        fill(tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [new_folder, new_file])
def test_an_existing_target_is_not_replaced(tmp_path: Path, make: Maker) -> None:
    (tmp_path / "target").write_text("mine")
    with pytest.raises(ConfigurationError, match="already exists"), make(tmp_path / "target"):
        pass
    assert (tmp_path / "target").read_text() == "mine"


@pytest.mark.parametrize("make", [new_folder, new_file])
def test_a_target_that_cannot_be_created_is_an_error(tmp_path: Path, make: Maker) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Creating"), make(tmp_path / "file" / "target"):
        pass


@pytest.mark.parametrize(("one", "other", "is_apart"), [("a", "ab", True), ("a", "a/b", False), ("a/b", "a", False)])
def test_nested_folders_are_refused_and_siblings_are_not(
    tmp_path: Path, one: str, other: str, *, is_apart: bool
) -> None:
    expectation = nullcontext() if is_apart else pytest.raises(ConfigurationError)
    with expectation:
        require_apart(tmp_path / one, tmp_path / other)

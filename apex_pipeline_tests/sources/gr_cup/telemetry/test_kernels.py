"""Where compiled code is kept: by the sources it came from, or nowhere."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import pytest

from apex_pipeline.sources.gr_cup.telemetry import kernels as package
from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled

SETTINGS = vars(numba)["config"]


def double(number: int) -> int:
    return 2 * number


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What is remembered of sources and folders is that of another test."""
    yield
    package.fingerprint.cache_clear()
    package.is_writable.cache_clear()


def kept_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*.nbi")}


def test_it_is_kept_in_a_folder_for_these_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", str(tmp_path))

    assert compiled(double)(21) == 42

    assert kept_in(tmp_path) == {f"compiled-{package.fingerprint()}"}
    assert str(tmp_path) == SETTINGS.CACHE_DIR


def test_a_change_of_any_source_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text("a = 1\n")
    monkeypatch.setattr(package, "_HERE", tmp_path)
    package.fingerprint.cache_clear()
    before = package.fingerprint()
    (tmp_path / "two.py").write_text("a = 2\n")
    package.fingerprint.cache_clear()

    assert package.fingerprint() != before


def test_where_nothing_can_be_written_it_is_compiled_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", str(tmp_path / "file" / "below"))
    made: Callable[[int], int] = compiled(double)

    assert made(4) == 8
    assert kept_in(tmp_path) == set()


def test_without_a_setting_it_is_kept_beside_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", "")
    monkeypatch.setattr(package, "_HERE", tmp_path)

    assert compiled(double)(1) == 2

    assert (tmp_path / "__pycache__").is_dir()
    assert kept_in(tmp_path) == {"__pycache__"}


def test_a_user_without_a_home_compiles_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "__pycache__").write_bytes(b"")  # no folder can be made there
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", "")
    monkeypatch.setattr(package, "_HERE", tmp_path)
    monkeypatch.setattr(Path, "home", homeless)

    assert compiled(double)(3) == 6

"""The cache of compiled code: one folder per version of the sources, or none."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numba
import pytest

from apex_pipeline.sources.gr_cup.telemetry import kernels as package
from apex_pipeline.sources.gr_cup.telemetry.compile import compile_loops
from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import csv_bytes, reading

SETTINGS = vars(numba)["config"]


def double(number: int) -> int:
    return 2 * number


@pytest.fixture(autouse=True)
def clear_caches() -> Iterator[None]:
    """Clear the cached source hash and folder checks after each test."""
    yield
    package.source_hash.cache_clear()
    package.is_writable.cache_clear()


def cached_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*.nbi")}


def test_compiled_code_is_cached_in_a_folder_for_these_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", str(tmp_path))

    assert compiled(double)(21) == 42

    assert cached_in(tmp_path) == {f"compiled-{package.source_hash()}"}
    assert str(tmp_path) == SETTINGS.CACHE_DIR


def test_a_change_of_any_source_changes_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text("a = 1\n")
    monkeypatch.setattr(package, "_HERE", tmp_path)
    package.source_hash.cache_clear()
    before = package.source_hash()
    (tmp_path / "two.py").write_text("a = 2\n")
    package.source_hash.cache_clear()

    assert package.source_hash() != before


def test_without_a_writable_folder_code_is_compiled_and_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", str(tmp_path / "file" / "below"))
    double_compiled: Callable[[int], int] = compiled(double)

    assert double_compiled(4) == 8
    assert cached_in(tmp_path) == set()


def test_without_a_setting_code_is_cached_next_to_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", "")
    monkeypatch.setattr(package, "_HERE", tmp_path)

    assert compiled(double)(1) == 2

    assert (tmp_path / "__pycache__").is_dir()
    assert cached_in(tmp_path) == {"__pycache__"}


def test_a_user_without_a_home_folder_can_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "__pycache__").write_bytes(b"")  # prevents a folder of that name
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", "")
    monkeypatch.setattr(package, "_HERE", tmp_path)
    monkeypatch.setattr(Path, "home", homeless)

    assert compiled(double)(3) == 6


ENTRIES = {
    "plain_rows": ["parse_plain_lines"],
    "rows": ["parse_lines"],
    "json_lists": ["parse_lists"],
    "decimals": ["gather_bytes"],
    "line_feeds": ["count_line_feeds"],
    "pivot": ["assign_cells", "fill_cells"],
}


def test_the_installation_compiles_every_loop_that_python_calls() -> None:
    assert compile_loops() == 8
    for module, entries in ENTRIES.items():
        for entry in entries:
            assert getattr(import_module(f"{package.__name__}.{module}"), entry).signatures, entry


def test_a_file_of_plain_rows_loads_no_loop_for_other_files(tmp_path: Path) -> None:
    """Each loop takes 0.1 s to load, so a conversion loads those that it calls."""
    (tmp_path / "R1_test_telemetry.csv").write_bytes(csv_bytes([reading(0), reading(1)]))
    program = (
        "import sys; from pathlib import Path; from importlib import import_module\n"
        "from apex_pipeline_tests.sources.gr_cup.telemetry.readings import convert, telemetry_file\n"
        "folder = Path(sys.argv[1])\n"
        "assert convert(folder, telemetry_file(folder / 'R1_test_telemetry.csv')).report.counts.readings_in == 2\n"
        f"entries = {ENTRIES!r}\n"
        f"modules = {{name: import_module('{package.__name__}.' + name) for name in entries}}\n"
        "print(*(name for module in entries for name in entries[module] if getattr(modules[module], name).signatures))"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert process.stdout.split() == ["parse_plain_lines", "count_line_feeds", "assign_cells", "fill_cells"], process


def test_a_first_use_that_compiles_says_so_once_and_how_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", str(tmp_path))
    for _ in range(2):
        compiled(double)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "once per installation; it takes 6 to 20 s" in record.getMessage()

"""Measurements of a process: they must match the resources it used."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

_ALLOCATE_90_MB = "import time; held = b'x' * 90_000_000; time.sleep(1); print(len(held))"


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("measuring")


def test_measure_returns_memory_time_and_output_of_a_process(measuring: ModuleType, tmp_path: Path) -> None:
    measured, printed = measuring.measure([sys.executable, "-c", _ALLOCATE_90_MB], tmp_path, {})
    assert printed == "90000000\n"
    assert measured.wall_s >= 1
    assert measured.peak_mb > 90
    assert 90 < measured.anonymous_mb <= measured.peak_mb


def test_a_failed_process_is_reported_with_its_last_line_of_output(measuring: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('first\\nno space left')"]
    with pytest.raises(measuring.EngineFailedError, match=r"^no space left$"):
        measuring.measure(command, tmp_path, {})

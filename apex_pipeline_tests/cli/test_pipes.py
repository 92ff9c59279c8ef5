"""Commands in a pipe: a reader that stops early, a full disk, a closed output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SESSION = ("harbor_street_circuit", "R1")
# Between them, every way of printing: tables, lines, JSON, help, results printed as they come.
_COMMANDS = [
    ("--help",),
    ("laps", *_SESSION),
    ("files", "--json"),
    ("sync", "demo-weekend"),
    ("doctor",),
    ("metrics", "--prometheus"),
]
_ALL_COMMANDS = [
    *(("sync", "--help"), ("tracks",), ("sessions",), ("files",), ("laps", *_SESSION, "--json"), ("cars", *_SESSION)),
    *(("telemetry", *_SESSION, "--lap", "3"), ("rejects", *_SESSION), ("doctor", "--json"), ("verify",), ("accuracy",)),
    *(("gc",), ("cost",), ("metrics",), ("plan", "demo-weekend"), ("plan", "demo-weekend", "--json")),
    *(("sync", "demo-weekend", "--json"), ("explain", "demo-weekend/harbor_street_circuit/R1_harbor_lap_time.csv")),
]
_EVERY = [*_COMMANDS, *(pytest.param(words, marks=pytest.mark.soak) for words in _ALL_COMMANDS)]


def _run(folder: Path, redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    script = f'"$0" -m apex_pipeline "$@" {redirection}; exit "${{PIPESTATUS[0]}}"'
    return subprocess.run(
        ["bash", "-c", script, sys.executable, *words],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("words", _EVERY, ids=" ".join)
def test_a_reader_that_stops_early_is_no_error(demo_dir: Path, words: tuple[str, ...]) -> None:
    result = _run(demo_dir, "| true", *words)
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert "Problem" not in result.stderr
    assert result.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("words", _EVERY, ids=" ".join)
def test_output_to_a_full_disk_is_one_message(demo_dir: Path, words: tuple[str, ...]) -> None:
    result = _run(demo_dir, ">/dev/full", *words)
    assert result.stderr.count("Problem: Standard output cannot be written to: No space left on device.") == 1
    assert "Traceback" not in result.stderr
    assert result.returncode == 1


def test_a_closed_output_is_one_message(demo_dir: Path) -> None:
    result = _run(demo_dir, ">&-", "tracks")
    assert result.stderr.startswith("Problem: Standard output cannot be written to: it is closed.\nNext step: ")
    assert result.returncode == 1


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_lost_messages_do_not_change_the_exit_code(demo_dir: Path, redirection: str) -> None:
    assert _run(demo_dir, redirection, "laps", "nowhere", "R1").returncode == 2

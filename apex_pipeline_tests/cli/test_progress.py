"""Bars of long commands: amount, rate and remaining time on a terminal, nothing in a pipe."""

import sys
import time

import pytest

from apex_pipeline.cli.progress import byte_progress, count_progress
from apex_pipeline.console import ProgressReporter
from apex_pipeline.progress import current_progress
from apex_pipeline_tests.cli.test_sync_progress import open_terminal


def test_bytes_are_shown_with_their_rate_within_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_terminal(monkeypatch) as terminal:
        monkeypatch.setenv("COLUMNS", "80")
        with byte_progress("verify", 2_000_000_000):
            advance = current_progress()
            assert advance is not None
            for _ in range(3):
                advance(500_000_000)
                time.sleep(0.01)  # a rate needs two moments
    assert "1,500.0 of 2,000.0 MB, " in terminal.text
    assert "MB/s" in terminal.text
    assert "verify" in terminal.text


def test_units_are_counted_with_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_terminal(monkeypatch) as terminal, count_progress("derive", 9, "sessions") as advance:
        for _ in range(3):
            advance(1)
            time.sleep(0.01)
    assert "3 of 9, " in terminal.text
    assert "/s" in terminal.text


def test_in_a_pipe_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with count_progress("derive", 9, "sessions") as advance:
        advance(9)
    assert capsys.readouterr().err == ""


def test_lines_above_the_bars_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:

    ProgressReporter(sys.stderr).write("\x1b[2Jgone")
    assert capsys.readouterr().err == "\\x1b[2Jgone\n"

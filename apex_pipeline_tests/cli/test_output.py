"""Output: long tables are cut for people, bars on a terminal, cells readable."""

import os
import pty
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import pytest

from apex_pipeline.cli.output import progress_listener, show_frame
from apex_pipeline.cli.summary import best_lap
from apex_pipeline.sync import Event


def test_a_long_table_is_cut_and_says_how_much_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    show_frame(pd.DataFrame({"lap": range(75)}), as_json=False, title="Laps")
    said = capsys.readouterr().out
    assert "Laps (75 rows)" in said
    assert "and 15 more" in said


def test_cells_are_written_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame(
        {
            "list": [["a", "b"]],
            "array": [np.array(["c"])],
            "missing": [None],
            "number": [97.5],
            "time": [pd.Timestamp(datetime(2025, 9, 6, 18, 40, 41, 927000, tzinfo=UTC))],
            "text": ["[red]not a colour"],
        }
    )
    show_frame(frame, as_json=False, title="Cells")
    said = capsys.readouterr().out
    for cell in ("a, b", "97.5 ", "2025-09-06 18:40:41.927Z", "[red]not a colour"):
        assert cell in said


@dataclass
class Terminal:
    """Standard error on a terminal; ``said`` is all that is to be seen there, complete once the line is closed."""

    stream: TextIO
    said: str = ""


@contextmanager
def a_terminal(monkeypatch: pytest.MonkeyPatch) -> Generator[Terminal]:
    """Give a terminal, read all the time: a line nobody reads holds 4 kB and then stops its writer."""
    screen, line = pty.openpty()
    monkeypatch.setenv("COLUMNS", "160")
    seen: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the line was closed
            while content := os.read(screen, 65_536):
                seen.append(content)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with os.fdopen(line, "w", encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        terminal = Terminal(stream)
        yield terminal
    reader.join(timeout=60)
    os.close(screen)
    terminal.said = b"".join(seen).decode()


def test_a_terminal_is_shown_bars_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_terminal(monkeypatch) as terminal, progress_listener() as listener:
        listener(Event("find", "3 files"))
        listener(Event("copy", "3 files to copy", total=2_000_000, unit="bytes"))
        listener(Event("copy", "", "spa/R1", done=1_000_000, unit="bytes"))
        listener(Event("copy", "2 files, 1,000,000 bytes", "spa/R1"))
        listener(Event("derive", "2 sessions to derive", total=2, unit="sessions"))
        listener(Event("derive", "derived", "spa/R1", done=1, unit="sessions"))
        listener(Event("derive", "failed: no header", "spa/R2"))
    assert "3 files" in terminal.said
    assert "spa/R2: failed: no header" in terminal.said
    assert "1 of 2" in terminal.said
    assert "1.0 of 2.0 MB" in terminal.said


def test_bars_stay_on_the_terminal_while_a_run_has_taken_standard_error_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with a_terminal(monkeypatch) as terminal, progress_listener() as listener:
        listener(Event("derive", "1 session to derive", total=2_000_000, unit="bytes"))
        with (tmp_path / "log").open("w") as log:
            os.dup2(log.fileno(), terminal.stream.fileno())
        listener(Event("derive", "", "spa/R1", done=1_000_000, unit="bytes"))
    assert "1.0 of 2.0 MB" in terminal.said
    assert (tmp_path / "log").read_text() == ""


def test_a_session_without_a_valid_lap_has_no_best_lap() -> None:
    laps = pd.DataFrame({"is_valid": [False], "lap_time_s": [63.6], "vehicle_id": ["GR86-036-98"], "lap_number": [21]})
    assert best_lap(laps) == "none"

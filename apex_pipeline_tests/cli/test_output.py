"""Output: long tables are cut for people, bars on a terminal, cells readable."""

from datetime import UTC, datetime

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


def test_a_terminal_is_shown_bars_and_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    with progress_listener() as listener:
        listener(Event("find", "3 files"))
        listener(Event("copy", "3 files to copy", total=2_000_000, unit="bytes"))
        listener(Event("copy", "", "spa/R1", done=1_000_000, unit="bytes"))
        listener(Event("copy", "2 files, 1,000,000 bytes", "spa/R1"))
        listener(Event("derive", "2 sessions to derive", total=2, unit="sessions"))
        listener(Event("derive", "derived", "spa/R1", done=1, unit="sessions"))
        listener(Event("derive", "failed: no header", "spa/R2"))
    said = capsys.readouterr().err
    assert "3 files" in said
    assert "spa/R2: failed: no header" in said
    assert "1 of 2" in said
    assert "1.0 of 2.0 MB" in said


def test_a_session_without_a_valid_lap_has_no_best_lap() -> None:
    laps = pd.DataFrame({"is_valid": [False], "lap_time_s": [63.6], "vehicle_id": ["GR86-036-98"], "lap_number": [21]})
    assert best_lap(laps) == "none"

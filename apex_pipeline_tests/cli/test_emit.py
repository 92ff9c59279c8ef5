"""Results: JSON for programs, tables for people; long tables are truncated, cells formatted."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apex_pipeline.cli.emit import emit, print_frame, print_line


@dataclass(frozen=True)
class _Lap:
    number: int
    start_utc: datetime


def test_json_output_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    laps = (_Lap(1, datetime(2025, 9, 6, 18, 40, tzinfo=UTC)),)
    emit({"lake": Path("lake"), "laps": laps, "best": None}, as_json=True, render=lambda: pytest.fail("not for people"))
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "lake": "lake",
        "laps": [{"number": 1, "start_utc": "2025-09-06T18:40:00+00:00"}],
        "best": None,
    }


def test_a_frame_as_json_is_a_list_of_all_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"lap": range(75), "time": [pd.Timestamp("2025-09-06T18:40:41.927Z")] * 75})
    emit(frame, as_json=True, render=lambda: pytest.fail("not for people"))
    rows = json.loads(capsys.readouterr().out)
    assert (len(rows), rows[74]) == (75, {"lap": 74, "time": "2025-09-06T18:40:41.927Z"})


def test_without_json_only_the_rendered_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"laps": 48}, as_json=False, render=lambda: print_line("48 laps"))
    assert capsys.readouterr().out == "48 laps\n"


def test_a_line_is_printed_verbatim_however_long_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = "[red]not a colour[/] " + "a/long/path " * 40
    print_line(line, style="bold")
    assert capsys.readouterr().out == line + "\n"


def test_a_long_table_is_truncated_and_the_rest_counted(capsys: pytest.CaptureFixture[str]) -> None:
    print_frame(pd.DataFrame({"lap": range(75)}), "Laps")
    output = capsys.readouterr().out
    assert "Laps (75 rows)" in output
    assert "and 15 more" in output


def test_cells_are_formatted_for_reading(capsys: pytest.CaptureFixture[str]) -> None:
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
    print_frame(frame, "Cells")
    output = capsys.readouterr().out
    for cell in ("a, b", "97.5 ", "2025-09-06 18:40:41.927Z", "[red]not a colour"):
        assert cell in output

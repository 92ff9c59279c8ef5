"""Results: JSON for programs, lines and tables for people."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apex_pipeline.cli.emit import TextTable, emit, print_line


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


def test_without_json_only_the_rendered_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"laps": 48}, as_json=False, render=lambda: print_line("48 laps"))
    assert capsys.readouterr().out == "48 laps\n"


def test_a_line_is_printed_verbatim_however_long_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = "[red]not a colour[/] " + "a/long/path " * 40
    print_line(line, style="bold")
    assert capsys.readouterr().out == line + "\n"


def test_a_line_is_continued_below_itself_on_a_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    print_line("Source  a/folder/of/many/race/files: 87 files")
    assert capsys.readouterr().out.splitlines() == ["Source  a/folder/of/many/race/", "        files: 87 files"]


def test_what_strangers_wrote_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("\x1b[31mred\u202etxt\x07")
    assert capsys.readouterr().out == "\\x1b[31mred\\u202etxt\\x07\n"


def test_a_table_of_a_report_shows_every_cell_however_narrow_the_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    table = TextTable(["session"], ["cells", "duplicates"], title="Telemetry")
    table.add("spa/R1", "1,234,567", "12")
    table.show()
    assert capsys.readouterr().out.splitlines() == [
        *("Telemetry", "session      cells", "spa/R1   1,234,567", ""),
        *("session  duplicates", "spa/R1           12"),
    ]

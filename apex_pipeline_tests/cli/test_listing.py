"""Commands that list rows: the same options everywhere, and the same rows as a table, JSON, CSV and Parquet."""

import csv
import io
import json
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.cli.app import load_command
from apex_pipeline.cli.commands import PANELS
from apex_pipeline.cli.listing import Listing, print_listing
from apex_pipeline_tests.cli.conftest import Apex

_TRACK, _SESSION = "harbor_street_circuit", "R2"
# They read tables and write a file, or answer others.
_NO_LISTS = {"report", "map", "motec", "serve"}
_LISTS = [one for panel in PANELS.values() for one in panel if one.reads_tables and one.name not in _NO_LISTS] + [
    one for one in PANELS["Maintain"] if one.name == "accuracy"
]
_END = datetime(2025, 9, 6, 18, 40, 41, 927000, tzinfo=UTC)
_SHARED = {"--where", "--sort", "--columns", "--wide", "--limit", "--json", "--csv", "--parquet"}


@pytest.mark.parametrize("command", _LISTS, ids=lambda command: command.name)
def test_every_command_that_lists_has_the_same_options(command: Any) -> None:
    assert {name for option in load_command(command).params for name in option.opts} >= _SHARED


@pytest.fixture
def rows() -> pa.Table:
    return pa.table(
        {
            "lap": pa.array([1, None], pa.int64()),
            "time_s": [97.42800000000001, None],
            "is_valid": [True, None],
            "flags": [["out_lap", "late"], []],
            "end_utc": pa.array(
                [datetime(2025, 9, 6, 18, 40, 41, 927000, tzinfo=UTC), None], pa.timestamp("ms", "UTC")
            ),
            "local": pa.array([time(13, 40, 41, 927000), None], pa.time32("ms")),
            "text": ["[red]not a colour", ""],
        }
    )


def test_cells_are_formatted_for_reading(
    rows: pa.Table, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_listing(Listing(rows, "Laps"))
    title, heading, first, second = capsys.readouterr().out.splitlines()
    assert title == "Laps (2 rows)"
    assert heading.split() == rows.schema.names
    assert first.split() == [
        *(
            "1",
            "97.428",
            "yes",
            "out_lap,",
            "late",
            "2025-09-06T18:40:41.927Z",
            "13:40:41.927",
            "[red]not",
            "a",
            "colour",
        )
    ]
    assert second.split() == ["-", "-", "-", "-", "-", "-", '""']


def test_numbers_of_a_column_have_the_same_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(Listing(pa.table({"time_s": [97.5, 145.437, 8.0]}), "Times"))
    assert capsys.readouterr().out.splitlines()[1:] == [" time_s", " 97.500", "145.437", "  8.000"]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_whatever_strangers_wrote_a_row_is_a_line(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        out = io.StringIO()
        patch.setattr("sys.stdout", out)
        print_listing(Listing(pa.table({"text": texts, "lap": list(range(len(texts)))}), "Texts"))
    lines = out.getvalue().split("\n")
    assert [line.split()[-1] for line in lines[2:-1]] == list(map(str, range(len(texts))))


def test_json_csv_and_parquet_have_the_rows_of_the_table(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    words = ("laps", _TRACK, _SESSION, "--where", "lap_time_s > 30", "--sort", "-lap_time_s", "--limit", "7")
    from_json = json.loads(apex(*words, "--json").out)
    assert len(from_json) == 7
    assert [row["lap_time_s"] for row in from_json] == sorted((row["lap_time_s"] for row in from_json), reverse=True)
    from_csv = list(csv.DictReader(io.StringIO(apex(*words, "--csv").out)))
    target = tmp_path / "new" / "laps.parquet"
    assert f"{target}: 7 rows" in apex(*words, "--parquet", str(target)).out
    from_parquet = pq.read_table(target).to_pylist()
    for name in ("vehicle_id", "lap_number", "lap_time_s"):
        assert [row[name] for row in from_json] == [row[name] for row in from_parquet]
        assert [str(row[name]) for row in from_json] == [row[name] for row in from_csv]
    assert [row["lap_end_utc"].replace(".000Z", "Z") for row in from_json] == [row["lap_end_utc"] for row in from_csv]


def test_columns_are_chosen_in_every_form(demo_dir: Path, apex: Apex) -> None:
    words = ("laps", _TRACK, _SESSION, "--columns", "lap_number,car_number", "--limit", "2")
    assert [set(row) for row in json.loads(apex(*words, "--json").out)] == [{"lap_number", "car_number"}] * 2
    assert apex(*words, "--csv").out.splitlines()[0] == "lap_number,car_number"
    assert apex(*words).out.splitlines()[1].split() == ["lap_number", "car_number"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--columns", "lap_nmber"), "There is no column 'lap_nmber'. Did you mean lap_number?"),
        (("--columns", ","), "There is no column ','"),
        (("--json", "--csv"), "--json, --csv and --parquet cannot be combined."),
        (("--sort", "speed"), "There is no column 'speed'"),
        (("--where", "car_number_method = bogus"), "car_number_method cannot be 'bogus'"),
        (("--valid", "--doubtful"), "--valid and --doubtful cannot be combined."),
        (("--car", "999"), "No car is called '999'"),
    ],
)
def test_a_wrong_option_is_one_message_with_exit_code_2(
    demo_dir: Path, apex: Apex, words: tuple[str, ...], message: str
) -> None:
    result = apex("laps", _TRACK, _SESSION, *words)
    assert (result.code, result.out) == (2, "")
    assert message in result.error.replace("\nNext step:", "")
    assert result.error.count("Problem:") == 1


def test_a_filter_that_happens_to_match_nothing_says_so(demo_dir: Path, apex: Apex) -> None:
    result = apex("laps", _TRACK, _SESSION, "--where", "lap_time_s > 100000")
    assert (result.code, result.out.splitlines()) == (0, [f"Laps of {_TRACK}/{_SESSION} (0 rows)", "There are none."])
    assert apex("laps", _TRACK, _SESSION, "--where", "lap_time_s > 100000", "--json").out == "[]\n"


def test_a_file_that_exists_is_not_replaced(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    (tmp_path / "laps.parquet").write_bytes(b"mine")
    assert apex("tracks", "--parquet", str(tmp_path / "laps.parquet")).code == 2
    assert (tmp_path / "laps.parquet").read_bytes() == b"mine"

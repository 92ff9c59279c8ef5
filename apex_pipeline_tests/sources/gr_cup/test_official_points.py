"""The table official_points: intermediate times of official laps, whatever the points are called."""

import io
from pathlib import Path

import pytest

from apex_pipeline.sources.gr_cup.official_points import official_points_table, point_columns, points_of
from apex_pipeline.sources.gr_cup.official_rows import ParsedFile
from apex_pipeline.sources.gr_cup.official_timing import official_laps_table, read_sections
from apex_pipeline.tables import OFFICIAL_POINTS
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import telemetry_file

HEADER = "NUMBER; LAP_NUMBER; LAP_TIME;PIT_TIME;IM1a_time;IM1a_elapsed;IM1_time;IM1_elapsed;FL_time;FL_elapsed\n"


def parsed(folder: Path, text: str) -> ParsedFile:
    path = folder / "23.CSV"
    path.write_text(text)
    return read_sections(io.BytesIO(path.read_bytes()), telemetry_file(path).identity)


def points(folder: Path, text: str) -> list[tuple[object, ...]]:
    """Return lap, point, order, time and elapsed time of each row."""
    _, merged = official_laps_table("spa", "R1", [parsed(folder, text)])
    table = official_points_table("spa", "R1", merged.rows, merged.points)
    assert OFFICIAL_POINTS.violations(table) == []
    columns = ("lap_number", "point", "point_order", "time_s", "elapsed_s")
    return [tuple(row[name] for name in columns) for row in table.to_pylist()]


def test_every_point_of_a_lap_has_a_row_in_the_order_driven(tmp_path: Path) -> None:
    text = HEADER + "13;1;1:54.168;;22.57;22.57;10.843;33.413;25.421;1:54.168\n"

    assert points(tmp_path, text) == [
        (1, "IM1a", 1, 22.57, 22.57),
        (1, "IM1", 2, 10.843, 33.413),
        (1, "FL", 3, 25.421, 114.168),
    ]


@pytest.mark.parametrize("names", [("INT-1", "INT-2"), ("IM1", "Speedtrap"), ("im1A", "IM9c")])
def test_points_have_the_names_of_the_file(tmp_path: Path, names: tuple[str, str]) -> None:
    columns = ";".join(f"{name}_time;{name}_elapsed" for name in names)

    found = points(tmp_path, f"NUMBER;LAP_NUMBER;LAP_TIME;{columns}\n13;1;1:54.168;20.5;20.5;30;50.5\n")

    assert [row[1] for row in found] == list(names)


def test_a_missing_time_is_null_and_a_point_without_any_has_no_row(tmp_path: Path) -> None:
    text = HEADER + "13;1;1:54.168;1:00.000;;;;53.893;47.067;1:54.168\n"

    assert points(tmp_path, text) == [(1, "IM1", 2, None, 53.893), (1, "FL", 3, 47.067, 114.168)]


def test_an_unreadable_point_costs_only_its_cell(tmp_path: Path) -> None:
    text = HEADER + "13;1;1:54.168;;x;22.57;10.843;33.413;25.421;1:54.168\n"

    assert points(tmp_path, text)[0] == (1, "IM1a", 1, None, 22.57)


def test_a_file_without_points_gives_no_rows(tmp_path: Path) -> None:
    assert points(tmp_path, "NUMBER;LAP_NUMBER;LAP_TIME;PIT_TIME\n13;1;1:54.168;22.5\n") == []


def test_the_columns_of_points_are_not_listed_as_dropped(tmp_path: Path) -> None:
    assert parsed(tmp_path, HEADER + "13;1;1:54.168;;;;;;;\n").dropped_columns == ()


def test_times_without_an_elapsed_time_are_no_points() -> None:
    assert point_columns(["LAP_TIME", "PIT_TIME", "IM1_elapsed"]) == {"IM1": ("", "IM1_elapsed")}
    assert points_of({"IM1_elapsed": "3.5"}, {"IM1": ("", "IM1_elapsed")}) == [("IM1", None, 3.5)]


@pytest.mark.parametrize("name", ["barber/23_AnalysisEnduranceWithSections_Race 1_Anonymized.CSV"])
def test_the_last_point_of_a_real_lap_is_its_lap_time(real_data: Path, name: str) -> None:
    path = real_data / "grcup" / name
    laps, merged = official_laps_table(
        "b", "R1", [read_sections(io.BytesIO(path.read_bytes()), telemetry_file(path).identity)]
    )
    table = official_points_table("b", "R1", merged.rows, merged.points).to_pandas()

    keys = ["car_number", "entry", "lap_number"]
    ends = table[table["point"] == "FL"].merge(laps.to_pandas(), on=keys, suffixes=("", "_lap"))
    assert len(ends) == laps.num_rows
    assert (ends["elapsed_s"] - ends["lap_time_s"]).abs().max() < 0.0015
    assert table["point"].nunique() == 6

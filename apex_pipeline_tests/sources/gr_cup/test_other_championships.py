"""Timing exports of other championships: their column names, their short rows, their folders, and mixed-up races."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_entries import add_classified_times
from apex_pipeline.sources.gr_cup.official_rows import ParsedFile
from apex_pipeline.sources.gr_cup.official_timing import read_results, read_sections
from apex_pipeline.sources.gr_cup.two_races import without_contradictions
from apex_pipeline_tests.sources.gr_cup.lap_builder import identity

_DRIVER = ",".join(f"DRIVER{{0}}_{name}" for name in ("FIRSTNAME", "SECONDNAME", "LICENSE", "HOMETOWN"))
_DRIVERS = ",".join(_DRIVER.format(number) for number in (1, 2, 3, 4))
_RACE = f"POSITION,NUMBER,STATUS,LAPS,TOTAL_TIME,GAP_FIRST,FL_LAPNUM,FL_TIME,FL_KPH,TEAM,CLASS,{_DRIVERS},*Extra 1"
_PRACTICE = f"POS,NUMBER,LAP,TIME,GAP_FIRST,KPH, LAPS,TEAM,CLASS,{_DRIVERS},*Extra 1"
_LAPS_2019 = "NUMBER; DRIVER_NUMBER; LAPNUMBER; LAPTIME; ELAPSED; HOUR;DRIVER_NAME;CLASS;"
_PERSON = "Zaphod,Beeblebrox,Gold,Betelgeuse"


def _bytes(*lines: str) -> io.BytesIO:
    return io.BytesIO(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())


def _results(*lines: str) -> ParsedFile:
    return read_results(_bytes(*lines), identity(FileKind.RESULTS))


def _sections(*lines: str, path: str = "spa/23.CSV") -> ParsedFile:
    return read_sections(_bytes(*lines), replace(identity(FileKind.SECTIONS), path=path))


@pytest.mark.parametrize("drivers", [1, 2, 3])
def test_a_result_with_cells_for_its_own_drivers_only_is_read_without_their_names(drivers: int) -> None:
    persons = ",".join([_PERSON] * drivers)
    parsed = _results(_RACE, f"1,31,Classified,240,6:00:01.5,-,7,1:38.100,170.1,Team,GTP,{persons}")
    assert parsed.rejects == []
    (row,) = parsed.rows
    assert (row["car_number"], row["total_time_s"], row["best_lap_time_s"]) == ("31", 21_601.5, 98.1)
    assert "Beeblebrox" not in str(parsed)


def test_a_row_cut_off_before_the_drivers_is_still_rejected() -> None:
    (reject,) = _results(_RACE, "1,31,Classified,240").rejects
    assert reject.reason == "too_few_columns"


def test_practice_results_have_position_and_best_lap() -> None:
    (row,) = _results(_PRACTICE, f"2,04,9,1:38.100,+0.2,170.1,21,Team,LMP2,{_PERSON}").rows
    assert (row["position"], row["car_number"], row["best_lap_number"], row["best_lap_time_s"]) == (2, "04", 9, 98.1)
    assert (row["laps_completed"], row["class_name"], row["gap_to_first_s"]) == (21, "LMP2", 0.2)


def test_laps_up_to_2019_are_read_with_the_number_of_their_driver() -> None:
    parsed = _sections(
        _LAPS_2019, "7;1;1;1:40.0;1:40.0;23:59:00.0;Zaphod;GT;", "7;2;2;1:41.0;25:03:21.0;0:00:41.0;Ford;GT;"
    )
    assert [(row["lap_number"], row["driver_number"], row["elapsed_s"]) for row in parsed.rows] == [
        (1, 1, 100.0),
        (2, 2, 90_201.0),
    ]
    assert "DRIVER_NAME" in parsed.dropped_columns
    assert "Zaphod" not in str(parsed)


def test_the_classification_states_the_time_of_the_fastest_lap() -> None:
    laps = _sections(_LAPS_2019, *(f"7;1;{lap};1:40.{lap};{100 * lap}.0;13:0{lap}:00.0;x;GT;" for lap in (1, 2)))
    results = _results(_RACE, f"1,7,Classified,2,3:20.3,-,2,1:40.2,170.1,Team,GT,{_PERSON}")
    add_classified_times([laps], [results])
    assert [row["classified_lap_time_s"] for row in laps.rows] == [None, 100.2]


def _race_file(path: str, base_s: int) -> ParsedFile:
    rows = [f"7;1;{lap};1:{base_s + lap}.0;{100 * lap}.0;13:0{lap}:00.0;x;GT;" for lap in range(1, 9)]
    return _sections(_LAPS_2019, *rows, path=path)


def test_a_file_of_another_race_is_left_out_with_one_sentence() -> None:
    first, second = _race_file("imola/23.CSV", 30), _race_file("spa/23.CSV", 45)
    kept, (left_out,) = without_contradictions([first, second], FileKind.SECTIONS)
    assert kept == [first]
    assert (left_out.path, left_out.kind) == ("spa/23.CSV", FileKind.SECTIONS)
    assert "spa/23.CSV contradicts imola/23.CSV in 8 of 8 laps" in str(left_out.error)


def test_a_file_of_the_first_hours_of_the_same_race_agrees() -> None:
    whole, part = _race_file("hour 6/23.CSV", 30), _race_file("hour 3/23.CSV", 30)
    del part.rows[5:]
    part.rows[0]["lap_time_s"] = 91.5  # one correction
    assert without_contradictions([part, whole], FileKind.SECTIONS) == ([part, whole], [])


def test_two_events_with_one_layout_are_two_sessions(tmp_path: Path) -> None:
    for event, lap_time in (("01_IMOLA", "1:40.1"), ("02_SPA FRANCORCHAMPS", "2:10.2")):
        folder = tmp_path / event / "202404211300_Race" / "Hour 6"
        folder.mkdir(parents=True)
        text = f"NUMBER; LAP_NUMBER; LAP_TIME; HOUR;\n1;1;{lap_time};13:00:00.0;\n"
        (folder / "23_Analysis_Race_Hour 6.CSV").write_text(text)
    found = identify(scan_folder(tmp_path), load_settings())
    assert {(item.status, item.kind) for item in found} == {("ready", "sections")}
    assert len({(item.track, item.session) for item in found}) == 2
    assert not any("hour" in str(item.track) for item in found)

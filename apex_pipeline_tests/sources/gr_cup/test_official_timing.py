"""Official timing: every printed fact under its name, and no name of a person."""

import io
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.lake.source_folder import identify, look_at
from apex_pipeline.schemas import OFFICIAL_LAPS, OFFICIAL_REJECTS, RESULTS, WEATHER
from apex_pipeline.sources.gr_cup.files import FileKind, FileStatus
from apex_pipeline.sources.gr_cup.official_timing import (
    Parsed,
    official_laps_table,
    read_results,
    read_sections,
    read_weather,
    results_table,
    weather_table,
)
from apex_pipeline.sources.gr_cup.rejects import rejects_table
from apex_pipeline_tests.sources.gr_cup.lap_builder import identity

_SECTIONS = (
    "NUMBER; LAP_NUMBER; LAP_TIME; CROSSING_FINISH_LINE_IN_PIT; HOUR;S1_LARGE;S1_SECONDS;PIT_TIME;FLAG_AT_FL;INT-1_time"
)
_RESULTS = "POSITION;NUMBER;STATUS;LAPS;TOTAL_TIME;GAP_FIRST;FL_LAPNUM;FL_TIME;FL_KPH;CLASS;GROUP;VEHICLE"
_WEATHER = "TIME_UTC_SECONDS;TIME_UTC_STR;AIR_TEMP;TRACK_TEMP;HUMIDITY;PRESSURE;WIND_SPEED;WIND_DIRECTION;RAIN"


def _stream(*lines: str) -> io.BytesIO:
    return io.BytesIO(("\n".join(lines) + "\n").encode())


def _sections(*rows: str) -> Parsed:
    return read_sections(_stream(_SECTIONS, *rows), identity(FileKind.SECTIONS))


def _results(*rows: str, version: str | None = "official") -> Parsed:
    return read_results(_stream(_RESULTS, *rows), identity(FileKind.RESULTS, version=version))


def _weather(*rows: str) -> Parsed:
    return read_weather(_stream(_WEATHER, *rows), identity(FileKind.WEATHER))


def test_a_lap_is_read_with_sectors_in_seconds_and_the_local_time_of_day() -> None:
    (row,) = _sections("13;7;1:37.428;B;13:51:22.812;1:02.001;62.001;0:01:10.500;FCY;9").rows
    assert (row["car_number"], row["lap_number"], row["lap_time_s"], row["entry"]) == ("13", 7, 97.428, 1)
    assert (row["s1_s"], row["pit_time_s"], row["flag_at_finish"]) == (62.001, 70.5, "FCY")
    assert row["crossing_local_time"] == time(13, 51, 22, 812_000)
    assert (row["is_finish_in_pit"], row["source_row"]) == (True, 2)


def test_a_sector_is_taken_from_the_next_column_where_the_first_is_empty() -> None:
    (row,) = _sections("13;7;1:37.428;;13:51:22.812;1:02.001;;;GF;").rows
    assert (row["s1_s"], row["s2_s"], row["is_finish_in_pit"]) == (62.001, None, False)


def test_two_cars_under_one_printed_number_are_told_apart_where_the_lap_number_falls_back() -> None:
    rows = _sections(*(f"3;{lap};1:40.0;;13:00:00.000;;;;GF;" for lap in (1, 2, 3, 1, 2))).rows
    assert [row["entry"] for row in rows] == [1, 1, 1, 2, 2]


def test_cells_that_cannot_be_read_reject_their_row_only() -> None:
    parsed = _sections(
        "13;1;1:37.428;;;;;;GF;", "13;2;fast;;;;;;GF;", "13;3;1:37.9;;25:00:00.0;;;;GF;", ";4;1:37.9;;;;;;GF;"
    )
    assert [row["lap_number"] for row in parsed.rows] == [1]
    assert [(reject.line, reject.detail) for reject in parsed.rejects] == [
        (3, "LAP_TIME='fast'"),
        (4, "HOUR='25:00:00.0'"),
        (5, "NUMBER=''"),
    ]


def test_a_classification_is_read_with_gaps_in_seconds_or_laps_and_cars_that_did_not_start() -> None:
    parsed = _results(
        "1;46;Classified;17;45:57.575;-;8;2:28.630;132.5;Am;;Toyota GR86",
        "2;7;Classified;17;75:58.259;+1:00.684;7;2:28.678;132.5;Am;Legends ;Toyota GR86",
        "3;9;Classified;15;;2 Laps;7;2:30.1;131;Am;;Toyota GR86",
        ";78;Not started;;;;;;;Am;;Toyota GR86",
    )
    assert parsed.rejects == []
    assert [row["gap_to_first_s"] for row in parsed.rows] == [0.0, 60.684, None, None]
    assert [row["gap_to_first_laps"] for row in parsed.rows] == [None, None, 2, None]
    assert [row["total_time_s"] for row in parsed.rows] == [2757.575, 4558.259, None, None]
    assert (parsed.rows[1]["group_name"], parsed.rows[3]["position"]) == ("Legends", None)
    table, _ = results_table("spa", "R1", [parsed])
    assert RESULTS.violations(table) == []
    assert table["position"].to_pylist() == [1, 2, 3, None]


@pytest.mark.parametrize(
    ("versions", "final"),
    [
        (["provisional", "official"], "official"),
        (["provisional", None], "unstated"),
        (["provisional"], "provisional"),
    ],
)
def test_the_best_version_of_a_classification_is_final(versions: list[str | None], final: str) -> None:
    row = "1;46;Classified;17;45:57.575;-;8;2:28.630;132.5;Am;;Toyota GR86"
    table, _ = results_table("spa", "R1", [_results(row, version=version) for version in versions])
    assert table.num_rows == len(versions)
    assert {row["version"] for row in table.to_pylist() if row["is_final"]} == {final}


def test_names_of_persons_never_get_through_whatever_the_file_is_called() -> None:
    """Indianapolis: byte order mark, CRLF, an extra delimiter on every line, and the drivers' names."""
    header = _RESULTS + ";TEAM;DRIVER_FIRSTNAME;DRIVER_SECONDNAME;DRIVER_COUNTRY;"
    row = "1;46;Classified;17;45:57.575;-;8;2:28.630;132.5;Am;;Toyota GR86;Fast Team;Ada;Lovelace;UK;"
    content = f"\ufeff{header}\r\n{row}\r\n"
    parsed = read_results(io.BytesIO(content.encode()), identity(FileKind.RESULTS, version="official"))
    table, merged = results_table("spa", "R1", [parsed])
    assert merged.dropped_columns == ("DRIVER_COUNTRY", "DRIVER_FIRSTNAME", "DRIVER_SECONDNAME", "TEAM")
    assert "Lovelace" not in str(table.to_pylist())
    assert table.num_rows == 1


def test_weather_is_read_and_a_track_without_a_sensor_has_no_temperature() -> None:
    parsed = _weather(*(f"{1745700936 + n};x;28.69;0;61.65;993.1;23.76;141;0" for n in range(3)))
    assert [row["track_temp_c"] for row in parsed.rows] == [None] * 3
    assert parsed.rows[0]["observed_utc"] == datetime(2025, 4, 26, 20, 55, 36, tzinfo=UTC)
    assert parsed.rows[0]["is_raining"] is False
    one_zero = _weather("1745700936;x;28;0;61;993;23;141;0", "1745700996;x;28;43.2;61;993;23;141;1")
    assert [row["track_temp_c"] for row in one_zero.rows] == [0.0, 43.2]
    assert WEATHER.violations(weather_table("spa", "R1", [one_zero])[0]) == []


def test_a_file_without_the_columns_it_needs_is_refused_by_name() -> None:
    with pytest.raises(MalformedFileError, match="lacks the column TIME_UTC_SECONDS"):
        read_weather(_stream("AIR_TEMP;RAIN", "1;0"), identity(FileKind.WEATHER))


def test_two_files_that_agree_are_one_and_where_they_differ_the_second_is_rejected() -> None:
    first = _sections("13;1;1:37.428;;;;;;GF;", "13;2;1:38.0;;;;;;GF;")
    second = _sections("13;1;1:37.428;;;;;;GF;", "13;2;1:39.0;;;;;;GF;", "13;3;1:37.9;;;;;;GF;")
    table, merged = official_laps_table("spa", "R1", [first, second])
    assert table["lap_time_s"].to_pylist() == [97.428, 98.0, 97.9]
    (reject,) = merged.rejects
    assert (reject.reason, reject.line) == ("conflicting_duplicate", 3)
    assert reject.detail.startswith("lap_time_s=99.0, spa/R1_spa_sections.csv line 3 says 98.0")
    told = rejects_table("spa", "R1", [reject, reject])
    assert OFFICIAL_REJECTS.violations(told) == []
    assert told["occurrence"].to_pylist() == [0, 1]


def test_nothing_gives_empty_tables_of_the_schema() -> None:
    for make, table in ((official_laps_table, OFFICIAL_LAPS), (results_table, RESULTS), (weather_table, WEATHER)):
        made, _ = make("spa", "R1", [])
        assert (made.num_rows, table.violations(made)) == (0, [])


@pytest.mark.parametrize(
    ("track", "session", "laps", "best_s", "cars_named_3"),
    [
        ("barber_motorsports_park", "R1", 579, 97.428, 1),
        ("barber_motorsports_park", "R2", 602, 97.304, 1),
        ("circuit_of_the_americas", "R1", 486, 148.630, 2),
        ("circuit_of_the_americas", "R2", 508, 148.112, 2),
        ("road_america", "R1", 415, 160.838, 1),
        ("sebring", "R1", 401, 145.437, 1),
        ("sebring", "R2", 332, 145.055, 1),
        ("virginia_international_raceway", "R1", 415, 128.432, 1),
        ("virginia_international_raceway", "R2", 441, 128.501, 1),
    ],
)
def test_the_real_races_are_read_whole_and_agree_with_themselves(
    real_data: Path, track: str, session: str, laps: int, best_s: float, cars_named_3: int
) -> None:
    root = real_data / "grcup"
    parsed: dict[FileKind, list[Parsed]] = {FileKind.SECTIONS: [], FileKind.RESULTS: []}
    for item in identify(look_at(root), None):
        if (item.track, item.session, item.status) == (track, session, FileStatus.READY) and item.kind in parsed:
            read = read_sections if item.kind is FileKind.SECTIONS else read_results
            with (root / item.path).open("rb") as stream:
                parsed[item.kind].append(read(stream, item))
    official, merged = official_laps_table(track, session, parsed[FileKind.SECTIONS])
    results, merged_results = results_table(track, session, parsed[FileKind.RESULTS])
    assert (merged.rejects, merged_results.rejects) == ([], [])
    assert (OFFICIAL_LAPS.violations(official), RESULTS.violations(results)) == ([], [])
    frame = official.to_pandas()
    assert (len(frame), frame["lap_time_s"].min(), frame["entry"].max()) == (laps, best_s, cars_named_3)
    whole = frame.dropna(subset=["s1_s", "s2_s", "s3_s"])
    assert ((whole["s1_s"] + whole["s2_s"] + whole["s3_s"] - whole["lap_time_s"]).abs() < 0.0005).all()
    final = results.to_pandas().query("is_final")
    assert final["best_lap_time_s"].min() == best_s

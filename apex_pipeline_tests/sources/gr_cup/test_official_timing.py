"""Official timing: only known columns are published, and personal names never are."""

import io
from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_columns import COLUMN_NOTATION
from apex_pipeline.sources.gr_cup.official_rows import ParsedFile
from apex_pipeline.sources.gr_cup.official_timing import (
    official_laps_table,
    read_results,
    read_sections,
    read_weather,
    results_table,
    weather_table,
)
from apex_pipeline.sources.rejects import rejects_table
from apex_pipeline.tables import OFFICIAL_LAPS, OFFICIAL_REJECTS, RESULTS, WEATHER
from apex_pipeline_tests.sources.gr_cup.lap_builder import identity

_SECTIONS = (
    "NUMBER; LAP_NUMBER; LAP_TIME; CROSSING_FINISH_LINE_IN_PIT; HOUR;S1_LARGE;S1_SECONDS;PIT_TIME;FLAG_AT_FL;INT-1_time"
)
_RESULTS = "POSITION;NUMBER;STATUS;LAPS;TOTAL_TIME;GAP_FIRST;FL_LAPNUM;FL_TIME;FL_KPH;CLASS;GROUP;VEHICLE"
_WEATHER = "TIME_UTC_SECONDS;TIME_UTC_STR;AIR_TEMP;TRACK_TEMP;HUMIDITY;PRESSURE;WIND_SPEED;WIND_DIRECTION;RAIN"


def _stream(*lines: str) -> io.BytesIO:
    return io.BytesIO(("\n".join(lines) + "\n").encode())


def _sections(*rows: str) -> ParsedFile:
    return read_sections(_stream(_SECTIONS, *rows), identity(FileKind.SECTIONS))


def _results(*rows: str, version: str | None = "official") -> ParsedFile:
    return read_results(_stream(_RESULTS, *rows), identity(FileKind.RESULTS, version=version))


def _weather(*rows: str) -> ParsedFile:
    return read_weather(_stream(_WEATHER, *rows), identity(FileKind.WEATHER))


def test_a_lap_has_sectors_in_seconds_and_the_local_time_of_day() -> None:
    (row,) = _sections("13;7;1:37.428;B;13:51:22.812;1:02.001;62.001;0:01:10.500;FCY;9").rows
    assert (row["car_number"], row["lap_number"], row["lap_time_s"], row["entry"]) == ("13", 7, 97.428, 1)
    assert (row["s1_s"], row["pit_time_s"], row["flag_at_finish"]) == (62.001, 70.5, "FCY")
    assert row["crossing_local_time"] == time(13, 51, 22, 812_000)
    assert (row["is_finish_in_pit"], row["source_row"]) == (True, 2)


def test_a_sector_falls_back_to_the_next_column_if_the_first_is_empty() -> None:
    (row,) = _sections("13;7;1:37.428;;13:51:22.812;1:02.001;;;GF;").rows
    assert (row["s1_s"], row["s2_s"], row["is_finish_in_pit"]) == (62.001, None, False)


def test_cars_sharing_a_number_are_split_where_the_lap_number_decreases() -> None:
    laps = (1, 2, 3, 1, 2)
    rows = _sections(*(f"3;{lap};1:40.0;;13:00:{row:02}.000;;;;GF;" for row, lap in enumerate(laps))).rows
    assert [row["entry"] for row in rows] == [1, 1, 1, 2, 2]


def test_an_invalid_cell_costs_its_row_only_if_the_row_needs_it() -> None:
    parsed = _sections(
        "13;1;1:37.428;;;;;;GF;", "13;2;fast;;;;;;GF;", "13;3;1:37.9;;25:00:00.0;;;;GF;", ";4;1:37.9;;;;;;GF;"
    )
    assert [(row["lap_number"], row["crossing_local_time"]) for row in parsed.rows] == [(1, None), (3, None)]
    assert [(reject.line, reject.detail) for reject in parsed.rejects] == [
        (3, "LAP_TIME=4 characters, not shown as they may name a person"),
        (5, "NUMBER=''"),
        (None, "HOUR: 1 of 1 cells unreadable, first '25:00:00.0' in line 4"),
    ]


def test_results_have_gaps_in_seconds_or_laps_and_cars_that_did_not_start() -> None:
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
def test_the_best_available_version_of_the_results_is_final(versions: list[str | None], final: str) -> None:
    row = "1;46;Classified;17;45:57.575;-;8;2:28.630;132.5;Am;;Toyota GR86"
    table, _ = results_table("spa", "R1", [_results(row, version=version) for version in versions])
    assert table.num_rows == len(versions)
    assert {row["version"] for row in table.to_pylist() if row["is_final"]} == {final}


@pytest.mark.req("A-100")
def test_personal_names_are_never_published_even_from_an_official_file() -> None:
    """Indianapolis files have a byte order mark, CRLF, an extra delimiter on every line, and the drivers' names."""
    header = _RESULTS + ";TEAM;DRIVER_FIRSTNAME;DRIVER_SECONDNAME;DRIVER_COUNTRY;"
    row = "1;46;Classified;17;45:57.575;-;8;2:28.630;132.5;Am;;Toyota GR86;Fast Team;Ada;Lovelace;UK;"
    content = f"\ufeff{header}\r\n{row}\r\n"
    parsed = read_results(io.BytesIO(content.encode()), identity(FileKind.RESULTS, version="official"))
    table, merged = results_table("spa", "R1", [parsed])
    assert merged.dropped_columns == ("DRIVER_COUNTRY", "DRIVER_FIRSTNAME", "DRIVER_SECONDNAME", "TEAM")
    assert "Lovelace" not in str(table.to_pylist())
    assert table.num_rows == 1


def test_a_track_without_a_sensor_has_no_track_temperature() -> None:
    parsed = _weather(*(f"{1745700936 + n};x;28.69;0;61.65;993.1;23.76;141;0" for n in range(3)))
    assert [row["track_temp_c"] for row in parsed.rows] == [None] * 3
    assert parsed.rows[0]["observed_utc"] == datetime(2025, 4, 26, 20, 55, 36, tzinfo=UTC)
    assert parsed.rows[0]["is_raining"] is False
    one_zero = _weather("1745700936;x;28;0;61;993;23;141;0", "1745700996;x;28;43.2;61;993;23;141;1")
    assert [row["track_temp_c"] for row in one_zero.rows] == [0.0, 43.2]
    assert WEATHER.violations(weather_table("spa", "R1", [one_zero])[0]) == []


def test_a_file_without_a_required_column_raises() -> None:
    with pytest.raises(MalformedFileError, match="lacks the column TIME_UTC_SECONDS"):
        read_weather(_stream("AIR_TEMP;RAIN", "1;0"), identity(FileKind.WEATHER))


def test_identical_rows_are_merged_and_conflicting_ones_rejected() -> None:
    first = _sections("13;1;1:37.428;;;;;;GF;", "13;2;1:38.0;;;;;;GF;")
    second = _sections("13;1;1:37.428;;;;;;GF;", "13;2;1:39.0;;;;;;GF;", "13;3;1:37.9;;;;;;GF;")
    table, merged = official_laps_table("spa", "R1", [first, second])
    assert table["lap_time_s"].to_pylist() == [97.428, 98.0, 97.9]
    (reject,) = merged.rejects
    assert (reject.reason, reject.line) == ("conflicting_duplicate", 3)
    assert reject.detail.startswith("lap_time_s=99.0, spa/R1_spa_sections.csv line 3 says 98.0")
    table = rejects_table("spa", "R1", [reject, reject])
    assert OFFICIAL_REJECTS.violations(table) == []
    assert table["occurrence"].to_pylist() == [0, 1]


def test_no_files_give_empty_tables_that_match_the_schema() -> None:
    for build, schema in ((official_laps_table, OFFICIAL_LAPS), (results_table, RESULTS), (weather_table, WEATHER)):
        table, _ = build("spa", "R1", [])
        assert (table.num_rows, schema.violations(table)) == (0, [])


def test_a_number_without_repeated_laps_is_one_car_in_any_row_order() -> None:
    laps = (3, 1, 2)
    rows = _sections(*(f"3;{lap};1:40.0;;13:00:{row:02}.000;;;;GF;" for row, lap in enumerate(laps))).rows
    assert [row["entry"] for row in rows] == [1, 1, 1]


def test_cars_sharing_a_number_are_split_if_the_second_drove_longer() -> None:
    laps = (1, 2, 1, 2, 3)
    rows = _sections(*(f"3;{lap};1:40.0;;13:00:{row:02}.000;;;;GF;" for row, lap in enumerate(laps))).rows
    assert [row["entry"] for row in rows] == [1, 1, 2, 2, 2]


def test_a_repeated_row_is_one_lap_and_is_counted() -> None:
    row = "3;1;1:40.0;;13:00:00.000;;;;GF;"
    parsed = _sections(row, row, row.replace("3;1;", "3;2;"))
    assert [(row["lap_number"], row["entry"]) for row in parsed.rows] == [(1, 1), (2, 1)]
    assert (parsed.repeated_rows, parsed.rejects) == (1, [])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(("S1_SECONDS", "S1_LARGE", "S1"), 62.001), (("S1_LARGE", "S1"), 62.002), (("S1",), 62.003)],
)
def test_a_sector_is_taken_from_the_best_available_column(columns: tuple[str, ...], expected: float) -> None:
    text = {"S1_SECONDS": "62.001", "S1_LARGE": "1:02.002", "S1": "1:02.003"}
    header = "NUMBER;LAP_NUMBER;LAP_TIME;" + ";".join(reversed(columns))
    row = "13;1;1:40.0;" + ";".join(text[name] for name in reversed(columns))
    (lap,) = read_sections(_stream(header, row), identity(FileKind.SECTIONS)).rows
    assert lap["s1_s"] == expected


def test_missing_columns_are_null_and_unknown_columns_are_listed() -> None:
    """Sonoma files have columns for two intermediate timing points, INT-1 and INT-2."""
    parsed = read_sections(
        _stream("NUMBER; LAP_NUMBER; LAP_TIME;INT-1_time;INT-2_time", "13;1;1:40.0;20.1;30.2"),
        identity(FileKind.SECTIONS),
    )
    table, merged = official_laps_table("spa", "R1", [parsed])
    assert OFFICIAL_LAPS.violations(table) == []
    (lap,) = table.to_pylist()
    assert {lap[name] for name in ("s1_s", "top_speed_kph", "crossing_local_time", "flag_at_finish")} == {None}
    assert lap["is_finish_in_pit"] is False
    assert merged.dropped_columns == ("INT-1_time", "INT-2_time")


def test_an_out_of_range_number_becomes_null_and_is_reported() -> None:
    parsed = _weather("1745700936;x;28;40;-999;993;23;720;0", "1745700996;x;28;40;61;993;23;141;0")
    table, merged = weather_table("spa", "R1", [parsed])
    assert WEATHER.violations(table) == []
    assert table["humidity_pct"].to_pylist() == [None, 61.0]
    assert [(reject.line, reject.reason, reject.detail) for reject in merged.rejects] == [
        (2, "out_of_range", "HUMIDITY='-999'"),
        (2, "out_of_range", "WIND_DIRECTION='720'"),
    ]


@pytest.mark.parametrize("lap", ["0", "-2", "1.5", ""])
def test_a_lap_without_a_valid_number_is_rejected(lap: str) -> None:
    parsed = _sections(f"13;{lap};1:37.4;;;;;;GF;")
    assert (parsed.rows, [reject.detail for reject in parsed.rejects]) == ([], [f"LAP_NUMBER={lap!r}"])


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        (
            "1;46;Classified;17;45:57.575;soon;8;2:28.630;132.5;Am;;Toyota GR86",
            "GAP_FIRST: 1 of 1 cells unreadable, first 4 characters, not shown as they may name a person in line 2",
        ),
        (
            "1;46;Classified;17;DNF;-;8;2:28.630;132.5;Am;;Toyota GR86",
            "TOTAL_TIME: 1 of 1 cells unreadable, first 3 characters, not shown as they may name a person in line 2",
        ),
        ("1;;Classified;17;45:57.575;-;8;2:28.630;132.5;Am;;Toyota GR86", "NUMBER=''"),
    ],
)
def test_an_invalid_cell_of_a_result_is_told_and_a_result_without_a_number_rejected(row: str, detail: str) -> None:
    parsed = _results(row)
    reason = "bad_value" if detail.startswith("NUMBER") else "unreadable_cells"
    assert [(reject.reason, reject.detail) for reject in parsed.rejects] == [(reason, detail)]
    assert len(parsed.rows) == (reason == "unreadable_cells")


def test_a_car_without_a_timed_lap_has_no_fastest_lap() -> None:
    (row,) = _results("23;89;Classified;1;2:18.313;19 Laps;0;;;Am;;Toyota GR86").rows
    assert (row["best_lap_number"], row["best_lap_time_s"], row["laps_completed"]) == (None, None, 1)


def test_two_cars_with_the_same_number_both_keep_their_results() -> None:
    rows = [f"{place};3;Classified;17;45:5{place}.575;-;8;2:28.630;132.5;Am;;Toyota GR86" for place in (4, 9)]
    table, merged = results_table("spa", "R1", [_results(*rows)])
    assert (table["position"].to_pylist(), merged.rejects, RESULTS.violations(table)) == ([4, 9], [], [])


@pytest.mark.req("A-100")
def test_rejects_omit_the_line_text_which_may_contain_names() -> None:
    parsed = read_results(
        _stream(_RESULTS + ";DRIVER_SECONDNAME", "1;46;Classified;Lovelace"), identity(FileKind.RESULTS)
    )
    (reject,) = parsed.rejects
    assert (reject.line, reject.reason) == (2, "too_few_columns")
    assert "Lovelace" not in reject.detail


def test_a_file_with_only_a_header_has_no_rows() -> None:
    parsed = _weather()
    assert (parsed.rows, parsed.rejects, parsed.blanked_cells) == ([], [], 0)


@pytest.mark.parametrize("rain", ["0", "1"])
def test_rain_is_a_boolean(rain: str) -> None:
    (row,) = _weather(f"1745700936;x;28;40;61;993;23;141;{rain}").rows
    assert row["is_raining"] is (rain == "1")


def test_weather_rows_with_equal_times_are_merged_or_rejected_if_different() -> None:
    first = _weather("1745700936;x;28;40;61;993;23;141;0")
    same = _weather("1745700936;x;28;40;61;993;23;141;0", "1745700996;x;28;40;61;993;23;141;1")
    other = _weather("1745700936;x;29;40;61;993;23;141;0")
    table, merged = weather_table("spa", "R1", [first, same, other])
    assert table["is_raining"].to_pylist() == [False, True]
    assert merged.repeated_rows == 1
    assert [(reject.reason, reject.detail.split(",")[0]) for reject in merged.rejects] == [
        ("conflicting_duplicate", "air_temp_c=29.0")
    ]


def test_blanked_track_temperatures_are_counted() -> None:
    _, merged = weather_table("spa", "R1", [_weather("1745700936;x;28;0;61;993;23;141;0")])
    assert merged.blanked_cells == 1


_cells = st.tuples(st.sampled_from(["3", "13", ""]), st.sampled_from(["1", "2", "x"]), st.sampled_from(["99.5", "?"]))


@given(st.lists(_cells, max_size=12))
def test_every_row_is_published_rejected_or_counted_as_repeated(rows: list[tuple[str, str, str]]) -> None:
    parsed = _sections(*(f"{number};{lap};{time};;13:00:00.0;;;;GF;" for number, lap, time in rows))
    table, merged = official_laps_table("spa", "R1", [parsed])
    assert OFFICIAL_LAPS.violations(table) == []
    rejected = [reject for reject in merged.rejects if reject.reason != COLUMN_NOTATION]
    assert table.num_rows + merged.repeated_rows + len(rejected) == len(rows)

"""Official timing is a witness: one wrong cell, row or column never gives a valid lap that others contradict."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.laps.official_check import CellTimes, TimeGroup, check_cells
from apex_pipeline.sources.gr_cup.laps.official_verdict import judge
from apex_pipeline.tables import OFFICIAL_LAPS
from apex_pipeline_tests.sources.gr_cup.laps.official_file import (
    Cells,
    as_clock,
    as_minutes,
    cells_of,
    change,
    change_column,
    laps_with,
    parse,
    true_times,
)
from apex_pipeline_tests.sources.gr_cup.laps.race_builder import RaceCar, derive, official_table, race, triggers_of

_CARS = race()
_ROW = 14  # car 11, lap 5
_TIMES = ("LAP_TIME", "ELAPSED", "HOUR", "S1_SECONDS", "S2_SECONDS", "S3_SECONDS")


def _seconds(text: str) -> float:
    minutes, _, rest = text.rpartition(":")
    return 60 * float(minutes or 0) + float(rest)


def _assert_true(laps: pd.DataFrame, cars: Sequence[RaceCar] = _CARS) -> None:
    truth = true_times(cars)
    valid = laps[laps["is_valid"]]
    errors = [
        abs(time_s - truth[unit, lap])
        for unit, lap, time_s in zip(valid["vehicle_id"], valid["lap_number"], valid["lap_time_s"], strict=True)
    ]
    assert max(errors) < 0.5


def test_a_clean_file_is_published_as_it_is_and_confirmed() -> None:
    laps = laps_with(_CARS, cells_of(_CARS))
    _assert_true(laps)
    assert laps["is_valid"].all()
    assert set(laps["lap_time_method"]) == {"official"}
    assert (laps["confidence"] >= 0.95).all()
    assert (laps.loc[laps["lap_number"] > 1, "confidence"] == 1.0).all()


@pytest.mark.parametrize("typo", ["0:38.000", "99:59.999", "1:28.512", "0:00.001"])
def test_a_typo_in_lap_time_is_outvoted_and_flagged(typo: str) -> None:
    laps = laps_with(_CARS, change(cells_of(_CARS), _ROW, "LAP_TIME", lambda _: typo))
    _assert_true(laps)
    (lap,) = laps[laps["lap_time_method"] != "official"].to_dict("records")
    assert (lap["lap_time_method"], lap["confidence"], lap["official_lap_time_s"]) == (
        "official_cells",
        0.7,
        _seconds(typo),
    )
    assert "official_disagrees" in lap["flags"]
    assert lap["is_valid"]


@pytest.mark.parametrize("column", ["ELAPSED", "HOUR", "S1_SECONDS", "S2_SECONDS", "S3_SECONDS"])
def test_a_typo_in_another_cell_changes_no_lap_time(column: str) -> None:
    typo = "13:00:00.000" if column == "HOUR" else "1:10.000"
    laps = laps_with(_CARS, change(cells_of(_CARS), _ROW, column, lambda _: typo))
    _assert_true(laps)
    assert laps["is_valid"].all()
    assert set(laps["lap_time_method"]) == {"official"}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 59), st.sampled_from(_TIMES), st.sampled_from(_TIMES), st.floats(-50, 50))
def test_two_typos_in_one_row_give_no_valid_lap_that_is_wrong(row: int, one: str, other: str, by_s: float) -> None:
    def shifted(column: str) -> Callable[[str], str]:
        if column == "HOUR":
            return lambda _: as_clock(50_000 + by_s)
        return lambda text: as_minutes(abs(_seconds(text) + by_s) + 1)

    cells = change(change(cells_of(_CARS), row, one, shifted(one)), row, other, shifted(other))
    _assert_true(laps_with(_CARS, cells))


def test_swapped_lap_times_are_both_outvoted() -> None:
    cells = cells_of(_CARS)
    first, second = cells[_ROW]["LAP_TIME"], cells[3]["LAP_TIME"]
    swapped = change(change(cells, _ROW, "LAP_TIME", lambda _: second), 3, "LAP_TIME", lambda _: first)
    _assert_true(laps_with(_CARS, swapped))


@pytest.mark.parametrize("column", ["LAP_TIME", "ELAPSED", "HOUR"])
def test_a_column_shifted_by_one_row_gives_no_wrong_lap(column: str) -> None:
    cells = cells_of(_CARS)
    values = [cells[-1][column], *(row[column] for row in cells[:-1])]
    shifted: Cells = [{**row, column: value} for row, value in zip(cells, values, strict=True)]
    _assert_true(laps_with(_CARS, shifted))


@pytest.mark.parametrize("source", [10, 20, 59])
@pytest.mark.parametrize("row", [9, 19])
def test_a_last_lap_with_all_times_of_another_row_is_not_valid_if_it_ends_before_it_began(
    row: int, source: int
) -> None:
    cells = cells_of(_CARS)
    times = {column: cells[source][column] for column in _TIMES}
    laps = laps_with(_CARS, [{**cells[at], **times} if at == row else dict(cells[at]) for at in range(len(cells))])
    _assert_true(laps)


@pytest.mark.parametrize("columns", [("ELAPSED",), ("HOUR",), ("ELAPSED", "HOUR")])
def test_a_crossing_before_that_of_the_lap_before_is_outvoted_by_the_car_and_never_a_lap_time(
    columns: tuple[str, ...],
) -> None:
    cells = cells_of(_CARS)
    earlier = {column: cells[10][column] for column in columns}
    laps = laps_with(_CARS, [{**row, **earlier} if at == _ROW else dict(row) for at, row in enumerate(cells)])
    _assert_true(laps)
    assert (laps["lap_time_s"] > 0).all()
    of_car = laps[laps["vehicle_id"] == _CARS[1].unit]
    assert set(of_car["lap_number"]) == set(range(1, 11))
    assert len(laps) == len(cells)
    assert of_car["official_lap_time_s"].notna().all()


@pytest.mark.parametrize("zero", ["0:00.000", "0.000", "0", "0:00.0004"])
@pytest.mark.parametrize("elapsed", ["earlier", ""])
def test_a_lap_without_a_time_is_rejected_whatever_its_other_cells_say(zero: str, elapsed: str) -> None:
    """Car 11 has no crossing at the end of lap 5, so no witness of its own is left to outvote the cells."""
    cars = [replace(car, crossings_s=list(car.crossings_s)) for car in _CARS]
    cells = cells_of(cars)
    blank = {"HOUR": "", "S1_SECONDS": "", "S2_SECONDS": "", "S3_SECONDS": ""}
    row = {**cells[_ROW], **blank, "LAP_TIME": zero, "ELAPSED": cells[11]["ELAPSED"] if elapsed else ""}
    del cars[1].crossings_s[5]
    laps = laps_with(cars, [*cells[:_ROW], row, *cells[_ROW + 1 :]])
    valid = laps[laps["is_valid"] & (laps["vehicle_id"] == cars[1].unit)]
    assert (laps["lap_time_s"].dropna() > 0).all()
    assert set(valid["lap_number"]) == set(range(1, 11)) - {5}
    assert set(valid["lap_time_method"]) == {"official"}


def test_a_lap_time_of_zero_is_a_reject_and_never_in_the_table() -> None:
    parsed = parse(change(cells_of(_CARS), _ROW, "LAP_TIME", lambda _: "0:00.000"))
    assert [(reject.reason, reject.detail) for reject in parsed.rejects] == [("bad_value", "LAP_TIME='0:00.000'")]
    assert len(parsed.rows) == len(cells_of(_CARS)) - 1


def test_a_table_of_an_older_release_with_a_lap_time_of_zero_gives_no_such_lap() -> None:
    rows = official_table(_CARS).to_pylist()
    rows[_ROW]["lap_time_s"] = 0.0
    laps = derive(triggers_of(_CARS), OFFICIAL_LAPS.from_rows(rows)).laps.to_pandas()
    assert (laps["lap_time_s"].dropna() > 0).all()
    _assert_true(laps[laps["lap_number"] != 5])


@given(
    st.sampled_from([98.5, 0.0, -294.794]),
    st.lists(st.tuples(st.floats(-300, 300), st.booleans()), min_size=1, max_size=5),
    st.none() | st.floats(5, 300),
    st.none() | st.floats(5, 300),
)
def test_an_impossible_time_is_never_the_verdict(
    printed_s: float, others: list[tuple[float, bool]], trigger_s: float | None, unit_s: float | None
) -> None:
    groups = [TimeGroup(time_s, frozenset({"HOUR", "ELAPSED"} if two else {"HOUR"})) for time_s, two in others]
    stated = [TimeGroup(98.0, frozenset({"sectors"})), TimeGroup(printed_s, frozenset({"LAP_TIME"}))]
    times = CellTimes((*stated, *groups))
    assert judge(times, trigger_s, unit_s, is_rounded=False).time_s > 0


def test_a_sector_of_zero_is_not_measured_and_its_sum_is_no_witness() -> None:
    cells = change(cells_of(_CARS), _ROW, "S1_SECONDS", lambda _: "0.000")
    parsed = parse(change(cells, _ROW, "S2_SECONDS", lambda _: "0.000"))
    row = next(row for row in parsed.rows if (row["car_number"], row["lap_number"]) == ("11", 5))
    (times,) = check_cells([row], None)
    assert [group.cells for group in times.groups] == [{"LAP_TIME"}]


def test_a_row_repeated_under_another_lap_number_is_rejected() -> None:
    cells = cells_of(_CARS)
    repeated = [*cells[:15], {**cells[_ROW], "LAP_NUMBER": "9"}, *cells[15:]]
    laps = laps_with(_CARS, repeated)
    _assert_true(laps)
    assert len(laps) == len(cells)
    assert laps["is_valid"].all()


@pytest.mark.parametrize("column", ["LAP_TIME", "S2_SECONDS"])
def test_a_repeated_row_with_one_more_typo_is_still_a_copy(column: str) -> None:
    cells = cells_of(_CARS)
    copy = {**cells[_ROW], "LAP_NUMBER": "9", column: "1:10.000"}
    parsed = parse([*cells[:15], copy, *cells[15:]])
    assert [(reject.reason, reject.line) for reject in parsed.rejects] == [("repeated_crossing", 17)]
    assert len(parsed.rows) == len(cells)


def test_a_copy_is_found_beside_another_lap_with_its_crossing() -> None:
    """Lap 5 has the crossing of lap 6, which is its own place in the order of ELAPSED; lap 9 repeats lap 6."""
    cells = cells_of(_CARS)
    wrong = {name: cells[15][name] for name in ("ELAPSED", "HOUR")}
    parsed = parse([*cells[:_ROW], {**cells[_ROW], **wrong}, cells[15], {**cells[15], "LAP_NUMBER": "12"}, *cells[16:]])
    assert [(reject.reason, reject.line) for reject in parsed.rejects] == [("repeated_crossing", 18)]


@pytest.mark.parametrize("without", [(), ("S1_SECONDS", "S2_SECONDS", "S3_SECONDS")])
@pytest.mark.parametrize("target", [1, 3, 8])
def test_a_crossing_typed_into_another_lap_is_no_copy_of_that_lap(target: int, without: tuple[str, ...]) -> None:
    cells = [{**row, **dict.fromkeys(without, "")} for row in cells_of(_CARS)]
    wrong = {name: cells[10 + target][name] for name in ("ELAPSED", "HOUR")}
    parsed = parse([{**row, **wrong} if at == _ROW else row for at, row in enumerate(cells)])
    assert (parsed.rejects, len(parsed.rows)) == ([], len(cells))


_NOTATIONS: dict[str, tuple[str, Callable[[str], str]]] = {
    "milliseconds": ("LAP_TIME", lambda text: str(round(_seconds(text) * 1000))),
    "fraction of a day": ("LAP_TIME", lambda text: repr(_seconds(text) / 86_400)),
    "decimal comma": ("LAP_TIME", lambda text: text.replace(".", ",")),
    "apostrophe": ("LAP_TIME", lambda text: text.replace(":", "'")),
    "days": ("LAP_TIME", lambda text: f"0 days 00:0{text}"),
    "elapsed in milliseconds": ("ELAPSED", lambda text: str(round(_seconds(text) * 1000))),
    "sectors in milliseconds": ("S1_SECONDS", lambda text: str(round(float(text) * 1000))),
}


@pytest.mark.parametrize("name", _NOTATIONS)
def test_a_column_in_another_notation_is_read_like_the_usual_one(name: str) -> None:
    column, rewrite = _NOTATIONS[name]
    laps = laps_with(_CARS, change_column(cells_of(_CARS), column, rewrite))
    pd.testing.assert_frame_equal(laps, laps_with(_CARS, cells_of(_CARS)))


def test_lap_times_rounded_by_a_spreadsheet_are_the_sums_of_their_sectors() -> None:
    rounded = change_column(cells_of(_CARS), "LAP_TIME", lambda text: f"01:{_seconds(text) - 60:04.1f}")
    laps = laps_with(_CARS, rounded)
    exact = laps[[not {"official_rounded"} & set(flags) for flags in laps["flags"]]]
    truth = true_times(_CARS)
    assert len(exact) > 50
    for lap in exact.to_dict("records"):
        assert lap["lap_time_s"] == truth[lap["vehicle_id"], lap["lap_number"]]

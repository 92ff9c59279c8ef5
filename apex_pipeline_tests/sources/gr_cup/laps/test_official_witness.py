"""Official timing is a witness: one wrong cell, row or column never gives a valid lap that others contradict."""

from collections.abc import Callable, Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline_tests.sources.gr_cup.laps.official_file import (
    Cells,
    as_clock,
    as_minutes,
    cells_of,
    change,
    change_column,
    laps_with,
    true_times,
)
from apex_pipeline_tests.sources.gr_cup.laps.race_builder import RaceCar, race

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


def test_a_row_repeated_under_another_lap_number_is_rejected() -> None:
    cells = cells_of(_CARS)
    repeated = [*cells[:15], {**cells[_ROW], "LAP_NUMBER": "9"}, *cells[15:]]
    laps = laps_with(_CARS, repeated)
    _assert_true(laps)
    assert len(laps) == len(cells)
    assert laps["is_valid"].all()


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

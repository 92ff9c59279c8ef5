"""The picture of the lap times per car."""

from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.reports.lap_times import draw_lap_times
from apex_pipeline.reports.svg import MAX_BYTES
from apex_pipeline.tables import LAPS
from apex_pipeline_tests.reports.pictures import Picture


def _laps(*cars: tuple[str, str | None, Sequence[float | None]], is_valid: bool = True) -> pa.Table:
    """Return laps of cars given by id, number and lap times in seconds."""
    rows: list[dict[str, object]] = [
        {"vehicle_id": vehicle, "car_number": number, "lap_number": lap, "lap_time_s": time, "is_valid": is_valid}
        for vehicle, number, times in cars
        for lap, time in enumerate(times, 1)
    ]
    return LAPS.from_rows(rows)


def test_cars_are_listed_by_their_best_lap_with_it_and_their_median() -> None:
    picture = Picture(draw_lap_times(_laps(("a", "7", [99.0, 98.5, 98.8]), ("b", "13", [97.428, 98.0, 98.2]))))
    rows = picture.texts[picture.texts.index("median") + 1 :]
    assert rows[:6] == ["#13", "1:37.428", "1:38.000", "#7", "1:38.500", "1:38.800"]
    assert picture.is_within_its_frame


def test_a_car_without_a_number_or_with_that_of_another_is_named_by_its_id() -> None:
    texts = Picture(draw_lap_times(_laps(("GR86-1-1", None, [97]), ("x", "3", [98]), ("GR86-2-3", "3", [99])))).texts
    assert [name for name in texts if name in {"1-1", "x", "#3", "2-3", "?"}] == ["1-1", "x", "2-3"]


@pytest.mark.parametrize("cars", [2, 3])
def test_all_cars_with_the_same_number_are_named_by_their_ids(cars: int) -> None:
    ids = [f"GR86-00{chassis}-7" for chassis in range(1, cars + 1)]
    texts = Picture(draw_lap_times(_laps(*((vehicle, "7", [97]) for vehicle in ids), ("x", "3", [98])))).texts
    assert [text for text in texts if text.endswith("-7") or text.startswith("#")] == [
        *(vehicle.removeprefix("GR86-") for vehicle in ids),
        "#3",
    ]


def test_long_ids_of_cars_with_the_same_number_are_told_apart() -> None:
    texts = Picture(draw_lap_times(_laps(("GT4-chassis-001-7", "7", [97]), ("GT4-chassis-002-7", "7", [98])))).texts
    assert {"…is-001-7", "…is-002-7"} <= set(texts)


def test_slow_laps_are_counted_and_put_on_the_right_edge() -> None:
    times = [97 + 0.1 * lap for lap in range(37)]
    picture = Picture(draw_lap_times(_laps(("a", "1", [*times, 200.0, 250.0, 300.0]))))
    assert "3 slower than 1:42.850 on the right edge" in picture.texts
    assert picture.is_within_its_frame


@pytest.mark.parametrize("laps", [LAPS.empty(), _laps(("a", "1", [None])), _laps(("a", "1", [98.0]), is_valid=False)])
def test_without_a_valid_lap_there_is_no_picture(laps: pa.Table) -> None:
    assert draw_lap_times(laps) is None


def test_a_race_of_24_hours_with_45_cars_is_still_small_and_says_what_it_leaves_out() -> None:
    cars = [(f"car{number}", str(number), [90 + lap / 30 for lap in range(300)]) for number in range(45)]
    picture = Picture(draw_lap_times(_laps(*cars)))
    assert picture.bytes < MAX_BYTES
    assert any("5 more cars not shown" in text for text in picture.texts)


def test_a_picture_with_a_dot_everywhere_is_drawn_more_coarsely_until_it_fits() -> None:
    times = [90 + lap / 30 for lap in range(700)]
    cars = [(f"car{number}", str(number), times) for number in range(40)]
    laps = pa.concat_tables([_laps(*cars), _laps(*cars, is_valid=False)])

    picture = Picture(draw_lap_times(laps))

    assert 10_000 < picture.bytes <= MAX_BYTES
    assert [text for text in picture.texts if text.startswith("#")] == [
        f"#{number}" for number in sorted(range(40), key=str)
    ]
    # A dot at least every twelve pixels of the 414 between the names and the times.
    assert all(path.count("h0") >= 414 / 12 - 2 for path in picture.paths if "m" in path)


def test_a_number_that_is_markup_is_text() -> None:
    picture = Picture(draw_lap_times(_laps(("a", '<b>&"\x00)', [98.0]))))
    assert '#<b>&"?)' in picture.texts


@given(st.lists(st.floats(0, 1e7, allow_subnormal=False) | st.none() | st.just(float("nan")), max_size=30))
def test_any_lap_times_give_a_picture_or_none(times: list[float | None]) -> None:
    drawn = draw_lap_times(_laps(("a", "1", times)))
    usable = [time for time in times if time is not None and time == time]  # noqa: PLR0124  -- NaN is not itself
    assert (drawn is not None) == bool(usable)
    assert drawn is None or Picture(drawn).is_within_its_frame

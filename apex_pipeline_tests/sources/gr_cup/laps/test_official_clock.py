"""The official clock is the alignment that fits clearly best, in any zone; an ambiguous one is not used."""

import numpy as np
import pytest

from apex_pipeline.sources.gr_cup.laps.official_clock import find_official_clock
from apex_pipeline_tests.sources.gr_cup.laps.official_file import cells_of, change_column, laps_with
from apex_pipeline_tests.sources.gr_cup.laps.race_builder import (
    GREEN,
    RaceCar,
    derive,
    official_table,
    race,
    triggers_of,
)

_CARS = race()
_GREEN_S = 13.7 * 3600


def _equal_laps(cars: int = 8, laps: int = 12) -> list[RaceCar]:
    starts = [1.0 + 11.3 * place for place in range(cars)]
    return [
        RaceCar(f"GR86-{100 + at}-{10 + at}", f"{10 + at}", [round(start + 100.0 * lap, 3) for lap in range(laps + 1)])
        for at, start in enumerate(starts)
    ]


@pytest.mark.parametrize("zone", [None, "America/Chicago", "Asia/Kathmandu", "Australia/Lord_Howe"])
@pytest.mark.parametrize("behind_s", [0.0, 121.0, 423.0, -3600.0])
def test_a_clock_that_is_off_is_aligned_in_any_zone(zone: str | None, behind_s: float) -> None:
    laps = laps_with(_CARS, cells_of(_CARS, green_s=_GREEN_S - behind_s), zone)
    assert (laps["official_lap_number"] == laps["lap_number"]).all()
    assert (laps["lap_end_utc"] > GREEN).all()
    assert laps["delta_to_official_s"].abs().max() < 0.01


def test_equal_laps_and_a_clock_two_minutes_off_are_ambiguous_and_not_used() -> None:
    cars = _equal_laps()
    derived = derive(triggers_of(cars), official_table(cars, behind_s=120.0), None)
    assert derived.report.official_clock_behind_s is None
    assert all("ambiguous" in car["evidence"] for car in derived.cars.to_pylist() if car["vehicle_id"])


def test_equal_laps_with_a_clock_that_is_right_are_used() -> None:
    cars = _equal_laps()
    derived = derive(triggers_of(cars), official_table(cars))
    assert derived.report.official_laps == derived.report.laps


def test_a_file_of_another_race_is_refused() -> None:
    others = race(seed=9)
    rng = np.random.default_rng(2)
    for car in others:
        car.crossings_s = np.cumsum([3.0, *rng.uniform(80, 140, 10)]).round(3).tolist()
    derived = derive(triggers_of(_CARS), official_table(others))
    assert derived.report.official_laps == 0


def test_a_race_over_midnight_stays_on_one_time_line() -> None:
    laps = laps_with(_CARS, cells_of(_CARS, green_s=86_400 - 300))
    assert (laps["official_lap_number"] == laps["lap_number"]).all()
    assert laps["lap_end_utc"].max() - laps["lap_end_utc"].min() < np.timedelta64(2_000, "s")


@pytest.mark.parametrize("change_s", [-3600, 3600, -1800])
def test_a_change_of_summer_time_during_the_race_moves_no_lap(change_s: int) -> None:
    def moved(text: str) -> str:
        hours, minutes, seconds = text.split(":")
        total = 3600 * int(hours) + 60 * int(minutes)
        total += change_s if total >= 13.9 * 3600 else 0
        return f"{total // 3600:02}:{total % 3600 // 60:02}:{seconds}"

    clean = laps_with(_CARS, cells_of(_CARS))
    laps = laps_with(_CARS, change_column(cells_of(_CARS), "HOUR", moved))
    assert (laps["lap_end_utc"] - clean["lap_end_utc"]).abs().max() < np.timedelta64(10, "ms")
    assert laps["is_valid"].all()


def test_a_clock_without_its_hour_is_replaced_by_elapsed() -> None:
    laps = laps_with(_CARS, change_column(cells_of(_CARS), "HOUR", lambda text: text[3:10]))
    assert (laps["official_lap_number"] == laps["lap_number"]).all()
    assert laps["is_valid"].all()


def test_crossings_of_two_days_are_compared_within_one_of_them() -> None:
    """The median of two equal halves a year apart is near neither of them."""
    day_ms, local_ms = 86_400_000, [43_200_000 + 97_000 * lap + 3_000 * (lap % 7) for lap in range(30)]
    own_ms = [20_000 * day_ms + value for value in local_ms]
    later_ms = [value + 365 * day_ms for value in own_ms]
    found = find_official_clock([*own_ms, *later_ms], local_ms, "UTC")
    assert found.clock is not None
    assert abs(found.clock.offset_s) < 0.5

"""Laps that are not raced are never valid without official timing, whatever the shape of the session."""

import random
from itertools import pairwise
from typing import Any

import pytest

from apex_pipeline.sources.gr_cup.laps.derivation import derive_laps
from apex_pipeline_tests.sources.gr_cup.lap_builder import at_pace, crossings_of

_RACING_SHARE = 1.1


def _valid_s(cars: dict[str, list[float]], starts_s: dict[str, float] | None = None) -> list[float]:
    """Return the times of the valid laps of cars that drive these laps."""
    triggers = [
        trigger
        for car, times_s in cars.items()
        for trigger in crossings_of(car, [second + (starts_s or {}).get(car, 0.0) for second in at_pace(times_s)])
    ]
    rows: list[dict[str, Any]] = derive_laps("spa", "R1", triggers).laps.to_pylist()
    return [row["lap_time_s"] for row in rows if row["is_valid"]]


def _practice(lap_s: float, chance: random.Random, runs: int) -> list[float]:
    """Return out-lap, racing laps and a stop of 4 to 22 minutes, several times."""
    times_s: list[float] = []
    for _ in range(runs):
        racing = [lap_s * (1 + 0.02 * chance.random()) for _ in range(chance.randint(3, 6))]
        times_s += [lap_s * chance.uniform(1.2, 1.4), *racing, lap_s + chance.uniform(240, 1320)]
    return times_s


@pytest.mark.parametrize("cars", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("lap_s", [15.0, 98.0, 240.0, 480.0])
def test_no_stop_or_out_lap_of_a_practice_is_valid(cars: int, lap_s: float) -> None:
    chance = random.Random(cars)  # noqa: S311 -- reproducible laps
    driven = {f"GR86-{car:03}-{car}": _practice(lap_s, chance, 3) for car in range(1, cars + 1)}
    starts_s = {car: chance.uniform(0, 600) for car in driven}
    valid_s = _valid_s(driven, starts_s)
    assert valid_s
    assert max(valid_s) < _RACING_SHARE * lap_s


def test_a_session_in_which_every_car_parks_has_no_valid_lap() -> None:
    chance = random.Random(4)  # noqa: S311 -- reproducible laps
    parked = {f"GR86-{car:03}-{car}": [chance.uniform(400, 4_000) for _ in range(2)] for car in range(1, 9)}
    assert _valid_s(parked) == []


def test_a_race_stopped_for_78_minutes_has_no_valid_lap_over_the_stop() -> None:
    stopped = {f"GR86-{car:03}-{car}": [99.0, 98.5, 98.7, 98.7 + 4_680, 99.0, 98.6] for car in range(1, 21)}
    assert max(_valid_s(stopped)) < _RACING_SHARE * 99


def test_mostly_in_laps_do_not_set_the_pace() -> None:
    runs = [130.0, 98.0, 118.0 + 300, 131.0, 98.4, 119.0 + 500, 129.0, 98.2, 117.0 + 420]
    driven = {f"GR86-{car:03}-{car}": [time_s + 3.1 * car for time_s in runs] for car in range(1, 5)}
    assert max(_valid_s(driven, {"GR86-002-2": 50.0, "GR86-003-3": 130.0, "GR86-004-4": 260.0})) < 125


def test_laps_behind_a_safety_car_are_valid_between_racing_laps_and_formation_laps_are_not() -> None:
    times_s = [145.0, 103.0, 98.5, 157.0, 155.0, 98.7, 98.6, 98.4, 140.0]
    driven = {f"GR86-{car:03}-{car}": [time_s + 0.1 * car for time_s in times_s] for car in range(1, 13)}
    valid_s = _valid_s(driven)
    assert sum(time_s > 150 for time_s in valid_s) == 24
    assert not [time_s for time_s in valid_s if 139 < time_s < 150]


@pytest.mark.parametrize("late_s", [2.5, 3.8, 5.0, 7.6])
@pytest.mark.parametrize("laps", [(5,), (5, 9), (1, 6, 12)])
def test_crossings_stamped_late_give_no_false_best_lap(late_s: float, laps: tuple[int, ...]) -> None:
    """The device's lap timer runs on the same timestamps, so it confirms nothing."""
    chance = random.Random(round(10 * late_s))  # noqa: S311 -- reproducible laps
    triggers = []
    for car in range(1, 13):
        times_s = [104.0, *(98 + 0.2 * chance.random() + 0.5 * chance.random() for _ in range(15))]
        seconds = at_pace(times_s)
        if car % 4 == 0:
            seconds = [second + late_s * (number in laps) for number, second in enumerate(seconds)]
        assert all(before < after for before, after in pairwise(seconds))
        triggers += crossings_of(f"GR86-{car:03}-{car}", seconds, with_unit_time=True)
    rows = derive_laps("spa", "R1", triggers).laps.to_pylist()
    assert min(row["lap_time_s"] for row in rows if row["is_valid"]) > 98 - 0.5

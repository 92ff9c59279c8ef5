"""Telemetry evidence for laps: missing crossings, lap times by the car's clock, and evidence that is not used."""

from typing import Any

import pytest

from apex_pipeline.sources.gr_cup.laps.crossings import TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline_tests.sources.gr_cup.laps.race_builder import (
    GREEN,
    RaceCar,
    derive,
    official_table,
    race,
    triggers_of,
)

_GREEN_MS = round(GREEN.timestamp() * 1000)
_CLOCK_BEHIND_MS = 90_000_000
_LATE_MS = 1_150  # telemetry times are receive times minus the car's usual delay


def telemetry_crossings(car: RaceCar, *, is_frozen: bool = False) -> list[TelemetryCrossing]:
    """Return a car's telemetry crossings: 1.15 s late in UTC, exact by the car's own clock."""
    return [
        TelemetryCrossing(
            vehicle_id=car.unit,
            utc_ms=_GREEN_MS + round(second * 1000) + _LATE_MS,
            car_ms=None if is_frozen else _GREEN_MS + second * 1000 - _CLOCK_BEHIND_MS,
            source="distance",
            file="spa/R1_spa_telemetry_data.csv",
        )
        for second in car.crossings_s
    ]


def without_crossing(cars: list[RaceCar], car: RaceCar, lap: int) -> list[Trigger]:
    missing_ms = _GREEN_MS + round(car.crossings_s[lap] * 1000)
    return [
        item
        for item in triggers_of(cars, with_lap_timer=False)
        if (item.vehicle_id, item.trigger_utc_ms) != (car.unit, missing_ms)
    ]


def laps_of(car: RaceCar, triggers: list[Trigger], found: list[TelemetryCrossing]) -> list[dict[str, Any]]:
    laps = derive(triggers, telemetry_crossings=found).laps.to_pylist()
    return [row for row in laps if row["vehicle_id"] == car.unit]


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_crossing_found_only_in_telemetry_splits_a_double_lap(*, is_frozen: bool) -> None:
    cars = race()
    car = cars[2]
    laps = laps_of(car, without_crossing(cars, car, 4), telemetry_crossings(car, is_frozen=is_frozen))
    true_s = [after - before for before, after in zip(car.crossings_s, car.crossings_s[1:], strict=False)]
    assert [lap["lap_time_s"] for lap in laps] == pytest.approx(true_s, abs=0.002)
    assert [lap["lap_number"] for lap in laps] == list(range(1, 11))
    split = [lap for lap in laps if "missing_crossing" in lap["flags"]]
    assert [(lap["lap_number"], lap["lap_time_method"], lap["is_valid"]) for lap in split] == [
        (4, "telemetry", True),
        (5, "telemetry", True),
    ]
    assert (split[0]["source_file"], split[0]["source_row"]) == ("spa/R1_spa_telemetry_data.csv", None)


def test_the_cars_clock_corrects_a_timestamp_half_a_second_late() -> None:
    cars = race()
    car, late_s = cars[2], 0.5
    stamped = [second + (late_s if lap == 4 else 0) for lap, second in enumerate(car.crossings_s)]
    late = RaceCar(car.unit, car.number, stamped)
    triggers = triggers_of([late if other is car else other for other in cars], with_lap_timer=False)
    laps = laps_of(car, triggers, telemetry_crossings(car))
    true_s = [after - before for before, after in zip(car.crossings_s, car.crossings_s[1:], strict=False)]
    assert [lap["lap_time_s"] for lap in laps] == pytest.approx(true_s, abs=0.002)
    assert {lap["lap_time_method"] for lap in laps} == {"telemetry"}
    assert laps[3]["trigger_lap_time_s"] == pytest.approx(true_s[3] + late_s, abs=0.002)


def test_a_late_trigger_flag_is_cleared_if_the_cars_clock_confirms_the_timestamps() -> None:
    """A slow lap followed by the car's best lap by far looks like a crossing stamped late."""
    cars = race()
    car = cars[2]
    moved = [second + (0.9 if lap == 4 else 0) for lap, second in enumerate(car.crossings_s)]
    driven = RaceCar(car.unit, car.number, moved)
    triggers = triggers_of([driven if other is car else other for other in cars], with_lap_timer=False)
    without, with_telemetry = laps_of(car, triggers, []), laps_of(car, triggers, telemetry_crossings(driven))
    assert [lap["lap_number"] for lap in without if "late_trigger_pair" in lap["flags"]] == [4, 5]
    assert not any(lap["flags"] for lap in with_telemetry)
    assert all(lap["is_valid"] for lap in with_telemetry)


def test_a_telemetry_crossing_alone_adds_no_lap() -> None:
    cars = race()
    car = cars[2]
    extra = telemetry_crossings(RaceCar(car.unit, car.number, [car.crossings_s[4] + 40]))
    laps = laps_of(car, triggers_of(cars, with_lap_timer=False), [*telemetry_crossings(car), *extra])
    assert len(laps) == 10


def test_two_telemetry_crossings_within_a_double_lap_do_not_split_it() -> None:
    cars = race()
    car = cars[2]
    extra = telemetry_crossings(RaceCar(car.unit, car.number, [car.crossings_s[4] + 10]))
    laps = laps_of(car, without_crossing(cars, car, 4), [*telemetry_crossings(car), *extra])
    assert len(laps) == 9


def test_the_lap_timer_takes_precedence_over_telemetry_and_both_are_recorded() -> None:
    cars = race()
    laps = derive(triggers_of(cars), telemetry_crossings=telemetry_crossings(cars[2])).laps.to_pylist()
    own = [row for row in laps if row["vehicle_id"] == cars[2].unit]
    assert {row["lap_time_method"] for row in own} == {"unit_value"}
    assert all(row["telemetry_lap_time_s"] == pytest.approx(row["unit_lap_time_s"], abs=0.002) for row in own)


def test_telemetry_crossings_of_a_car_without_triggers_change_nothing() -> None:
    cars = race()
    other = RaceCar("GR86-999-9", "9", cars[0].crossings_s)
    triggers = triggers_of(cars)
    assert derive(triggers, telemetry_crossings=telemetry_crossings(other)).laps.equals(derive(triggers).laps)


def test_official_timing_takes_precedence_over_telemetry() -> None:
    cars = race()
    car = cars[2]
    derived = derive(without_crossing(cars, car, 4), official_table(cars), telemetry_crossings=telemetry_crossings(car))
    laps = [row for row in derived.laps.to_pylist() if row["vehicle_id"] == car.unit]
    assert [row["lap_number"] for row in laps] == list(range(1, 11))
    assert {row["lap_time_method"] for row in laps} == {"official"}

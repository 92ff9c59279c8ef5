"""Properties of the full derivation, with and without official timing."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.derivation import SessionLaps
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline_tests.sources.gr_cup.laps.race_builder import (
    GREEN,
    RaceCar,
    crossing_rows,
    derive,
    official_table,
    race,
    triggers_of,
)

Row = dict[str, Any]
seeds = st.integers(0, 10_000)
with_official = pytest.mark.parametrize("has_official", [False, True])
_FACTS = ("vehicle_id", "lap_number", "lap_time_s", "lap_start_utc", "lap_end_utc", "is_valid", "car_number")


def _official(cars: list[RaceCar], *, has_official: bool) -> pa.Table | None:
    return official_table(cars) if has_official else None


def _facts(derived: SessionLaps) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in _FACTS) for row in derived.laps.to_pylist()]


def _of(derived: SessionLaps, unit: str) -> list[Row]:
    return [row for row in derived.laps.to_pylist() if row["vehicle_id"] == unit]


@with_official
@given(seed=seeds)
def test_lap_times_add_up_to_the_time_from_first_to_last_crossing(seed: int, has_official: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    cars = race(seed=seed)
    derived = derive(triggers_of(cars, with_lap_timer=False), _official(cars, has_official=has_official))
    for car in cars:
        laps = _of(derived, car.unit)
        assert sum(lap["trigger_lap_time_s"] for lap in laps) == pytest.approx(car.crossings_s[-1] - car.crossings_s[0])
        assert all(after["lap_start_utc"] == before["lap_end_utc"] for before, after in pairwise(laps))


@with_official
@given(seed=seeds, chance=st.randoms(use_true_random=False))
def test_row_order_does_not_matter(seed: int, chance: random.Random, has_official: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    cars = race(seed=seed)
    triggers, official = triggers_of(cars), _official(cars, has_official=has_official)
    shuffled = list(triggers)
    chance.shuffle(shuffled)
    assert derive(shuffled, official).laps.equals(derive(triggers, official).laps)


@given(seed=seeds, data=st.data())
def test_car_numbers_follow_the_crossings_and_not_the_vehicle_ids(seed: int, data: st.DataObject) -> None:
    cars = race(seed=seed)
    suffixes = data.draw(st.permutations([car.number for car in cars]))
    renamed = [replace(car, unit=f"{car.unit[:9]}{suffix}") for car, suffix in zip(cars, suffixes, strict=True)]
    derived = derive(triggers_of(renamed), official_table(cars))
    numbers = {row["chassis"]: row["car_number"] for row in derived.cars.to_pylist()}
    assert numbers == {car.unit[5:8]: car.number for car in cars}
    plain = derive(triggers_of(cars), official_table(cars)).laps.to_pylist()
    assert [(row["chassis"], row["lap_number"], row["lap_time_s"]) for row in derived.laps.to_pylist()] == [
        (row["chassis"], row["lap_number"], row["lap_time_s"]) for row in plain
    ]


@with_official
@given(seed=seeds, data=st.data())
def test_a_repeated_row_changes_nothing(seed: int, data: st.DataObject, has_official: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    cars = race(seed=seed)
    triggers, official = triggers_of(cars), _official(cars, has_official=has_official)
    repeated = replace(data.draw(st.sampled_from(triggers)), line=900)
    assert derive([*triggers, repeated], official).laps.equals(derive(triggers, official).laps)


@with_official
@given(seed=seeds, place=st.integers(0, 5), lap=st.integers(1, 9), spread_ms=st.integers(31, 208))
def test_a_realistic_bounce_changes_no_time_number_or_validity(
    seed: int,
    place: int,
    lap: int,
    spread_ms: int,
    has_official: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    cars = race(seed=seed)
    triggers, official = triggers_of(cars), _official(cars, has_official=has_official)
    bounced = _with_bounce(triggers, cars[place], lap, spread_ms)
    assert _facts(derive(bounced, official)) == _facts(derive(triggers, official))


def _with_bounce(triggers: list[Trigger], car: RaceCar, lap: int, spread_ms: int) -> list[Trigger]:
    """Return the triggers with a bounce (lap n, n + 1, n), the last of which restarts the device's lap timer."""
    second, ms = car.crossings_s[lap], spread_ms / 1000
    extra = crossing_rows(car.unit, second + 0.001, lap + 1, 0.0) + crossing_rows(car.unit, second + ms, lap, ms)
    shortened = [
        replace(item, unit_value_ms=item.unit_value_ms - spread_ms)
        if item.unit_value_ms and item.vehicle_id == car.unit and item.unit_lap == lap + 1
        else item
        for item in triggers
    ]
    return [*shortened, *extra]


@given(seed=seeds, place=st.integers(0, 5), lap=st.integers(1, 9))
def test_a_crossing_that_was_never_sent_gives_one_flagged_double_lap(seed: int, place: int, lap: int) -> None:
    cars = race(seed=seed)
    unit, missing_ms = cars[place].unit, round((GREEN.timestamp() + cars[place].crossings_s[lap]) * 1000)
    triggers = [item for item in triggers_of(cars) if (item.vehicle_id, item.trigger_utc_ms) != (unit, missing_ms)]
    laps = derive(triggers).laps.to_pylist()
    flagged = [row for row in laps if "missing_crossing" in row["flags"]]
    assert [(row["vehicle_id"], row["is_valid"]) for row in flagged] == [(unit, False)]
    assert len(laps) == 59


@given(seed=seeds, place=st.integers(0, 5), lap=st.integers(1, 9))
def test_official_timing_splits_a_double_lap_and_flags_both_parts(seed: int, place: int, lap: int) -> None:
    cars = race(seed=seed)
    unit, missing_ms = cars[place].unit, round((GREEN.timestamp() + cars[place].crossings_s[lap]) * 1000)
    triggers = [item for item in triggers_of(cars) if (item.vehicle_id, item.trigger_utc_ms) != (unit, missing_ms)]
    laps = derive(triggers, official_table(cars)).laps.to_pylist()
    flagged = [(row["vehicle_id"], row["lap_number"]) for row in laps if "missing_crossing" in row["flags"]]
    assert flagged == [(unit, lap), (unit, lap + 1)]
    assert Counter(row["vehicle_id"] for row in laps) == Counter({car.unit: 10 for car in cars})


@given(seed=seeds, behind_s=st.floats(-50, 50), zone=st.sampled_from(["America/Chicago", None]))
def test_every_official_lap_appears_once_for_any_clock_offset_and_zone(
    seed: int, behind_s: float, zone: str | None
) -> None:
    cars = race(seed=seed)
    derived = derive(triggers_of(cars), official_table(cars, behind_s=behind_s), zone)
    laps = derived.laps.to_pylist()
    assert {(row["vehicle_id"], row["official_lap_number"]) for row in laps} == {
        (car.unit, lap) for car in cars for lap in range(1, 11)
    }
    assert all(row["lap_time_s"] == row["official_lap_time_s"] for row in laps)
    assert derived.report.official_clock_behind_s == pytest.approx(behind_s, abs=0.01)


def test_official_timing_of_another_session_is_not_used() -> None:
    cars, others = race(seed=1), race(cars=5, laps=7, seed=99)
    unrelated = [replace(car, crossings_s=[second * 1.37 + 4_000 for second in car.crossings_s]) for car in others]
    derived = derive(triggers_of(cars), official_table(unrelated))
    assert derived.report.official_laps == 0
    assert {row["method"] for row in derived.cars.to_pylist()} == {"suffix", "official_only"}
    assert all(row["lap_time_method"] != "official" for row in derived.laps.to_pylist())


def test_laps_of_another_day_are_flagged_and_not_valid() -> None:
    cars = race()
    saturday = [replace(item, trigger_utc_ms=item.trigger_utc_ms - 22 * 3_600_000) for item in triggers_of(cars[:2])]
    derived = derive([*saturday, *triggers_of(cars)], official_table(cars))
    other_day = [row for row in derived.laps.to_pylist() if "other_day" in row["flags"]]
    assert len(other_day) == 20
    assert not any(row["is_valid"] for row in other_day)
    assert derived.report.official_laps == 60


def test_a_timestamp_from_another_year_does_not_create_a_year_long_lap() -> None:
    cars = race()
    stray = crossing_rows(cars[0].unit, -400 * 86_400, 0, None)
    laps = derive([*stray, *triggers_of(cars)]).laps.to_pylist()
    assert max(row["lap_time_s"] for row in laps) < 110


def test_official_timing_completes_an_export_that_ends_early() -> None:
    cars = race()
    end_ms = round((GREEN.timestamp() + cars[0].crossings_s[6] + 5) * 1000)
    triggers = [item for item in triggers_of(cars) if item.trigger_utc_ms <= end_ms]
    laps = derive(triggers, official_table(cars)).laps.to_pylist()
    cut = [row for row in laps if "truncated_export" in row["flags"]]
    assert len(laps) == 60
    assert all(row["lap_time_method"] == "official" and row["trigger_lap_time_s"] is None for row in cut)
    assert {row["source_file"] for row in cut if row["lap_number"] == 10} == {"spa/23.CSV"}
    assert all(row["is_valid"] for row in laps)


def test_laps_before_and_after_the_race_continue_the_lap_numbers() -> None:
    cars = race()
    formation = [row for car in cars for row in crossing_rows(car.unit, car.crossings_s[0] - 200, 0, None)]
    cool_down = [row for car in cars[:3] for row in crossing_rows(car.unit, car.crossings_s[-1] + 190, 11, None)]
    laps = derive([*formation, *triggers_of(cars), *cool_down], official_table(cars)).laps.to_pylist()
    numbers = {row["lap_number"]: row["flags"] for row in laps if row["vehicle_id"] == cars[0].unit}
    assert sorted(numbers) == list(range(12))
    assert "formation_lap" in numbers[0]
    assert "post_race_lap" in numbers[11]
    assert sum(row["is_valid"] for row in laps) == 60


def test_cars_printed_with_the_same_number_are_separated_by_file_order() -> None:
    cars = race()
    cars[1].number, cars[4].number = "03", "3"
    rows: list[Row] = []
    for car in sorted(cars, key=lambda car: car.number):
        printed = car.number.lstrip("0")
        rows += car.official_rows(printed=printed, entry=2 if car.number == "3" else 1)
    official = pa.Table.from_pylist(
        [{**row, "source_row": line} for line, row in enumerate(rows, start=2)], schema=official_table(cars).schema
    )
    found = {row["vehicle_id"]: row["car_number"] for row in derive(triggers_of(cars), official).cars.to_pylist()}
    assert found[cars[1].unit] == "03"
    assert found[cars[4].unit] == "3"


def test_a_race_across_midnight_is_one_race() -> None:
    cars = race()
    hours_ms = 10 * 3_600_000 + 10 * 60_000  # the green flag is at 23:52 local time
    triggers = [replace(item, trigger_utc_ms=item.trigger_utc_ms + hours_ms) for item in triggers_of(cars)]
    late = [replace(car, crossings_s=[second + hours_ms / 1000 for second in car.crossings_s]) for car in cars]
    rows = official_table(late).to_pylist()
    for row in rows:
        if row["lap_number"] == 1:
            row["lap_time_s"] = round(row["lap_time_s"] - hours_ms / 1000, 3)
    derived = derive(triggers, pa.Table.from_pylist(rows, schema=official_table(cars).schema))
    assert derived.report.official_laps == 60
    assert not any(row["flags"] for row in derived.laps.to_pylist())


def test_triggers_of_a_single_file_kind_are_enough() -> None:
    cars = race()
    ends = [item for item in triggers_of(cars) if item.kind is FileKind.LAP_END]
    assert derive(ends, official_table(cars)).report.official_laps == 60

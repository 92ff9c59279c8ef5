"""One car however its id is written, and two cars whose ids differ in nothing but a zero."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline.sources.gr_cup.parsing import is_vehicle_id, parse_car_number
from apex_pipeline.sources.gr_cup.vehicle_spellings import (
    find_spellings,
    match_spellings,
    spelling_key,
    with_published_ids,
)

LAP_MS = 100_000


def crossings(vehicle_id: str, kind: FileKind, laps: Sequence[int], start_ms: int = 0) -> list[Trigger]:
    return [
        Trigger(vehicle_id, start_ms + lap * LAP_MS, kind, lap, start_ms + lap * LAP_MS, None, f"{kind}.csv", lap + 2)
        for lap in laps
    ]


@pytest.mark.parametrize(
    "spelling", ["gr86-006-7", "GR86-006-007", "GR86_006_07", "GR86 6 7", " Gr86-006-7 ", "GR86\u2013006\u20137"]
)
def test_case_separators_and_zeros_do_not_make_another_car(spelling: str) -> None:
    assert spelling_key(spelling) == spelling_key("GR86-006-7")
    triggers = [
        *crossings("GR86-006-7", FileKind.LAP_END, range(1, 9)),
        *crossings(spelling, FileKind.LAP_START, range(2, 9), start_ms=-LAP_MS),
    ]
    found = find_spellings(triggers)
    assert {trigger.vehicle_id for trigger in with_published_ids(triggers, found)} == {"GR86-006-7"}
    assert found.of("GR86-006-7") == tuple(sorted({"GR86-006-7", spelling}))


def test_cars_03_and_3_of_different_chassis_stay_apart() -> None:
    assert spelling_key("GR86-037-03") != spelling_key("GR86-040-3")


def test_ids_without_a_chassis_whose_laps_contradict_each_other_are_two_cars() -> None:
    triggers = [
        *crossings("car-3", FileKind.LAP_END, range(1, 12)),
        *crossings("car-03", FileKind.LAP_END, range(1, 10), start_ms=31_000),
    ]
    assert set(find_spellings(triggers).published.values()) == {"car-3", "car-03"}


def test_a_third_spelling_joins_the_car_with_the_same_crossings() -> None:
    triggers = [
        *crossings("car-3", FileKind.LAP_END, range(1, 12)),
        *crossings("car-03", FileKind.LAP_END, range(1, 10), start_ms=31_000),
        *crossings("CAR-003", FileKind.LAP_START, range(1, 8), start_ms=31_400),
    ]
    assert find_spellings(triggers).published["CAR-003"] == "car-03"


def test_a_unit_that_restarts_under_another_spelling_is_one_car() -> None:
    triggers = [
        *crossings("GR86-006-7", FileKind.LAP_END, range(1, 8)),
        *crossings("GR86-006-07", FileKind.LAP_END, range(1, 6), start_ms=9 * LAP_MS),
    ]
    assert set(find_spellings(triggers).published.values()) == {"GR86-006-7"}


def test_rows_of_one_file_in_two_spellings_are_one_car() -> None:
    triggers = [
        *crossings("GR86-006-7", FileKind.LAP_END, range(1, 20, 2)),
        *crossings("gr86-006-7", FileKind.LAP_END, range(2, 20, 2)),
    ]
    assert set(find_spellings(triggers).published.values()) == {"GR86-006-7"}


def test_telemetry_takes_the_id_of_the_lap_files_or_else_its_commonest_spelling() -> None:
    counts = {"GR86-006-07": 900, "gr86-006-7": 20, "GR86-010-16": 5, "gr86-010-16": 90}
    assert match_spellings(counts, ["GR86-006-7"]).published == {
        "GR86-006-07": "GR86-006-7",
        "gr86-006-7": "GR86-006-7",
        "GR86-010-16": "gr86-010-16",
        "gr86-010-16": "gr86-010-16",
    }


def test_telemetry_of_two_cars_that_differ_in_a_zero_keeps_both() -> None:
    found = match_spellings({"car-3": 5, "car-03": 9}, ["car-3", "car-03"])
    assert found.published == {"car-3": "car-3", "car-03": "car-03"}


@given(st.lists(st.from_regex(r"[A-Z]{2}\d-\d{3}-\d{1,3}", fullmatch=True), min_size=1, max_size=8))
def test_every_spelling_has_one_published_id_which_is_one_of_the_spellings(ids: list[str]) -> None:
    triggers = [trigger for name in ids for trigger in crossings(name, FileKind.LAP_END, range(1, 3))]
    published = find_spellings(triggers).published
    assert published.keys() == set(ids)
    assert all(published[name] == name for name in published.values())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("13", "13"),
        ("13.0", "13"),
        ("13.000", "13"),
        ("#13", "13"),
        ("No. 13", "13"),
        ("'13", "13"),
        ('="13"', "13"),
        ("03", "03"),
        ("003", "003"),
        ("7a", "7A"),
        ("0", "0"),
        ("13.5", None),
        ("Jane Doe", None),
        ("Doe 13", None),
        ("2:25.913", None),
        ("1313", None),
    ],
)
def test_a_car_number_loses_its_marks_and_keeps_its_zeros(text: str, number: str | None) -> None:
    assert parse_car_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "nan", "None", "Jane Doe", "Doe", "2025-05-17T18:26:30.493Z of somebody", "x" * 41]
)
def test_a_word_without_a_digit_is_no_vehicle_id(text: str) -> None:
    assert not is_vehicle_id(text)

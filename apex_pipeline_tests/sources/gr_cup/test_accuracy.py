"""Comparing laps with official timing: every count, on hand-built laps."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.accuracy import AccuracyReport, pool_reports
from apex_pipeline.sources.gr_cup.accuracy import measure_accuracy, missing_official_laps
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS

_START = datetime(2025, 9, 6, 18, 40, tzinfo=UTC)
_VEHICLE_ID, _CAR_NUMBER = "GR86-022-13", "13"
_PACE = (100.0, 98.0, 97.5, 98.2)

Row = dict[str, Any]


def _lap(number: int, start_s: float, time_s: float, **changes: object) -> Row:
    """Return a row of ``laps`` as derived from the car's own data."""
    return {
        "track": "spa",
        "session": "R1",
        "vehicle_id": _VEHICLE_ID,
        "chassis": "022",
        "lap_number": number,
        "lap_start_utc": _START + timedelta(seconds=start_s),
        "lap_end_utc": _START + timedelta(seconds=start_s + time_s),
        "lap_time_s": time_s,
        "trigger_lap_time_s": time_s,
        "is_valid": True,
        "flags": [],
        "source_file": "spa/R1_spa_lap_end.csv",
        **changes,
    }


def _blind_laps(times_s: Sequence[float] = _PACE, vehicle_id: str = _VEHICLE_ID) -> list[Row]:
    starts = [sum(times_s[:index]) for index in range(len(times_s))]
    return [
        _lap(number, start, time_s, vehicle_id=vehicle_id)
        for number, (start, time_s) in enumerate(zip(starts, times_s, strict=True), start=1)
    ]


def _merged(laps: Sequence[Row], official_s: Sequence[float] | None = None) -> list[Row]:
    """Return the same laps merged with official timing."""
    times_s = official_s or [lap["lap_time_s"] for lap in laps]
    return [
        lap | {"official_lap_number": lap["lap_number"], "official_lap_time_s": time_s, "lap_time_s": time_s}
        for lap, time_s in zip(laps, times_s, strict=True)
    ]


def _official(laps: Sequence[Row], number: str = _CAR_NUMBER, entry: int = 1) -> list[Row]:
    """Return the official laps that these laps were merged with."""
    return [
        {
            "track": "spa",
            "session": "R1",
            "car_number": number,
            "entry": entry,
            "lap_number": lap["official_lap_number"],
            "lap_time_s": lap["official_lap_time_s"],
            "is_finish_in_pit": False,
            "source_file": "spa/23.csv",
            "source_row": 2 + index,
        }
        for index, lap in enumerate(laps)
    ]


def _car(vehicle_id: str | None = _VEHICLE_ID, number: str | None = _CAR_NUMBER, entry: int | None = 1) -> Row:
    return {
        "track": "spa",
        "session": "R1",
        "vehicle_id": vehicle_id,
        "car_number": number,
        "official_number": number,
        "official_entry": entry,
        "method": "official_crossings" if number else "undecided",
        "confidence": 0.9,
        "has_started": True,
        "candidates": [],
        "evidence": "A test.",
    }


def _report(blind: list[Row], derived: list[Row], official: list[Row], cars: list[Row] | None = None) -> AccuracyReport:
    tables = {
        LAPS: [LAPS.from_rows(blind), LAPS.from_rows(derived)],
        CARS: [CARS.from_rows([_car()] if cars is None else cars)],
        OFFICIAL_LAPS: [OFFICIAL_LAPS.from_rows(official)],
    }
    assert [table.violations(rows) for table, contents in tables.items() for rows in contents] == [[]] * 4
    return measure_accuracy(*tables[LAPS], *tables[CARS], *tables[OFFICIAL_LAPS])


def _compare(blind: list[Row], derived: list[Row]) -> AccuracyReport:
    """Compare the laps of one car, taking its official laps from the derived ones."""
    return _report(blind, derived, _official([lap for lap in derived if lap.get("official_lap_number")]))


def test_accurate_laps_are_all_matched_except_the_first() -> None:
    report = _compare(_blind_laps(), _merged(_blind_laps()))
    assert (report.official, report.of_known_cars, report.listed) == (4, 4, 4)
    assert (report.comparable, report.matched, report.missed, report.within_50ms, report.off_by_1s) == (3, 3, 0, 3, 0)
    assert (report.invented, report.is_right) == ((), True)
    assert (report.best_official_s, report.best_hidden_s, report.best_listed_s) == (97.5, 97.5, 97.5)


@pytest.mark.parametrize(
    ("off_s", "counted"),
    [
        (0.05, (1, 1, 1, 0)),
        (0.051, (0, 1, 1, 0)),
        (0.1, (0, 1, 1, 0)),
        (0.101, (0, 0, 1, 0)),
        (0.5, (0, 0, 1, 0)),
        (0.501, (0, 0, 0, 0)),
        (1.0, (0, 0, 0, 0)),
        (1.001, (0, 0, 0, 1)),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_tolerances_are_exact_to_the_millisecond_and_inclusive(
    off_s: float, counted: tuple[int, ...], sign: int
) -> None:
    blind = _blind_laps((100.0, 97.0))
    report = _compare(blind, _merged(blind, [100.0, 97.0 + sign * off_s]))
    assert (report.within_50ms, report.within_100ms, report.within_500ms, report.off_by_1s) == counted


def test_a_lap_without_both_crossings_is_not_comparable() -> None:
    derived = _merged(_blind_laps())
    derived[2]["trigger_lap_time_s"] = None
    report = _compare(_blind_laps()[:2], derived)
    assert (report.comparable, report.matched, report.missed, report.listed) == (2, 1, 1, 4)


@pytest.mark.parametrize(("shift_s", "matched"), [(24.0, 3), (26.0, 0)])
def test_laps_match_if_they_overlap_by_more_than_60_percent(shift_s: float, matched: int) -> None:
    """Two laps of 100 s, 25 s apart, share 75 s of 125 s, which is exactly 60 %."""
    blind = _blind_laps((100.0,) * 4)
    moved = [
        lap | {side: lap[side] + timedelta(seconds=shift_s) for side in ("lap_start_utc", "lap_end_utc")}
        for lap in blind
    ]
    assert _compare(moved, _merged(blind)).matched == matched


def test_laps_of_another_car_do_not_match() -> None:
    other = _blind_laps(vehicle_id="GR86-099-9")
    report = _compare(other, _merged(_blind_laps()))
    assert (report.matched, report.missed, len(report.invented)) == (0, 3, 4)
    assert not report.is_right


def test_an_invented_lap_is_reported_with_vehicle_id_number_and_time() -> None:
    blind = _blind_laps()
    after = _lap(5, 393.7, 96.1)
    assert _compare([*blind, after], _merged(blind)).invented == ("GR86-022-13 lap 5 (96.100 s)",)


@pytest.mark.parametrize(
    "changes",
    [{"is_valid": False}, {"flags": ["formation_lap"]}, {"flags": ["post_race_lap", "slow_field"]}],
)
def test_an_invalid_formation_or_post_race_lap_is_not_invented(changes: Row) -> None:
    blind = _blind_laps()
    assert _compare([*blind, _lap(5, 393.7, 96.1, **changes)], _merged(blind)).invented == ()


def test_laps_of_an_undecided_car_are_not_invented() -> None:
    blind = _blind_laps()
    derived = [lap | {"flags": ["undecided_car"], "is_valid": False} for lap in blind]
    report = _report(blind, derived, _official(_merged(blind)), [_car(number=None, entry=None)])
    assert (report.official, report.of_known_cars, report.invented, report.is_right) == (4, 0, (), True)


def test_a_partial_lap_that_ends_with_an_official_lap_still_counts_as_invented() -> None:
    """An extra crossing after 40 % of a lap: the rest ends with the official lap and would be a false best."""
    blind = _blind_laps()
    parts = [_lap(3, 198.0, 39.0), _lap(4, 237.0, 58.5)]
    report = _compare([*blind[:2], *parts, blind[3] | {"lap_number": 5}], _merged(blind))
    assert report.invented == ("GR86-022-13 lap 3 (39.000 s)", "GR86-022-13 lap 4 (58.500 s)")


def test_a_lap_after_a_stop_is_confirmed_by_the_official_lap_with_the_same_end() -> None:
    """COTA race 1, car 31: the lap with the stop is 742 s in official timing, and 162 s by the device."""
    official = _merged(_blind_laps((100.0, 163.4, 742.0, 98.0)))
    blind = _blind_laps((100.0, 743.3, 162.1, 98.0))
    blind[1] |= {"is_valid": False, "flags": ["long_lap"]}
    assert _compare(blind, official).invented == ()


@pytest.mark.parametrize(
    ("derived", "listed"),
    [
        (lambda laps: laps[:3], 3),
        (lambda laps: [*laps, laps[3] | {"lap_number": 5}], 3),
        (lambda laps: [*laps[:3], laps[3] | {"lap_time_s": 98.3}], 3),
    ],
    ids=["missing", "listed twice", "different time"],
)
def test_an_official_lap_is_listed_only_if_found_once_with_its_time(derived: Any, listed: int) -> None:
    laps = _merged(_blind_laps())
    report = _report(_blind_laps(), derived(laps), _official(laps))
    assert (report.of_known_cars, report.listed, report.is_right) == (4, listed, False)


def test_a_missing_official_lap_is_reported() -> None:
    laps = _merged(_blind_laps())
    assert missing_official_laps(laps[:3], [_car()], _official(laps)) == ["lap 4 of car 13 (GR86-022-13): 0 times"]


def test_cars_with_the_same_printed_number_differ_by_entry() -> None:
    first, second = _merged(_blind_laps()), _merged(_blind_laps((101.0, 99.0), "GR86-037-03"))
    official = [*_official(first, "3", 1), *_official(second, "3", 2)]
    cars = [_car(number="3", entry=1), _car("GR86-037-03", "3", 2)]
    report = _report([*_blind_laps(), *_blind_laps((101.0, 99.0), "GR86-037-03")], [*first, *second], official, cars)
    assert (report.of_known_cars, report.listed, report.matched) == (6, 6, 4)


def test_official_laps_of_a_car_without_a_device_need_not_be_listed() -> None:
    laps = _merged(_blind_laps())
    report = _report(_blind_laps(), laps, [*_official(laps), *_official(laps, "51")], [_car(), _car(None, "51")])
    assert (report.official, report.of_known_cars, report.listed, report.is_right) == (8, 4, 4, True)


def test_laps_with_a_field_wide_jump_are_counted_separately() -> None:
    blind = _blind_laps()
    derived = _merged(blind, [100.0, 106.3, 97.6, 98.2])
    derived[1]["flags"] = ["field_wide_jump"]
    derived[2]["flags"] = ["field_wide_jump"]
    report = _compare(blind, derived)
    assert (report.jumping, report.jumping_within_500ms, report.off_by_1s) == (2, 1, 1)


def test_a_lap_without_a_known_start_does_not_match() -> None:
    blind = _blind_laps()
    cut = blind[1] | {"lap_start_utc": None}
    report = _compare([blind[0], cut, *blind[2:]], _merged(blind))
    assert (report.matched, report.missed) == (2, 1)


def test_a_lap_without_a_known_end_is_invented() -> None:
    blind = _blind_laps()
    cut = blind[3] | {"lap_end_utc": None}
    assert _compare([*blind[:3], cut], _merged(blind)).invented == ("GR86-022-13 lap 4 (98.200 s)",)


def test_empty_tables_give_an_empty_report() -> None:
    report = _report([], [], [], [])
    assert (report, report.is_right) == (pool_reports([]), True)


def test_without_official_laps_every_valid_lap_is_invented() -> None:
    assert len(_report(_blind_laps(), _blind_laps(), [], []).invented) == 4


def test_pooled_reports_add_up_but_have_no_best_laps() -> None:
    blind = _blind_laps()
    first = _compare([*blind, _lap(5, 393.7, 96.1)], _merged(blind))
    second = _compare(blind, _merged(blind, [100.0, 98.3, 97.5, 98.2]))
    total = pool_reports([first, second])
    assert (total.official, total.comparable, total.matched, total.within_100ms, total.within_500ms) == (8, 6, 6, 5, 6)
    assert (total.invented, total.is_right) == (first.invented, False)
    assert (total.best_official_s, total.best_hidden_s, total.best_listed_s) == (None, None, None)
    no_best = {"best_official_s": None, "best_hidden_s": None, "best_listed_s": None}
    assert pool_reports([second]) == replace(second, **no_best)


@given(
    st.lists(st.integers(90_000, 130_000).map(lambda ms: ms / 1000), min_size=2, max_size=8),
    st.lists(st.sampled_from([0.0, 0.04, 0.09, 0.4, 0.9, 3.0]), min_size=8, max_size=8),
    st.randoms(use_true_random=False),
)
def test_counts_are_nested_and_independent_of_row_order(times_s: list[float], errors_s: list[float], rng: Any) -> None:
    blind = _blind_laps(times_s)
    derived = _merged(blind, [time_s + error_s for time_s, error_s in zip(times_s, errors_s, strict=False)])
    report = _compare(blind, derived)
    assert report.within_50ms <= report.within_100ms <= report.within_500ms <= report.matched == report.comparable
    assert report.within_500ms + report.off_by_1s <= report.matched
    rng.shuffle(blind)
    rng.shuffle(derived)
    assert _compare(blind, derived) == report


def test_dictionary_encoded_and_plain_columns_can_be_mixed() -> None:
    """Published tables have dictionary-encoded categories; of two compared tables, perhaps only one is encoded."""
    blind, laps = LAPS.from_rows(_blind_laps()), LAPS.from_rows(_merged(_blind_laps()))
    plain = laps.set_column(
        laps.schema.get_field_index("vehicle_id"), "vehicle_id", laps["vehicle_id"].cast(pa.string())
    )
    official, cars = OFFICIAL_LAPS.from_rows(_official(_merged(_blind_laps()))), CARS.from_rows([_car()])
    assert measure_accuracy(blind, plain, cars, official).matched == 3

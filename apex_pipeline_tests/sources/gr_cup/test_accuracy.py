"""The comparison with official timing: what it counts, on laps made by hand."""

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

_BEGIN = datetime(2025, 9, 6, 18, 40, tzinfo=UTC)
_UNIT, _PRINTED = "GR86-022-13", "13"
_PACE = (100.0, 98.0, 97.5, 98.2)

Row = dict[str, Any]


def _lap(number: int, start_s: float, time_s: float, **changes: object) -> Row:
    """Return a row of ``laps`` as the car's own data gives it."""
    return {
        "track": "spa",
        "session": "R1",
        "vehicle_id": _UNIT,
        "chassis": "022",
        "lap_number": number,
        "lap_start_utc": _BEGIN + timedelta(seconds=start_s),
        "lap_end_utc": _BEGIN + timedelta(seconds=start_s + time_s),
        "lap_time_s": time_s,
        "trigger_lap_time_s": time_s,
        "is_valid": True,
        "flags": [],
        "source_file": "spa/R1_spa_lap_end.csv",
        **changes,
    }


def _own_laps(times_s: Sequence[float] = _PACE, unit: str = _UNIT) -> list[Row]:
    starts = [sum(times_s[:place]) for place in range(len(times_s))]
    return [
        _lap(number, start, time_s, vehicle_id=unit)
        for number, (start, time_s) in enumerate(zip(starts, times_s, strict=True), start=1)
    ]


def _confirmed(laps: Sequence[Row], official_s: Sequence[float] | None = None) -> list[Row]:
    """Return the same laps as official timing confirms them."""
    times_s = official_s or [lap["lap_time_s"] for lap in laps]
    return [
        lap | {"official_lap_number": lap["lap_number"], "official_lap_time_s": time_s, "lap_time_s": time_s}
        for lap, time_s in zip(laps, times_s, strict=True)
    ]


def _official(laps: Sequence[Row], number: str = _PRINTED, entry: int = 1) -> list[Row]:
    """Return the official laps behind confirmed ones."""
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
            "source_row": 2 + place,
        }
        for place, lap in enumerate(laps)
    ]


def _car(unit: str | None = _UNIT, number: str | None = _PRINTED, entry: int | None = 1) -> Row:
    return {
        "track": "spa",
        "session": "R1",
        "vehicle_id": unit,
        "car_number": number,
        "official_number": number,
        "official_entry": entry,
        "method": "official_crossings" if number else "undecided",
        "confidence": 0.9,
        "has_started": True,
        "candidates": [],
        "evidence": "A test.",
    }


def _report(
    hidden: list[Row], derived: list[Row], official: list[Row], cars: list[Row] | None = None
) -> AccuracyReport:
    tables = {
        LAPS: [LAPS.from_rows(hidden), LAPS.from_rows(derived)],
        CARS: [CARS.from_rows([_car()] if cars is None else cars)],
        OFFICIAL_LAPS: [OFFICIAL_LAPS.from_rows(official)],
    }
    assert [table.violations(rows) for table, made in tables.items() for rows in made] == [[]] * 4
    return measure_accuracy(*tables[LAPS], *tables[CARS], *tables[OFFICIAL_LAPS])


def _compare(hidden: list[Row], derived: list[Row]) -> AccuracyReport:
    """Compare laps of the one car, whose official laps are those the derived ones name."""
    return _report(hidden, derived, _official([lap for lap in derived if lap.get("official_lap_number")]))


def test_laps_told_right_are_matched_after_the_first() -> None:
    report = _compare(_own_laps(), _confirmed(_own_laps()))
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
def test_how_near_is_counted_to_the_millisecond_with_the_bound_included(
    off_s: float, counted: tuple[int, ...], sign: int
) -> None:
    own = _own_laps((100.0, 97.0))
    report = _compare(own, _confirmed(own, [100.0, 97.0 + sign * off_s]))
    assert (report.within_50ms, report.within_100ms, report.within_500ms, report.off_by_1s) == counted


def test_a_lap_without_both_crossings_is_not_comparable() -> None:
    derived = _confirmed(_own_laps())
    derived[2]["trigger_lap_time_s"] = None
    report = _compare(_own_laps()[:2], derived)
    assert (report.comparable, report.matched, report.missed, report.listed) == (2, 1, 1, 4)


@pytest.mark.parametrize(("shift_s", "matched"), [(24.0, 3), (26.0, 0)])
def test_two_laps_are_the_same_if_they_share_more_than_three_fifths(shift_s: float, matched: int) -> None:
    """Of two laps of 100 s that are 25 s apart, 75 s of 125 s are shared."""
    own = _own_laps((100.0,) * 4)
    moved = [
        lap | {side: lap[side] + timedelta(seconds=shift_s) for side in ("lap_start_utc", "lap_end_utc")} for lap in own
    ]
    assert _compare(moved, _confirmed(own)).matched == matched


def test_laps_of_another_car_are_no_match_and_support_nothing() -> None:
    other = _own_laps(unit="GR86-099-9")
    report = _compare(other, _confirmed(_own_laps()))
    assert (report.matched, report.missed, len(report.invented)) == (0, 3, 4)
    assert not report.is_right


def test_an_invented_lap_is_named_with_car_number_and_time() -> None:
    own = _own_laps()
    after = _lap(5, 393.7, 96.1)
    assert _compare([*own, after], _confirmed(own)).invented == ("GR86-022-13 lap 5 (96.100 s)",)


@pytest.mark.parametrize(
    "changes",
    [{"is_valid": False}, {"flags": ["formation_lap"]}, {"flags": ["post_race_lap", "slow_field"]}],
)
def test_a_lap_that_does_not_claim_to_be_raced_is_not_invented(changes: Row) -> None:
    own = _own_laps()
    assert _compare([*own, _lap(5, 393.7, 96.1, **changes)], _confirmed(own)).invented == ()


def test_laps_of_a_car_nobody_can_tell_are_not_held_against_us() -> None:
    own = _own_laps()
    derived = [lap | {"flags": ["undecided_car"], "is_valid": False} for lap in own]
    report = _report(own, derived, _official(_confirmed(own)), [_car(number=None, entry=None)])
    assert (report.official, report.of_known_cars, report.invented, report.is_right) == (4, 0, (), True)


def test_a_part_of_a_lap_is_invented_even_where_it_ends_with_an_official_one() -> None:
    """An extra crossing after 40 % of a lap: the rest ends where the lap ends and would be a false best."""
    own = _own_laps()
    parts = [_lap(3, 198.0, 39.0), _lap(4, 237.0, 58.5)]
    report = _compare([*own[:2], *parts, own[3] | {"lap_number": 5}], _confirmed(own))
    assert report.invented == ("GR86-022-13 lap 3 (39.000 s)", "GR86-022-13 lap 4 (58.500 s)")


def test_a_lap_after_a_stop_between_two_lines_is_supported_by_the_official_one_it_ends_with() -> None:
    """COTA race 1, car 31: official timing counts 742 s in the pits to the lap that the car's unit ends in 162 s."""
    official = _confirmed(_own_laps((100.0, 163.4, 742.0, 98.0)))
    own = _own_laps((100.0, 743.3, 162.1, 98.0))
    own[1] |= {"is_valid": False, "flags": ["long_lap"]}
    assert _compare(own, official).invented == ()


@pytest.mark.parametrize(
    ("derived", "listed"),
    [
        (lambda laps: laps[:3], 3),
        (lambda laps: [*laps, laps[3] | {"lap_number": 5}], 3),
        (lambda laps: [*laps[:3], laps[3] | {"lap_time_s": 98.3}], 3),
    ],
    ids=["left out", "there twice", "another time"],
)
def test_an_official_lap_counts_as_listed_only_once_and_with_its_time(derived: Any, listed: int) -> None:
    laps = _confirmed(_own_laps())
    report = _report(_own_laps(), derived(laps), _official(laps))
    assert (report.of_known_cars, report.listed, report.is_right) == (4, listed, False)


def test_the_official_lap_that_is_missing_is_named() -> None:
    laps = _confirmed(_own_laps())
    assert missing_official_laps(laps[:3], [_car()], _official(laps)) == ["lap 4 of car 13 (GR86-022-13): 0 times"]


def test_cars_printed_alike_are_kept_apart_by_their_entry() -> None:
    first, second = _confirmed(_own_laps()), _confirmed(_own_laps((101.0, 99.0), "GR86-037-03"))
    official = [*_official(first, "3", 1), *_official(second, "3", 2)]
    cars = [_car(number="3", entry=1), _car("GR86-037-03", "3", 2)]
    report = _report([*_own_laps(), *_own_laps((101.0, 99.0), "GR86-037-03")], [*first, *second], official, cars)
    assert (report.of_known_cars, report.listed, report.matched) == (6, 6, 4)


def test_official_laps_of_a_car_without_a_unit_are_counted_and_nothing_is_asked_of_them() -> None:
    laps = _confirmed(_own_laps())
    report = _report(_own_laps(), laps, [*_official(laps), *_official(laps, "51")], [_car(), _car(None, "51")])
    assert (report.official, report.of_known_cars, report.listed, report.is_right) == (8, 4, 4, True)


def test_laps_during_which_the_whole_field_jumped_are_counted_apart() -> None:
    own = _own_laps()
    derived = _confirmed(own, [100.0, 106.3, 97.6, 98.2])
    derived[1]["flags"] = ["field_wide_jump"]
    derived[2]["flags"] = ["field_wide_jump"]
    report = _compare(own, derived)
    assert (report.jumping, report.jumping_within_500ms, report.off_by_1s) == (2, 1, 1)


def test_a_lap_of_which_no_begin_is_known_matches_nothing() -> None:
    own = _own_laps()
    cut = own[1] | {"lap_start_utc": None}
    report = _compare([own[0], cut, *own[2:]], _confirmed(own))
    assert (report.matched, report.missed) == (2, 1)


def test_a_lap_of_which_no_end_is_known_is_supported_by_nothing() -> None:
    own = _own_laps()
    cut = own[3] | {"lap_end_utc": None}
    assert _compare([*own[:3], cut], _confirmed(own)).invented == ("GR86-022-13 lap 4 (98.200 s)",)


def test_nothing_compares_with_nothing() -> None:
    report = _report([], [], [], [])
    assert (report, report.is_right) == (pool_reports([]), True)


def test_without_any_official_lap_of_a_known_car_every_valid_lap_is_invented() -> None:
    assert len(_report(_own_laps(), _own_laps(), [], []).invented) == 4


def test_sessions_add_up_and_their_best_laps_do_not() -> None:
    own = _own_laps()
    one = _compare([*own, _lap(5, 393.7, 96.1)], _confirmed(own))
    two = _compare(own, _confirmed(own, [100.0, 98.3, 97.5, 98.2]))
    both = pool_reports([one, two])
    assert (both.official, both.comparable, both.matched, both.within_100ms, both.within_500ms) == (8, 6, 6, 5, 6)
    assert (both.invented, both.is_right) == (one.invented, False)
    assert (both.best_official_s, both.best_hidden_s, both.best_listed_s) == (None, None, None)
    no_best = {"best_official_s": None, "best_hidden_s": None, "best_listed_s": None}
    assert pool_reports([two]) == replace(two, **no_best)


@given(
    st.lists(st.integers(90_000, 130_000).map(lambda ms: ms / 1000), min_size=2, max_size=8),
    st.lists(st.sampled_from([0.0, 0.04, 0.09, 0.4, 0.9, 3.0]), min_size=8, max_size=8),
    st.randoms(use_true_random=False),
)
def test_counts_are_nested_and_the_order_of_rows_changes_nothing(
    times_s: list[float], errors_s: list[float], chance: Any
) -> None:
    own = _own_laps(times_s)
    derived = _confirmed(own, [time_s + error_s for time_s, error_s in zip(times_s, errors_s, strict=False)])
    report = _compare(own, derived)
    assert report.within_50ms <= report.within_100ms <= report.within_500ms <= report.matched == report.comparable
    assert report.within_500ms + report.off_by_1s <= report.matched
    chance.shuffle(own)
    chance.shuffle(derived)
    assert _compare(own, derived) == report


def test_the_tables_of_the_derivation_are_taken_as_they_are() -> None:
    """Labels are dictionary-encoded in published tables and may be so in one and not in the other."""
    own, laps = LAPS.from_rows(_own_laps()), LAPS.from_rows(_confirmed(_own_laps()))
    plain = laps.set_column(
        laps.schema.get_field_index("vehicle_id"), "vehicle_id", laps["vehicle_id"].cast(pa.string())
    )
    official, cars = OFFICIAL_LAPS.from_rows(_official(_confirmed(_own_laps()))), CARS.from_rows([_car()])
    assert measure_accuracy(own, plain, cars, official).matched == 3

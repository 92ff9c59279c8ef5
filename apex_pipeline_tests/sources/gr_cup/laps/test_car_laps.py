"""Laps from the cars' own data: every lap once, no spurious laps, and doubtful laps flagged."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.crossings import find_crossings
from apex_pipeline.sources.gr_cup.laps.derivation import derive_laps
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline.tables import LAPS
from apex_pipeline_tests.sources.gr_cup.lap_builder import at_pace, crossings_of, trigger

_CAR = "GR86-022-13"
_PACE = [99.0, 98.6, 98.9, 99.1, 98.7, 99.3, 98.8, 99.0]

lap_times = st.lists(st.integers(60_000, 400_000).map(lambda ms: ms / 1000), min_size=1, max_size=12)


def _laps(triggers: list[Trigger]) -> list[dict[str, Any]]:
    table = derive_laps("spa", "R1", triggers).laps
    assert LAPS.violations(table) == []
    return table.to_pylist()


def _field(cars: int = 6) -> list[Trigger]:
    """Return the triggers of other cars at an even pace, so that the session has typical lap times."""
    return [item for n in range(cars) for item in crossings_of(f"GR86-1{n:02}-{n}", at_pace(_PACE))]


def _own(laps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [lap for lap in laps if lap["vehicle_id"] == _CAR]


def test_without_triggers_there_are_no_laps() -> None:
    derived = derive_laps("spa", "R1", [])
    assert (derived.laps.num_rows, derived.report.laps, derived.report.cars) == (0, 0, 0)


def test_a_single_crossing_gives_no_lap_but_counts_the_car() -> None:
    derived = derive_laps("spa", "R1", crossings_of(_CAR, [0.0]))
    report = derived.report
    assert (derived.laps.num_rows, report.cars, report.cars_without_laps, report.crossings) == (0, 1, 1, 1)


@given(lap_times)
def test_lap_times_add_up_to_the_time_from_first_to_last_crossing(times: list[float]) -> None:
    laps = _laps(crossings_of(_CAR, at_pace(times)))
    assert sum(lap["lap_time_s"] for lap in laps) == pytest.approx(sum(times), abs=0.001 * (len(times) + 1))
    assert sum(lap["trigger_lap_time_s"] for lap in laps) == pytest.approx(sum(times), abs=0.001 * (len(times) + 1))
    assert [lap["lap_number"] for lap in laps] == list(range(1, len(laps) + 1))
    assert [lap["lap_start_utc"] for lap in laps[1:]] == [lap["lap_end_utc"] for lap in laps[:-1]]


@given(lap_times, st.randoms(use_true_random=False))
def test_row_order_does_not_matter(times: list[float], chance: random.Random) -> None:
    triggers = crossings_of(_CAR, at_pace(times), with_unit_time=True) + _field(2)
    shuffled = list(triggers)
    chance.shuffle(shuffled)
    assert _laps(shuffled) == _laps(triggers)


@given(lap_times, st.data())
def test_a_repeated_row_changes_nothing(times: list[float], data: st.DataObject) -> None:
    triggers = crossings_of(_CAR, at_pace(times))
    repeated = replace(data.draw(st.sampled_from(triggers)), line=900)
    assert _laps([*triggers, repeated]) == _laps(triggers)


@given(lap_times, st.data())
def test_a_bounce_changes_no_lap_time(times: list[float], data: st.DataObject) -> None:
    triggers = crossings_of(_CAR, at_pace(times))
    origin = data.draw(st.sampled_from(triggers))
    bounce = replace(origin, trigger_utc_ms=origin.trigger_utc_ms + data.draw(st.integers(1, 208)), unit_lap=99)
    with_bounce = _laps([*triggers, bounce])
    assert [lap["lap_time_s"] for lap in with_bounce] == [lap["lap_time_s"] for lap in _laps(triggers)]


def test_a_realistic_bounce_adds_no_lap_and_is_flagged() -> None:
    """Lap n, lap n + 1 with value 0, lap n with value 43 ms: three rows within 31 ms at one crossing."""
    triggers = crossings_of(_CAR, at_pace(_PACE), with_unit_time=True)
    at = at_pace(_PACE)[3]
    triggers += [
        trigger(_CAR, at + 0.001, FileKind.LAP_TIME, 4, 0.0),
        trigger(_CAR, at + 0.031, FileKind.LAP_TIME, 3, 0.043),
    ]
    laps = _laps(triggers)
    assert len(laps) == len(_PACE)
    assert laps[2]["flags"] == ["bounced_trigger"]
    assert (laps[2]["unit_lap"], laps[2]["unit_lap_time_s"]) == (3, pytest.approx(98.9))
    assert all(lap["is_valid"] for lap in laps)


def test_triggers_five_seconds_apart_are_two_crossings() -> None:
    near = [trigger(_CAR, second, FileKind.LAP_END, 1) for second in (0.0, 4.9, 9.8)]
    far = [trigger(_CAR, second, FileKind.LAP_END, 1) for second in (0.0, 5.0)]
    assert (len(find_crossings(near)[_CAR]), len(find_crossings(far)[_CAR])) == (1, 2)


def test_a_late_timestamp_flags_and_invalidates_both_laps() -> None:
    """Barber race 1, GR86-036-98: a timestamp 35 s late turned two laps of 98.4 s into 133.2 s and 63.6 s."""
    laps = _own(_laps(_field() + crossings_of(_CAR, at_pace([98.4, 98.5, 133.2, 63.6, 98.4, 98.6]))))
    assert ["late_trigger_pair" in lap["flags"] for lap in laps] == [False, False, True, True, False, False]
    assert [lap["is_valid"] for lap in laps] == [True, True, False, False, True, True]


def test_a_late_timestamp_of_a_car_with_few_laps_is_found_by_its_own_laps_and_the_field() -> None:
    # 4 % slower than the field: stamped 12 s late, its second lap is as fast as theirs never was.
    own = [104.0, 103.8, 104.1, 116.0, 92.0 + 4.0, 103.9]
    laps = _own(_laps(_field() + crossings_of(_CAR, at_pace(own))))
    assert ["late_trigger_pair" in lap["flags"] for lap in laps] == [False, False, False, True, True, False]


@pytest.mark.parametrize("shared", [1, 2])
def test_a_fast_lap_after_an_out_lap_is_late_unless_the_field_was_as_fast(shared: int) -> None:
    own = [118.0, 96.0, 101.0, 101.2, 101.1, 101.3]
    others = [item for n in range(shared) for item in crossings_of(f"GR86-2{n:02}-{n}", at_pace([*_PACE[:4], 96.1]))]
    laps = _own(_laps(_field() + others + crossings_of(_CAR, at_pace(own))))
    assert ("late_trigger_pair" in laps[1]["flags"]) == (shared < 2)


def test_a_mistake_before_a_good_lap_is_not_a_late_timestamp() -> None:
    laps = _own(_laps(_field() + crossings_of(_CAR, at_pace([98.4, 98.5, 104.0, 97.2, 98.4]))))
    assert all(lap["is_valid"] for lap in laps)


def test_a_single_very_fast_lap_is_invalid_but_several_are_valid() -> None:
    single = _own(_laps(_field() + crossings_of(_CAR, at_pace([98.4, 92.0, 98.5]))))
    assert [lap["is_valid"] for lap in single] == [True, False, True]
    assert "implausibly_short" in single[1]["flags"]
    several = _own(_laps(_field() + crossings_of(_CAR, at_pace([98.4, 92.0, 92.5, 93.0, 98.5]))))
    assert all(lap["is_valid"] for lap in several)


def test_impossible_laps_are_invalid_even_if_there_are_several() -> None:
    laps = _own(_laps(_field() + crossings_of(_CAR, at_pace([98.4, 98.6, 26.0, 26.1, 26.2, 98.5, 98.7]))))
    assert [lap["is_valid"] for lap in laps] == [True, False, False, False, False, False, True]
    # The adjacent laps are doubtful too: each shares a crossing with a spurious lap.
    assert [("extra_crossing" in lap["flags"]) for lap in laps] == [False, True, True, True, True, True, False]


def test_a_double_lap_at_racing_pace_has_a_missing_crossing() -> None:
    laps = _own(_laps(_field() + crossings_of(_CAR, at_pace([98.4, 98.6, 197.5, 98.5]))))
    assert (laps[2]["flags"], laps[2]["is_valid"]) == (["missing_crossing"], False)


def test_a_slow_lap_of_the_whole_field_is_valid() -> None:
    slow = [99.0, 98.6, 200.0, 99.1, 98.7]
    triggers = [item for n in range(5) for item in crossings_of(f"GR86-1{n:02}-{n}", at_pace(slow))]
    laps = _laps(triggers)
    assert [lap["flags"] for lap in laps if lap["lap_number"] == 3] == [["slow_field"]] * 5
    assert all(lap["is_valid"] for lap in laps)


def test_a_lap_over_300_s_is_kept_but_not_valid() -> None:
    laps = _own(_laps(_field() + crossings_of(_CAR, at_pace([98.4, 461.9, 98.5, 98.7]))))
    assert (laps[1]["flags"], laps[1]["is_valid"], laps[1]["lap_time_s"]) == (["long_lap"], False, 461.9)


def test_confidence_depends_on_the_sources_of_the_lap_time() -> None:
    timed = crossings_of(_CAR, at_pace(_PACE), with_unit_time=True)
    triggers = [replace(t, unit_value_ms=t.unit_value_ms + 17) if t.unit_value_ms else t for t in timed]
    wrong = [
        replace(t, unit_value_ms=t.unit_value_ms + 1_700) if t.unit_value_ms and t.unit_lap == 4 else t
        for t in triggers
    ]
    laps = _laps(wrong)
    assert [lap["confidence"] for lap in laps] == [0.99, 0.99, 0.99, 0.1, 0.99, 0.99, 0.99, 0.99]
    assert (laps[3]["flags"], laps[3]["is_valid"]) == (["unit_value_disagrees"], False)
    assert {lap["confidence"] for lap in _laps(crossings_of(_CAR, at_pace(_PACE)))} == {0.98}


def test_a_lost_lap_counter_is_null_and_flagged() -> None:
    triggers = [replace(t, unit_lap=None) if t.unit_lap == 3 else t for t in crossings_of(_CAR, at_pace(_PACE))]
    laps = _laps(triggers)
    assert (laps[2]["unit_lap"], laps[2]["flags"]) == (None, ["unit_lap_lost"])
    assert laps[2]["is_valid"]


def test_a_car_that_gets_faster_with_every_lap_has_no_late_timestamp() -> None:
    """Road America race 1, GR86-021-86: laps slower and faster than its median follow each other, but none is short."""
    laps = _own(_laps(_field() + crossings_of(_CAR, at_pace([131.0, 120.0, 110.0, 101.0, 98.0]))))
    assert [lap["flags"] for lap in laps] == [["out_lap"], [], [], [], []]


def test_a_slow_lap_of_the_field_before_a_pit_crossing_is_not_a_late_timestamp() -> None:
    """Sebring race 2, GR86-063-113: the last lap was slow for all, and the car crossed the line again 40 s later."""
    slow_end = [*_PACE, 160.0]
    others = [item for n in range(5) for item in crossings_of(f"GR86-1{n:02}-{n}", at_pace(slow_end))]
    laps = _own(_laps(others + crossings_of(_CAR, at_pace([*slow_end, 38.0]))))
    assert not any("late_trigger_pair" in lap["flags"] for lap in laps)
    assert "slow_field" in laps[-2]["flags"]


def test_the_field_sets_the_pace_for_a_car_with_two_laps() -> None:
    """VIR race 2, GR86-015-31: 2,925 s is about twice the mean of its two laps, yet it is not a double lap."""
    laps = _own(_laps(_field() + crossings_of(_CAR, at_pace([150.0, 2925.0]))))
    assert [(lap["flags"], lap["is_valid"]) for lap in laps] == [(["long_lap"], False)] * 2


def test_the_only_lap_of_a_session_is_kept_but_not_valid_because_nothing_tells_the_pace() -> None:
    (lap,) = _laps(crossings_of(_CAR, at_pace([98.4])))
    assert (lap["flags"], lap["is_valid"], lap["lap_time_s"]) == (["unknown_pace"], False, 98.4)


def test_a_device_time_counted_from_a_bounce_is_ignored() -> None:
    triggers = [*crossings_of(_CAR, at_pace([98.4])), trigger(_CAR, 98.43, FileKind.LAP_TIME, 1, 0.043)]
    (lap,) = _laps(triggers)
    assert (lap["unit_lap_time_s"], lap["lap_time_method"]) == (None, "trigger")


def test_laps_are_derived_for_an_unusual_vehicle_id() -> None:
    laps = _laps(crossings_of("car7", at_pace(_PACE)))
    assert {(lap["vehicle_id"], lap["chassis"], lap["car_number"]) for lap in laps} == {("car7", "car7", None)}
    assert {(lap["car_number_method"], lap["car_number_confidence"]) for lap in laps} == {("undecided", 0.0)}


def test_the_number_in_the_vehicle_id_is_used_with_the_confidence_measured() -> None:
    (lap,) = _laps(crossings_of("GR86-037-03", at_pace([98.4])))
    found = lap["chassis"], lap["car_number"], lap["car_number_method"], lap["car_number_confidence"]
    assert found == ("037", "03", "suffix", 0.93)


def test_official_columns_are_null_without_official_timing() -> None:
    (lap,) = _laps(crossings_of(_CAR, at_pace([98.4])))
    unknown = {"official_lap_number", "official_lap_time_s", "delta_to_official_s", "is_out_lap", "is_in_lap", "s1_s"}
    assert {lap[name] for name in unknown} == {None}
    assert (lap["lap_time_method"], lap["trigger_lap_time_s"]) == ("trigger", lap["lap_time_s"])


def test_every_trigger_belongs_to_one_crossing_or_is_a_repeat() -> None:
    triggers = crossings_of(_CAR, at_pace(_PACE)) + crossings_of("GR86-099-9", [0.0])
    bounce = trigger(_CAR, 0.05, FileKind.LAP_END, 1)
    report = derive_laps("spa", "R1", [*triggers, bounce, replace(triggers[0], line=900)]).report
    assert (report.triggers, report.repeated_triggers, report.bounced_triggers) == (len(triggers) + 2, 1, 1)
    assert (report.crossings, report.laps, report.valid_laps) == (len(_PACE) + 2, len(_PACE), len(_PACE))
    assert (report.cars, report.cars_without_laps) == (2, 1)


@given(lap_times, lap_times, st.permutations(["GR86-001-1", "GR86-002-2", "GR86-003-3"]))
def test_renaming_the_cars_changes_only_the_names(one: list[float], two: list[float], names: list[str]) -> None:
    new_name = dict(zip(["GR86-001-1", "GR86-002-2", "GR86-003-3"], names, strict=True))
    driven = zip(new_name, (one, two, _PACE), strict=True)
    triggers = [item for car, times in driven for item in crossings_of(car, at_pace(times), with_unit_time=True)]
    renamed = [replace(item, vehicle_id=new_name[item.vehicle_id]) for item in triggers]
    facts = ("vehicle_id", "lap_number", "lap_time_s", "unit_lap_time_s", "flags", "confidence", "source_row")
    expected = [lap | {"vehicle_id": new_name[lap["vehicle_id"]]} for lap in _laps(triggers)]
    found = {tuple(str(lap[name]) for name in facts) for lap in _laps(renamed)}
    assert found == {tuple(str(lap[name]) for name in facts) for lap in expected}

"""Confidence of laps that official timing does not list: by class, or lower if the session shows that it is lower."""

from dataclasses import replace

import pytest

from apex_pipeline.sources.gr_cup.laps.confidence import (
    AT_PACE_NEXT_TO_SLOW,
    ONE_SOURCE,
    SLOW,
    confidence,
    measured_shares,
)
from apex_pipeline.sources.gr_cup.laps.derivation import derive_laps
from apex_pipeline.sources.gr_cup.laps.lap import Flag, Lap
from apex_pipeline.sources.gr_cup.laps.official_cars import OfficialLap
from apex_pipeline.sources.gr_cup.laps.official_check import CellTimes, TimeGroup
from apex_pipeline.sources.gr_cup.laps.official_verdict import Verdict, judge
from apex_pipeline_tests.sources.gr_cup.lap_builder import at_pace, crossings_of

_PACE = [99.0, 98.6, 98.9, 99.1, 98.7, 99.3, 98.8, 99.0]


def _lap(*, is_slow: bool = True) -> Lap:
    return Lap("GR86-1-1", None, None, 0, 120_000, time_s=120.0, is_pace_even=False, is_at_pace=not is_slow)


def _listed(off_s: float, number: int = 5, elapsed_off_s: float | None = None) -> Lap:
    """Return a slow lap that official timing lists, with an own time this much longer than LAP_TIME and ELAPSED."""
    lap = _lap()
    groups = [TimeGroup(120.0 - off_s, frozenset({"LAP_TIME"}))]
    if elapsed_off_s is not None:
        groups.append(TimeGroup(120.0 - elapsed_off_s, frozenset({"ELAPSED"})))
    times = CellTimes(tuple(groups))
    lap.official = OfficialLap(number, 120.0 - off_s, None, {"lap_time_s": 120.0 - off_s}, times)
    lap.verdict = Verdict(120.0 - off_s, "official", 0.8)
    return lap


@pytest.mark.parametrize("track", ["circuit_of_the_americas", "spa"])
def test_confidence_does_not_depend_on_the_name_of_the_track(track: str) -> None:
    slow = [*_PACE[:3], 160.0, *_PACE[3:]]
    triggers = [item for n in range(6) for item in crossings_of(f"GR86-1{n:02}-{n}", at_pace(slow))]
    laps = derive_laps(track, "R1", triggers).laps.to_pylist()
    found = [lap["confidence"] for lap in laps if lap["vehicle_id"] == "GR86-100-0"]
    near = AT_PACE_NEXT_TO_SLOW
    assert found == [*[ONE_SOURCE] * 2, near, SLOW, near, *[ONE_SOURCE] * 4]


def test_a_lower_share_measured_in_a_session_replaces_the_value_of_its_class() -> None:
    shares = measured_shares([_listed(0.1)] * 30 + [_listed(3.0)] * 90)
    assert shares == {SLOW: 0.25}
    assert confidence(_lap(), shares) == 0.25
    assert confidence(_lap(is_slow=False), shares) == AT_PACE_NEXT_TO_SLOW
    assert confidence(_listed(3.0), shares) == 0.8


@pytest.mark.parametrize("wrong", [0, 1, 40])
def test_a_session_never_raises_the_confidence_of_laps_that_official_timing_does_not_list(wrong: int) -> None:
    listed = [_listed(0.1)] * (100 - wrong) + [_listed(3.0)] * wrong
    even = [_of_even_pace(lap) for lap in listed]
    for laps in (listed, even):
        own = confidence(replace(laps[0], official=None, verdict=None), {})
        measured = confidence(replace(laps[0], official=None, verdict=None), measured_shares(laps))
        assert measured == min(own, 1 - wrong / 100)
    assert ONE_SOURCE not in measured_shares([_of_even_pace(_listed(0.1)) for _ in range(100)])


def _of_even_pace(lap: Lap) -> Lap:
    return replace(lap, is_pace_even=True, is_at_pace=True)


def test_a_time_that_the_cars_own_witnesses_decided_measures_nothing() -> None:
    """The only official cell says 117 s, both own witnesses 120 s: the own time is published, and is no reference."""
    laps = [_judged(_listed(3.0), trigger_s=120.0, unit_s=120.0) for _ in range(120)]
    assert {lap.verdict.method for lap in laps if lap.verdict} == {"unit_value"}
    assert measured_shares([*laps, *[_listed(3.0)] * 99]) == {}


def test_a_time_of_official_cells_measures_nothing_if_the_cars_own_witnesses_chose_among_them() -> None:
    """LAP_TIME and ELAPSED contradict each other, and the car's triggers agree with ELAPSED."""
    laps = [_judged(_listed(3.0, elapsed_off_s=0.0), trigger_s=120.0, unit_s=None) for _ in range(120)]
    assert {lap.verdict.method for lap in laps if lap.verdict} == {"official_cells"}
    # They would show that all times are right; the others show that a quarter are.
    assert measured_shares([*laps, *[_listed(0.1)] * 30, *[_listed(3.0)] * 90]) == {SLOW: 0.25}


def test_a_contested_time_measures_nothing() -> None:
    laps = [_judged(_listed(3.0, elapsed_off_s=6.0), trigger_s=None, unit_s=None) for _ in range(120)]
    assert all(lap.verdict and lap.verdict.is_contested for lap in laps)
    assert measured_shares(laps) == {}


def _judged(lap: Lap, *, trigger_s: float | None, unit_s: float | None) -> Lap:
    assert lap.official is not None
    lap.verdict = judge(lap.official.times, trigger_s, unit_s, is_rounded=False)
    return lap


def test_few_laps_measure_nothing() -> None:
    assert measured_shares([_listed(3.0)] * 99) == {}


def test_the_first_lap_counts_from_the_green_flag_and_measures_nothing() -> None:
    assert measured_shares([_listed(3.0, number=1)] * 200) == {}


def test_a_lap_with_a_sign_against_it_is_measured_in_its_own_class() -> None:
    doubtful = [_listed(3.0) for _ in range(100)]
    for lap in doubtful:
        lap.flags.add(Flag.LONG_LAP)
    assert SLOW not in measured_shares(doubtful)

"""Confidence of laps that official timing does not list: by class, or as measured on the other cars of the session."""

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
from apex_pipeline.sources.gr_cup.laps.official_verdict import Verdict
from apex_pipeline_tests.sources.gr_cup.lap_builder import at_pace, crossings_of

_PACE = [99.0, 98.6, 98.9, 99.1, 98.7, 99.3, 98.8, 99.0]


def _lap(*, is_slow: bool = True) -> Lap:
    return Lap("GR86-1-1", None, None, 0, 120_000, time_s=120.0, is_pace_even=False, is_at_pace=not is_slow)


def _listed(off_s: float, number: int = 5) -> Lap:
    """Return a slow lap that official timing lists, with an own time this much longer."""
    lap = _lap()
    times = CellTimes((TimeGroup(120.0 - off_s, frozenset({"LAP_TIME"})),))
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


def test_the_share_measured_in_a_session_replaces_the_value_of_its_class() -> None:
    shares = measured_shares([_listed(0.1)] * 30 + [_listed(3.0)] * 90)
    assert shares == {SLOW: 0.25}
    assert confidence(_lap(), shares) == 0.25
    assert confidence(_lap(is_slow=False), shares) == AT_PACE_NEXT_TO_SLOW
    assert confidence(_listed(3.0), shares) == 0.8


def test_few_laps_measure_nothing() -> None:
    assert measured_shares([_listed(3.0)] * 99) == {}


def test_the_first_lap_counts_from_the_green_flag_and_measures_nothing() -> None:
    assert measured_shares([_listed(3.0, number=1)] * 200) == {}


def test_a_lap_with_a_sign_against_it_is_measured_in_its_own_class() -> None:
    doubtful = [_listed(3.0) for _ in range(100)]
    for lap in doubtful:
        lap.flags.add(Flag.LONG_LAP)
    assert SLOW not in measured_shares(doubtful)

"""The delta of two laps, judged by laps whose true position is known."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.distance import compare_laps, learn_line
from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.delta import Delta
from apex_pipeline.distance.track_line import TrackLine
from apex_pipeline.errors import ConfigurationError
from apex_pipeline_tests.distance.driving import LENGTH_M, PLACE, Driven, Faults, drive


@pytest.fixture(scope="module")
def line() -> TrackLine:
    learned = learn_line([drive().samples], PLACE)
    assert isinstance(learned, TrackLine)
    return learned


def _pair(faults_a: Faults, faults_b: Faults) -> tuple[Driven, Driven]:
    return drive(97.3, 0.02, 1.0, faults_a), drive(98.6, 0.03, 4.0, faults_b)


def _errors(delta: Delta, a: Driven, b: Driven) -> Numbers:
    return delta.delta_s - (b.time_at(delta.distance_m) - a.time_at(delta.distance_m))


@pytest.mark.parametrize(
    ("faults", "worst_s"),
    [
        (Faults(), 0.02),
        (Faults(wheel=0.99), 0.02),
        (Faults(repeats=40), 0.02),
        (Faults(split_gps=True, held_gps=True), 0.02),
        (Faults(jitter=1), 0.06),
        (Faults(holes=((30.0, 1.4),)), 0.06),
        (Faults(bunches=((20.0, 1.5), (60.0, 1.0))), 0.06),
        (Faults(holes=((30.0, 2.0),), bunches=((61.0, 1.5),), repeats=50, jitter=1, split_gps=True), 0.06),
    ],
)
def test_the_delta_is_the_true_one(faults: Faults, worst_s: float, line: TrackLine) -> None:
    a, b = _pair(faults, replace(faults, wheel=1.002, holes=tuple((s + 25, n) for s, n in faults.holes)))
    delta = compare_laps(a.samples, b.samples, 2.0, line)
    error = _errors(delta, a, b)
    assert np.nanmax(np.abs(error)) <= worst_s
    known = np.isfinite(error)
    assert np.mean(np.abs(error[known]) <= delta.error_s[known]) >= 0.9


@settings(max_examples=25, deadline=None)
@given(
    st.floats(80, 140), st.floats(80, 140), st.floats(0, 0.05), st.floats(0, 6), st.sampled_from([0.5, 1.0, 2.0, 7.3])
)
def test_at_the_line_the_delta_is_the_difference_of_the_lap_times(
    time_a: float, time_b: float, pace: float, phase: float, step_m: float
) -> None:
    late = replace(drive(time_b, pace, -phase).samples, lap_time_s=time_b + 0.3)
    delta = compare_laps(drive(time_a, pace, phase).samples, late, step_m)
    assert delta.distance_m[-1] == LENGTH_M
    assert delta.delta_s[0] == 0
    assert delta.delta_s[-1] == pytest.approx(time_b + 0.3 - time_a, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.floats(80, 120), st.floats(0, 0.05), st.floats(0, 6))
def test_the_delta_changes_its_sign_with_the_order_of_the_laps(lap_time_s: float, pace: float, phase: float) -> None:
    a, b = drive(97.0).samples, drive(lap_time_s, pace, phase).samples
    there, back = compare_laps(a, b, 5.0), compare_laps(b, a, 5.0)
    np.testing.assert_allclose(there.delta_s, -back.delta_s, atol=0.01)


def test_a_hole_of_either_lap_is_null_in_every_channel_and_in_the_delta() -> None:
    a, b = _pair(Faults(holes=((30.0, 1.0),)), Faults(holes=((60.0, 2.0),)))
    delta = compare_laps(a.samples, b.samples, 2.0)
    for lap, moment in ((a, 30.5), (b, 61.0)):
        at = int(np.searchsorted(delta.distance_m, np.interp(moment, lap.at_s, lap.at_m)))
        assert np.isnan(delta.delta_s[at])
        assert np.isnan(delta.error_s[at])
        assert any(begin <= delta.distance_m[at] <= end for begin, end in delta.holes)
    at = int(np.searchsorted(delta.distance_m, np.interp(30.5, a.at_s, a.at_m)))
    assert all(np.isnan(values[at]) for values in delta.a.channels.values())
    assert not any(np.isnan(values[at]) for values in delta.b.channels.values())
    assert len(delta.holes) == 2


def test_laps_of_different_layouts_are_refused() -> None:
    other = replace(drive().samples, track_length_m=LENGTH_M * 1.05, label="R2 car 5 lap 3")
    with pytest.raises(ConfigurationError, match=r"R2 car 5 lap 3 .* not the same layout"):
        compare_laps(drive().samples, other)


@pytest.mark.parametrize("step_m", [0, -1, 0.01, 1e9, float("nan"), float("inf")])
def test_a_step_that_makes_no_grid_is_refused(step_m: float) -> None:
    with pytest.raises(ConfigurationError, match="step_m"):
        compare_laps(drive().samples, drive().samples, step_m)


def test_a_simulated_lap_is_compared_by_the_share_of_its_own_track() -> None:
    a, b = drive(97.0), drive(99.0)
    longer = replace(b.samples, track_length_m=LENGTH_M * 1.02, is_simulated=True, label="the simulated lap")
    delta = compare_laps(a.samples, longer)
    assert np.nanmax(np.abs(_errors(delta, a, b))) < 0.02
    assert any("simulated" in note for note in delta.notes)


def test_a_frozen_clock_gives_no_delta_and_says_so() -> None:
    frozen = replace(drive(98.0).samples, has_clock=False, label="car 80 lap 3")
    delta = compare_laps(drive().samples, frozen)
    assert np.isnan(delta.delta_s).all()
    assert delta.method == "none"
    assert any("car 80 lap 3" in note and "clock" in note for note in delta.notes)


def test_the_official_points_choose_another_way_where_the_speed_is_wrong(line: TrackLine) -> None:
    a, b = _pair(Faults(), Faults())
    speed = b.samples.channels["speed_kph"]
    slipping = np.where((b.samples.times_s > 20) & (b.samples.times_s < 30), speed * 1.1, speed)
    wrong = replace(b.samples, channels={**b.samples.channels, "speed_kph": slipping})
    delta = compare_laps(a.samples, wrong, 2.0, line)
    assert "gps_on_line" in delta.method
    assert np.nanmax(np.abs(_errors(delta, a, b))) < 0.06
    unaided = compare_laps(a.samples, replace(wrong, points=()), 2.0, line)
    assert unaided.method == "integrated_speed"
    assert np.isnan(unaided.residual_s)
    assert np.nanmax(np.abs(_errors(unaided, a, b))) > 0.1


def test_two_laps_are_compared_within_ten_milliseconds() -> None:
    a, b = _pair(Faults(), Faults())
    a_lap, b_lap = (
        replace(lap.samples, channels={name: lap.samples.channels[name] for name in list(lap.samples.channels)[:4]})
        for lap in (a, b)
    )
    compare_laps(a_lap, b_lap)
    spent = []
    for _ in range(20):
        begin = time.process_time()
        compare_laps(a_lap, b_lap)
        spent.append(time.process_time() - begin)
    assert min(spent) <= 0.010


def test_the_points_correct_holes_that_no_lap_knows() -> None:
    # Both laps have a hole at the same place, in braking: speed alone must guess.
    holes = Faults(holes=((11.0, 2.0), (43.0, 2.0)))
    a, b = drive(97.3, 0.02, 1.0, holes), drive(97.5, 0.03, 4.0, holes)
    with_points = compare_laps(a.samples, b.samples)
    without = compare_laps(a.samples, replace(b.samples, points=()))
    assert np.nanmax(np.abs(_errors(with_points, a, b))) < 0.06
    assert np.nanmax(np.abs(_errors(with_points, a, b))) < np.nanmax(np.abs(_errors(without, a, b)))
    assert np.nanmedian(without.error_s) > np.nanmedian(compare_laps(drive().samples, drive(98.0).samples).error_s)


def test_a_standing_lap_and_one_that_nearly_stops_have_a_delta_without_jumping_back() -> None:
    lap = drive(120.0)
    slow = np.where((lap.samples.times_s > 50) & (lap.samples.times_s < 53), 0.0, lap.samples.channels["speed_kph"])
    stopped = replace(lap.samples, channels={**lap.samples.channels, "speed_kph": slow}, points=())
    delta = compare_laps(drive(97.0, faults=Faults(holes=((41.0, 2.0),))).samples, stopped)
    known = np.isfinite(delta.b.time_s)
    assert (np.diff(delta.b.time_s[known]) >= -1e-6).all()
    assert delta.delta_s[-1] == pytest.approx(23.0)

"""One lap on distance: its grid, its times and channels, and laps that are not as they should be."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.distance import LapSamples, compare_laps, lap_on_distance, learn_line
from apex_pipeline.distance.arrays import Flags, Numbers
from apex_pipeline.distance.lap import distance_grid
from apex_pipeline.distance.positions import Method
from apex_pipeline.distance.track_line import TrackLine
from apex_pipeline.errors import ConfigurationError
from apex_pipeline_tests.distance.driving import LENGTH_M, PLACE, Driven, Faults, drive


def _with(lap: Driven, **channels: Numbers) -> LapSamples:
    return replace(lap.samples, channels={**lap.samples.channels, **channels})


def _only(lap: LapSamples, *channels: str) -> LapSamples:
    return replace(lap, channels={name: lap.channels[name] for name in channels})


def _rows(lap: LapSamples, rows: Flags) -> LapSamples:
    return replace(lap, times_s=lap.times_s[rows], channels={n: v[rows] for n, v in lap.channels.items()})


@given(st.floats(200, 30_000), st.floats(0.1, 1_000))
def test_a_grid_goes_from_line_to_line_in_equal_steps(length_m: float, step_m: float) -> None:
    grid = distance_grid(length_m, step_m)
    assert (grid[0], grid[-1]) == (0, length_m)
    assert (np.diff(grid) > 0).all()
    np.testing.assert_allclose(np.diff(grid)[:-1], step_m, rtol=1e-6)
    assert len(grid) == pytest.approx(length_m / step_m + 1, abs=1.01)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.985, 1.015), st.floats(85, 130), st.floats(0, 0.04), st.floats(0, 6))
def test_the_wheels_and_the_pace_of_a_car_do_not_matter(wheel: float, time_s: float, pace: float, phase: float) -> None:
    lap = drive(time_s, pace, phase, Faults(wheel=wheel))
    found = lap_on_distance(lap.samples, 5.0)
    assert np.max(np.abs(found.time_s - lap.time_at(found.distance_m))) < 0.02


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(2, 90), st.floats(0.6, 2.5)), max_size=3), st.integers(0, 3))
def test_time_never_runs_back_and_holes_are_what_was_not_received(
    holes: list[tuple[float, float]], jitter: int
) -> None:
    lap = drive(97.0, 0.02, 1.0, Faults(holes=tuple(holes), jitter=jitter))
    found = lap_on_distance(lap.samples, 2.0)
    known = np.isfinite(found.time_s)
    assert (np.diff(found.time_s[known]) > -1e-9).all()
    assert (found.time_s[0], found.time_s[-1]) == (0, 97.0)
    for begin, length in holes:
        middle = np.interp(begin + length / 2, lap.at_s, lap.at_m)
        assert not known[np.argmin(np.abs(found.distance_m - middle))]


def test_gears_hold_their_last_value_and_others_are_interpolated_by_their_own_readings() -> None:
    found = lap_on_distance(drive().samples, 2.0)
    assert set(np.unique(found.channels["gear"])) <= set(range(1, 7))
    assert len(np.unique(found.channels["speed_kph"])) > 1_000
    of_the_line = found.channels.pop("lap_distance_m")  # starts again at the line
    assert np.isfinite(of_the_line[5:-5]).all()
    assert all(np.isfinite(values).all() for values in found.channels.values())


def test_nothing_lies_between_the_readings_before_and_after_a_reset_of_the_units_distance() -> None:
    lap = drive().samples
    found = lap_on_distance(lap, 2.0).channels["lap_distance_m"]
    assert np.isnan(found[[0, -1]]).all()  # 3,642 m is read before the line and 0 m after it; half of that was never
    off_m = np.abs(found - np.linspace(0, LENGTH_M, len(found)))
    assert np.nanmax(np.minimum(off_m, LENGTH_M - off_m)) < 25  # the car counts up to two readings' way late


def test_only_the_channels_asked_for_are_put_on_the_grid() -> None:
    assert list(lap_on_distance(drive().samples, 2.0, channels=["gear"]).channels) == ["gear"]


def test_a_lap_time_within_half_a_second_scales_the_lap_and_another_is_left() -> None:
    scaled = lap_on_distance(replace(drive(97.0).samples, lap_time_s=97.49))
    assert scaled.time_s[-1] == 97.49
    assert not scaled.notes
    left = lap_on_distance(replace(drive(97.0).samples, lap_time_s=106.0, label="lap 2"))
    assert left.time_s[-1] == 97.0
    assert "lap 2 is not scaled" in left.notes[0]
    assert "-9.000" in left.notes[0]
    unknown = lap_on_distance(replace(drive(97.0).samples, lap_time_s=np.nan))
    assert unknown.time_s[-1] == 97.0
    assert unknown.notes


def test_lap_1_is_not_scaled_to_the_time_from_the_green_flag_and_its_points_are_moved() -> None:
    lap = drive(97.0)
    late = [(name, time_s + 0.4) for name, time_s in lap.samples.points]
    first = replace(lap.samples, lap_time_s=97.4, from_green=True, points=late, label="lap 1")
    assert lap_on_distance(first).time_s[-1] == 97.0
    assert "green" in lap_on_distance(first).notes[0]
    assert first.usable_points() == pytest.approx(dict(lap.samples.points))
    at_the_line = replace(first, lap_time_s=97.05)
    assert lap_on_distance(at_the_line).time_s[-1] == 97.05


def test_points_of_another_lap_are_not_used() -> None:
    assert replace(drive(97.0).samples, lap_time_s=106.0).usable_points() == {}
    assert replace(drive(97.0).samples, lap_time_s=np.nan).usable_points() == {}


def test_a_hole_over_the_line_leaves_only_the_line_itself_known() -> None:
    lap = drive(97.0, faults=Faults(holes=((-1.0, 3.0), (95.5, 3.0))))
    found = lap_on_distance(lap.samples)
    assert (found.time_s[0], found.time_s[-1]) == (0, 97.0)
    assert np.isnan(found.time_s[1:20]).all()
    assert np.isnan(found.channels["gear"][0])
    assert found.holes[0][0] == 0
    assert found.holes[-1][1] == pytest.approx(LENGTH_M)


def _three(lap: LapSamples) -> LapSamples:
    chosen = np.zeros(len(lap.times_s), dtype=bool)
    chosen[[100, 900, 1800]] = True
    return _rows(lap, chosen)


@pytest.mark.parametrize(
    ("lap", "reason"),
    [
        (_rows(drive().samples, drive().samples.times_s < 60), "nothing for 37"),
        (_only(drive().samples, "gear", "brake_front_bar"), "integrated_speed: no readings"),
        (_three(drive().samples), "only|no readings"),
        (replace(drive().samples, times_s=np.empty(0), channels={}), "no readings"),
        (_with(drive(), speed_kph=0 * drive().samples.times_s, lap_distance_m=0 * drive().samples.times_s), "0 m"),
        (_with(drive(), speed_kph=1.2 * drive().samples.channels["speed_kph"]), "lap_distance_m"),
        (replace(_only(drive().samples, "speed_kph"), has_clock=False), "the clock stood still"),
    ],
)
def test_a_lap_without_a_distance_says_why(lap: LapSamples, reason: str) -> None:
    if "lap_distance_m" in reason:
        assert lap_on_distance(lap).method == reason
        return
    found = lap_on_distance(replace(lap, label="lap 7"), 10.0)
    assert found.method == "none"
    assert np.isnan(found.time_s).all()
    assert len(found.distance_m) == 366
    assert found.notes[0].startswith("lap 7 has no distance")
    assert any(word in found.notes[0] for word in reason.split("|"))
    delta = compare_laps(drive().samples, lap)
    assert delta.method == "none"
    assert np.isnan(delta.delta_s).all()


def test_a_frozen_clock_leaves_channels_at_the_places_gps_knows() -> None:
    line = learn_line([drive().samples], PLACE)
    assert isinstance(line, TrackLine)
    found = lap_on_distance(replace(drive().samples, has_clock=False), 5.0, line=line, method=Method.GPS)
    assert np.isnan(found.time_s).all()
    assert np.isfinite(found.channels["speed_kph"]).all()


def test_the_units_distance_is_found_where_the_speed_is_missing() -> None:
    lap = drive(97.0, 0.02)
    found = lap_on_distance(_only(lap.samples, "lap_distance_m", "gear"), 2.0)
    assert found.method == "lap_distance_m"
    assert np.nanmax(np.abs(found.time_s - lap.time_at(found.distance_m))) < 0.08


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"duration_s": 0.0}, "duration"),
        ({"duration_s": float("nan")}, "duration"),
        ({"track_length_m": -3.0}, "track length"),
        ({"track_length_m": float("inf")}, "track length"),
        ({"times_s": np.array([2.0, 1.0])}, "sorted"),
        ({"channels": {"gear": np.zeros(3)}}, "gear"),
    ],
)
def test_samples_that_cannot_be_a_lap_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        replace(drive().samples, **change)  # type: ignore[arg-type]

"""The channels of a simulated lap are consistent with each other."""

import numpy as np
import pytest

from apex_pipeline.demo.signals import Scale, outline, signals_of
from apex_pipeline.demo.tracks import TRACKS, DemoTrack

_each_track = pytest.mark.parametrize("track", TRACKS, ids=lambda track: track.slug)


@_each_track
def test_speed_integrated_over_the_lap_is_its_length(track: DemoTrack) -> None:
    lap = outline(track)
    assert lap.speed_ms.mean() * track.lap_ms / 1000 == pytest.approx(track.length_m, rel=0.01)
    assert np.all(np.diff(lap.distance_m) > 0)


@_each_track
def test_the_outline_is_a_closed_curve_of_the_lap_length(track: DemoTrack) -> None:
    lap = outline(track)
    north_m = lap.latitude_deg * 111_320
    east_m = lap.longitude_deg * 111_320 * np.cos(np.radians(track.latitude_deg))
    steps_m = np.hypot(np.diff(north_m, append=north_m[0]), np.diff(east_m, append=east_m[0]))
    assert steps_m.sum() == pytest.approx(track.length_m, rel=0.01)
    assert steps_m.max() < 2


@_each_track
def test_speeds_and_accelerations_are_those_of_a_racing_car(track: DemoTrack) -> None:
    lap = outline(track)
    assert 15 < lap.speed_ms.min() < 30
    assert 50 < lap.speed_ms.max() < 62
    assert np.abs(lap.along_g).max() < 1.3
    assert 1 < np.abs(lap.across_g).max() < 1.6


@_each_track
def test_forward_acceleration_is_the_change_of_speed(track: DemoTrack) -> None:
    lap = outline(track)
    step_s = track.lap_ms / 1000 / len(lap.speed_ms)
    change_g = np.gradient(lap.speed_ms, step_s) / 9.81
    assert np.abs(change_g - lap.along_g)[1:-1].max() < 0.1


@_each_track
def test_a_slow_lap_is_driven_at_lower_speed_everywhere(track: DemoTrack) -> None:
    signals = signals_of(track.slug)
    column = signals.channels.index("speed")
    share = np.linspace(0, 1, 50, endpoint=False)

    def speeds(lap_ms: int) -> list[float]:
        indices = signals.indices(share, lap_ms, np.random.default_rng(0))[:, column]
        return [float(signals.texts[index].removeprefix("speed,")) for index in indices]

    fast, slow = speeds(track.lap_ms), speeds(2 * track.lap_ms)
    assert slow == pytest.approx([speed / 2 for speed in fast], abs=0.01)


def test_a_scale_formats_integers_without_a_point_and_clips_at_its_bounds() -> None:
    scale = Scale(-1, 1, 2)
    assert scale.texts() == ["-1", "-0.5", "0", "0.5", "1"]
    assert scale.indices(np.array([-7.0, -0.4, 0.1, 9.0])).tolist() == [0, 1, 2, 4]

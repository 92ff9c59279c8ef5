"""Thinned curves: ends and extremes stay, holes stay holes, and there are never more points than asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.api.lake.downsampling import Curve, picked_points

_STEPS = st.lists(st.sampled_from([0.0, 0.04, 0.2, 0.6, 2.0]), min_size=0, max_size=300)


def _curve(steps: list[float], seed: int, most: int | None) -> tuple[np.ndarray, np.ndarray, Curve]:
    x = np.cumsum([0.0, *steps])
    y = np.random.default_rng(seed).normal(size=x.size)
    return x, y, picked_points(x, y, most, 0.5)


@given(_STEPS, st.integers(0, 5), st.integers(2, 400))
def test_ends_and_extremes_stay_and_the_limit_holds(steps: list[float], seed: int, most: int) -> None:
    x, y, found = _curve(steps, seed, most)
    assert found.x.size <= most
    assert (np.diff(found.x) >= 0).all()
    is_point = np.isfinite(found.y)
    points = set(zip(found.x[is_point], found.y[is_point], strict=True))
    assert points <= set(zip(x, y, strict=True))
    assert (found.x[0], found.y[0]) == (x[0], y[0])
    if most > 1 and x.size > 1:
        assert (found.x[-1], found.y[-1]) == (x[-1], y[-1])
    holes = int((np.diff(x) > 0.5).sum())
    assert found.holes == holes
    if most >= 5 * (holes + 1):  # every piece has room for its ends and its two extremes
        assert found.y[is_point].min() == y.min()
        assert found.y[is_point].max() == y.max()


@given(_STEPS, st.integers(0, 5))
def test_without_a_limit_every_sample_is_a_point(steps: list[float], seed: int) -> None:
    x, y, found = _curve(steps, seed, None)
    is_point = np.isfinite(found.y)
    assert (found.x[is_point] == x).all()
    assert (found.y[is_point] == y).all()
    assert (~is_point).sum() == (np.diff(x) > 0.5).sum()


@given(_STEPS, st.integers(8, 400))
def test_no_line_is_drawn_across_a_hole_while_there_is_room(steps: list[float], most: int) -> None:
    _, _, found = _curve(steps, 0, most)
    shown = int(np.isnan(found.y).sum())
    assert shown == min(found.holes, (most - 2) // 3) or shown == found.holes
    for place in np.flatnonzero(np.isnan(found.y)):
        assert found.x[place - 1] < found.x[place] < found.x[place + 1]


def test_with_too_few_points_the_widest_holes_are_shown() -> None:
    x = np.array([0, 0.1, 1, 1.1, 5, 5.1, 6, 6.1])
    found = picked_points(x, np.zeros(8), 5, 0.5)
    assert found.holes == 3
    assert found.x[np.isnan(found.y)] == pytest.approx([3.05])


def test_a_channel_without_readings_is_an_empty_curve() -> None:
    found = picked_points(np.array([0.0, 1.0]), np.array([np.nan, np.nan]), 10, 0.5)
    assert (found.x.size, found.holes) == (0, 0)

"""Shapes, scales and texts of the drawings."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.reports.svg import Drawing, Scale
from apex_pipeline_tests.reports.pictures import Picture


def test_a_picture_is_readable_in_dark_and_in_light() -> None:
    svg = Drawing(100, 50, "Speed").svg
    assert "prefers-color-scheme:dark" in svg
    # Its own background comes first, so it does not depend on the page's.
    assert svg.index('class="b"') < svg.index("<text")


@pytest.mark.parametrize("text", ["GR86<002>7", "GR86&002&7", "a&lt;b&gt;", "&#60;script&#62;", "&amp;lt;", "x;y&z"])
def test_text_with_signs_of_markup_is_shown_as_written(text: str) -> None:
    drawing = Drawing(100, 50, "Speed")
    drawing.text(0, 0, text)
    assert Picture(drawing.markdown).texts == ["Speed", text]


@given(st.text(st.characters() | st.sampled_from("<>&;\"'()[]%`\\\n #"), max_size=100))
def test_any_text_is_shown_as_text(text: str) -> None:
    drawing = Drawing(100, 50, text)
    drawing.text(0, 0, text)
    assert all(len(shown) <= 90 for shown in Picture(drawing.markdown).texts)


_NUMBERS = st.floats(-1e6, 1e6)


@given(_NUMBERS, _NUMBERS, _NUMBERS)
def test_a_scale_never_leaves_its_pixels(low: float, high: float, value: float) -> None:
    assert 10 <= Scale(low, high, 10, 200)(value) <= 200


@given(_NUMBERS, st.floats(1e-3, 1e6), st.integers(3, 10))
def test_ticks_are_round_values_within_the_scale(low: float, span: float, most: int) -> None:
    scale = Scale(low, low + span, 0, 100)
    ticks = scale.ticks(most)
    slack = 1e-6 * max(1, abs(low), span)
    assert 1 <= len(ticks) <= most
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)


def test_a_line_of_equal_points_is_a_dot_and_an_empty_one_nothing() -> None:
    drawing = Drawing(100, 50, "dots")
    drawing.path([[(1, 2), (1.2, 2.3)], []])
    drawing.path([[]])
    assert Picture(drawing.markdown).paths == ["M1,2h0"]


def test_a_scale_of_one_value_is_usable() -> None:
    assert math.isfinite(Scale(5, 5, 0, 10)(5))

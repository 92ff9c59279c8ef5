"""The drawing of lines over laps: ticks, labels that do not touch, and gaps."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.reports.session_report.line_chart import Frame, Label, Line, draw, spread


@given(st.lists(st.floats(0, 400), max_size=25).map(sorted))
def test_labels_keep_their_order_and_never_touch(wanted: list[float]) -> None:
    placed = spread(wanted, 13, 0, 400)
    assert all(below - above >= 13 - 1e-9 for above, below in itertools.pairwise(placed))
    assert all(-1e-9 <= height <= 400 for height in placed)


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 2), (1, 8), (1, 27), (0, 60), (1, 400), (-3, 9)])
def test_laps_are_named_at_round_numbers_and_at_most_eight_times(first: int, last: int) -> None:
    ticks = Frame("", first, last, 100).lap_ticks()
    assert 1 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert all(first <= tick <= last for tick in ticks)


def test_a_missing_lap_is_a_gap_and_a_lap_alone_is_a_dot() -> None:
    lines = [Line("#1", [(1, 10), (2, 20), (4, 30)], 0)]
    drawing = draw(Frame("Title", 1, 5, 100), lines, [Label("1", 10)], [Label("#1", 30)], "gap, s")
    assert '<path d="M0,10h0L250,20M750,30h0"/>' in drawing


def test_coloured_lines_lie_above_the_others_and_names_are_text() -> None:
    lines = [Line("<b>", [(1, 10)], 0), Line("quiet", [(1, 20)])]
    drawing = draw(Frame("A & B", 1, 2, 100), lines, [], [Label("a name that is long", 5)], "s")
    assert re.findall(r"<title>(.*?)</title>", drawing) == ["A &amp; B", "quiet", "&lt;b&gt;"]
    assert "…" in drawing

"""Line feeds are counted like Python counts them, wherever they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry.kernels.line_feeds import count_line_feeds


@given(st.binary(max_size=10), st.lists(st.sampled_from([b"\n", b"a", b"\x8a", b"\r\n"]), max_size=150))
def test_every_line_feed_is_counted_once(start: bytes, parts: list[bytes]) -> None:
    text = start + b"".join(parts)
    assert count_line_feeds(np.frombuffer(text, np.uint8).copy()) == text.count(b"\n")


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 64, 65, 1_000])
def test_a_text_of_nothing_but_line_feeds_has_as_many_as_bytes(size: int) -> None:
    assert count_line_feeds(np.full(size, 10, np.uint8)) == size

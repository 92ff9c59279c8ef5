"""Sizes and lap times as people read them."""

import pytest

from apex_pipeline.amounts import lap_time


@pytest.mark.parametrize(
    ("seconds", "text"), [(97.428, "1:37.428"), (59.9996, "1:00.000"), (5, "0:05.000"), (7265.1, "121:05.100")]
)
def test_a_lap_time_is_written_as_official_timing_prints_it(seconds: float, text: str) -> None:
    assert lap_time(seconds) == text

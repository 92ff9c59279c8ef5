"""Clock corrections: many small blocks give the same numbers as all readings at once."""

from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry import clocks
from apex_pipeline.sources.gr_cup.telemetry.clocks import measure_clock
from apex_pipeline.sources.gr_cup.telemetry.pivot import unique
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames

FRAME = st.tuples(st.integers(0, 5_000), st.sampled_from([0, 5, 700, 90_000, 10**9]), st.integers(1, 4))


def frames_of(rows: list[tuple[int, int, int]]) -> Frames:
    """Return frames of car time, lateness and number of readings."""
    car, late, readings = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    count = int(readings.sum())
    return Frames(car, car + late, np.zeros_like(car), readings, np.zeros(count, np.uint16), np.zeros(count))


@pytest.mark.parametrize("max_buffered", [0, 100_000], ids=["merged after every block", "merged once"])
@given(blocks=st.lists(st.lists(FRAME, min_size=1, max_size=8), min_size=1, max_size=6))
def test_median_and_spread_over_blocks_are_those_of_all_readings(
    max_buffered: int, blocks: list[list[tuple[int, int, int]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "_MAX_BUFFERED", max_buffered)
        clock = measure_clock("car", [frames_of(block) for block in blocks])

    late = sorted(lateness for block in blocks for _, lateness, readings in block for _ in range(readings))
    assert clock.offset_s == np.ceil(median(late)) / 1000
    low, high = (next(late[k] for k in range(len(late)) if k + 1 >= share * len(late)) for share in (0.05, 0.95))
    assert clock.spread_s == (high - low) / 1000


@pytest.mark.parametrize(
    ("car_times", "messages", "span_ms", "is_frozen"),
    [
        (1, 40, 10_001, True),
        (1, 40, 10_000, False),
        (4, 40, 20_000, True),
        (5, 40, 20_000, False),
        (2, 2, 20_000, False),
    ],
)
def test_a_clock_with_one_time_per_ten_messages_over_ten_seconds_is_frozen(
    car_times: int,
    messages: int,
    span_ms: int,
    is_frozen: bool,  # noqa: FBT001  -- a test parameter
) -> None:
    received = np.linspace(0, span_ms, messages).astype(np.int64)
    rows = [(number % car_times, int(at) - number % car_times, 1) for number, at in enumerate(received)]

    assert measure_clock("car", [frames_of(rows)]).is_frozen == is_frozen


@given(st.lists(st.integers(-(2**62), 2**62), max_size=40))
def test_unique_values_and_indices_equal_those_of_numpy(numbers: list[int]) -> None:
    values = np.array(numbers, np.int64)

    distinct, index = unique(values)

    expected, inverse = np.unique(values, return_inverse=True)
    assert distinct.tolist() == expected.tolist()
    assert index.tolist() == inverse.tolist()

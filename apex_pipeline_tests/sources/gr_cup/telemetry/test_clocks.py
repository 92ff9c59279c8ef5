"""Clock corrections: many small blocks give the same numbers as all readings at once."""

import tracemalloc
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry import clocks
from apex_pipeline.sources.gr_cup.telemetry.clock_pieces import Cells
from apex_pipeline.sources.gr_cup.telemetry.clocks import measure_clock
from apex_pipeline.sources.gr_cup.telemetry.pivot import unique
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames

FRAME = st.tuples(st.integers(0, 5_000), st.sampled_from([0, 5, 700, 1_900]), st.integers(1, 4))


def frames_of(rows: list[tuple[int, int, int]]) -> Frames:
    """Return frames of car time, lateness and number of readings."""
    car, late, readings = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    count = int(readings.sum())
    return Frames(car, car + late, np.zeros_like(car), readings, np.zeros(count, np.uint16), np.zeros(count))


def clock_of(blocks: Sequence[Frames]) -> CarClock:
    """Return the clock of a car with these frames."""
    return measure_clock("car", lambda: blocks)


@pytest.mark.parametrize("max_buffered", [0, 100_000], ids=["merged after every block", "merged once"])
@given(blocks=st.lists(st.lists(FRAME, min_size=1, max_size=8), min_size=1, max_size=6))
def test_edge_and_spread_over_blocks_are_those_of_all_readings(
    max_buffered: int, blocks: list[list[tuple[int, int, int]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "_MAX_BUFFERED", max_buffered)
        patch.setattr(clocks, "_BATCH_FRAMES", max_buffered)
        (piece,) = clock_of([frames_of(block) for block in blocks]).pieces

    late = sorted(lateness for block in blocks for _, lateness, readings in block for _ in range(readings))
    low, edge, high = (
        next(late[k] for k in range(len(late)) if k + 1 >= share * len(late)) for share in (0.05, 0.005, 0.95)
    )
    assert piece.offset_ms == piece.edge_offset_ms == edge
    assert piece.spread_ms == high - low


@given(
    st.lists(st.tuples(*[st.one_of(st.integers(-3, 3), st.sampled_from([-(2**31), 2**40, 2**62]))] * 3), min_size=1),
)
def test_keys_are_ordered_the_first_one_first_whatever_their_range(rows: list[tuple[int, int, int]]) -> None:
    order, is_new = clocks.order_by([np.array(key, np.int64) for key in zip(*rows, strict=True)])

    in_order = [rows[index] for index in order]
    assert in_order == sorted(rows)
    assert is_new.tolist() == [at == 0 or in_order[at - 1] != row for at, row in enumerate(in_order)]


def test_frames_without_rows_have_no_cells() -> None:
    nothing = Cells(*(np.empty(0, np.int64) for _ in Cells._fields))
    assert clocks.grouped(nothing, 1_000) == nothing


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

    assert clock_of([frames_of(rows)]).is_frozen == is_frozen


@given(st.lists(st.integers(-(2**62), 2**62), max_size=40))
def test_unique_values_and_indices_equal_those_of_numpy(numbers: list[int]) -> None:
    values = np.array(numbers, np.int64)

    distinct, index = unique(values)

    expected, inverse = np.unique(values, return_inverse=True)
    assert distinct.tolist() == expected.tolist()
    assert index.tolist() == inverse.tolist()


@pytest.mark.parametrize(("car_times", "is_frozen"), [(90, False), (11, False), (3, True), (1, True)])
def test_a_clock_is_frozen_or_not_whatever_the_number_of_times_told_apart(
    car_times: int,
    is_frozen: bool,  # noqa: FBT001  -- a test parameter
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clocks, "_MAX_MESSAGES", 40)
    monkeypatch.setattr(clocks, "_MAX_TIMES", 5)
    received = np.arange(90) * 1_000
    blocks = [frames_of([(number % car_times, int(received[number]), 1)]) for number in range(90)]

    assert clock_of(blocks).is_frozen == is_frozen


@given(st.lists(st.integers(0, 2_000), min_size=21, max_size=60, unique=True))
def test_more_delays_than_are_told_apart_are_rounded(late: list[int]) -> None:
    blocks = [frames_of([(0, delay, 1)]) for delay in late]
    exact = clock_of(blocks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "_MAX_BUFFERED", 0)
        patch.setattr(clocks, "_BATCH_FRAMES", 0)
        patch.setattr(clocks, "_MAX_DELAYS", 20)
        rounded = clock_of(blocks)

    # Twenty values remain, so the rounding is at most to a tenth of the range of the delays.
    unit_ms = 10 * (max(late) - min(late)) / 20
    (before,), (after,) = exact.pieces, rounded.pieces
    assert abs(after.offset_ms - before.offset_ms) <= unit_ms
    assert abs(after.spread_ms - before.spread_ms) <= 2 * unit_ms


def test_a_block_is_not_kept_in_memory_for_its_times() -> None:
    readings = 100_000

    def blocks() -> Iterator[Frames]:
        for number in range(100):
            content = np.zeros(4 + readings, np.int64)
            content[:4] = number, number + 1_000, 0, readings
            times = content[:4].reshape(4, 1)
            yield Frames(*times, channel=np.zeros(readings, np.uint16), value=content[4:].view(np.float64))

    tracemalloc.start()
    clock = measure_clock("car", blocks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert clock.pieces[0].offset_ms == 1_000
    assert peak < 10_000_000

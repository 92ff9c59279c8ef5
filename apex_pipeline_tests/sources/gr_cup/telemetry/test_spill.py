"""Readings by car on disk: exactly the added frames are read back, and only those requested."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import LimitExceededError
from apex_pipeline.sources.gr_cup.telemetry.spill import CarSize, Frames, ReadingSpill, join
from apex_pipeline.sources.limits import Limits

COUNTS = st.lists(st.integers(0, 3), min_size=1, max_size=12)


def frames_of(counts: list[int], first: int = 0) -> Frames:
    """Return frames with the given numbers of readings, all with distinct values."""
    car_ms = np.arange(len(counts), dtype=np.int64) + first
    readings = sum(counts)
    return Frames(
        car_ms,
        car_ms + 1_000,
        car_ms + 2_000,
        np.array(counts, np.int64),
        np.arange(readings).astype(np.uint16),
        np.arange(readings, dtype=np.float64) + first,
    )


def same(one: Frames, other: Frames) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def test_added_frames_are_read_back_block_by_block(tmp_path: Path) -> None:
    with ReadingSpill(tmp_path) as readings:
        blocks = [frames_of([1, 2, 0]), frames_of([3], first=7)]
        for block in blocks:
            readings.add("b", block)
        readings.add("a", frames_of([1]))

        assert readings.cars == ["a", "b"]
        assert readings.size_of("b") == CarSize(4, 6)
        assert all(map(same, readings.blocks_of("b"), blocks))


def test_the_unnamed_file_leaves_nothing_on_disk(tmp_path: Path) -> None:
    with ReadingSpill(tmp_path) as readings:
        readings.add("a", frames_of([5]))

    assert list(tmp_path.iterdir()) == []


def test_rewind_drops_frames_and_channels_added_after_the_checkpoint(tmp_path: Path) -> None:
    with ReadingSpill(tmp_path) as readings:
        readings.add("a", frames_of([1]))
        readings.channel_code("speed")
        checkpoint = readings.checkpoint()
        readings.channel_code("junk")
        readings.add("a", frames_of([2], first=5))
        readings.add("b", frames_of([1]))

        readings.rewind(checkpoint)

        assert readings.cars == ["a"]
        assert readings.channels == ["speed"]
        assert same(join(list(readings.blocks_of("a"))), frames_of([1]))

        readings.add("b", frames_of([3], first=9))
        assert [same(found, frames_of([3], first=9)) for found in readings.blocks_of("b")] == [True]


def test_frames_added_by_several_threads_are_not_mixed(tmp_path: Path) -> None:
    with ReadingSpill(tmp_path) as readings, ThreadPoolExecutor(4) as threads:
        added = [(f"car {number % 3}", frames_of([number % 4, 1], first=100 * number)) for number in range(60)]
        list(threads.map(lambda item: readings.add(*item), added))

        for car in readings.cars:
            expected = join([frames for name, frames in added if name == car])
            found = join(sorted(readings.blocks_of(car), key=lambda frames: frames.car_ms[0]))
            assert same(found, expected)


def test_more_channels_than_the_limit_are_refused_with_file_and_setting(tmp_path: Path) -> None:
    with ReadingSpill(tmp_path, Limits(columns=10)) as readings:
        readings.file = "spa/a.csv"
        codes = [readings.channel_code(f"channel {number}") for number in range(10)]
        assert codes == list(range(10))
        assert readings.channel_code("channel 3") == 3
        with pytest.raises(LimitExceededError, match=r"spa/a\.csv .* 10 different channels .*APEX_MAX_COLUMNS"):
            readings.channel_code("one more")


def test_more_cars_than_the_limit_are_refused_with_file_and_setting(tmp_path: Path) -> None:
    with ReadingSpill(tmp_path, Limits(cars=2)) as readings:
        readings.file = "spa/a.csv"
        for car in ("a", "b", "a"):
            readings.add(car, frames_of([1]))
        with pytest.raises(LimitExceededError, match=r"spa/a\.csv .* 2 different cars .*APEX_MAX_CARS"):
            readings.add("c", frames_of([1]))


@given(COUNTS, st.data())
def test_filter_keeps_the_wanted_frames_with_their_readings(counts: list[int], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts)))
    frames = frames_of(counts)

    kept = frames.filter(np.array(wanted))

    owner = np.repeat(np.arange(len(counts)), counts)
    assert kept.car_ms.tolist() == [index for index, is_wanted in enumerate(wanted) if is_wanted]
    assert kept.value.tolist() == [value for value, frame in zip(frames.value, owner, strict=True) if wanted[frame]]


@given(COUNTS, st.data())
def test_group_by_yields_all_frames_of_each_label_in_order(counts: list[int], data: st.DataObject) -> None:
    label = np.array(
        data.draw(st.lists(st.sampled_from([0, 1, 3, 70_000]), min_size=len(counts), max_size=len(counts)))
    )
    frames = frames_of(counts)

    found = dict(frames.group_by(label))

    assert set(found) == set(label.tolist())
    for code, part in found.items():
        assert same(part, frames.filter(label == code))


def test_group_by_of_no_frames_yields_nothing() -> None:
    assert list(join([]).group_by(np.empty(0, np.int64))) == []

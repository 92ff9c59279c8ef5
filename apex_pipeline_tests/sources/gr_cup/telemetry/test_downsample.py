"""Downsampling of telemetry files: complete samples are kept byte for byte and in order, in every format."""

import io
import json
from collections import defaultdict
from contextlib import AbstractContextManager
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.base import DownsampleStats
from apex_pipeline.sources.gr_cup.telemetry import downsample as downsample_module
from apex_pipeline.sources.gr_cup.telemetry.downsample import downsample

pytestmark = pytest.mark.req("A-118")

_LONG = "meta_time,telemetry_name,telemetry_value,timestamp,vehicle_id\n"
_CARS = ("GR86-002-000", "GR86-013-80")


def _opened(content: bytes) -> AbstractContextManager[BinaryIO]:
    return io.BytesIO(content)


def _downsample(content: str | bytes, every: int) -> tuple[list[str], DownsampleStats]:
    """Return the kept lines and the counts."""
    data = content if isinstance(content, bytes) else content.encode()
    out = io.BytesIO()
    counts = downsample(lambda: _opened(data), "R1_x_telemetry.csv", every, out.write)
    return out.getvalue().decode("latin-1").splitlines(keepends=True), counts


def _time(number: int) -> str:
    """Return the time of a sample; samples are 43 ms apart."""
    ms = number * 43
    return f"2025-09-06T18:{40 + ms // 60_000:02}:{ms // 1000 % 60:02}.{ms % 1000:03}Z"


def _row(car: str, sample: int, channel: str = "speed", message: int | None = None) -> str:
    return f"{_time(sample if message is None else message)},{channel},1.5,{_time(sample)},{car}\n"


def test_every_nth_sample_of_a_car_is_kept_with_all_its_channels() -> None:
    rows = [_row(_CARS[0], sample, channel) for sample in range(10) for channel in ("gear", "speed", "nmot")]
    kept, counts = _downsample(_LONG + "".join(rows), 4)
    assert kept == [_LONG, *rows[0:3], *rows[12:15], *rows[24:27]]
    assert counts == DownsampleStats(rows_in=30, rows_out=9, unreadable_rows=0, samples_in=10, samples_out=3)


def test_samples_are_numbered_per_car() -> None:
    rows = [_row(_CARS[0], sample) for sample in range(6)] + [_row(_CARS[1], sample) for sample in range(1, 4)]
    kept, _ = _downsample(_LONG + "".join(rows), 3)
    assert kept[1:] == [rows[0], rows[3], rows[6]]


def test_scattered_rows_of_a_sample_are_kept_together_and_in_file_order() -> None:
    rows = [_row(_CARS[0], sample, "gear") for sample in range(5, -1, -1)]
    rows += [_row(_CARS[0], sample, "speed") for sample in (3, 0, 4)]
    kept, _ = _downsample(_LONG + "".join(rows), 3)
    assert kept[1:] == [_row(_CARS[0], 3, "gear"), _row(_CARS[0], 0, "gear"), rows[6], rows[7]]


def test_every_nth_message_of_a_car_with_a_frozen_clock_is_kept() -> None:
    rows = [_row(_CARS[1], 0, channel, message=10 * number) for number in range(30) for channel in ("gear", "speed")]
    kept, counts = _downsample(_LONG + "".join(rows), 10)
    assert kept[1:] == [*rows[0:2], *rows[20:22], *rows[40:42]]
    assert (counts.samples_in, counts.samples_out) == (30, 3)


def test_a_list_of_readings_in_one_cell_is_one_sample() -> None:
    header = '"timestamp","vehicle_id","meta_time","lap","value"\n'
    readings = [{"name": "speed", "value": 120.5}, {"name": 'gear, "odd"', "value": 3}]
    cell = json.dumps(readings).replace('"', '""')
    rows = [f'"{_time(n)}","{_CARS[0]}","{_time(n)}",3,"{cell}"\n' for n in range(7)]
    kept, counts = _downsample(header + "".join(rows), 3)
    assert kept == [header, rows[0], rows[3], rows[6]]
    assert counts.unreadable_rows == 0


def test_a_line_with_a_column_per_channel_is_one_sample() -> None:
    header = "vehicle_id;timestamp;speed;gear\r\n"
    rows = [f"{_CARS[0]};{_time(n)};{n};3\r\n" for n in range(5)]
    kept, counts = _downsample(header + "".join(rows), 2)
    assert kept == [header, rows[0], rows[2], rows[4]]
    assert (counts.rows_in, counts.rows_out) == (5, 3)


@pytest.mark.parametrize(
    "line",
    [
        "2025-09-06T18:40:00.000Z,speed\n",
        f"{_time(0)},speed,1.5,yesterday,{_CARS[0]}\n",
        f"yesterday,speed,1.5,{_time(0)},{_CARS[0]}\n",
        f"{_time(0)},speed,1.5,{_time(0)},\n",
        f'{_time(0)},"speed,1.5,{_time(0)},{_CARS[0]}\n',
    ],
    ids=["cut off", "bad time", "bad receive time", "no vehicle", "open quotes"],
)
def test_a_row_with_an_unreadable_car_or_time_is_kept_and_counted(line: str) -> None:
    rows = [_row(_CARS[0], sample) for sample in range(4)]
    kept, counts = _downsample(_LONG + rows[0] + rows[1] + line + rows[2] + rows[3], 4)
    assert kept == [_LONG, rows[0], line]
    assert counts == DownsampleStats(rows_in=5, rows_out=2, unreadable_rows=1, samples_in=4, samples_out=1)


def test_blank_lines_are_kept_and_not_counted_as_rows() -> None:
    kept, counts = _downsample(f"{_LONG}\n{_row(_CARS[0], 0)}\n", 2)
    assert kept == [_LONG, "\n", _row(_CARS[0], 0), "\n"]
    assert counts.rows_in == 1


def test_a_later_header_with_reordered_columns_is_kept_and_applied() -> None:
    further = "vehicle_id,timestamp,meta_time,telemetry_name,telemetry_value,\n"
    rows = [f"{_CARS[0]},{_time(n)},{_time(n)},speed,1,\n" for n in range(3)]
    kept, counts = _downsample(_LONG + _row(_CARS[0], 0) + further + "".join(rows), 2)
    assert kept == [_LONG, _row(_CARS[0], 0), further, rows[0], rows[2]]
    assert (counts.rows_in, counts.unreadable_rows) == (4, 0)


def test_a_byte_order_mark_and_a_missing_last_line_feed_are_kept() -> None:
    content = "\ufeff".encode() + (_LONG + _row(_CARS[0], 0)).rstrip("\n").encode()
    out = io.BytesIO()
    downsample(lambda: _opened(content), "x.csv", 5, out.write)
    assert out.getvalue() == content


def test_a_line_too_long_for_memory_is_kept_and_counts_as_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downsample_module, "_LONGEST_LINE", 200)
    long_line = "x" * 450 + _row(_CARS[0], 3)
    rows = [_row(_CARS[0], sample) for sample in range(3)]
    kept, counts = _downsample(_LONG + rows[0] + rows[1] + long_line + rows[2], 2)
    assert kept == [_LONG, rows[0], long_line, rows[2]]
    assert (counts.rows_in, counts.unreadable_rows) == (4, 1)


def test_buffered_times_are_merged_while_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downsample_module, "_MAX_BUFFERED", 2)
    rows = [_row(_CARS[0], sample % 20) for sample in range(60)]
    kept, counts = _downsample(_LONG + "".join(rows), 10)
    assert counts == DownsampleStats(rows_in=60, rows_out=6, unreadable_rows=0, samples_in=20, samples_out=2)
    assert kept[1:] == [row for row in rows if row in {_row(_CARS[0], 0), _row(_CARS[0], 10)}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"vehicle_id,speed\nGR86-002-000,3\n", "has no column vehicle_id or timestamp"),
        (b"PK\x03\x04", "zip archive"),
    ],
)
def test_a_file_that_is_not_telemetry_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(MalformedFileError, match=message):
        _downsample(content, 2)


def test_a_car_that_appears_only_in_the_second_pass_is_not_copied() -> None:
    contents = iter([_LONG + _row(_CARS[0], 0), _LONG + _row(_CARS[0], 0) + _row(_CARS[1], 0)])
    out = io.BytesIO()
    downsample(lambda: _opened(next(contents).encode()), "x.csv", 1, out.write)
    assert out.getvalue().decode() == _LONG + _row(_CARS[0], 0)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(_CARS), st.integers(0, 30), st.sampled_from(["gear", "speed", "nmot"])), max_size=80
    ),
    every=st.integers(1, 9),
)
def test_complete_and_evenly_spaced_samples_are_kept_in_any_row_order(
    rows: list[tuple[str, int, str]], every: int
) -> None:
    lines = [_row(car, sample, channel) for car, sample, channel in rows]
    kept, counts = _downsample(_LONG + "".join(lines), every)
    samples: defaultdict[str, set[int]] = defaultdict(set)
    for car, sample, _ in rows:
        samples[car].add(sample)
    chosen = {(car, sample) for car, times in samples.items() for sample in sorted(times)[::every]}
    assert kept[1:] == [line for line, (car, sample, _) in zip(lines, rows, strict=True) if (car, sample) in chosen]
    assert (counts.rows_in, counts.rows_out, counts.samples_out) == (len(rows), len(kept) - 1, len(chosen))

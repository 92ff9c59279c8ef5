"""Limits on telemetry: a bad line costs that line, a bad file costs that file, and memory is bounded for both."""

import gzip
import io
import itertools
import tracemalloc
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow.parquet as pq
import pytest

from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.limits import Limits
from apex_pipeline_tests.sources.bombs import gzip_bomb, zstd_bomb
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import (
    COLUMNS,
    LISTED_COLUMNS,
    convert,
    csv_bytes,
    listed,
    reading,
    write_file,
)

HEADER, LINE = csv_bytes([reading(0)]).splitlines(keepends=True)


def line(**changes: str) -> bytes:
    return csv_bytes([reading(0) | changes]).splitlines(keepends=True)[1]


@pytest.mark.parametrize("column", ["vehicle_id", "timestamp", "meta_time", "lap", "meta_session", "telemetry_name"])
def test_a_cell_that_is_too_long_rejects_its_line(tmp_path: Path, column: str) -> None:
    long = line(**{column: reading(0)[column] + "7" * 60})
    limits = Limits(cell_characters=60)

    converted = convert(tmp_path, write_file(tmp_path, HEADER + LINE + long + LINE, limits=limits))

    assert converted.samples == [(3, "cell_too_long")]
    assert converted.report.rejects[0].detail.startswith(f"{column} has ")
    assert converted.report.counts.cells_out == 1


def test_the_cell_limit_applies_to_the_names_in_a_list_and_not_to_the_list(tmp_path: Path) -> None:
    values = ['[{"name":"speed","value":1},{"name":"' + "x" * 61 + '","value":2}]', '[{"name":"gear","value":3}]']
    content = csv_bytes([listed(second, value) for second, value in enumerate(values)], LISTED_COLUMNS)

    converted = convert(tmp_path, write_file(tmp_path, content, limits=Limits(cell_characters=60)))

    assert converted.samples == [(2, "cell_too_long")]
    assert converted.report.counts.cells_out == 2


@pytest.mark.parametrize("repeats", [21, 300_000])
@pytest.mark.parametrize("bracket", ["[", '{"a":', '[{"name":'])
def test_a_list_that_is_nested_too_deeply_rejects_its_line(tmp_path: Path, bracket: str, repeats: int) -> None:
    value = "[" + bracket * min(repeats, 900_000 // (2 * len(bracket))) + "1"
    deep = csv_bytes([listed(0, value)], LISTED_COLUMNS)
    good = csv_bytes([listed(1, '[{"name":"speed","value":1}]')], LISTED_COLUMNS).splitlines(keepends=True)[1]

    converted = convert(tmp_path, write_file(tmp_path, deep + good))

    assert converted.samples == [(2, "bad_list")]
    assert converted.report.counts.cells_out == 1


def test_a_list_of_many_readings_is_not_nested_deeply(tmp_path: Path) -> None:
    # The parser for ordinary lines sets a list with a further key aside, so the reference parser reads this one.
    value = "[" + ",".join('{"name":"speed","value":1,"more":[2]}' for _ in range(500)) + "]"

    converted = convert(tmp_path, write_file(tmp_path, csv_bytes([listed(0, value)], LISTED_COLUMNS)))

    assert converted.samples == []
    assert converted.report.counts.readings_in == 500


@pytest.mark.parametrize("longest", [200, 2_000_000])
def test_the_line_limit_is_a_setting(tmp_path: Path, longest: int) -> None:
    limits = Limits(line_bytes=longest, cell_characters=5_000_000)
    fits, too_long = (LINE.replace(b"kafka", b"x" * (longest - len(LINE) + 6 + extra)) for extra in (0, 1))

    converted = convert(tmp_path, write_file(tmp_path, HEADER + fits + too_long + LINE, limits=limits))

    assert converted.samples == [(3, "line_too_long")]
    assert converted.report.counts.readings_in == 3


@pytest.mark.parametrize("header", [b"x" * 50_000_000, b"a," * 1_000_000, HEADER.rstrip() + b",x" * 40_000])
def test_a_header_that_is_too_long_leaves_the_file_out(tmp_path: Path, header: bytes) -> None:
    (problem,) = convert(tmp_path, write_file(tmp_path, header + b"\n" + LINE)).refused
    assert problem == "R1_test_telemetry.csv has a first line of more than 65,536 bytes."


def test_too_many_columns_leave_the_file_out(tmp_path: Path) -> None:
    columns = [*COLUMNS, *(f"column_{number}" for number in range(1_000))]
    (problem,) = convert(tmp_path, write_file(tmp_path, csv_bytes([reading(0)], columns))).refused
    assert "has 1,013 columns, more than 1,000 (limit APEX_MAX_COLUMNS)" in problem


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ("telemetry_name", "has more than 1,000 different channels (limit APEX_MAX_COLUMNS)"),
        ("vehicle_id", "names more than 1,000 different cars (limit APEX_MAX_CARS)"),
    ],
)
def test_a_column_of_other_values_leaves_its_file_out_and_no_trace_in_the_table(
    tmp_path: Path, changes: str, problem: str
) -> None:
    mixed_up = HEADER + b"".join(line(**{changes: f"value {number}"}) for number in range(1_001))
    good = write_file(tmp_path, csv_bytes([reading(0), reading(1, "gear", "3")]), "good.csv")
    files = [write_file(tmp_path, mixed_up, "a.csv"), good, write_file(tmp_path, mixed_up, "z.csv")]

    converted = convert(tmp_path, *files)
    expected = convert(tmp_path, good)

    assert [text.partition(" ")[2] for text in converted.refused] == [f"{problem}."] * 2
    assert converted.report.counts == expected.report.counts
    assert converted.report.cars == expected.report.cars
    assert converted.report.unknown_channels == ()
    assert converted.table.equals(expected.table)


def test_the_channels_of_all_files_together_count(tmp_path: Path) -> None:
    limits = Limits(columns=13)
    files = [
        write_file(tmp_path, csv_bytes([reading(0, f"temp {name} {number}") for number in range(8)]), f"{name}.csv")
        for name in ("a", "b")
    ]

    converted = convert(tmp_path, *(replace(file, limits=limits) for file in files), limits=limits)

    assert [text.partition(" ")[0] for text in converted.refused] == ["b.csv"]
    assert pq.ParquetFile(converted.path).schema_arrow.names[-8:] == [f"temp_a_{number}" for number in range(8)]


def test_readings_before_the_limit_is_reached_are_not_used(tmp_path: Path) -> None:
    limits = Limits(unpacked_bytes=3_000_000)
    large = write_file(tmp_path, HEADER + LINE * 30_000, "a.csv", limits=limits)
    small = write_file(tmp_path, csv_bytes([reading(5)]), "b.csv", limits=limits)

    converted = convert(tmp_path, large, small)

    assert converted.refused == ["a.csv is more than 3 MB (limit APEX_MAX_UNPACKED_SIZE)."]
    assert (converted.report.counts.readings_in, converted.report.counts.rows_out) == (1, 1)


def test_a_compressed_file_that_is_damaged_after_many_readings_is_left_out_as_a_whole(tmp_path: Path) -> None:
    content = csv_bytes([reading(second / 25, value=str(second)) for second in range(60_000)])
    damaged = bytearray(gzip.compress(content, mtime=0))
    damaged[-5] ^= 1

    converted = convert(tmp_path, write_file(tmp_path, bytes(damaged), "a.csv.gz"))

    assert converted.refused == [
        "a.csv.gz cannot be decompressed: Error -3 while decompressing data: incorrect data check."
    ]
    assert converted.table.num_rows == 0


@pytest.mark.req("A-123")
@pytest.mark.parametrize(("ending", "bomb"), [("gz", gzip_bomb), ("zst", zstd_bomb)])
@pytest.mark.parametrize("chunk", [LINE * 5_000, b"x" * 500_000, b"\n" * 500_000, line(telemetry_value="N/A") * 3_000])
def test_a_bomb_is_left_out_in_bounded_memory(tmp_path: Path, ending: str, bomb: object, chunk: bytes) -> None:
    content = b"".join(bomb(chunk, 6_000_000, HEADER + LINE))  # type: ignore[operator]
    limits = Limits(ratio_from_bytes=2_000_000)
    file = write_file(tmp_path, content, f"a.csv.{ending}", limits=limits)
    convert(tmp_path, write_file(tmp_path, csv_bytes([reading(0)])))  # loads and compiles everything first

    tracemalloc.start()
    converted = convert(tmp_path, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert converted.refused == [
        f"a.csv.{ending} unpacks to more than 200 times its size (limit APEX_MAX_COMPRESSION_RATIO)."
    ]
    assert peak < 80_000_000


class Generated(io.RawIOBase):
    """Generates its content while it is read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        super().__init__()
        self._parts = parts
        self._rest = b""

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # the stub's Buffer is 3.12's
        self._rest = self._rest or next(self._parts, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


@pytest.mark.soak
@pytest.mark.req("A-123")
def test_three_gigabytes_of_one_line_are_counted_in_bounded_memory(tmp_path: Path) -> None:
    lines = 24_000_000

    def opened() -> AbstractContextManager[BinaryIO]:
        parts = itertools.chain([HEADER], itertools.repeat(LINE * 10_000, lines // 10_000))
        return nullcontext(cast("BinaryIO", Generated(parts)))

    file = TelemetryFile(write_file(tmp_path, HEADER).identity, opened)
    convert(tmp_path, write_file(tmp_path, csv_bytes([reading(0)])))
    tracemalloc.start()
    converted = convert(tmp_path, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert converted.report.counts.exact_duplicates == lines - 1
    assert peak < 200_000_000

"""Damaged telemetry files: each bad line is reported with number and reason, and no other line is lost."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from apex_pipeline.errors import FileChangedError
from apex_pipeline.sources.gr_cup.telemetry import parse
from apex_pipeline.sources.gr_cup.telemetry.chunks import CHUNK_BYTES, TelemetryFile
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import (
    COLUMNS,
    NAME,
    Row,
    convert,
    convert_rows,
    csv_bytes,
    reading,
    write_file,
)

GOOD = csv_bytes([reading(second) for second in range(4)])
HEADER, *LINES = GOOD.splitlines(keepends=True)


def with_line(line: bytes) -> bytes:
    """Return the good file with a line inserted as line 4."""
    return b"".join([HEADER, *LINES[:2], line, *LINES[2:]])


def changed(old: bytes, new: bytes) -> bytes:
    """Return a good line at a different time, with ``old`` replaced by ``new``."""
    line = csv_bytes([reading(9)]).splitlines(keepends=True)[1]
    assert line.count(old) == 1
    return line.replace(old, new)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(LINES[0][:40] + b"\n", "too_few_columns", id="cut off"),
        pytest.param(b" \n", "too_few_columns", id="spaces only"),
        pytest.param(changed(b"\n", b",more\n"), "too_many_columns", id="extra column"),
        pytest.param(HEADER, "repeated_header", id="header again"),
        pytest.param(changed(b"100.5", b"10\x000.5"), "nul_byte", id="NUL in the value"),
        pytest.param(changed(b"kafka", b"ka\0fka"), "nul_byte", id="NUL in an unused column"),
        pytest.param(b"\0" * 5_000 + b"\n", "nul_byte", id="block of NULs"),
        pytest.param(changed(b"100.5", b"100\r.5"), "stray_carriage_return", id="CR inside"),
        pytest.param(b"x" * 1_000_001 + b"\n", "line_too_long", id="1 MB line"),
        pytest.param(changed(b"kafka", b'"kafka'), "broken_quotes", id="quote never closed"),
        pytest.param(changed(b"100.5", b"N/A"), "bad_number", id="N/A"),
        pytest.param(changed(b"100.5", b""), "bad_number", id="empty value"),
        pytest.param(changed(b"100.5", b"0x10"), "bad_number", id="hexadecimal"),
        pytest.param(changed(b"100.5", b"NaN"), "not_a_number", id="NaN"),
        pytest.param(changed(b"100.5", b"-inf"), "not_a_number", id="infinite"),
        pytest.param(changed(b"100.5", b"1e400"), "not_a_number", id="too large for a double"),
        pytest.param(changed(b"GR86-002-2", b""), "no_vehicle", id="no vehicle"),
        pytest.param(changed(b"speed", b""), "no_channel", id="no channel"),
        pytest.param(changed(b",R1,", b",R2,"), "wrong_session", id="another race"),
    ],
)
def test_a_bad_line_is_rejected_by_number_and_no_other_line_is_lost(tmp_path: Path, line: bytes, reason: str) -> None:
    converted = convert(tmp_path, write_file(tmp_path, with_line(line)))

    assert converted.samples == [(4, reason)]
    assert converted.report.rejects_by_reason == {reason: 1}
    assert [row["speed_kph"] for row in converted.rows] == [100.5] * 4
    assert converted.report.counts.readings_in == 5


@pytest.mark.parametrize(
    "time",
    ["", "N/A", "2025-09-05", "2025-09-05T10:00:00", "2025-13-05T10:00:00Z", "20250905T100000Z"],
)
@pytest.mark.parametrize("column", ["timestamp", "meta_time"])
def test_a_time_that_is_not_an_instant_is_rejected(tmp_path: Path, column: str, time: str) -> None:
    converted = convert_rows(tmp_path, [reading(0), reading(1, **{column: time})])

    assert converted.samples == [(3, "bad_time")]
    assert f"{column}={time!r}" in converted.report.rejects[0].detail


@pytest.mark.parametrize(
    "time", ["2025-09-06T13:40:00.250-05:00", "2025-09-06 18:40:00.250Z", "2025-09-07T00:10:00.250+05:30"]
)
def test_a_time_with_an_offset_is_converted_to_utc(tmp_path: Path, time: str) -> None:
    converted = convert_rows(tmp_path, [reading(0, meta_time=time)])

    assert str(converted.rows[0]["received_time_utc"]) == "2025-09-06 18:40:00.250000+00:00"


def test_several_errors_in_one_line_give_one_reject(tmp_path: Path) -> None:
    converted = convert_rows(tmp_path, [reading(0), reading(1, value="N/A", timestamp="never", vehicle_id="")])

    assert converted.samples == [(3, "no_vehicle")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_empty_lines_are_not_readings_but_count_for_line_numbers(tmp_path: Path, end: bytes) -> None:
    lines = [line.rstrip(b"\n") for line in (HEADER, LINES[0], b"", b"", changed(b"100.5", b"N/A"), LINES[1], b"")]

    converted = convert(tmp_path, write_file(tmp_path, end.join(lines) + end))

    assert converted.samples == [(5, "bad_number")]
    assert converted.report.counts.readings_in == 3


@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_a_truncated_last_line_is_rejected_not_padded(tmp_path: Path, tail: bytes) -> None:
    converted = convert(tmp_path, write_file(tmp_path, GOOD + LINES[3][:30] + tail))

    assert converted.samples == [(6, "too_few_columns")]
    assert converted.report.counts.cells_out == 4


def test_a_last_line_without_a_line_feed_is_a_reading(tmp_path: Path) -> None:
    converted = convert(tmp_path, write_file(tmp_path, GOOD.rstrip(b"\n")))

    assert converted.report.counts.cells_out == 4


def test_concatenated_files_lose_only_the_second_header(tmp_path: Path) -> None:
    converted = convert(tmp_path, write_file(tmp_path, GOOD + GOOD))

    assert converted.samples == [(6, "repeated_header")]
    assert (converted.report.counts.cells_out, converted.report.counts.exact_duplicates) == (4, 4)


def test_a_delimiter_at_the_end_of_every_line_adds_no_column(tmp_path: Path) -> None:
    converted = convert(tmp_path, write_file(tmp_path, GOOD.replace(b"\n", b",\n")))

    assert converted.report.counts.cells_out == 4
    assert converted.samples == []


def test_a_header_that_ends_in_unnamed_columns_is_not_a_reading(tmp_path: Path) -> None:
    converted = convert(tmp_path, write_file(tmp_path, GOOD.replace(HEADER, HEADER.replace(b"\n", b",,\n"))))

    assert converted.report.counts.readings_in == 4
    assert converted.samples == []


def test_lines_with_too_many_and_too_few_columns_do_not_cancel_out(tmp_path: Path) -> None:
    lines = [HEADER, LINES[0].replace(b"\n", b",more\n"), LINES[1].rpartition(b",")[0] + b"\n", LINES[2]]

    converted = convert(tmp_path, write_file(tmp_path, b"".join(lines)))

    assert converted.samples == [(2, "too_many_columns"), (3, "too_few_columns")]
    assert converted.report.counts.cells_out == 1


def test_a_quoted_file_gives_the_same_readings_as_an_unquoted_one(tmp_path: Path) -> None:
    quoted = b"\n".join(b",".join(b'"' + cell + b'"' for cell in line.split(b",")) for line in GOOD.splitlines())

    converted = convert(tmp_path, write_file(tmp_path, quoted))

    assert converted.report.counts.cells_out == 4
    assert converted.samples == []


def test_a_line_feed_inside_quotes_breaks_only_its_two_lines(tmp_path: Path) -> None:
    converted = convert(tmp_path, write_file(tmp_path, with_line(changed(b"kafka", b'"ka\nfka"'))))

    assert converted.samples == [(4, "broken_quotes"), (5, "broken_quotes")]
    assert converted.report.counts.cells_out == 4


def test_a_quote_far_into_an_unquoted_file_is_an_ordinary_character(tmp_path: Path) -> None:
    many = csv_bytes([reading(second / 10) for second in range(1_000)])

    converted = convert(tmp_path, write_file(tmp_path, many + changed(b"kafka", b'"kafka') + LINES[0]))

    assert len(many) > 65_536
    assert converted.samples == []
    assert converted.report.counts.readings_in == 1_002


def test_a_bad_line_far_into_a_large_file_is_reported_by_its_number(tmp_path: Path) -> None:
    lines = [HEADER, *[LINES[0]] * 60_000]  # two chunks of 4 MB
    lines[50_000 - 1] = changed(b"100.5", b"N\0A")
    lines[55_000 - 1] = changed(b"100.5", b"N/A")

    converted = convert(tmp_path, write_file(tmp_path, b"".join(lines)))

    assert converted.samples == [(50_000, "nul_byte"), (55_000, "bad_number")]
    assert converted.report.counts.exact_duplicates == 59_997


def test_good_lines_after_a_long_run_of_broken_ones_are_kept(tmp_path: Path) -> None:
    converted = convert(tmp_path, write_file(tmp_path, b"".join([HEADER, *[b"broken\n"] * 50_000, *LINES])))

    assert converted.report.counts.cells_out == 4
    assert converted.report.rejects_by_reason == {"too_few_columns": 50_000}
    assert [line for line, _ in converted.samples] == list(range(2, 1_002))


@pytest.mark.parametrize("after", [b"", b"\n", b"\n" + LINES[1]])
def test_a_line_much_longer_than_a_chunk_is_rejected(tmp_path: Path, after: bytes) -> None:
    converted = convert(tmp_path, write_file(tmp_path, HEADER + LINES[0] + b"x" * 20_000_000 + after))

    assert converted.samples == [(3, "line_too_long")]
    assert converted.report.rejects[0].detail.endswith("not shown as the line may name persons")
    assert converted.report.counts.cells_out == 1 + bool(after.strip())


def test_an_invalid_utf8_byte_rejects_only_its_line(tmp_path: Path) -> None:
    many = csv_bytes([reading(second / 10) for second in range(1_000)])

    unreadable = changed(b"speed", b"spe\xe4d")
    lines = [unreadable, unreadable.replace(b"100.5", b"N/A"), changed(b"100.5", b"N/A"), LINES[0]]
    converted = convert(tmp_path, write_file(tmp_path, many + b"".join(lines)))

    assert converted.samples == [(1_002, "bad_encoding"), (1_003, "bad_encoding"), (1_004, "bad_number")]
    assert converted.report.counts.rejected == 3


def test_all_rejects_are_counted_and_the_first_thousand_listed(tmp_path: Path) -> None:
    converted = convert_rows(tmp_path, [reading(second, value="N/A") for second in range(1_500)])

    assert converted.report.rejects_by_reason == {"bad_number": 1_500}
    assert [line for line, _ in converted.samples] == list(range(2, 1_002))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(500), "zip"),
        (bytes(range(256)) * 20, "binary|no header"),
        (GOOD.replace(b"\n", b"\r"), "CR alone"),
        (GOOD.replace(b"vehicle_number", b"Vehicle_ID"), "differ only in case: vehicle_id, Vehicle_ID"),
        (GOOD.replace(b"vehicle_number", b"vehicle_id"), "two columns named 'vehicle_id'"),
    ],
)
def test_a_file_that_is_not_telemetry_is_left_out_as_a_whole(tmp_path: Path, content: bytes, message: str) -> None:
    converted = convert(tmp_path, write_file(tmp_path, content))

    (problem,) = converted.refused
    assert re.search(message, problem)
    assert converted.samples == [(None, "unreadable_file")]
    assert converted.table.num_rows == 0


@pytest.mark.parametrize("name", ["vehicle_id", "timestamp", "meta_time", "lap", "telemetry_name", "telemetry_value"])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    columns = [column for column in COLUMNS if column != name]

    (problem,) = convert(tmp_path, write_file(tmp_path, csv_bytes([reading()], columns))).refused

    assert f"lacks the column {name};" in problem


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize(("compress", "name"), [(gzip.compress, "a.csv.gz"), (zstd, "a.csv.zst")])
class TestCompressed:
    def test_a_compressed_file_gives_the_same_readings(
        self, tmp_path: Path, compress: Callable[[bytes], bytes], name: str
    ) -> None:
        converted = convert(tmp_path, write_file(tmp_path, compress(with_line(changed(b"100.5", b"N\0A"))), name))

        assert converted.samples == [(4, "nul_byte")]
        assert converted.report.counts.cells_out == 4

    def test_a_truncated_compressed_file_is_refused(
        self, tmp_path: Path, compress: Callable[[bytes], bytes], name: str
    ) -> None:
        rows = [reading(second, value=str(second**3 % 997)) for second in range(3_000)]
        compressed = compress(csv_bytes(rows))

        converted = convert(tmp_path, write_file(tmp_path, compressed[: len(compressed) // 2], name))

        assert converted.refused[0].startswith(f"{name} cannot be decompressed")
        assert converted.report.counts.readings_in == 0

    def test_an_uncompressed_file_with_a_compressed_name_is_refused(
        self, tmp_path: Path, compress: Callable[[bytes], bytes], name: str
    ) -> None:
        assert compress(GOOD) != GOOD
        (problem,) = convert(tmp_path, write_file(tmp_path, GOOD, name)).refused
        assert problem.startswith(f"{name} cannot be decompressed")


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    file = write_file(tmp_path, GOOD)
    (tmp_path / NAME).unlink()

    with pytest.raises(FileChangedError, match=NAME):
        convert(tmp_path, file)


def test_a_file_deleted_after_its_header_was_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_file(tmp_path, GOOD)
    parse_header = parse.parse_header

    def parse_and_delete(telemetry: TelemetryFile) -> object:
        header = parse_header(telemetry)
        (tmp_path / NAME).unlink()
        return header

    monkeypatch.setattr(parse, "parse_header", parse_and_delete)
    with pytest.raises(FileChangedError, match=NAME):
        convert(tmp_path, file)
    assert list((tmp_path / "scratch").iterdir()) == []


class TestSecondHeader:
    """Concatenated files, the second with its columns in another order."""

    @staticmethod
    def concatenated(first: list[Row], second: list[Row]) -> bytes:
        return csv_bytes(first) + csv_bytes(second, columns=tuple(reversed(COLUMNS)))

    def test_lines_below_another_header_are_parsed_with_it(self, tmp_path: Path) -> None:
        content = self.concatenated([reading(0)], [reading(1, value="7"), reading(2, value="N/A")])

        converted = convert(tmp_path, write_file(tmp_path, content))

        assert [row["speed_kph"] for row in converted.rows] == [100.5, 7.0]
        assert [row["unit_lap"] for row in converted.rows] == [3, 3]
        assert converted.samples == [(3, "repeated_header"), (5, "bad_number")]
        assert converted.report.counts.readings_in == 4

    def test_several_later_headers_far_into_the_file_are_applied(self, tmp_path: Path) -> None:
        rows = [reading(second / 25, channel="odometer", value=str(second)) for second in range(40_000)]
        content = self.concatenated(rows, rows[:10]) + self.concatenated(rows[:1], [reading(5_000, value="8")])

        converted = convert(tmp_path, write_file(tmp_path, content))

        assert len(content) > CHUNK_BYTES
        assert converted.report.rejects_by_reason == {"repeated_header": 3}
        assert converted.report.counts.cells_out == 40_001
        assert converted.report.counts.exact_duplicates == 11

    def test_a_file_with_more_than_20_headers_is_refused(self, tmp_path: Path) -> None:
        content = self.concatenated([reading(0)], [reading(1)]) * 20

        (problem,) = convert(tmp_path, write_file(tmp_path, content)).refused
        assert "more than 20 headers" in problem

    def test_a_later_header_without_a_required_column_is_a_bad_line(self, tmp_path: Path) -> None:
        header = ",".join(name for name in COLUMNS if name != "lap").encode() + b"\n"

        converted = convert(tmp_path, write_file(tmp_path, with_line(header)))

        assert converted.samples == [(4, "too_few_columns")]
        assert converted.report.counts.cells_out == 4


def test_a_line_of_several_chunks_is_rejected(tmp_path: Path) -> None:
    """The line is three chunks long and is skipped while it is read."""
    content = HEADER + LINES[0] + b"7" * 12_000_000 + b"\n" + LINES[1]

    converted = convert(tmp_path, write_file(tmp_path, content))

    assert converted.samples == [(3, "line_too_long")]
    assert converted.report.counts.readings_in == 3
    assert converted.report.counts.cells_out == 2


@pytest.mark.parametrize("spaced", [" GR86-002-2", "GR86-002-2 "])
def test_spaces_around_a_name_do_not_create_another_car(tmp_path: Path, spaced: str) -> None:
    converted = convert_rows(tmp_path, [reading(0), reading(1, vehicle_id=spaced), reading(2, telemetry_name=" speed")])

    assert [row["vehicle_id"] for row in converted.rows] == ["GR86-002-2"] * 3
    assert [row["speed_kph"] for row in converted.rows] == [100.5] * 3


def test_a_file_of_another_race_is_rejected_line_by_line(tmp_path: Path) -> None:
    converted = convert_rows(tmp_path, [reading(second, meta_session="R2") for second in range(1_500)])

    assert converted.report.rejects_by_reason == {"wrong_session": 1_500}
    assert converted.samples == [(line, "wrong_session") for line in range(2, 1_002)]
    assert converted.table.num_rows == 0

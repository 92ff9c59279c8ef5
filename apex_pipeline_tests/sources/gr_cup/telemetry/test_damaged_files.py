"""Damaged telemetry files: each bad line is told with its number and reason, and costs no other line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from apex_pipeline.errors import FileChangedError, MalformedFileError
from apex_pipeline.sources.gr_cup.telemetry import parse as reading_module
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
    """Return the good file with a line put in as line 4."""
    return b"".join([HEADER, *LINES[:2], line, *LINES[2:]])


def changed(old: bytes, new: bytes) -> bytes:
    """Return a good line at another time with one thing changed."""
    line = csv_bytes([reading(9)]).splitlines(keepends=True)[1]
    assert line.count(old) == 1
    return line.replace(old, new)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(LINES[0][:40] + b"\n", "too_few_columns", id="cut off"),
        pytest.param(b" \n", "too_few_columns", id="blanks only"),
        pytest.param(changed(b"\n", b",more\n"), "too_many_columns", id="more"),
        pytest.param(HEADER, "repeated_header", id="header again"),
        pytest.param(changed(b"100.5", b"10\x000.5"), "nul_byte", id="NUL in the value"),
        pytest.param(changed(b"kafka", b"ka\0fka"), "nul_byte", id="NUL in a column nobody reads"),
        pytest.param(b"\0" * 5_000 + b"\n", "nul_byte", id="hole of NUL"),
        pytest.param(changed(b"100.5", b"100\r.5"), "stray_carriage_return", id="CR inside"),
        pytest.param(b"x" * 1_000_001 + b"\n", "line_too_long", id="1 MB line"),
        pytest.param(changed(b"kafka", b'"kafka'), "broken_quotes", id="quote never closed"),
        pytest.param(changed(b"100.5", b"N/A"), "bad_number", id="N/A"),
        pytest.param(changed(b"100.5", b""), "bad_number", id="empty value"),
        pytest.param(changed(b"100.5", b"0x10"), "bad_number", id="hexadecimal"),
        pytest.param(changed(b"100.5", b"NaN"), "not_a_number", id="NaN"),
        pytest.param(changed(b"100.5", b"-inf"), "not_a_number", id="infinite"),
        pytest.param(changed(b"100.5", b"1e400"), "not_a_number", id="beyond a double"),
        pytest.param(changed(b"GR86-002-2", b""), "no_vehicle", id="no car"),
        pytest.param(changed(b"speed", b""), "no_channel", id="no channel"),
        pytest.param(changed(b",R1,", b",R2,"), "wrong_session", id="other race"),
    ],
)
def test_a_bad_line_is_rejected_by_number_and_costs_no_other(tmp_path: Path, line: bytes, reason: str) -> None:
    made = convert(tmp_path, write_file(tmp_path, with_line(line)))

    assert made.samples == [(4, reason)]
    assert made.report.rejects_by_reason == {reason: 1}
    assert [row["speed_kph"] for row in made.rows] == [100.5] * 4
    assert made.report.counts.readings_in == 5


@pytest.mark.parametrize(
    "time",
    ["", "N/A", "2025-09-05", "2025-09-05T10:00:00", "2025-13-05T10:00:00Z", "20250905T100000Z", "1757066400000"],
)
@pytest.mark.parametrize("column", ["timestamp", "meta_time"])
def test_a_time_that_names_no_instant_is_rejected(tmp_path: Path, column: str, time: str) -> None:
    made = convert_rows(tmp_path, [reading(0), reading(1, **{column: time})])

    assert made.samples == [(3, "bad_time")]
    assert f"{column}={time!r}" in made.report.rejects[0].detail


@pytest.mark.parametrize(
    "time", ["2025-09-06T13:40:00.250-05:00", "2025-09-06 18:40:00.250Z", "2025-09-07T00:10:00.250+05:30"]
)
def test_an_offset_is_brought_to_utc_and_never_dropped(tmp_path: Path, time: str) -> None:
    made = convert_rows(tmp_path, [reading(0, meta_time=time)])

    assert str(made.rows[0]["received_time_utc"]) == "2025-09-06 18:40:00.250000+00:00"


def test_several_faults_in_one_line_are_one_reject(tmp_path: Path) -> None:
    made = convert_rows(tmp_path, [reading(0), reading(1, value="N/A", timestamp="never", vehicle_id="")])

    assert made.samples == [(3, "no_vehicle")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_empty_lines_are_no_readings_and_still_count_as_lines(tmp_path: Path, end: bytes) -> None:
    lines = [line.rstrip(b"\n") for line in (HEADER, LINES[0], b"", b"", changed(b"100.5", b"N/A"), LINES[1], b"")]

    made = convert(tmp_path, write_file(tmp_path, end.join(lines) + end))

    assert made.samples == [(5, "bad_number")]
    assert made.report.counts.readings_in == 3


@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_a_line_cut_off_at_the_end_of_the_file_is_rejected_not_padded(tmp_path: Path, tail: bytes) -> None:
    made = convert(tmp_path, write_file(tmp_path, GOOD + LINES[3][:30] + tail))

    assert made.samples == [(6, "too_few_columns")]
    assert made.report.counts.cells_out == 4


def test_a_last_line_without_line_feed_is_a_reading(tmp_path: Path) -> None:
    made = convert(tmp_path, write_file(tmp_path, GOOD.rstrip(b"\n")))

    assert made.report.counts.cells_out == 4


def test_two_files_put_one_after_the_other_lose_only_the_second_header(tmp_path: Path) -> None:
    made = convert(tmp_path, write_file(tmp_path, GOOD + GOOD))

    assert made.samples == [(6, "repeated_header")]
    assert (made.report.counts.cells_out, made.report.counts.exact_duplicates) == (4, 4)


def test_a_delimiter_at_the_end_of_every_line_is_no_column(tmp_path: Path) -> None:
    made = convert(tmp_path, write_file(tmp_path, GOOD.replace(b"\n", b",\n")))

    assert made.report.counts.cells_out == 4
    assert made.samples == []


def test_the_header_is_no_reading_whatever_unnamed_columns_it_ends_in(tmp_path: Path) -> None:
    made = convert(tmp_path, write_file(tmp_path, GOOD.replace(HEADER, HEADER.replace(b"\n", b",,\n"))))

    assert made.report.counts.readings_in == 4
    assert made.samples == []


def test_lines_too_long_and_too_short_do_not_make_up_for_each_other(tmp_path: Path) -> None:
    lines = [HEADER, LINES[0].replace(b"\n", b",more\n"), LINES[1].rpartition(b",")[0] + b"\n", LINES[2]]

    made = convert(tmp_path, write_file(tmp_path, b"".join(lines)))

    assert made.samples == [(2, "too_many_columns"), (3, "too_few_columns")]
    assert made.report.counts.cells_out == 1


def test_a_quoted_file_reads_like_a_bare_one(tmp_path: Path) -> None:
    quoted = b"\n".join(b",".join(b'"' + cell + b'"' for cell in line.split(b",")) for line in GOOD.splitlines())

    made = convert(tmp_path, write_file(tmp_path, quoted))

    assert made.report.counts.cells_out == 4
    assert made.samples == []


def test_a_line_feed_inside_quotes_breaks_its_two_lines_only(tmp_path: Path) -> None:
    made = convert(tmp_path, write_file(tmp_path, with_line(changed(b"kafka", b'"ka\nfka"'))))

    assert made.samples == [(4, "broken_quotes"), (5, "broken_quotes")]
    assert made.report.counts.cells_out == 4


def test_a_quote_far_into_a_bare_file_is_an_ordinary_character(tmp_path: Path) -> None:
    many = csv_bytes([reading(second / 10) for second in range(1_000)])

    made = convert(tmp_path, write_file(tmp_path, many + changed(b"kafka", b'"kafka') + LINES[0]))

    assert len(many) > 65_536
    assert made.samples == []
    assert made.report.counts.readings_in == 1_002


def test_a_broken_line_deep_in_a_large_file_is_told_by_its_number(tmp_path: Path) -> None:
    lines = [HEADER, *[LINES[0]] * 60_000]  # two blocks of 4 MB
    lines[50_000 - 1] = changed(b"100.5", b"N\0A")
    lines[55_000 - 1] = changed(b"100.5", b"N/A")

    made = convert(tmp_path, write_file(tmp_path, b"".join(lines)))

    assert made.samples == [(50_000, "nul_byte"), (55_000, "bad_number")]
    assert made.report.counts.exact_duplicates == 59_997


def test_good_lines_after_a_long_run_of_broken_ones_are_kept(tmp_path: Path) -> None:
    made = convert(tmp_path, write_file(tmp_path, b"".join([HEADER, *[b"broken\n"] * 50_000, *LINES])))

    assert made.report.counts.cells_out == 4
    assert made.report.rejects_by_reason == {"too_few_columns": 50_000}
    assert [line for line, _ in made.samples] == list(range(2, 1_002))


@pytest.mark.parametrize("after", [b"", b"\n", b"\n" + LINES[1]])
def test_a_line_much_longer_than_a_block_is_rejected(tmp_path: Path, after: bytes) -> None:
    made = convert(tmp_path, write_file(tmp_path, HEADER + LINES[0] + b"x" * 20_000_000 + after))

    assert made.samples == [(3, "line_too_long")]
    assert len(made.report.rejects[0].detail) == 200
    assert made.report.counts.cells_out == 1 + bool(after.strip())


def test_a_byte_that_is_no_utf8_costs_its_line_only(tmp_path: Path) -> None:
    many = csv_bytes([reading(second / 10) for second in range(1_000)])

    unreadable = changed(b"speed", b"spe\xe4d")
    lines = [unreadable, unreadable.replace(b"100.5", b"N/A"), changed(b"100.5", b"N/A"), LINES[0]]
    made = convert(tmp_path, write_file(tmp_path, many + b"".join(lines)))

    assert made.samples == [(1_002, "bad_encoding"), (1_003, "bad_encoding"), (1_004, "bad_number")]
    assert made.report.counts.rejected == 3


def test_all_rejects_are_counted_and_the_first_thousand_told(tmp_path: Path) -> None:
    made = convert_rows(tmp_path, [reading(second, value="N/A") for second in range(1_500)])

    assert made.report.rejects_by_reason == {"bad_number": 1_500}
    assert [line for line, _ in made.samples] == list(range(2, 1_002))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(500), "zip"),
        (bytes(range(256)) * 20, "binary|no header"),
        (GOOD.replace(b"\n", b"\r"), "CR alone"),
        (GOOD.replace(b"vehicle_number", b"Vehicle_ID"), "differ only in case: vehicle_id, Vehicle_ID"),
        (GOOD.replace(b"vehicle_number", b"vehicle_id"), "'vehicle_id' twice"),
    ],
)
def test_a_file_that_is_no_telemetry_is_refused_whole(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(MalformedFileError, match=says):
        convert(tmp_path, write_file(tmp_path, content))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("name", ["vehicle_id", "timestamp", "meta_time", "lap", "telemetry_name", "telemetry_value"])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    columns = [column for column in COLUMNS if column != name]

    with pytest.raises(MalformedFileError, match=f"lacks the column {name};"):
        convert(tmp_path, write_file(tmp_path, csv_bytes([reading()], columns)))


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize(("pack", "name"), [(gzip.compress, "a.csv.gz"), (zstd, "a.csv.zst")])
class TestCompressed:
    def test_a_compressed_file_reads_like_a_bare_one(
        self, tmp_path: Path, pack: Callable[[bytes], bytes], name: str
    ) -> None:
        made = convert(tmp_path, write_file(tmp_path, pack(with_line(changed(b"100.5", b"N\0A"))), name))

        assert made.samples == [(4, "nul_byte")]
        assert made.report.counts.cells_out == 4

    def test_one_cut_off_is_refused(self, tmp_path: Path, pack: Callable[[bytes], bytes], name: str) -> None:
        rows = [reading(second, value=str(second**3 % 997)) for second in range(3_000)]
        packed = pack(csv_bytes(rows))

        with pytest.raises(MalformedFileError, match=f"{name} cannot be read"):
            convert(tmp_path, write_file(tmp_path, packed[: len(packed) // 2], name))

    def test_one_that_is_not_compressed_is_refused(
        self, tmp_path: Path, pack: Callable[[bytes], bytes], name: str
    ) -> None:
        assert pack(GOOD) != GOOD
        with pytest.raises(MalformedFileError, match=f"{name} cannot be read"):
            convert(tmp_path, write_file(tmp_path, GOOD, name))


def test_a_file_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    file = write_file(tmp_path, GOOD)
    (tmp_path / NAME).unlink()

    with pytest.raises(FileChangedError, match=NAME):
        convert(tmp_path, file)


def test_a_file_that_goes_between_the_two_readings_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_file(tmp_path, GOOD)
    look = reading_module.parse_header

    def look_and_delete(asked: TelemetryFile) -> object:
        layout = look(asked)
        (tmp_path / NAME).unlink()
        return layout

    monkeypatch.setattr(reading_module, "layout_of", look_and_delete)
    with pytest.raises(FileChangedError, match=NAME):
        convert(tmp_path, file)
    assert list((tmp_path / "scratch").iterdir()) == []


class TestSecondHeader:
    """Files put one after the other, the second one with its columns in another order."""

    @staticmethod
    def glued(first: list[Row], second: list[Row]) -> bytes:
        return csv_bytes(first) + csv_bytes(second, columns=tuple(reversed(COLUMNS)))

    def test_the_lines_below_are_read_by_their_own_header(self, tmp_path: Path) -> None:
        content = self.glued([reading(0)], [reading(1, value="7"), reading(2, value="N/A")])

        made = convert(tmp_path, write_file(tmp_path, content))

        assert [row["speed_kph"] for row in made.rows] == [100.5, 7.0]
        assert [row["unit_lap"] for row in made.rows] == [3, 3]
        assert made.samples == [(3, "repeated_header"), (5, "bad_number")]
        assert made.report.counts.readings_in == 4

    def test_however_many_there_are_and_however_far_into_the_file(self, tmp_path: Path) -> None:
        rows = [reading(second / 25, value=str(second)) for second in range(40_000)]
        content = self.glued(rows, rows[:10]) + self.glued(rows[:1], [reading(5_000, value="8")])

        made = convert(tmp_path, write_file(tmp_path, content))

        assert len(content) > CHUNK_BYTES
        assert made.report.rejects_by_reason == {"repeated_header": 3}
        assert made.report.counts.cells_out == 40_001
        assert made.report.counts.exact_duplicates == 11

    def test_a_file_whose_columns_change_all_the_time_is_refused(self, tmp_path: Path) -> None:
        content = self.glued([reading(0)], [reading(1)]) * 20

        with pytest.raises(MalformedFileError, match="more than 20 headers"):
            convert(tmp_path, write_file(tmp_path, content))

    def test_a_further_header_that_lacks_a_column_is_an_ordinary_bad_line(self, tmp_path: Path) -> None:
        header = ",".join(name for name in COLUMNS if name != "lap").encode() + b"\n"

        made = convert(tmp_path, write_file(tmp_path, with_line(header)))

        assert made.samples == [(4, "too_few_columns")]
        assert made.report.counts.cells_out == 4


def test_a_line_of_many_megabytes_costs_no_memory(tmp_path: Path) -> None:
    """Three pieces long: it is passed over as it is read."""
    content = HEADER + LINES[0] + b"7" * 12_000_000 + b"\n" + LINES[1]

    made = convert(tmp_path, write_file(tmp_path, content))

    assert made.samples == [(3, "line_too_long")]
    assert made.report.counts.readings_in == 3
    assert made.report.counts.cells_out == 2


@pytest.mark.parametrize("blank", [" GR86-002-2", "GR86-002-2 "])
def test_blanks_around_a_name_do_not_make_another_car(tmp_path: Path, blank: str) -> None:
    made = convert_rows(tmp_path, [reading(0), reading(1, vehicle_id=blank), reading(2, telemetry_name=" speed")])

    assert [row["vehicle_id"] for row in made.rows] == ["GR86-002-2"] * 3
    assert [row["speed_kph"] for row in made.rows] == [100.5] * 3


def test_a_file_of_another_race_is_rejected_line_by_line(tmp_path: Path) -> None:
    made = convert_rows(tmp_path, [reading(second, meta_session="R2") for second in range(1_500)])

    assert made.report.rejects_by_reason == {"wrong_session": 1_500}
    assert made.samples == [(line, "wrong_session") for line in range(2, 1_002)]
    assert made.table.num_rows == 0

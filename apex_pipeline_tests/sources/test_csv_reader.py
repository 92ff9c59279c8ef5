"""Small CSV files in all common dialects: no row is padded or lost, and every bad line is reported."""

import codecs
import io
import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import LimitExceededError, MalformedFileError
from apex_pipeline.sources import text_lines
from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.csv_reader import CsvRow, detect_dialect, iter_rows, read_rows
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.limits import Limits, RowBudget
from apex_pipeline_tests.sources.bombs import gzip_bomb, zstd_bomb


def read(content: bytes, *required: str) -> tuple[list[CsvRow], list[Reject]]:
    return read_rows(io.BytesIO(content), "some/file.csv", FileKind.LAP_END, required)


def reasons(content: bytes) -> list[tuple[int | None, str]]:
    return [(reject.line, reject.reason) for reject in read(content)[1]]


ROW = {"lap": "3", "vehicle_id": "GR86-002-2", "expire_at": ""}


@pytest.mark.parametrize(
    "content",
    [
        b"lap,vehicle_id,expire_at\n3,GR86-002-2,\n",
        b"lap,vehicle_id,expire_at\r\n3,GR86-002-2,\r\n",
        b"lap,vehicle_id,expire_at\r3,GR86-002-2,\r",
        b"lap,vehicle_id,expire_at\n3,GR86-002-2,",
        b'"lap","vehicle_id","expire_at"\n3,"GR86-002-2",\n',
        b"lap;vehicle_id;expire_at\n3;GR86-002-2;\n",
        b"lap\tvehicle_id\texpire_at\n3\tGR86-002-2\t\n",
        codecs.BOM_UTF8 + b"lap;vehicle_id;expire_at;\r\n3;GR86-002-2;;\r\n",
        b"lap, vehicle_id, expire_at\n3, GR86-002-2 ,\n",
        b'lap, "vehicle_id", expire_at\n3, "GR86-002-2",\n',
        b"lap,vehicle_id,expire_at\n3,GR86-002-2,,,,\n",
    ],
    ids=[
        *("lf", "crlf", "cr", "no last newline", "quoted", "semicolon", "tab", "bom and extra delimiter", "blanks"),
        *("blank before a quote", "rows with more trailing delimiters than the header"),
    ],
)
def test_every_dialect_gives_the_same_row(content: bytes) -> None:
    assert read(content) == ([CsvRow(2, ROW)], [])


def test_detect_dialect_finds_delimiter_encoding_bom_and_columns() -> None:
    dialect = detect_dialect(codecs.BOM_UTF8 + b"NUMBER; LAP_NUMBER; LAP_TIME;;\r\n", "23.CSV")
    assert (dialect.delimiter, dialect.encoding, dialect.has_bom) == (";", "utf-8", True)
    assert dialect.columns == ("NUMBER", "LAP_NUMBER", "LAP_TIME")


def test_text_that_is_not_utf8_is_read_as_latin_1() -> None:
    rows, _ = read("NUMBER;TEAM\n2;Équipe\n".encode("latin-1"))
    assert rows[0].values["TEAM"] == "Équipe"


def test_a_character_cut_off_at_the_end_does_not_change_the_encoding() -> None:
    head = "NUMBER;TEAM\n2;É".encode()[:-1]
    assert detect_dialect(head, "x.csv").encoding == "utf-8"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "0 bytes"),
        (b"PK\x03\x04 lap,vehicle_id", "zip archive"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xff\xd8\xff\xe0\x00", "JPEG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"),
        (b"<!DOCTYPE html>\n", "web page"),
        (b"lap,\x00vehicle_id\n", "binary"),
        (b"a\x01\x02,b\x03\n", "binary"),
        (codecs.BOM_UTF8, "no header"),
        (b"one word\n1\n", "no header"),
        (b"2025-01-01,17,GR86-002-2\n", "no header"),
        (b'"lap,vehicle_id\n', "no header"),
        (b"x" * 200_000, "no header"),
        (b"lap,,vehicle_id\n", "no name for column 2"),
        (b"lap,vehicle_id,lap\n", "two columns named 'lap'"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused_with_the_reason(head: bytes, message: str) -> None:
    with pytest.raises(MalformedFileError, match=message) as caught:
        detect_dialect(head, "some/file.csv")
    assert "some/file.csv" in caught.value.problem


def test_a_missing_column_is_reported_with_the_existing_ones() -> None:
    with pytest.raises(MalformedFileError, match="lacks the column timestamp; it has lap, vehicle_id"):
        read(b"lap,vehicle_id\n1,2\n", "lap", "timestamp")


def test_a_file_with_only_a_header_has_no_rows() -> None:
    assert read(b"lap,vehicle_id\n", "lap") == ([], [])


@pytest.mark.parametrize("blank", [b"", b"   ", b",", b" , "])
def test_a_blank_line_is_skipped_but_counted(blank: bytes) -> None:
    rows, rejects = read(b"lap,vehicle_id\n1,a\n" + blank + b"\n2,b\n")
    assert [(row.line, row.values["lap"]) for row in rows] == [(2, "1"), (4, "2")]
    assert rejects == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"5", "too_few_columns"),
        (b"5,GR86", "too_few_columns"),
        (b"5,GR86,,surplus", "too_many_columns"),
        (b"5,GR\x0086,", "nul_byte"),
        (b"\x00\x00\x00", "nul_byte"),
        (b'5,"GR86,', "malformed_line"),
        (b'5,"GR"86,', "malformed_line"),
        (b"5," + b"x" * 200_000 + b",", "cell_too_long"),
        (b"5," + b"x" * 10_001 + b",", "cell_too_long"),
        (b"lap,vehicle_id,expire_at", "repeated_header"),
        (codecs.BOM_UTF8 + b"lap,vehicle_id,expire_at,", "repeated_header"),
    ],
)
def test_a_bad_line_is_rejected_without_affecting_others(line: bytes, reason: str) -> None:
    content = b"lap,vehicle_id,expire_at\n1,a,\n" + line + b"\n2,b,\n"
    rows, rejects = read(content)
    assert [row.line for row in rows] == [2, 4]
    assert [(reject.line, reject.reason) for reject in rejects] == [(3, reason)]
    assert (rejects[0].file, rejects[0].kind) == ("some/file.csv", FileKind.LAP_END)
    assert len(rejects[0].detail) <= 200
    assert "\0" not in rejects[0].detail


def test_a_truncated_last_line_is_rejected_and_not_padded() -> None:
    assert reasons(b"lap,vehicle_id,expire_at\n1,a,\n2,b") == [(3, "too_few_columns")]


def test_a_second_header_sets_the_column_order_of_the_rows_after_it() -> None:
    rows, rejects = read(b"lap,vehicle_id\n1,a\nvehicle_id,lap\nb,2\n")
    assert [row.values for row in rows] == [{"lap": "1", "vehicle_id": "a"}, {"vehicle_id": "b", "lap": "2"}]
    assert [(reject.line, reject.reason) for reject in rejects] == [(3, "repeated_header")]


_LINES = st.lists(
    st.sampled_from([b"1,a,", b"1,a,z", b"1,a", b"", b",,", b"1,a,z,more", b'"1,a,', b"lap,car,end", b"\0,1,2", b" "])
)


@given(_LINES, st.sampled_from([b"\n", b"\r\n"]), st.sampled_from([b"", b"\n"]))
def test_every_line_that_is_not_blank_becomes_a_row_or_a_reject(
    lines: list[bytes], line_end: bytes, file_end: bytes
) -> None:
    content = line_end.join([b"lap,car,end", *lines]) + file_end
    rows, rejects = read(content)
    numbered = [number for number, line in enumerate(lines, start=2) if line.strip(b" ,")]
    assert sorted([row.line for row in rows] + [reject.line or 0 for reject in rejects]) == numbered


@given(st.binary(max_size=300))
def test_arbitrary_bytes_after_a_header_never_raise(tail: bytes) -> None:
    rows, rejects = read(b"lap,car\n" + tail)
    lines = [row.line for row in rows] + [reject.line or 0 for reject in rejects]
    assert len(set(lines)) == len(lines)
    assert all(line > 1 for line in lines)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_malformed_file_error(content: bytes) -> None:
    try:
        dialect = detect_dialect(content, "some/file.csv")
    except MalformedFileError:
        return
    assert len(dialect.columns) > 1
    assert all(dialect.columns)


@given(
    st.lists(st.sampled_from([*'1,a;"é\ufeff', "lap,car", "3,b", " "]), max_size=30).map("".join),
    st.lists(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]), min_size=1, max_size=30),
    st.integers(1, 20),
)
def test_the_size_of_the_blocks_read_changes_nothing(text: str, ends: list[str], block_bytes: int) -> None:
    lines = (text[start : start + 4] for start in range(0, len(text), 4))
    body = "".join(line + end for line, end in zip(lines, itertools.cycle(ends), strict=False))
    content = f"lap,car{ends[0]}{body}".encode()
    expected = read(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "_BLOCK_BYTES", block_bytes)
        assert read(content) == expected


def test_a_file_that_stops_being_utf8_is_read_as_latin_1_from_there_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", 16)
    rows, rejects = read("lap,car\n1,é\n".encode() + b"2,a\n" * 9 + b"3,\xe9\n4,\xe9")
    assert [rows[0].values["car"], *(row.values["car"] for row in rows[-2:])] == ["é", "é", "é"]
    assert rejects == []


class TestLimits:
    @staticmethod
    def refusal(content: bytes, limits: Limits, path: str = "some/file.csv") -> str:
        with pytest.raises(LimitExceededError) as caught:
            read_rows(io.BytesIO(content), path, FileKind.LAP_END, ["lap"], RowBudget(limits))
        assert path in caught.value.problem
        return caught.value.problem

    @pytest.mark.parametrize("before", [0, 1, 500])
    @pytest.mark.parametrize("after", [b"", b"\n2,b\n"])
    def test_a_line_that_is_too_long_refuses_the_file_with_its_number(self, before: int, after: bytes) -> None:
        content = b"lap,car\n" + b"1,a\n" * before + b"2," + b"x" * 999 + after
        number = before + 2
        problem = f"some/file.csv has more than 1 kB in line {number} (limit APEX_MAX_LINE_LENGTH)."
        assert self.refusal(content, Limits(line_bytes=1_000)) == problem
        rows, _ = read_rows(io.BytesIO(content), "f.csv", "k", ["lap"], RowBudget(Limits(line_bytes=1_001)))
        assert rows[before].line == number

    @pytest.mark.parametrize("line", [b" " * 1_001, b"," * 1_001, b"\0" * 1_001])
    def test_a_blank_line_that_is_too_long_refuses_the_file_too(self, line: bytes) -> None:
        assert "in line 3" in self.refusal(b"lap,car\n1,a\n" + line + b"\n2,b\n", Limits(line_bytes=1_000))

    def test_the_length_of_a_line_is_measured_in_bytes(self) -> None:
        content = f"lap,car\n1,{'é' * 500}\n".encode()
        assert "in line 2" in self.refusal(content, Limits(line_bytes=1_000))
        assert len(read_rows(io.BytesIO(content), "f.csv", "k", [], RowBudget(Limits(line_bytes=1_002)))[0]) == 1

    @pytest.mark.parametrize("header", [b"lap," + b"x" * 5_000, b"a," * 2_500 + b"lap", b"x" * 5_000])
    def test_a_header_that_is_too_long_is_refused_before_it_is_split(self, header: bytes) -> None:
        assert "in line 1" in self.refusal(header + b"\n1,2\n", Limits(line_bytes=1_000))

    def test_a_header_with_too_many_columns_is_refused(self) -> None:
        header = b",".join([b"lap", *(b"c%d" % number for number in range(10))])
        assert self.refusal(header + b"\n", Limits(columns=10)) == (
            "some/file.csv has 11 columns, more than 10 (limit APEX_MAX_COLUMNS)."
        )

    def test_a_row_of_a_million_cells_is_one_reject(self) -> None:
        rows, rejects = read(b"lap,car\n" + b"1," * 499_000 + b"\n1," + b"2," * 498_000 + b"\n3,c\n")
        assert [row.line for row in rows] == [4]
        assert [(reject.line, reject.reason) for reject in rejects] == [
            (2, "too_many_columns"),
            (3, "too_many_columns"),
        ]

    def test_more_rows_than_the_budget_allows_are_refused_good_or_bad(self) -> None:
        for line in (b"1,a\n", b"1\n"):
            with pytest.raises(LimitExceededError, match="more rows than fit in memory"):
                read_rows(io.BytesIO(b"lap,car\n" + line * 101), "f.csv", "k", ["lap"], RowBudget(memory_bytes=400_000))

    def test_blank_lines_take_no_budget(self) -> None:
        content = b"lap,car\n" + b"\n" * 100_000 + b"1,a\n"
        rows, _ = read_rows(io.BytesIO(content), "f.csv", "k", ["lap"], RowBudget(memory_bytes=5_000))
        assert [row.line for row in rows] == [100_002]

    def test_a_message_about_columns_names_only_some_of_them(self) -> None:
        header = b",".join(
            b"IM1_time" if number == 0 else b"DRIVER%d_*Extra %d" % (number % 10, number) for number in range(500)
        )
        with pytest.raises(MalformedFileError, match="and 480 more") as caught:
            read(header + b"\n", "lap")
        assert len(caught.value.problem) < 1_100

    @pytest.mark.req("A-123")
    @pytest.mark.parametrize(("ending", "bomb"), [("gz", gzip_bomb), ("zst", zstd_bomb)])
    # Of blank lines, less is read: with memory traced, 12 MB of them take 7 s.
    @pytest.mark.parametrize(
        ("chunk", "size", "refused_from"),
        [
            (b"1,a\n" * 100_000, 60_000_000, 30_000_000),
            (b"x" * 400_000, 60_000_000, 30_000_000),
            (b"\n" * 400_000, 24_000_000, 3_000_000),
            pytest.param(b"\n" * 400_000, 24_000_000, 12_000_000, marks=pytest.mark.soak),
            (b"1," * 200_000, 60_000_000, 30_000_000),
        ],
    )
    def test_a_bomb_is_refused_in_bounded_memory(
        self, ending: str, bomb: object, chunk: bytes, size: int, refused_from: int
    ) -> None:
        content = b"".join(bomb(chunk, size, b"lap,car\n1,a\n"))  # type: ignore[operator]
        limits = Limits(ratio_from_bytes=refused_from)
        tracemalloc.start()
        with pytest.raises(LimitExceededError):
            for _ in iter_rows(io.BytesIO(content), f"f.csv.{ending}", "k", ["lap"], RowBudget(limits)):
                pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < size

    @pytest.mark.req("A-123")
    def test_a_line_of_700_megabytes_is_refused_after_its_first_megabyte(self) -> None:
        class Endless(io.RawIOBase):
            left = 700_000_000

            def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # the stub's Buffer is 3.12's
                length = min(len(buffer), self.left)
                buffer[:length] = b"x" * length
                self.left -= length
                return length

        stream = Endless()
        with pytest.raises(LimitExceededError, match="in line 1"):
            read_rows(stream, "f.csv", "k", ["lap"])  # type: ignore[arg-type]
        assert stream.left > 690_000_000


def test_a_file_that_cannot_be_read_to_its_end_raises_after_its_first_rows() -> None:
    compressed = b"".join(gzip_bomb(b"2," + b"b" * 97 + b"\n", 1_500_000, b"lap,car\n1,a\n"))[:-20]
    found: Iterator[CsvRow | Reject] = iter_rows(io.BytesIO(compressed), "f.csv.gz", "k", ["lap"])
    assert next(found) == CsvRow(2, {"lap": "1", "car": "a"})
    with pytest.raises(MalformedFileError, match="its end is missing"):
        list(found)


def test_every_line_of_real_lap_and_timing_files_becomes_a_row(real_data: Path) -> None:
    paths = [path for path in real_data.joinpath("grcup").rglob("*.[cC][sS][vV]") if "telemetry" not in path.name]
    assert len(paths) == 83
    for path in paths:
        rows, rejects = read(path.read_bytes())
        lines = path.read_bytes().split(b"\n")[1:]
        assert rejects == [], path
        assert len(rows) == sum(1 for line in lines if line.strip()), path

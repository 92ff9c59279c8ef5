"""CSV that other programs write: separators stated, indexes, line breaks in quotes, encodings, line ends."""

import io

import pytest

from apex_pipeline.sources.csv_reader import CsvRow, read_rows

PLAIN = [{"lap": "1", "vehicle_id": "a"}, {"lap": "2", "vehicle_id": "b"}]


@pytest.mark.parametrize(
    "content",
    [
        b"lap,vehicle_id\n1,a\n2,b\n",
        b"sep=;\r\nlap;vehicle_id\r\n1;a\r\n2;b\r\n",
        b"sep=,\nlap,vehicle_id\n1,a\n2,b",
        b'"sep=;"\nlap;vehicle_id\n1;a\n2;b\n',
        b"\n\n,,\nlap,vehicle_id\n1,a\n2,b\n",
        b",lap,vehicle_id\n0,1,a\n1,2,b\n",
        b'"",lap,vehicle_id\n"0",1,a\n"1",2,b\n',
        b'"lap", "vehicle_id"\n"1", "a"\n"2" ,"b" \n',
        b"LAP,Vehicle_ID\n1,a\n2,b\n",
        b"lap,vehicle_id\r\r\n1,a\r\r\n2,b\r\r\n",
        b"lap,vehicle_id\r1,a\r2,b\r",
        "lap,vehicle_id\n1,a\n2,b\n".encode("utf-16"),
        b"\xfe\xff" + "lap;vehicle_id\r\n1;a\r\n2;b\r\n".encode("utf-16-be"),
    ],
)
def test_each_of_these_files_has_the_same_rows(content: bytes) -> None:
    rows, rejects = read_rows(io.BytesIO(content), "x.csv", "lap_end", ["lap", "vehicle_id"])
    assert ([row.values for row in rows], rejects) == (PLAIN, [])


def test_a_quoted_line_break_is_part_of_the_cell_and_later_rows_keep_their_lines() -> None:
    content = b'lap,vehicle_id\n1,"pit\nstop\n\nagain"\n2,b\n'
    rows, rejects = read_rows(io.BytesIO(content), "x.csv", "lap_end", ["lap"])
    assert rejects == []
    assert rows == [
        CsvRow(2, {"lap": "1", "vehicle_id": "pit stop again"}),
        CsvRow(6, {"lap": "2", "vehicle_id": "b"}),
    ]


def test_a_quote_that_is_never_closed_damages_one_row_only() -> None:
    content = b'lap,vehicle_id\n1,"open\n' + b"".join(b"%d,b\n" % lap for lap in range(2, 60))
    rows, rejects = read_rows(io.BytesIO(content), "x.csv", "lap_end", ["lap"])
    assert [row.line for row in rows] == list(range(3, 61))
    assert [(reject.line, reject.reason) for reject in rejects] == [(2, "malformed_line")]

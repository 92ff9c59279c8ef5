"""The first bytes of a file: kinds from the header, session from the rows, and unreadable files."""

import codecs
import gzip

import pyarrow as pa
import pytest

from apex_pipeline.sources.gr_cup.discovery.sniff import SNIFFED_BYTES, missing_columns, sniff
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline_tests.sources.bombs import zstd_frame_with_window

TRIGGER_KINDS = {FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME}
TELEMETRY_ROW = b"R1,I_R06_2025-09-07,2025-09-06T18:40:41.775Z,GR86-002-000,2025-09-04T18:25:00.000Z,speed,90.1,3\n"
TELEMETRY = (
    b"meta_session,meta_event,meta_time,vehicle_id,timestamp,telemetry_name,telemetry_value,lap\n"
    + TELEMETRY_ROW * 2_000
)


@pytest.mark.parametrize(
    ("header", "kinds"),
    [
        ("expire_at,lap,meta_event,timestamp,vehicle_id,meta_time", TRIGGER_KINDS),
        ('"timestamp","vehicle_id","outing","lap","value","meta_time"', TRIGGER_KINDS | {FileKind.TELEMETRY}),
        ("timestamp,vehicle_id,lap,meta_time,telemetry_name,telemetry_value", {FileKind.TELEMETRY}),
        ("NUMBER;DRIVER_NUMBER; LAP_NUMBER; LAP_TIME", {FileKind.SECTIONS}),
        ("TIME_UTC_SECONDS;TIME_UTC_STR;AIR_TEMP;RAIN;", {FileKind.WEATHER}),
        ("NUMBER;VEHICLE;BESTLAP_1;BESTLAP_1_LAPNUM", {FileKind.BEST_LAPS}),
        ("CLASS_TYPE;POS;PIC;NUMBER;VEHICLE", {FileKind.RESULTS_BY_CLASS}),
        ("POSITION;NUMBER;STATUS;LAPS", {FileKind.RESULTS}),
        ("Name;Date", set[FileKind]()),
    ],
)
def test_the_header_determines_the_possible_kinds(header: str, kinds: set[FileKind]) -> None:
    contents = sniff(header.encode() + b"\n", "x.csv")
    assert contents.kinds == kinds
    assert (contents.rows, contents.problem, contents.is_text) == (0, None, True)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("bom", [b"", codecs.BOM_UTF8])
def test_session_event_and_first_day_are_read_from_the_rows(line_end: bytes, bom: bytes) -> None:
    lines = [
        b'lap,vehicle_id,timestamp,"meta_session",meta_event,meta_time',
        b'1,GR86-002-2,x,"R1",I_R06_2025-09-07,2025-09-07T00:00:01.000Z',
        b"",
        b"2,GR86-002-2,x, R1 ,I_R06_2025-09-07,2025-09-06T18:40:41.775Z",
        b"lap,vehicle_id,timestamp,meta_session,meta_event,meta_time",
        b"3,GR86-002-2,x,R2,,",
        b",,,,,",
        b"4,GR86",
    ]
    contents = sniff(bom + line_end.join(lines), "x.csv")
    assert contents.sessions == {"R1": 2, "R2": 1}
    assert contents.events == {"I_R06_2025-09-07": 2}
    assert contents.first_day == "2025-09-06"
    assert contents.rows == 5
    assert contents.columns[3] == "meta_session"


def test_a_line_cut_off_at_the_end_of_the_sniffed_bytes_is_not_counted() -> None:
    contents = sniff(TELEMETRY[:SNIFFED_BYTES], "x.csv")
    body = SNIFFED_BYTES - TELEMETRY.index(b"\n") - 1
    assert contents.rows == body // len(TELEMETRY_ROW)
    assert contents.sessions == {"R1": contents.rows}


def test_a_complete_file_without_a_final_newline_keeps_its_last_line() -> None:
    assert sniff(b"lap,vehicle_id\n1,a\n2,b", "x.csv").rows == 2


def _zst(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize("name", ["x.csv.gz", "X.CSV.GZ"])
def test_truncated_gzip_telemetry_is_read(name: str) -> None:
    stored = gzip.compress(TELEMETRY, mtime=0)
    contents = sniff(stored[: len(stored) // 2], name)
    assert contents.kinds == {FileKind.TELEMETRY}
    assert contents.sessions == {"R1": contents.rows}
    assert contents.rows > 0


def test_all_members_of_a_gzip_file_are_read() -> None:
    header, rows = TELEMETRY.split(b"\n", 1)
    members = [header + b"\n", b"", *(rows[start : start + 5_000] for start in range(0, 60_000, 5_000))]
    contents = sniff(b"".join(gzip.compress(member, mtime=0) for member in members)[:SNIFFED_BYTES], "x.csv.gz")
    assert contents.kinds == {FileKind.TELEMETRY}
    assert contents.rows > 500


def test_zstd_telemetry_is_read() -> None:
    contents = sniff(_zst(TELEMETRY), "x.csv.zst")
    assert contents.kinds == {FileKind.TELEMETRY}
    assert contents.sessions == {"R1": contents.rows}
    assert contents.rows > 0


@pytest.mark.parametrize(
    ("head", "path", "message"),
    [
        (b"", "x.csv", "empty"),
        (b"", "x.csv.gz", "empty"),
        (b"", "x.csv.zst", "empty"),
        (b"lap,vehicle_id\n1,2\n", "x.csv.gz", "not compressed as its name says"),
        (b"lap,vehicle_id\n1,2\n", "x.csv.zst", "not compressed as its name says"),
        (gzip.compress(b"lap,vehicle_id\n", mtime=0), "x.csv", "gzip-compressed"),
        (b"PK\x03\x04....", "x.csv", "zip archive"),
        (b"a\x00b,c\n", "x.csv", "binary"),
        (gzip.compress(b"lap,vehicle_id\n", mtime=0) + b"more", "x.csv.gz", "not compressed as its name says"),
        (zstd_frame_with_window(31, b"a,b\n1,2\n"), "x.csv.zst", "compressed with zstd --long"),
    ],
)
def test_a_file_that_is_not_text_is_reported_with_its_path(head: bytes, path: str, message: str) -> None:
    contents = sniff(head, path)
    assert message in (contents.problem or "")
    assert path in (contents.problem or "")
    assert not contents.is_text
    assert contents.kinds == frozenset()


@pytest.mark.parametrize("column", [b"a", b"a," * 500_000])
def test_a_first_line_longer_than_the_sniffed_bytes_is_not_a_header(column: bytes) -> None:
    content = column * (1 + 50_000_000 // len(column))
    for head, path in ((content[:SNIFFED_BYTES], "x.csv"), (gzip.compress(content[:1_000_000], mtime=0), "x.csv.gz")):
        contents = sniff(head, path)
        assert contents.problem == f"{path} has a first line of more than 65,536 bytes: not a header."
        assert contents.is_text


def test_text_without_a_header_is_reported_but_counts_as_text() -> None:
    contents = sniff(b"dear diary\n", "x.csv")
    assert "no header" in (contents.problem or "")
    assert contents.is_text


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        (FileKind.LAP_END, ("meta_time", "timestamp")),
        (FileKind.TELEMETRY, ("meta_time", "telemetry_name", "telemetry_value", "timestamp")),
        (FileKind.WEATHER, ("AIR_TEMP", "TIME_UTC_SECONDS")),
    ],
)
def test_missing_columns_of_a_kind_are_listed(kind: FileKind, missing: tuple[str, ...]) -> None:
    assert missing_columns(kind, ("vehicle_id", "lap")) == missing

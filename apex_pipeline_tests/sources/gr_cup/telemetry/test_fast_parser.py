"""The fast and the reference parser agree on every line both can parse; a separate build checks array bounds."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.csv_reader import CsvDialect
from apex_pipeline.sources.gr_cup.telemetry import line_parser
from apex_pipeline.sources.gr_cup.telemetry.fast_parser import FastParser, ParsedChunk
from apex_pipeline.sources.gr_cup.telemetry.header import Header
from apex_pipeline.sources.limits import Limits
from apex_pipeline_tests.examples import at_least
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import COLUMNS, LISTED_COLUMNS, csv_bytes, listed, reading

ALL = 2**60


def make_header(columns: Sequence[str] = COLUMNS, delimiter: str = ",", *, is_quoted: bool = False) -> Header:
    return Header(
        CsvDialect(delimiter, "utf-8", has_bom=False, columns=tuple(columns)), is_listed=False, is_quoted=is_quoted
    )


Reading = tuple[int, str, str, float, int, int, int]


def parse_text(
    text: bytes,
    header: Header,
    start: int = 0,
    max_lines: int = ALL,
    behind: bytes = b"",
    parser: FastParser | None = None,
) -> ParsedChunk:
    """Parse a text in a buffer that has the bytes ``behind`` where its padding is."""
    parser = parser or FastParser()
    buffer = parser.text_buffer(len(text))
    content = (text + behind)[: len(buffer)]
    buffer[: len(content)] = content
    return parser.parse_chunk(buffer, start, len(text), max_lines, header)


def parse_fast(text: bytes, header: Header, behind: bytes = b"") -> tuple[list[Reading], set[int], int]:
    """Return the readings of the fast parser, the lines it set aside, and the number of blank lines."""
    parsed = parse_text(text, header, behind=behind)
    readings: list[Reading] = []
    at = 0
    frames = parsed.frames
    for frame, count in enumerate(frames.readings):
        for offset in range(count):
            readings.append(
                (
                    int(parsed.line[frame]) + (0 if header.is_listed else offset),
                    parsed.vehicles[parsed.vehicle[frame]],
                    parsed.channels[frames.channel[at]],
                    float(frames.value[at]),
                    int(frames.car_ms[frame]),
                    int(frames.received_ms[frame]),
                    int(frames.unit_lap[frame]),
                )
            )
            at += 1
    assert parsed.end == len(text)
    assert parsed.lines == text.count(b"\n")
    return readings, {line for line, _, _ in parsed.aside}, parsed.blank


def parse_reference(line: bytes, number: int, header: Header) -> list[Reading]:
    result = line_parser.read_line(line, header, None)
    return [
        (number, result.vehicle_id, channel, value, result.car_ms, result.received_ms, result.unit_lap)
        for channel, value in result.readings
    ]


def assert_agree(text: bytes, header: Header, behind: bytes = b"") -> tuple[int, int]:
    """Assert that both parsers agree; return the number of readings and of lines set aside."""
    readings, aside, blank = parse_fast(text, header, behind)
    lines = text.split(b"\n")[:-1]
    assert blank == sum(line in (b"", b"\r") for line in lines)
    expected = [
        found
        for number, line in enumerate(lines)
        if line not in (b"", b"\r") and number not in aside
        for found in parse_reference(line, number, header)
    ]
    assert readings == expected
    return len(readings), len(aside)


CELLS = {
    "lap": st.sampled_from(["0", "3", "19", "32768", "", "007", "x", "3.0", "-1", "999999999", "9999999999"]),
    "meta_event": st.sampled_from(["I_R06_2025-09-07", "", "a b", 'with "quotes"', "é", "\0"]),
    "meta_session": st.sampled_from(["R1", "R2", ""]),
    "meta_time": st.sampled_from(["2025-09-06T18:40:00.000Z", "2025-09-06T18:40:00Z", "2025-02-29T00:00:00.000Z", ""]),
    "timestamp": st.datetimes().map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z".rjust(24, "0")),
    "vehicle_id": st.sampled_from(["GR86-002-2", "GR86-013-80", "", " GR86-002-2"]),
    "telemetry_name": st.sampled_from(["speed", "gear", "Steering_Angle", ""]),
    "telemetry_value": st.one_of(
        st.floats(allow_nan=False, width=64).map(repr),
        st.integers(-(10**25), 10**25).map(str),
        st.decimals(-1000, 1000, places=3, allow_nan=False).map(str),
        st.sampled_from(
            ["-0", "-0.0", "1.", ".5", "+1", "1e5", "0.34600000000000003", "9007199254740993", "1..2", "-", ""]
        ),
    ),
}
PLAIN = {name: st.sampled_from([reading(0)[name]]) for name in CELLS}
# Most cells are in the usual format, so that most lines are almost valid and many consecutive ones differ only in the
# reading.
ROWS = st.fixed_dictionaries({name: st.one_of(PLAIN[name], PLAIN[name], odd) for name, odd in CELLS.items()}).map(
    lambda changes: reading(0) | changes
)
ORDERS = st.one_of(st.just(list(COLUMNS)), st.permutations(COLUMNS))


@at_least(150)
@given(
    st.lists(ROWS, max_size=12),
    ORDERS,
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["bare", "quoted"]),
)
def test_both_parsers_agree_on_every_line(
    rows: list[dict[str, str]], columns: list[str], delimiter: str, end: str, quoting: str
) -> None:
    header, *lines = csv_bytes(rows, columns, delimiter, end).split(end.encode())
    assert header
    parsed, aside = assert_agree(
        end.encode().join(lines), make_header(columns, delimiter, is_quoted=quoting == "quoted")
    )
    assert parsed + aside == len(rows)


@at_least(150)
@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(csv_bytes([reading(0)]).splitlines()[1:])), max_size=8)
)
def test_arbitrary_bytes_are_parsed_equally_or_set_aside(lines: list[bytes]) -> None:
    clean_lines = [line.replace(b"\n", b"") for line in lines]
    parsed, aside = assert_agree(b"".join(line + b"\n" for line in clean_lines), make_header())
    assert parsed + aside == sum(line not in (b"", b"\r") for line in clean_lines)


@at_least(15)
@given(st.lists(ROWS, min_size=1, max_size=3), st.sampled_from(["bare", "quoted"]), st.integers(0, 40))
def test_both_parsers_agree_at_every_offset_of_a_piece_end(
    rows: list[dict[str, str]], quoting: str, shift: int
) -> None:
    """A piece may end anywhere, and the rest of the text may still be in the buffer behind it."""
    lines = csv_bytes([reading(0, meta_event="x" * shift), *rows]).split(b"\n", 1)[1]
    for end in range(len(lines)):
        assert_agree(lines[:end] + b"\n", make_header(is_quoted=quoting == "quoted"), behind=lines[end:] or lines)


LISTS = Header(CsvDialect(",", "utf-8", has_bom=False, columns=LISTED_COLUMNS), is_listed=True, is_quoted=True)
ELEMENTS = st.one_of(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["speed", "gear", "", "a, b", "é", 'q"', "x{}", 5, None]),
            "value": st.one_of(
                st.floats(allow_nan=False, width=32),
                st.integers(-(10**20), 10**20),
                st.sampled_from(["7", "007", "x", True]),
            ),
        }
    ),
    st.sampled_from([{}, [], 3, {"name": "speed"}, {"value": 1, "name": "gear"}, {"name": "a", "value": 1, "more": 2}]),
)
PLAIN_ELEMENTS = st.fixed_dictionaries({"name": st.sampled_from(["speed", "gear"]), "value": st.integers(-9, 9)})
SEPARATORS = st.sampled_from([(", ", ": "), (",", ":"), (" , ", " : "), (";", ":"), (",", "=")])


@at_least(200)
@given(st.lists(st.tuples(st.lists(st.one_of(PLAIN_ELEMENTS, ELEMENTS), max_size=4), SEPARATORS), max_size=5))
def test_both_parsers_agree_on_every_list(lists: list[tuple[list[object], tuple[str, str]]]) -> None:
    rows = [listed(0, json.dumps(elements, separators=separators)) for elements, separators in lists]
    parsed, aside = assert_agree(csv_bytes(rows, LISTED_COLUMNS).split(b"\n", 1)[1], LISTS)
    assert aside <= len(rows) <= parsed + aside


@at_least(200)
@given(st.data())
def test_a_damaged_list_is_parsed_equally_or_set_aside(data: st.DataObject) -> None:
    row = listed(0, '[{"name": "speed", "value": -1.5}, {"name": "gear", "value": 3}]')
    text = bytearray(csv_bytes([row], LISTED_COLUMNS).split(b"\n", 1)[1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 2))
        inserted = data.draw(st.sampled_from([b"", b'"', b"{", b"]", b" ", b"0", b",", b"\\"]))
        text[at : at + data.draw(st.integers(0, 2))] = inserted
    parsed, aside = assert_agree(bytes(text).replace(b"\n", b"") + b"\n", LISTS)
    assert bool(parsed) + aside == 1


LINE = csv_bytes([reading(0)]).splitlines(keepends=True)[1]


def line(**changes: str) -> bytes:
    return csv_bytes([reading(0) | changes]).splitlines(keepends=True)[1]


class TestParsedLines:
    def test_lines_that_differ_only_in_channel_and_value_are_one_frame(self) -> None:
        text = (
            LINE + line(telemetry_name="gear", telemetry_value="3") + line(lap="4") + line(lap="4", telemetry_value="1")
        )

        parsed = parse_text(text, make_header())

        assert parsed.frames.readings.tolist() == [2, 2]
        assert parsed.line.tolist() == [0, 2]

    def test_a_new_frame_starts_after_a_line_set_aside(self) -> None:
        text = LINE + b"odd\n" + LINE

        parsed = parse_text(text, make_header())

        assert parsed.line.tolist() == [0, 2]
        assert parsed.aside == [(1, len(LINE), len(LINE) + 3)]

    @pytest.mark.parametrize(
        "columns",
        [
            list(reversed(COLUMNS)),
            [name for name in COLUMNS if name != "meta_session"],
            ["telemetry_value", *(name for name in COLUMNS if name != "telemetry_value")],
            ["telemetry_name", "telemetry_value", *COLUMNS[:8], *COLUMNS[10:]],
        ],
        ids=["reversed", "no session", "value apart from its channel", "both first"],
    )
    def test_columns_are_parsed_in_any_order(self, columns: list[str]) -> None:
        rows = [reading(second, channel, str(second)) for second in (0, 1) for channel in ("speed", "gear", "nmot")]
        text = csv_bytes(rows, columns).split(b"\n", 1)[1]

        assert assert_agree(text, make_header(columns)) == (6, 0)

    def test_lines_with_all_cells_in_quotes_are_parsed(self) -> None:
        cells = LINE.rstrip(b"\n").split(b",")
        text = (b",".join(b'"' + cell + b'"' for cell in cells) + b"\n") * 3

        assert assert_agree(text, make_header(is_quoted=True)) == (3, 0)

    def test_a_delimiter_in_quotes_does_not_end_the_cell(self) -> None:
        text = LINE.replace(b"kafka:gr-raw", b'"kafka,gr"') + LINE

        assert assert_agree(text, make_header(is_quoted=True)) == (2, 0)

    def test_lines_with_a_trailing_delimiter_are_parsed(self) -> None:
        text = LINE.rstrip(b"\n") + b",\n" + LINE.rstrip(b"\n") + b",\r\n"

        assert assert_agree(text, make_header()) == (2, 0)

    @pytest.mark.parametrize(
        "value", ["0.34600000000000003", "-16.900000000000002", "9007199254740993", "0." + "0" * 30 + "1", "1" * 40]
    )
    def test_long_numbers_are_exact_to_the_last_bit(self, value: str) -> None:
        readings, aside, _ = parse_fast(line(telemetry_value=value), make_header())

        assert readings[0][3] == float(value)
        assert not aside

    @pytest.mark.parametrize("value", ["-0", "-0.0", "-0.00000000000000000000"])
    def test_a_negative_zero_loses_its_sign(self, value: str) -> None:
        readings, _, _ = parse_fast(line(telemetry_value=value), make_header())

        assert not np.signbit(readings[0][3])

    @pytest.mark.parametrize(
        "value",
        [
            '[{"name": "speed", "value": 90.5}, {"name": "gear", "value": "3"}]',
            '[{"value":-1,"name":"speed"}]',
            ' [ { "name" : "speed" , "value" : 0.34600000000000003 } ] '.strip(),
        ],
    )
    def test_lists_of_readings_are_parsed(self, value: str) -> None:
        text = csv_bytes([listed(0, value), listed(1, value)], LISTED_COLUMNS).split(b"\n", 1)[1]

        readings, aside, _ = parse_fast(text, LISTS)

        assert not aside
        assert len(readings) == 2 * value.count("{")
        assert_agree(text, LISTS)


class TestLinesSetAside:
    @pytest.mark.parametrize(
        "changes",
        [
            {"timestamp": "2025-02-29T00:00:00.000Z"},
            {"timestamp": "2025-09-31T00:00:00.000Z"},
            {"timestamp": "2025-13-01T00:00:00.000Z"},
            {"timestamp": "2025-09-06T24:00:00.000Z"},
            {"timestamp": "2025-09-06T18:40:00.000-05:00"},
            {"timestamp": "2025-09-06 18:40:00.000Z"},
            {"timestamp": "0000-09-06T18:40:00.000Z"},
            {"telemetry_value": "1e3"},
            {"telemetry_value": "N/A"},
            {"telemetry_value": "1_0"},
            {"telemetry_value": ""},
            {"telemetry_name": ""},
            {"vehicle_id": ""},
            {"lap": "3.0"},
            {"lap": "-3"},
            {"lap": "12345678901"},
            {"meta_source": "caf\u00e9"},
        ],
        ids=str,
    )
    def test_lines_in_unusual_formats_are_set_aside(self, changes: dict[str, str]) -> None:
        assert assert_agree(LINE + line(**changes) + LINE, make_header()) == (2, 1)

    @pytest.mark.parametrize("odd", [b'"' + LINE, LINE[:-1] + b'"\n', LINE.replace(b"kafka", b'ka"fka')])
    def test_quotes_that_do_not_enclose_a_cell_are_set_aside(self, odd: bytes) -> None:
        assert assert_agree(odd, make_header(is_quoted=True)) == (0, 1)

    def test_lines_without_a_list_in_a_file_of_lists_are_set_aside(self) -> None:
        text = b"one\n\ntwo\r\n\r\n"

        parsed = parse_text(b"xx" + text, LISTS, start=2)

        assert parsed.aside == [(0, 2, 5), (2, 7, 11)]
        assert (parsed.lines, parsed.blank, parsed.end) == (4, 2, len(text) + 2)


LONG_CELLS = st.dictionaries(
    st.sampled_from(["vehicle_id", "meta_session", "telemetry_name", "telemetry_value", "lap", "meta_source"]),
    st.integers(20, 40).map(lambda length: "7" * length),
    max_size=1,
)


@at_least(150)
@given(
    st.lists(st.tuples(ROWS, LONG_CELLS).map(lambda parts: parts[0] | parts[1]), min_size=1, max_size=6),
    st.integers(24, 34),  # a time has 24 characters; the setting is at least 100
    st.integers(100, 200),
)
def test_both_parsers_agree_whatever_the_limits_are(
    rows: list[dict[str, str]], cell_characters: int, line_bytes: int
) -> None:
    header = replace(make_header(), limits=Limits(cell_characters=cell_characters, line_bytes=line_bytes))
    parsed, aside = assert_agree(csv_bytes(rows).split(b"\n", 1)[1], header)
    assert parsed + aside == len(rows)


@given(st.lists(st.tuples(st.integers(20, 40), LONG_CELLS), max_size=5), st.integers(24, 34))
def test_both_parsers_agree_on_lists_whatever_the_limits_are(
    lines: list[tuple[int, dict[str, str]]], cell_characters: int
) -> None:
    header = replace(LISTS, limits=Limits(cell_characters=cell_characters))
    rows = [listed(0, json.dumps([{"name": "x" * length, "value": 1}]), **cells) for length, cells in lines]
    assert_agree(csv_bytes(rows, LISTED_COLUMNS).split(b"\n", 1)[1], header)


class TestPadding:
    def test_a_buffer_without_padding_is_refused(self) -> None:
        parser = FastParser()
        with pytest.raises(ValueError, match="needs a buffer of"):
            parser.parse_chunk(bytearray(LINE), 0, len(LINE), ALL, make_header())
        assert parser.parse_chunk(parser.text_buffer(0), 0, 0, ALL, make_header()).lines == 0

    def test_a_text_without_a_line_feed_at_its_end_is_refused(self) -> None:
        """The loops stop at a line feed; without one they would go on behind the text."""
        with pytest.raises(ValueError, match="a line feed at its end"):
            parse_text(LINE[:-1], make_header())

    def test_what_is_behind_the_text_does_not_count(self) -> None:
        for behind in (b"", LINE, b"7" * 64, b"\n" * 64):
            assert parse_text(LINE * 2, make_header(), behind=behind).frames.readings.tolist() == [2]


class TestLimits:
    def test_more_names_than_fit_are_parsed_in_several_calls(self) -> None:
        text = b"".join(line(telemetry_name=f"channel_{number}") for number in range(2_500))
        parser, at, names = FastParser(), 0, set[str]()
        calls = 0
        while at < len(text):
            parsed = parse_text(text, make_header(), start=at, parser=parser)
            at, calls = parsed.end, calls + 1
            names.update(parsed.channels)

        assert calls == 3
        assert names == {f"channel_{number}" for number in range(2_500)}

    @pytest.mark.parametrize("quoting", ["bare", "quoted"])
    def test_a_line_too_long_is_set_aside_also_after_one_like_it(self, quoting: str) -> None:
        """Only its number is longer than that of the line before."""
        text = LINE + line(telemetry_value="7" * 30) + LINE
        header = replace(make_header(is_quoted=quoting == "quoted"), limits=Limits(line_bytes=len(LINE) + 10))

        assert assert_agree(text, header) == (2, 1)

    def test_parsing_stops_at_the_requested_number_of_lines(self) -> None:
        text = LINE * 10

        parsed = parse_text(text, make_header(), max_lines=3)

        assert (parsed.lines, parsed.end) == (3, 3 * len(LINE))


_BOUNDS = """
import random, sys
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import LISTED_COLUMNS, csv_bytes, listed, reading
from apex_pipeline_tests.sources.gr_cup.telemetry.test_fast_parser import LISTS, assert_agree, make_header

chance = random.Random(5)
good = csv_bytes([reading(s / 25, c, str(s)) for s in range(6) for c in ("speed", "gear")]).split(b"\\n", 1)[1]
lists = csv_bytes([listed(0, '[{"name": "speed", "value": 1}, {"name": "gear", "value": 3}]')] * 4, LISTED_COLUMNS)
parsed = 0
texts = int(sys.argv[1])
for _ in range(texts):
    text = bytearray(lists.split(b"\\n", 1)[1])
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(text))
        text[at : at + chance.randrange(3)] = chance.choice([b"", b",", b"\\n", b'"', b"{", b"]", b"9", b" "])
    parsed += assert_agree(bytes(text.rstrip(b"\\n") + b"\\n"), LISTS)[0]
assert parsed > 4 * texts, parsed
parsed = 0
for _ in range(2 * texts):
    text = bytearray(good)
    for _ in range(chance.randrange(6)):
        at = chance.randrange(len(text))
        text[at : at + chance.randrange(3)] = chance.choice([b"", b",", b"\\n", b'"', b"\\r", b"\\0", b"9", b"\\xff"])
    parsed += assert_agree(bytes(text.rstrip(b"\\n") + b"\\n"), make_header(is_quoted=chance.random() < 0.5))[0]
assert parsed > 10 * texts, parsed
"""


@pytest.mark.parametrize(
    ("checked_by", "texts"),
    [
        ("NUMBA_DISABLE_JIT", 60),  # not compiled at all, so that numpy checks each index: 25 ms per text
        pytest.param("NUMBA_BOUNDSCHECK", 1_000, marks=pytest.mark.soak),  # compiling with the checks takes 8 s
    ],
)
def test_damaged_text_causes_no_access_outside_the_arrays(tmp_path: Path, checked_by: str, texts: int) -> None:
    """The compiled loops do not check bounds; here something else does, while the same code runs."""
    environment = os.environ | {checked_by: "1", "NUMBA_CACHE_DIR": str(tmp_path)}

    process = subprocess.run(
        [sys.executable, "-c", _BOUNDS, str(texts)], env=environment, capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stderr

"""The quick reader and the careful one agree on every line both can read; bounds are checked in a build of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.csv_reader import CsvDialect
from apex_pipeline.sources.gr_cup.telemetry import line_parser
from apex_pipeline.sources.gr_cup.telemetry.fast_parser import FastParser
from apex_pipeline.sources.gr_cup.telemetry.header import Header
from apex_pipeline_tests.examples import at_least
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import COLUMNS, LISTED_COLUMNS, csv_bytes, listed, reading

ALL = 2**60


def layout(columns: Sequence[str] = COLUMNS, delimiter: str = ",", *, is_quoted: bool = False) -> Header:
    return Header(
        CsvDialect(delimiter, "utf-8", has_bom=False, columns=tuple(columns)), is_listed=False, is_quoted=is_quoted
    )


Said = tuple[int, str, str, float, int, int, int]


def quickly(text: bytes, form: Header) -> tuple[list[Said], set[int], int]:
    """Return what the quick reader says of each line, the lines it set aside, and the number of blank ones."""
    taken = FastParser().parse_chunk(bytearray(text), 0, len(text), ALL, form)
    said: list[Said] = []
    at = 0
    frames = taken.frames
    for frame, count in enumerate(frames.readings):
        for offset in range(count):
            said.append(
                (
                    int(taken.line[frame]) + (0 if form.is_listed else offset),
                    taken.vehicles[taken.vehicle[frame]],
                    taken.channels[frames.channel[at]],
                    float(frames.value[at]),
                    int(frames.car_ms[frame]),
                    int(frames.received_ms[frame]),
                    int(frames.unit_lap[frame]),
                )
            )
            at += 1
    assert taken.end == len(text)
    assert taken.lines == text.count(b"\n")
    return said, {line for line, _, _ in taken.aside}, taken.blank


def carefully(line: bytes, number: int, form: Header) -> list[Said]:
    said = line_parser.read_line(line, form, None)
    return [
        (number, said.vehicle_id, channel, value, said.car_ms, said.received_ms, said.unit_lap)
        for channel, value in said.readings
    ]


def agree(text: bytes, form: Header) -> tuple[int, int]:
    """Make sure that both read the same; return how many lines were taken quickly and how many set aside."""
    said, aside, blank = quickly(text, form)
    lines = text.split(b"\n")[:-1]
    assert blank == sum(line in (b"", b"\r") for line in lines)
    expected = [
        found
        for number, line in enumerate(lines)
        if line not in (b"", b"\r") and number not in aside
        for found in carefully(line, number, form)
    ]
    assert said == expected
    return len(said), len(aside)


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
# Most columns as usual, so that most lines are nearly right and many follow each other with only a reading changed.
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
def test_both_readers_say_the_same_of_every_line(
    rows: list[dict[str, str]], columns: list[str], delimiter: str, end: str, quoting: str
) -> None:
    header, *lines = csv_bytes(rows, columns, delimiter, end).split(end.encode())
    assert header
    taken, aside = agree(end.encode().join(lines), layout(columns, delimiter, is_quoted=quoting == "quoted"))
    assert taken + aside == len(rows)


@at_least(150)
@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(csv_bytes([reading(0)]).splitlines()[1:])), max_size=8)
)
def test_any_bytes_are_lines_read_alike_or_set_aside(lines: list[bytes]) -> None:
    whole = [line.replace(b"\n", b"") for line in lines]
    taken, aside = agree(b"".join(line + b"\n" for line in whole), layout())
    assert taken + aside == sum(line not in (b"", b"\r") for line in whole)


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
def test_both_readers_say_the_same_of_every_list(lists: list[tuple[list[object], tuple[str, str]]]) -> None:
    rows = [listed(0, json.dumps(elements, separators=separators)) for elements, separators in lists]
    taken, aside = agree(csv_bytes(rows, LISTED_COLUMNS).split(b"\n", 1)[1], LISTS)
    assert aside <= len(rows) <= taken + aside


@at_least(200)
@given(st.data())
def test_a_damaged_list_is_read_alike_or_set_aside(data: st.DataObject) -> None:
    row = listed(0, '[{"name": "speed", "value": -1.5}, {"name": "gear", "value": 3}]')
    text = bytearray(csv_bytes([row], LISTED_COLUMNS).split(b"\n", 1)[1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 2))
        put = data.draw(st.sampled_from([b"", b'"', b"{", b"]", b" ", b"0", b",", b"\\"]))
        text[at : at + data.draw(st.integers(0, 2))] = put
    taken, aside = agree(bytes(text).replace(b"\n", b"") + b"\n", LISTS)
    assert bool(taken) + aside == 1


LINE = csv_bytes([reading(0)]).splitlines(keepends=True)[1]


def line(**changes: str) -> bytes:
    return csv_bytes([reading(0) | changes]).splitlines(keepends=True)[1]


class TestTakesQuickly:
    def test_lines_that_differ_in_channel_and_value_are_one_frame(self) -> None:
        text = (
            LINE + line(telemetry_name="gear", telemetry_value="3") + line(lap="4") + line(lap="4", telemetry_value="1")
        )

        taken = FastParser().parse_chunk(bytearray(text), 0, len(text), ALL, layout())

        assert taken.frames.readings.tolist() == [2, 2]
        assert taken.line.tolist() == [0, 2]

    def test_a_line_set_aside_begins_a_new_frame(self) -> None:
        text = LINE + b"odd\n" + LINE

        taken = FastParser().parse_chunk(bytearray(text), 0, len(text), ALL, layout())

        assert taken.line.tolist() == [0, 2]
        assert taken.aside == [(1, len(LINE), len(LINE) + 3)]

    @pytest.mark.parametrize(
        "columns",
        [
            list(reversed(COLUMNS)),
            [name for name in COLUMNS if name != "meta_session"],
            ["telemetry_value", *(name for name in COLUMNS if name != "telemetry_value")],
            ["telemetry_name", "telemetry_value", *COLUMNS[:8], *COLUMNS[10:]],
        ],
        ids=["reversed", "no session", "value far from its channel", "both first"],
    )
    def test_columns_in_any_order(self, columns: list[str]) -> None:
        rows = [reading(second, channel, str(second)) for second in (0, 1) for channel in ("speed", "gear", "nmot")]
        text = csv_bytes(rows, columns).split(b"\n", 1)[1]

        assert agree(text, layout(columns)) == (6, 0)

    def test_every_cell_in_quotes(self) -> None:
        cells = LINE.rstrip(b"\n").split(b",")
        text = (b",".join(b'"' + cell + b'"' for cell in cells) + b"\n") * 3

        assert agree(text, layout(is_quoted=True)) == (3, 0)

    def test_a_delimiter_in_quotes_is_no_end(self) -> None:
        text = LINE.replace(b"kafka:gr-raw", b'"kafka,gr"') + LINE

        assert agree(text, layout(is_quoted=True)) == (2, 0)

    def test_a_delimiter_at_the_end_of_every_line(self) -> None:
        text = LINE.rstrip(b"\n") + b",\n" + LINE.rstrip(b"\n") + b",\r\n"

        assert agree(text, layout()) == (2, 0)

    @pytest.mark.parametrize(
        "value", ["0.34600000000000003", "-16.900000000000002", "9007199254740993", "0." + "0" * 30 + "1", "1" * 40]
    )
    def test_numbers_of_many_digits_to_the_last_bit(self, value: str) -> None:
        said, aside, _ = quickly(line(telemetry_value=value), layout())

        assert said[0][3] == float(value)
        assert not aside

    @pytest.mark.parametrize("value", ["-0", "-0.0", "-0.00000000000000000000"])
    def test_a_zero_has_no_sign(self, value: str) -> None:
        said, _, _ = quickly(line(telemetry_value=value), layout())

        assert not np.signbit(said[0][3])

    @pytest.mark.parametrize(
        "value",
        [
            '[{"name": "speed", "value": 90.5}, {"name": "gear", "value": "3"}]',
            '[{"value":-1,"name":"speed"}]',
            ' [ { "name" : "speed" , "value" : 0.34600000000000003 } ] '.strip(),
        ],
    )
    def test_lists_of_readings(self, value: str) -> None:
        text = csv_bytes([listed(0, value), listed(1, value)], LISTED_COLUMNS).split(b"\n", 1)[1]

        said, aside, _ = quickly(text, LISTS)

        assert not aside
        assert len(said) == 2 * value.count("{")
        agree(text, LISTS)


class TestSetsAside:
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
    def test_what_is_not_written_as_usual(self, changes: dict[str, str]) -> None:
        assert agree(LINE + line(**changes) + LINE, layout()) == (2, 1)

    @pytest.mark.parametrize("odd", [b'"' + LINE, LINE[:-1] + b'"\n', LINE.replace(b"kafka", b'ka"fka')])
    def test_quotes_that_do_not_enclose_a_cell(self, odd: bytes) -> None:
        assert agree(odd, layout(is_quoted=True)) == (0, 1)

    def test_lines_of_a_file_of_lists_that_hold_none(self) -> None:
        text = b"one\n\ntwo\r\n\r\n"

        taken = FastParser().parse_chunk(bytearray(b"xx" + text), 2, len(text) + 2, ALL, LISTS)

        assert taken.aside == [(0, 2, 5), (2, 7, 11)]
        assert (taken.lines, taken.blank, taken.end) == (4, 2, len(text) + 2)


class TestRoom:
    def test_more_names_than_fit_are_taken_in_several_goes(self) -> None:
        text = b"".join(line(telemetry_name=f"channel_{number}") for number in range(2_500))
        reader, at, names = FastParser(), 0, set[str]()
        goes = 0
        while at < len(text):
            taken = reader.parse_chunk(bytearray(text), at, len(text), ALL, layout())
            at, goes = taken.end, goes + 1
            names.update(taken.channels)

        assert goes == 3
        assert names == {f"channel_{number}" for number in range(2_500)}

    def test_no_more_lines_are_taken_than_asked_for(self) -> None:
        text = LINE * 10

        taken = FastParser().parse_chunk(bytearray(text), 0, len(text), 3, layout())

        assert (taken.lines, taken.end) == (3, 3 * len(LINE))


_BOUNDS = """
import random
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import LISTED_COLUMNS, csv_bytes, listed, reading
from apex_pipeline_tests.sources.gr_cup.telemetry.test_fast_parser import LISTS, agree, layout

chance = random.Random(5)
good = csv_bytes([reading(s / 25, c, str(s)) for s in range(6) for c in ("speed", "gear")]).split(b"\\n", 1)[1]
lists = csv_bytes([listed(0, '[{"name": "speed", "value": 1}, {"name": "gear", "value": 3}]')] * 4, LISTED_COLUMNS)
taken = 0
for _ in range(2_000):
    text = bytearray(lists.split(b"\\n", 1)[1])
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(text))
        text[at : at + chance.randrange(3)] = chance.choice([b"", b",", b"\\n", b'"', b"{", b"]", b"9", b" "])
    taken += agree(bytes(text.rstrip(b"\\n") + b"\\n"), LISTS)[0]
assert taken > 8_000, taken
taken = 0
for _ in range(4_000):
    text = bytearray(good)
    for _ in range(chance.randrange(6)):
        at = chance.randrange(len(text))
        text[at : at + chance.randrange(3)] = chance.choice([b"", b",", b"\\n", b'"', b"\\r", b"\\0", b"9", b"\\xff"])
    taken += agree(bytes(text.rstrip(b"\\n") + b"\\n"), layout(is_quoted=chance.random() < 0.5))[0]
assert taken > 20_000, taken
"""


def test_no_access_leaves_the_arrays_whatever_is_damaged(tmp_path: Path) -> None:
    """The compiled loops do not check bounds; here they are compiled so that they do."""
    checked = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", _BOUNDS], env=checked, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr

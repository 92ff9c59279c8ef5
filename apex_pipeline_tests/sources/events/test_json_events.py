"""JSON is read in every form producers send, without losing a digit or a key, and a bad event costs only itself."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.sources.events.model import Event, EventLimits, EventReject
from apex_pipeline_tests.sources.events.reading import payloads, read, reasons, rejected_parts

_ONE, _TWO = {"a": 1}, {"a": "two", "b": [{"c": None}]}


@pytest.mark.parametrize(
    "content",
    [
        b'[{"a":1},{"a":"two","b":[{"c":null}]}]',
        b'{"a":1}\n{"a":"two","b":[{"c":null}]}\n',
        b'{"a":1}\r\n\r\n{"a":"two","b":[{"c":null}]}',
        b'{"a":1}{"a":"two","b":[{"c":null}]}',
        b'[\n  {\n    "a": 1\n  },\n  {\n    "a": "two",\n    "b": [{"c": null}]\n  }\n]\n',
        b'[{"a":1}][{"a":"two","b":[{"c":null}]}]',
        b'\xef\xbb\xbf{"a":1} {"a":"two","b":[{"c":null}]}',
        '\ufeff[{"a":1},{"a":"two","b":[{"c":null}]}]'.encode("utf-16-le"),
        '[{"a":1},{"a":"two","b":[{"c":null}]}]'.encode("utf-16-be"),
    ],
    ids=["list", "lines", "lines with CR", "no separator", "indented", "two lists", "mark", "UTF-16", "UTF-16BE"],
)
def test_every_form_gives_the_same_events(content: bytes) -> None:
    items = read(content)
    assert payloads(items) == [_ONE, _TWO]
    assert not reasons(items)


def test_one_object_is_one_event_and_empty_lists_have_none() -> None:
    assert payloads(read(b'{"events":[{"a":1}]}')) == [{"events": [{"a": 1}]}]
    assert read(b"[]") == read(b" [ ] \n") == []


def test_an_event_keeps_its_own_text() -> None:
    text = b'{"id":123456789012345678901234567890, "x":1e999,"x":0.10,  "y":1.000}'
    (event,) = read(b"[" + text + b"]")
    assert isinstance(event, Event)
    assert event.payload == text
    assert event.flags == ("big_number", "duplicate_keys")
    assert event.node["id"] == "123456789012345678901234567890"


@pytest.mark.parametrize(
    ("number", "is_big"),
    [("18446744073709551615", False), ("18446744073709551616", True), ("-9223372036854775808", False), ("1e400", True)],
)
def test_numbers_that_do_not_fit_into_64_bits_are_flagged(number: str, *, is_big: bool) -> None:
    (event,) = read(f'{{"n":{number}}}'.encode())
    assert isinstance(event, Event)
    assert event.flags == (("big_number",) if is_big else ())


_BAD = {
    "NaN": (b'{"a":NaN}', "not_a_number"),
    "Infinity": (b'{"a":-Infinity}', "not_a_number"),
    "lone surrogate": (b'{"a":"\\ud800"}', "lone_surrogate"),
    "lone surrogate as key": (b'{"\\udc00":1}', "lone_surrogate"),
    "not UTF-8": (b'{"a":"\xff"}', "undecodable"),
    "control character": (b'{"a":"\x01"}', "malformed_json"),
    "single quotes": (b"{'a':1}", "malformed_json"),
    "trailing comma": (b'{"a":1,}', "malformed_json"),
    "leading zero": (b'{"a":01}', "malformed_json"),
    "comment": (b'{"a":1/* */}', "malformed_json"),
    "bad escape": (b'{"a":"\\x"}', "malformed_json"),
    "mixed brackets": (b'{"a":[1}]', "unclosed"),
    "no value": (b'{"a"}', "malformed_json"),
    "quote missing": (b'{"a":"x}', "unclosed"),
    "bracket missing": (b'{"a":{"b":1}', "unclosed"),
    "number": (b"5", "not_an_object"),
    "text": (b'"x, y"', "not_an_object"),
    "nothing": (b"null", "not_an_object"),
    "list": (b'[{"a":1}]', "not_an_object"),
    "words": (b"oops", "malformed_json"),
}


# A line that is a list is a list of events.
_BAD_LINES = {name: case for name, case in _BAD.items() if name != "list"}


@pytest.mark.parametrize(("bad", "reason"), _BAD_LINES.values(), ids=_BAD_LINES)
def test_a_bad_line_costs_only_itself(bad: bytes, reason: str) -> None:
    content = b'{"a":1}\n' + bad + b'\n{"a":2}\n{"a":3}\n'
    items = read(content)
    assert payloads(items) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert reasons(items) == [reason]
    assert rejected_parts(content, items)[0].startswith(bad)


@pytest.mark.parametrize(("bad", "reason"), _BAD.values(), ids=_BAD)
def test_a_bad_entry_of_a_list_costs_only_itself(bad: bytes, reason: str) -> None:
    items = read(b'[{"a":1},' + bad + b',{"a":2},{"a":3}]')
    assert payloads(items) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert reasons(items)[0] == reason


def test_objects_inside_a_damaged_event_do_not_become_events() -> None:
    content = b'[\n  {\n    "a": "x,\n    "b": [\n      {"c": 1}\n    ]\n  },\n  {\n    "a": 2\n  }\n]\n'
    items = read(content)
    assert payloads(items) == [{"a": 2}]
    assert reasons(items) == ["unclosed"]


@pytest.mark.parametrize(
    ("content", "offsets"),
    [
        (b'[{"a":1}', [8]),
        (b'[{"a":1},', [9]),
        (b'[{"a":1},]', [9]),
        (b'[{"a":1}, \n]', [11]),
        (b'[,{"a":1}]', [1]),
        (b'[{"a":1},,{"a":1}]', [9]),
        (b'[{"a":1}, , ,{"a":1},,]', [10, 21, 22]),
        (b'[{"a":1}{"a":1}\n{"a":1}]', [8, 16]),
        (b'{"a":1}]', [7]),
        (b'{"a":1},{"a":1}', [7]),
        (b'[{"a":1}],[{"a":1}]', [9]),
        (b'[{"a":1}]]],{"a":1}', [9]),
    ],
)
def test_what_is_wrong_between_the_values_of_a_list_is_rejected_where_it_is(content: bytes, offsets: list[int]) -> None:
    items = read(content)
    assert payloads(items) == [{"a": 1}] * content.count(b"{")
    assert [item.offset for item in items if isinstance(item, EventReject)] == offsets
    assert set(reasons(items)) == {"envelope"}


def _accepted(text: str) -> list[Any] | None:
    """Return all objects of a file by the standard library; ``None`` if it has more than objects and lists of them."""
    decoder, found, index = json.JSONDecoder(), list[Any](), 0
    while (index := len(text) - len(text[index:].lstrip(" \n"))) < len(text):
        try:
            value, index = decoder.raw_decode(text, index)
        except json.JSONDecodeError:
            return None
        found += value if isinstance(value, list) else [value]
    return found if all(isinstance(value, dict) for value in found) else None


_TOKENS = st.sampled_from(
    ['{"a":1}', "{}", '{"b":[{}]}', "[", "]", ",", " ", "\n", "[]", "5", '"x"', "x", "}", '{"a":1,}']
)


@given(st.lists(_TOKENS, max_size=9).map("".join))
@settings(max_examples=300)
def test_a_file_is_right_exactly_if_a_strict_parser_accepts_it(text: str) -> None:
    items = read(text.encode())
    expected = _accepted(text)
    is_accepted = set(reasons(items)) <= {"empty_file", "no_events"}
    assert is_accepted == (expected is not None)
    if expected is not None:
        assert payloads(items) == expected


_BETWEEN = st.lists(st.sampled_from([",", ",", ",", " ", "\n", "x", "5", "null", "]"]), max_size=3).map("".join)


@given(st.lists(_BETWEEN, min_size=2, max_size=6))
@settings(max_examples=200)
def test_nothing_between_the_values_of_a_list_costs_a_value(between: list[str]) -> None:
    values = [f'{{"id":{number}}}' for number in range(len(between) - 1)]
    text = "[" + "".join(f"{value}{part}" for value, part in zip(["", *values], between, strict=True)) + "]"
    items = read(text.encode())
    assert payloads(items) == [json.loads(value) for value in values]
    assert bool(reasons(items)) == (_accepted(text) is None)


def test_the_limits_are_exact() -> None:
    limits = EventLimits(event_bytes=30, depth=3)
    assert reasons(read(b'{"a":[{}]}', limits)) == []
    assert reasons(read(b'{"a":[{"b":[]}]}', limits)) == ["too_deep"]
    assert reasons(read(b'{"a":"' + b"x" * 22 + b'"}', limits)) == []
    assert reasons(read(b'{"a":"' + b"x" * 23 + b'"}', limits)) == ["too_large"]


@pytest.mark.parametrize("body", [b'"a":' * 600_000, b"[" * 2_500_000, b'{"a":' * 400_000, b'"' + b"x" * 2_500_000])
def test_an_event_that_is_far_too_large_costs_only_itself(body: bytes) -> None:
    items = read(b'{"a":1}\n{' + body + b'\n{"a":1}\n')
    assert payloads(items) == [{"a": 1}, {"a": 1}]
    assert len(reasons(items)) == 1


_FAR = b'{"a":1},' * 400_000 + b'{"a":1}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be"])
@pytest.mark.parametrize(
    "value",
    [b'{"a":[' + _FAR + b"]}", b"[" + _FAR + b"]", b'{"a":"' + rb"\"},{},{\"a\":1}" * 200_000 + b'"}'],
    ids=["list inside", "list", "text"],
)
def test_what_is_inside_of_a_value_larger_than_the_window_is_no_event(value: bytes, encoding: str) -> None:
    content = b'[{"a":1},' + value + b',{"a":2}]'
    items = read(content.decode().encode(encoding))
    assert payloads(items) == [{"a": 1}, {"a": 2}]
    assert reasons(items) == ["too_large"]


def test_a_large_value_that_is_damaged_costs_no_event_behind_it() -> None:
    for damaged in (b'{"a":[' + _FAR + b"}", b'{"a":[' + _FAR):
        items = read(b'{"a":1}\n' + damaged + b'\n{"a":2}\n')
        assert payloads(items) == [{"a": 1}, {"a": 2}]
        assert len(reasons(items)) == 1


_INSIDE = st.lists(st.sampled_from(['{"id":0}', "[]", '"}{"', '"\\\\\\""', '"' + "y" * 50 + '"', "5"]), max_size=8)


@given(
    st.lists(st.one_of(st.just('{"id":1}'), _INSIDE.map(lambda parts: f'{{"id":[{",".join(parts)}]}}'))),
    st.integers(20, 200),
)
@settings(max_examples=150)
def test_values_are_whole_wherever_the_reads_end(values: list[str], block_bytes: int) -> None:
    limit = 40
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apex_pipeline.sources.events.window._BLOCK_BYTES", block_bytes)
        items = read(f"[{','.join(values)}]".encode(), EventLimits(event_bytes=limit))
    assert payloads(items) == [json.loads(value) for value in values if len(value) <= limit]
    assert reasons(items) == ["too_large"] * sum(len(value) > limit for value in values)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (b" \n", "no_events"),
        (b"\0" * 5_000, "not_events"),
        (b"a,b\n1,2\n", "not_events"),
        (b"\xef\xbb\xbf", "empty_file"),
    ],
)
def test_a_file_without_events_says_why(content: bytes, reason: str) -> None:
    assert reasons(read(content)) == [reason]


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), _VALUES, max_size=4)


@given(st.lists(_OBJECTS, min_size=1, max_size=4), st.sampled_from(["list", "indented", "lines", "ascii"]))
@settings(max_examples=60)
def test_values_are_those_of_two_other_parsers(objects: list[Any], form: str) -> None:
    if form in {"list", "ascii"}:
        content = json.dumps(objects, ensure_ascii=form == "ascii").encode()
    elif form == "indented":
        content = json.dumps(objects, indent=2).encode()
    else:
        content = b"\n".join(map(orjson.dumps, objects))
    items = read(content)
    assert [item.node for item in items if isinstance(item, Event)] == objects
    assert not reasons(items)
    if form != "lines":
        assert payloads(items) == json.loads(content)

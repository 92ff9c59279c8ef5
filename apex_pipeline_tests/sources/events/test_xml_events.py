"""Every well-formed XML event is read without loss, and a bad one costs only itself."""

import codecs
import socket
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.sources.events.model import DEFAULT_LIMITS, Event, EventLimits, EventReject, UnusableEventError
from apex_pipeline.sources.events.plain_xml import may_be_plain, parse_plain, with_line_feeds
from apex_pipeline.sources.events.xml_parser import parse_element
from apex_pipeline.sources.events.xml_shapes import ShapeCache
from apex_pipeline_tests.sources.events.documents import NAMESPACES, elements, events, plain_elements
from apex_pipeline_tests.sources.events.reading import (
    EVENT,
    canonical,
    canonical_2,
    payloads,
    read,
    reasons,
    rejected_parts,
    written,
)

_NODE = {"@id": "1", "NAME": "x"}


def test_a_namespaced_file_gives_its_events_and_not_an_empty_list() -> None:
    content = b'<e:EVENTS xmlns:e="urn:events"><e:EVENT e:id="7"><e:NAME>x</e:NAME></e:EVENT></e:EVENTS>'
    assert payloads(read(content)) == [{"@xmlns:e": "urn:events", "@e:id": "7", "e:NAME": "x"}]


def test_attributes_of_an_event_are_kept() -> None:
    assert payloads(read(b'<EVENTS><EVENT id="1" kind="pit"/></EVENTS>')) == [{"@id": "1", "@kind": "pit"}]


def test_nested_elements_are_kept() -> None:
    content = b"<EVENTS><EVENT><CAR><NO>7</NO><TYRE><KIND>S</KIND></TYRE></CAR></EVENT></EVENTS>"
    assert payloads(read(content)) == [{"CAR": {"NO": "7", "TYRE": {"KIND": "S"}}}]


def test_repeated_tags_become_lists() -> None:
    assert payloads(read(b"<EVENT><T>1</T><T>2</T><T>3</T></EVENT>")) == [{"T": ["1", "2", "3"]}]


def test_text_behind_a_child_is_kept_in_its_place() -> None:
    node = {"B": "bold", "#text": ["before ", " after"]}
    assert payloads(read(b"<EVENT>before <B>bold</B> after</EVENT>")) == [node]


def test_repeated_tags_that_do_not_follow_each_other_keep_their_order() -> None:
    node = {"A": ["1", "3"], "B": "2", "#order": ["A", "B", "A"]}
    assert payloads(read(b"<EVENT><A>1</A><B>2</B><A>3</A></EVENT>")) == [node]


def test_one_bad_event_costs_only_itself() -> None:
    bad = b"<EVENT><NAME>x</NOME></EVENT>"
    content = b"<EVENTS>" + EVENT + bad + EVENT + b"</EVENTS>"
    items = read(content)
    assert payloads(items) == [_NODE, _NODE]
    assert rejected_parts(content, items) == [bad]
    assert reasons(items) == ["malformed_xml"]


def test_the_reject_of_a_sample_that_is_not_well_formed_names_its_line() -> None:
    content = b"<EVENTS>\n" + EVENT + b"\n<EVENT>\n <NAME>A & B</NAME>\n</EVENT>\n</EVENTS>\n"
    _, bad = read(content)
    assert isinstance(bad, EventReject)
    assert bad.line == 3
    assert bad.content == b"<EVENT>\n <NAME>A & B</NAME>\n</EVENT>"
    assert bad.detail.endswith("line 2 of the event")


@pytest.mark.parametrize(
    "content",
    [
        b"<EVENTS>" + EVENT * 3 + b"</EVENTS>",
        EVENT * 3,
        b"\n".join([b'<?xml version="1.0"?>' + EVENT] * 3),
        b"<feed><page>" + EVENT + b"</page><page>" + EVENT * 2 + b"</page></feed>",
        b"<EVENTS><!-- <EVENT>no</EVENT> -->" + EVENT * 3 + b"<?p <EVENT/>?></EVENTS>",
        b"<EVENTS>" + EVENT * 3 + b"</EVENTS>\n\n",
    ],
    ids=["envelope", "bare", "declaration per event", "any root", "comments between", "white space"],
)
def test_the_events_are_found_in_every_envelope(content: bytes) -> None:
    assert [item.payload for item in read(content) if isinstance(item, Event)] == [b'{"@id":"1","NAME":"x"}'] * 3
    assert len(read(content)) == 3


def test_a_document_without_the_event_tag_is_one_event() -> None:
    (event,) = read(b'<?xml version="1.0"?>\n<log at="1"><entry>a</entry><entry/></log>\n<!-- end -->')
    assert isinstance(event, Event)
    assert (event.name, payloads([event])) == ("log", [{"@at": "1", "entry": ["a", ""]}])


@pytest.mark.parametrize(
    "content", [b"<EVENTS/>", b"<EVENTS>\n</EVENTS>", b"<x:events xmlns:x='urn:x'><!----></x:events>"]
)
def test_an_empty_envelope_has_no_events_and_no_rejects(content: bytes) -> None:
    assert read(content) == []


_DAMAGE = {
    "end tag missing": (b"<EVENT><NAME>x</NAME>", "unclosed"),
    "start tag misspelt": (b"<EVNT><NAME>x</NAME></EVENT>", "outside_events"),
    "start tag without end": (b"<EVENT <NAME>x</NAME></EVENT>", "malformed_xml"),
    "quote missing": (b'<EVENT id="1><NAME>x</NAME></EVENT>', "malformed_xml"),
    "attribute twice": (b'<EVENT a="1" a="2"></EVENT>', "malformed_xml"),
    "bare ampersand": (b"<EVENT>a & b</EVENT>", "malformed_xml"),
    "undeclared entity": (b"<EVENT>&x;</EVENT>", "undeclared_entity"),
    "control character": (b"<EVENT>\x01</EVENT>", "malformed_xml"),
    "zero byte": (b"<EVENT>\x00</EVENT>", "malformed_xml"),
    "not UTF-8": (b"<EVENT>\xff</EVENT>", "undecodable"),
    "surrogate in UTF-8": (b"<EVENT>\xed\xa0\x80</EVENT>", "undecodable"),
    "not a character": (b"<EVENT>\xef\xbf\xbf</EVENT>", "malformed_xml"),
    "character 0": (b"<EVENT>&#0;</EVENT>", "malformed_xml"),
    "end of CDATA": (b"<EVENT>]]></EVENT>", "malformed_xml"),
    "prefix unknown": (b"<EVENT><a:b/></EVENT>", "unbound_prefix"),
    "DOCTYPE inside": (b"<EVENT><!DOCTYPE x></EVENT>", "malformed_xml"),
    "declaration inside": (b"<EVENT><?xml version='1.0'?></EVENT>", "malformed_xml"),
    "text outside": (b"lost", "outside_events"),
    "element outside": (b"<count>3</count>", "outside_events"),
    "CDATA outside": (b"<![CDATA[<EVENT>]]>", "outside_events"),
    "end tag outside": (b"</other>", "outside_events"),
    "bracket outside": (b"<<<", "outside_events"),
}


@pytest.mark.parametrize(("damage", "reason"), _DAMAGE.values(), ids=_DAMAGE)
def test_reading_goes_on_at_the_next_event(damage: bytes, reason: str) -> None:
    content = b"<EVENTS>" + EVENT + damage + EVENT + b"\n" + EVENT + b"</EVENTS>"
    items = read(content)
    assert payloads(items)[-2:] == [_NODE, _NODE]
    assert reasons(items)[0] == reason
    assert payloads(items).count(_NODE) == 3
    assert len(items) <= 5


@pytest.mark.parametrize("cut", range(1, len(EVENT)))
def test_a_file_that_is_cut_off_anywhere_says_so(cut: int) -> None:
    items = read(b"<EVENTS>" + EVENT + EVENT[:cut])
    assert payloads(items) == [_NODE]
    assert reasons(items)


def test_a_file_cut_off_between_events_says_that_its_envelope_is_open() -> None:
    items = read(b"<EVENTS>" + EVENT)
    assert (payloads(items), reasons(items)) == ([_NODE], ["envelope"])


def test_a_nested_event_belongs_to_the_outer_one() -> None:
    assert payloads(read(b"<EVENT><EVENT>in</EVENT><EVENT/></EVENT>" + EVENT)) == [{"EVENT": ["in", ""]}, _NODE]


@pytest.mark.parametrize("name", ["event", "Event", "n:EVENT"])
def test_the_tag_is_matched_by_its_local_name_in_any_case(name: str) -> None:
    assert len(payloads(read(f'<r xmlns:n="urn:n"><{name}>x</{name}><{name}/></r>'.encode()))) == 2


_TEXT = (
    "<?xml version='1.0' encoding='{}'?>\n<EVENTS>\n"
    "<EVENT>caf\u00e9 \u20ac</EVENT>\n<EVENT><B>&</B></EVENT>\n<EVENT/></EVENTS>"
)
_ENCODINGS = {
    "UTF-8": ("utf-8", b""),
    "utf-8 with mark": ("utf-8", codecs.BOM_UTF8),
    "UTF-16": ("utf-16-le", codecs.BOM_UTF16_LE),
    "utf-16 big endian": ("utf-16-be", codecs.BOM_UTF16_BE),
    "UTF-16LE": ("utf-16-le", b""),
    "UTF-16BE": ("utf-16-be", b""),
    "ISO-8859-15": ("iso-8859-15", b""),
    "Windows-1252": ("cp1252", b""),
    "UTF-32": ("utf-32-le", codecs.BOM_UTF32_LE),
    "GB18030": ("gb18030", b""),
}


@pytest.mark.parametrize(
    ("declared", "codec", "mark"),
    [(name.split(" ")[0], *rest) for name, rest in _ENCODINGS.items()],
    ids=list(_ENCODINGS),
)
def test_every_encoding_is_read_and_offsets_are_those_of_the_file(declared: str, codec: str, mark: bytes) -> None:
    content = mark + _TEXT.format(declared).encode(codec)
    items = read(content)
    assert payloads(items) == ["caf\u00e9 \u20ac", ""]
    assert items[0].offset == content.index("<EVENT>".encode(codec))
    assert rejected_parts(content, items) == ["<EVENT><B>&</B></EVENT>".encode(codec)]
    bad = items[1]
    assert isinstance(bad, EventReject)
    assert bad.content == rejected_parts(content, items)[0]
    assert bad.line == 4


def test_each_event_is_read_in_the_encoding_of_its_own_declaration() -> None:
    one = '<?xml version="1.0" encoding="ISO-8859-1"?><EVENT>\u00e9</EVENT>'.encode("latin-1")
    other = '<?xml version="1.0"?><EVENT>\u00e9</EVENT>'.encode()
    assert payloads(read(one + other + one)) == ["\u00e9"] * 3


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (codecs.BOM_UTF8 + '<?xml version="1.0" encoding="ISO-8859-1"?><EVENT>\u00e9</EVENT>'.encode(), "\u00e9"),
        (
            codecs.BOM_UTF16_LE + '<?xml version="1.0" encoding="UTF-8"?><EVENT>\u00e9</EVENT>'.encode("utf-16-le"),
            "\u00e9",
        ),
        ('<?xml version="1.0" encoding="UTF-16"?><EVENT>\u00e9</EVENT>'.encode(), "\u00e9"),
    ],
    ids=["UTF-8 mark", "UTF-16 mark", "UTF-16 declared"],
)
def test_the_bytes_win_over_a_declaration_that_contradicts_them_and_the_event_is_flagged(
    content: bytes, text: str
) -> None:
    (event,) = read(content)
    assert isinstance(event, Event)
    assert payloads([event]) == [text]
    assert event.flags == ("contradicted_encoding",)


@pytest.mark.parametrize("name", ["ISO-2022-JP", "utf-7", "EBCDIC-CP-US", "no-such", "rot13"])
def test_an_encoding_that_is_not_supported_rejects_its_events(name: str) -> None:
    content = f'<?xml version="1.0" encoding="{name}"?><EVENT>x</EVENT>'.encode() + b'<?xml version="1.0"?>' + EVENT
    items = read(content)
    assert (reasons(items), payloads(items)) == (["unknown_encoding"], [_NODE])


def test_a_lone_surrogate_in_utf_16_costs_only_its_event() -> None:
    content = codecs.BOM_UTF16_LE + "<EVENTS><EVENT>\ud800</EVENT><EVENT>ok</EVENT></EVENTS>".encode(
        "utf-16-le", "surrogatepass"
    )
    items = read(content)
    assert (reasons(items), payloads(items)) == (["undecodable"], ["ok"])
    assert rejected_parts(content, items) == ["<EVENT>\ud800</EVENT>".encode("utf-16-le", "surrogatepass")]


_LAUGHS = (
    b'<!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(f'<!ENTITY {chr(b + 1)} "{f"&{chr(b)};" * 10}">'.encode() for b in range(ord("a"), ord("j")))
    + b"]>"
)
_EXTERNAL = b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd" [<!ENTITY j SYSTEM "%s"><!ENTITY %% p SYSTEM "%s">%%p;]>'


@pytest.mark.parametrize(
    "doctype",
    [
        _LAUGHS,
        _EXTERNAL % ((b"file:///etc/hostname",) * 2),
        _EXTERNAL % ((b"http://127.0.0.1:9/",) * 2),
        b"<!DOCTYPE EVENTS>",
    ],
    ids=["billion laughs", "external file", "external http", "name only"],
)
@pytest.mark.parametrize("has_envelope", [True, False])
def test_a_doctype_rejects_the_events_of_its_document_and_nothing_is_opened(
    doctype: bytes, *, has_envelope: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a connection or file was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    document = b"<EVENTS><EVENT>&j;</EVENT></EVENTS>" if has_envelope else b"<EVENT>&j;</EVENT>"
    items = read(b'<?xml version="1.0"?>' + doctype + document + b'<?xml version="1.0"?>' + EVENT)
    assert (reasons(items), payloads(items)) == (["doctype"], [_NODE])
    assert reasons(read(doctype + b"<log>&j;</log>")) == ["doctype"]


def test_the_limits_are_exact() -> None:
    limits = EventLimits(event_bytes=200, depth=3, attributes=2)
    assert reasons(read(b"<EVENT><A><B/></A></EVENT>", limits)) == []
    assert reasons(read(b"<EVENT><A><B>x</B></A></EVENT>", limits)) == []
    assert reasons(read(b"<EVENT><A><B><C/></B></A></EVENT>", limits)) == ["too_deep"]
    assert reasons(read(b"<EVENT><A><B><C>x</C></B></A></EVENT>", limits)) == ["too_deep"]
    assert reasons(read(b"<r xmlns='urn:r'><EVENT><A><B>&amp;</B></A></EVENT></r>", limits)) == []
    assert reasons(read(b'<EVENT a="1" b="2"/>', limits)) == []
    assert reasons(read(b'<EVENT a="1" b="2" c="3"/>', limits)) == ["too_many_attributes"]
    assert reasons(read(b"<EVENT>" + b"x" * 185 + b"</EVENT>", limits)) == []
    assert reasons(read(b"<EVENT>" + b"x" * 186 + b"</EVENT>", limits)) == ["too_large"]
    assert reasons(read(b"<EVENT>" + b"&" * 186 + b"</EVENT>", limits)) == ["too_large"]


@pytest.mark.parametrize(
    "body", [b"x" * 2_500_000, b"<A>" * 500_000, b"<A/>" * 500_000, b"<!--" * 500_000, b"<EVENT>" * 150_000]
)
def test_an_event_that_is_far_too_large_costs_only_itself(body: bytes) -> None:
    items = read(b"<EVENTS>" + EVENT + b"<EVENT>" + body + b"</EVENT>" + EVENT + b"</EVENTS>")
    assert payloads(items)[0] == _NODE
    assert payloads(items)[-1] == _NODE
    assert set(reasons(items)) <= {"too_large", "too_deep", "unclosed", "outside_events", "envelope"}


def test_nesting_deeper_than_the_limit_is_refused_before_it_costs_anything() -> None:
    assert reasons(read(b"<EVENT>" + b"<A>" * 50_000 + b"</A>" * 50_000 + b"</EVENT>")) == ["too_deep"]


@given(events())
@settings(max_examples=80)
def test_every_event_comes_back_in_canonical_form(event: str) -> None:
    (found,) = read(f"<EVENTS>{event}</EVENTS>".encode())
    assert isinstance(found, Event)
    (node,) = payloads([found])
    assert canonical(written("EVENT", node)) == canonical(event)
    assert canonical_2(written("EVENT", node)) == canonical_2(event)


@given(st.lists(elements(name="EVENT"), min_size=1, max_size=3))
@settings(max_examples=50)
def test_namespaces_of_the_envelope_are_part_of_every_event(inside: list[str]) -> None:
    found = read(f"<EVENTS{NAMESPACES}>{' '.join(inside)}</EVENTS>".encode())
    assert len(found) == len(inside)
    for event, node in zip(inside, payloads(found), strict=True):
        alone = event.replace("<EVENT", f"<EVENT{NAMESPACES}", 1)
        assert canonical(written("EVENT", node)) == canonical(alone)


@given(st.lists(plain_elements(), min_size=1, max_size=6))
@settings(max_examples=150)
def test_the_fast_parsers_agree_with_expat_or_leave_the_event_to_it(drawn: list[str]) -> None:
    shapes = ShapeCache()
    for text in map(with_line_feeds, filter(lambda text: may_be_plain(text.encode()), drawn * 4)):
        try:
            expected = parse_element(text)
        except UnusableEventError:
            expected = None
        plain, shaped = parse_plain(text, DEFAULT_LIMITS), shapes.parse(text)
        assert plain in (None, expected)
        assert shaped in (None, expected)
        if plain:
            shapes.learn(*plain)


def test_shapes_are_used_for_what_a_producer_repeats() -> None:
    shapes = ShapeCache()
    text = '<EVENT id="{0}">\n <A>{0}</A>\n <B/>\n</EVENT>'.replace("<B/>", "<B></B>")
    for number in range(3):
        plain = parse_plain(text.format(number), DEFAULT_LIMITS)
        assert plain
        assert shapes.parse(text.format(number)) is None
        shapes.learn(*plain)
    assert shapes.parse(text.format("x > y")) == parse_element(text.format("x > y"))
    assert shapes.parse(text.format("]]>")) is None
    assert shapes.parse(text.format("\uffff")) is None

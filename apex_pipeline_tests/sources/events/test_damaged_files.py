"""Files of every form, encoding and damage: typed rejects only, no crash, no hang, every byte accounted for.

Hundreds of generated documents, valid and invalid, are compared with parsers other than ours; thousands of mutated
files are only required to end well.
"""

import gzip
import json
import random
import time
import xml.etree.ElementTree as ET

import lxml.etree
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.sources.events.model import Event, EventLimits
from apex_pipeline_tests.sources.events.reading import EVENT, Item, canonical, payloads, read, reasons, written

_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-16", "iso-8859-1", "cp1252", "ascii")

# Inside of a root element: parts of documents, each with whether XML allows it.
_PARTS: dict[str, bool] = {
    "": True,
    "text": True,
    "<a/>": True,
    "<a></a>": True,
    "<a >x</a >": True,
    "<a b='1' c=\"2\"/>": True,
    "<a b='&lt;&quot;>'/>": True,
    "&amp;&lt;&gt;&apos;&quot;": True,
    "&#65;&#x42;": True,
    "<![CDATA[<&>]]>": True,
    "<![CDATA[]]]]><![CDATA[>]]>": True,
    "<!-- c -->": True,
    "<?pi data?>": True,
    "<p:a xmlns:p='urn:p' p:b='1'/>": True,
    "<a xmlns='urn:d'><b xmlns=''/></a>": True,
    "<a xml:space='preserve'> </a>": True,
    "a<b>c</b>d<b>e</b>f": True,
    "<a><b/><c/><b/></a>": True,
    "tab\tline\nend": True,
    "<a.b-c_d/>": True,
    "<a": False,
    "</a>": False,
    "<a></b>": False,
    "<a b=1/>": False,
    "<a b='1' b='2'/>": False,
    "<a b='<'/>": False,
    "<a b/>": False,
    "<a b='1'c='2'/>": False,
    "& ": False,
    "&x;": False,
    "&#x0;": False,
    "&#xFFFE;": False,
    "&#x110000;": False,
    "]]>": False,
    "<!-- a -- b -->": False,
    "<!-- a --->": False,
    "<?xml version='1.0'?>": False,
    "<1a/>": False,
    "<p:a/>": False,
    "<a xmlns:p=''/>": False,
    "<a p:b='1'/>": False,
    "<!DOCTYPE a>": False,
    "<![CDATA[": False,
    "<!": False,
    "\x02": False,
    "< a/>": False,
    "<a/ >": False,
    "<a//>": False,
}


def _documents() -> list[tuple[str, str, bool]]:
    """Return an encoding, a document and whether it is well-formed, for every part in every encoding and two roots."""
    return [
        (encoding, f"<{root}><x/>{part}</{root}>", is_valid)
        for encoding in _ENCODINGS
        for root in ("doc", "EVENT")
        for part, is_valid in _PARTS.items()
    ]


def _encoded(text: str, encoding: str) -> bytes:
    declared = {"utf-8-sig": "utf-8", "utf-16-le": "utf-16", "utf-16-be": "utf-16", "cp1252": "windows-1252"}.get(
        encoding, encoding
    )
    return f'<?xml version="1.0" encoding="{declared}"?>{text}'.encode(encoding)


def test_whole_documents_agree_with_an_independent_parser() -> None:
    documents = _documents()
    assert len(documents) > 700
    for encoding, text, is_valid in documents:
        items = read(_encoded(text, encoding))
        events = [item for item in items if isinstance(item, Event)]
        try:
            ET.fromstring(text)  # noqa: S314  -- our own text
            is_accepted = "<!DOCTYPE" not in text
        except ET.ParseError:
            is_accepted = False
        assert is_accepted == is_valid, text
        assert items, text
        if is_valid:
            assert len(items) == 1, (encoding, text, items)
            (node,) = payloads(events)
            assert canonical(written(events[0].name, node)) == canonical(text), (encoding, text)
        else:
            assert reasons(items), (encoding, text)


def _shape(node: object) -> object:
    """Return the texts and tags of a value by the rules of the mapping, without what only keeps order and space."""
    if isinstance(node, list):
        return [_shape(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _shape(value) for key, value in node.items() if key not in {"#text", "#order", "#comment", "#instruction"}
    }


def _by_lxml(element: lxml.etree._Element) -> object:
    if not len(element) and not element.attrib:
        return "".join(element.itertext())
    node: dict[str, object] = {f"@{name}": value for name, value in element.attrib.items()}
    for child in element.iterchildren(tag=lxml.etree.Element):
        found = _by_lxml(child)
        known = node.setdefault(child.tag, found)
        if known is not found:
            node[child.tag] = [*known, found] if isinstance(known, list) else [known, found]
    return node


_FIELDS = st.dictionaries(
    st.sampled_from(["A", "B", "C", "D"]),
    st.text(st.characters(codec="cp1252", exclude_categories=("Cc",)), max_size=6),
    max_size=4,
)


@given(st.lists(_FIELDS, min_size=1, max_size=4), st.sampled_from(["utf-8", "utf-16", "cp1252"]))
@settings(max_examples=100)
def test_values_are_those_of_lxml_in_every_encoding(rows: list[dict[str, str]], encoding: str) -> None:
    root = ET.Element("EVENTS")
    for row in rows:
        event = ET.SubElement(root, "EVENT", {"id": str(len(root))})
        for tag, text in row.items():
            ET.SubElement(event, tag).text = text
    content = ET.tostring(root, encoding=encoding, xml_declaration=True)
    expected = [_by_lxml(event) for event in lxml.etree.fromstring(content)]
    assert [_shape(node) for node in payloads(read(content))] == expected


_SEEDS = [
    b"<EVENTS>\n" + EVENT * 3 + b"\n</EVENTS>",
    b'<?xml version="1.0" encoding="ISO-8859-1"?>'
    + b"\n".join([EVENT, b"<EVENT>\xe9<![CDATA[x]]><!-- c -->&amp;</EVENT>"]),
    "\ufeff<?xml version='1.0' encoding='UTF-16'?><EVENTS><EVENT a='1'>\u00e9</EVENT><EVENT/></EVENTS>".encode(
        "utf-16-le"
    ),
    b'<!DOCTYPE r [<!ENTITY a "b">]><r xmlns:p="urn:p"><p:EVENT p:a="1"><EVENT/>&a;</p:EVENT>' + EVENT + b"</r>",
    b'[{"a":1,"b":[1.5,"\\u00e9"]},\n {"a":{"c":null}}]',
    b'{"a":1}\n{"a":"x"}\n{"a":[{}]}\n',
    '[{"a":"\u00e9"}]'.encode("utf-16-be"),
    gzip.compress(b"<EVENTS>" + EVENT * 5 + b"</EVENTS>", mtime=0),
]
_PIECES = [
    *(
        b"<EVENT>",
        b"</EVENT>",
        b"<EVENTS>",
        b"</EVENTS>",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<?xml ",
        b"?>",
        b"<!DOCTYPE x [",
        b"]>",
    ),
    *(
        b"&",
        b"&x;",
        b"<",
        b">",
        b"\0",
        b"\xff",
        b"\x01",
        b'"',
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"\\",
        b"\n",
        b"NaN",
        b'"\\ud800"',
    ),
]


def _mutated(seed: bytes, rnd: random.Random) -> bytes:
    content = bytearray(seed)
    for _ in range(rnd.randint(1, 6)):
        at = rnd.randint(0, len(content))
        kind = rnd.randrange(5)
        if kind == 0:
            content[at:at] = rnd.choice(_PIECES)
        elif kind == 1:
            del content[at : at + rnd.randint(1, 12)]
        elif kind == 2 and at < len(content):
            content[at] = rnd.randrange(256)
        elif kind == 3:
            content[at:at] = content[at : at + rnd.randint(1, 40)]
        else:
            del content[at:]
    return bytes(content)


def _check(content: bytes) -> list[Item]:
    """Read a file, and check that whatever is in it is accounted for; ``read`` checks the rest."""
    items = read(content)
    is_empty = content.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0[]") == b"" or not items
    assert items or is_empty
    return items


@given(st.sampled_from(_SEEDS), st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_a_mutated_file_gives_events_and_typed_rejects(seed: bytes, rnd: random.Random) -> None:
    _check(_mutated(seed, rnd))


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_give_events_and_typed_rejects(content: bytes) -> None:
    _check(content)


@pytest.mark.soak
def test_ten_thousand_mutated_files_give_events_and_typed_rejects_in_no_time() -> None:
    rnd = random.Random(16)  # noqa: S311  -- repeatable
    for _ in range(10_000):
        content = _mutated(rnd.choice(_SEEDS), rnd)
        started = time.process_time()
        _check(content)
        assert time.process_time() - started < 1


def test_a_mutation_inside_one_event_leaves_all_others() -> None:
    rnd = random.Random(7)  # noqa: S311  -- repeatable
    before, after = EVENT.replace(b"1", b"before"), EVENT.replace(b"1", b"after")
    for _ in range(300):
        at = rnd.randrange(1, len(EVENT) - 1)
        bad = EVENT[:at] + rnd.choice([b"\0", b"&", b"\xff", b"</x>", b""]) + EVENT[at + 1 :]
        found = payloads(read(b"<EVENTS>" + before + bad + after + after + b"</EVENTS>"))
        assert {"@id": "before", "NAME": "x"} in found
        assert found.count({"@id": "after", "NAME": "x"}) == 2, bad


def test_compressed_files_are_read_and_damage_to_them_is_a_reject() -> None:
    packed = gzip.compress(b"<EVENTS>" + EVENT * 3 + b"</EVENTS>")
    assert len(payloads(read(packed))) == 3
    assert reasons(read(packed[:10])) == ["damaged_compression"]
    assert reasons(read(packed[:20] + b"\xff" * 20))[-1] == "damaged_compression"
    bomb = gzip.compress(b"<EVENTS>" + EVENT + b" " * 5_000_000)
    assert reasons(read(bomb, EventLimits(file_bytes=1_000_000)))[-1] == "file_too_large"


@pytest.mark.parametrize("end", ["checksum", "cut off", "another file"])
def test_every_event_before_the_damage_of_a_compressed_file_is_read(end: str) -> None:
    packed = gzip.compress(b"<EVENTS>" + EVENT * 3_000 + b"</EVENTS>")
    damaged = {"checksum": packed[:-8] + bytes(8), "cut off": packed[:-8], "another file": packed + b"end"}[end]
    items = read(damaged)
    assert len(payloads(items)) == 3_000
    assert reasons(items) == ["damaged_compression"]


@pytest.mark.parametrize(
    "content",
    [
        b"[" + b'{"a":' * 50_000,
        b"{\n" * 50_000,
        b'[{"a":1},' + b'{"a":[' * 50_000,
        b"<EVENTS>" + b"<a>" * 400_000 + EVENT,
        b"<EVENTS>" + EVENT + b"<a>" * 400_000,
        b"<EVENTS>" + EVENT + b"".join(b"<a%d>" % number for number in range(100_000)) + EVENT,
        b"".join(b"<c><b%d>%b</c>" % (number, EVENT) for number in range(10_000)),
    ],
    ids=["objects", "lines", "lists", "tags", "tags behind an event", "other tags", "crossed tags"],
)
def test_what_is_opened_again_and_again_takes_seconds_and_not_hours(content: bytes) -> None:
    started_s = time.process_time()
    items = read(content)
    # Under a second each; it was minutes, and grew with the square of the size.
    assert time.process_time() - started_s < 8
    assert items[-1].offset + items[-1].length >= len(content.removesuffix(b"</c>"))


def test_a_comment_that_is_larger_than_what_is_read_at_once_hides_its_events() -> None:
    comment = b"<!--" + EVENT + b"y" * 3_000_000 + b"-->"
    assert reasons(read(b"<EVENTS>" + EVENT + comment + EVENT + b"</EVENTS>")) == []
    assert len(payloads(read(b"<EVENTS>" + EVENT + comment + EVENT + b"</EVENTS>"))) == 2
    wide = ("\ufeff<EVENTS>" + (comment + EVENT).decode() + "</EVENTS>").encode("utf-16-le")
    assert len(payloads(read(wide))) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_comment_that_is_never_closed_costs_no_event_behind_it(encoding: str) -> None:
    content = "\ufeff<EVENTS><!-- " + EVENT.decode() * 40_000
    assert len(payloads(read(content.encode(encoding)))) == 40_000


def test_byte_order_marks_between_appended_files_are_no_content() -> None:
    for encoding in ("utf-8", "utf-16-le"):
        document = f'\ufeff<?xml version="1.0" encoding="{encoding}"?>{EVENT.decode()}'
        items = read(document.encode(encoding) * 3)
        assert (len(payloads(items)), reasons(items)) == (3, [])
    assert reasons(read('\ufeff{"a":1}\n'.encode() * 3)) == []


def test_the_declaration_behind_stray_content_counts() -> None:
    late = '<?xml version="1.0" encoding="windows-1252"?><EVENT><A>é</A></EVENT>'.encode("cp1252")
    items = read(EVENT + b"stray" + late)
    assert (payloads(items)[-1], reasons(items)) == ({"A": "é"}, ["outside_events"])


@pytest.mark.parametrize("name", ["UTF-16", "UTF-16BE", "UTF-16LE", "UTF-32BE"])
def test_a_declared_width_that_the_bytes_do_not_have_is_flagged_and_read(name: str) -> None:
    (event,) = read(f'<?xml version="1.0" encoding="{name}"?>'.encode() + EVENT)
    assert isinstance(event, Event)
    assert event.flags == ("contradicted_encoding",)


def test_a_lone_surrogate_is_found_where_a_repeated_key_hides_it() -> None:
    assert reasons(read(rb'{"a":"\ud800","a":1,"b":1e999}')) == ["lone_surrogate"]


def test_a_file_beyond_the_limit_is_not_read() -> None:
    (reject,) = read(EVENT * 10, EventLimits(file_bytes=100))
    assert (str(reject.reason), reject.length) == ("file_too_large", len(EVENT) * 10)  # type: ignore[union-attr]


def test_events_are_found_wherever_the_reads_of_a_file_end(monkeypatch: pytest.MonkeyPatch) -> None:
    content = (
        b"<EVENTS>"
        + b"\n".join([EVENT, b"<EVENT>&amp;<!-- </EVENT> --></EVENT>", b"<EVENT><bad></EVENT>"] * 5)
        + b"</EVENTS>"
    )
    lines = b"\n".join([b'{"a":[1,2]}', b'{"a":"x', b'{"a":{}}'] * 5)
    expected = [(type(item), item.offset, item.length) for item in read(content)], [item.offset for item in read(lines)]
    limits = EventLimits(event_bytes=60)
    for size in range(1, 120, 7):
        monkeypatch.setattr("apex_pipeline.sources.events.window._BLOCK_BYTES", size)
        assert [(type(item), item.offset, item.length) for item in read(content, limits)] == expected[0]
        assert [item.offset for item in read(lines, limits)] == expected[1]


def test_orjson_and_json_agree_on_the_payloads_of_xml() -> None:
    for payload in [item.payload for item in read(_SEEDS[1]) if isinstance(item, Event)]:
        assert orjson.loads(payload) == json.loads(payload)

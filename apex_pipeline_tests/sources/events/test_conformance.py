"""Hundreds of documents after the productions of XML and JSON, in eight encodings, against parsers other than ours.

Whatever one of them accepts has equal values here, in canonical form; whatever it refuses has a reject, and costs the
events around it nothing.
"""

import json
import time
from typing import Any, NoReturn

import lxml.etree
import pytest

from apex_pipeline.sources.events.model import Event
from apex_pipeline_tests.sources.events.conformance import (
    JSON_VALUES,
    XML_DOCTYPES,
    XML_EPILOGS,
    XML_FRAGMENTS,
    XML_PROLOGS,
)
from apex_pipeline_tests.sources.events.reading import Item, canonical_2, payloads, read, reasons, written

_BEFORE, _AFTER = '<EVENT id="0"/>', '<EVENT id="9">z</EVENT>'
_DECLARED = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "iso-8859-1": "ISO-8859-1",
    "cp1252": "windows-1252",
    "ascii": "US-ASCII",
}
_FRAGMENTS = [(part, fragment) for part, fragments in XML_FRAGMENTS.items() for fragment in fragments]
# Longest time for one small file, in CPU seconds: the slowest takes 2 ms.
_LIMIT_S = 1.0


def _read(content: bytes) -> list[Item]:
    started_s = time.process_time()
    items = read(content)
    assert time.process_time() - started_s < _LIMIT_S
    return items


def _lxml_root(text: str) -> lxml.etree._Element | None:
    """Return the root of a document without DTD and entities, or ``None`` if libxml2 refuses it or it has either."""
    parser = lxml.etree.XMLParser(resolve_entities=False, no_network=True, strip_cdata=False)
    try:
        root = lxml.etree.fromstring(text.encode(), parser)
    except lxml.etree.XMLSyntaxError:
        return None
    has_entity = any(isinstance(node, lxml.etree._Entity) for node in root.iter())
    return None if has_entity or root.getroottree().docinfo.doctype else root


def _canonical_of(element: lxml.etree._Element) -> str:
    return canonical_2(lxml.etree.tostring(element, encoding="unicode", with_tail=False))


def _check_xml(text: str, encoding: str) -> None:
    """Compare the events of a document with those libxml2 finds in it."""
    content = (f'<?xml version="1.0" encoding="{_DECLARED[encoding]}"?>' + text).encode(encoding)
    items, root = _read(content), _lxml_root(text)
    events = [item for item in items if isinstance(item, Event)]
    if root is None:
        assert reasons(items), (encoding, text)
        return
    elements = [root] if root.tag != "EVENTS" else list(root.iterchildren(tag=lxml.etree.Element))
    found = [canonical_2(written(event.name, node)) for event, node in zip(events, payloads(items), strict=True)]
    assert found == [_canonical_of(element) for element in elements], (encoding, text, items)
    assert reasons(items) == [], (encoding, text)


def _encoded_in(text: str) -> list[str]:
    return [encoding for encoding in _DECLARED if _can_encode(text, encoding)]


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize("part", XML_FRAGMENTS)
def test_an_event_has_the_content_that_libxml2_finds_and_costs_others_nothing(part: str) -> None:
    for fragment in XML_FRAGMENTS[part]:
        text = f"<EVENTS>\n{_BEFORE}<EVENT>{fragment}</EVENT>\n{_AFTER}</EVENTS>"
        _check_xml(text, "utf-8")
        assert {"@id": "0"} in payloads(_read(text.encode())), fragment


def test_a_document_that_is_one_event_has_the_content_that_libxml2_finds_in_every_encoding() -> None:
    documents = 0
    for number, (_, fragment) in enumerate(_FRAGMENTS):
        text = f"<EVENT>{fragment}</EVENT>"
        encodings = _encoded_in(text)
        # Two encodings each, by turns; all of them in the soak.
        for encoding in {encodings[number % len(encodings)], encodings[-1 - number % len(encodings)]}:
            _check_xml(text, encoding)
            documents += 1
    assert documents > 300


@pytest.mark.soak
def test_all_documents_have_the_content_that_libxml2_finds_in_every_encoding() -> None:
    for _, fragment in _FRAGMENTS:
        for text in (f"<EVENT>{fragment}</EVENT>", f"<EVENTS>{_BEFORE}<EVENT>{fragment}</EVENT>{_AFTER}</EVENTS>"):
            for encoding in _encoded_in(text):
                _check_xml(text, encoding)


def test_what_stands_around_a_document_changes_nothing_of_its_events() -> None:
    for prolog in XML_PROLOGS:
        for epilog in XML_EPILOGS:
            items = _read(f"{prolog}<EVENTS>{_BEFORE}{_AFTER}</EVENTS>{epilog}".encode())
            assert payloads(items) == [{"@id": "0"}, {"@id": "9", "#text": "z"}], (prolog, epilog)
            assert reasons(items) == [], (prolog, epilog)


@pytest.mark.parametrize("doctype", XML_DOCTYPES)
def test_every_doctype_rejects_the_events_of_its_document_alone(doctype: str) -> None:
    document = f"{doctype}<EVENTS>{_BEFORE}<EVENT>&e;</EVENT></EVENTS>"
    items = _read(f"{document}\n<?xml version='1.0'?><EVENTS>{_AFTER}</EVENTS>".encode())
    assert payloads(items) == [{"@id": "9", "#text": "z"}]
    assert reasons(items) == ["doctype", "doctype"]


@pytest.mark.parametrize(
    ("document", "payload"),
    [
        ("<doc><!-- <EVENT> --></doc>", {"#comment": " <EVENT> "}),
        ("<doc><?p <EVENT>?></doc>", {"#instruction": "p <EVENT>"}),
        ("<doc><![CDATA[<EVENT>]]></doc>", "<EVENT>"),
        ("<doc>x<![CDATA[<EVENT></EVENT>]]></doc>", "x<EVENT></EVENT>"),
    ],
)
def test_a_tag_in_a_comment_or_text_makes_no_event_and_loses_none(document: str, payload: object) -> None:
    items = _read(document.encode())
    assert (payloads(items), reasons(items)) == ([payload], [])


def test_a_tag_in_the_text_between_events_is_part_of_what_is_rejected() -> None:
    items = _read(f"<EVENTS>{_BEFORE}<![CDATA[<EVENT>x</EVENT>]]>{_AFTER}</EVENTS>".encode())
    assert [item.length for item in items] == [len(_BEFORE), len("<![CDATA[<EVENT>x</EVENT>]]>"), len(_AFTER)]
    assert reasons(items) == ["outside_events"]


def test_windows_line_ends_are_those_of_other_systems() -> None:
    text = '<EVENTS>\n<EVENT id="1">\n <A>x\ny</A>\n</EVENT>\n</EVENTS>\n'
    for ending in ("\n", "\r\n", "\r"):
        items = _read(text.replace("\n", ending).encode() * 6)
        assert payloads(items) == [{"@id": "1", "A": "x\ny", "#text": ["\n ", "\n"]}] * 6


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _by_json(text: str) -> Any:
    """Return a value by Python's parser, without what it accepts beyond JSON; raises ``ValueError``."""
    value = json.loads(text, parse_constant=_refuse)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _accepted(text: str) -> bool:
    try:
        _by_json(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("form", ['{"e":%s}', '{"k":0}\n{"e":%s}\n{"k":2}', '[{"k":0},{"e":%s},{"k":2}]'])
def test_a_json_event_has_the_value_that_json_finds_and_costs_others_nothing(form: str) -> None:
    accepted = 0
    for number, value in enumerate(JSON_VALUES):
        text = form.replace("%s", value)
        items = _read(text.encode(("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le")[number % 5]))
        found = [json.loads(item.payload) for item in items if isinstance(item, Event)]
        event = '{"e":' + value + "}"
        others = [] if form[1] == '"' and "\n" not in form else [{"k": 0}, {"k": 2}]
        if _accepted(event):
            accepted += 1
            assert found == [*others[:1], json.loads(event), *others[1:]], text
            assert reasons(items) == [], text
        else:
            assert reasons(items), text
            assert [node for node in found if "k" in node] == others, text
    assert accepted > 60


@pytest.mark.parametrize("value", ["1", '"a"', "null", "true", "[1]", "[[]]", "-0.5", '[1,"a",null]'])
def test_json_that_holds_no_objects_is_rejected_and_not_empty(value: str) -> None:
    items = _read(value.encode())
    assert reasons(items)
    assert payloads(items) == []

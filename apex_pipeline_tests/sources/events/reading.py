"""Reads events from bytes, and canonical forms of XML by parsers other than ours."""

import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import lxml.etree
import orjson

from apex_pipeline.sources.events.model import DEFAULT_LIMITS, Event, EventLimits, EventReject, Node
from apex_pipeline.sources.events.reader import read_events
from apex_pipeline.sources.events.xml_mapping import to_xml

Item = Event | EventReject
EVENT = b'<EVENT id="1"><NAME>x</NAME></EVENT>'


def read(content: bytes, limits: EventLimits = DEFAULT_LIMITS, event_tag: str = "EVENT") -> list[Item]:
    """Return the events and rejects of a file, after checking what is true of every file."""
    items = list(read_events(io.BytesIO(content), event_tag, limits))
    assert [item.position for item in items] == list(range(len(items)))
    end = 0
    for item in items:
        assert item.offset >= end
        assert item.length >= 0
        end = item.offset + item.length
        if isinstance(item, Event):
            orjson.loads(item.payload) if not item.flags else item.payload.decode()
    return items


def payloads(items: Sequence[Item]) -> list[Node]:
    return [orjson.loads(item.payload) for item in items if isinstance(item, Event)]


def reasons(items: Sequence[Item]) -> list[str]:
    return [str(item.reason) for item in items if isinstance(item, EventReject)]


def rejected_parts(content: bytes, items: Sequence[Item]) -> list[bytes]:
    return [content[item.offset : item.offset + item.length] for item in items if isinstance(item, EventReject)]


def canonical(xml: str | bytes) -> bytes:
    """Return the canonical form (C14N 1.0, with comments) by libxml2; no DTD or entity is read."""
    parser = lxml.etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, strip_cdata=False)
    return lxml.etree.tostring(
        lxml.etree.fromstring(xml.encode() if isinstance(xml, str) else xml, parser), method="c14n", with_comments=True
    )


def canonical_2(xml: str) -> str:
    """Return the canonical form (C14N 2.0, with comments) by the standard library."""
    return ET.canonicalize(xml, with_comments=True)


def written(tag: str, node: Node) -> str:
    return to_xml(tag, node)

"""Defines what reading a file of events gives: events and rejects with their place in the file, and the limits.

Every event of a file is either an :class:`Event` or an :class:`EventReject`, never both and never neither. See
``reader.py`` for reading.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

# A payload as it is written to JSON.
Node = Any


class Reason(StrEnum):
    """Why a part of a file is not an event."""

    MALFORMED_XML = "malformed_xml"
    UNCLOSED = "unclosed"
    DOCTYPE = "doctype"
    UNDECLARED_ENTITY = "undeclared_entity"
    UNBOUND_PREFIX = "unbound_prefix"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"
    UNDECODABLE = "undecodable"
    UNKNOWN_ENCODING = "unknown_encoding"
    OUTSIDE_EVENTS = "outside_events"
    ENVELOPE = "envelope"
    MALFORMED_JSON = "malformed_json"
    NOT_A_NUMBER = "not_a_number"
    LONE_SURROGATE = "lone_surrogate"
    NOT_AN_OBJECT = "not_an_object"
    EMPTY_FILE = "empty_file"
    NO_EVENTS = "no_events"
    FILE_TOO_LARGE = "file_too_large"
    DAMAGED_COMPRESSION = "damaged_compression"
    NOT_EVENTS = "not_events"


# What each reason says to people; never with a cell of the file, which may be personal.
EXPLANATIONS: Final[dict[Reason, str]] = {
    Reason.MALFORMED_XML: "The event is not well-formed XML.",
    Reason.UNCLOSED: "The event, string or comment that starts here is never closed.",
    Reason.DOCTYPE: "The document has a DOCTYPE; entities and defaults of a DTD are never expanded.",
    Reason.UNDECLARED_ENTITY: "The event refers to an entity other than lt, gt, amp, quot and apos.",
    Reason.UNBOUND_PREFIX: "A namespace prefix is used without a valid declaration.",
    Reason.TOO_DEEP: "Elements, objects or lists are nested deeper than the limit.",
    Reason.TOO_LARGE: "The event is larger than the limit.",
    Reason.TOO_MANY_ATTRIBUTES: "An element has more attributes than the limit.",
    Reason.UNDECODABLE: "Bytes are not valid text in the encoding of the document.",
    Reason.UNKNOWN_ENCODING: "The declared encoding is not supported.",
    Reason.OUTSIDE_EVENTS: "Content between events that belongs to none of them.",
    Reason.ENVELOPE: "The tags around the events do not match: the file may be cut off.",
    Reason.MALFORMED_JSON: "The event is not valid JSON.",
    Reason.NOT_A_NUMBER: "NaN and Infinity are not JSON.",
    Reason.LONE_SURROGATE: "A string contains half a character (a lone surrogate).",
    Reason.NOT_AN_OBJECT: "The value is not a JSON object.",
    Reason.EMPTY_FILE: "The file has no content.",
    Reason.NO_EVENTS: "The file has no events, and no other content.",
    Reason.FILE_TOO_LARGE: "The file is larger than the limit and was not read.",
    Reason.DAMAGED_COMPRESSION: "The compressed file is damaged or cut off; what came before was read.",
    Reason.NOT_EVENTS: "The file is neither XML nor JSON.",
}

# Flags of events that were read, but are not quite as they should be.
CONTRADICTED_ENCODING: Final = "contradicted_encoding"
BIG_NUMBER: Final = "big_number"
DUPLICATE_KEYS: Final = "duplicate_keys"


@dataclass(frozen=True)
class EventLimits:
    """Limits within which files of events are read.

    Attributes:
        event_bytes: Largest event. Real ones have about 2 kB; the limit bounds the memory of every step after this.
        file_bytes: Largest file, 200 times the size at which producers rotate.
        depth: Deepest nesting of an event; expat itself would read any depth, and JSON readers would not.
        attributes: Most attributes of one element.
    """

    event_bytes: int = 1_000_000
    file_bytes: int = 1_000_000_000
    depth: int = 100
    attributes: int = 1_000


DEFAULT_LIMITS: Final = EventLimits()


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a file.

    Attributes:
        position: Place among the events of the file, from 0; rejects count, so that it never changes.
        offset: First byte of the event in the file.
        length: Number of bytes in the file.
        name: Tag of an XML event, without prefix; empty for JSON.
        payload: The event as JSON text; see ``xml_mapping.py``. JSON events keep their own text.
        node: The event as parsed, for columns.
        flags: What is odd about it, sorted.
        is_plain: No name in it has a prefix.
    """

    position: int
    offset: int
    length: int
    name: str
    payload: bytes
    node: Node
    flags: tuple[str, ...] = ()
    is_plain: bool = True


@dataclass(frozen=True, slots=True)
class EventReject:
    """A part of a file that should be an event and cannot be used.

    Attributes:
        position: As of :class:`Event`.
        offset: First byte in the file.
        length: Number of bytes in the file.
        line: Line of that byte, from 1.
        reason: What is wrong.
        detail: Where in the part it is wrong, in words without content of the file.
        content: The first bytes of the part, as they are in the file.
    """

    position: int
    offset: int
    length: int
    line: int
    reason: Reason
    detail: str
    content: bytes


class UnusableEventError(Exception):
    """An event cannot be used; caught by the readers, which turn it into an :class:`EventReject`.

    Args:
        reason: What is wrong.
        detail: Where, in words without content of the file.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail

"""Parses plain XML events with one regular expression: the fast way for what most producers send.

An event is plain if it has only elements, attributes in double quotes and text: no entities, comments, CDATA,
instructions, namespaces or unusual names. What is not plain, or not well-formed, is left to ``xml_parser.py``, which
alone decides what is wrong with an event. Tests compare the two on every kind of input.
"""

import re

from apex_pipeline.sources.events.model import EventLimits, Node
from apex_pipeline.sources.events.xml_mapping import TEXT, add_child, element

_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*+"
# What else must not be in a text is looked for in the whole event first: one excluded character is matched twice as
# fast as a set of them.
CHARACTERS = r"[^<]*+"
VALUE = r"[^<\"\t\n]*+"
_ATTRIBUTE = rf"(?: {_NAME}=\"{VALUE}\")"
# Text, followed by a whole element without attributes and children (most are), or a start tag, or an end tag.
_PIECE = re.compile(rf"({CHARACTERS})<(?:({_NAME})>({CHARACTERS})</\2>|({_NAME})({_ATTRIBUTE}*+) ?(/?)>|/({_NAME})>)")
_ONE_ATTRIBUTE = re.compile(rf" ({_NAME})=\"({VALUE})\"")
# All bytes but "&", which starts a reference, and the control characters that are forbidden.
_PLAIN_BYTES = bytes(byte for byte in (9, 10, 13, *range(0x20, 0x100)) if byte != ord("&"))

# Per open element: tag, attributes, tags of children, children, texts.
_Open = tuple[str, dict[str, Node], list[str], dict[str, Node], list[str]]


def may_be_plain(content: bytes) -> bool:
    """Return whether an element has neither references nor forbidden control characters.

    Args:
        content: The element, in an encoding whose bytes below 0x30 are those of ASCII.
    """
    return not content.translate(None, _PLAIN_BYTES)


def with_line_feeds(text: str) -> str:
    """Return a text with all line ends as a parser reports them."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def parse_plain(text: str, limits: EventLimits) -> tuple[str, Node] | None:
    """Return tag and value of an element, as ``xml_parser.parse_element`` does; ``None`` if it is not plain.

    Args:
        text: The element, without anything around it: one that :func:`may_be_plain`, and :func:`with_line_feeds`.
        limits: Limits on depth and attributes.
    """
    if _is_unusual(text):
        return None
    # Without the characters excluded above, findall can skip nothing but a "<", or a rest without one.
    if text.find(">", text.rfind("<")) != len(text) - 1:
        return None
    pieces = _PIECE.findall(text)
    leaves = text.count("<") - len(pieces)
    return _flat(pieces, leaves, limits) or _built(pieces, leaves, limits)


def _is_unusual(text: str) -> bool:
    """Return whether text has what is forbidden, or signs of namespaces."""
    return "xmlns" in text or has_forbidden(text)


def has_forbidden(text: str) -> bool:
    """Return whether a text has what no text of XML may have, apart from control characters."""
    # One character is found much faster than three, and is rare.
    if "]" in text and "]]>" in text:
        return True
    return not text.isascii() and ("\ufffe" in text or "\uffff" in text)


def _flat(pieces: list[tuple[str, ...]], leaves: int, limits: EventLimits) -> tuple[str, Node] | None:
    """Return what :func:`_built` does for a list of fields, each of another tag: twice as fast as piece by piece."""
    if leaves != len(pieces) - 2 or not leaves or pieces[0][0] or pieces[0][3] != pieces[-1][6] or limits.depth <= 1:
        return None
    texts, tags, values, *_ = zip(*pieces[1:-1], strict=True)
    children = dict(zip(tags, values, strict=True))
    attributes = _attributes(pieces[0][4], limits)
    # An empty tag belongs to a piece that is not a whole element.
    if attributes is None or len(children) < leaves or "" in children or pieces[0][5]:
        return None
    node: dict[str, Node] = {**attributes, **children}
    pieces_of_text = [*texts, pieces[-1][0]]
    if any(pieces_of_text):
        node[TEXT] = pieces_of_text
    return pieces[0][3], node


def _built(pieces: list[tuple[str, ...]], leaves: int, limits: EventLimits) -> tuple[str, Node] | None:
    """Return tag and value of the outermost element; ``None`` if tags do not match or a limit is exceeded.

    Args:
        pieces: The matches of ``_PIECE``.
        leaves: How many of them must be whole elements, which have a second "<".
        limits: Limits on depth and attributes.
    """
    opened: list[_Open] = []
    tag, attributes, tags, children, texts = "", {}, [], {}, []
    for text, leaf, value, start, written, is_empty, end in pieces:
        texts.append(text)
        if leaf:
            leaves -= 1
            tags.append(leaf)
            if leaf in children:
                add_child(children, leaf, value)
            else:
                children[leaf] = value
            continue
        if start:
            opened.append((tag, attributes, tags, children, texts))
            found = _attributes(written, limits)
            if found is None or len(opened) >= limits.depth:
                return None
            tag, attributes, tags, children, texts = start, found, [], {}, []
            if not is_empty:
                continue
        elif end != tag:
            return None
        # The text of an empty tag was that before it.
        node = element(attributes, tags, children, texts or [""])
        closed = tag
        tag, attributes, tags, children, texts = opened.pop()
        tags.append(closed)
        add_child(children, closed, node)
    is_whole = not leaves and not opened and len(tags) == 1 and texts == [""]
    return (tags[0], children[tags[0]]) if is_whole else None


def _attributes(written: str, limits: EventLimits) -> dict[str, Node] | None:
    """Return the attributes of a start tag; ``None`` if one is there twice, or there are too many."""
    if not written:
        return {}
    found = _ONE_ATTRIBUTE.findall(written)
    attributes: dict[str, Node] = {f"@{name}": value for name, value in found}
    return attributes if len(attributes) == len(found) <= limits.attributes else None

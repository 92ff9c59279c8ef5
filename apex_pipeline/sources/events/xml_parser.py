"""Parses one XML event with expat into the value that ``xml_mapping.py`` describes.

Contains the reference parser: it decides what is well-formed, what a name is and what an entity stands for. DTDs and
external references are never read, and no entity but the five of XML is ever replaced. ``plain_xml.py`` is faster and
gives the same for events without anything unusual.
"""

from collections.abc import Mapping
from typing import Any
from xml.parsers import expat

from apex_pipeline.sources.events.model import DEFAULT_LIMITS, EventLimits, Node, Reason, UnusableEventError
from apex_pipeline.sources.events.xml_mapping import (
    COMMENT,
    INSTRUCTION,
    add_child,
    declarations,
    element,
    start_tag,
    with_inherited,
)

# Parts the namespace, name and prefix that expat reports. No XML text can contain this character.
_SEPARATOR = "\x01"
_WRAPPER = "apex"
_REASONS = {
    expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]: Reason.UNDECLARED_ENTITY,
    expat.errors.codes[expat.errors.XML_ERROR_UNBOUND_PREFIX]: Reason.UNBOUND_PREFIX,
    expat.errors.codes[expat.errors.XML_ERROR_UNDECLARING_PREFIX]: Reason.UNBOUND_PREFIX,
    expat.errors.codes[expat.errors.XML_ERROR_RESERVED_PREFIX_XML]: Reason.UNBOUND_PREFIX,
    expat.errors.codes[expat.errors.XML_ERROR_RESERVED_PREFIX_XMLNS]: Reason.UNBOUND_PREFIX,
    expat.errors.codes[expat.errors.XML_ERROR_RESERVED_NAMESPACE_URI]: Reason.UNBOUND_PREFIX,
    expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]: Reason.UNCLOSED,
    expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN]: Reason.UNCLOSED,
    expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION]: Reason.UNCLOSED,
}


def parse_element(
    text: str, inherited: Mapping[str, str] | None = None, limits: EventLimits = DEFAULT_LIMITS
) -> tuple[str, Node]:
    """Return the tag of an element, with its prefix, and its value.

    Args:
        text: The element, without anything around it.
        inherited: Namespaces by prefix that the elements around it declare; the empty prefix is the default namespace.
        limits: Limits on depth and attributes.

    Raises:
        UnusableEventError: It is not well-formed, refers to an entity or exceeds a limit.
    """
    inherited = inherited or {}
    return _Builder(limits, depth_around=bool(inherited)).parse(_wrapped(text, inherited), inherited)


def parse_document(text: str, limits: EventLimits = DEFAULT_LIMITS) -> tuple[str, Node]:
    """Return tag and value of the root of a document, which may have a declaration, but no DOCTYPE.

    Raises:
        UnusableEventError: As of :func:`parse_element`.
    """
    return _Builder(limits).parse([text.encode()], {})


def _wrapped(text: str, inherited: Mapping[str, str]) -> list[bytes]:
    """Return the element inside another one that declares the namespaces it inherits."""
    if not inherited:
        return [text.encode()]
    return [start_tag(_WRAPPER, declarations(inherited)).encode(), text.encode(), f"</{_WRAPPER}>".encode()]


class _Builder:
    """Builds the value of one element from what expat reports."""

    def __init__(self, limits: EventLimits, *, depth_around: int = 0) -> None:
        self._limits = limits
        self._depth_around = depth_around
        self._parser = expat.ParserCreate("utf-8", _SEPARATOR)
        # One report for each piece of text instead of one for each line and entity.
        self._parser.buffer_text = True
        self._parser.ordered_attributes = True
        self._parser.namespace_prefixes = True
        self._declared: dict[str, str] = {}
        # Per open element: tag, attributes, tags of children, children, texts.
        self._open: list[tuple[str, dict[str, Node], list[str], dict[str, Node], list[str]]] = [("", {}, [], {}, [""])]
        self._set_handlers()

    def _set_handlers(self) -> None:
        parser = self._parser
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.CommentHandler = self._comment
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartNamespaceDeclHandler = self._declare
        parser.StartDoctypeDeclHandler = self._refuse_doctype

    def parse(self, parts: list[bytes], inherited: Mapping[str, str]) -> tuple[str, Node]:
        """Return tag and value of the outermost element, or of the one inside the wrapper."""
        try:
            for number, part in enumerate(parts, start=1):
                self._parser.Parse(part, number == len(parts))
        except expat.ExpatError as error:
            reason = _REASONS.get(error.code, Reason.MALFORMED_XML)
            where = f"line {error.lineno} of the event"
            raise UnusableEventError(reason, f"{expat.errors.messages[error.code]}, {where}") from None
        children = self._open[0][3]
        if inherited:
            children = children[_WRAPPER]
        tag = next(tag for tag in children if tag[0] not in "@#")
        return tag, with_inherited(children[tag], inherited) if inherited else children[tag]

    def _start(self, name: str, attributes: list[str]) -> None:
        if len(self._open) - self._depth_around > self._limits.depth:
            raise UnusableEventError(Reason.TOO_DEEP, f"more than {self._limits.depth} elements deep")
        if len(attributes) > 2 * self._limits.attributes:
            raise UnusableEventError(Reason.TOO_MANY_ATTRIBUTES, f"more than {self._limits.attributes}")
        found: dict[str, Node] = {f"@{name}": uri for name, uri in self._declared.items()}
        self._declared = {}
        for index in range(0, len(attributes), 2):
            found["@" + _written(attributes[index])] = attributes[index + 1]
        self._open.append((_written(name), found, [], {}, [""]))

    def _end(self, _name: str) -> None:
        tag, attributes, tags, children, texts = self._open.pop()
        self._add(tag, element(attributes, tags, children, texts))

    def _add(self, tag: str, child: Node) -> None:
        _, _, tags, children, texts = self._open[-1]
        tags.append(tag)
        add_child(children, tag, child)
        texts.append("")

    def _text(self, text: str) -> None:
        self._open[-1][4][-1] += text

    def _comment(self, text: str) -> None:
        self._add(COMMENT, text)

    def _instruction(self, target: str, data: str) -> None:
        self._add(INSTRUCTION, f"{target} {data}" if data else target)

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._declared[f"xmlns:{prefix}" if prefix else "xmlns"] = uri or ""

    def _refuse_doctype(self, *_: Any) -> None:  # noqa: ANN401  -- expat's arguments, none of which is used
        raise UnusableEventError(Reason.DOCTYPE)


def _written(name: str) -> str:
    """Return a name with its prefix, as written, from expat's namespace, local name and prefix."""
    if _SEPARATOR not in name:
        return name
    _, local, *prefix = name.split(_SEPARATOR)
    return f"{prefix[0]}:{local}" if prefix else local

"""Maps XML elements to JSON values and back, without loss.

Contains the convention and the way back; ``xml_parser.py`` and ``plain_xml.py`` produce these values. An element is

* its text, if it has neither attributes nor children (``<A>x</A>`` is ``"x"``, ``<A/>`` is ``""``);
* otherwise an object: attributes as ``@name``, children by their tag, and several children of one tag as a list.

What follows keeps the rest, and is there only where it is needed:

* ``#text``: the text of an element with attributes; with children, a list of the pieces of text before, between and
  behind them, white space included, so that it has one item more than there are children;
* ``#order``: the tags of the children in document order, where children of one tag do not all follow each other;
* ``#comment`` and ``#instruction``: children like any other, for comments and processing instructions.

Namespaces stay as written: prefixes in tags, declarations as ``@xmlns:prefix``. The outermost element also has the
declarations it inherits from the envelope. CDATA sections are text. No XML name can start with ``@`` or ``#``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from apex_pipeline.sources.events.model import Node

TEXT = "#text"
ORDER = "#order"
COMMENT = "#comment"
INSTRUCTION = "#instruction"
_NO_CHILDREN = (TEXT, ORDER)

# Characters that a parser would read back as something else, as canonical XML writes them.
_IN_TEXT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"}
_IN_ATTRIBUTE = {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}
_TEXT_ESCAPES = str.maketrans(_IN_TEXT)
_ATTRIBUTE_ESCAPES = str.maketrans(_IN_ATTRIBUTE)


def add_child(node: dict[str, Node], tag: str, child: Node) -> None:
    """Add a child to an element's object: by itself, or to the list of those with its tag."""
    present = node.get(tag)
    if present is None:
        node[tag] = child
    elif isinstance(present, list):
        present.append(child)
    else:
        node[tag] = [present, child]


def element(attributes: dict[str, Node], tags: list[str], children: dict[str, Node], texts: list[str]) -> Node:
    """Return the value of an element.

    Args:
        attributes: Attributes, their names starting with ``@``.
        tags: Tags of all children in document order.
        children: The children by tag, as :func:`add_child` collects them.
        texts: Text before, between and behind the children.
    """
    if not tags:
        if not attributes:
            return texts[0]
        return {**attributes, TEXT: texts[0]} if texts[0] else attributes
    node = {**attributes, **children}
    if any(texts):
        node[TEXT] = texts
    if len(children) < len(tags) and tags != _in_groups(children):
        node[ORDER] = tags
    return node


def to_xml(tag: str, node: Node) -> str:
    """Return the element that a value stands for; in canonical form it equals the element it was made from."""
    pieces: list[str] = []
    # Not recursive: a value from elsewhere may be nested deeper than Python's stack.
    todo: list[str | tuple[str, Node]] = [(tag, node)]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            pieces.append(item)
        else:
            todo.extend(reversed(_parts(*item)))
    return "".join(pieces)


def _parts(tag: str, node: Node) -> list[str | tuple[str, Node]]:
    """Return an element as markup and text, and its children as still to be written."""
    if tag == COMMENT:
        return [f"<!--{node}-->"]
    if tag == INSTRUCTION:
        return [f"<?{node}?>"]
    if not isinstance(node, dict):
        return [f"<{tag}>{_escaped(node)}</{tag}>"]
    content = cast("dict[str, Any]", node)
    children = _children(content)
    texts = content.get(TEXT, "")
    if not isinstance(texts, list):
        texts = [texts, *[""] * len(children)]
    parts: list[str | tuple[str, Node]] = [start_tag(tag, content), _escaped(texts[0])]
    for child, text in zip(children, texts[1:], strict=True):
        parts += [child, _escaped(text)]
    return [*parts, f"</{tag}>"]


def start_tag(tag: str, node: dict[str, Node]) -> str:
    """Return the start tag of an element with the attributes in its value."""
    attributes = (
        f' {name[1:]}="{value.translate(_ATTRIBUTE_ESCAPES)}"' for name, value in node.items() if name[0] == "@"
    )
    return f"<{tag}{''.join(attributes)}>"


def _children(node: dict[str, Any]) -> list[tuple[str, Node]]:
    """Return the children with their tags in document order."""
    by_tag = {
        tag: value if isinstance(value, list) else [value]
        for tag, value in node.items()
        if tag[0] != "@" and tag not in _NO_CHILDREN
    }
    order: Iterable[str] = node.get(ORDER) or _in_groups(by_tag)
    following = {tag: iter(values) for tag, values in by_tag.items()}
    return [(tag, next(following[tag])) for tag in order]


def _in_groups(children: dict[str, Node]) -> list[str]:
    """Return the tags of the children as they are in order if those of one tag follow each other."""
    return [tag for tag, child in children.items() for _ in (child if isinstance(child, list) else [child])]


def _escaped(text: str) -> str:
    return text.translate(_TEXT_ESCAPES)


def has_no_content(node: Node) -> bool:
    """Return whether an element has neither children but comments and instructions, nor text but white space."""
    if not isinstance(node, dict):
        return not node.strip()
    texts = node.get(TEXT, "")
    is_blank = not "".join(texts).strip()
    return is_blank and all(name[0] == "@" or name[0] == "#" for name in node)


def local_name(tag: str) -> str:
    """Return a tag without its prefix."""
    return tag.rpartition(":")[2]


def namespaces_of(node: Node) -> dict[str, str]:
    """Return the namespaces that an element's value declares, by prefix."""
    if not isinstance(node, dict):
        return {}
    return {
        name[len("@xmlns:") :]: uri
        for name, uri in node.items()
        if uri and (name == "@xmlns" or name.startswith("@xmlns:"))
    }


def declarations(namespaces: Mapping[str, str]) -> dict[str, Node]:
    """Return namespaces by prefix as attributes."""
    return {f"@xmlns:{prefix}" if prefix else "@xmlns": uri for prefix, uri in namespaces.items()}


def with_inherited(node: Node, namespaces: Mapping[str, str]) -> Node:
    """Return an element's value with the declarations it inherits and does not replace by its own."""
    names = declarations(namespaces)
    if not isinstance(node, dict):
        return {**names, TEXT: node} if node else names
    return {**names, **node}

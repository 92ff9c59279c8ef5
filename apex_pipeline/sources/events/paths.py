"""Finds and removes values of an event by path, such as ``BADGE/HOLDER`` or ``BADGE/@id``.

A part of a path names a tag or key without its namespace prefix; lists are gone through. Contains no knowledge of what
is at a path; see ``mapping.py``.
"""

from collections.abc import Iterable, Iterator

from apex_pipeline.sources.events.model import Node
from apex_pipeline.sources.events.xml_mapping import TEXT, local_name

Path = tuple[str, ...]


def first_text(node: Node, paths: Iterable[Path], *, has_prefixes: bool) -> str | None:
    """Return the text at the first of these paths that has some; ``None`` if none has.

    Args:
        node: The event.
        paths: Where to look.
        has_prefixes: Whether any name in the event has a prefix.
    """
    if not isinstance(node, dict):
        return None
    for path in paths:
        # Nearly all paths are not there, and this is asked many times per event.
        if not (has_prefixes or path[0] in node):
            continue
        found = node.get(path[0])
        text = found if len(path) == 1 and type(found) is str else _text_at(node, path, has_prefixes=has_prefixes)
        if text:
            return text
    return None


def without(node: Node, paths: Iterable[Path], *, has_prefixes: bool) -> Node:
    """Return an event in which everything at these paths is null; the given one is not changed.

    Args:
        node: The event.
        paths: What to remove.
        has_prefixes: As for :func:`first_text`.
    """
    for path in paths:
        node = _without(node, path, has_prefixes=has_prefixes)
    return node


def _text_at(node: Node, path: Path, *, has_prefixes: bool) -> str | None:
    """Return the first value at a path as text; ``None`` without one, or if it is empty or has parts of its own."""
    found = next(_values_at(node, path, has_prefixes=has_prefixes), None)
    if isinstance(found, dict):
        found = found.get(TEXT)
    if found is None or isinstance(found, list | dict):
        return None
    return str(found).lower() if isinstance(found, bool) else str(found)


def _values_at(node: Node, path: Path, *, has_prefixes: bool) -> Iterator[Node]:
    if isinstance(node, list):
        for item in node:
            yield from _values_at(item, path, has_prefixes=has_prefixes)
    elif not path:
        yield node
    elif isinstance(node, dict):
        for key in _keys(node, path[0], has_prefixes=has_prefixes):
            yield from _values_at(node[key], path[1:], has_prefixes=has_prefixes)


def _without(node: Node, path: Path, *, has_prefixes: bool) -> Node:
    if not path:
        return None
    if isinstance(node, list):
        return [_without(item, path, has_prefixes=has_prefixes) for item in node]
    if not isinstance(node, dict):
        return node
    keys = _keys(node, path[0], has_prefixes=has_prefixes)
    return node | {key: _without(node[key], path[1:], has_prefixes=has_prefixes) for key in keys}


def _keys(node: dict[str, Node], name: str, *, has_prefixes: bool) -> list[str]:
    """Return the keys that a part of a path names, in every namespace."""
    if not has_prefixes:
        return [name] if name in node else []
    mark, bare = ("@", name[1:]) if name[0] == "@" else ("", name)
    return [key for key in node if (key[:1] == "@") == bool(mark) and local_name(key[len(mark) :]) == bare]

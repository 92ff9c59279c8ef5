"""Parses events that have the shape of earlier ones, four times as fast as ``plain_xml.py``.

A producer writes all its events alike: the same tags in the same order with the same white space. From an event seen
before, one pattern is made in which only the values are open, so that an event of the same shape is one match. What
does not match is parsed as before; a match means the same as what ``plain_xml.parse_plain`` gives.
"""

import re
from collections import Counter
from typing import cast

from apex_pipeline.sources.events.model import Node
from apex_pipeline.sources.events.plain_xml import CHARACTERS, VALUE, has_forbidden
from apex_pipeline.sources.events.xml_mapping import TEXT

# Compiling a pattern takes as long as parsing some hundred events without one.
_SEEN_BEFORE_COMPILING = 3
_MOST_SHAPES = 16
# Shapes that are counted, so that events of which no two are alike cost no memory.
_MOST_COUNTED = 256
# A pattern of more values is slow to compile.
_MOST_VALUES = 500

# Tag, keys, and texts around the children; of a compiled one no texts where all are empty.
_Shape = tuple[str, tuple[str, ...], tuple[str, ...]]


class ShapeCache:
    """The shapes of the events of one file."""

    def __init__(self) -> None:
        self._seen: Counter[_Shape] = Counter()
        # The last one that matched is first.
        self._compiled: list[tuple[re.Pattern[str], _Shape]] = []

    def parse(self, text: str) -> tuple[str, Node] | None:
        """Return tag and value of an event that has a known shape, or ``None``; for the text see ``parse_plain``."""
        for index, (pattern, (tag, keys, texts)) in enumerate(self._compiled):
            found = pattern.fullmatch(text)
            if found is None:
                continue
            if has_forbidden(text):
                return None
            if index:
                self._compiled.insert(0, self._compiled.pop(index))
            node: dict[str, Node] = dict(zip(keys, found.groups(), strict=True))
            if texts:
                node[TEXT] = list(texts)
            return tag, node
        return None

    def learn(self, tag: str, node: Node) -> None:
        """Note the shape of an event that was plain."""
        if not isinstance(node, dict) or len(self._compiled) >= _MOST_SHAPES:
            return
        values = {key: value for key, value in cast("dict[str, Node]", node).items() if key != TEXT}
        children = sum(1 for key in values if key[0] != "@")
        # An element with attributes and text alone has no list of texts.
        if not children or len(values) > _MOST_VALUES or not all(isinstance(value, str) for value in values.values()):
            return
        texts: list[str] = node.get(TEXT) or [""] * (children + 1)
        shape = (tag, tuple(values), tuple(texts))
        if len(self._seen) >= _MOST_COUNTED:
            self._seen.clear()
        self._seen[shape] += 1
        if self._seen[shape] == _SEEN_BEFORE_COMPILING:
            known = (tag, shape[1], shape[2] if any(texts) else ())
            self._compiled.append((_pattern(shape), known))


def _pattern(shape: _Shape) -> re.Pattern[str]:
    """Return what matches every event of a shape, with its values as groups."""
    tag, keys, texts = shape
    pieces = [re.escape(f"<{tag}")]
    pieces += [f'{re.escape(f" {key[1:]}=")}"({VALUE})"' for key in keys if key[0] == "@"]
    pieces.append(">")
    tags = [key for key in keys if key[0] != "@"]
    for name, text in zip(tags, texts, strict=False):
        pieces.append(f"{re.escape(f'{text}<{name}>')}({CHARACTERS}){re.escape(f'</{name}>')}")
    pieces.append(re.escape(f"{texts[-1]}</{tag}>"))
    return re.compile("".join(pieces))

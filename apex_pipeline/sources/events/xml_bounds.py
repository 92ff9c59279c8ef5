"""Finds the end tag that belongs to the start tag of an event, where comments and nested events are in between.

The tags of a window are matched in one pass, however many of them are damaged: looking for each end anew would take
hours for a file of start tags alone.
"""

import re

from apex_pipeline.sources.events.window import Window

NAME_CHARACTERS = rb"[^\s<>/:=\"'&]+"
_UNTIL = {b"<!--": b"-->", b"<![CDATA[": b"]]>", b"<?": b"?>"}
_HIDING = re.compile(b"|".join(map(re.escape, _UNTIL)))
# Passes from an event that a damaged comment hid from the pass before. Real damage takes a few.
_MOST_PASSES = 1_000


def first_outside(start: re.Pattern[bytes], data: bytes, begin: int) -> re.Match[bytes] | None:
    """Return the first match of a start tag that lies in no comment, CDATA section or instruction.

    Args:
        start: Matches the start tag.
        data: Where to look.
        begin: Index from which on to look; nothing is open there.
    """
    found, index = start.search(data, begin), begin
    while found is not None:
        # What is never closed hides nothing: the rest of the file would be lost with it.
        hidden = _HIDING.search(data, index, found.start())
        if hidden is None:
            return found
        closing = _UNTIL[hidden[0]]
        end = data.find(closing, hidden.end())
        if end < 0:
            return found
        index = end + len(closing)
        if index > found.start():
            found = start.search(data, index)
    return None


class EventBounds:
    """Where the events of the bytes at hand end.

    Args:
        window: The file.
        tag: Local name of the events' tag.
    """

    def __init__(self, window: Window, tag: str) -> None:
        self._window = window
        name = rb"(?:" + NAME_CHARACTERS + rb":)?" + re.escape(tag.encode())
        # What can change where an event ends; everything else is text and other elements.
        self._bound = re.compile(
            rb"<!--|<!\[CDATA\[|<\?|<"
            + name
            + rb"(?=[\s/>])(?:(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*+>)?|</"
            + name
            + rb"\s*>",
            re.IGNORECASE,
        )
        self._data = b""
        self._passes = 0
        self._ends: dict[int, int | None] = {}

    def end_of(self, begin: int) -> int | None:
        """Return the index behind the end tag of the event that starts at ``begin``; ``None`` if it is not at hand."""
        if self._data is not self._window.data:
            self._data, self._passes, self._ends = self._window.data, 0, {}
        if begin not in self._ends and self._passes < _MOST_PASSES:
            self._passes += 1
            self._match(begin)
        return self._ends.get(begin)

    def _match(self, begin: int) -> None:
        """Match all start and end tags from an index on."""
        data, index, opened = self._data, begin, list[int]()
        missing: set[bytes] = set()
        while bound := self._bound.search(data, index):
            index, token = bound.end(), bound[0]
            closing = _UNTIL.get(token)
            if closing is not None:
                end = -1 if closing in missing else data.find(closing, index)
                if end < 0:
                    missing.add(closing)
                else:
                    index = end + len(closing)
            elif token.startswith(b"</"):
                if opened:
                    self._ends[opened.pop()] = index
            elif token.endswith(b"/>"):
                self._ends[bound.start()] = index
            else:
                opened.append(bound.start())
        self._ends.update(dict.fromkeys(opened))

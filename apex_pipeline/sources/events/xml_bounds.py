"""Finds the end tag that belongs to the start tag of an event, where comments and nested events are in between.

The tags of a window are matched in one pass, however many of them are damaged: looking for each end anew would take
hours for a file of start tags alone.
"""

import re

from apex_pipeline.sources.events.window import Window
from apex_pipeline.sources.events.xml_hidden import UNTIL, HiddenMarkup

NAME_CHARACTERS = rb"[^\s<>/:=\"'&]+"
# Passes from an event that a damaged comment hid from the pass before. Real damage takes a few.
_MOST_PASSES = 1_000


class EventBounds:
    """Where the events of the bytes at hand end.

    Args:
        window: The file.
        hidden: Its comments, CDATA sections and instructions.
        tag: Local name of the events' tag.
    """

    def __init__(self, window: Window, hidden: HiddenMarkup, tag: str) -> None:
        self._window = window
        self._hidden = hidden
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
            closing = UNTIL.get(token)
            if closing is not None:
                end = -1 if closing in missing else data.find(closing, index)
                if end >= 0:
                    index = end + len(closing)
                elif closing not in missing and self._hidden.is_closed_later(closing, index):
                    break  # everything else at hand is part of it
                else:
                    missing.add(closing)
            elif token.startswith(b"</"):
                if opened:
                    self._ends[opened.pop()] = index
            elif token.endswith(b"/>"):
                self._ends[bound.start()] = index
            else:
                opened.append(bound.start())
        self._ends.update(dict.fromkeys(opened))

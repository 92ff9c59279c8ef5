"""Finds start tags outside of comments, CDATA sections and instructions, however long these are.

What looks like an event inside of such a section is none. Contains the search through the bytes at hand and beyond;
``xml_bounds.py`` finds where events end, ``xml_gaps.py`` passes the sections between events.
"""

import re

from apex_pipeline.sources.events.window import Window

# What ends each kind of section.
UNTIL = {b"<!--": b"-->", b"<![CDATA[": b"]]>", b"<?": b"?>"}
_HIDING = re.compile(b"|".join(map(re.escape, UNTIL)))
# Start tags longer than this are only found whole if they do not lie across two reads of a search.
_LONGEST_START = 1_000


def is_outside(data: bytes, begin: int, index: int) -> bool:
    """Return whether an index lies in no section of those that begin at or after another index."""
    while hidden := _HIDING.search(data, begin, index):
        closing = UNTIL[hidden[0]]
        end = data.find(closing, hidden.end())
        if end < 0:
            return True
        begin = end + len(closing)
    return begin <= index


class HiddenMarkup:
    """The sections of one file, also those that are larger than what is at hand.

    Args:
        window: The file.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        # Ends of sections that do not come any more in the file; so the window must not go back.
        self._missing: set[bytes] = set()
        # Of these bytes at hand: ends of sections that come only behind them.
        self._data, self._ahead = b"", set[bytes]()

    def first_outside(self, start: re.Pattern[bytes], begin: int, limit: int | None = None) -> re.Match[bytes] | None:
        """Return the first match of a start tag at hand that lies in no section.

        Args:
            start: Matches the start tag.
            begin: Index from which on to look; nothing is open there.
            limit: Index up to which to look, if not to the end.
        """
        data = self._window.data
        limit = len(data) if limit is None else limit
        found, index = start.search(data, begin, limit), begin
        while found is not None:
            hidden = _HIDING.search(data, index, found.start())
            if hidden is None:
                return found
            closing = UNTIL[hidden[0]]
            end = data.find(closing, hidden.end())
            if end < 0:
                # What is never closed hides nothing: the rest of the file would be lost with it.
                return None if self.is_closed_later(closing, hidden.end()) else found
            index = end + len(closing)
            if index > found.start():
                found = start.search(data, index, limit)
        return None

    def skip_past(self, closing: bytes) -> bool:
        """Be done with everything up to the end of a section; return false, and move nothing, if it is never closed."""
        if closing in self._missing:
            return False
        if self._window.skip_past(closing):
            return True
        self._missing.add(closing)
        return False

    def is_closed_later(self, closing: bytes, index: int) -> bool:
        """Return whether a section that is open at the end of the bytes at hand is closed further on.

        Args:
            closing: What ends the section.
            index: Index behind its start.
        """
        window = self._window
        if self._data is not window.data:
            self._data, self._ahead = window.data, set()
        if closing not in self._ahead | self._missing:
            is_ahead = not window.is_complete and window.has_ahead(closing, index)
            (self._ahead if is_ahead else self._missing).add(closing)
        return closing in self._ahead

    def go_to(self, start: re.Pattern[bytes], begin: int) -> bool:
        """Be done with everything before the next match outside of sections, and return whether there is one.

        Without one, the window is at the end of the file.

        Args:
            start: Matches the start tag.
            begin: Index from which on to look; nothing is open there.
        """
        window = self._window
        found, data = None, b""
        while True:
            if data is not window.data or (found and found.start() < begin):
                data = window.data
                found = start.search(data, begin)
            hidden = _HIDING.search(data, begin, found.start() if found else len(data))
            if hidden is not None:
                begin = self._behind(hidden)
            elif found is not None:
                window.advance(found.start())
                return True
            elif window.is_complete:
                window.advance(len(data))
                return False
            else:
                window.keep_last(_LONGEST_START, begin)
                window.read_more()
                begin = window.start

    def _behind(self, hidden: re.Match[bytes]) -> int:
        """Return the index behind a section, which may move the window; behind its start if it is never closed."""
        closing, window = UNTIL[hidden[0]], self._window
        end = -1 if closing in self._missing else window.data.find(closing, hidden.end())
        if end >= 0:
            return end + len(closing)
        if not self.is_closed_later(closing, hidden.end()):
            return hidden.end()
        window.advance(hidden.end())
        window.skip_past(closing)
        return window.start

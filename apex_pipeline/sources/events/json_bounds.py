"""Finds the bracket that closes a JSON object or list, in one pass over the bytes at hand, however many are damaged.

Looking for each end anew would take hours for a file of brackets that are never closed.
"""

import re
from array import array

from apex_pipeline.sources.events.window import Window

# Strings as wholes, and brackets outside of them. A string does not go on in another line, so that a missing quote
# costs no more than its line; a quote by itself is one that is never closed.
_TOKEN = re.compile(rb'"(?:[^"\\\r\n]|\\[^\r\n])*+"|[{}\[\]"]')
_CLOSING = {b"{": b"}", b"[": b"]"}
_QUOTE = ord('"')
# Marks of brackets: not looked at, never closed, and with damage before the end.
_UNCLOSED, _DAMAGED = 1, 2


class JsonBounds:
    """Where the objects and lists of the bytes at hand end.

    Args:
        window: The file.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._data = b""
        # One mark per byte at hand: a dictionary of two million brackets would take 200 MB.
        self._marks = bytearray()

    def end_of(self, begin: int) -> tuple[int | None, int]:
        """Return the index behind the bracket that closes the one here, and how deep it is nested.

        The index is ``None`` if there is no such bracket at hand; then a depth below 0 says that a string or a bracket
        is damaged.
        """
        data = self._window.data
        if data is self._data and self._marks[begin]:
            return None, -1 if self._marks[begin] == _DAMAGED else 0
        opened, deepest = array("i"), 0
        for token in _TOKEN.finditer(data, begin):
            kind = token[0]
            if kind in _CLOSING:
                opened.append(token.start())
                deepest = max(deepest, len(opened))
            elif kind == b'"':
                return self._failed(opened, _DAMAGED)
            elif kind[0] != _QUOTE:
                start = opened[-1]
                if _CLOSING[data[start : start + 1]] != kind:
                    return self._failed(opened, _DAMAGED)
                opened.pop()
                if not opened:
                    return token.end(), deepest
        return self._failed(opened, _UNCLOSED)

    def _failed(self, opened: "array[int]", mark: int) -> tuple[None, int]:
        """Note that all brackets that are open at the end of a pass have the same fate, and return it."""
        if self._data is not self._window.data:
            self._data, self._marks = self._window.data, bytearray(len(self._window.data))
        for start in opened:
            self._marks[start] = mark
        return None, -1 if mark == _DAMAGED else 0

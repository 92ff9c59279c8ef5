"""Passes JSON values that are larger than what is at hand, so that objects inside of them are not taken for events.

``json_bounds.py`` finds the ends of all others.
"""

import re
from enum import Enum, auto

from apex_pipeline.sources.events.window import Window

_TOKEN = re.compile(rb'"(?:[^"\\\r\n]|\\[^\r\n])*+"|[{}\[\]"]')
_STRING_REST = re.compile(rb"(?:[^\"\\\r\n]|\\[^\r\n])*+")
_CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}
_QUOTE, _ESCAPE = ord('"'), ord("\\")
# Deeper values are not followed to their end: a byte per level must stay far below the size of the window.
_DEEPEST = 100_000
# Bytes of values that were followed and turned out to be damaged or never closed. Beyond this, a file nests such values
# to be followed again and again.
_MOST_BYTES_IN_VAIN = 64_000_000


class FarValues:
    """The values of one file that end beyond what is at hand.

    Args:
        window: The file.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._bytes_in_vain = 0

    def skip(self, begin: int) -> bool:
        """Be done with the object or list that starts here; return false, and move nothing, if it has no end."""
        if self._bytes_in_vain > _MOST_BYTES_IN_VAIN:
            return False
        window = self._window
        go_back, scan, followed = window.bookmark(), _Scan(), 0
        window.advance(begin)
        while True:
            end = scan.go_on(window.data, window.start)
            followed += end - window.start
            window.advance(end)
            if scan.state is _State.CLOSED:
                return True
            if scan.state is _State.DAMAGED or not window.read_more():
                self._bytes_in_vain += followed
                go_back()
                return False


class _State(Enum):
    OPEN = auto()
    CLOSED = auto()
    DAMAGED = auto()


class _Scan:
    """How far a value has been followed.

    Attributes:
        state: Whether it goes on.
    """

    def __init__(self) -> None:
        self.state = _State.OPEN
        self._missing = bytearray()  # what closes the open brackets, the innermost last
        self._in_string = False

    def go_on(self, data: bytes, index: int) -> int:
        """Follow the value through the next bytes, and return the index up to which they are done with."""
        while True:
            if self._in_string:
                rest = _STRING_REST.match(data, index)
                index = rest.end() if rest else index
                if index == len(data) or (index == len(data) - 1 and data[index] == _ESCAPE):
                    return index
                self._in_string = False
                if data[index] != _QUOTE:
                    self.state = _State.DAMAGED  # strings do not go on in another line
                    return index
                index += 1
            for token in _TOKEN.finditer(data, index):
                index = token.end()
                if index - token.start() == 1 and self._is_over(data[token.start()]):
                    return index
                if self._in_string:
                    break
            else:
                return len(data)

    def _is_over(self, byte: int) -> bool:
        """Take note of a bracket or a quote, and return whether the value ends with it, one way or the other."""
        if byte == _QUOTE:
            self._in_string = True
        elif byte in _CLOSING:
            self._missing.append(_CLOSING[byte])
            if len(self._missing) > _DEEPEST:
                self.state = _State.DAMAGED
        elif self._missing.pop() != byte:
            self.state = _State.DAMAGED
        elif not self._missing:
            self.state = _State.CLOSED
        return self.state is not _State.OPEN

"""Splits JSON into events and goes on behind damage: arrays, one object per line, objects one after the other.

Every event keeps its own text, so no digit of a number and no repeated key is lost. Contains the way through a file;
``json_bounds.py`` finds where an event ends, ``json_parser.py`` decides what is valid.
"""

import re
from collections.abc import Iterator
from enum import Enum, auto

from apex_pipeline.sources.events.json_bounds import JsonBounds
from apex_pipeline.sources.events.json_far import FarValues
from apex_pipeline.sources.events.json_parser import parse_object
from apex_pipeline.sources.events.model import Event, EventLimits, EventReject, Reason, UnusableEventError
from apex_pipeline.sources.events.rejecting import Rejecting
from apex_pipeline.sources.events.window import Window

_SPACE = b" \t\r\n"
_FIRST_KEY = re.compile(rb'\{[ \t\r\n]*("(?:[^"\\\r\n]|\\[^\r\n])*+")[ \t\r\n]*:')
_AFTER_OBJECT = re.compile(rb"(?<=[}\],])[ \t\r\n]*+\{")
# What is wrong between values is one reject, however long it is.
_COMMAS = re.compile(rb",(?:[ \t\r\n]*+,)*+")
_STRAY = re.compile(rb"[,\]](?:[ \t\r\n]*+[,\]])*+")
# What ends a value that is not an object, in a line or a list.
_VALUE = re.compile(rb'(?:"(?:[^"\\\r\n]|\\[^\r\n])*+"|[^,\[\]{}\r\n"])++')
# An event is looked for at the start of its line this far back: in a file of one line, all of it would be each time.
_LONGEST_INDENT = 1_000
# First keys of a file's events that are kept; a producer has one or two.
_MOST_FIRST_KEYS = 16


class _Place(Enum):
    """Where in a list, or in a sequence of objects, the reader is.

    Attributes:
        START: Nothing has come yet.
        VALUE: Behind a value.
        COMMA: Behind a comma.
        DAMAGE: Behind damage, of which what belongs here may be a part.
    """

    START = auto()
    VALUE = auto()
    COMMA = auto()
    DAMAGE = auto()


class JsonReader:
    """Reads the events of one JSON file.

    Args:
        window: The file.
        limits: Limits on events.
    """

    def __init__(self, window: Window, limits: EventLimits) -> None:
        self._window = window
        self._limits = limits
        self._rejects = Rejecting(window)
        self._bounds = JsonBounds(window)
        self._far = FarValues(window)
        self._in_list = False
        self._place = _Place.START
        self._has_list = False
        self._first_keys: set[bytes] = set()

    def read(self) -> Iterator[Event | EventReject]:
        """Yield the file's events and rejects in order."""
        while self._fill():
            begin = self._window.start
            first = self._window.data[begin : begin + 1]
            if first in b",]" or (first == b"[" and not self._in_list):
                yield from self._pass_punctuation(first)
                continue
            if first in b"{[" and self._in_list and self._place is _Place.VALUE:
                yield self._rejects.span(begin, begin, Reason.ENVELOPE, "a comma is missing before this value")
            self._place = _Place.VALUE
            yield self._event(begin) if first == b"{" else self._other(begin)
        yield from self._end()

    def _end(self) -> Iterator[EventReject]:
        end = len(self._window.data)
        if self._in_list and not self._rejects.reached_end:
            yield self._rejects.span(end, end, Reason.ENVELOPE, "the list is never closed")
        elif not self._rejects.events_so_far and not self._has_list:
            yield self._rejects.span(end, end, Reason.NO_EVENTS)

    def _fill(self) -> bool:
        """Be done with white space, and have the largest possible event at hand; return false at the end."""
        window = self._window
        window.skip_space()
        while window.remaining <= self._limits.event_bytes and window.read_more():
            window.skip_space()
        return window.remaining > 0

    def _pass_punctuation(self, first: bytes) -> Iterator[EventReject]:
        window, begin = self._window, self._window.start
        problem = self._problem_of(first)
        if first == b",":
            self._place = _Place.COMMA
        else:
            self._in_list = first == b"["
            self._has_list |= self._in_list
            self._place = _Place.START
        if problem:
            run = (_COMMAS if self._in_list else _STRAY).match(window.data, begin)
            yield self._rejects.span(begin, run.end() if run else begin + 1, Reason.ENVELOPE, problem)
        else:
            window.advance(begin + 1)

    def _problem_of(self, first: bytes) -> str:
        """Return what is wrong with a comma or bracket at this place; empty if it belongs here."""
        if first == b"[":
            return ""
        if not self._in_list:
            return "this is not inside of a list"
        if first == b"," and self._place in {_Place.START, _Place.COMMA}:
            return "no value comes before this comma"
        return "no value comes behind the last comma" if self._place is _Place.COMMA else ""

    def _event(self, begin: int) -> Event | EventReject:
        """Return the event that starts here, or the reject of it, and be done with it."""
        window = self._window
        end, depth = self._bounds.end_of(begin)
        if end is None:
            if far := self._far_reject(begin):
                return far
            self._place = _Place.DAMAGE
            is_large = not window.is_complete and depth >= 0
            reason = Reason.TOO_LARGE if is_large else Reason.UNCLOSED
            return self._rejects.to_next(begin, self._following(begin), reason)
        try:
            if end - begin > self._limits.event_bytes:
                raise UnusableEventError(Reason.TOO_LARGE)  # noqa: TRY301  -- one place makes rejects of all reasons
            if depth > self._limits.depth:
                raise UnusableEventError(Reason.TOO_DEEP, f"{depth} deep")  # noqa: TRY301  -- as above
            content = window.data[begin:end]
            node, flags = parse_object(content)
            self._note_first_key(content)
        except UnusableEventError as error:
            return self._rejects.span(begin, end, error.reason, error.detail)
        offset, length = window.take(end)
        return Event(self._rejects.next_position(), offset, length, "", content, node, flags)

    def _far_reject(self, begin: int) -> EventReject | None:
        """Return the reject of a value that ends beyond what is at hand; ``None`` if it does not end."""
        if self._window.is_complete:
            return None
        return self._rejects.if_passed(begin, lambda: self._far.skip(begin), Reason.TOO_LARGE)

    def _following(self, begin: int) -> re.Pattern[bytes]:
        """Return what the next event starts with: a line indented alike, or an object with a first key of an event."""
        data = self._window.data
        line = data.rfind(b"\n", max(0, begin - _LONGEST_INDENT), begin) + 1
        if (line or begin == 0) and not data[line:begin].strip(_SPACE):
            return re.compile(rb"\n" + data[line:begin] + rb"(?=\{)")
        key = _FIRST_KEY.match(data, begin)
        keys = sorted(self._first_keys | ({key[1]} if key else set[bytes]()))
        known = b"|".join(map(re.escape, keys))
        return re.compile(rb"\{[ \t\r\n]*(?:" + known + rb")[ \t\r\n]*:") if keys else _AFTER_OBJECT

    def _note_first_key(self, content: bytes) -> None:
        if len(self._first_keys) < _MOST_FIRST_KEYS and (key := _FIRST_KEY.match(content)):
            self._first_keys.add(key[1])

    def _other(self, begin: int) -> EventReject:
        """Return the reject of a value that is not an object."""
        data = self._window.data
        if data[begin : begin + 1] == b"[":
            end, _ = self._bounds.end_of(begin)
            if end is None:
                if far := self._far_reject(begin):
                    return far
                self._place = _Place.DAMAGE
                return self._rejects.to_next(begin, _AFTER_OBJECT, Reason.UNCLOSED)
            return self._rejects.span(begin, end, Reason.NOT_AN_OBJECT)
        value = _VALUE.match(data, begin)
        end = value.end() if value else begin + 1
        return self._rejects.span(begin, end, _reason_of(data[begin:end]))


def _reason_of(content: bytes) -> Reason:
    """Return why a value that is not an object is rejected."""
    try:
        parse_object(content)
    except UnusableEventError as error:
        return error.reason
    return Reason.MALFORMED_JSON

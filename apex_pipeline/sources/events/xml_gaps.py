"""Follows what lies between the events of an XML file: declarations, the tags of the envelope, and stray content.

Nothing between events is dropped without a word: what belongs to no event and is not markup of the envelope becomes a
reject. See ``xml_reader.py`` for the events.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator

from apex_pipeline.sources.events.encoding import codec_of, declared_encoding, is_same_family, is_wide
from apex_pipeline.sources.events.model import (
    CONTRADICTED_ENCODING,
    EventLimits,
    EventReject,
    Reason,
    UnusableEventError,
)
from apex_pipeline.sources.events.rejecting import Rejecting
from apex_pipeline.sources.events.window import Window
from apex_pipeline.sources.events.xml_hidden import UNTIL, HiddenMarkup, is_outside
from apex_pipeline.sources.events.xml_mapping import namespaces_of
from apex_pipeline.sources.events.xml_parser import parse_element

_UTF8 = "utf-8"
_TAG = re.compile(rb"<(/?)([^\s<>/=\"'&!?]+)((?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*+)>")
_DOCTYPE = b"<!DOCTYPE"
_CDATA = b"<![CDATA["
# What bounds the internal part of a DOCTYPE; quoted text and comments may have brackets in them.
_IN_DOCTYPE = re.compile(
    rb"\"[^\"]*+\"|'[^']*+'|<!--(?:[^-]|-(?!->))*+-->|<\?(?:[^?]|\?(?!>))*+\?>|<!--|<\?|[\[\]>\"']"
)
_NEVER_CLOSED = (b'"', b"'", b"<!--", b"<?")
_DECLARATION = re.compile(rb"<\?xml\s")
_DECLARATION_BYTES = 1_000
_END_TAG = re.compile(rb"</([^\s<>/]+)\s*>")
# An end tag is looked for this far; beyond that, all end tags at hand are listed once. Looking for each to the end
# would take hours for a file of start tags alone.
_NEAR_BYTES = 4_096


class Envelope:
    """The markup around events, as far as the file has been read.

    Args:
        window: The file.
        hidden: Its comments, CDATA sections and instructions.
        rejects: Makes the rejects.
        start: Matches the start tag of an event.
        limits: Limits on events.

    Attributes:
        has_doctype: Whether the document that is being read has a DOCTYPE.
        inherited: Namespaces by prefix that are declared around the events.
        flags: Flags of every event of the document.
    """

    def __init__(
        self,
        window: Window,
        hidden: HiddenMarkup,
        rejects: Rejecting,
        start: re.Pattern[bytes],
        limits: EventLimits,
    ) -> None:
        self._window = window
        self._hidden = hidden
        self._rejects = rejects
        self._start = start
        self._limits = limits
        # Names of the open elements around the events, each with the namespaces in force outside of it.
        self._open: list[tuple[bytes, dict[str, str]]] = []
        self._codec: str | None = _UTF8
        self._is_faulty = False
        # Where the end tags of each name are in the bytes at hand.
        self._ends: dict[bytes, array[int]] = {}
        self._ends_of = b""
        self.has_doctype = False
        self.inherited: dict[str, str] = {}
        self.flags: tuple[str, ...] = ()

    def decoded(self, content: bytes) -> str:
        """Return bytes of the document as text.

        Raises:
            UnusableEventError: It is not text in the encoding of the document, or that is not known.
        """
        if self._codec is None:
            raise UnusableEventError(Reason.UNKNOWN_ENCODING)
        try:
            return content.decode(self._codec)
        except UnicodeDecodeError as error:
            raise UnusableEventError(
                Reason.UNDECODABLE, f"not {self._codec} at byte {error.start} of the event"
            ) from None

    def event_ended(self) -> None:
        """Note that an event was read: without an envelope, a document ends with its event."""
        if not self._open:
            self.has_doctype = False

    def look_at_declaration(self) -> None:
        """Take the encoding from the declaration at the start of a document."""
        head = self._window.data[self._window.start : self._window.start + _DECLARATION_BYTES]
        self._declare(head.partition(b"?>")[0] + b"?>" if head.startswith(b"<?xml") else b"")

    def pass_gap(self) -> Iterator[EventReject]:
        """Be done with one piece of what lies before the next event, and yield the reject of it if it is stray."""
        window = self._window
        begin = window.start
        if window.data.startswith(b"<!--", begin):
            yield from self._pass_until(begin, b"-->")
        elif window.data.startswith(b"<?", begin):
            yield from self._pass_until(begin, b"?>")
        elif window.data.startswith(_CDATA, begin):
            yield self._stray_cdata(begin)
        elif window.data.startswith(_DOCTYPE, begin):
            yield from self._pass_doctype(begin)
        elif tag := _TAG.match(window.data, begin):
            yield from self._pass_end(tag) if tag[1] else self._pass_start(tag)
        else:
            yield self._stray(begin)

    def end(self) -> Iterator[EventReject]:
        """Yield a reject if the envelope is still open at the end of the file."""
        if self._open and not self._is_faulty and not self._rejects.reached_end:
            end = len(self._window.data)
            name = self._open[-1][0].decode(errors="backslashreplace")
            yield self._rejects.span(end, end, Reason.ENVELOPE, f"<{name}> is never closed")

    def _pass_until(self, begin: int, closing: bytes) -> Iterator[EventReject]:
        window = self._window
        end = window.data.find(closing, begin + 2)
        if end < 0:
            # It may be longer than what is at hand; events in it are none.
            if not self._hidden.skip_past(closing):
                yield self._to_next_event(begin, Reason.UNCLOSED)
            return
        end += len(closing)
        if window.data.startswith((b"<?xml ", b"<?xml\t", b"<?xml\n", b"<?xml\r"), begin):
            self._declare(window.data[begin:end])
        window.advance(end)

    def _declare(self, declaration: bytes) -> None:
        """Take the encoding from a declaration, which holds until the next one."""
        declared, found = declared_encoding(declaration), self._window.encoding
        self.flags, self._codec = (), _UTF8
        if declared is None:
            return
        if found.is_certain or is_wide(declared):
            # The bytes show the encoding. A declaration that was readable as it is cannot be that of another width.
            is_right = found.is_certain and is_same_family(declared, found.name)
            self.flags = () if is_right else (CONTRADICTED_ENCODING,)
        else:
            self._codec = codec_of(declared)

    def _pass_doctype(self, begin: int) -> Iterator[EventReject]:
        window, index, is_inside = self._window, begin + len(_DOCTYPE), False
        while bound := _IN_DOCTYPE.search(window.data, index):
            index = bound.end()
            if bound[0] in _NEVER_CLOSED:
                break
            is_inside = bound[0] == b"[" or (is_inside and bound[0] != b"]")
            if bound[0] == b">" and not is_inside:
                self.has_doctype = True
                window.advance(index)
                return
        yield self._to_next_event(begin, Reason.UNCLOSED)

    def _pass_start(self, tag: re.Match[bytes]) -> Iterator[EventReject]:
        """Enter an element around events; one that has none of them in it is stray."""
        is_empty = tag[3].endswith(b"/")
        if self._open or is_empty:
            end = self._end_without_events(tag, is_empty=is_empty)
            if end is not None:
                yield self._rejects.span(tag.start(), end, Reason.OUTSIDE_EVENTS)
                return
        if len(self._open) >= self._limits.depth:
            yield self._stray(tag.start(), Reason.TOO_DEEP)
            return
        outside = self.inherited
        fault = ""
        try:
            text = self.decoded(tag[0])
            _, node = parse_element(f"{text}</{tag[2].decode(self._codec or _UTF8)}>", self.inherited, self._limits)
            self.inherited = namespaces_of(node)
        except UnusableEventError as error:
            fault = error.detail or error.reason
        self._open.append((tag[2], outside))
        if fault and not self._is_faulty:
            self._is_faulty = True
            yield self._rejects.span(tag.start(), tag.end(), Reason.ENVELOPE, fault)
        else:
            self._window.advance(tag.end())

    def _end_without_events(self, tag: re.Match[bytes], *, is_empty: bool) -> int | None:
        """Return the index behind an element that has no events in it; ``None`` if it is around some."""
        data = self._window.data
        if is_empty:
            return tag.end()
        close = self._end_tag(tag[2], tag.end())
        if close < 0:
            # Never closed, although others were: a damaged start tag of an event, for example.
            following = self._start.search(data, tag.end())
            is_damaged = self._window.is_complete or self._rejects.events_so_far > 0
            return self._next_bound(tag.end()) if is_damaged and following else None
        if self._start.search(data, tag.end(), close) or not is_outside(data, tag.end(), close):
            return None
        return data.index(b">", close) + 1

    def _end_tag(self, name: bytes, index: int) -> int:
        """Return the index of the next end tag of this name at hand; -1 without one."""
        data = self._window.data
        near = data.find(b"</" + name, index, index + _NEAR_BYTES)
        if near >= 0 and (tag := _END_TAG.match(data, near)) and tag[1] == name:
            return near
        if self._ends_of is not data:
            self._ends_of, self._ends = data, {}
            for tag in _END_TAG.finditer(data, index):
                self._ends.setdefault(tag[1], array("i")).append(tag.start())
        found = self._ends.get(name, ())
        place = bisect_left(found, index)
        return found[place] if place < len(found) else -1

    def _pass_end(self, tag: re.Match[bytes]) -> Iterator[EventReject]:
        names = [name for name, _ in self._open]
        if tag[2] not in names:
            yield self._stray(tag.start())
            return
        is_inner = names[-1] != tag[2]
        name = b""
        while name != tag[2]:
            name, self.inherited = self._open.pop()
        if not self._open:
            self.has_doctype = False
        if is_inner and not self._is_faulty:
            self._is_faulty = True
            detail = f"<{names[-1].decode(errors='backslashreplace')}> is never closed"
            yield self._rejects.span(tag.start(), tag.end(), Reason.ENVELOPE, detail)
        else:
            self._window.advance(tag.end())

    def _stray(self, begin: int, reason: Reason = Reason.OUTSIDE_EVENTS) -> EventReject:
        """Return the reject of everything up to the next event, or to the end of the envelope."""
        end = self._next_bound(begin + 1)
        if end is None:
            return self._to_next_event(begin, reason)
        return self._rejects.span(begin, end, reason)

    def _stray_cdata(self, begin: int) -> EventReject:
        closing = UNTIL[_CDATA]
        if self._window.data.find(closing, begin) >= 0 or self._hidden.is_closed_later(closing, begin):
            return self._rejects.passed(begin, lambda: self._window.skip_past(closing), Reason.OUTSIDE_EVENTS)
        return self._stray(begin)

    def _to_next_event(self, begin: int, reason: Reason) -> EventReject:
        """Return the reject of everything up to the next event, and be done with it."""
        return self._rejects.passed(begin, lambda: self._hidden.go_to(self._start, begin + 1), reason)

    def _next_bound(self, index: int) -> int | None:
        """Return the index of the next event, declaration or end tag of the envelope, whichever comes first at hand."""
        data = self._window.data
        event = self._hidden.first_outside(self._start, index)
        closing = [data.find(b"</" + name + b">", index) for name, _ in self._open[-1:]]
        found = [event.start()] if event else []
        if _DECLARATION.search(data, index, event.start() if event else len(data)):
            declaration = self._hidden.first_outside(_DECLARATION, index)
            found += [declaration.start()] if declaration else []
        return min([*found, *(end for end in closing if end >= 0)], default=None)

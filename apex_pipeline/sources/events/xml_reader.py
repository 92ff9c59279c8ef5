"""Splits XML into events and goes on behind damage at the next event's start tag.

An event is an outermost element with the event tag, in any namespace and in any envelope: a root around all events,
events one after the other, one declaration per event. Contains the way through a file; ``xml_gaps.py`` has what lies
between events, ``plain_xml.py`` and ``xml_parser.py`` parse the events themselves.
"""

import re
from collections.abc import Iterator

import orjson

from apex_pipeline.sources.events.model import Event, EventLimits, EventReject, Node, Reason, UnusableEventError
from apex_pipeline.sources.events.plain_xml import may_be_plain, parse_plain, with_line_feeds
from apex_pipeline.sources.events.rejecting import Rejecting
from apex_pipeline.sources.events.window import Window
from apex_pipeline.sources.events.xml_bounds import NAME_CHARACTERS, EventBounds
from apex_pipeline.sources.events.xml_gaps import Envelope
from apex_pipeline.sources.events.xml_hidden import HiddenMarkup
from apex_pipeline.sources.events.xml_mapping import has_no_content, local_name, with_inherited
from apex_pipeline.sources.events.xml_parser import parse_document, parse_element
from apex_pipeline.sources.events.xml_shapes import ShapeCache

# Above this size in bytes, an event is first looked at for others inside of it.
_LARGE_EVENT = 65_536
# Reasons that concern all of an event, whatever is in it.
_WHOLE = frozenset({Reason.DOCTYPE, Reason.TOO_DEEP})
# Bytes of events that could not be used, as far as events inside of them are looked for. Damage takes some kB; beyond
# this, a file nests bad events to be read again and again.
_MOST_BYTES_REPEATED = 64_000_000


class XmlReader:
    """Reads the events of one XML file.

    Args:
        window: The file.
        event_tag: Local name of the events' tag; case does not matter.
        limits: Limits on events.
    """

    def __init__(self, window: Window, event_tag: str, limits: EventLimits) -> None:
        self._window = window
        self._limits = limits
        self._event_tag = event_tag
        tag = re.escape(event_tag.encode())
        self._start = re.compile(rb"<((?:" + NAME_CHARACTERS + rb":)?" + tag + rb")(?=[\s/>])", re.IGNORECASE)
        # Behind damage: the next event, or the declaration before it.
        self._resume = re.compile(rb"(?:" + self._start.pattern + rb")|<\?xml\s", re.IGNORECASE)
        self._hidden = HiddenMarkup(window)
        self._bounds = EventBounds(window, self._hidden, event_tag)
        self._rejects = Rejecting(window)
        self._shapes = ShapeCache()
        self._bytes_rejected = 0
        self._closing = (b"", b"", -1)
        self._envelope = Envelope(window, self._hidden, self._rejects, self._start, limits)

    def read(self) -> Iterator[Event | EventReject]:
        """Yield the file's events and rejects in order."""
        if not self.has_events():
            yield from self._document()
            return
        while self._fill():
            start = self._start.match(self._window.data, self._window.start)
            if start is None:
                yield from self._envelope.pass_gap()
            else:
                yield self._event(start)
        if self._rejects.events_so_far:
            yield from self._envelope.end()
        else:
            # What looked like an event was part of something else.
            self._window.rewind()
            yield from self._document()

    def has_events(self) -> bool:
        """Return whether an event starts anywhere in the file, and be at the start of the file."""
        go_back = self._window.bookmark()
        found = HiddenMarkup(self._window).go_to(self._start, self._window.start)
        go_back()
        return found

    def _fill(self) -> bool:
        """Be done with white space, and have the largest possible event at hand; return false at the end."""
        window = self._window
        window.skip_space()
        while window.remaining <= self._limits.event_bytes and window.read_more():
            window.skip_space()
        return window.remaining > 0

    def _document(self) -> Iterator[Event | EventReject]:
        """Yield the whole document as one event, where nothing in it has the event tag; none for an empty envelope."""
        self._fill()
        window = self._window
        begin, end = window.start, len(window.data)
        if not window.is_complete or end - begin > self._limits.event_bytes:
            yield self._rejects.to_next(begin, None, Reason.TOO_LARGE)
            return
        try:
            self._envelope.look_at_declaration()
            tag, node = parse_document(self._envelope.decoded(window.data[begin:end]), self._limits)
        except UnusableEventError as error:
            yield self._rejects.span(begin, end, error.reason, error.detail)
            return
        is_envelope = local_name(tag).lower() == f"{self._event_tag}s".lower()
        if not (is_envelope and has_no_content(node)):
            yield self._made(end, tag, node)

    def _event(self, start: re.Match[bytes]) -> Event | EventReject:
        """Return the event with this start tag, or the reject of it, and be done with it."""
        window, envelope, begin = self._window, self._envelope, start.start()
        if not envelope.has_doctype and (plain := self._plain(start)):
            return plain
        end = self._bounds.end_of(begin)
        if end is None:
            is_unclosed = window.is_complete or self._hidden.first_outside(self._start, begin + 1)
            reason = Reason.UNCLOSED if is_unclosed else Reason.TOO_LARGE
            return self._rejects.passed(begin, lambda: self._hidden.go_to(self._resume, begin + 1), reason)
        has_doctype = envelope.has_doctype
        envelope.event_ended()
        try:
            if has_doctype or end - begin > self._limits.event_bytes:
                reason = Reason.DOCTYPE if has_doctype else Reason.TOO_LARGE
                raise UnusableEventError(reason)  # noqa: TRY301  -- one place makes rejects of all reasons
            tag, node = parse_element(envelope.decoded(window.data[begin:end]), envelope.inherited, self._limits)
        except UnusableEventError as error:
            return self._rejects.span(begin, self._resume_at(begin, end, error.reason), error.reason, error.detail)
        return self._made(end, tag, node)

    def _resume_at(self, begin: int, end: int, reason: Reason) -> int:
        """Return where to go on behind an event that cannot be used: at the next start tag, even inside of it.

        The end tag found for it may belong to a later event, if its own is missing.
        """
        self._bytes_rejected += end - begin
        if reason in _WHOLE or self._bytes_rejected > _MOST_BYTES_REPEATED:
            return end
        inner = self._hidden.first_outside(self._start, begin + 1, end)
        return inner.start() if inner else end

    def _plain(self, start: re.Match[bytes]) -> Event | None:
        """Return the event if it is plain and ends at the first end tag."""
        window, envelope, begin = self._window, self._envelope, start.start()
        closing = b"</" + start[1] + b">"
        close = self._next_closing(closing, begin)
        end = close + len(closing)
        if close < 0 or end - begin > self._limits.event_bytes:
            return None
        # Start tags that are never closed share one far end tag: what is up to it would be looked at for each.
        if end - begin > _LARGE_EVENT and self._has_event(start, close):
            return None
        content = window.data[begin:end]
        if not may_be_plain(content):
            return None
        try:
            text = with_line_feeds(envelope.decoded(content))
        except UnusableEventError:
            return None
        found = self._shapes.parse(text)
        if found is None:
            found = None if self._has_event(start, close) else parse_plain(text, self._limits)
            if found is None:
                return None
            self._shapes.learn(*found)
        envelope.event_ended()
        tag, node = found
        if envelope.inherited:
            node = with_inherited(node, envelope.inherited)
        return self._made(end, tag, node, is_plain=True)

    def _has_event(self, start: re.Match[bytes], end: int) -> bool:
        """Return whether an event starts inside of another one; none of a known shape has one."""
        data = self._window.data
        # find is much faster than the pattern, but also finds <EVENT_TYPE>.
        has_similar = data.find(b"<" + start[1], start.end(), end) >= 0
        return has_similar and self._start.search(data, start.end(), end) is not None

    def _next_closing(self, closing: bytes, begin: int) -> int:
        """Return the index of the next such end tag, or -1; a tag that is far away is looked for once."""
        data, known, index = self._closing
        if data is not self._window.data or known != closing or -1 < index < begin:
            index = self._window.data.find(closing, begin)
            self._closing = self._window.data, closing, index
        return index

    def _made(self, end: int, tag: str, node: Node, *, is_plain: bool = False) -> Event:
        offset, length = self._window.take(end)
        position, flags = self._rejects.next_position(), self._envelope.flags
        return Event(position, offset, length, local_name(tag), orjson.dumps(node), node, flags, is_plain)

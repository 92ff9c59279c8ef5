"""Makes rejects of parts of a window, and numbers events and rejects together.

Contains what the readers of XML and JSON share; the reasons come from them.
"""

import re
from collections.abc import Callable

from apex_pipeline.sources.events.model import EventReject, Reason
from apex_pipeline.sources.events.window import Window

# Bytes of a reject that are kept: far more than shows what is wrong. The file itself has all of them.
_KEPT_BYTES = 65_536
# Longest start of an event that a search across two reads still finds.
_OVERLAP = 1_000


class Rejecting:
    """Makes the rejects of one file.

    Args:
        window: The file.

    Attributes:
        reached_end: Whether the last reject took the rest of the file, and the end of its envelope with it.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self.reached_end = False
        self._position = 0

    @property
    def events_so_far(self) -> int:
        """Number of events and rejects."""
        return self._position

    def next_position(self) -> int:
        """Return the place of the next event or reject, and count it."""
        self._position += 1
        return self._position - 1

    def span(self, begin: int, end: int, reason: Reason, detail: str = "") -> EventReject:
        """Return the reject of a part of the window, and be done with the part."""
        window = self._window
        offset, line = window.offset_of(begin), window.line_of(begin)
        content = self._kept(begin, end)
        window.advance(end)
        length = window.offset_of(end) - offset
        return EventReject(self.next_position(), offset, length, line, reason, detail, content)

    def to_next(self, begin: int, start: re.Pattern[bytes] | None, reason: Reason, detail: str = "") -> EventReject:
        """Return the reject of everything up to the next match, or to the end of the file, and be done with it.

        Args:
            begin: Where the damage starts.
            start: What the next event starts with; ``None``: the rest of the file is rejected.
            reason: What is wrong.
            detail: Where.
        """
        return self.passed(begin, lambda: self._go_to(start, begin + 1), reason, detail)

    def passed(self, begin: int, go_on: Callable[[], bool], reason: Reason, detail: str = "") -> EventReject:
        """Return the reject of everything that ``go_on`` passes.

        Args:
            begin: Where the damage starts.
            go_on: Moves the window, which may read more, and returns whether it has come to what it looked for; if
                not, it is at the end of the file.
            reason: What is wrong.
            detail: Where.
        """
        make = self._begun(begin, reason, detail)
        self.reached_end = not go_on()
        return make()

    def if_passed(self, begin: int, go_on: Callable[[], bool], reason: Reason) -> EventReject | None:
        """Return what :meth:`passed` does; ``None`` if ``go_on`` returns false, and has not moved the window."""
        make = self._begun(begin, reason, "")
        return make() if go_on() else None

    def _begun(self, begin: int, reason: Reason, detail: str) -> Callable[[], EventReject]:
        """Return what makes the reject of everything from here to where the window then is."""
        window = self._window
        offset, line = window.offset_of(begin), window.line_of(begin)
        content = self._kept(begin, len(window.data))

        def make() -> EventReject:
            length = window.offset_of(window.start) - offset
            return EventReject(self.next_position(), offset, length, line, reason, detail, content[:length])

        return make

    def _kept(self, begin: int, end: int) -> bytes:
        if end - begin > _KEPT_BYTES:
            end = max(begin, self._window.before_character(begin + _KEPT_BYTES))
        return self._window.original(begin, end)

    def _go_to(self, start: re.Pattern[bytes] | None, index: int) -> bool:
        window = self._window
        found = start.search(window.data, index) if start else None
        while found is None and not window.is_complete:
            window.keep_last(_OVERLAP, index)
            window.read_more()
            index = 0
            found = start.search(window.data) if start else None
        window.advance(found.start() if found else len(window.data))
        return found is not None

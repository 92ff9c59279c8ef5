"""Reads files of events: chooses the reader by what the file starts with, and refuses files beyond the limits.

This is the way in for everything that wants the events of a file. See ``model.py`` for what it gives.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from apex_pipeline.sources.events.json_reader import JsonReader
from apex_pipeline.sources.events.model import DEFAULT_LIMITS, Event, EventLimits, EventReject, Reason
from apex_pipeline.sources.events.rejecting import Rejecting
from apex_pipeline.sources.events.window import Window
from apex_pipeline.sources.events.xml_reader import XmlReader

_GZIP = b"\x1f\x8b"
_SPACE = b" \t\r\n"


def read_events(
    file: BinaryIO, event_tag: str = "EVENT", limits: EventLimits = DEFAULT_LIMITS
) -> Iterator[Event | EventReject]:
    """Yield the events and rejects of a file in order; nothing in the file is left out.

    Args:
        file: The file, seekable; it may be compressed with gzip.
        event_tag: Local name of the events' tag in XML; case does not matter.
        limits: Limits on the file and its events.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > limits.file_bytes:
        yield EventReject(0, 0, size, 1, Reason.FILE_TOO_LARGE, f"{size:,} bytes", b"")
        return
    is_compressed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    if not is_compressed:
        yield from _read(file, event_tag, limits)
        return
    position = 0
    with gzip.GzipFile(fileobj=file) as packed:
        unpacked = _Unpacked(packed, limits.file_bytes)
        for item in _read(cast("BinaryIO", unpacked), event_tag, limits):
            if unpacked.length or unpacked.fault is None:  # a file of which nothing could be unpacked is not empty
                position = item.position + 1
                yield item
    if unpacked.fault is not None:
        detail = "after decompression" if unpacked.fault is Reason.FILE_TOO_LARGE else ""
        yield EventReject(position, unpacked.length, 0, 1, unpacked.fault, detail, b"")


def _read(file: BinaryIO, event_tag: str, limits: EventLimits) -> Iterator[Event | EventReject]:
    window = Window(file)
    while True:
        window.skip_space()
        if window.remaining or not window.read_more():
            break
    first = window.data[window.start : window.start + 1]
    window.rewind()
    if not window.remaining and window.is_complete:
        yield EventReject(0, 0, 0, 1, Reason.EMPTY_FILE, "", b"")
    elif first == b"<":
        yield from XmlReader(window, event_tag, limits).read()
    elif first in b"{[":
        yield from JsonReader(window, limits).read()
    else:
        yield from _neither(window, event_tag, limits, first)


def _neither(window: Window, event_tag: str, limits: EventLimits, first: bytes) -> Iterator[Event | EventReject]:
    """Read a file that starts with something else: with damage, if events follow, or it is another kind of file."""
    xml = XmlReader(window, event_tag, limits)
    if xml.has_events():
        yield from xml.read()
    elif first and _may_be_json(window):
        yield from JsonReader(window, limits).read()
    else:
        yield Rejecting(window).to_next(window.start, None, Reason.NO_EVENTS if not first else Reason.NOT_EVENTS)


def _may_be_json(window: Window) -> bool:
    """Return whether an object starts anywhere in the first part of a file, as in lists with a damaged start."""
    return b'{"' in window.data or b"{ " in window.data


class _Unpacked(io.RawIOBase):
    """An unpacked stream of limited length, which ends where its file is damaged.

    Raising there would lose the events before the damage that the reader has not come to yet.

    Attributes:
        fault: Why the stream ends before its file does, if it does.
        length: Bytes unpacked so far.
    """

    def __init__(self, packed: gzip.GzipFile, limit: int) -> None:
        self._packed = packed
        self._limit = limit
        self.fault: Reason | None = None
        self.length = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return some of the next bytes; none at the end, and where nothing more can be unpacked."""
        if self.fault is not None:
            return b""
        try:
            # Not read(), which forgets what it has unpacked when it meets damage.
            content = self._packed.read1(size)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.fault = Reason.DAMAGED_COMPRESSION
            return b""
        self.length = self._packed.tell()
        if self.length > self._limit:
            self.fault = Reason.FILE_TOO_LARGE
        return b"" if self.fault else content

    def tell(self) -> int:
        """Return the number of unpacked bytes before this place."""
        return self._packed.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to another place, which unpacks everything before it again."""
        if offset < self._packed.tell():  # else the damage is still where the stream ends
            self.fault = None
        return self._packed.seek(offset, whence)

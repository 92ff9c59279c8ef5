"""Converts UTF-16 text to UTF-8 as it is read; spreadsheets write it, with a byte order mark.

See ``compression.py``, which opens files, and ``csv_reader.py`` for other encodings.
"""

import codecs
import io
from typing import BinaryIO

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_READ_BYTES = 65_536


def is_utf16(head: bytes) -> bool:
    """Return whether text starts with a UTF-16 byte order mark."""
    return head.startswith(_UTF16_MARKS)


def head_as_utf8(head: bytes) -> bytes:
    """Return the first bytes of a text in UTF-8; the last character may be cut off."""
    if not is_utf16(head):
        return head
    return codecs.getincrementaldecoder("utf-16")(errors="replace").decode(head).encode()


class Utf8Stream(io.RawIOBase):
    """The bytes of a stream, converted to UTF-8 if it starts with a UTF-16 byte order mark.

    Args:
        raw: The uncompressed bytes.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._rest = self._first_bytes()
        self._decoder = codecs.getincrementaldecoder("utf-16")(errors="replace") if is_utf16(self._rest) else None
        if self._decoder:
            self._rest = self._decoder.decode(self._rest).encode()

    def _first_bytes(self) -> bytes:
        first = b""
        while len(first) < 2 and (more := self._raw.read(2 - len(first))):  # noqa: PLR2004  -- length of the mark
            first += more
        return first

    def readable(self) -> bool:
        """Return true, as for any stream that can be read."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # the name in the base class is private
        """Fill the buffer as far as bytes are at hand."""
        if not self._rest and self._decoder is None:
            return self._raw.readinto(buffer) or 0  # type: ignore[attr-defined]  # binary streams have it
        while not self._rest and self._decoder is not None:
            content = self._raw.read(_READ_BYTES)
            self._rest = self._decoder.decode(content, final=not content).encode()
            if not content:
                break
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
